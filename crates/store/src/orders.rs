//! Orders: what people want of agents, signed in the transaction that first hands it out.

use handover_model::api::{OrderState, OrderStep, Page};
use handover_model::wire::{Action, Expect, Place, SignedDoc};
use handover_model::{
    AgentId, AgentName, ComponentName, OrderId, Progress, ReleaseId, RolloutId, Timestamp,
};

use crate::page::{number, page, rows_for};
use crate::rollouts::RolloutKey;
use crate::touch::AgentKey;
use crate::value::json;
use crate::{Row, StoreError, Tx, Value, params};

/// An order as it is stored. Read, changed by a pure function, and [`save`]d.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Its place in lists.
    pub key: i64,
    /// Its id.
    pub id: OrderId,
    /// The agent that it is for.
    pub agent: AgentKey,
    /// That agent's id.
    pub agent_id: AgentId,
    /// That agent's name.
    pub agent_name: AgentName,
    /// What to do.
    pub action: Action,
    /// What the one who ordered saw.
    pub expect: Option<Expect>,
    /// Why, in the words of the one who ordered.
    pub reason: Option<String>,
    /// Who ordered.
    pub by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it is void unless begun.
    pub expires: Timestamp,
    /// How far it is.
    pub state: OrderState,
    /// Its number among the agent's orders, once it was handed out.
    pub place: Option<Place>,
    /// The signed bytes, once it was handed out.
    pub document: Option<SignedDoc>,
    /// When it was handed out first.
    pub handed_out_at: Option<Timestamp>,
    /// The signed cancel, once there is one.
    pub cancel: Option<SignedDoc>,
    /// A stable code, where it did not go as ordered.
    pub code: Option<String>,
    /// The same, in words.
    pub outcome: Option<String>,
    /// The release that it came to.
    pub release: Option<ReleaseId>,
    /// The newest progress.
    pub progress: Option<Progress>,
    /// The order that took its place.
    pub superseded_by: Option<OrderId>,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// When it came to a final state.
    pub ended_at: Option<Timestamp>,
    /// Counts changes.
    pub generation: u64,
    /// The rollout that made it, and for which member.
    pub rollout: Option<(RolloutId, Member)>,
    /// When the host acknowledged it first: from then on the host is exposed to what it brings.
    pub accepted_at: Option<Timestamp>,
    /// Not to be activated before.
    pub activate_at: Option<Timestamp>,
}

/// For which member of a rollout an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The rollout.
    pub rollout: RolloutKey,
    /// The member's place in it, from 0.
    pub position: u32,
    /// Counts the orders for that member, from 1.
    pub attempt: u32,
}

/// An order that a person gives.
#[derive(Debug, Clone, PartialEq)]
pub struct NewOrder {
    /// Its id, minted by the server.
    pub id: OrderId,
    /// The agent.
    pub agent: AgentKey,
    /// What to do.
    pub action: Action,
    /// What the one who ordered saw.
    pub expect: Option<Expect>,
    /// Why.
    pub reason: Option<String>,
    /// Who orders.
    pub by: String,
    /// When it is void unless begun.
    pub expires: Timestamp,
    /// The rollout that makes it, and for which member.
    pub member: Option<Member>,
    /// Not to be activated before.
    pub activate_at: Option<Timestamp>,
}

/// Which orders. All that is given must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// For one agent.
    pub agent: Option<AgentKey>,
    /// In one state.
    pub state: Option<OrderState>,
    /// About one component.
    pub component: Option<ComponentName>,
    /// Only those that are not ended.
    pub is_open: bool,
}

const SELECT: &str = "SELECT o.key, o.id, o.agent, a.id, a.name, o.action, o.expect, o.reason, \
    o.created_by, o.created_at, o.expires_at, o.state, o.epoch, o.sequence, o.document, \
    o.handed_out_at, o.cancel, o.code, o.outcome, o.release, o.progress, o.superseded_by, \
    o.changed_at, o.ended_at, o.generation, o.rollout, o.position, o.attempt, o.accepted_at, \
    o.activate_at, (SELECT r.id FROM rollouts r WHERE r.key = o.rollout) \
    FROM orders o CROSS JOIN agents a \
    WHERE a.key = o.agent";

/// Writes down what a person wants, as `pending`.
///
/// # Errors
/// [`StoreError::Constraint`] when there is no such agent.
pub fn insert(tx: &mut Tx<'_>, new: &NewOrder, now: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO orders (id, agent, state, action, component, expect, reason, created_by, \
         created_at, expires_at, changed_at, generation, rollout, position, attempt, activate_at) \
         VALUES ($1, $2, 'pending', $3, $4, $5, $6, $7, $8, $9, $8, 1, $10, $11, $12, $13)",
        params![
            new.id.to_string(),
            new.agent.0,
            json(&new.action),
            new.action.component().map(ComponentName::as_str),
            new.expect.as_ref().map(json),
            new.reason.as_ref(),
            &new.by,
            now,
            new.expires,
            new.member.map(|member| member.rollout.0),
            new.member.map(|member| member.position),
            new.member.map(|member| member.attempt),
            new.activate_at
        ],
    )?;
    step(tx, new.id, OrderState::Pending, None, None, now)
}

