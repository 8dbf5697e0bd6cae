//! Selections: what one would match, before anything is made of it.

use axum::response::Response;
use handover_engine::selection::Reference;
use handover_model::api::{AgentState, SelectionPreview, SelectionRequest};
use handover_store::agents;

use super::answer;
use super::body::Body;
use super::call::Call;
use super::library::Shelf;
use crate::problem::Code;
use crate::rollouts::{Fleet, FleetError, Wanted};
use crate::{AppState, Problem};

/// How many names are shown.
const FIRST: usize = 10;

/// `POST /selections/preview`.
pub(super) async fn preview(
    call: Call,
    Body { value: request, .. }: Body<SelectionRequest>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let wanted = Wanted::one(&call.state.store, &request.select).await.map_err(unusable)?;
    let fleet = Fleet::choose(&call.state.store, &wanted, None, call.now).await?;
    let shelf = call.state.library.shelf(&call.state).await;
    let unknown = unknown(&call.state, &wanted, &fleet, &shelf).await?;
    let away = fleet.chosen.iter().filter(|one| one.state == AgentState::Away).count();
    let mut names: Vec<_> = fleet.chosen.iter().map(|one| &one.name).collect();
    names.sort_unstable();
    answer::json(&SelectionPreview {
        select: wanted.written.to_string(),
        matched: count(fleet.chosen.len()),
        of: fleet.of,
        away: count(away),
        first: names.into_iter().take(FIRST).cloned().collect(),
        unknown,
    })
}

/// A selection that can't be used, with the field that holds it.
pub(super) fn unusable(error: FleetError) -> Problem {
    let (code, field) = match &error {
        FleetError::Text { field, .. } => (Code::SelectionMalformed, field.clone()),
        FleetError::Group { field, .. } => (Code::SelectionUnknown, field.clone()),
        FleetError::Store(_) => {
            let FleetError::Store(error) = error else { return Problem::internal(&error) };
            return error.into();
        }
    };
    Problem::new(code, format!("the selection can't be used: {error}"))
        .field(format!("body.{field}"), error.to_string())
}

/// What a selection names and nobody has, each with what was probably meant.
pub(super) async fn unknown(
    state: &AppState,
    wanted: &Wanted,
    fleet: &Fleet,
    shelf: &Shelf,
) -> Result<Vec<String>, Problem> {
    let mut words = fleet.words.clone();
    for component in shelf.components() {
        let offers = shelf.offers(&component).unwrap_or_default();
        let versions = words.components.entry(component).or_default();
        versions.extend(offers.into_iter().map(|offer| offer.facts.version));
    }
    let all = std::iter::once(&wanted.written).chain(wanted.waves.iter().map(|(wave, _)| wave));
    let (mut missing, mut ids) = (Vec::new(), Vec::new());
    for selection in all {
        missing.extend(selection.unknown(&words).iter().map(ToString::to_string));
        ids.extend(selection.needs().into_iter().filter_map(|need| match need {
            Reference::Id(id) => Some(id),
            Reference::Name(_)
            | Reference::Platform(_)
            | Reference::Label { .. }
            | Reference::Fact { .. }
            | Reference::Component { .. }
            | Reference::AgentVersion(_)
            | Reference::Group { .. } => None,
        }));
    }
    for id in ids {
        let agent = state.store.read(move |tx| agents::get(tx, id)).await?;
        if agent.is_none_or(|agent| agent.retired_at.is_some()) {
            missing.push(format!("there is no agent {id}"));
        }
    }
    Ok(missing)
}

/// Whether a selection means the whole fleet, by its text or as things are.
pub(super) fn is_everything(wanted: &Wanted, fleet: &Fleet) -> bool {
    let matched = count(fleet.chosen.len());
    wanted.select.is_everything() || (matched > 1 && matched == fleet.of)
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
