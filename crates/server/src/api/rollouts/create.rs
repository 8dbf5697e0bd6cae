//! Making a rollout: one row, in one transaction, after everything was checked.

use axum::response::Response;
use handover_engine::rollout::controller::{Act, Progress};
use handover_model::api::{RolloutKind, RolloutSpec};
use handover_model::{RolloutId, Timestamp};
use handover_store::audit::{self, NewAudit};
use handover_store::rollouts::{self as stored, Filter, NewRollout};
use handover_store::{StoreError, Tx, events};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::body::Body;
use super::super::call::Call;
use super::super::{answer, once};
use super::acts::refused;
use super::checked::{self, Checked, Others};
use crate::problem::Code;
use crate::rollouts::{Cancel, How, act, as_text, made};
use crate::Problem;

/// What is kept of the answer under an idempotency key: the rest is looked up anew.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Made {
    pub(super) id: RolloutId,
    /// Rollouts that changed with it.
    #[serde(default)]
    pub(super) others: Vec<RolloutId>,
}

/// `POST /rollouts`.
pub(in crate::api) async fn create(
    call: Call,
    Body { value: spec, digest }: Body<RolloutSpec>,
) -> Result<Response, Problem> {
    let mut query = call.query();
    let supersede = query.parsed::<bool>("supersede")?.unwrap_or(false);
    query.done()?;
    if let Some(done) = once::before(&call, digest).await? {
        return shown(&call, &done.body).await;
    }
    let others = if supersede { Others::Accepted } else { Others::Refused };
    let checked = checked::check(&call.state, &spec, others, call.now).await?;
    let new = NewRollout {
        id: call.state.mint(RolloutId::mint),
        kind: RolloutKind::Update,
        progress: as_text(&Progress::new(call.now))?,
        spec,
        by: call.principal.who(),
    };
    let now = call.now;
    let done = once::act(&call, digest, StatusCode::CREATED, move |tx| {
        write(tx, &new, &checked, now)
    })
    .await?;
    shown(&call, &done.body).await
}

async fn shown(call: &Call, body: &str) -> Result<Response, Problem> {
    let made: Made = serde_json::from_str(body).map_err(|error| Problem::internal(&error))?;
    for other in made.others {
        call.state.rollouts.follow_row(&call.state.store, other).await?;
    }
    let info = super::stands(&call.state, made.id).await?;
    let body = serde_json::to_string(&info).map_err(|error| Problem::internal(&error))?;
    Ok(answer::text(StatusCode::CREATED, body))
}

fn write(
    tx: &mut Tx<'_>,
    new: &NewRollout,
    checked: &Checked,
    now: Timestamp,
) -> Result<Made, Problem> {
    if let Some(same) = stored::by_name(tx, &new.spec.name)?
        && same.ended_at.is_none()
    {
        let superseded = checked.overlapping.iter().any(|(id, _)| *id == same.id);
        if !superseded {
            let detail = format!(
                "a rollout {} ({}) is there and not over: choose another name, or abort that one",
                same.name, same.id
            );
            return Err(Problem::new(Code::RolloutName, detail)
                .field("body.name", "it is taken"));
        }
    }
    check_others(tx, new, checked)?;
    let mut others = Vec::new();
    for (id, name) in &checked.overlapping {
        let Some(other) = stored::get(tx, *id)?.filter(|other| other.ended_at.is_none()) else {
            continue;
        };
        let words = format!("rollout {} took the place of {name}", new.spec.name);
        let how = How {
            what: "rollout.supersede",
            who: new.by.clone(),
            reason: new.spec.reason.clone(),
            cancel: Some(Cancel { code: "rollout.superseded", words }),
            more: json!({ "superseded_by": new.id }),
            revert: None,
            superseded_by: Some(new.id),
        };
        act(tx, other.key, None, &Act::Supersede, &how, now).map_err(refused)?;
        others.push(*id);
    }
    stored::insert(tx, new, now)?;
    record(tx, new, checked, now)?;
    Ok(Made { id: new.id, others })
}

/// What was looked at before this transaction has to be what there is.
fn check_others(tx: &mut Tx<'_>, new: &NewRollout, checked: &Checked) -> Result<(), Problem> {
    let component = Some(new.spec.component.clone());
    let filter = Filter { component, is_open: true, ..Filter::default() };
    let open = stored::list(tx, &filter, None, 1_000)?.items;
    match open.iter().find(|other| !checked.others.contains(&other.id)) {
        None => Ok(()),
        Some(other) => Err(Problem::new(
            Code::Conflict,
            format!(
                "rollout {} for {} was made at this moment: look at it, then try again",
                other.name, new.spec.component
            ),
        )),
    }
}

fn record(
    tx: &mut Tx<'_>,
    new: &NewRollout,
    checked: &Checked,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = NewAudit {
        at: now,
        who: new.by.clone(),
        what: "rollout.create",
        subject: new.id.to_string(),
        before: None,
        after: Some(json!({
            "spec": new.spec,
            "matched": checked.fleet.chosen.len() + checked.there.len(),
        })),
    };
    audit::insert(tx, &row)?;
    events::insert(tx, &made(new, now))
}

