//! A rollout as people see it.

use std::collections::BTreeMap;

use handover_engine::rollout::controller::{Controller, Halt, Progress};
use handover_engine::rollout::holds::Held;
use handover_model::AgentName;
use handover_model::api::{
    Deciding, HaltInfo, Hold, HoldCode, HoldLifter, RolloutInfo, RolloutState,
};
use handover_store::rollouts::{self, Rollout};
use handover_store::{AgentKey, StoreError, agents};

use super::decide::Scene;
use super::live::{Drawn, document};
use super::{Live, build};
use crate::AppState;

/// Positions of members with their agents.
type Named = BTreeMap<u32, (handover_model::AgentId, AgentName)>;

/// A rollout, whole.
pub(crate) async fn info_of(state: &AppState, row: Rollout) -> Result<RolloutInfo, StoreError> {
    let seen = look(state, &row).await?;
    let Some(seen) = seen else { return Ok(summary_of(state, row)) };
    let progress = &seen.progress;
    let mut positions: Vec<u32> =
        seen.holds.iter().flat_map(|held| held.positions.iter().copied()).collect();
    positions.extend(progress.halt.iter().flat_map(|halt| halt.deciding.iter().copied()));
    let named = named(state, &seen.drawn, positions).await?;
    let halt = match &progress.halt {
        Some(halt) => Some(halt_of(state, &row, &seen, halt, &named).await?),
        None => None,
    };
    let mut holds: Vec<Hold> = seen.holds.iter().map(|held| hold_of(held, &named)).collect();
    add_standing(&row, progress, &mut holds);
    Ok(RolloutInfo {
        counts: seen.counts,
        waves: seen.waves,
        evidence: seen.evidence,
        halt,
        alerts: progress.alerts.clone(),
        holds,
        ..bare(row)
    })
}

/// A rollout in a list: what its row says, and what memory has of it.
pub(crate) fn summary_of(state: &AppState, row: Rollout) -> RolloutInfo {
    let progress: Option<Progress> = document(&row.progress, "progress").ok();
    let seen = state.rollouts.with(row.key, |live| {
        let seen = live.controller().map(|controller| (controller.counts(), controller.waves()));
        (seen, live.shown_holds().into_iter().map(|held| held.hold).collect::<Vec<_>>())
    });
    let (counts, mut holds) = seen.unwrap_or_default();
    let (counts, waves) = counts.unwrap_or_else(|| (row.counts, Vec::new()));
    if let Some(progress) = &progress {
        add_standing(&row, progress, &mut holds);
    }
    let alerts = progress.map(|progress| progress.alerts).unwrap_or_default();
    RolloutInfo { counts, waves, alerts, holds, ..bare(row) }
}

/// What a controller shows.
struct Seen {
    drawn: Drawn,
    progress: Progress,
    counts: handover_model::api::Counts,
    waves: Vec<handover_model::api::WaveInfo>,
    evidence: Option<handover_model::api::EvidenceInfo>,
    holds: Vec<Held>,
    outcomes: BTreeMap<u32, handover_model::api::MemberOutcome>,
}

impl Seen {
    fn of(drawn: &Drawn, controller: &Controller, holds: Vec<Held>) -> Self {
        let progress = controller.progress().clone();
        let deciding = progress.halt.iter().flat_map(|halt| halt.deciding.iter().copied());
        let outcomes = deciding.map(|position| (position, controller.outcome(position))).collect();
        Self {
            drawn: drawn.clone(),
            counts: controller.counts(),
            waves: controller.waves(),
            evidence: controller.evidence(),
            progress,
            holds,
            outcomes,
        }
    }
}

/// Looks through the controller that decides, where that is here; else through one that is opened
/// for this look alone.
async fn look(state: &AppState, row: &Rollout) -> Result<Option<Seen>, StoreError> {
    if row.plan.is_none() {
        return Ok(None);
    }
    let here = state.rollouts.with(row.key, |live: &mut Live| {
        let is_ours = live.is_ours && live.row.generation >= row.generation;
        let controller = live.controller().filter(|_| is_ours)?;
        Some(Seen::of(live.drawn.as_ref()?, controller, live.shown_holds()))
    });
    if let Some(Some(seen)) = here {
        return Ok(Some(seen));
    }
    let Some((drawn, controller)) = build::open_aside(&state.store, row).await? else {
        return Ok(None);
    };
    let now = state.now().wall;
    let mut aside = Live::aside(row.clone(), drawn.clone(), controller);
    let holds = if super::is_live(row) {
        let window = aside.windows.at(now);
        build::tell_presence(state, &mut aside);
        let scene = Scene::read(state, row.id, &row.spec, window, now).await?;
        scene.decide(state, &mut aside).map(|decision| decision.holds).unwrap_or_default()
    } else {
        Vec::new()
    };
    Ok(aside.controller().map(|controller| Seen::of(&drawn, controller, holds)))
}

