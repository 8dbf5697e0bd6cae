//! What a decision looks at beside the events: presence, windows, checks, the release, the
//! fleet-wide stop.

use handover_engine::rollout::controller::{
    CheckFact, Decision, Facts, MemberFact, Watched, WindowFact,
};
use handover_model::api::{RolloutKind, RolloutSpec};
use handover_model::{Millis, RolloutId, Timestamp};
use handover_store::checks::{self, Check};
use handover_store::fleet::{self, Stop};
use handover_store::rollouts::RolloutKey;
use handover_store::{Database, Store, StoreError};

use super::Live;
use crate::AppState;
use crate::api::library::Shelf;

/// What was read for a decision.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) patience: Millis,
    pub(crate) checks: Vec<Check>,
    pub(crate) stop: Option<String>,
    pub(crate) release: Result<(), String>,
    pub(crate) window: WindowFact,
    pub(crate) now: Timestamp,
}

/// After how long a silence a host counts as away.
pub(crate) fn patience(state: &AppState) -> Millis {
    state.config.away_after()
}

impl Scene {
    /// Reads what one rollout's decision looks at.
    pub(crate) async fn read(
        state: &AppState,
        id: RolloutId,
        spec: &RolloutSpec,
        window: WindowFact,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let (checks, stop) = if spec.checks.is_empty() {
            (Vec::new(), state.store.read(fleet::stop).await?)
        } else {
            state
                .store
                .read(move |tx| -> Result<_, StoreError> {
                    Ok((checks::of(tx, id)?, fleet::stop(tx)?))
                })
                .await?
        };
        let shelf = state.library.shelf(state).await;
        Ok(Self {
            patience: patience(state),
            checks,
            stop: stop.as_ref().map(words_of),
            release: release(&shelf, spec),
            window,
            now,
        })
    }

    /// Decides.
    pub(crate) fn decide(&self, state: &AppState, live: &mut Live) -> Option<Decision> {
        let drawn = live.drawn.clone()?;
        let checks: Vec<CheckFact<'_>> = self
            .checks
            .iter()
            .map(|check| CheckFact {
                name: &check.name,
                verdict: check.verdict,
                reason: check.reason.as_deref(),
                at: check.answered_at,
            })
            .collect();
        let member = |position: u32| {
            let agent = drawn.agent(position);
            let last_seen = agent.and_then(|agent| state.agents.last_seen(agent));
            MemberFact { last_seen, satisfied: false, blocked: false }
        };
        // What is taken back goes back whatever is stopped, and above all from a revoked release.
        let is_update = live.row.kind == RolloutKind::Update;
        let facts = Facts {
            patience: self.patience,
            member: &member,
            checks: &checks,
            fleet_stopped: self.stop.as_deref().filter(|_| is_update),
            window: self.window,
            release: match &self.release {
                Err(why) if is_update => Err(why),
                Err(_) | Ok(()) => Ok(()),
            },
            committed: Watched::default(),
        };
        live.controller_mut().map(|controller| controller.decide(&facts, self.now))
    }
}

/// Why the fleet is stopped, in words.
pub(crate) fn words_of(stop: &Stop) -> String {
    let by = format!("by {} at {}", stop.by, stop.at);
    stop.reason.as_ref().map_or_else(|| by.clone(), |reason| format!("{reason} ({by})"))
}

/// Whether a rollout's release can be handed out, as far as this replica knows the repository.
pub(crate) fn release(shelf: &Shelf, spec: &RolloutSpec) -> Result<(), String> {
    let Some(offers) = shelf.offers(&spec.component) else { return Ok(()) };
    let offer = offers.iter().find(|offer| offer.facts.version == spec.to);
    match offer {
        None => Err("the repository does not offer it any more".to_owned()),
        Some(offer) => match &offer.facts.revoked {
            Some(why) => Err(format!("its keyholders revoked it: {why}")),
            None => Ok(()),
        },
    }
}

/// When the state of windows changes by itself.
pub(super) fn window_turns(window: WindowFact) -> Option<Timestamp> {
    if window.open { window.closes_at } else { window.opens_at }
}

/// After how long a silence hosts are away, and when each member was heard last, by any replica:
/// by position, as far as memory knows the members.
pub(crate) async fn last_heard(
    state: &AppState,
    key: RolloutKey,
    now: Timestamp,
) -> Result<(Millis, Vec<Option<Timestamp>>), StoreError> {
    let patience = patience(state);
    if !matches!(state.store.database(), Database::Sqlite(_)) {
        let micros = i64::try_from(patience.duration().as_micros()).unwrap_or(i64::MAX);
        let since = Timestamp::from_micros(now.as_micros().saturating_sub(micros));
        hear_others(state, &state.store, since).await?;
    }
    let drawn = state.rollouts.with(key, |live| live.drawn.clone()).flatten();
    let members = drawn.as_ref().map_or(0, |drawn| drawn.plan.members());
    let agents =
        (0..members).map(|position| drawn.as_ref().and_then(|drawn| drawn.agent(position)));
    let heard = agents.map(|agent| agent.and_then(|agent| state.agents.last_seen(agent)));
    Ok((patience, heard.collect()))
}

/// Takes over what other replicas heard of agents, where there may be others.
pub(super) async fn hear_others(
    state: &AppState,
    store: &Store,
    since: Timestamp,
) -> Result<(), StoreError> {
    const PAGE: u32 = 10_000;
    let mut after = handover_store::AgentKey::from_i64(0);
    loop {
        let page = store
            .read(move |tx| handover_store::agents::heard_since(tx, since, after, PAGE))
            .await?;
        state.agents.heard(&page);
        let full = usize::try_from(PAGE).unwrap_or(usize::MAX);
        let Some((last, _)) = page.last().filter(|_| page.len() == full) else { return Ok(()) };
        after = *last;
    }
}
