//! Idempotency keys: the same key with the same request gets the answer of the first one, kept in
//! the transaction of the act.

use handover_model::{Digest, Timestamp};

use crate::{StoreError, Tx, params};

/// An answer that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its HTTP status.
    pub status: u32,
    /// Its body, and whatever else the server wants back.
    pub body: String,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Nothing: act, then [`keep`] the answer in the same transaction.
    New,
    /// The same request was answered before.
    Same(Answer),
    /// The key was used for another request.
    Other,
}

/// Looks up `owner`'s `key`; `request` is the digest of method, path and body.
///
/// # Errors
/// [`StoreError`].
pub fn find(
    tx: &mut Tx<'_>,
    owner: &str,
    key: &str,
    request: &Digest,
    now: Timestamp,
) -> Result<Known, StoreError> {
    let row = tx.query_opt(
        "SELECT request, status, answer FROM idempotency \
         WHERE owner = $1 AND key = $2 AND expires_at > $3",
        params![owner, key, now],
    )?;
    let Some(row) = row else { return Ok(Known::New) };
    if row.get::<Digest>(0)? != *request {
        return Ok(Known::Other);
    }
    Ok(Known::Same(Answer { status: row.get(1)?, body: row.get(2)? }))
}

/// Keeps an answer until `expires`.
///
/// # Errors
/// [`StoreError`].
pub fn keep(
    tx: &mut Tx<'_>,
    owner: &str,
    key: &str,
    request: &Digest,
    answer: &Answer,
    expires: Timestamp,
) -> Result<(), StoreError> {
    // An answer whose time is over makes room: `find` saw none.
    tx.execute(
        "INSERT INTO idempotency (owner, key, request, status, answer, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (owner, key) DO UPDATE SET \
         request = excluded.request, status = excluded.status, answer = excluded.answer, \
         expires_at = excluded.expires_at",
        params![owner, key, request, answer.status, &answer.body, expires],
    )?;
    Ok(())
}

/// Whether an answer's time is over at `now`.
///
/// # Errors
/// [`StoreError`].
pub fn is_due(tx: &mut Tx<'_>, now: Timestamp) -> Result<bool, StoreError> {
    let row = tx.query_opt(
        "SELECT expires_at FROM idempotency WHERE expires_at <= $1 LIMIT 1",
        params![now],
    )?;
    Ok(row.is_some())
}

/// Forgets answers whose time is over, at most `limit`; returns how many.
///
/// # Errors
/// [`StoreError`].
pub fn prune(tx: &mut Tx<'_>, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
    tx.execute(
        "DELETE FROM idempotency WHERE (owner, key) IN (SELECT owner, key FROM idempotency \
         WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
        params![now, limit],
    )
}
