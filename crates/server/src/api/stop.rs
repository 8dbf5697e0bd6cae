//! The fleet-wide stop: one setting, looked at by every transaction that would hand out an update
//! for the first time. Reverts and rollbacks go on, and so does what hosts have already.

use axum::response::Response;
use handover_model::api::{StopInfo, StopRequest};
use handover_store::events::NewEvent;
use handover_store::fleet::{self, Stop};
use handover_store::{audit, events};
use serde_json::json;

use super::answer;
use super::body::Body;
use super::call::{Call, check_generation, check_words};
use crate::Problem;

/// `GET /stop`.
pub(super) async fn show(call: Call) -> Result<Response, Problem> {
    call.query().done()?;
    let info = call.state.store.read(|tx| fleet::info(tx).map_err(Problem::from)).await?;
    answer::tagged(&info, info.generation)
}

/// `PUT /stop`. What stands already is not said twice.
pub(super) async fn put(
    call: Call,
    Body { value: request, .. }: Body<StopRequest>,
) -> Result<Response, Problem> {
    call.query().done()?;
    check_words("reason", request.reason.as_deref(), 500)?;
    let seen = call.if_match()?;
    let stop = Stop { by: call.principal.who(), at: call.now, reason: request.reason };
    let stopped = request.stopped;
    let said = call.state.store.write(move |tx| -> Result<(StopInfo, bool), Problem> {
        let before = fleet::info(tx)?;
        check_generation(seen, before.generation, "the stop of the fleet")?;
        if before.stopped == stopped {
            return Ok((before, false));
        }
        let after = fleet::set_stop(tx, stopped, &stop, before.generation)?;
        record(tx, &stop, &before, &after)?;
        Ok((after, true))
    });
    let (info, is_new) = said.await?;
    if is_new && info.stopped {
        tracing::warn!("the whole fleet was stopped");
    } else if is_new {
        tracing::info!("the fleet goes on");
    }
    answer::tagged(&info, info.generation)
}

fn record(
    tx: &mut handover_store::Tx<'_>,
    stop: &Stop,
    before: &StopInfo,
    after: &StopInfo,
) -> Result<(), Problem> {
    let (what, kind) = if after.stopped {
        ("fleet.stop", "fleet.stopped")
    } else {
        ("fleet.resume", "fleet.resumed")
    };
    let row = audit::NewAudit {
        at: stop.at,
        who: stop.by.clone(),
        what,
        subject: "fleet".to_owned(),
        before: Some(json!({ "stopped": before.stopped, "reason": before.reason })),
        after: Some(json!({ "stopped": after.stopped, "reason": after.reason })),
    };
    audit::insert(tx, &row)?;
    let data = json!({ "by": stop.by, "reason": stop.reason });
    events::insert(
        tx,
        &NewEvent { at: stop.at, kind, agent: None, order: None, rollout: None, data },
    )?;
    Ok(())
}
