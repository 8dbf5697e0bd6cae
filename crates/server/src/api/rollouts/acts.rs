//! What people do to rollouts: each act one transaction, with its audit row and its events.

use axum::response::Response;
use handover_engine::rollout::controller::Act;
use handover_engine::rollout::outcome::PAUSED;
use handover_model::api::{ActRequest, ApproveRequest, LeaveOutRequest, RevertRequest};
use handover_model::{Digest, RolloutId};
use handover_store::Tx;
use handover_store::rollouts::Rollout;
use http::StatusCode;
use serde_json::{Value, json};

use super::super::body::{Body, OrNothing};
use super::super::call::{AgentRef, Call, Segments, bad_field, check_generation, check_words};
use super::super::{answer, once};
use super::RolloutRef;
use super::create::Made;
use crate::Problem;
use crate::problem::Code;
use crate::rollouts::{ActError, Cancel, Drawn, How};

/// `POST /rollouts/{rollout}/approve`.
pub(in crate::api) async fn approve(
    call: Call,
    Segments([rollout]): Segments<1>,
    OrNothing { value, digest }: OrNothing<ApproveRequest>,
) -> Result<Response, Problem> {
    check_words("reason", value.reason.as_deref(), 500)?;
    let by = call.principal.who();
    let act = Act::Approve { wave: value.wave, by, reason: value.reason.clone() };
    let how = how(&call, "rollout.approve", value.reason, json!({ "wave": value.wave }));
    run(call, &rollout, digest, how, move |_tx, _row, _drawn| Ok(act.clone())).await
}

/// `POST /rollouts/{rollout}/pause`.
pub(in crate::api) async fn pause(
    call: Call,
    Segments([rollout]): Segments<1>,
    OrNothing { value, digest }: OrNothing<ActRequest>,
) -> Result<Response, Problem> {
    check_words("reason", value.reason.as_deref(), 500)?;
    let by = call.principal.who();
    let act = Act::Pause { by, reason: value.reason.clone() };
    let mut how = how(&call, "rollout.pause", value.reason, Value::Null);
    // A host that gives it back gets it again when the rollout goes on.
    how.cancel = value.cancel.then(|| cancel(PAUSED, "the rollout was paused"));
    run(call, &rollout, digest, how, move |_tx, _row, _drawn| Ok(act.clone())).await
}

/// `POST /rollouts/{rollout}/resume`.
pub(in crate::api) async fn resume(
    call: Call,
    Segments([rollout]): Segments<1>,
    OrNothing { value, digest }: OrNothing<ActRequest>,
) -> Result<Response, Problem> {
    check_words("reason", value.reason.as_deref(), 500)?;
    let by = call.principal.who();
    let act = Act::Resume { by, reason: value.reason.clone() };
    let how = how(&call, "rollout.resume", value.reason, Value::Null);
    run(call, &rollout, digest, how, move |_tx, _row, _drawn| Ok(act.clone())).await
}

/// `POST /rollouts/{rollout}/abort`.
pub(in crate::api) async fn abort(
    call: Call,
    Segments([rollout]): Segments<1>,
    OrNothing { value, digest }: OrNothing<ActRequest>,
) -> Result<Response, Problem> {
    check_words("reason", value.reason.as_deref(), 500)?;
    let act = Act::Abort { by: call.principal.who() };
    let mut how = how(&call, "rollout.abort", value.reason, Value::Null);
    how.cancel = value.cancel.then(|| cancel("rollout.aborted", "the rollout was aborted"));
    run(call, &rollout, digest, how, move |_tx, _row, _drawn| Ok(act.clone())).await
}

