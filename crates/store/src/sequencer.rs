//! The sequencer: the one holder of a lease numbers events and chains the audit trail, since rows
//! commit in another order than their keys were drawn in.
//!
//! Invariant: numbers count up without gaps, and a number never changes its row.

use handover_model::Digest;
use handover_model::api::{AuditRow, EventInfo};

use crate::leases::Lease;
use crate::{StoreError, Tx, audit, events, params};

/// The name of the sequencer's lease.
pub const LEASE: &str = "sequencer";

/// What was numbered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Numbered {
    /// Events, in the order of their numbers.
    pub events: Vec<EventInfo>,
    /// Rows of the audit trail, in the order of their numbers.
    pub audit: Vec<AuditRow>,
    /// Whether there may be more.
    pub has_more: bool,
}

/// Numbers up to `limit` events and `limit` rows of the audit trail under `lease`.
///
/// # Errors
/// [`StoreError::Fenced`] when the lease was taken over.
pub fn number(tx: &mut Tx<'_>, lease: &Lease, limit: u32) -> Result<Numbered, StoreError> {
    tx.check_fence(lease)?;
    let events = number_events(tx, limit)?;
    let audit = chain_audit(tx, limit)?;
    let full = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = events.len() >= full || audit.len() >= full;
    Ok(Numbered { events, audit, has_more })
}

fn number_events(tx: &mut Tx<'_>, limit: u32) -> Result<Vec<EventInfo>, StoreError> {
    let found = tx.query(
        "SELECT 0, at, kind, agent, order_id, data, rollout, key FROM events WHERE seq IS NULL \
         ORDER BY key LIMIT $1",
        params![limit],
    )?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let last: i64 = tx.query_one("SELECT coalesce(max(seq), 0) FROM events", &[])?.get(0)?;
    let mut numbered = Vec::with_capacity(found.len());
    for (row, seq) in found.iter().zip(last + 1..) {
        let key: i64 = row.get(7)?;
        tx.execute("UPDATE events SET seq = $1 WHERE key = $2", params![seq, key])?;
        let event = events::read(row)?;
        numbered.push(EventInfo { seq: u64::try_from(seq).unwrap_or(0), ..event });
    }
    Ok(numbered)
}

fn chain_audit(tx: &mut Tx<'_>, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
    let nothing = Digest::from_bytes([0; 32]).to_string();
    let found = tx.query(
        "SELECT 0, at, who, what, subject, before, after, $2, $2, key FROM audit \
         WHERE seq IS NULL ORDER BY key LIMIT $1",
        params![limit, nothing],
    )?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let (mut last, mut prev) = audit::head(tx)?;
    let mut chained = Vec::with_capacity(found.len());
    for row in &found {
        let key: i64 = row.get(9)?;
        let entry = audit::read(row)?.after_row(last + 1, prev);
        tx.execute(
            "UPDATE audit SET seq = $1, prev = $2, hash = $3 WHERE key = $4",
            params![entry.seq, &entry.prev, &entry.hash, key],
        )?;
        (last, prev) = (entry.seq, entry.hash);
        chained.push(entry);
    }
    Ok(chained)
}
