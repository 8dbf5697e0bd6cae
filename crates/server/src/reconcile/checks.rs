//! Asks the external checks of rollouts that are not over, each at its rhythm: one replica at a
//! time, all checks beside each other, so that one that hangs is in nobody's way.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use handover_model::RolloutId;
use handover_model::api::{CheckAnswer, CheckSpec};
use handover_store::checks::{self as stored, Checked};
use handover_store::{Lease, StoreError};
use http::{Method, StatusCode};
use tokio::task::{Id, JoinSet};

use super::{Post, note};
use crate::webhooks::{Destination, Outgoing};
use crate::{AppState, Chain, checks};

/// How often it is looked which checks are due.
const RHYTHM: Duration = Duration::from_secs(1);
/// Rollouts that are looked at in one transaction.
const BATCH: u32 = 100;
/// Questions that are under way at once; more wait for their turn.
const MOST: usize = 32;

/// A check that is due.
struct Question {
    rollout: Checked,
    spec: CheckSpec,
    url: String,
}

/// What is under way.
#[derive(Default)]
struct Desk {
    asked: JoinSet<()>,
    under_way: HashMap<Id, (RolloutId, String)>,
}

/// Asks until the server stops.
pub(super) async fn run(state: AppState) {
    let mut post = Post::new("checks");
    let mut desk = Desk::default();
    loop {
        tokio::select! {
            () = state.stop.cancelled() => break,
            () = tokio::time::sleep(RHYTHM) => {
                if let Some(Some(lease)) = note("checks", post.hold(&state).await) {
                    note("checks", desk.turn(&state, &lease).await);
                }
            }
            Some(ended) = desk.asked.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                desk.under_way.remove(&id);
            }
        }
    }
    drop(desk);
    post.leave(&state).await;
}

impl Desk {
    async fn turn(&mut self, state: &AppState, lease: &Lease) -> Result<(), StoreError> {
        let mut after = 0;
        loop {
            let busy: HashSet<_> = self.under_way.values().cloned().collect();
            let now = state.now().wall;
            let page = state.store.read(move |tx| -> Result<_, StoreError> {
                let (rollouts, last) = stored::live(tx, after, BATCH)?;
                let mut found = Vec::new();
                for rollout in rollouts.iter().filter(|one| checks::is_asked(one.state)) {
                    let known = stored::of(tx, rollout.id)?;
                    found.extend(due(rollout, &known, &busy, now));
                }
                Ok((found, last, rollouts.len()))
            });
            let (found, last, count) = page.await?;
            for question in found {
                if self.under_way.len() >= MOST {
                    return Ok(());
                }
                let place = (question.rollout.id, question.spec.name.clone());
                let task = self.asked.spawn(ask(state.clone(), lease.clone(), question));
                self.under_way.insert(task.id(), place);
            }
            if u32::try_from(count).is_ok_and(|count| count < BATCH) {
                return Ok(());
            }
            after = last;
        }
    }
}

fn due(
    rollout: &Checked,
    known: &[stored::Check],
    busy: &HashSet<(RolloutId, String)>,
    now: handover_model::Timestamp,
) -> Vec<Question> {
    let is_free = |spec: &&CheckSpec| !busy.contains(&(rollout.id, spec.name.clone()));
    let question = |spec: &CheckSpec| {
        let known = known.iter().find(|check| check.name == spec.name);
        let url = checks::due(spec, known, now)?.to_owned();
        Some(Question { rollout: rollout.clone(), spec: spec.clone(), url })
    };
    rollout.spec.checks.iter().filter(is_free).filter_map(question).collect()
}

/// Asks, and writes what came.
async fn ask(state: AppState, lease: Lease, question: Question) {
    let answered = call(&state, &question.url).await;
    let now = state.now().wall;
    let Question { rollout, spec, .. } = question;
    if let Err(why) = &answered {
        tracing::info!(rollout.id = %rollout.id, check = spec.name, error = why, "check not answered");
    }
    let written = state.store.write(move |tx| -> Result<(), StoreError> {
        tx.check_fence(&lease)?;
        match &answered {
            Ok(answer) => checks::take(tx, &rollout, &spec, answer, (now, now)),
            Err(why) => {
                stored::unanswered(tx, &rollout, &spec.name, why, (now, spec.fresh.duration()))
            }
        }
    });
    note("checks", written.await);
}

async fn call(state: &AppState, url: &str) -> Result<CheckAnswer, String> {
    let to: Destination =
        url.parse().map_err(|error| format!("the address can't be asked: {error}"))?;
    let headers = vec![("accept", "application/json".to_owned())];
    let outgoing = Outgoing { method: Method::GET, to, headers, body: Bytes::new() };
    let answer = state.outbound.call(outgoing).await.map_err(|error| Chain(&error).to_string())?;
    if answer.status != StatusCode::OK {
        return Err(format!("status {}, and 200 is asked for", answer.status.as_u16()));
    }
    checks::parse(&answer.body)
}
