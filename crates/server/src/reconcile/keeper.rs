//! The keeper: ends orders that nobody came for, says who is away, retires ephemeral agents that
//! are gone, and removes what is past its time.

use std::time::Duration;

use handover_engine::control::{orders as life, presence};
use handover_model::api::AgentState;
use handover_model::wire::LONGEST_WAIT;
use handover_model::{Millis, Timestamp};
use handover_store::agents::Silent;
use handover_store::leases::Lease;
use handover_store::{AgentKey, StoreError, Tx, agents, events, idempotency, orders};
use serde_json::json;

use super::{Hold, pause};
use crate::AppState;

/// The name of the keeper's lease.
const LEASE: &str = "keeper";
/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
/// How often it removes what is past its time.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// How many rows it changes in one transaction.
const BATCH: u32 = 200;
/// How long events are kept.
const EVENTS_KEPT: Duration = Duration::from_hours(90 * 24);

/// Keeps house until the server stops.
pub(super) async fn run(state: AppState) {
    let mut hold = Hold::new(&state, LEASE);
    let mut swept = state.now().mono;
    while !state.stop.is_cancelled() {
        let now = state.now();
        let is_time = now.mono.saturating_sub(swept) >= SWEEP_EVERY;
        let done = match hold.keep(&state).await {
            Ok(Some(lease)) if is_time => {
                swept = now.mono;
                sweep(&state, &lease, now.wall).await
            }
            Ok(Some(lease)) => round(&state, &lease).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            hold.fail(&state, &error).await;
        }
        pause(&state, EVERY).await;
    }
    hold.release(&state.store).await;
}

async fn round(state: &AppState, lease: &Lease) -> Result<(), StoreError> {
    let now = state.now().wall;
    let away_after = presence::away_after(state.config.next, Millis(LONGEST_WAIT));
    expire(state, lease, now).await?;
    let mut after = AgentKey::from_i64(0);
    loop {
        let since = before(now, away_after);
        let found =
            state.store.read(move |tx| agents::silent_since(tx, since, after, BATCH)).await?;
        let Some(last) = found.last() else { break };
        after = last.key;
        let is_last = found.len() < usize::try_from(BATCH).unwrap_or(usize::MAX);
        let turned: Vec<_> =
            found.into_iter().filter_map(|one| Turn::of(one, now, away_after)).collect();
        if !turned.is_empty() {
            let lease = lease.clone();
            state
                .store
                .write(move |tx| {
                    tx.check_fence(&lease)?;
                    turned.iter().try_for_each(|turn| turn.write(tx, now))
                })
                .await?;
        }
        if is_last {
            break;
        }
    }
    Ok(())
}

/// Ends orders that nobody came for in time.
async fn expire(state: &AppState, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
    let late = state.store.read(move |tx| orders::overdue(tx, now, BATCH)).await?;
    if late.is_empty() {
        return Ok(());
    }
    let lease = lease.clone();
    state
        .store
        .write(move |tx| {
            tx.check_fence(&lease)?;
            // Read again: an agent may have come for one since.
            for mut order in orders::overdue(tx, now, BATCH)? {
                let known = life::Known {
                    action: &order.action,
                    state: order.state,
                    expires: order.expires,
                    code: order.code.as_deref(),
                    release: order.release.as_ref(),
                };
                let Some(change) = life::expire(&known, now) else { continue };
                order.state = change.state;
                order.code = change.code;
                order.outcome = change.words;
                orders::save(tx, &order, now)?;
                let event = events::NewEvent {
                    at: now,
                    kind: "order.expired",
                    agent: Some(order.agent_id),
                    order: Some(order.id),
                    data: json!({ "code": order.code, "text": order.outcome }),
                };
                events::insert(tx, &event)?;
            }
            Ok(())
        })
        .await
}

/// How an agent stands from now on.
#[derive(Debug)]
struct Turn {
    agent: Silent,
    to: AgentState,
}

impl Turn {
    fn of(agent: Silent, now: Timestamp, away_after: Millis) -> Option<Self> {
        if presence::is_gone(agent.ephemeral_after, agent.last_seen, now) {
            return Some(Self { agent, to: AgentState::Retired });
        }
        let to = presence::stands(agent.state, agent.last_seen, now, away_after);
        (to != agent.state).then_some(Self { agent, to })
    }

    fn write(&self, tx: &mut Tx<'_>, now: Timestamp) -> Result<(), StoreError> {
        let (kind, note) = match self.to {
            AgentState::Retired => ("agent.retired", Some("ephemeral, and silent for too long")),
            AgentState::Present | AgentState::Away | AgentState::Cloned => ("agent.away", None),
        };
        agents::set_standing(tx, self.agent.key, self.to, note, now)?;
        let event = events::NewEvent {
            at: now,
            kind,
            agent: Some(self.agent.id),
            order: None,
            data: json!({ "last_seen": self.agent.last_seen, "text": note }),
        };
        events::insert(tx, &event)
    }
}

/// Removes what is past its time, a little at a time.
async fn sweep(state: &AppState, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
    let (lease, old) = (lease.clone(), before(now, Millis::of(EVENTS_KEPT)));
    state
        .store
        .write(move |tx| {
            tx.check_fence(&lease)?;
            idempotency::prune(tx, now, BATCH)?;
            events::prune(tx, old, BATCH)?;
            Ok(())
        })
        .await
}

fn before(now: Timestamp, length: Millis) -> Timestamp {
    let length = i64::try_from(length.duration().as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_sub(length))
}
