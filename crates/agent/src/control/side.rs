//! The control plane's side of a running agent: starts the thread that talks, when there is
//! somebody to talk to, and starts it again when it ended for a reason that may be over.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

use handover_hoststeps::disk;
use handover_model::SessionId;

use super::identity::ControlFiles;
use super::sync::{Stamp, stamp_of, talk};
use crate::agent::Agent;
use crate::failure::{Failure, chain};

/// How long a thread that failed is left alone.
const AGAIN: Duration = Duration::from_mins(1);

/// The thread, if there is one.
pub struct Side {
    session: SessionId,
    number: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<(), Failure>>>,
    /// The identity that the thread is for.
    talks_as: Option<Stamp>,
    /// The identity that the last thread was for, and when it may be tried again.
    ended: Option<(Option<Stamp>, Option<Duration>)>,
    lock: Option<disk::Lock>,
}

impl Side {
    /// No thread yet; the session begins.
    pub fn new(agent: &mut Agent) -> Self {
        let now = agent.now().wall;
        Self {
            session: SessionId::mint(&mut agent.ids, now),
            number: Arc::new(AtomicU64::new(0)),
            thread: None,
            talks_as: None,
            ended: None,
            lock: None,
        }
    }

    /// Keeps the thread running where the host is enrolled. Cheap: it is called every few
    /// seconds. What fails is logged; the host goes on by its policy.
    pub fn keep(&mut self, agent: &Agent) {
        let files = ControlFiles::of(&agent.home);
        let now = agent.now().mono;
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(thread) = self.thread.take()
        {
            let again = match thread.join() {
                Ok(Ok(())) => None,
                Ok(Err(error)) => {
                    let code = error.code();
                    tracing::error!(code, error = %chain(&error), "no talk with the control plane");
                    Some(now.saturating_add(AGAIN))
                }
                Err(_panic) => Some(now.saturating_add(AGAIN)),
            };
            self.ended = Some((self.talks_as, again));
        }
        let Some(stamp) = stamp_of(&files) else { return };
        let rests = self
            .ended
            .is_some_and(|(of, again)| of == Some(stamp) && again.is_none_or(|again| again > now));
        if self.thread.is_some() || rests || agent.stop.is_asked() || !self.is_alone(&files) {
            return;
        }
        let (home, stop) = (agent.home.clone(), agent.stop.clone());
        let (session, number) = (self.session, Arc::clone(&self.number));
        let spawned = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || talk(&home, &stop, session, &number));
        match spawned {
            Ok(thread) => (self.thread, self.talks_as) = (Some(thread), Some(stamp)),
            Err(error) => tracing::error!(%error, "no thread for the control plane"),
        }
    }

    /// Whether no other process talks for this host.
    fn is_alone(&mut self, files: &ControlFiles) -> bool {
        if self.lock.is_none() {
            self.lock = disk::Lock::try_take(&files.path("lock")).unwrap_or_else(|error| {
                tracing::warn!(error = %chain(&error), "the control plane's lock can't be taken");
                None
            });
        }
        self.lock.is_some()
    }
}
