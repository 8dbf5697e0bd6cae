//! Rollouts: making, watching and steering them. Everything that can be known to go wrong is said
//! before anything is made.

mod acts;
mod create;
mod preview;

use axum::response::Response;
use handover_model::api::{MOST_PER_PAGE, MemberOutcome, PER_PAGE, Page, RolloutState};
use handover_model::{ComponentName, RolloutId, RolloutName};
use handover_store::Tx;
use handover_store::rollouts::{self, Filter, Rollout};

use super::answer;
use super::call::{Call, Segments, bad_query, listed};
use crate::Problem;
use crate::problem::Code;
use crate::rollouts::{Which, info_of, page_of_members, summary_of};

pub(super) use acts::{abort, approve, change, leave_out, pause, resume, revert};
pub(super) use create::create;
pub(super) use preview::preview;

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
            rollouts::list(tx, &filter, slice.after.as_deref(), slice.limit).map_err(listed)
        })
        .await?;
    let items: Vec<_> = page.items.into_iter().map(|row| summary_of(&call.state, row)).collect();
    answer::json(&Page { items, next: page.next })
}

/// `GET /rollouts/{rollout}`.
pub(super) async fn show(
    call: Call,
    Segments([rollout]): Segments<1>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let row = find(&call, &rollout).await?;
    let info = info_of(&call.state, row).await?;
    answer::tagged(&info, info.generation)
}

/// `GET /rollouts/{rollout}/members`.
pub(super) async fn members(
    call: Call,
    Segments([rollout]): Segments<1>,
) -> Result<Response, Problem> {
    let mut query = call.query();
    let after: Option<u32> = query.parsed("after")?;
    let limit: u32 = query.parsed("limit")?.unwrap_or(PER_PAGE);
    if !(1..=MOST_PER_PAGE).contains(&limit) {
        return Err(bad_query("limit", format!("it goes from 1 to {MOST_PER_PAGE}")));
    }
    let wave: Option<u32> = query.parsed("wave")?;
    let outcome = query.one("outcome")?.map(|text| outcome_of(&text)).transpose()?;
    query.done()?;
    let row = find(&call, &rollout).await?;
    let which = Which { wave, outcome };
    answer::json(&page_of_members(&call.state, &row, which, after, limit).await?)
}

fn outcome_of(text: &str) -> Result<MemberOutcome, Problem> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|_source| {
        bad_query(
            "outcome",
            "it is waiting, released, away, running, done, failed, decayed, silent, refused, \
             withdrawn, satisfied or left_out",
        )
    })
}

async fn find(call: &Call, text: &str) -> Result<Rollout, Problem> {
    let which = RolloutRef::parse(text)?;
    call.state.store.read(move |tx| which.find(tx)).await
}

/// A rollout by its id or its name.
#[derive(Debug, Clone)]
pub(super) enum RolloutRef {
    Id(RolloutId),
    Name(RolloutName),
}

impl RolloutRef {
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        text.parse().map(Self::Name).map_err(|error| {
            Problem::new(Code::Malformed, format!("the rollout can't be taken: {error}"))
                .field("path.rollout", error.to_string())
        })
    }

    /// The one of that id, or the newest one of that name.
    pub(super) fn find(&self, tx: &mut Tx<'_>) -> Result<Rollout, Problem> {
        let (found, named) = match self {
            Self::Id(id) => (rollouts::get(tx, *id)?, id.to_string()),
            Self::Name(name) => (rollouts::by_name(tx, name)?, name.to_string()),
        };
        found.ok_or_else(|| {
            let detail = format!("there is no rollout {named}; `handover rollout list` has them");
            Problem::new(Code::NotFound, detail)
        })
    }
}
