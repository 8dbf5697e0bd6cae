//! What people do to a rollout: each act is one transaction with its audit row, decided on the row
//! as it is there.

use axum::response::Response;
use handover_engine::rollout::check::check_change;
use handover_engine::rollout::controller::Act;
use handover_model::api::{
    ActRequest, ApproveRequest, LeaveOutRequest, RevertRequest, RolloutSpec,
};
use handover_model::{Digest, RolloutId, RolloutName};
use handover_store::rollouts::{self, Rollout};
use handover_store::{Tx, audit, events};
use http::StatusCode;
use serde_json::json;

use super::super::body::{Body, OrNothing};
use super::super::call::{AgentRef, Call, Segments, bad_field, check_generation, check_words};
use super::super::{answer, once};
use super::{RolloutRef, create, find};
use crate::problem::Code;
use crate::rollouts::{ActError, Cancel, How, act, event, info_of, last_heard};
use crate::{AppState, Problem};

/// `POST /rollouts/{rollout}/approve`.
pub(crate) async fn approve(
    call: Call,
    Segments([rollout]): Segments<1>,
    OrNothing { value, digest }: OrNothing<ApproveRequest>,
) -> Result<Response, Problem> {
    let ApproveRequest { wave, reason } = value;
    check_words("reason", reason.as_deref(), 500)?;
    let by = call.principal.who();
    let how = how(&call, "rollout.approve", reason.clone(), None);
    steer(call, &rollout, digest, Act::Approve { wave, by, reason }, how).await
}

/// `POST /rollouts/{rollout}/pause`.
pub(crate) async fn pause(
    call: Call,
    Segments([rollout]): Segments<1>,
    OrNothing { value, digest }: OrNothing<ActRequest>,
) -> Result<Response, Problem> {
    let ActRequest { reason, cancel } = value;
    check_words("reason", reason.as_deref(), 500)?;
    let by = call.principal.who();
    let how = how(&call, "rollout.pause", reason.clone(), cancel.then(Cancel::for_a_pause));
    steer(call, &rollout, digest, Act::Pause { by, reason }, how).await
}

/// `POST /rollouts/{rollout}/resume`.
pub(crate) async fn resume(
    call: Call,
    Segments([rollout]): Segments<1>,
    OrNothing { value, digest }: OrNothing<ActRequest>,
) -> Result<Response, Problem> {
    let ActRequest { reason, cancel } = value;
    check_words("reason", reason.as_deref(), 500)?;
    if cancel {
        return Err(bad_field("cancel", "a rollout that goes on cancels nothing"));
    }
    let by = call.principal.who();
    let mut how = how(&call, "rollout.resume", reason.clone(), None);
    let key = find(&call, &rollout).await?.key;
    how.heard = Some(last_heard(&call.state, key, call.now).await?);
    steer(call, &rollout, digest, Act::Resume { by, reason }, how).await
}

/// `POST /rollouts/{rollout}/abort`.
pub(crate) async fn abort(
    call: Call,
    Segments([rollout]): Segments<1>,
    OrNothing { value, digest }: OrNothing<ActRequest>,
) -> Result<Response, Problem> {
    let ActRequest { reason, cancel } = value;
    check_words("reason", reason.as_deref(), 500)?;
    let by = call.principal.who();
    let how = how(&call, "rollout.abort", reason, cancel.then(Cancel::for_good));
    steer(call, &rollout, digest, Act::Abort { by }, how).await
}

fn how(call: &Call, what: &'static str, reason: Option<String>, cancel: Option<Cancel>) -> How {
    How { what, who: call.principal.who(), reason, cancel, ..How::default() }
}

