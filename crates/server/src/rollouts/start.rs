//! Starting a rollout whose time has come: who belongs to it is looked up, then a seed is drawn,
//! and of both the plan is made.

use std::collections::BTreeSet;

use handover_engine::rollout::controller::Controller;
use handover_engine::rollout::gate::{Baseline, Counts as Rate};
use handover_engine::rollout::outcome::{Outcome, Standing, standing_of};
use handover_engine::rollout::plan::baseline_of;
use handover_engine::rollout::roster::{Candidate, Roster, draw, late};
use handover_model::api::{OrderState, RolloutKind, RolloutSpec};
use handover_model::{Hasher, OrderId, Timestamp};
use handover_store::agents::{self, Subject};
use handover_store::orders::{self, Order};
use handover_store::rollouts::{self, Rollout, RosterMember};
use handover_store::{AgentKey, Store, StoreError};

use super::build;
use super::fleet::{Chosen, Fleet, FleetError, Wanted};
use super::live::{Brain, Drawn};
use super::vet::vet;
use super::{Live, RolloutKey};
use crate::AppState;

/// How many updates the baseline is estimated from.
const UPDATES: u32 = 10_000;
/// How many of a host's newest orders say who moved it last.
const NEWEST: u32 = 50;

/// Draws a rollout that has no plan yet, and keeps it in memory; nothing is written here.
pub(super) async fn draw_plan(
    state: &AppState,
    row: &Rollout,
    now: Timestamp,
) -> Result<Option<Drawn>, StoreError> {
    let chosen = match &row.kind {
        RolloutKind::Update => match members_of(state, &row.spec, now).await {
            Ok(chosen) => chosen,
            Err(FleetError::Store(error)) => return Err(error),
            Err(error @ (FleetError::Text { .. } | FleetError::Group { .. })) => {
                // A group was removed since: it waits until somebody puts that right.
                tracing::warn!(rollout.id = %row.id, error = %error, "rollout can't start");
                return Ok(None);
            }
        },
        RolloutKind::Revert { of, wave } => to_take_back(state, *of, *wave).await?,
    };
    let baseline = baseline(&state.store, &row.spec).await?;
    let seed = seed(state);
    let candidates: Vec<Candidate<'_>> = chosen.iter().map(Chosen::candidate).collect();
    let (plan, roster) = draw(&row.spec, seed, baseline, &candidates);
    Ok(Some(Drawn::new(plan, roster)))
}

/// What a new rollout's failures would be compared with.
pub(crate) async fn baseline(store: &Store, spec: &RolloutSpec) -> Result<Baseline, StoreError> {
    let rate = earlier(store).await?;
    Ok(baseline_of(spec, rate).unwrap_or_else(|_checked_when_made| Baseline::of(rate)))
}

/// How the last updates went.
pub(crate) async fn earlier(store: &Store) -> Result<Rate, StoreError> {
    let ended = store.read(|tx| rollouts::ended_updates(tx, UPDATES)).await?;
    let mut rate = Rate::default();
    for group in ended {
        let bad = match standing_of(group.state, group.code.as_deref(), true) {
            Standing::Ended(Outcome::Failed) => true,
            Standing::Ended(Outcome::Done) => false,
            Standing::Untaken
            | Standing::Exposed
            | Standing::Ended(
                Outcome::Recalled
                | Outcome::Passing
                | Outcome::Satisfied
                | Outcome::Withdrawn
                | Outcome::Refused,
            ) => continue,
        };
        rate.trials = rate.trials.saturating_add(group.count);
        rate.failures = rate.failures.saturating_add(if bad { group.count } else { 0 });
    }
    Ok(rate)
}

async fn members_of(
    state: &AppState,
    spec: &RolloutSpec,
    now: Timestamp,
) -> Result<Vec<Chosen>, FleetError> {
    let wanted = Wanted::of(&state.store, spec).await?;
    let chosen = Fleet::choose(&state.store, &wanted, Some(spec), now).await?.chosen;
    let mut members = vet(state, spec, chosen, now).await?.members;
    // A rollout that was made before and goes on keeps its members.
    let others = state.rollouts.rosters_of(&spec.component, &spec.name);
    members.retain(|one| !others.iter().any(|drawn| drawn.position(one.key).is_some()));
    Ok(members)
}

/// Members of a rollout that run what it brought, or may.
async fn to_take_back(
    state: &AppState,
    of: handover_model::RolloutId,
    wave: Option<u32>,
) -> Result<Vec<Chosen>, StoreError> {
    let Some(parent) = state.store.read(move |tx| rollouts::get(tx, of)).await? else {
        return Ok(Vec::new());
    };
    let Some((drawn, controller)) = build::open_aside(&state.store, &parent).await? else {
        return Ok(Vec::new());
    };
    let range = wave.map_or(0..parent.released, |wave| drawn.plan.positions(wave));
    let left_out = controller.progress().left_out.iter().copied();
    let left_out: BTreeSet<u32> = left_out.filter(|position| range.contains(position)).collect();
    let mut positions: BTreeSet<u32> = controller.touched(wave).into_iter().collect();
    positions.extend(&left_out);
    let keys = positions.iter().filter_map(|position| drawn.agent(*position)).collect();
    let mut found = Vec::with_capacity(positions.len());
    for subject in subjects_of(&state.store, keys).await? {
        let chosen = plain(subject, &parent.spec);
        let runs_it = chosen.current.as_ref() == Some(&parent.spec.to);
        let position = drawn.position(chosen.key);
        let is_left_out = position.is_some_and(|position| left_out.contains(&position));
        // One that stands elsewhere may have been moved on by somebody since.
        let is_wanted = runs_it || (!is_left_out && !is_settled(state, &parent, &chosen).await?);
        found.extend(is_wanted.then_some(chosen));
    }
    Ok(found)
}

