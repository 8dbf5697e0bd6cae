//! What agents signed: each agent's newest state, and the last word on each order.

use handover_model::wire::{Report, ReportBody, SignedDoc};
use handover_model::{OrderId, Timestamp};

use crate::touch::AgentKey;
use crate::value::json;
use crate::{Row, StoreError, Tx, params};

/// A report as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its number among the agent's reports.
    pub number: u64,
    /// When the host wrote it, by its own clock.
    pub at: Timestamp,
    /// When the control plane took it.
    pub received_at: Timestamp,
    /// The signed bytes, as they came.
    pub document: SignedDoc,
}

/// Keeps a verified report, with its signed bytes, instead of those that it makes stale: the
/// state before, or what was said of the same order while it ran. One that was kept before is
/// kept once; whether it is new.
///
/// # Errors
/// [`StoreError`].
pub fn keep(
    tx: &mut Tx<'_>,
    key: AgentKey,
    report: &Report,
    document: &SignedDoc,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let (kind, order, is_final) = match &report.body {
        ReportBody::State(_) => ("state", None, false),
        ReportBody::Order(order) => ("order", Some(order.order), order.stage.is_final()),
    };
    let added = tx.execute(
        "INSERT INTO reports (agent, number, kind, order_id, is_final, document, at, received_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (agent, number) DO NOTHING",
        params![
            key.0,
            report.number,
            kind,
            order.map(|id| id.to_string()),
            is_final,
            json(document),
            report.at,
            now
        ],
    )?;
    match order {
        _ if added == 0 => {}
        None => {
            tx.execute(
                "DELETE FROM reports WHERE agent = $1 AND kind = 'state' AND number < $2",
                params![key.0, report.number],
            )?;
        }
        Some(order) => {
            tx.execute(
                "DELETE FROM reports WHERE order_id = $1 AND is_final = 0 AND agent = $2 \
                 AND number < $3",
                params![order.to_string(), key.0, report.number],
            )?;
        }
    }
    Ok(added > 0)
}

/// The agent's newest state report.
///
/// # Errors
/// [`StoreError`].
pub fn newest_state(tx: &mut Tx<'_>, key: AgentKey) -> Result<Option<Stored>, StoreError> {
    let row = tx.query_opt(
        "SELECT number, at, received_at, document FROM reports \
         WHERE agent = $1 AND kind = 'state' ORDER BY number DESC LIMIT 1",
        params![key.0],
    )?;
    row.as_ref().map(read).transpose()
}

/// The newest report on an order, by the agent that it is for.
///
/// # Errors
/// [`StoreError`].
pub fn newest_of_order(tx: &mut Tx<'_>, order: OrderId) -> Result<Option<Stored>, StoreError> {
    let row = tx.query_opt(
        "SELECT number, at, received_at, document FROM reports \
         WHERE order_id = $1 ORDER BY number DESC LIMIT 1",
        params![order.to_string()],
    )?;
    row.as_ref().map(read).transpose()
}

/// The agent's kept reports before a number, newest first.
///
/// # Errors
/// [`StoreError::Cursor`] for a place that is none.
pub fn list(
    tx: &mut Tx<'_>,
    key: AgentKey,
    before: Option<&str>,
    limit: u32,
) -> Result<handover_model::api::Page<Stored>, StoreError> {
    let before = crate::page::number(before, i64::MAX)?;
    let rows = tx.query(
        "SELECT number, at, received_at, document FROM reports \
         WHERE agent = $1 AND number < $2 ORDER BY number DESC LIMIT $3",
        params![key.0, before, crate::page::rows_for(limit)],
    )?;
    let items = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(crate::page::page(items, limit, |report| report.number.to_string()))
}

fn read(row: &Row) -> Result<Stored, StoreError> {
    Ok(Stored {
        number: row.get(0)?,
        at: row.get(1)?,
        received_at: row.get(2)?,
        document: row.json(3)?,
    })
}