async fn steer(
    call: Call,
    rollout: &str,
    digest: Digest,
    what: Act,
    how: How,
) -> Result<Response, Problem> {
    call.query().done()?;
    if let Some(again) = again(&call, digest).await? {
        return Ok(again);
    }
    let row = find(&call, rollout).await?;
    let (seen, now) = (call.if_match()?, call.now);
    let drawn = call.state.rollouts.with(row.key, |live| live.drawn.clone()).flatten();
    let done = once::act(&call, digest, StatusCode::OK, move |tx| -> Result<RolloutId, Problem> {
        check_unchanged(tx, &row, seen)?;
        let done = act(tx, row.key, drawn.as_ref(), &what, &how, now);
        done.map(|done| done.row.id).map_err(|error| refused(&row.name, error))
    })
    .await?;
    shown(&call.state, &done).await
}

/// What is kept of an act, for those who repeat the request, is the rollout's id: they are shown
/// the rollout as it is by then.
pub(super) async fn again(call: &Call, digest: Digest) -> Result<Option<Response>, Problem> {
    match once::before(call, digest).await? {
        Some(done) => shown(&call.state, &done).await.map(Some),
        None => Ok(None),
    }
}

/// The rollout that an act was about, as it is now, once memory has followed.
pub(super) async fn shown(state: &AppState, done: &once::Done) -> Result<Response, Problem> {
    let id: RolloutId =
        serde_json::from_str(&done.body).map_err(|error| Problem::internal(&error))?;
    state.rollouts.follow_row(&state.store, id).await?;
    let row = state.store.read(move |tx| RolloutRef::Id(id).find(tx)).await?;
    let info = info_of(state, row).await?;
    let body = serde_json::to_string(&info).map_err(|error| Problem::internal(&error))?;
    Ok(answer::text(done.status, body))
}

fn check_unchanged(tx: &mut Tx<'_>, row: &Rollout, seen: Option<u64>) -> Result<(), Problem> {
    let Some(standing) = rollouts::standing(tx, row.key)? else { return Ok(()) };
    check_generation(seen, standing.generation, row.name.as_str())
}

/// Why an act had no effect, with its code.
pub(super) fn refused(name: &RolloutName, error: ActError) -> Problem {
    match error {
        ActError::Store(error) => error.into(),
        ActError::Refused(error) => {
            let code = Code::ALL.iter().copied().find(|code| code.as_str() == error.code());
            Problem::new(code.unwrap_or(Code::RolloutState), format!("rollout {name}: {error}"))
        }
    }
}

/// `POST /rollouts/{rollout}/revert`.
pub(crate) async fn revert(
    call: Call,
    Segments([rollout]): Segments<1>,
    OrNothing { value: request, digest }: OrNothing<RevertRequest>,
) -> Result<Response, Problem> {
    call.query().done()?;
    check_words("reason", request.reason.as_deref(), 500)?;
    if let Some(again) = again(&call, digest).await? {
        return Ok(again);
    }
    if let Some(gate) = &request.gate {
        let gated = RolloutSpec { gate: gate.clone(), ..find(&call, &rollout).await?.spec };
        create::check(&gated, call.now)?;
    }
    let row = find(&call, &rollout).await?;
    let (seen, now) = (call.if_match()?, call.now);
    let id = call.state.mint(RolloutId::mint);
    let what = Act::Revert { wave: request.wave, by: call.principal.who() };
    let how = How {
        more: json!({ "wave": request.wave }),
        revert: Some((id, request.clone())),
        ..how(&call, "rollout.revert", request.reason.clone(), None)
    };
    let parent = row.id;
    let done =
        once::act(&call, digest, StatusCode::CREATED, move |tx| -> Result<RolloutId, Problem> {
            check_unchanged(tx, &row, seen)?;
            let done = act(tx, row.key, None, &what, &how, now);
            let done = done.map_err(|error| refused(&row.name, error))?;
            done.revert.ok_or_else(|| {
                let detail = "the rollout that takes the hosts back was not made; try again";
                Problem::new(Code::Internal, detail)
            })
        })
        .await?;
    call.state.rollouts.follow_row(&call.state.store, parent).await?;
    shown(&call.state, &done).await
}

