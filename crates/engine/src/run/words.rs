//! The vocabulary between the core, its shell and the kinds.

use std::time::Duration;

use handover_model::ErrorClass;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{KindRef, Party, PlanError, StepId};

/// What a step is about to do, durable before it does it. Resuming and reverting use this record
/// and never resolve inputs or save again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// Counted from 1.
    pub attempt: u32,
    /// The inputs, references resolved.
    pub inputs: Value,
    /// What the look that led here saw: the payload of [`Seen::Before`].
    pub observed: Value,
    /// What [`Act::Save`] kept of the world before.
    pub before: Value,
}

/// One thing that a kind can do.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Find out where the world is; changes nothing.
    Look,
    /// Keep what is needed to revert, given what was observed.
    Save(Value),
    /// Bring the step about.
    Apply,
    /// Take it back.
    Revert,
}

/// A number that grows with every life of a run, so that a far side can refuse a stale runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence(pub u64);

/// One act of one step, complete: a shell needs nothing else to perform it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The step.
    pub step: StepId,
    /// Its kind.
    pub kind: KindRef,
    /// What to do.
    pub act: Act,
    /// The inputs, references resolved; once there is an intent, the intent's.
    pub inputs: Value,
    /// The recorded intent, if there is one. Always there for [`Act::Apply`] and
    /// [`Act::Revert`].
    pub intent: Option<Intent>,
    /// This life's number.
    pub fence: Fence,
    /// Whether the run has turned, so that this act serves to take the step back.
    pub turned: bool,
}

/// Where a look found the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// As before the step; holds what was observed.
    Before(Value),
    /// Neither as before nor as after, and of the shape that our own act leaves when it is cut
    /// short. Ours only where there is an intent; otherwise it counts as [`Seen::Elsewhere`].
    Between,
    /// As the step wants it; holds the step's outputs, which come from nowhere else.
    After(Value),
    /// Where it should never be; what was found, for people. Never overwritten.
    Elsewhere(String),
    /// Not decided yet: a wait goes on, or a request may still land.
    NotYet {
        /// What is waited for, for people.
        why: String,
        /// When to look again, from now.
        again: Duration,
    },
    /// Somebody with the right to do so (the launcher, say) has taken the step's effect back. On
    /// the way forward the run turns; on the way back `revert` is called once, to clean up, and
    /// then this counts as [`Seen::Before`].
    Overruled(String),
}

/// How an act failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It may succeed if tried again.
    Retry(String),
    /// It will never succeed as asked.
    Permanent(String),
    /// Nobody can tell whether it took effect: a timeout, a panic, a cut connection.
    Unknown(String),
}

/// What came of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Answers [`Act::Look`].
    Seen(Seen),
    /// Answers [`Act::Save`]: what was kept. Large images lie in the run's blobs, durably, and
    /// are named here.
    Saved(Value),
    /// Answers [`Act::Apply`] and [`Act::Revert`].
    Acted,
    /// Answers any of them.
    Faulted(Fault),
    /// This program has no such kind, or not this revision of it. The step is held for this life.
    NoSuchKind,
}

/// What a shell must do next. Performed inline, in the order polled; if an `Append` or a `Sync`
/// fails, the core is dropped and opened again from what is durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Append these bytes, a whole line with its end, to the journal.
    Append(String),
    /// Make all of the journal durable. Nothing after it happens before it is done.
    Sync,
    /// Perform a job and report. Several may be under way, up to the plan's width.
    Do(Box<Job>),
    /// Stop the step's job if that can be done, and report [`Fault::Unknown`]; a shell that can't
    /// stop it waits for its report.
    Abort(StepId),
}

/// What happened outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The step's job came to an end.
    Report {
        /// The step.
        step: StepId,
        /// What came of it.
        report: Report,
    },
    /// A person answered what a step asks.
    Say {
        /// The step.
        step: StepId,
        /// Who.
        by: String,
        /// What they said.
        text: String,
    },
    /// Another party's journal arrived. That it is theirs was checked by whoever hands it in.
    Import {
        /// The party.
        party: Party,
        /// Their whole journal so far.
        bytes: Vec<u8>,
    },
    /// A person wants a failed step tried again.
    Retry {
        /// The step.
        step: StepId,
    },
    /// The run shall be taken back, whether it is done or not.
    Revert {
        /// Why, for people.
        why: String,
    },
}

/// What holds a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// A person must act; what is asked or wrong.
    Person(String),
    /// It is another party's turn.
    Party(Party),
    /// This program can't perform the step; what is missing.
    Blocked(String),
    /// It is looked at again then, as monotonic time since this life began.
    Later(Duration),
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Effects wait to be polled, or jobs are under way.
    Busy,
    /// Nothing can be done now; what holds each held step. Where a [`Hold::Later`] is among them,
    /// [`Core::next_deadline`](super::Core::next_deadline) says when to come back.
    Parked(Vec<(StepId, Hold)>),
    /// Every step is done. It can still be reverted.
    Done,
    /// Everything that the run did is taken back; why.
    Reverted(String),
}

/// An input, a plan or a journal that the core does not accept. Nothing changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The plan can't be run.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The journal tells of another plan, run or party.
    #[error("the journal belongs to another {what}: {found}")]
    Other {
        /// Plan, run or party.
        what: &'static str,
        /// What the journal says.
        found: String,
    },
    /// A journal record that can't follow what came before it.
    #[error("record {number} ({record}) of the journal can't follow what stands before it: {why}")]
    Impossible {
        /// Its place, counted from 1.
        number: u64,
        /// The record's name.
        record: &'static str,
        /// What is wrong.
        why: String,
    },
    /// No step of that id.
    #[error("the plan has no step {step}")]
    NoSuchStep {
        /// The id.
        step: StepId,
    },
    /// An input that doesn't fit where the run or its step stands.
    #[error("step {step} can't take {input} now: {why}")]
    Unexpected {
        /// The step.
        step: StepId,
        /// What came.
        input: &'static str,
        /// Why not.
        why: String,
    },
    /// The run has ended, or turned, so that the input comes too late.
    #[error("{input} comes too late: {why}")]
    TooLate {
        /// What came.
        input: &'static str,
        /// Why.
        why: String,
    },
    /// Another party's journal can't be imported.
    #[error("the journal of {party} can't be imported: {why}")]
    Import {
        /// The party.
        party: Party,
        /// What is wrong with it.
        why: String,
    },
    /// A value that has no JSON form; a bug.
    #[error("a record could not be written: {why}")]
    Write {
        /// The serializer's complaint.
        why: String,
    },
}

impl Refused {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Plan(source) => source.class(),
            Self::Unexpected { .. } | Self::TooLate { .. } => ErrorClass::Conflict,
            Self::Other { .. }
            | Self::Impossible { .. }
            | Self::NoSuchStep { .. }
            | Self::Import { .. } => ErrorClass::Permanent,
            Self::Write { .. } => ErrorClass::Bug,
        }
    }
}
