//! When to send and what, and how long to leave the control plane alone.

use std::time::Duration;

use handover_engine::orders::Stand;
use handover_model::wire::{
    Action, LARGEST_REQUEST, LONGEST_WAIT, MOST_REPORTS, OrderStage, SyncAnswer, SyncRequest,
};
use handover_model::{ErrorClass, Millis, Now};

use super::{Core, Effect, File, sealed};
use crate::backoff::{jitter, plan_return};
use crate::control::standing::{Silence, Standing};
use crate::failure::Failure;
use crate::voice::plain;

/// The shortest and the longest that the control plane may ask for between two syncs.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(10);
/// How long news is collected before it is sent.
const GATHER: Duration = Duration::from_millis(100);
/// How often the whole state is looked at while an order is worked on.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a request is held open while the host may change by itself: a trial or a guard runs,
/// and the launcher goes back without asking anybody.
const UNSETTLED_WAIT: Millis = Millis(2_000);
/// An answer that came sooner was not held open.
const HELD: Duration = Duration::from_secs(1);
/// How often the standing is written while nothing changes.
const KEEP_EVERY: Duration = Duration::from_mins(1);
/// What may be left of a request for all that is not reports.
const HEAD: usize = 32 * 1024;

/// The conversation so far.
#[derive(Debug)]
pub(super) struct Talk {
    phase: Phase,
    /// There is something to say since the last request was written.
    is_rung: bool,
    pub(super) is_unsettled: bool,
    /// When the host was looked at last.
    pub(super) looked_at: Option<Duration>,
    /// How many requests were sent in this session.
    number: u64,
    /// How often in a row no answer came.
    failures: u32,
    /// The highest number of reports in one request; one that is refused is tried in parts.
    most: usize,
}

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The next request is due at this time, or when there is something to say.
    Rests(Duration),
    /// The next request is due at this time and nothing shortens that: a fleet must not come back
    /// at once.
    BacksOff(Duration),
    /// The host is being looked at; then the request goes.
    Looks,
    /// An answer is waited for.
    Sent { wait: Millis, has_reports: bool },
    /// It is over: the host has left.
    Left,
}

/// A request that brought no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// What may be done next.
    pub class: ErrorClass,
    /// Whether the control plane itself refused, in words.
    pub is_problem: bool,
    /// How long it asks to be left alone.
    pub retry_after: Option<Duration>,
    /// A name for programs.
    pub code: String,
    /// Why, for people.
    pub reason: String,
}

impl Talk {
    pub(super) fn new(number: u64, now: Duration) -> Self {
        Self {
            phase: Phase::Rests(now),
            is_rung: false,
            is_unsettled: false,
            looked_at: None,
            number,
            failures: 0,
            most: MOST_REPORTS,
        }
    }
}

impl Core {
    /// How many requests were sent in this session.
    pub fn number(&self) -> u64 {
        self.talk.number
    }

    /// When [`Self::handle_timeout`] is to be called, on the monotonic clock; `None` while an
    /// input is waited for, and once the host has left.
    pub fn next_deadline(&self) -> Option<Duration> {
        let work = self.bench.due().filter(|_| self.talk.phase != Phase::Left);
        let talk = match self.talk.phase {
            Phase::Rests(until) | Phase::BacksOff(until) => Some(until),
            Phase::Looks | Phase::Sent { .. } | Phase::Left => None,
        };
        work.into_iter().chain(talk).min()
    }

    /// Does what is due.
    ///
    /// # Errors
    /// As [`Self::handle`].
    pub fn handle_timeout(&mut self, now: Now) -> Result<(), Failure> {
        if self.talk.phase == Phase::Left {
            return Ok(());
        }
        self.wake_worker(now);
        let (Phase::Rests(until) | Phase::BacksOff(until)) = self.talk.phase else { return Ok(()) };
        if until > now.mono {
            return Ok(());
        }
        if self.has_left() {
            return self.leave();
        }
        let full = self.outbox.is_full();
        self.standing.blocked =
            full.then(|| "so many results wait to be reported that no new order begins".to_owned());
        let soon = self.talk.looked_at.is_some_and(|at| now.mono.saturating_sub(at) < LOOK_EVERY);
        if soon && self.bench.is_working {
            self.send(now);
        } else {
            self.talk.looked_at = Some(now.mono);
            self.talk.phase = Phase::Looks;
            self.effects.push(Effect::Look);
        }
        Ok(())
    }