/// One order by its id.
///
/// # Errors
/// [`StoreError`].
pub fn get(tx: &mut Tx<'_>, id: OrderId) -> Result<Option<Order>, StoreError> {
    let row = tx.query_opt(&format!("{SELECT} AND o.id = $1"), params![id.to_string()])?;
    row.as_ref().map(read).transpose()
}

/// The last order that moved a component of an agent and was done.
///
/// # Errors
/// [`StoreError`].
pub fn last_move(
    tx: &mut Tx<'_>,
    agent: AgentKey,
    component: &ComponentName,
) -> Result<Option<OrderId>, StoreError> {
    // Documents of ours are written with their tag first.
    let row = tx.query_opt(
        "SELECT id FROM orders WHERE agent = $1 AND component = $2 AND state = 'done' \
         AND (action LIKE '{\"do\":\"update\"%' OR action LIKE '{\"do\":\"rollback\"%') \
         ORDER BY key DESC LIMIT 1",
        params![agent.0, component.as_str()],
    )?;
    row.map(|row| row.parse(0)).transpose()
}

/// An agent's open orders, oldest first; at most 1,000.
///
/// # Errors
/// [`StoreError`].
pub fn open_of(tx: &mut Tx<'_>, agent: AgentKey) -> Result<Vec<Order>, StoreError> {
    let sql = format!("{SELECT} AND o.agent = $1 AND o.ended_at IS NULL ORDER BY o.key LIMIT 1000");
    tx.query(&sql, params![agent.0])?.iter().map(read).collect()
}

/// Orders whose time is over at `now` and that nobody came for, the most overdue first. What was
/// handed out is left to the host's own word.
///
/// # Errors
/// [`StoreError`].
pub fn overdue(tx: &mut Tx<'_>, now: Timestamp, limit: u32) -> Result<Vec<Order>, StoreError> {
    let sql = format!(
        "{SELECT} AND o.expires_at <= $1 AND o.state = 'pending' \
         ORDER BY o.expires_at, o.key LIMIT $2"
    );
    tx.query(&sql, params![now, limit])?.iter().map(read).collect()
}

/// A page of orders, newest first, before a place.
///
/// # Errors
/// [`StoreError::Cursor`] for a place that is none.
pub fn list(
    tx: &mut Tx<'_>,
    filter: &Filter,
    before: Option<&str>,
    limit: u32,
) -> Result<Page<Order>, StoreError> {
    let mut values: Vec<Value<'_>> = vec![number(before, i64::MAX)?.into(), rows_for(limit).into()];
    let mut sql = format!("{SELECT} AND o.key < $1");
    let mut and = |condition: &str, value: Option<Value<'static>>| {
        sql.push_str(condition);
        if let Some(value) = value {
            values.push(value);
            sql.push('$');
            sql.push_str(&values.len().to_string());
        }
    };
    if let Some(agent) = filter.agent {
        and(" AND o.agent = ", Some(agent.0.into()));
    }
    if let Some(state) = filter.state {
        and(" AND o.state = ", Some(state.name().into()));
    }
    if let Some(component) = &filter.component {
        and(" AND o.component = ", Some(component.to_string().into()));
    }
    if filter.is_open {
        and(" AND o.ended_at IS NULL", None);
    }
    sql.push_str(" ORDER BY o.key DESC LIMIT $2");
    let rows = tx.query(&sql, &values)?;
    let items = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(page(items, limit, |order| order.key.to_string()))
}

