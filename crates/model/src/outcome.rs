//! How a run of an upgrade stands or ended: `runs/<id>/outcome.json`, a framed file of kind
//! `outcome`, written by the entrypoint and its watcher for status and for whoever resumes.

use serde::{Deserialize, Serialize};

use crate::{ComponentName, ReleaseId, RunId, Timestamp};

/// The newest outcome file format that this program reads and the one that it writes.
pub const OUTCOME_FORMAT: u32 = 1;

/// How a run stands or ended. A run without this file was cut before its first rest: resume it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The run.
    pub run: RunId,
    /// The component.
    pub component: ComponentName,
    /// What ran before, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<ReleaseId>,
    /// What was to run.
    pub to: ReleaseId,
    /// How it stands.
    pub result: RunResult,
    /// Why, for people.
    pub reason: String,
    /// When this was written.
    pub at: Timestamp,
}

/// How a run stands or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunResult {
    /// A trial runs and is watched. Not ended: resume it when its watcher is gone.
    Trial,
    /// Committed; its health goes on being watched until `return_within` has passed. Not ended:
    /// resume it when its watcher is gone.
    Guarded,
    /// Committed, and nothing is left to do.
    Done,
    /// It failed before the component noticed anything; all is as it was.
    Refused,
    /// It failed, or was taken back; the version before runs again.
    Reverted,
    /// Taking it back failed, or it can't go on; a person must look.
    Stuck,
}

impl RunResult {
    /// Whether nothing is left to do, so that the run needs no resuming.
    pub fn ended(self) -> bool {
        match self {
            Self::Done | Self::Refused | Self::Reverted => true,
            Self::Trial | Self::Guarded | Self::Stuck => false,
        }
    }
}
