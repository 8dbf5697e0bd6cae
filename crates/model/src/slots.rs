//! The slots file: all that the launcher knows (DESIGN 5.1, 5.2). Transitions are decided in
//! `engine::slots`; this is the document.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::{Digest, Millis, Readiness, ReleaseId, RunId, SocketSpec, StopSpec, Timestamp};

/// The newest slots file format that this program reads and the one that it writes.
pub const SLOTS_FORMAT: u32 = 1;

/// The launcher protocol that this build speaks. A release may ask for at least this much.
pub const LAUNCHER_PROTOCOL: u32 = 1;

/// The slots of one component, one generation of them. Stored as
/// `components/<name>/slots/<generation>.json`; a new generation is published only if no file of
/// its number exists yet. The default is generation 0: nothing was ever installed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slots {
    /// The number in the file's name, repeated inside.
    pub generation: u64,
    /// The committed slot, absent before the first commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Slot>,
    /// The slot on trial, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// A request to keep the child stopped while its state is copied, if any. Never beside a
    /// trial: publishing the trial ends the pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// Slots that were current before, newest first. The first that is not in quarantine is the
    /// last good one (`engine::slots::last_good`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous: Vec<Slot>,
    /// Releases that failed on this host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantine: Vec<Quarantined>,
}

/// An installed release, its own state and configuration, and how it is launched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Which release.
    pub release: ReleaseId,
    /// The place in the order of production, from signed metadata.
    pub sequence: u64,
    /// How it is launched.
    pub recipe: Recipe,
    /// The slot's own state directory, `state/<schema>.<n>`, absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Utf8PathBuf>,
    /// The slot's own configuration directory, `config/<n>`, absolute.
    pub config: Utf8PathBuf,
    /// The run that made it.
    pub run: RunId,
    /// When it was committed, absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<Timestamp>,
    /// The watch that goes on after commit, while returning needs no permit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
}

/// A slot on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// The slot.
    pub slot: Slot,
    /// How often it may still be started. Spent, durably, before each start.
    pub boots_left: u32,
    /// How long the trial may last.
    pub window: Millis,
    /// How much of it has passed, on the monotonic clock, over all launcher lives.
    pub elapsed: Millis,
    /// The guard that the slot gets when it is committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
}

/// A request that the launcher stop `current` and start nothing, so that its state can be copied
/// while nobody writes it. Sockets stay held: connections queue, none is refused.
///
/// The launcher obeys a pause only if it was already running when the pause was published, and
/// for at most `window`. Otherwise it publishes a generation without the pause and starts
/// `current`. A run that finds its pause gone must not use what it copied: the old version wrote
/// since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// The run that asked.
    pub run: RunId,
    /// How long the pause may last.
    pub window: Millis,
}

/// The launcher's own watch over a committed release that asked for automatic return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// How long returning needs no permit.
    pub within: Millis,
    /// How much of it has passed, on the monotonic clock, over all launcher lives.
    pub elapsed: Millis,
    /// How many more unexpected exits are borne before the launcher returns to the previous slot.
    pub crashes_left: u32,
}

/// How the launcher starts and stops a slot's process. Every placeholder is filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The lowest launcher protocol that can run it.
    pub launcher: u32,
    /// Absolute path.
    pub executable: Utf8PathBuf,
    /// SHA-256 of the executable file: what the running process must prove.
    pub executable_digest: Digest,
    /// Arguments, the program's own name not included.
    pub arguments: Vec<String>,
    /// Environment; nothing else is inherited but `PATH`, `TZ`, `LANG`.
    pub environment: BTreeMap<String, String>,
    /// Working directory, absolute.
    pub directory: Utf8PathBuf,
    /// The user it runs as; absent: whoever runs the launcher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How it is stopped.
    pub stop: StopSpec,
    /// How it says that it is ready.
    pub readiness: Readiness,
    /// Listening sockets to hold and hand on, in order from descriptor 3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<SocketSpec>,
}

/// A release that failed on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantined {
    /// Which release.
    pub release: ReleaseId,
    /// Why, for people.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// The run that had installed it.
    pub run: RunId,
}