    /// There is something to say.
    pub(super) fn ring(&mut self, now: Now) {
        let soon = now.mono.saturating_add(GATHER);
        match &mut self.talk.phase {
            Phase::Rests(until) if *until > soon => {
                *until = soon;
                self.effects.push(Effect::Ring);
            }
            Phase::Rests(_) | Phase::Left => {}
            Phase::BacksOff(_) | Phase::Looks | Phase::Sent { .. } => self.talk.is_rung = true,
        }
    }

    pub(super) fn send(&mut self, now: Now) {
        let reports = self.outbox.batch(self.talk.most, LARGEST_REQUEST.saturating_sub(HEAD));
        self.talk.number = self.talk.number.saturating_add(1);
        // Whether it answers at all is to be known soon, not at the end of a long poll.
        let reached = self.standing.connected_since.is_some();
        let idle = reached && !self.bench.is_working && reports.is_empty();
        let longest = match (idle, self.talk.is_unsettled) {
            // While something is under way its news must not wait behind an open poll.
            (false, _) => Millis(0),
            (true, true) => UNSETTLED_WAIT,
            (true, false) => Millis(LONGEST_WAIT),
        };
        // Nor must an order whose time comes.
        let left = self.bench.due().map(|due| Millis::of(due.saturating_sub(now.mono)));
        let wait = left.map_or(longest, |left| longest.min(left));
        let request = SyncRequest {
            session: self.session,
            number: self.talk.number,
            machine: self.machine,
            agent_version: self.version.clone(),
            state: self.told_state,
            place: self.ledger.highest_of(self.agent),
            order_keys: self.keys.number,
            ca: self.ca.number,
            reports: Vec::new(),
            wait,
        };
        self.talk.phase = Phase::Sent { wait, has_reports: !reports.is_empty() };
        self.effects.push(Effect::Send { request: Box::new(request), reports });
    }

    pub(super) fn answered(
        &mut self,
        answer: &SyncAnswer,
        took: Duration,
        now: Now,
    ) -> Result<(), Failure> {
        let Phase::Sent { wait, .. } = self.talk.phase else { return Ok(()) };
        let before = self.standing.clone();
        if self.standing.connected_since.is_none() {
            tracing::info!(agent.id = %self.agent, "control plane reached");
            self.standing.connected_since = Some(now.wall);
        }
        self.talk.failures = 0;
        self.talk.most = MOST_REPORTS;
        self.standing.silent = None;
        self.take(answer, now)?;
        let due = self.kept_at.is_none_or(|at| now.mono.saturating_sub(at) >= KEEP_EVERY);
        if due || before != self.standing {
            self.kept_at = Some(now.mono);
            self.standing.answered_at = Some(now.wall);
            self.keep_standing()?;
        }
        let busy = self.bench.is_working || !self.outbox.is_empty();
        let mut length = plan_pause(wait, answer, took, busy);
        if !length.is_zero() {
            length = jitter(length, &mut self.dice);
            if std::mem::take(&mut self.talk.is_rung) {
                length = length.min(GATHER);
            }
        }
        self.talk.phase = Phase::Rests(now.mono.saturating_add(length));
        Ok(())
    }

