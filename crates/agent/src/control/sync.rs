//! The thread that talks to the control plane. It decides nothing: it carries out what the core
//! wants, and tells it what came of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use handover_model::SessionId;
use handover_model::wire::SyncRequest;

use super::channel::{BearerChannel, Channel};
use super::core::{Effect, Input, Missed};
use super::desk::Desk;
use super::identity::{ControlFiles, Identity};
use super::perform;
use super::state::{Outlooks, is_unsettled, look};
use crate::agent::Agent;
use crate::call::CallError;
use crate::failure::{Failure, chain};
use crate::home::Home;
use crate::real_world::Stop;
use crate::voice::Voice;

/// One enrolled host's conversation.
struct Sync {
    files: ControlFiles,
    identity: Identity,
    stamp: Option<Stamp>,
    channel: Box<dyn Channel>,
    desk: Arc<Desk>,
    number: Arc<AtomicU64>,
    outlooks: Outlooks,
    worker: Option<JoinHandle<()>>,
}

/// Whether the conversation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    On,
    Ended,
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
    let Some(mut sync) = Sync::open(&mut agent, session, number)? else { return Ok(()) };
    let ended = sync.run(&agent);
    // The next conversation has a desk of its own.
    sync.desk.close();
    sync.join_worker();
    ended
}

impl Sync {
    /// `None` where the host is not enrolled, or has left.
    fn open(
        agent: &mut Agent,
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
        let sent = number.load(Ordering::SeqCst);
        let desk = Desk::open(agent, &identity, (keys, ca), session, sent)?;
        Ok(Some(Self {
            files,
            identity,
            stamp,
            channel: Box::new(channel),
            desk: Arc::new(desk),
            number: Arc::clone(number),
            outlooks: Outlooks::default(),
            worker: None,
        }))
    }

    fn run(&mut self, agent: &Agent) -> Result<(), Failure> {
        while !agent.stop.is_asked() && self.is_current() {
            if let Some(errand) = self.desk.errand() {
                if self.carry_out(agent, errand)? == Goes::Ended {
                    return Ok(());
                }
                continue;
            }
            let now = agent.now();
            let Some(due) = self.desk.next_deadline()? else { return Ok(()) };
            if due <= now.mono {
                self.desk.with(|core| core.handle_timeout(now))?;
            } else {
                agent.stop.wait_or_bell(self.desk.bell(), due.saturating_sub(now.mono));
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, agent: &Agent, errand: Effect) -> Result<Goes, Failure> {
        match errand {
            Effect::Look => {
                let state = look(agent, &mut self.outlooks);
                let state = state.inspect_err(|error| {
                    tracing::warn!(code = error.code(), error = %chain(error), "no state to report");
                });
                let state = state.ok().map(Box::new);
                let is_unsettled = is_unsettled(agent);
                self.desk.say(agent, Input::Looked { state, is_unsettled })?;
            }
            Effect::Send { request, reports } => return self.send(agent, *request, &reports),
            Effect::Believe(ca) => {
                let clock = Arc::clone(&agent.clock);
                if let Some(channel) = BearerChannel::new(&self.identity, &ca, clock) {
                    self.channel = Box::new(channel);
                }
            }
            Effect::Work => self.start_worker(agent)?,
            Effect::Leave => {
                self.identity.secret = None;
                self.identity.left_at = Some(agent.now().wall);
                self.files.save_identity(&self.identity)?;
                tracing::info!("this host has left its control plane, as ordered");
                return Ok(Goes::Ended);
            }
            // The desk has done these.
            Effect::Write { .. } | Effect::Remove(_) | Effect::Ring => {}
        }
        Ok(Goes::On)
    }

    fn send(
        &mut self,
        agent: &Agent,
        mut request: SyncRequest,
        reports: &[u64],
    ) -> Result<Goes, Failure> {
        let (documents, unreadable) = self.desk.documents(reports)?;
        if !unreadable.is_empty() {
            self.desk.say(agent, Input::Unreadable(unreadable))?;
        }
        request.reports = documents;
        self.number.store(request.number, Ordering::SeqCst);
        let began = agent.now().mono;
        let answered = self.channel.sync(&request);
        let took = agent.now().mono.saturating_sub(began);
        match answered {
            Ok(answer) => {
                // An enrolment writes the same files: an answer to whom this host was before
                // must not be mixed into them.
                let Some(alone) = self.files.writing(agent)? else { return Ok(Goes::Ended) };
                if !self.is_current() {
                    return Ok(Goes::Ended);
                }
                self.desk.say(agent, Input::Answered { answer: Box::new(answer), took })?;
                drop(alone);
            }
            Err(error) => self.desk.say(agent, Input::Missed(missed(&error)))?,
        }
        Ok(Goes::On)
    }

    fn start_worker(&mut self, agent: &Agent) -> Result<(), Failure> {
        self.join_worker();
        let (desk, home, stop) = (Arc::clone(&self.desk), agent.home.clone(), agent.stop.clone());
        let clock = Arc::clone(&agent.clock);
        let work = move || {
            let leaves = perform::Leaves { desk: Arc::clone(&desk), clock: Arc::clone(&clock) };
            match Agent::real(home, stop, Voice::silent()) {
                Ok(mut agent) => {
                    // The core knows one monotonic clock.
                    agent.clock = clock;
                    perform::work(&mut agent, &desk);
                }
                Err(error) => tracing::error!(error = %chain(&error), "orders can't be worked on"),
            }
            drop(leaves);
        };
        let worker = std::thread::Builder::new().name("orders".to_owned()).spawn(work);
        self.worker =
            Some(worker.map_err(|source| Failure::Stream { act: "start a thread", source })?);
        Ok(())
    }

    fn join_worker(&mut self) {
        if let Some(worker) = self.worker.take()
            && worker.join().is_err()
        {
            tracing::error!("the worker died; its order is looked at again");
        }
    }

    /// Whether the identity on disk is still the one that this conversation is for.
    fn is_current(&self) -> bool {
        stamp_of(&self.files) == self.stamp
    }
}

fn missed(error: &CallError) -> Missed {
    Missed {
        class: error.class(),
        is_problem: matches!(error, CallError::Problem(_)),
        retry_after: error.retry_after(),
        code: error.code().to_owned(),
        reason: chain(error),
    }
}
