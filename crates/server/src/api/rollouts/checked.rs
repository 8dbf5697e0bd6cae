//! Everything that a rollout is refused for before it is made.

use std::collections::{BTreeMap, BTreeSet};

use handover_engine::rollout::check::check_spec;
use handover_engine::selection::{Reference, Selection};
use handover_engine::window::Schedule;
use handover_model::api::{RolloutKind, RolloutSpec, Strategy};
use handover_model::{AgentId, RolloutId, RolloutName, Timestamp};
use handover_store::AgentKey;
use handover_store::rollouts::{self as stored, Filter, Rollout};

use super::super::call::{bad_field, check_words};
use super::super::library::Shelf;
use crate::problem::Code;
use crate::rollouts::{Chosen, Fleet, FleetError, Wanted};
use crate::{AppState, Problem};

/// A specification that was checked against the fleet as it is.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) fleet: Fleet,
    /// Those that match and have the release already.
    pub(super) there: Vec<Chosen>,
    /// Open rollouts of the component that were looked at.
    pub(super) others: BTreeSet<RolloutId>,
    /// Those among them that have members of this one.
    pub(super) overlapping: Vec<(RolloutId, RolloutName)>,
}

/// Whether other rollouts for the same agents are in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// They are.
    Refused,
    /// The new one takes their place, or only asks what would be.
    Accepted,
}

/// Checks everything that can be known.
///
/// # Errors
/// A [`Problem`] with a code of its own for each.
pub(super) async fn check(
    state: &AppState,
    spec: &RolloutSpec,
    others: Others,
    now: Timestamp,
) -> Result<Checked, Problem> {
    check_texts(spec)?;
    check_spec(spec, now, jiff::tz::db()).map_err(|error| {
        let code = Code::of_rollout(error.code());
        Problem::new(code, error.to_string())
    })?;
    let shelf = state.library.shelf(state).await;
    check_release(&shelf, spec)?;
    let wanted = Wanted::of(&state.store, spec).await.map_err(selection_problem)?;
    let mut fleet = Fleet::choose(&state.store, &wanted, Some(spec), now).await?;
    check_known(state, &wanted, &fleet).await?;
    check_extent(spec, &wanted, &fleet)?;
    let (there, chosen) =
        fleet.chosen.drain(..).partition(|chosen| chosen.current.as_ref() == Some(&spec.to));
    fleet.chosen = chosen;
    super::super::rollout_paths::check(state, &shelf, spec, &fleet.chosen).await?;
    let (examined, overlapping) = overlaps(state, spec, &fleet.chosen, now).await?;
    if others == Others::Refused
        && let Some((id, name)) = overlapping.first()
    {
        return Err(overlap(spec, *id, name));
    }
    Ok(Checked { fleet, there, others: examined, overlapping })
}

/// Two rollouts for one component on one agent.
pub(super) fn overlap(spec: &RolloutSpec, id: RolloutId, name: &RolloutName) -> Problem {
    let detail = format!(
        "rollout {name} ({id}) for {} has some of these agents already: wait for its end, narrow \
         the selection, abort it, or let this one take its place (`?supersede=true`, \
         `handover rollout create --supersede`)",
        spec.component
    );
    Problem::new(Code::RolloutOverlap, detail).field("body.select", format!("overlaps {name}"))
}

fn check_texts(spec: &RolloutSpec) -> Result<(), Problem> {
    check_words("reason", spec.reason.as_deref(), 500)?;
    if let Strategy::Waves { waves, .. } = &spec.strategy {
        for (number, wave) in waves.iter().enumerate() {
            let field = format!("strategy.waves[{number}].name");
            check_words(&field, Some(&wave.name), 60)?;
            if wave.name.is_empty() {
                return Err(bad_field(&field, "give the wave a name"));
            }
        }
    }
    Schedule::parse(&spec.windows, jiff::tz::db()).map(drop).map_err(|error| {
        Problem::new(Code::RolloutWindow, format!("a window can't be used: {error}"))
            .field("body.windows", error.to_string())
    })
}

fn check_release(shelf: &Shelf, spec: &RolloutSpec) -> Result<(), Problem> {
    let Some(offers) = shelf.offers(&spec.component) else { return Ok(()) };
    let (component, to) = (&spec.component, &spec.to);
    let unknown = |detail: String| {
        Problem::new(Code::ReleaseUnknown, detail).field("body.to", "there is no such release")
    };
    if offers.is_empty() {
        let detail = format!(
            "the repository offers no {component}; `handover release list` has what it offers"
        );
        return Err(unknown(detail));
    }
    let offer = offers.iter().find(|offer| offer.facts.version == *to).ok_or_else(|| {
        unknown(format!(
            "the repository offers no {component} {to}; `handover release list {component}` has \
             what it offers"
        ))
    })?;
    match &offer.facts.revoked {
        None => Ok(()),
        Some(why) => Err(Problem::new(
            Code::ReleaseRevoked,
            format!("{component} {to} was revoked by its keyholders ({why}): choose another"),
        )
        .field("body.to", "it was revoked")),
    }
}