fn bare(row: Rollout) -> RolloutInfo {
    RolloutInfo {
        id: row.id,
        name: row.name,
        kind: row.kind,
        spec: row.spec,
        state: row.state,
        generation: row.generation,
        by: row.by,
        created_at: row.created_at,
        started_at: row.started_at,
        ended_at: row.ended_at,
        watch_until: row.watch_until,
        counts: row.counts,
        waves: Vec::new(),
        holds: Vec::new(),
        evidence: None,
        halt: None,
        alerts: Vec::new(),
        reverted_by: row.reverted_by,
        superseded_by: row.superseded_by,
    }
}

/// What the state itself says holds it, where the last decision was before that.
fn add_standing(row: &Rollout, progress: &Progress, holds: &mut Vec<Hold>) {
    let (code, text, until) = match row.state {
        RolloutState::Paused => {
            let by = progress.paused.as_ref().map_or("somebody", |signed| signed.by.as_str());
            (HoldCode::Paused, format!("{by} paused it"), None)
        }
        RolloutState::Halted => {
            let text = progress.halt.as_ref().map_or("a gate halted it", |halt| &halt.text);
            (HoldCode::Halted, text.to_owned(), None)
        }
        RolloutState::Scheduled => {
            let Some(at) = row.start_at else { return };
            (HoldCode::Scheduled, format!("it starts at {at}"), Some(at))
        }
        RolloutState::Running
        | RolloutState::Reverting
        | RolloutState::Reverted
        | RolloutState::Done
        | RolloutState::Aborted
        | RolloutState::Superseded => {
            holds.retain(|hold| !matches!(hold.code, HoldCode::Paused | HoldCode::Halted));
            return;
        }
    };
    if holds.iter().any(|hold| hold.code == code) {
        return;
    }
    let lifted_by = if until.is_some() { HoldLifter::Time } else { HoldLifter::Person };
    holds.insert(0, Hold { code, text, lifted_by, until, wave: None, agents: Vec::new() });
}

fn hold_of(held: &Held, named: &Named) -> Hold {
    let agents = held.positions.iter().filter_map(|position| named.get(position));
    Hold { agents: agents.map(|(_, name)| name.clone()).collect(), ..held.hold.clone() }
}

async fn named(state: &AppState, drawn: &Drawn, positions: Vec<u32>) -> Result<Named, StoreError> {
    let wanted: BTreeMap<u32, AgentKey> = positions
        .into_iter()
        .filter_map(|position| Some((position, drawn.agent(position)?)))
        .collect();
    if wanted.is_empty() {
        return Ok(Named::new());
    }
    state
        .store
        .read(move |tx| -> Result<_, StoreError> {
            let mut named = Named::new();
            for (position, key) in &wanted {
                if let Some(agent) = agents::by_key(tx, *key)? {
                    named.insert(*position, (agent.id, agent.name));
                }
            }
            Ok(named)
        })
        .await
}

async fn halt_of(
    state: &AppState,
    row: &Rollout,
    seen: &Seen,
    halt: &Halt,
    named: &Named,
) -> Result<HaltInfo, StoreError> {
    let (key, positions) = (row.key, halt.deciding.clone());
    let said = state
        .store
        .read(move |tx| -> Result<_, StoreError> {
            let mut said = BTreeMap::new();
            for position in &positions {
                let last = rollouts::order_of_member(tx, key, *position)?.pop();
                said.extend(last.map(|last| (*position, (last.code, last.outcome))));
            }
            Ok(said)
        })
        .await?;
    let deciding = halt.deciding.iter().filter_map(|position| {
        let (agent, name) = named.get(position).cloned()?;
        let (code, text) = said.get(position).cloned().unwrap_or_default();
        let outcome = seen.outcomes.get(position).copied()?;
        Some(Deciding { agent, name, outcome, code, text })
    });
    Ok(HaltInfo {
        gate: halt.gate.name().to_owned(),
        text: halt.text.clone(),
        at: halt.at,
        wave: halt.wave,
        deciding: deciding.collect(),
    })
}
