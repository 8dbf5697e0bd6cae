//! Settings that people change while the server runs: JSON by key.

use handover_model::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{StoreError, Tx, params};

/// A setting's value with its generation, for compare and swap; `None` when it was never set.
///
/// # Errors
/// [`StoreError`].
pub fn get<T: DeserializeOwned>(
    tx: &mut Tx<'_>,
    key: &str,
) -> Result<Option<(T, u64)>, StoreError> {
    let row =
        tx.query_opt("SELECT value, generation FROM settings WHERE key = $1", params![key])?;
    row.map(|row| Ok((row.json(0)?, row.get(1)?))).transpose()
}

/// Sets a value if its generation is still `seen` (0: it was never set); returns the new one.
///
/// # Errors
/// [`StoreError::Stale`] when somebody else was faster.
pub fn set<T: Serialize>(
    tx: &mut Tx<'_>,
    key: &str,
    value: &T,
    seen: u64,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let found = tx.query_opt("SELECT generation FROM settings WHERE key = $1", params![key])?;
    let found = found.map_or(Ok(0), |row| row.get(0))?;
    if found != seen {
        let id = key.to_owned();
        return Err(StoreError::Stale { what: "setting", id, expected: seen, found });
    }
    tx.execute(
        "INSERT INTO settings (key, value, generation, changed_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (key) DO UPDATE SET value = excluded.value, \
         generation = excluded.generation, changed_at = excluded.changed_at",
        params![key, crate::value::json(value), seen + 1, now],
    )?;
    Ok(seen + 1)
}
