//! Saved groups: selections that people gave a name.

use handover_model::{GroupName, Timestamp};

use crate::{Row, StoreError, Tx, params};

/// The most groups that there may be: each resolution reads them all.
pub const MOST: u32 = 1000;

/// A saved group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// The selection in its canonical spelling.
    pub select: String,
    /// What it is for.
    pub note: Option<String>,
    /// Who saved it last.
    pub by: String,
    /// When.
    pub changed_at: Timestamp,
    /// Counts changes.
    pub generation: u64,
}

const SELECT: &str =
    "SELECT name, selection, note, changed_by, changed_at, generation FROM selections";

/// Every group, by name; there are at most [`MOST`].
///
/// # Errors
/// [`StoreError`].
pub fn all(tx: &mut Tx<'_>) -> Result<Vec<Group>, StoreError> {
    let rows = tx.query(&format!("{SELECT} ORDER BY name LIMIT $1"), params![MOST])?;
    rows.iter().map(read).collect()
}

/// One group.
///
/// # Errors
/// [`StoreError`].
pub fn get(tx: &mut Tx<'_>, name: &GroupName) -> Result<Option<Group>, StoreError> {
    let row = tx.query_opt(&format!("{SELECT} WHERE name = $1"), params![name.as_str()])?;
    row.as_ref().map(read).transpose()
}

/// Saves a group over one whose generation is `group.generation` (0: there was none); returns the
/// new one.
///
/// # Errors
/// [`StoreError::Stale`] when somebody else was faster.
pub fn save(tx: &mut Tx<'_>, group: &Group) -> Result<u64, StoreError> {
    let found = get(tx, &group.name)?.map_or(0, |group| group.generation);
    if found != group.generation {
        return Err(stale(&group.name, group.generation, found));
    }
    let next = found + 1;
    tx.execute(
        "INSERT INTO selections (name, selection, note, changed_by, changed_at, generation) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO UPDATE SET \
         selection = excluded.selection, note = excluded.note, \
         changed_by = excluded.changed_by, changed_at = excluded.changed_at, \
         generation = excluded.generation",
        params![
            group.name.as_str(),
            &group.select,
            group.note.as_ref(),
            &group.by,
            group.changed_at,
            next
        ],
    )?;
    Ok(next)
}

/// Removes a group if its generation is still `seen`.
///
/// # Errors
/// [`StoreError::Absent`]; [`StoreError::Stale`].
pub fn remove(tx: &mut Tx<'_>, name: &GroupName, seen: u64) -> Result<(), StoreError> {
    let absent = || StoreError::Absent { what: "group", id: name.to_string() };
    let found = get(tx, name)?.ok_or_else(absent)?.generation;
    if found != seen {
        return Err(stale(name, seen, found));
    }
    tx.execute("DELETE FROM selections WHERE name = $1", params![name.as_str()])?;
    Ok(())
}

fn stale(name: &GroupName, expected: u64, found: u64) -> StoreError {
    StoreError::Stale { what: "group", id: name.to_string(), expected, found }
}

fn read(row: &Row) -> Result<Group, StoreError> {
    Ok(Group {
        name: row.parse(0)?,
        select: row.get(1)?,
        note: row.get(2)?,
        by: row.get(3)?,
        changed_at: row.get(4)?,
        generation: row.get(5)?,
    })
}
