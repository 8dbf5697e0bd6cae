//! Events: written without a number in the transaction of the change, read by number only.

use handover_model::api::{EventInfo, Page};
use handover_model::{AgentId, OrderId, RolloutId, Timestamp};
use serde_json::Value as Json;

use crate::page::{number, page, rows_for};
use crate::{Row, StoreError, Tx, params, webhooks};

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// When.
    pub at: Timestamp,
    /// What: `order.running`, `agent.enrolled`, ….
    pub kind: &'static str,
    /// The agent that it is about.
    pub agent: Option<AgentId>,
    /// The order that it is about.
    pub order: Option<OrderId>,
    /// The rollout that it is about.
    pub rollout: Option<RolloutId>,
    /// Particulars.
    pub data: Json,
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Filter {
    /// All of them.
    #[default]
    All,
    /// Those about one agent.
    Agent(AgentId),
    /// Those about one order.
    Order(OrderId),
    /// Those about one rollout, its orders' too.
    Rollout(RolloutId),
}

const COLUMNS: &str = "seq, at, kind, agent, order_id, data, rollout";

/// Writes an event, with what is to be delivered of it to webhooks; the sequencer numbers it
/// after the commit.
///
/// # Errors
/// [`StoreError`].
pub fn insert(tx: &mut Tx<'_>, event: &NewEvent) -> Result<(), StoreError> {
    tx.note_news();
    let row = tx.query_one(
        "INSERT INTO events (at, kind, agent, order_id, data, rollout) \
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING key",
        params![
            event.at,
            event.kind,
            event.agent.map(|id| id.to_string()),
            event.order.map(|id| id.to_string()),
            event.data.to_string(),
            event.rollout.map(|id| id.to_string())
        ],
    )?;
    if webhooks::is_told(event.kind) {
        webhooks::tell(tx, event, row.get(0)?)?;
    }
    Ok(())
}

/// Events after a number, oldest first.
///
/// # Errors
/// [`StoreError::Cursor`] for a place that is none.
pub fn list(
    tx: &mut Tx<'_>,
    filter: &Filter,
    after: Option<&str>,
    limit: u32,
) -> Result<Page<EventInfo>, StoreError> {
    let (after, rows) = (number(after, 0)?, rows_for(limit));
    let (condition, about) = match filter {
        Filter::All => ("", None),
        Filter::Agent(id) => (" AND agent = $3", Some(id.to_string())),
        Filter::Order(id) => (" AND order_id = $3", Some(id.to_string())),
        Filter::Rollout(id) => (" AND rollout = $3", Some(id.to_string())),
    };
    let sql =
        format!("SELECT {COLUMNS} FROM events WHERE seq > $1{condition} ORDER BY seq LIMIT $2");
    let found = match about {
        None => tx.query(&sql, params![after, rows])?,
        Some(about) => tx.query(&sql, params![after, rows, about])?,
    };
    let items = found.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(page(items, limit, |event| event.seq.to_string()))
}

/// The newest events that fit, newest first, before a number.
///
/// # Errors
/// [`StoreError::Cursor`] for a place that is none.
pub fn timeline(
    tx: &mut Tx<'_>,
    agent: AgentId,
    before: Option<&str>,
    limit: u32,
) -> Result<Page<EventInfo>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM events WHERE agent = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3"
    );
    let before = number(before, i64::MAX)?;
    let found = tx.query(&sql, params![agent.to_string(), before, rows_for(limit)])?;
    let items = found.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(page(items, limit, |event| event.seq.to_string()))
}

/// The numbers of the oldest and the newest event that are kept; `None` when there is none. A
/// stream that wants to resume before the oldest has missed some.
///
/// # Errors
/// [`StoreError`].
pub fn range(tx: &mut Tx<'_>) -> Result<Option<(u64, u64)>, StoreError> {
    let row =
        tx.query_one("SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)", &[])?;
    Ok(row.get::<Option<u64>>(0)?.zip(row.get(1)?))
}

/// Forgets events older than `before`, oldest numbers first and at most `limit`; returns how
/// many. The newest stays, so that numbers never come again.
///
/// # Errors
/// [`StoreError`].
pub fn prune(tx: &mut Tx<'_>, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
    tx.execute(
        "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE seq IS NOT NULL \
         ORDER BY seq LIMIT $2) AND at < $1 AND seq < (SELECT max(seq) FROM events)",
        params![before, limit],
    )
}

pub(crate) fn read(row: &Row) -> Result<EventInfo, StoreError> {
    Ok(EventInfo {
        seq: row.get(0)?,
        at: row.get(1)?,
        kind: row.get(2)?,
        agent: row.parse_opt(3)?,
        order: row.parse_opt(4)?,
        data: row.json(5)?,
        rollout: row.parse_opt(6)?,
    })
}
