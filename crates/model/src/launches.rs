//! The launcher's own record, `components/<name>/launches.jsonl`: one JSON object a line
//! (DESIGN 5.1). A reader skips a torn last line and events that it does not know.

use serde::{Deserialize, Serialize};

use crate::{ReleaseId, Timestamp};

/// One line of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchRecord {
    /// Wall-clock time, for people; nothing is decided by it.
    pub at: Timestamp,
    /// Process id of the launcher that wrote the line.
    pub launcher: u32,
    /// What happened.
    #[serde(flatten)]
    pub event: LaunchEvent,
}

/// What a launcher did or saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum LaunchEvent {
    /// The launcher itself began.
    LauncherStarted,
    /// It started a slot's process.
    Started {
        /// The process.
        pid: u32,
        /// Which slot's.
        release: ReleaseId,
        /// The slots generation that it acted on.
        generation: u64,
    },
    /// The process said that it is ready, or needs not say so.
    Ready {
        /// The process.
        pid: u32,
    },
    /// The process is gone.
    Exited {
        /// The process.
        pid: u32,
        /// Its exit code, if it exited.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
        /// The signal, if one ended it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
    },
    /// One slot's process was stopped and another's started.
    Swapped {
        /// The slot that ran.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<ReleaseId>,
        /// The slot that runs.
        to: ReleaseId,
    },
    /// The child is stopped for a pause; nothing starts before a newer generation.
    Paused {
        /// The generation that asks for the pause.
        generation: u64,
    },
    /// A trial failed and its release went to quarantine.
    Quarantined {
        /// Which.
        release: ReleaseId,
        /// Why, for people.
        reason: String,
    },
    /// A committed release failed and the previous slot is current again.
    Returned {
        /// Which slot is current now.
        release: ReleaseId,
        /// Why, for people.
        reason: String,
    },
    /// Something asked for was not done.
    Refused {
        /// Why, for people.
        reason: String,
    },
}
