//! What time alone changes: orders that nobody came for, agents that fell silent, ephemeral ones
//! that are gone, and rows that are kept for a while only.

use std::time::Duration;

use handover_engine::control::orders::expire;
use handover_engine::control::presence::{is_gone, stands};
use handover_model::api::AgentState;
use handover_model::{Millis, Timestamp};
use handover_store::agents::{self, Silent};
use handover_store::{AgentKey, Lease, StoreError, Tx, events, idempotency, orders};
use serde_json::json;

use super::{Post, note, pause};
use crate::gateway::{known, leave, write_order};
use crate::{AppState, Problem, news};

/// How many are looked at in one transaction.
const BATCH: u32 = 500;
/// How long events are kept.
const EVENTS_KEPT: Duration = Duration::from_hours(90 * 24);
/// The longest time between two sweeps.
const SELDOM: Duration = Duration::from_secs(15);
/// The shortest.
const OFTEN: Duration = Duration::from_millis(100);

/// Sweeps until the server stops.
pub(super) async fn run(state: AppState) {
    let mut post = Post::new("sweep");
    let rhythm = state.config.next.duration().clamp(OFTEN, SELDOM);
    while pause(&state, rhythm).await {
        turn(&state, &mut post).await;
    }
    post.leave(&state).await;
}

/// One sweep, if this replica has the lease.
pub(super) async fn turn(state: &AppState, post: &mut Post) {
    let Some(Some(lease)) = note("sweep", post.hold(state).await) else { return };
    note("orders", expire_orders(state, &lease).await);
    note("silence", notice_silence(state, &lease).await);
    note("pruning", prune(state, &lease).await);
}

async fn expire_orders(state: &AppState, lease: &Lease) -> Result<(), StoreError> {
    let now = state.now().wall;
    let overdue = state.store.read(move |tx| orders::overdue(tx, now, BATCH)).await?;
    if !overdue.iter().any(|order| expire(&known(order), now).is_some()) {
        return Ok(());
    }
    let lease = lease.clone();
    let swept = state.store.write(move |tx| -> Result<(), Failed> {
        tx.check_fence(&lease)?;
        for mut order in orders::overdue(tx, now, BATCH)? {
            if let Some(change) = expire(&known(&order), now) {
                write_order(tx, &mut order, change, now)?;
            }
        }
        Ok(())
    });
    Ok(swept.await?)
}

async fn notice_silence(state: &AppState, lease: &Lease) -> Result<(), StoreError> {
    let now = state.now().wall;
    let patience = state.config.away_after();
    let since = back(now, patience.duration());
    let mut after = AgentKey::from_i64(0);
    loop {
        let page =
            state.store.read(move |tx| agents::silent_since(tx, since, after, BATCH)).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.key;
        let changed: Vec<_> =
            page.into_iter().filter(|silent| verdict(silent, now, patience).is_some()).collect();
        if changed.is_empty() {
            continue;
        }
        let lease = lease.clone();
        let swept = state.store.write(move |tx| -> Result<(), Failed> {
            tx.check_fence(&lease)?;
            changed.iter().try_for_each(|silent| write_silence(tx, silent, now, patience))
        });
        swept.await?;
    }
}

/// What a silence makes of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Away,
    Gone,
}

fn verdict(silent: &Silent, now: Timestamp, patience: Millis) -> Option<Verdict> {
    if is_gone(silent.ephemeral_after, silent.last_seen, now) {
        return Some(Verdict::Gone);
    }
    let stands = stands(silent.state, silent.last_seen, now, patience);
    (stands == AgentState::Away && silent.state != AgentState::Away).then_some(Verdict::Away)
}

/// Writes it, unless the agent was heard in the meantime.
fn write_silence(
    tx: &mut Tx<'_>,
    silent: &Silent,
    now: Timestamp,
    patience: Millis,
) -> Result<(), Failed> {
    let Some(agent) = agents::by_key(tx, silent.key)? else { return Ok(()) };
    let last_seen = agent.last_seen.unwrap_or(agent.enrolled_at);
    if last_seen > silent.last_seen || agent.retired_at.is_some() {
        return Ok(());
    }
    let today =
        Silent { state: agent.state, last_seen, ephemeral_after: agent.ephemeral_after, ..*silent };
    match verdict(&today, now, patience) {
        Some(Verdict::Gone) => {
            let why = format!("ephemeral, and silent since {last_seen}");
            leave(tx, &agent, &why, now)?;
        }
        Some(Verdict::Away) => {
            agents::set_standing(tx, agent.key, AgentState::Away, None, now)?;
            news::agent(tx, now, "agent.away", &agent, json!({ "last_seen": last_seen }))?;
        }
        None => {}
    }
    Ok(())
}

async fn prune(state: &AppState, lease: &Lease) -> Result<(), StoreError> {
    let now = state.now().wall;
    let oldest = back(now, EVENTS_KEPT);
    let is_old = state
        .store
        .read(move |tx| -> Result<bool, StoreError> {
            let page = events::list(tx, &events::Filter::All, None, 1)?;
            Ok(page.items.first().is_some_and(|event| event.at < oldest)
                || idempotency::is_due(tx, now)?)
        })
        .await?;
    if !is_old {
        return Ok(());
    }
    let lease = lease.clone();
    state
        .store
        .write(move |tx| -> Result<(), StoreError> {
            tx.check_fence(&lease)?;
            idempotency::prune(tx, now, BATCH)?;
            events::prune(tx, oldest, BATCH)?;
            Ok(())
        })
        .await
}

fn back(now: Timestamp, length: Duration) -> Timestamp {
    let micros = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_sub(micros))
}

/// Why a sweep's transaction was taken back.
enum Failed {
    Store(StoreError),
    Problem(Problem),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Store(error) => error,
            // The cause was logged where the problem was made of it.
            Failed::Problem(problem) => {
                tracing::warn!(problem = ?problem, "sweep taken back");
                Self::Contended { database: "the control plane's".to_owned(), tries: 1 }
            }
        }
    }
}
