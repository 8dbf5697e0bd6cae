//! What the database says of itself: its epoch and other single facts.

use handover_model::Timestamp;

use crate::{StoreError, Tx, params};

/// One fact by its key; `None` when nobody has set it.
///
/// # Errors
/// [`StoreError`].
pub fn get(tx: &mut Tx<'_>, key: &str) -> Result<Option<String>, StoreError> {
    let row = tx.query_opt("SELECT value FROM meta WHERE key = $1", params![key])?;
    row.map(|row| row.get(0)).transpose()
}

/// Sets one fact.
///
/// # Errors
/// [`StoreError`].
pub fn set(tx: &mut Tx<'_>, key: &str, value: &str) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO meta (key, value) VALUES ($1, $2) \
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        params![key, value],
    )?;
    Ok(())
}

/// The life of the database: 1 from its creation, raised by every restore (DESIGN section 9).
///
/// # Errors
/// [`StoreError`].
pub fn epoch(tx: &mut Tx<'_>) -> Result<u64, StoreError> {
    let row = tx.query_opt("SELECT value FROM meta WHERE key = 'epoch'", &[])?;
    row.map_or(Ok(1), |row| row.parse(0))
}

/// The number of the last migration that ran.
///
/// # Errors
/// [`StoreError`].
pub fn schema(tx: &mut Tx<'_>) -> Result<u32, StoreError> {
    tx.query_one("SELECT coalesce(max(number), 0) FROM schema_versions", &[])?.get(0)
}

/// Begins a new life at `now`: raises the epoch and returns it.
pub(crate) fn raise_epoch(tx: &mut Tx<'_>, now: Timestamp) -> Result<u64, StoreError> {
    let next = epoch(tx)? + 1;
    set(tx, "epoch", &next.to_string())?;
    set(tx, "restored_at", &now.to_string())?;
    Ok(next)
}
