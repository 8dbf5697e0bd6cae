//! The audit trail: one row for every change by people, in the transaction of the change; the
//! sequencer numbers and chains them (DESIGN section 9).

use handover_model::api::{AuditRow, Page};
use handover_model::{Digest, Timestamp};
use serde_json::Value as Json;

use crate::page::{number, page, rows_for};
use crate::{Row, StoreError, Tx, params};

/// A change.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAudit {
    /// When.
    pub at: Timestamp,
    /// Who: `token_… (name)`, `agent_…`, `server`.
    pub who: String,
    /// What: `order.create`, `agent.labels`, ….
    pub what: &'static str,
    /// To what: an id.
    pub subject: String,
    /// What was there before.
    pub before: Option<Json>,
    /// What is there since.
    pub after: Option<Json>,
}

const COLUMNS: &str = "seq, at, who, what, subject, before, after, prev, hash";

/// Writes a row; the sequencer numbers and chains it after the commit.
///
/// # Errors
/// [`StoreError`].
pub fn insert(tx: &mut Tx<'_>, change: &NewAudit) -> Result<(), StoreError> {
    tx.note_news();
    tx.execute(
        "INSERT INTO audit (at, who, what, subject, before, after) \
         VALUES ($1, $2, $3, $4, $5, $6)",
        params![
            change.at,
            &change.who,
            change.what,
            &change.subject,
            change.before.as_ref().map(Json::to_string),
            change.after.as_ref().map(Json::to_string)
        ],
    )?;
    Ok(())
}

/// Rows after a number, oldest first; of one subject, if one is given.
///
/// # Errors
/// [`StoreError::Cursor`] for a place that is none.
pub fn list(
    tx: &mut Tx<'_>,
    subject: Option<&str>,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<AuditRow>, StoreError> {
    let (after, rows) = (number(after, 0)?, rows_for(limit));
    let found = match subject {
        None => tx.query(
            &format!("SELECT {COLUMNS} FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2"),
            params![after, rows],
        )?,
        Some(subject) => tx.query(
            &format!(
                "SELECT {COLUMNS} FROM audit WHERE subject = $3 AND seq > $1 \
                 ORDER BY seq LIMIT $2"
            ),
            params![after, rows, subject],
        )?,
    };
    let items = found.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(page(items, limit, |row| row.seq.to_string()))
}

/// The number and hash of the chain's head; 0 and [`AuditRow::beginning`] when it is empty.
///
/// # Errors
/// [`StoreError`].
pub fn head(tx: &mut Tx<'_>) -> Result<(u64, Digest), StoreError> {
    let row = tx.query_opt(
        "SELECT seq, hash FROM audit WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1",
        &[],
    )?;
    row.map_or(Ok((0, AuditRow::beginning())), |row| Ok((row.get(0)?, row.get(1)?)))
}

pub(crate) fn read(row: &Row) -> Result<AuditRow, StoreError> {
    let json = |column: usize| match row.get::<Option<String>>(column)? {
        None => Ok(None),
        Some(_) => row.json(column).map(Some),
    };
    Ok(AuditRow {
        seq: row.get(0)?,
        at: row.get(1)?,
        who: row.get(2)?,
        what: row.get(3)?,
        subject: row.get(4)?,
        before: json(5)?,
        after: json(6)?,
        prev: row.get(7)?,
        hash: row.get(8)?,
    })
}
