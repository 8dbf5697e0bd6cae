//! The heartbeat: `POST /agent/v1/sync`.

use std::time::Duration;

use axum::extract::Request;
use bytes::Bytes;
use handover_model::api::AgentState;
use handover_model::wire::{LONGEST_WAIT, MOST_REPORTS, Notice, SyncAnswer, SyncRequest};
use handover_model::{Millis, Now};

use super::body;
use super::channel::Channel;
use super::exchange::{self, Outcome};
use super::index::Visit;
use crate::problem::Code;
use crate::{AppState, Problem};

/// What a clone is told.
pub(super) const CLONED: &str = "two hosts use this agent's identity: no orders are given to \
    either; run `handover-agent enroll --again` with a new token on the one that is not to keep \
    it, or retire it";

/// Takes one sync and answers it once everything in it is durable.
pub(super) async fn sync<C: Channel>(
    state: &AppState,
    channel: &C,
    request: Request,
) -> Result<Bytes, Problem> {
    let (head, body) = request.into_parts();
    super::check_protocol(&head.headers)?;
    let secret = channel.sender(&head)?;
    // Strangers are turned away before their body is read.
    if !state.agents.knows(&secret) {
        return Err(stranger(state));
    }
    let bytes = body::read(body, state.config.limits.body).await?;
    let request = channel.open(&bytes)?;
    if request.reports.len() > MOST_REPORTS {
        let detail = format!("a sync may carry {MOST_REPORTS} reports; send the oldest first");
        return Err(Problem::new(Code::TooLarge, detail));
    }
    let now = state.now();
    let limit = state.config.limits.agent_requests_per_10s;
    let visit =
        state.agents.visit(&secret, &request, now, limit)?.ok_or_else(|| stranger(state))?;
    let answer = answer(state, request, visit, now).await?;
    channel.seal(&answer)
}

fn stranger(state: &AppState) -> Problem {
    let refused = Problem::new(
        Code::Unauthenticated,
        "this server knows no living agent with that secret: it was retired, or it is of another \
         server; enrol the host again",
    );
    state.limiter.stranger(state.now().mono).err().unwrap_or(refused)
}

async fn answer(
    state: &AppState,
    request: SyncRequest,
    visit: Visit,
    now: Now,
) -> Result<SyncAnswer, Problem> {
    let heard = state.store.touch(visit.key, now.wall);
    let asked = Asked::of(&request);
    let mut outcome = Outcome::of(&visit);
    if needs_exchange(&request, &visit) {
        outcome = exchange::run(state, &visit, &request).await?;
    }
    heard.await?;
    let had_reports = !request.reports.is_empty();
    let mut turn = Turn { state, asked, visit, outcome };
    if !had_reports && request.wait.0 > 0 && !turn.has_something_to_say() {
        let longest = Duration::from_millis(request.wait.0.min(LONGEST_WAIT));
        let longest = longest.min(state.config.limits.wait);
        turn.wait(&request, longest).await?;
    }
    turn.answer(&request)
}

/// What a request asks for beside its reports.
#[derive(Debug, Clone, Copy)]
struct Asked {
    state: Option<handover_model::Digest>,
    order_keys: u64,
    ca: u64,
}

impl Asked {
    fn of(request: &SyncRequest) -> Self {
        Self { state: request.state, order_keys: request.order_keys, ca: request.ca }
    }
}

/// Whether a request changes or fetches something that the database has to know of.
fn needs_exchange(request: &SyncRequest, visit: &Visit) -> bool {
    !request.reports.is_empty()
        || visit.is_unsaved
        || visit.voids_secret
        || visit.state == AgentState::Away
        || is_due(visit)
}

/// Whether there are orders to look for.
fn is_due(visit: &Visit) -> bool {
    visit.is_pending && visit.state != AgentState::Cloned && (visit.is_fresh || visit.may_repeat)
}

struct Turn<'s> {
    state: &'s AppState,
    asked: Asked,
    visit: Visit,
    outcome: Outcome,
}

