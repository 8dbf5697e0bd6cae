//! Is the database whole? What no constraint of a database can promise is looked at here.

use handover_model::api::{AuditBreak, AuditRow, Checkpoint, OrderState};

use crate::schema::Dialect;
use crate::tables::TABLES;
use crate::{Store, StoreError, Tx, audit, meta, params};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// The number of the last migration.
    pub schema: u32,
    /// The life of the database.
    pub epoch: u64,
    /// Rows that were read.
    pub rows: u64,
    /// Rows of the audit trail whose chain holds.
    pub audit: u64,
    /// What is wrong, for people; empty when nothing is.
    pub problems: Vec<String>,
}

/// Rows of the audit trail that are read at once.
const PAGE: u32 = 1000;

impl Store {
    /// Reads everything: the database's own structure, references, the audit trail against its
    /// checkpoints (whose signatures the caller has checked), numbers without gaps, and what is
    /// stored twice. The server may go on writing.
    ///
    /// Blocks; it takes as long as reading the whole database.
    ///
    /// # Errors
    /// [`StoreError`] when it can't be read at all.
    pub fn check(&self, checkpoints: &[Checkpoint]) -> Result<Checked, StoreError> {
        let checkpoints = checkpoints.to_vec();
        self.read_blocking(move |tx| {
            let mut checked = Checked {
                schema: meta::schema(tx)?,
                epoch: meta::epoch(tx)?,
                ..Checked::default()
            };
            check_structure(tx, &mut checked)?;
            check_trail(tx, &checkpoints, &mut checked)?;
            check_rules(tx, &mut checked.problems)?;
            check_orders(tx, &mut checked.problems)?;
            Ok(checked)
        })
    }
}

fn check_structure(tx: &mut Tx<'_>, checked: &mut Checked) -> Result<(), StoreError> {
    if tx.dialect() == Dialect::Sqlite {
        for row in tx.query("PRAGMA integrity_check(100)", &[])? {
            let said: String = row.get(0)?;
            if said != "ok" {
                checked.problems.push(format!("the file is damaged: {said}"));
            }
        }
        for row in tx.query("PRAGMA foreign_key_check", &[])? {
            let (from, to): (String, String) = (row.get(0)?, row.get(2)?);
            checked
                .problems
                .push(format!("a row of {from} refers to a row of {to} that is not there"));
        }
    }
    for table in TABLES {
        let row = tx.query_one(&format!("SELECT count(*) FROM {}", table.name), &[])?;
        checked.rows += row.get::<u64>(0)?;
    }
    Ok(())
}

/// Walks through the trail page by page, as [`handover_model::api::verify_audit`] does at once.
fn check_trail(
    tx: &mut Tx<'_>,
    checkpoints: &[Checkpoint],
    checked: &mut Checked,
) -> Result<(), StoreError> {
    let (mut last, mut prev) = (0, AuditRow::beginning());
    loop {
        let page = audit::list(tx, None, Some(&last.to_string()), PAGE)?;
        for row in &page.items {
            let wanted = last + 1;
            let broken = if row.seq != wanted {
                Some(AuditBreak::Gap { wanted, found: row.seq })
            } else if row.prev != prev {
                Some(AuditBreak::Unchained { seq: row.seq })
            } else if row.chained() != row.hash {
                Some(AuditBreak::Changed { seq: row.seq })
            } else {
                let rewrote = |seen: &&Checkpoint| seen.seq == row.seq && seen.hash != row.hash;
                let seen = checkpoints.iter().find(rewrote);
                seen.map(|seen| AuditBreak::Rewritten { seq: row.seq, at: seen.at })
            };
            if let Some(broken) = broken {
                checked.problems.push(format!("the audit trail does not hold: {broken}"));
                return Ok(());
            }
            (last, prev) = (row.seq, row.hash);
        }
        checked.audit = last;
        if page.next.is_none() {
            break;
        }
    }
    if let Some(seen) = checkpoints.iter().find(|seen| seen.seq > last) {
        let broken = AuditBreak::CutOff { seq: seen.seq, at: seen.at, last };
        checked.problems.push(format!("the audit trail does not hold: {broken}"));
    }
    Ok(())
}

/// Questions whose answer must be 0.
const RULES: [(&str, &str); 6] = [
    (
        "SELECT coalesce(max(seq) - min(seq) + 1 - count(*), 0) FROM events WHERE seq IS NOT NULL",
        "numbers are missing among the events",
    ),
    (
        "SELECT count(*) FROM agent_labels l JOIN agents a ON a.key = l.agent WHERE a.name <> l.name",
        "labels are listed under a name that their agent does not have",
    ),
    (
        "SELECT count(*) FROM agent_components c JOIN agents a ON a.key = c.agent \
         WHERE a.name <> c.name",
        "components are listed under a name that their agent does not have",
    ),
    (
        "SELECT count(*) FROM agents a WHERE (a.state = 'retired') <> (a.retired_at IS NOT NULL)",
        "agents are retired by their state or by their time, not by both",
    ),
    (
        "SELECT count(*) FROM agents a LEFT JOIN presence p ON p.agent = a.key \
         WHERE p.agent IS NULL",
        "agents can't check in, since they have no row in presence",
    ),
    (
        "SELECT count(*) FROM orders o JOIN agents a ON a.key = o.agent \
         WHERE o.sequence > a.sequence",
        "orders have a number that their agent has not come to",
    ),
];

fn check_rules(tx: &mut Tx<'_>, problems: &mut Vec<String>) -> Result<(), StoreError> {
    for (question, words) in RULES {
        let count: i64 = tx.query_one(question, &[])?.get(0)?;
        if count != 0 {
            problems.push(format!("{count} {words}"));
        }
    }
    Ok(())
}

fn check_orders(tx: &mut Tx<'_>, problems: &mut Vec<String>) -> Result<(), StoreError> {
    for state in OrderState::ALL {
        let sql = if state.is_final() {
            "SELECT count(*) FROM orders WHERE state = $1 AND ended_at IS NULL"
        } else {
            "SELECT count(*) FROM orders WHERE state = $1 AND ended_at IS NOT NULL"
        };
        let count: u64 = tx.query_one(sql, params![state.name()])?.get(0)?;
        if count > 0 {
            problems.push(format!("{count} orders are {state} and have a wrong time of their end"));
        }
    }
    Ok(())
}
