//! API tokens: for people and programs that call the API. Only a digest of the secret is stored.

use handover_model::api::{ApiTokenInfo, Page, TokenState};
use handover_model::{Digest, Timestamp, TokenId};

use crate::page::{number, page, rows_for};
use crate::value::json;
use crate::{Row, StoreError, Tx, params};

const SELECT: &str = "SELECT t.key, t.id, t.name, t.permissions, t.created_by, t.created_at, \
    t.expires_at, t.revoked_at, t.generation FROM api_tokens t";

/// Stores a new token with the SHA-256 of its secret.
///
/// # Errors
/// [`StoreError`].
pub fn insert(tx: &mut Tx<'_>, info: &ApiTokenInfo, secret: &Digest) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO api_tokens (id, secret, name, permissions, created_by, created_at, \
         expires_at, generation) VALUES ($1, $2, $3, $4, $5, $6, $7, 1)",
        params![
            info.id.to_string(),
            secret,
            &info.name,
            json(&info.permissions),
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
pub fn get(
    tx: &mut Tx<'_>,
    id: TokenId,
    now: Timestamp,
) -> Result<Option<ApiTokenInfo>, StoreError> {
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
) -> Result<Option<ApiTokenInfo>, StoreError> {
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
) -> Result<Page<ApiTokenInfo>, StoreError> {
    let rows = tx.query(
        &format!("{SELECT} WHERE t.key < $1 ORDER BY t.key DESC LIMIT $2"),
        params![number(before, i64::MAX)?, rows_for(limit)],
    )?;
    let items = rows
        .iter()
        .map(|row| Ok((row.get::<i64>(0)?, read(row, now)?)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    let page = page(items, limit, |(key, _)| key.to_string());
    let items = page.items.into_iter().map(|(_, info)| info).collect();
    Ok(Page { items, next: page.next })
}

/// Revokes a token if its generation is still `seen`, where one is given.
///
/// # Errors
/// [`StoreError::Absent`]; [`StoreError::Stale`].
pub fn revoke(
    tx: &mut Tx<'_>,
    id: TokenId,
    seen: Option<u64>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let absent = || StoreError::Absent { what: "API token", id: id.to_string() };
    let found = get(tx, id, now)?.ok_or_else(absent)?.generation;
    if let Some(expected) = seen.filter(|seen| *seen != found) {
        return Err(StoreError::Stale { what: "API token", id: id.to_string(), expected, found });
    }
    tx.execute(
        "UPDATE api_tokens SET revoked_at = $2, generation = generation + 1 \
         WHERE id = $1 AND revoked_at IS NULL",
        params![id.to_string(), now],
    )?;
    Ok(())
}

/// Tokens that a token made and that are not revoked, as they stand at `now`; at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub fn made_by(
    tx: &mut Tx<'_>,
    id: TokenId,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<ApiTokenInfo>, StoreError> {
    // `created_by` is the id and the name.
    let maker = format!("{id} ");
    let rows = tx.query(
        &format!(
            "{SELECT} WHERE substr(t.created_by, 1, $2) = $1 AND t.revoked_at IS NULL \
             ORDER BY t.key LIMIT $3"
        ),
        params![&maker, maker.len(), limit],
    )?;
    rows.iter().map(|row| read(row, now)).collect()
}

/// Revokes every token that is not revoked, and returns how many: after a restore, those that
/// were revoked since the backup would be valid again.
///
/// # Errors
/// [`StoreError`].
pub fn revoke_all(tx: &mut Tx<'_>, now: Timestamp) -> Result<u64, StoreError> {
    tx.execute(
        "UPDATE api_tokens SET revoked_at = $1, generation = generation + 1 \
         WHERE revoked_at IS NULL",
        params![now],
    )
}

fn read(row: &Row, now: Timestamp) -> Result<ApiTokenInfo, StoreError> {
    let (expires, revoked_at): (Option<Timestamp>, Option<Timestamp>) = (row.get(6)?, row.get(7)?);
    let state = if revoked_at.is_some() {
        TokenState::Revoked
    } else if expires.is_some_and(|expires| expires <= now) {
        TokenState::Expired
    } else {
        TokenState::Open
    };
    Ok(ApiTokenInfo {
        id: row.parse(1)?,
        name: row.get(2)?,
        state,
        permissions: row.json(3)?,
        created_by: row.get(4)?,
        created_at: row.get(5)?,
        expires,
        revoked_at,
        generation: row.get(8)?,
    })
}