    /// Notes that the control plane is silent or refuses, and how long to leave it alone.
    pub(super) fn missed(&mut self, missed: &Missed, now: Now) -> Result<(), Failure> {
        let Phase::Sent { has_reports, .. } = self.talk.phase else { return Ok(()) };
        self.talk.failures = self.talk.failures.saturating_add(1);
        let failures = self.talk.failures;
        if has_reports && missed.is_problem {
            // Perhaps one report is what it can't stand: the others shall not wait behind it.
            self.talk.most = (self.talk.most / 2).max(1);
        }
        // A refusal for good is not asked about every few seconds.
        let attempt = match missed.class {
            ErrorClass::Retry => failures,
            ErrorClass::Conflict | ErrorClass::Permanent | ErrorClass::Bug => {
                failures.saturating_add(4)
            }
        };
        let wait = plan_return(attempt, missed.retry_after, &mut self.dice);
        let since = self.standing.silent.as_ref().map_or(now.wall, |silence| silence.since);
        if self.standing.connected_since.take().is_some() || failures == 1 {
            let (code, error) = (&missed.code, &missed.reason);
            tracing::warn!(code, error, "control plane not reached; following the policy");
        }
        self.standing.silent = Some(Silence {
            since,
            attempts: failures,
            code: plain(&missed.code, 80),
            reason: plain(&missed.reason, 500),
            next: now.wall.after(wait),
        });
        self.talk.phase = Phase::BacksOff(now.mono.saturating_add(wait));
        self.keep_standing()
    }

    fn keep_standing(&mut self) -> Result<(), Failure> {
        let bytes = sealed(File::Standing, &self.standing)?;
        self.effects.write(File::Standing, bytes);
        Ok(())
    }

    /// Whether an order to leave was carried out and its ending is known there: then what
    /// authenticates this host is forgotten.
    fn has_left(&self) -> bool {
        self.ledger.taken.iter().any(|taken| {
            let is_done = matches!(&taken.stand, Stand::Ended(ending)
                if ending.stage == OrderStage::Done);
            taken.order.action == Action::Retire
                && taken.at >= self.enrolled_at
                && is_done
                && taken.told
                && !self.outbox.holds_ending(taken.order.id)
        })
    }

    fn leave(&mut self) -> Result<(), Failure> {
        self.standing = Standing::default();
        self.talk.phase = Phase::Left;
        self.effects.push(Effect::Leave);
        self.keep_standing()
    }
}

/// How long to rest after an answer. A control plane that holds requests open is asked again at
/// once; what it wants or is told comes first.
fn plan_pause(wait: Millis, answer: &SyncAnswer, took: Duration, busy: bool) -> Duration {
    // One that goes on wanting the same must not be asked without end.
    let has_said_more = answer.want_state
        || !answer.orders.is_empty()
        || !answer.cancels.is_empty()
        || !answer.order_keys.is_empty()
        || answer.ca.is_some();
    if busy || has_said_more {
        return SHORTEST;
    }
    // It was not asked to hold this one, or held it as long as it wanted to.
    if wait.duration().is_zero() || took >= HELD {
        return Duration::ZERO;
    }
    answer.next.duration().clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_holds_is_asked_again_and_one_that_does_not_is_left_alone() {
        let mut answer = SyncAnswer {
            at: handover_model::Timestamp::from_micros(0),
            acknowledged: 0,
            orders: Vec::new(),
            cancels: Vec::new(),
            want_state: false,
            order_keys: Vec::new(),
            ca: None,
            notices: Vec::new(),
            next: Millis(60_000),
        };
        let (held, minute) = (Millis(55_000), Duration::from_mins(1));
        assert_eq!(plan_pause(held, &answer, Duration::from_secs(55), false), Duration::ZERO);
        assert_eq!(plan_pause(held, &answer, Duration::from_millis(5), false), minute);
        assert_eq!(plan_pause(held, &answer, Duration::from_millis(5), true), SHORTEST);
        assert_eq!(plan_pause(Millis(0), &answer, Duration::ZERO, false), Duration::ZERO);
        answer.next = Millis(u64::MAX);
        assert_eq!(plan_pause(held, &answer, Duration::ZERO, false), LONGEST);
        answer.next = Millis(0);
        assert_eq!(plan_pause(held, &answer, Duration::ZERO, false), SHORTEST);
        answer.want_state = true;
        assert_eq!(plan_pause(held, &answer, minute, false), SHORTEST, "it wants without end");
    }
}
