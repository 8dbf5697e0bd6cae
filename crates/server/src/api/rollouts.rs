//! Rollouts: made after everything was checked, looked at, and changed by people. What a rollout
//! does by itself is decided elsewhere (`crate::rollouts`).

mod acts;
mod change;
mod checked;
mod create;

use axum::response::Response;
use handover_model::api::{MemberOutcome, Page, RolloutInfo, RolloutState};
use handover_model::{ComponentName, RolloutId, RolloutName};
use handover_store::rollouts::{self as stored, Filter, Rollout};
use handover_store::{StoreError, Tx};

use super::answer;
use super::call::{Call, Segments, bad_query, cut, listed};
use crate::problem::Code;
use crate::rollouts::{Which, info_of, page_of_members, summary_of};
use crate::{AppState, Problem};

pub(super) use acts::{abort, approve, leave_out, pause, resume, revert};
pub(super) use change::put;
pub(super) use checked::selection_problem;
pub(super) use create::create;

/// A rollout, as a path names it.
#[derive(Debug, Clone)]
pub(super) enum RolloutRef {
    Id(RolloutId),
    Name(RolloutName),
}

impl RolloutRef {
    /// Reads one.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        text.parse().map(Self::Name).map_err(|error: handover_model::NameError| {
            Problem::new(
                Code::NotFound,
                format!("there is no rollout {:?}: {error}", cut(text)),
            )
        })
    }

    /// Looks it up: of one name the newest.
    pub(super) fn find(&self, tx: &mut Tx<'_>) -> Result<Rollout, Problem> {
        let (found, shown) = match self {
            Self::Id(id) => (stored::get(tx, *id)?, id.to_string()),
            Self::Name(name) => (stored::by_name(tx, name)?, name.to_string()),
        };
        found.ok_or_else(|| absent(&shown))
    }
}

fn absent(shown: &str) -> Problem {
    let detail = format!("there is no rollout {shown}; `handover rollout list` has all");
    Problem::new(Code::NotFound, detail)
}

/// `GET /rollouts`.
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let mut query = call.query();
    let slice = query.slice()?;
    let state: Option<RolloutState> = query.parsed("state")?;
    let component: Option<ComponentName> = query.parsed("component")?;
    let is_open: Option<bool> = query.parsed("open")?;
    query.done()?;
    let filter = Filter { state, component, is_open: is_open.unwrap_or(false) };
    let page = call
        .state
        .store
        .read(move |tx| {
            stored::list(tx, &filter, slice.after.as_deref(), slice.limit).map_err(listed)
        })
        .await?;
    let items: Vec<RolloutInfo> =
        page.items.into_iter().map(|row| summary_of(&call.state, row)).collect();
    answer::json(&Page { items, next: page.next })
}

/// `GET /rollouts/{rollout}`.
pub(super) async fn show(
    call: Call,
    Segments([rollout]): Segments<1>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let wanted = RolloutRef::parse(&rollout)?;
    let row = call.state.store.read(move |tx| wanted.find(tx)).await?;
    let info = info_of(&call.state, row).await?;
    answer::tagged(&info, info.generation)
}

/// `GET /rollouts/{rollout}/members`.
pub(super) async fn members(
    call: Call,
    Segments([rollout]): Segments<1>,
) -> Result<Response, Problem> {
    let wanted = RolloutRef::parse(&rollout)?;
    let mut query = call.query();
    let slice = query.slice()?;
    let wave: Option<u32> = query.parsed("wave")?;
    let outcome = query.one("outcome")?.map(|text| outcome(&text)).transpose()?;
    query.done()?;
    let after = slice.after.map(|after| {
        after.parse::<u32>().map_err(|error| bad_query("after", error))
    });
    let after = after.transpose()?;
    let row = call.state.store.read(move |tx| wanted.find(tx)).await?;
    let which = Which { wave, outcome };
    let page = page_of_members(&call.state, &row, which, after, slice.limit).await?;
    answer::json(&page)
}

fn outcome(text: &str) -> Result<MemberOutcome, Problem> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|_unknown| {
        bad_query(
            "outcome",
            "it is waiting, released, away, running, done, failed, decayed, silent, refused, \
             withdrawn, satisfied or left_out",
        )
    })
}

/// A rollout as it stands now, after an act that memory has to take over first.
async fn stands(state: &AppState, id: RolloutId) -> Result<RolloutInfo, Problem> {
    state.rollouts.follow_row(&state.store, id).await?;
    let read = state.store.read(move |tx| -> Result<_, StoreError> { stored::get(tx, id) });
    let row = read.await?.ok_or_else(|| absent(&id.to_string()))?;
    Ok(info_of(state, row).await?)
}
