//! External checks: what they answered, the secret of one that answers by itself, and its answer.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use handover_model::api::{CheckHow, CheckInfo, CheckSecret, CheckSpec};
use handover_model::{RolloutId, RolloutName};
use handover_store::Tx;
use handover_store::checks::{self as stored, Checked};
use http::HeaderMap;

use super::answer;
use super::call::{Call, Segments, cut};
use crate::problem::Code;
use crate::webhooks::{HEADER, Refused, verify};
use crate::{AppState, Problem, checks};

/// A rollout, as a path names it.
enum RolloutRef {
    Id(RolloutId),
    Name(RolloutName),
}

impl RolloutRef {
    fn parse(text: &str) -> Option<Self> {
        let id = text.parse().map(Self::Id).ok();
        id.or_else(|| text.parse().map(Self::Name).ok())
    }

    fn find(&self, tx: &mut Tx<'_>) -> Result<Option<Checked>, Problem> {
        Ok(match self {
            Self::Id(id) => stored::by_id(tx, *id)?,
            Self::Name(name) => stored::by_name(tx, name)?,
        })
    }
}

/// `GET /rollouts/{rollout}/checks`.
pub(super) async fn list(call: Call, Segments([text]): Segments<1>) -> Result<Response, Problem> {
    call.query().done()?;
    let rollout = RolloutRef::parse(&text).ok_or_else(|| absent(&text))?;
    let found = call.state.store.read(move |tx| -> Result<_, Problem> {
        let rollout = rollout.find(tx)?.ok_or_else(|| absent(&text))?;
        Ok((stored::of(tx, rollout.id)?, rollout.spec))
    });
    let (known, spec) = found.await?;
    let info = |spec: CheckSpec| {
        let known = known.iter().find(|check| check.name == spec.name);
        let answered_at = known.and_then(|check| check.answered_at);
        CheckInfo {
            verdict: known.and_then(|check| check.verdict),
            reason: known.and_then(|check| check.reason.clone()),
            answered_at,
            is_fresh: answered_at.is_some_and(|at| call.now < at.after(spec.fresh.duration())),
            spec,
        }
    };
    answer::json(&spec.checks.into_iter().map(info).collect::<Vec<_>>())
}

/// `GET /rollouts/{rollout}/checks/{check}/secret`.
pub(super) async fn secret(
    call: Call,
    Segments([text, check]): Segments<2>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let rollout = RolloutRef::parse(&text).ok_or_else(|| absent(&text))?;
    let wanted = check.clone();
    let found = call.state.store.read(move |tx| -> Result<_, Problem> {
        let rollout = rollout.find(tx)?.ok_or_else(|| absent(&text))?;
        if answers_by_itself(&rollout, &wanted).is_none() {
            let detail = format!(
                "{} has no check {:?} that answers by itself",
                rollout.spec.name,
                cut(&wanted)
            );
            return Err(Problem::new(Code::NotFound, detail));
        }
        Ok(rollout.id)
    });
    let id = found.await?;
    let url = format!("{}/api/v1/rollouts/{id}/checks/{check}", call.state.public_url);
    let secret = call.state.webhook_key.of_check(id, &check).to_string();
    answer::json(&CheckSecret { rollout: id, name: check, url, secret })
}

/// `POST /rollouts/{rollout}/checks/{check}`: whoever has the check's secret answers. Whatever is
/// wrong before that is proved is told in the same words, so that nobody learns what there is.
pub(super) async fn take(
    State(state): State<AppState>,
    headers: HeaderMap,
    Segments([rollout, check]): Segments<2>,
    body: Bytes,
) -> Result<Response, Problem> {
    let now = state.now();
    let found = match RolloutRef::parse(&rollout) {
        None => None,
        Some(rollout) => state.store.read(move |tx| rollout.find(tx)).await?,
    };
    let spec = found.as_ref().and_then(|rollout| answers_by_itself(rollout, &check)).cloned();
    let signature = headers.get(HEADER).and_then(|value| value.to_str().ok());
    let proved = match (&found, &spec) {
        (Some(rollout), Some(spec)) => {
            let secret = state.webhook_key.of_check(rollout.id, &spec.name);
            verify(&secret, signature.unwrap_or_default(), &body, now.wall)
        }
        (Some(_) | None, _) => Err(Refused::Wrong),
    };
    let (rollout, spec, signed_at) = match (found, spec, proved) {
        (Some(rollout), Some(spec), Ok(at)) => (rollout, spec, at),
        (_, _, proved) => {
            state.limiter.stranger(now.mono)?;
            let why = proved.err().unwrap_or(Refused::Wrong);
            return Err(unproved(why));
        }
    };
    let answer = checks::parse(&body).map_err(|why| Problem::new(Code::Malformed, why))?;
    let taken = state.store.write(move |tx| -> Result<(), Problem> {
        let rollout = stored::by_id(tx, rollout.id)?.ok_or_else(|| unproved(Refused::Wrong))?;
        if rollout.state.is_over() {
            let detail = format!("{} is over, and asks nobody any more", rollout.spec.name);
            return Err(Problem::new(Code::Conflict, detail));
        }
        let before = stored::one(tx, &rollout, &spec.name)?;
        if before.and_then(|before| before.asked_at).is_some_and(|last| last >= signed_at) {
            return Err(Problem::new(
                Code::CheckStale,
                "an answer that was signed at that second or later is here already: sign anew",
            ));
        }
        // It holds as of its signature; a clock that goes ahead makes it no fresher.
        let times = (signed_at.min(now.wall), signed_at);
        Ok(checks::take(tx, &rollout, &spec, &answer, times)?)
    });
    taken.await?;
    Ok(answer::nothing())
}

fn answers_by_itself<'r>(rollout: &'r Checked, check: &str) -> Option<&'r CheckSpec> {
    let is_it = |spec: &&CheckSpec| spec.name == check && spec.how == CheckHow::Webhook {};
    rollout.spec.checks.iter().find(is_it)
}

fn unproved(why: Refused) -> Problem {
    Problem::new(
        Code::Unproved,
        format!("there is no such check, or the signature does not hold: {why}"),
    )
    .field("header.handover-signature", why.to_string())
}

fn absent(text: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no rollout {:?}", cut(text)))
}