/// Whether a host that does not run what is taken back needs nothing of it: it stands where it
/// stood before and none of the rollout's orders is open, or an order that came after moved it on.
async fn is_settled(
    state: &AppState,
    parent: &Rollout,
    chosen: &Chosen,
) -> Result<bool, StoreError> {
    let filter = orders::Filter {
        agent: Some(chosen.key),
        component: Some(parent.spec.component.clone()),
        ..orders::Filter::default()
    };
    let newest = state.store.read(move |tx| orders::list(tx, &filter, None, NEWEST)).await?.items;
    let is_own = |order: &Order| {
        order.rollout.as_ref().is_some_and(|(_, member)| member.rollout == parent.key)
    };
    let moved_on = newest
        .iter()
        .take_while(|order| !is_own(order))
        .any(|order| order.state == OrderState::Done);
    let own = || newest.iter().filter(|order| is_own(order));
    let is_open = own().any(|order| !order.state.is_final());
    let before = own().next_back().and_then(|order| order.expect.as_ref());
    let is_back = before.is_some_and(|expect| expect.current == chosen.current);
    Ok(moved_on || (is_back && !is_open))
}

async fn subjects_of(store: &Store, keys: Vec<AgentKey>) -> Result<Vec<Subject>, StoreError> {
    let mut found = Vec::with_capacity(keys.len());
    for part in keys.chunks(1_000) {
        let part = part.to_vec();
        found.extend(store.read(move |tx| agents::subjects_of(tx, &part)).await?);
    }
    Ok(found)
}

fn plain(subject: Subject, spec: &RolloutSpec) -> Chosen {
    let mut components = subject.components.into_iter();
    let current = components.find(|one| one.component == spec.component);
    Chosen {
        key: subject.key,
        id: subject.id,
        name: subject.name,
        platform: subject.platform,
        current: current.and_then(|one| one.current),
        site: subject.labels.get(&spec.site_label).map(str::to_owned),
        wave: None,
        state: subject.state,
    }
}

/// A seed that nobody could know before membership was fixed.
fn seed(state: &AppState) -> [u8; 32] {
    let mut hasher = Hasher::default();
    // Each id holds eighty bits that nobody can guess.
    for _ in 0..4 {
        hasher.update(state.mint(OrderId::mint).as_bytes());
    }
    *hasher.finish().as_bytes()
}

/// Opens the controller of a rollout that was drawn just now.
pub(super) fn begin(live: &mut Live, drawn: Drawn) -> Result<(), StoreError> {
    let controller: Controller = build::open_on(&drawn, &live.row)?;
    live.put(drawn);
    live.brain = Brain::Open(Box::new(controller));
    Ok(())
}

/// All members, as they are stored.
pub(super) fn stored_members(roster: &Roster, from: u32) -> Vec<RosterMember> {
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let members = roster.members.get(from..).unwrap_or_default();
    members
        .iter()
        .map(|member| RosterMember {
            agent: AgentKey::from_i64(member.agent),
            stratum: member.stratum,
            site: member.site,
        })
        .collect()
}

/// Lets agents in that came to match: plan and roster with them behind the others. `None`: none
/// of them matches.
pub(super) async fn late_joiners(
    state: &AppState,
    key: RolloutKey,
    now: Timestamp,
) -> Result<Option<Drawn>, StoreError> {
    let taken = state.rollouts.with(key, |live| {
        let ids = live.take_joining();
        (ids, live.spec.clone(), live.drawn.clone())
    });
    let Some((ids, spec, Some(drawn))) = taken else { return Ok(None) };
    if ids.is_empty() {
        return Ok(None);
    }
    let wanted = match Wanted::of(&state.store, &spec).await {
        Ok(wanted) => wanted,
        Err(FleetError::Store(error)) => return Err(error),
        Err(FleetError::Text { .. } | FleetError::Group { .. }) => return Ok(None),
    };
    let mut joined = Vec::new();
    for id in ids {
        let subject = state.store.read(move |tx| agents::subject(tx, id)).await?;
        // One that has the release already, from wherever, needs no order.
        let chosen = subject
            .and_then(|subject| wanted.choose(subject, Some(&spec), now))
            .filter(|chosen| chosen.current.as_ref() != Some(&spec.to))
            .filter(|chosen| drawn.position(chosen.key).is_none());
        joined.extend(chosen);
    }
    let mut joined = vet(state, &spec, joined, now).await?.members;
    let others = state.rollouts.rosters_of(&spec.component, &spec.name);
    joined.retain(|one| !others.iter().any(|drawn| drawn.position(one.key).is_some()));
    if joined.is_empty() {
        state.rollouts.with(key, Live::forget_joining);
        return Ok(None);
    }
    let (mut plan, mut roster) = ((*drawn.plan).clone(), (*drawn.roster).clone());
    let candidates: Vec<Candidate<'_>> = joined.iter().map(Chosen::candidate).collect();
    late(&mut plan, &mut roster, &candidates);
    Ok(Some(Drawn::new(plan, roster)))
}
