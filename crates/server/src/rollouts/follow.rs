//! What numbered events change in memory: controllers hear of their members, agents hear that
//! something may wait for them.

use handover_engine::rollout::controller::{Event, Presence};
use handover_engine::rollout::outcome::Outcome;
use handover_model::api::{EventInfo, HoldCode, OrderState, RolloutState};
use handover_model::{AgentId, RolloutId, Timestamp};
use handover_store::rollouts::RolloutKey;
use handover_store::{AgentKey, StoreError};
use serde::Deserialize;

use super::Rollouts;
use super::build::{Times, event_of};
use super::waits::{Waiting, Woken};
use crate::AppState;

/// How many members that a limit keeps are woken when one under way is through: more than one, in
/// case the first has gone.
const WOKEN: usize = 4;

/// What an order's event says of a rollout's member.
#[derive(Debug, Deserialize)]
struct OfMember {
    position: Option<u32>,
    attempt: Option<u32>,
    code: Option<String>,
    handed_out_at: Option<Timestamp>,
    accepted_at: Option<Timestamp>,
    activate_at: Option<Timestamp>,
}

/// What a rollout's own event says.
#[derive(Debug, Default, Deserialize)]
struct OfRollout {
    #[serde(default)]
    from: Option<u32>,
    #[serde(default)]
    until: Option<u32>,
    #[serde(default)]
    position: Option<u32>,
    #[serde(default)]
    generation: Option<u64>,
}

/// Takes one event over. `agent` is its agent's row, looked up before the event was followed
/// elsewhere: a retired agent is gone afterwards.
pub(crate) async fn follow(
    state: &AppState,
    event: &EventInfo,
    agent: Option<AgentKey>,
) -> Result<(), StoreError> {
    let kind = event.kind.as_str();
    if let Some(rest) = kind.strip_prefix("rollout.") {
        if let Some(id) = event.rollout {
            of_rollout(state, id, rest, event).await?;
        }
        return Ok(());
    }
    if state.rollouts.is_empty() {
        return Ok(());
    }
    if let Some(order) = kind.strip_prefix("order.") {
        of_order(state, order, event, agent);
    } else if kind.starts_with("fleet.") {
        wake_code(state, HoldCode::FleetStopped);
    } else if let (Some(id), Some(key)) = (event.agent, agent) {
        of_agent(state, kind, (id, key), event.at);
    }
    Ok(())
}

fn of_order(state: &AppState, name: &str, event: &EventInfo, agent: Option<AgentKey>) {
    let Ok(order) = name.parse::<OrderState>() else { return };
    if order.is_final()
        && let Some(agent) = agent
    {
        // Whatever waited for the end of that order may go on.
        state.rollouts.wake_agent(state, agent);
    }
    let (Some(id), Ok(said)) = (event.rollout, OfMember::deserialize(&event.data)) else { return };
    let Some((position, attempt)) = said.position.zip(said.attempt) else { return };
    let Some(key) = state.rollouts.key_of(id) else { return };
    let times = Times {
        handed_out_at: said.handed_out_at,
        accepted_at: said.accepted_at,
        activate_at: said.activate_at,
        changed_at: event.at,
    };
    let told = event_of((position, attempt), order, said.code.as_deref(), times);
    let woken = state.rollouts.with(key, |live| {
        if let Some(told) = told {
            live.tell(told);
        }
        let Some(drawn) = live.drawn.clone().filter(|_| order.is_final()) else {
            return Vec::new();
        };
        let mut woken = Vec::new();
        if matches!(told, Some(Event::Ended { outcome: Outcome::Passing | Outcome::Recalled, .. }))
        {
            // It comes again, and is told when.
            woken.push(position);
        }
        let is_there =
            |position| drawn.agent(position).is_some_and(|key| state.agents.is_there(key));
        woken.extend(live.waits.of_limits(WOKEN, is_there));
        woken.into_iter().filter_map(|position| drawn.agent(position)).collect()
    });
    state.agents.mark_keys(woken.into_iter().flatten());
    state.rollouts.ring();
}

fn of_agent(state: &AppState, kind: &str, (id, key): (AgentId, AgentKey), at: Timestamp) {
    let event = |position| match kind {
        "agent.away" => Some(Event::Presence { position, presence: Presence::Away, at }),
        "agent.present" => Some(Event::Presence { position, presence: Presence::Present, at }),
        "agent.retired" | "agent.cloned" => {
            Some(Event::Ended { position, attempt: 0, outcome: Outcome::Withdrawn, at })
        }
        _ => None,
    };
    let may_match = matches!(
        kind,
        "agent.enrolled" | "agent.returned" | "agent.labels" | "agent.reported" | "agent.present"
    );
    let mut is_stirred = false;
    state.rollouts.each(|live| {
        let position = live.drawn.as_ref().and_then(|drawn| drawn.position(key));
        match position {
            Some(position) => {
                if let Some(event) = event(position).filter(|_| position < live.row.released) {
                    live.tell(event);
                    is_stirred = true;
                }
            }
            None if may_match && live.takes_late_joiners() => {
                live.may_join.insert(id);
                live.is_stirred = true;
                is_stirred = true;
            }
            None => {}
        }
    });
    if matches!(kind, "agent.reported" | "agent.present") {
        state.rollouts.wake_agent(state, key);
    }
    if is_stirred {
        state.rollouts.ring();
    }
}

