//! The blocking shell: drives a run's core on this thread until the run rests.
//!
//! Invariant: effects are performed in the order polled, and nothing is acted on before the
//! journal that leads to it is durable. If the journal can't be written the run stops at once;
//! opening it again goes on from what is durable.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use handover_engine::run::{
    Act, Core, Effect, Fault, Hold, Input, Job, Refused, Report, Standing, StepId,
};
use handover_model::{ErrorClass, Now};

use crate::{Host, Kinds, Step};

mod log;

pub use log::{FileLog, LogError, OpenRun, open_run};

/// Where a run's journal is written.
pub trait Log {
    /// Appends a whole line.
    ///
    /// # Errors
    /// When not all of it was written; part of it may have been.
    fn append(&mut self, line: &str) -> std::io::Result<()>;
    /// Makes all that was appended durable.
    ///
    /// # Errors
    /// When that is not certain.
    fn sync(&mut self) -> std::io::Result<()>;
}

/// Time, and waiting for it to pass.
pub trait Clock {
    /// Both clocks, read together.
    fn now(&self) -> Now;
    /// Waits until that monotonic time, as [`Now::mono`] counts it, or until the process is asked
    /// to end.
    fn wait(&mut self, until: Duration) -> Waited;
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The time has come.
    Elapsed,
    /// The process was asked to end.
    Stop,
}

/// What goes on, for progress.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A job begins.
    Doing {
        /// The job.
        job: &'a Job,
        /// How many of the plan's steps are done.
        done: usize,
        /// How many it has.
        of: usize,
    },
    /// A job ended.
    Came {
        /// The job.
        job: &'a Job,
        /// What came of it.
        report: &'a Report,
    },
    /// Nothing can be done until some time has passed.
    Waiting {
        /// What is waited for: step and reason.
        waits: &'a [(StepId, String)],
        /// Why the run is being taken back, if it is.
        turned: Option<&'a str>,
    },
    /// The run is being taken back.
    Turned {
        /// Why.
        why: &'a str,
    },
}

/// How far a run came in this life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rested {
    /// Every step is done.
    Done,
    /// Everything is taken back, and why.
    Reverted(String),
    /// Nobody but others can move it on; what holds each held step.
    Parked(Vec<(StepId, Hold)>),
    /// The step where the shell was told to stop is next; all before it is durable. Whoever
    /// resumes the run goes on there.
    Before(StepId),
    /// The process was asked to end while the run was waiting.
    Stopped,
}

/// Why a run could not go on in this life. Opening it again is always safe.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// The journal could not be written.
    #[error("the run's journal could not be written; run it again once there is room")]
    Journal {
        /// What the system said.
        source: std::io::Error,
    },
    /// The core refused a report; a bug.
    #[error("the run can't go on")]
    Core {
        /// What it refused.
        source: Refused,
    },
}

impl ShellError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Journal { .. } => ErrorClass::Retry,
            Self::Core { .. } => ErrorClass::Bug,
        }
    }
}

impl From<Refused> for ShellError {
    fn from(source: Refused) -> Self {
        Self::Core { source }
    }
}

/// All that a run needs of its surroundings.
pub struct Shell<'a> {
    /// The machine.
    pub host: &'a mut dyn Host,
    /// The kinds that this program knows.
    pub kinds: &'a Kinds,
    /// The journal.
    pub log: &'a mut dyn Log,
    /// Time.
    pub clock: &'a mut dyn Clock,
    /// Told what goes on.
    pub progress: &'a mut dyn FnMut(Event<'_>),
    /// Where to stop on the way forward, before the step is first looked at in this life.
    pub stop_before: Option<StepId>,
}

impl Shell<'_> {
    /// Drives `core` until the run rests. Inputs such as [`Input::Revert`] are handed to the core
    /// before.
    ///
    /// # Errors
    /// [`ShellError`]; the core must then be dropped, and opened again from the journal.
    pub fn drive(&mut self, core: &mut Core) -> Result<Rested, ShellError> {
        let mut said_turned = core.turned().is_some();
        loop {
            while let Some(effect) = core.poll() {
                // Said before the first act on the way back, which may want to know why.
                if let (Some(why), false) = (core.turned(), said_turned) {
                    said_turned = true;
                    (self.progress)(Event::Turned { why });
                }
                match effect {
                    Effect::Append(line) => self.log.append(&line).map_err(journal)?,
                    Effect::Sync => self.log.sync().map_err(journal)?,
                    Effect::Do(job) => {
                        if !job.turned && self.stop_before.as_ref() == Some(&job.step) {
                            self.log.sync().map_err(journal)?;
                            return Ok(Rested::Before(job.step));
                        }
                        let report = self.perform(&job, core.progress());
                        let input = Input::Report { step: job.step, report };
                        core.handle(input, self.clock.now())?;
                    }
                    // One thread: the job that would be stopped has ended already.
                    Effect::Abort(_) => {}
                }
            }
            if let Some(rested) = self.rest(core)? {
                self.log.sync().map_err(journal)?;
                return Ok(rested);
            }
        }
    }

    /// `None` when there is more to do.
    fn rest(&mut self, core: &mut Core) -> Result<Option<Rested>, ShellError> {
        let holds = match core.standing() {
            Standing::Busy => return Ok(None),
            Standing::Done => return Ok(Some(Rested::Done)),
            Standing::Reverted(why) => return Ok(Some(Rested::Reverted(why))),
            Standing::Parked(holds) => holds,
        };
        let Some(until) = core.next_deadline() else { return Ok(Some(Rested::Parked(holds))) };
        let waits: Vec<_> =
            core.waits().map(|(step, why)| (step.clone(), why.to_owned())).collect();
        (self.progress)(Event::Waiting { waits: &waits, turned: core.turned() });
        match self.clock.wait(until) {
            Waited::Stop => Ok(Some(Rested::Stopped)),
            Waited::Elapsed => {
                core.handle_timeout(self.clock.now())?;
                Ok(None)
            }
        }
    }

    fn perform(&mut self, job: &Job, (done, of): (usize, usize)) -> Report {
        (self.progress)(Event::Doing { job, done, of });
        let report = match self.kinds.make(&job.kind, &job.inputs) {
            None => Report::NoSuchKind,
            Some(Err(fault)) => Report::Faulted(fault),
            Some(Ok(step)) => {
                let host = &mut *self.host;
                // What a panicking step left half done is found by the next look.
                catch_unwind(AssertUnwindSafe(|| act(step.as_ref(), host, job)))
                    .unwrap_or_else(|panic| Report::Faulted(Fault::Unknown(said(&*panic))))
            }
        };
        (self.progress)(Event::Came { job, report: &report });
        report
    }
}

fn act(step: &dyn Step, host: &mut dyn Host, job: &Job) -> Report {
    let answer = match (&job.act, &job.intent) {
        (Act::Look, Some(intent)) if job.turned => step.look_back(host, intent).map(Report::Seen),
        (Act::Look, intent) => step.look(host, intent.as_ref()).map(Report::Seen),
        (Act::Save(observed), _) => step.save(host, observed).map(Report::Saved),
        (Act::Apply, Some(intent)) => step.apply(host, intent).map(|()| Report::Acted),
        (Act::Revert, Some(intent)) => step.revert(host, intent).map(|()| Report::Acted),
        (Act::Apply | Act::Revert, None) => {
            Err(Fault::Permanent("it was asked to act without an intent".to_owned()))
        }
    };
    answer.unwrap_or_else(Report::Faulted)
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("the step panicked: {}", text.unwrap_or_default())
}

fn journal(source: std::io::Error) -> ShellError {
    ShellError::Journal { source }
}
