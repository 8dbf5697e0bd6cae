//! The thread that talks to the control plane: syncs, one after the other, and what their answers
//! bring. It decides nothing about components; it checks, writes down and wakes the worker.

mod answer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use handover_engine::orders::Stand;
use handover_model::wire::{
    Action, ChannelCa, LARGEST_REQUEST, LONGEST_WAIT, MOST_REPORTS, SyncAnswer, SyncRequest,
};
use handover_model::{ErrorClass, Millis, SessionId};
use handover_trust::control::OrderKeys;

use super::channel::{BearerChannel, Channel};
use super::desk::Desk;
use super::enrolment::{machine, own_version};
use super::identity::{ControlFiles, Identity};
use super::perform;
use super::standing::{Silence, Standing};
use super::state::{Outlooks, is_unsettled, look};
use crate::agent::Agent;
use crate::backoff::{jitter, plan_return};
use crate::call::CallError;
use crate::failure::{Failure, chain};
use crate::home::Home;
use crate::real_world::{Stop, Woken};
use crate::voice::Voice;

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

/// One enrolled host's conversation.
pub(super) struct Sync {
    files: ControlFiles,
    identity: Identity,
    stamp: Option<Stamp>,
    ca: ChannelCa,
    keys: OrderKeys,
    channel: Box<dyn Channel>,
    desk: Arc<Desk>,
    session: SessionId,
    number: Arc<AtomicU64>,
    standing: Standing,
    kept_at: Option<Duration>,
    looked_at: Option<Duration>,
    is_unsettled: bool,
    outlooks: Outlooks,
    worker: Option<JoinHandle<()>>,
    failures: u32,
    /// The highest number of reports in one request; one that is refused is tried in parts.
    most: usize,
}

/// What tells a changed file from the one that was read.
pub(super) type Stamp = (u64, i64, i64);

/// The identity file as it is now.
pub(super) fn stamp_of(files: &ControlFiles) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(files.path("identity.json")).ok()?;
    Some((meta.ino(), meta.mtime(), meta.mtime_nsec()))
}

/// Talks until the end is asked for, the host leaves, or it is enrolled anew.
///
/// # Errors
/// [`Failure`] when the files under `control/` can't be used.
pub(super) fn talk(
    home: &Home,
    stop: &Stop,
    session: SessionId,
    number: &Arc<AtomicU64>,
) -> Result<(), Failure> {
    let mut agent = Agent::real(home.clone(), stop.clone(), Voice::silent())?;
    let Some(mut sync) = Sync::open(&agent, session, number)? else { return Ok(()) };
    let ended = sync.run(&mut agent);
    // The next conversation has a desk of its own.
    sync.desk.close();
    if let Some(worker) = sync.worker.take()
        && worker.join().is_err()
    {
        tracing::error!("the worker died; its order is looked at again");
    }
    ended
}

impl Sync {
    /// `None` where the host is not enrolled, or has left.
    fn open(
        agent: &Agent,
        session: SessionId,
        number: &Arc<AtomicU64>,
    ) -> Result<Option<Self>, Failure> {
        let files = ControlFiles::of(&agent.home);
        let stamp = stamp_of(&files);
        let Some(identity) = files.identity()? else { return Ok(None) };
        let (Some(ca), Some(keys)) = (files.ca()?, files.order_keys()?) else {
            let reason = format!(
                "{} is not whole: enrol again with `handover-agent enroll --again`",
                files.dir()
            );
            return Err(Failure::Refused { code: "control.incomplete", reason });
        };
        let channel = BearerChannel::new(&identity, &ca, Arc::clone(&agent.clock));
        let Some(channel) = channel else { return Ok(None) };
        let desk = Arc::new(Desk::open(&agent.home, &identity, session, agent.now().wall)?);
        let mut standing = Standing::load(agent);
        standing.connected_since = None;
        Ok(Some(Self {
            files,
            identity,
            stamp,
            ca,
            keys,
            channel: Box::new(channel),
            desk,
            session,
            number: Arc::clone(number),
            standing,
            kept_at: None,
            looked_at: None,
            is_unsettled: false,
            outlooks: Outlooks::default(),
            worker: None,
            failures: 0,
            most: MOST_REPORTS,
        }))
    }

    fn run(&mut self, agent: &mut Agent) -> Result<(), Failure> {
        self.desk.tell_endings(agent.now().wall)?;
        while !agent.stop.is_asked() && self.is_current() {
            if self.has_left(agent)? {
                return Ok(());
            }
            self.wake_worker(agent)?;
            self.report_state(agent);
            let request = self.request()?;
            let began = agent.now().mono;
            match self.channel.sync(&request) {
                Ok(answer) => {
                    let took = agent.now().mono.saturating_sub(began);
                    // An enrolment writes the same files: an answer to whom this host was before
                    // must not be mixed into them.
                    let Some(alone) = self.files.writing(agent)? else { continue };
                    if !self.is_current() {
                        break;
                    }
                    self.answered(agent, &answer)?;
                    drop(alone);
                    let busy = self.worker.is_some() || !self.desk.outbox().is_empty();
                    let length = plan_pause(&request, &answer, took, busy);
                    self.pause(agent, length);
                }
                Err(error) => {
                    let wait = self.failed(agent, &request, &error);
                    // Nothing shortens this: a fleet must not come back at once.
                    agent.wait(wait);
                }
            }
        }
        Ok(())
    }

