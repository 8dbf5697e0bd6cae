//! Taking reports: kept with their bytes, and what they say of hosts and orders.

use handover_engine::control::orders::{Change, hear, look};
use handover_model::api::{AgentState, OrderState};
use handover_model::wire::{Action, HostState, OrderReport, Report, ReportBody};
use handover_model::{Digest, Timestamp};
use handover_store::agents::{self, Agent};
use handover_store::orders::{self, Order};
use handover_store::{Tx, pins, reports};
use handover_trust::control::state_digest;
use serde::Deserialize as _;
use serde_json::json;

mod decay;

use super::exchange::Proved;
use super::handout::known;
use crate::rollouts::Touched;
use crate::{Problem, news};

/// What came of a batch of reports.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) acknowledged: u64,
    pub(super) state_digest: Option<Digest>,
    /// The agent says that it left, as it was ordered to.
    pub(super) has_left: bool,
}

/// Takes reports, oldest first. Those that were taken before have no effect.
pub(super) fn take(
    tx: &mut Tx<'_>,
    agent: &Agent,
    batch: &[Proved],
    touched: &[Touched],
    now: Timestamp,
) -> Result<Taken, Problem> {
    let mut taken = Taken {
        acknowledged: agent.acknowledged,
        state_digest: agent.state_digest,
        has_left: false,
    };
    let new = || batch.iter().filter(|proved| proved.report.number > agent.acknowledged);
    let host = newest_state(new());
    for Proved { report, document } in new() {
        taken.acknowledged = taken.acknowledged.max(report.number);
        match &report.body {
            ReportBody::State(state) => {
                if !reports::keep(tx, agent.key, report, document, now)? {
                    continue;
                }
                let digest = state_digest(state).map_err(|error| Problem::internal(&error))?;
                agents::put_state(tx, agent.key, report.number, &digest, state, report.at)?;
                taken.state_digest = Some(digest);
                take_state(tx, agent, state, now)?;
                for touched in touched {
                    decay::look(tx, agent, state, touched, now)?;
                }
            }
            ReportBody::Order(order) => {
                // What is on no order of its own is not kept: one agent must not fill the disk.
                let Some(own) = own_order(tx, agent, order)? else { continue };
                if reports::keep(tx, agent.key, report, document, now)? {
                    taken.has_left |= take_order(tx, agent, own, order, host, now)?;
                }
            }
        }
    }
    if taken.acknowledged > agent.acknowledged {
        agents::acknowledge(tx, agent.key, taken.acknowledged)?;
    }
    if taken.has_left {
        leave(tx, agent, "it left, as it was ordered to", now)?;
    }
    Ok(taken)
}

fn newest_state<'p>(batch: impl Iterator<Item = &'p Proved>) -> Option<&'p HostState> {
    batch
        .filter_map(|proved| match &proved.report.body {
            ReportBody::State(state) => Some(state.as_ref()),
            ReportBody::Order(_) => None,
        })
        .last()
}

/// A fresh look of a host: it may prove an order, and it shows which pins are in force.
fn take_state(
    tx: &mut Tx<'_>,
    agent: &Agent,
    state: &HostState,
    now: Timestamp,
) -> Result<(), Problem> {
    for mut order in orders::open_of(tx, agent.key)? {
        if let Some(change) = look(&known(&order), state) {
            write(tx, &mut order, change, now)?;
        }
    }
    for pin in pins::of_agent(tx, agent.key)? {
        let on_host = state
            .components
            .iter()
            .find(|one| one.component == pin.component)
            .and_then(|one| one.control_pin.as_ref());
        let in_force = on_host == pin.pin.as_ref();
        if in_force != pin.in_force {
            pins::set_in_force(tx, agent.key, &pin.component, in_force)?;
        }
    }
    let components: Vec<_> = state
        .components
        .iter()
        .map(|one| {
            json!({
                "component": one.component,
                "current": one.current.as_ref().map(|release| &release.version),
                "trial": one.trial.as_ref().map(|release| &release.version),
                "outlook": one.outlook.as_ref().map(|outlook| &outlook.code),
            })
        })
        .collect();
    news::agent(tx, now, "agent.reported", agent, json!({ "components": components }))?;
    Ok(())
}

/// The order that a host speaks of, if it was handed out to it under that number and its end is
/// not known yet. A word on another one has no effect, nor one on an order that this database
/// does not know (it may know one after a restore again).
fn own_order(
    tx: &mut Tx<'_>,
    agent: &Agent,
    report: &OrderReport,
) -> Result<Option<Order>, Problem> {
    let found = orders::get(tx, report.order)?;
    let own = found
        .filter(|order| order.agent == agent.key && order.place == Some(report.place))
        .filter(|order| !order.state.is_final());
    if own.is_none() {
        tracing::debug!(agent.id = %agent.id, order.id = %report.order, "a word on no open order");
    }
    Ok(own)
}

/// A host's word on an order of its own.
fn take_order(
    tx: &mut Tx<'_>,
    agent: &Agent,
    mut order: Order,
    report: &OrderReport,
    host: Option<&HostState>,
    now: Timestamp,
) -> Result<bool, Problem> {
    let stored = match host {
        Some(_) => None,
        None => stored_state(tx, agent)?,
    };
    let host = host.or(stored.as_ref());
    let Some(change) = hear(&known(&order), report, host) else { return Ok(false) };
    write(tx, &mut order, change, now)?;
    Ok(order.action == Action::Retire && order.state == OrderState::Done)
}

fn stored_state(tx: &mut Tx<'_>, agent: &Agent) -> Result<Option<HostState>, Problem> {
    let Some(stored) = reports::newest_state(tx, agent.key)? else { return Ok(None) };
    let signed = stored.document.0.get("signed");
    let report = signed.and_then(|signed| Report::deserialize(signed).ok());
    Ok(report.and_then(|report| match report.body {
        ReportBody::State(state) => Some(*state),
        ReportBody::Order(_) => None,
    }))
}

/// Writes a change of an order, with its event.
pub(crate) fn write(
    tx: &mut Tx<'_>,
    order: &mut Order,
    change: Change,
    now: Timestamp,
) -> Result<(), Problem> {
    order.state = change.state;
    if orders::is_begun(order.state) {
        order.accepted_at = order.accepted_at.or(Some(now));
    }
    // A cancel's reason outlives the host's word that it was cancelled.
    let was_cancelled = order.state == OrderState::Cancelled;
    order.code = change.code.or_else(|| order.code.take().filter(|_| was_cancelled));
    order.outcome = change.words;
    order.release = change.release.or_else(|| order.release.take());
    order.progress = change.progress.or_else(|| order.progress.take());
    order.generation = orders::save(tx, order, now)?;
    news::order(tx, now, order)?;
    Ok(())
}

/// Retires an agent, and voids what was ordered of it.
pub(crate) fn leave(
    tx: &mut Tx<'_>,
    agent: &Agent,
    why: &str,
    now: Timestamp,
) -> Result<(), Problem> {
    for mut order in orders::open_of(tx, agent.key)? {
        let change = Change {
            state: OrderState::Voided,
            code: Some("agent.retired".to_owned()),
            words: Some(format!("the agent is retired: {why}")),
            release: None,
            progress: None,
        };
        write(tx, &mut order, change, now)?;
    }
    agents::set_standing(tx, agent.key, AgentState::Retired, Some(why), now)?;
    news::agent(tx, now, "agent.retired", agent, json!({ "note": why }))?;
    let states = (Some(agent.state), Some(AgentState::Retired));
    news::audit(tx, now, "server", "agent.retire", agent.id, states)?;
    Ok(())
}