/// What a selection names and nobody has.
async fn check_known(state: &AppState, wanted: &Wanted, fleet: &Fleet) -> Result<(), Problem> {
    let waves = wanted.waves.iter().map(|(written, _)| written);
    for written in std::iter::once(&wanted.written).chain(waves) {
        if let Some(unknown) = written.unknown(&fleet.words).first() {
            let detail = format!(
                "the selection `{written}` names something that is not there: {unknown}"
            );
            return Err(Problem::new(Code::SelectionUnknown, detail)
                .field("body.select", unknown.to_string()));
        }
        let ids = ids_of(written);
        let found = state.store.read(move |tx| -> Result<_, Problem> {
            for id in &ids {
                if handover_store::agents::subject(tx, *id)?.is_none() {
                    return Ok(Some(*id));
                }
            }
            Ok(None)
        });
        if let Some(id) = found.await? {
            let detail = format!("there is no agent {id}; `handover agent list` has all");
            return Err(Problem::new(Code::SelectionUnknown, detail)
                .field("body.select", format!("{id} is not there")));
        }
    }
    Ok(())
}

fn ids_of(selection: &Selection) -> Vec<AgentId> {
    let ids = selection.needs().into_iter().filter_map(|need| match need {
        Reference::Id(id) => Some(id),
        Reference::Name(_)
        | Reference::Platform(_)
        | Reference::Label { .. }
        | Reference::Fact { .. }
        | Reference::Component { .. }
        | Reference::AgentVersion(_)
        | Reference::Group { .. } => None,
    });
    ids.collect()
}

fn check_extent(spec: &RolloutSpec, wanted: &Wanted, fleet: &Fleet) -> Result<(), Problem> {
    let matched = u32::try_from(fleet.chosen.len()).unwrap_or(u32::MAX);
    if matched == 0 {
        let detail = format!(
            "the selection `{}` matches none of the {} agents; `handover agent list` has them",
            spec.select, fleet.of
        );
        return Err(Problem::new(Code::SelectionEmpty, detail)
            .field("body.select", "it matches no agent"));
    }
    let is_everything = wanted.select.is_everything() || (matched == fleet.of && fleet.of > 1);
    if is_everything && !spec.all {
        let detail = format!(
            "the selection `{}` matches every agent ({matched} of {}): narrow it, or say that \
             all are meant (`all: true`, `--all`)",
            spec.select, fleet.of
        );
        return Err(Problem::new(Code::SelectionEverything, detail)
            .field("body.all", "say true if every agent is meant"));
    }
    Ok(())
}

/// Open rollouts of the same component, and those among them that have some of these agents.
async fn overlaps(
    state: &AppState,
    spec: &RolloutSpec,
    chosen: &[Chosen],
    now: Timestamp,
) -> Result<(BTreeSet<RolloutId>, Vec<(RolloutId, RolloutName)>), Problem> {
    let filter =
        Filter { component: Some(spec.component.clone()), is_open: true, ..Filter::default() };
    let open = state.store.read(move |tx| -> Result<Vec<Rollout>, Problem> {
        Ok(stored::list(tx, &filter, None, 1_000)?.items)
    });
    let mut examined = BTreeSet::new();
    let mut overlapping = Vec::new();
    for other in open.await? {
        examined.insert(other.id);
        if shares(state, &other, chosen, now).await? {
            overlapping.push((other.id, other.name));
        }
    }
    Ok((examined, overlapping))
}

async fn shares(
    state: &AppState,
    other: &Rollout,
    chosen: &[Chosen],
    now: Timestamp,
) -> Result<bool, Problem> {
    let drawn = state.rollouts.with(other.key, |live| live.drawn.clone()).flatten();
    if let Some(drawn) = drawn {
        return Ok(chosen.iter().any(|one| drawn.position(one.key).is_some()));
    }
    match other.kind {
        // It is drawn in a moment, of members of the one that it takes back.
        RolloutKind::Revert { .. } => Ok(false),
        RolloutKind::Update => {
            let Ok(wanted) = Wanted::of(&state.store, &other.spec).await else { return Ok(false) };
            let theirs = Fleet::choose(&state.store, &wanted, None, now).await?;
            let theirs: BTreeMap<AgentKey, ()> =
                theirs.chosen.iter().map(|one| (one.key, ())).collect();
            Ok(chosen.iter().any(|one| theirs.contains_key(&one.key)))
        }
    }
}

/// What is wrong with a selection.
pub(in crate::api) fn selection_problem(error: FleetError) -> Problem {
    match error {
        FleetError::Store(error) => error.into(),
        FleetError::Text { field, source } => {
            Problem::new(Code::SelectionMalformed, format!("the selection can't be read: {source}"))
                .field(format!("body.{field}"), source.to_string())
        }
        FleetError::Group { field, source } => {
            Problem::new(Code::SelectionUnknown, format!("the selection can't be used: {source}"))
                .field(format!("body.{field}"), source.to_string())
        }
    }
}