    fn request(&mut self) -> Result<SyncRequest, Failure> {
        let reports = self.desk.outbox().batch(self.most, LARGEST_REQUEST.saturating_sub(HEAD))?;
        // Whether it answers at all is to be known soon, not at the end of a long poll.
        let reached = self.standing.connected_since.is_some();
        let idle = reached && self.worker.is_none() && reports.is_empty();
        Ok(SyncRequest {
            session: self.session,
            number: self.number.fetch_add(1, Ordering::SeqCst).saturating_add(1),
            machine: machine(),
            agent_version: own_version(),
            state: self.desk.told_state(),
            place: self.desk.ledger().highest_of(self.identity.agent),
            order_keys: self.keys.number,
            ca: self.ca.number,
            reports,
            // While something is under way its news must not wait behind an open poll.
            wait: match (idle, self.is_unsettled) {
                (false, _) => Millis(0),
                (true, true) => UNSETTLED_WAIT,
                (true, false) => Millis(LONGEST_WAIT),
            },
        })
    }

    fn answered(&mut self, agent: &mut Agent, answer: &SyncAnswer) -> Result<(), Failure> {
        let (now, before) = (agent.now(), self.standing.clone());
        if self.standing.connected_since.is_none() {
            tracing::info!(agent.id = %self.identity.agent, "control plane reached");
            self.standing.connected_since = Some(now.wall);
        }
        self.failures = 0;
        self.most = MOST_REPORTS;
        self.standing.silent = None;
        self.take(agent, answer)?;
        let due = self.kept_at.is_none_or(|at| now.mono.saturating_sub(at) >= KEEP_EVERY);
        if due || before != self.standing {
            self.kept_at = Some(now.mono);
            self.standing.answered_at = Some(now.wall);
            self.standing.keep(&self.files);
        }
        Ok(())
    }

    /// Waits until the next sync is due, or there is something to say.
    fn pause(&mut self, agent: &mut Agent, length: Duration) {
        if length.is_zero() {
            return;
        }
        let length = jitter(length, &mut agent.dice);
        if agent.stop.wait_or_bell(self.desk.bell(), length) == Woken::Rung {
            agent.wait(GATHER);
        }
    }

    /// Notes that the control plane is silent or refuses, and says how long to leave it alone.
    fn failed(&mut self, agent: &mut Agent, request: &SyncRequest, error: &CallError) -> Duration {
        let now = agent.now().wall;
        self.failures = self.failures.saturating_add(1);
        if !request.reports.is_empty() && matches!(error, CallError::Problem(_)) {
            // Perhaps one report is what it can't stand: the others shall not wait behind it.
            self.most = (self.most / 2).max(1);
        }
        // A refusal for good is not asked about every few seconds.
        let attempt = match error.class() {
            ErrorClass::Retry => self.failures,
            ErrorClass::Conflict | ErrorClass::Permanent | ErrorClass::Bug => {
                self.failures.saturating_add(4)
            }
        };
        let wait = plan_return(attempt, error.retry_after(), &mut agent.dice);
        let since = self.standing.silent.as_ref().map_or(now, |silence| silence.since);
        if self.standing.connected_since.take().is_some() || self.failures == 1 {
            let (code, error) = (error.code(), chain(error));
            tracing::warn!(code, error, "control plane not reached; following the policy");
        }
        self.standing.silent = Some(Silence {
            since,
            attempts: self.failures,
            code: crate::voice::plain(error.code(), 80),
            reason: crate::voice::plain(&chain(error), 500),
            next: now.after(wait),
        });
        self.standing.keep(&self.files);
        wait
    }

    /// Starts the worker when there are orders and it does not run.
    fn wake_worker(&mut self, agent: &Agent) -> Result<(), Failure> {
        if self.worker.as_ref().is_some_and(JoinHandle::is_finished) {
            if let Some(worker) = self.worker.take()
                && worker.join().is_err()
            {
                tracing::error!("the worker died; its order is looked at again");
            }
            self.looked_at = None;
        }
        let open = self.desk.ledger().open_orders().next().is_some();
        let full = self.desk.outbox().is_full();
        self.standing.blocked =
            full.then(|| "so many results wait to be reported that no new order begins".to_owned());
        if self.worker.is_some() || !open {
            return Ok(());
        }
        let (desk, home, stop) = (Arc::clone(&self.desk), agent.home.clone(), agent.stop.clone());
        let work = move || match Agent::real(home, stop, Voice::silent()) {
            Ok(mut agent) => {
                perform::work(&mut agent, &desk);
                desk.bell().ring();
            }
            Err(error) => tracing::error!(error = %chain(&error), "orders can't be worked on"),
        };
        let worker = std::thread::Builder::new().name("orders".to_owned()).spawn(work);
        self.worker =
            Some(worker.map_err(|source| Failure::Stream { act: "start a thread", source })?);
        Ok(())
    }