/// `POST /rollouts/{rollout}/leave-out`.
pub(crate) async fn leave_out(
    call: Call,
    Segments([rollout]): Segments<1>,
    Body { value: request, digest }: Body<LeaveOutRequest>,
) -> Result<Response, Problem> {
    check_words("reason", Some(&request.reason), 500)?;
    if request.reason.trim().is_empty() {
        return Err(bad_field("reason", "say why: it goes into the audit trail"));
    }
    if !(1..=1000).contains(&request.agents.len()) {
        return Err(bad_field("agents", "name 1 to 1000"));
    }
    let refs = request.agents.iter().map(|text| AgentRef::parse(text));
    let refs = refs.collect::<Result<Vec<_>, _>>()?;
    let row = find(&call, &rollout).await?;
    let agents = call
        .state
        .store
        .read(move |tx| refs.iter().map(|one| one.find(tx)).collect::<Result<Vec<_>, _>>())
        .await?;
    call.state.rollouts.follow_row(&call.state.store, row.id).await?;
    let drawn = call.state.rollouts.with(row.key, |live| live.drawn.clone()).flatten();
    let mut positions = Vec::with_capacity(agents.len());
    for agent in &agents {
        let position = drawn.as_ref().and_then(|drawn| drawn.position(agent.key));
        positions.push(position.ok_or_else(|| {
            let detail = format!("{} is no member of rollout {}", agent.name, row.name);
            Problem::new(Code::RolloutNoMember, detail).field("body.agents", "no member")
        })?);
    }
    let by = call.principal.who();
    let how = How {
        more: json!({ "agents": agents.iter().map(|agent| agent.id).collect::<Vec<_>>() }),
        ..how(&call, "rollout.leave-out", Some(request.reason.clone()), None)
    };
    steer(call, &rollout, digest, Act::LeaveOut { positions, by }, how).await
}

/// `PUT /rollouts/{rollout}`: what may change of one that is not over.
pub(crate) async fn change(
    call: Call,
    Segments([rollout]): Segments<1>,
    Body { value: spec, .. }: Body<RolloutSpec>,
) -> Result<Response, Problem> {
    call.query().done()?;
    create::check(&spec, call.now)?;
    let which = RolloutRef::parse(&rollout)?;
    let seen = call.if_match()?.ok_or_else(|| {
        let detail = "send the rollout's ETag in If-Match, so that nobody's change is lost";
        Problem::new(Code::MatchNeeded, detail).field("header.if-match", "it is missing")
    })?;
    let (who, now) = (call.principal.who(), call.now);
    let id = call
        .state
        .store
        .write(move |tx| -> Result<RolloutId, Problem> {
            let mut row = which.find(tx)?;
            check_generation(Some(seen), row.generation, row.name.as_str())?;
            let progress: handover_engine::rollout::controller::Progress =
                serde_json::from_str(&row.progress).map_err(|error| Problem::internal(&error))?;
            check_change(&row.spec, &spec, &progress).map_err(|error| {
                Problem::new(Code::RolloutFixed, format!("rollout {}: {error}", row.name))
                    .field(format!("body.{}", error.field()), error.to_string())
            })?;
            let before = std::mem::replace(&mut row.spec, spec.clone());
            if before == row.spec {
                return Ok(row.id);
            }
            row.start_at = row.spec.start_at;
            rollouts::save(tx, &row, now)?;
            let change = audit::NewAudit {
                at: now,
                who: who.clone(),
                what: "rollout.change",
                subject: row.id.to_string(),
                before: Some(json!({ "spec": before })),
                after: Some(json!({ "spec": row.spec })),
            };
            audit::insert(tx, &change)?;
            events::insert(tx, &event(&row, "rollout.changed", json!({ "by": who }), now))?;
            Ok(row.id)
        })
        .await?;
    call.state.rollouts.follow_row(&call.state.store, id).await?;
    let row = call.state.store.read(move |tx| RolloutRef::Id(id).find(tx)).await?;
    let info = info_of(&call.state, row).await?;
    answer::tagged(&info, info.generation)
}