/// A rollout's own event: its row is read unless memory has it already, and agents are marked.
async fn of_rollout(
    state: &AppState,
    id: RolloutId,
    what: &str,
    event: &EventInfo,
) -> Result<(), StoreError> {
    if matches!(what, "done" | "aborted" | "superseded") {
        // It may have taken another one's hosts back.
        state.rollouts.each(|live| {
            live.is_stirred |= live.row.state == RolloutState::Reverting;
        });
        state.rollouts.ring();
    }
    let said = OfRollout::deserialize(&event.data).unwrap_or_default();
    let known = state.rollouts.key_of(id);
    let held = known.and_then(|key| state.rollouts.with(key, |live| live.row.generation));
    let is_known = held.zip(said.generation).is_some_and(|(held, said)| held >= said);
    let key = if is_known { known } else { state.rollouts.follow_row(&state.store, id).await? };
    let Some(key) = key else { return Ok(()) };
    let woken = state.rollouts.with(key, |live| {
        let positions: Vec<u32> = match what {
            "released" => (said.from.unwrap_or(0)..said.until.unwrap_or(0)).collect(),
            "resumed" | "changed" | "started" => live.waits.all(),
            "satisfied" => {
                let (attempt, outcome) = (0, Outcome::Satisfied);
                let ended = |position| Event::Ended { position, attempt, outcome, at: event.at };
                said.position.map(ended).into_iter().for_each(|event| live.tell(event));
                Vec::new()
            }
            "blocked" => {
                let (presence, at) = (Presence::Blocked, event.at);
                let blocked = |position| Event::Presence { position, presence, at };
                said.position.map(blocked).into_iter().for_each(|event| live.tell(event));
                Vec::new()
            }
            "decayed" => {
                let decayed = |position| Event::Decayed { position };
                said.position.map(decayed).into_iter().for_each(|event| live.tell(event));
                Vec::new()
            }
            _ => Vec::new(),
        };
        live.is_stirred |= what == "check";
        let Some(drawn) = &live.drawn else { return Vec::new() };
        positions.into_iter().filter_map(|position| drawn.agent(position)).collect()
    });
    state.agents.mark_keys(woken.into_iter().flatten());
    state.rollouts.ring();
    Ok(())
}

/// Wakes everybody whom that kind of hold keeps, in every rollout.
pub(super) fn wake_code(state: &AppState, code: HoldCode) {
    let mut woken = Vec::new();
    state.rollouts.each(|live| {
        let positions = live.waits.of_code(code);
        if let Some(drawn) = &live.drawn {
            woken.extend(positions.into_iter().filter_map(|position| drawn.agent(position)));
        }
        live.is_stirred = true;
    });
    state.agents.mark_keys(woken);
    state.rollouts.ring();
}

impl Rollouts {
    /// Marks an agent that waits in some rollout.
    fn wake_agent(&self, state: &AppState, agent: AgentKey) {
        let mut waits = false;
        self.each(|live| {
            let position = live.drawn.as_ref().and_then(|drawn| drawn.position(agent));
            waits |= position.is_some_and(|position| live.waits.code_of(position).is_some());
        });
        if waits {
            state.agents.mark_keys([agent]);
        }
    }

    /// Goes through all of them.
    pub(super) fn each(&self, mut look: impl FnMut(&mut super::Live)) {
        self.lock().values_mut().for_each(&mut look);
    }

    /// Notes what came of a hand-out that is durable now. Who missed its wake meanwhile is woken
    /// again; and when one that waited for the release does so no more, all of them are.
    pub(crate) fn settle(
        &self,
        state: &AppState,
        said: &[(RolloutKey, u32, Option<Waiting>, Woken)],
    ) {
        let mut again = Vec::new();
        for (key, position, waiting, woken) in said {
            self.with(*key, |live| {
                let mut positions = Vec::new();
                let before = live.waits.code_of(*position);
                if let Some(waiting) = waiting {
                    if live.waits.has_missed(waiting.code, *woken) {
                        positions.push(*position);
                    }
                    live.waits.insert(*position, waiting.clone());
                } else {
                    live.waits.remove(*position);
                }
                let code = waiting.as_ref().map(|waiting| waiting.code);
                if before == Some(HoldCode::Release) && code != before {
                    positions.extend(live.waits.of_code(HoldCode::Release));
                }
                if let Some(drawn) = &live.drawn {
                    again.extend(positions.into_iter().filter_map(|place| drawn.agent(place)));
                }
            });
        }
        state.agents.mark_keys(again);
    }
}

impl super::Live {
    fn takes_late_joiners(&self) -> bool {
        let is_live = self.spec.membership == handover_model::api::Membership::Live;
        is_live
            && match self.row.state {
                RolloutState::Running | RolloutState::Paused | RolloutState::Halted => true,
                RolloutState::Scheduled
                | RolloutState::Reverting
                | RolloutState::Reverted
                | RolloutState::Done
                | RolloutState::Aborted
                | RolloutState::Superseded => false,
            }
    }
}