    /// Looks at the host and puts its state into the outbox if it is news.
    fn report_state(&mut self, agent: &Agent) {
        let now = agent.now();
        let soon = self.looked_at.is_some_and(|at| now.mono.saturating_sub(at) < LOOK_EVERY);
        if soon && self.worker.is_some() {
            return;
        }
        self.looked_at = Some(now.mono);
        self.is_unsettled = is_unsettled(agent);
        let told =
            look(agent, &mut self.outlooks).and_then(|state| self.desk.tell_state(state, now.wall));
        if let Err(error) = told {
            tracing::warn!(code = error.code(), error = %chain(&error), "no state to report");
        }
    }

    /// Whether an order to leave was carried out and its ending is known there: then what
    /// authenticates this host is forgotten.
    fn has_left(&mut self, agent: &Agent) -> Result<bool, Failure> {
        let ledger = self.desk.ledger();
        let retired = ledger.taken.iter().find(|taken| {
            taken.order.action == Action::Retire
                && taken.at >= self.identity.enrolled_at
                && matches!(&taken.stand, Stand::Ended(ending)
                    if ending.stage == handover_model::wire::OrderStage::Done)
        });
        let Some(retired) = retired else { return Ok(false) };
        if !retired.told || self.desk.outbox().holds_ending(retired.order.id) {
            return Ok(false);
        }
        self.identity.secret = None;
        self.identity.left_at = Some(agent.now().wall);
        self.files.save_identity(&self.identity)?;
        self.standing = Standing::default();
        self.standing.keep(&self.files);
        tracing::info!("this host has left its control plane, as ordered");
        Ok(true)
    }
}

/// How long to wait after an answer that took `took` to come. A server that holds requests open
/// is asked again at once; one that does not says when to come. Whatever it says and wants, it is
/// not asked more often than once a second for its sake.
fn plan_pause(request: &SyncRequest, answer: &SyncAnswer, took: Duration, busy: bool) -> Duration {
    let has_said_more = answer.want_state
        || !answer.orders.is_empty()
        || !answer.cancels.is_empty()
        || !answer.order_keys.is_empty()
        || answer.ca.is_some();
    if busy || has_said_more {
        return SHORTEST;
    }
    // It was not asked to hold this one, or held it as long as it wanted to.
    if request.wait.duration().is_zero() || took >= HELD {
        return Duration::ZERO;
    }
    answer.next.duration().clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(wait: u64) -> (SyncRequest, SyncAnswer) {
        let mut ids = handover_model::IdGen::new([1; 32]);
        let at = handover_model::Timestamp::from_micros(0);
        let request = SyncRequest {
            session: SessionId::mint(&mut ids, at),
            number: 1,
            machine: machine(),
            agent_version: own_version(),
            state: None,
            place: None,
            order_keys: 1,
            ca: 1,
            reports: Vec::new(),
            wait: Millis(wait),
        };
        let answer = SyncAnswer {
            at,
            acknowledged: 0,
            orders: Vec::new(),
            cancels: Vec::new(),
            want_state: false,
            order_keys: Vec::new(),
            ca: None,
            notices: Vec::new(),
            next: Millis(60_000),
        };
        (request, answer)
    }

    #[test]
    fn a_server_that_holds_is_asked_again_and_one_that_does_not_is_left_alone() {
        let (request, mut answer) = exchange(55_000);
        let minute = Duration::from_mins(1);
        assert_eq!(plan_pause(&request, &answer, Duration::from_secs(55), false), Duration::ZERO);
        assert_eq!(plan_pause(&request, &answer, Duration::from_millis(5), false), minute);
        assert_eq!(plan_pause(&request, &answer, Duration::from_millis(5), true), SHORTEST);
        let (reporting, _) = exchange(0);
        assert_eq!(plan_pause(&reporting, &answer, Duration::ZERO, false), Duration::ZERO);
        answer.next = Millis(u64::MAX);
        assert_eq!(plan_pause(&request, &answer, Duration::ZERO, false), LONGEST);
        answer.next = Millis(0);
        assert_eq!(plan_pause(&request, &answer, Duration::ZERO, false), SHORTEST);
        answer.want_state = true;
        assert_eq!(plan_pause(&request, &answer, minute, false), SHORTEST, "it wants without end");
    }
}