/// Stores what may change of an order, unless somebody else changed it since it was read, and
/// remembers the step when its state changed. Returns the new generation.
///
/// # Errors
/// [`StoreError::Stale`] when somebody did.
pub fn save(tx: &mut Tx<'_>, order: &Order, now: Timestamp) -> Result<u64, StoreError> {
    let row =
        tx.query_opt("SELECT generation, state FROM orders WHERE key = $1", params![order.key])?;
    let absent = || StoreError::Absent { what: "order", id: order.id.to_string() };
    let row = row.ok_or_else(absent)?;
    let (found, state): (u64, OrderState) = (row.get(0)?, row.parse(1)?);
    if found != order.generation {
        let id = order.id.to_string();
        return Err(StoreError::Stale { what: "order", id, expected: order.generation, found });
    }
    let ended_at = if order.state.is_final() { order.ended_at.or(Some(now)) } else { None };
    tx.execute(
        "UPDATE orders SET state = $2, epoch = $3, sequence = $4, document = $5, \
         handed_out_at = $6, cancel = $7, code = $8, outcome = $9, release = $10, \
         progress = $11, superseded_by = $12, expires_at = $13, changed_at = $14, \
         ended_at = $15, generation = $16, accepted_at = $17 WHERE key = $1",
        params![
            order.key,
            order.state.name(),
            order.place.map(|place| place.epoch),
            order.place.map(|place| place.sequence),
            order.document.as_ref().map(json),
            order.handed_out_at,
            order.cancel.as_ref().map(json),
            order.code.as_ref(),
            order.outcome.as_ref(),
            order.release.as_ref().map(json),
            order.progress.as_ref().map(json),
            order.superseded_by.map(|id| id.to_string()),
            order.expires,
            now,
            ended_at,
            found + 1,
            order.accepted_at.or_else(|| is_begun(order.state).then_some(now))
        ],
    )?;
    if state != order.state {
        step(tx, order.id, order.state, order.code.as_deref(), order.outcome.as_deref(), now)?;
    }
    Ok(found + 1)
}

/// How an order went, oldest first; at most 1,000 steps.
///
/// # Errors
/// [`StoreError`].
pub fn history(tx: &mut Tx<'_>, id: OrderId) -> Result<Vec<OrderStep>, StoreError> {
    let rows = tx.query(
        "SELECT at, state, code, words FROM order_steps WHERE order_id = $1 ORDER BY key \
         LIMIT 1000",
        params![id.to_string()],
    )?;
    let read = |row: &Row| {
        let (at, state) = (row.get(0)?, row.parse(1)?);
        Ok(OrderStep { at, state, code: row.get(2)?, text: row.get(3)? })
    };
    rows.iter().map(read).collect()
}

/// How many orders are in which state.
///
/// # Errors
/// [`StoreError`].
pub fn count_by_state(tx: &mut Tx<'_>) -> Result<Vec<(OrderState, u32)>, StoreError> {
    let rows = tx.query("SELECT state, count(*) FROM orders GROUP BY state", &[])?;
    rows.iter().map(|row| Ok((row.parse(0)?, row.get(1)?))).collect()
}

/// Whether the state says that the host acknowledged the order and did not turn it down.
pub fn is_begun(state: OrderState) -> bool {
    match state {
        OrderState::Accepted
        | OrderState::Running
        | OrderState::Done
        | OrderState::Failed
        | OrderState::Reverted => true,
        OrderState::Pending
        | OrderState::HandedOut
        | OrderState::Cancelling
        | OrderState::Refused
        | OrderState::Cancelled
        | OrderState::Expired
        | OrderState::Superseded
        | OrderState::Voided => false,
    }
}

fn step(
    tx: &mut Tx<'_>,
    id: OrderId,
    state: OrderState,
    code: Option<&str>,
    words: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO order_steps (order_id, at, state, code, words) VALUES ($1, $2, $3, $4, $5)",
        params![id.to_string(), now, state.name(), code, words],
    )?;
    Ok(())
}

fn read(row: &Row) -> Result<Order, StoreError> {
    let place = row.get::<Option<u64>>(12)?.zip(row.get::<Option<u64>>(13)?);
    let rollout = match (row.get::<Option<i64>>(25)?, row.parse_opt(30)?) {
        (Some(key), Some(id)) => {
            let (position, attempt) = (row.get(26)?, row.get(27)?);
            Some((id, Member { rollout: RolloutKey(key), position, attempt }))
        }
        (None, _) | (_, None) => None,
    };
    Ok(Order {
        key: row.get(0)?,
        id: row.parse(1)?,
        agent: AgentKey(row.get(2)?),
        agent_id: row.parse(3)?,
        agent_name: row.parse(4)?,
        action: row.json(5)?,
        expect: row.json_opt(6)?,
        reason: row.get(7)?,
        by: row.get(8)?,
        created_at: row.get(9)?,
        expires: row.get(10)?,
        state: row.parse(11)?,
        place: place.map(|(epoch, sequence)| Place { epoch, sequence }),
        document: row.json_opt(14)?,
        handed_out_at: row.get(15)?,
        cancel: row.json_opt(16)?,
        code: row.get(17)?,
        outcome: row.get(18)?,
        release: row.json_opt(19)?,
        progress: row.json_opt(20)?,
        superseded_by: row.parse_opt(21)?,
        changed_at: row.get(22)?,
        ended_at: row.get(23)?,
        generation: row.get(24)?,
        rollout,
        accepted_at: row.get(28)?,
        activate_at: row.get(29)?,
    })
}