/// `POST /rollouts/{rollout}/leave-out`.
pub(in crate::api) async fn leave_out(
    call: Call,
    Segments([rollout]): Segments<1>,
    Body { value, digest }: Body<LeaveOutRequest>,
) -> Result<Response, Problem> {
    check_words("reason", Some(&value.reason), 500)?;
    if value.reason.trim().is_empty() {
        return Err(bad_field("reason", "say why: it stands in the audit trail"));
    }
    if !(1..=1_000).contains(&value.agents.len()) {
        return Err(bad_field("agents", "name 1 to 1,000 agents"));
    }
    let agents =
        value.agents.iter().map(|agent| AgentRef::parse(agent)).collect::<Result<Vec<_>, _>>()?;
    let by = call.principal.who();
    let more = json!({ "agents": value.agents });
    let how = how(&call, "rollout.leave_out", Some(value.reason), more);
    run(call, &rollout, digest, how, move |tx, row, drawn| {
        let mut positions = Vec::with_capacity(agents.len());
        for agent in &agents {
            let found = agent.find(tx)?;
            let position = drawn.and_then(|drawn| drawn.position(found.key));
            positions.push(position.ok_or_else(|| {
                let detail = format!("{} is no member of rollout {}", found.name, row.name);
                Problem::new(Code::RolloutNoMember, detail).field("body.agents", "not a member")
            })?);
        }
        positions.sort_unstable();
        positions.dedup();
        Ok(Act::LeaveOut { positions, by: by.clone() })
    })
    .await
}

/// `POST /rollouts/{rollout}/revert`.
pub(in crate::api) async fn revert(
    call: Call,
    Segments([rollout]): Segments<1>,
    OrNothing { value, digest }: OrNothing<RevertRequest>,
) -> Result<Response, Problem> {
    check_words("reason", value.reason.as_deref(), 500)?;
    let act = Act::Revert { wave: value.wave, by: call.principal.who() };
    let more = json!({ "wave": value.wave });
    let mut how = how(&call, "rollout.revert", value.reason.clone(), more);
    how.revert = Some((call.state.mint(RolloutId::mint), value));
    run(call, &rollout, digest, how, move |_tx, _row, _drawn| Ok(act.clone())).await
}

fn how(call: &Call, what: &'static str, reason: Option<String>, more: Value) -> How {
    let who = call.principal.who();
    How { what, who, reason, cancel: None, more, revert: None, superseded_by: None }
}

fn cancel(code: &'static str, words: &str) -> Cancel {
    Cancel { code, words: words.to_owned() }
}

/// Finds, acts, and shows what came of it: the revert, where one was made, else the rollout.
async fn run<F>(
    call: Call,
    rollout: &str,
    digest: Digest,
    how: How,
    act_of: F,
) -> Result<Response, Problem>
where
    F: Fn(&mut Tx<'_>, &Rollout, Option<&Drawn>) -> Result<Act, Problem> + Send + 'static,
{
    call.query().done()?;
    let wanted = RolloutRef::parse(rollout)?;
    let (seen, now) = (call.if_match()?, call.now);
    let is_revert = how.revert.is_some();
    let status = if is_revert { StatusCode::CREATED } else { StatusCode::OK };
    let before = wanted.clone();
    let row = call.state.store.read(move |tx| before.find(tx)).await?;
    let drawn = call.state.rollouts.with(row.key, |live| live.drawn.clone()).flatten();
    let drawn = match drawn {
        Some(drawn) => Some(drawn),
        None => crate::rollouts::drawn_of(&call.state.store, &row).await?,
    };
    let done = once::act(&call, digest, status, move |tx| {
        let row = wanted.find(tx)?;
        check_generation(seen, row.generation, row.name.as_str())?;
        let act = act_of(tx, &row, drawn.as_ref())?;
        let done = crate::rollouts::act(tx, row.key, drawn.as_ref(), &act, &how, now);
        let done = done.map_err(refused)?;
        Ok(match done.revert {
            Some(revert) => Made { id: revert, others: vec![row.id] },
            None => Made { id: row.id, others: Vec::new() },
        })
    })
    .await?;
    let made: Made = serde_json::from_str(&done.body).map_err(|error| Problem::internal(&error))?;
    for other in made.others {
        call.state.rollouts.follow_row(&call.state.store, other).await?;
    }
    let info = super::stands(&call.state, made.id).await?;
    if is_revert {
        let body = serde_json::to_string(&info).map_err(|error| Problem::internal(&error))?;
        return Ok(answer::text(StatusCode::CREATED, body));
    }
    answer::tagged(&info, info.generation)
}

/// Why an act has no effect, for the one who asked.
pub(super) fn refused(error: ActError) -> Problem {
    match error {
        ActError::Store(error) => error.into(),
        ActError::Refused(refused) => {
            Problem::new(Code::of_rollout(refused.code()), refused.to_string())
        }
    }
}
