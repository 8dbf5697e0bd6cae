//! Enrolment tokens: each enrols one host. Only a digest of the secret is stored.

use handover_model::api::{Page, TokenInfo, TokenState};
use handover_model::{AgentId, AgentName, Digest, Millis, Timestamp, TokenId};

use crate::page::{number, page, rows_for};
use crate::value::json;
use crate::{Row, StoreError, Tx, params};

/// A token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What people see of it, as of the time that was asked for.
    pub info: TokenInfo,
    /// The digest of the public key that used it.
    pub used_by: Option<Digest>,
    key: i64,
}

const SELECT: &str = "SELECT t.key, t.id, t.name, t.note, t.labels, t.ephemeral_ms, \
    t.created_by, t.created_at, t.expires_at, t.used_by, t.agent, t.used_at, t.revoked_at, \
    t.generation FROM tokens t";

/// Stores a new token with the SHA-256 of its secret. Of `info`, what becomes of a token later
/// is left out.
///
/// # Errors
/// [`StoreError`].
pub fn insert(tx: &mut Tx<'_>, info: &TokenInfo, secret: &Digest) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO tokens (id, secret, name, note, labels, ephemeral_ms, created_by, \
         created_at, expires_at, generation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)",
        params![
            info.id.to_string(),
            secret,
            info.name.as_ref().map(AgentName::as_str),
            info.note.as_ref(),
            json(&info.labels),
            info.ephemeral_after.map(|after| after.0),
            &info.created_by,
            info.created_at,
            info.expires
        ],
    )?;
    Ok(())
}

/// One token by its id, as it stands at `now`.
///
/// # Errors
/// [`StoreError`].
pub fn get(tx: &mut Tx<'_>, id: TokenId, now: Timestamp) -> Result<Option<Token>, StoreError> {
    let row = tx.query_opt(&format!("{SELECT} WHERE t.id = $1"), params![id.to_string()])?;
    row.map(|row| read(&row, now)).transpose()
}

/// The token with that secret, as it stands at `now`: open or not.
///
/// # Errors
/// [`StoreError`].
pub fn by_secret(
    tx: &mut Tx<'_>,
    secret: &Digest,
    now: Timestamp,
) -> Result<Option<Token>, StoreError> {
    let row = tx.query_opt(&format!("{SELECT} WHERE t.secret = $1"), params![secret])?;
    row.map(|row| read(&row, now)).transpose()
}

/// A page of tokens, newest first, before a place, as they stand at `now`.
///
/// # Errors
/// [`StoreError::Cursor`] for a place that is none.
pub fn list(
    tx: &mut Tx<'_>,
    before: Option<&str>,
    limit: u32,
    now: Timestamp,
) -> Result<Page<Token>, StoreError> {
    let rows = tx.query(
        &format!("{SELECT} WHERE t.key < $1 ORDER BY t.key DESC LIMIT $2"),
        params![number(before, i64::MAX)?, rows_for(limit)],
    )?;
    let items = rows.iter().map(|row| read(row, now)).collect::<Result<Vec<_>, _>>()?;
    Ok(page(items, limit, |token| token.key.to_string()))
}

/// Uses a token for the host with that public key, which became `agent`. A token that is not
/// open, or that another key used, is left alone; whether it was used.
///
/// # Errors
/// [`StoreError`].
pub fn consume(
    tx: &mut Tx<'_>,
    id: TokenId,
    key_digest: &Digest,
    agent: AgentId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let used = tx.execute(
        "UPDATE tokens SET used_by = $2, agent = $3, used_at = $4, generation = generation + 1 \
         WHERE id = $1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > $4",
        params![id.to_string(), key_digest, agent.to_string(), now],
    )?;
    Ok(used > 0)
}

/// Revokes an open token if its generation is still `seen`, where one is given; one that is not
/// open any more is left as it is.
///
/// # Errors
/// [`StoreError::Absent`]; [`StoreError::Stale`].
pub fn revoke(
    tx: &mut Tx<'_>,
    id: TokenId,
    seen: Option<u64>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let absent = || StoreError::Absent { what: "token", id: id.to_string() };
    let found = get(tx, id, now)?.ok_or_else(absent)?.info.generation;
    if let Some(expected) = seen.filter(|seen| *seen != found) {
        return Err(StoreError::Stale { what: "token", id: id.to_string(), expected, found });
    }
    tx.execute(
        "UPDATE tokens SET revoked_at = $2, generation = generation + 1 \
         WHERE id = $1 AND used_at IS NULL AND revoked_at IS NULL",
        params![id.to_string(), now],
    )?;
    Ok(())
}

fn read(row: &Row, now: Timestamp) -> Result<Token, StoreError> {
    let (used_at, revoked_at): (Option<Timestamp>, Option<Timestamp>) =
        (row.get(11)?, row.get(12)?);
    let expires: Timestamp = row.get(8)?;
    let state = if revoked_at.is_some() {
        TokenState::Revoked
    } else if used_at.is_some() {
        TokenState::Used
    } else if expires <= now {
        TokenState::Expired
    } else {
        TokenState::Open
    };
    let info = TokenInfo {
        id: row.parse(1)?,
        state,
        labels: row.json(4)?,
        name: row.parse_opt(2)?,
        note: row.get(3)?,
        ephemeral_after: row.get::<Option<u64>>(5)?.map(Millis),
        created_by: row.get(6)?,
        created_at: row.get(7)?,
        expires,
        agent: row.parse_opt(10)?,
        used_at,
        revoked_at,
        generation: row.get(13)?,
    };
    Ok(Token { info, used_by: row.get(9)?, key: row.get(0)? })
}