impl Turn<'_> {
    /// Whether the answer is worth being given early. What was said a moment ago is not.
    fn has_something_to_say(&self) -> bool {
        if !self.outcome.orders.is_empty() || !self.outcome.cancels.is_empty() {
            return true;
        }
        let is_behind = self.wants_state()
            || self.asked.order_keys < self.state.keys.orders.ring().number()
            || self.asked.ca < self.state.keys.channel.authorities().number()
            || self.outcome.state == AgentState::Cloned;
        is_behind && self.visit.may_repeat
    }

    fn wants_state(&self) -> bool {
        self.asked.state != self.outcome.state_digest || self.outcome.state_digest.is_none()
    }

    /// Holds the request open until there is something to say, the time is over, or the server
    /// stops. A mark may come after what it tells of was fetched already; then there is nothing,
    /// and the request stays open: an agent that is answered early and empty would stay away.
    async fn wait(&mut self, request: &SyncRequest, longest: Duration) -> Result<(), Problem> {
        let mut end = std::pin::pin!(tokio::time::sleep(longest));
        while self.rings(end.as_mut()).await {
            let request = SyncRequest { reports: Vec::new(), ..request.clone() };
            self.outcome = exchange::run(self.state, &self.visit, &request).await?;
            if self.has_something_to_say() {
                break;
            }
            // Not looked for again until there is another mark, or it is time to repeat.
            self.state.agents.told(&self.visit, self.state.now().mono);
        }
        Ok(())
    }

    /// Waits until there is something to look for; not when the wait is over.
    async fn rings(&mut self, mut end: std::pin::Pin<&mut tokio::time::Sleep>) -> bool {
        let Some(bell) = self.state.agents.bell(&self.visit) else { return false };
        let rung = loop {
            let mut ring = std::pin::pin!(bell.notified());
            // Registered before the look, so that no ring falls between the two.
            ring.as_mut().enable();
            let now = self.state.now();
            let Some(visit) = self.state.agents.revisit(&self.visit, now) else { break false };
            self.visit = visit;
            if visit.state != self.outcome.state || is_due(&visit) {
                break true;
            }
            if self.has_something_to_say() {
                break false;
            }
            tokio::select! {
                () = ring => {}
                () = end.as_mut() => break false,
                () = self.state.stop.cancelled() => break false,
            }
        };
        drop(bell);
        self.state.agents.unbell(&self.visit);
        rung
    }

    fn answer(self, request: &SyncRequest) -> Result<SyncAnswer, Problem> {
        let now = self.state.now();
        let ring = self.state.keys.orders.ring();
        let want_state = self.wants_state();
        let ca = self.state.newer_authorities(self.asked.ca)?;
        let order_keys = ring.after(self.asked.order_keys).to_vec();
        let mut notices = Vec::new();
        if self.outcome.state == AgentState::Cloned {
            notices.push(Notice { code: "agent.cloned".to_owned(), text: CLONED.to_owned() });
        }
        let is_told = want_state
            || ca.is_some()
            || !order_keys.is_empty()
            || !notices.is_empty()
            || !self.outcome.orders.is_empty()
            || !self.outcome.cancels.is_empty();
        if is_told || self.visit.is_fresh {
            self.state.agents.told(&self.visit, now.mono);
        }
        Ok(SyncAnswer {
            at: now.wall,
            acknowledged: self.outcome.acknowledged,
            orders: self.outcome.orders,
            cancels: self.outcome.cancels,
            want_state,
            order_keys,
            ca,
            notices,
            next: spread(self.state.config.next, request.number, self.visit.key.as_i64()),
        })
    }
}

/// When to come again: a twentieth more or less, so that those who came together part. It is a
/// function of the request, and needs no dice.
fn spread(next: Millis, number: u64, key: i64) -> Millis {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ key.unsigned_abs();
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^= mixed >> 27;
    let width = (next.0 / 10).max(1);
    Millis(next.0.saturating_sub(width / 2).saturating_add(mixed % width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_that_come_together_part_and_stay_near_what_was_configured() {
        let next = Millis(60_000);
        let times: std::collections::BTreeSet<_> =
            (0..100).map(|key| spread(next, 1, key).0).collect();
        assert!(times.len() > 90, "{times:?}");
        assert!(times.iter().all(|time| (57_000..63_000).contains(time)), "{times:?}");
        assert_eq!(spread(Millis(0), 1, 1), Millis(0));
    }
}
