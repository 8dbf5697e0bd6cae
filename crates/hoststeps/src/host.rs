//! The port through which blocking steps reach a machine.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::{CheckKind, ComponentName, Digest, ErrorClass, ReleaseId, Slots};

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last part of the path.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes; 0 for directories.
    pub len: u64,
    /// Permission bits.
    pub mode: u32,
}

/// Kinds of directory entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Anything else.
    Other,
}

/// A program to run, with bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSpec {
    /// Absolute path of the program.
    pub program: Utf8PathBuf,
    /// Arguments.
    pub arguments: Vec<String>,
    /// The whole environment; nothing is inherited but `PATH`.
    pub environment: BTreeMap<String, String>,
    /// Working directory.
    pub directory: Utf8PathBuf,
    /// User to run as; absent: ourselves.
    pub user: Option<String>,
    /// When it is killed, together with all that it started.
    pub timeout: Duration,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit code; absent when a signal or the timeout ended it.
    pub code: Option<i32>,
    /// Whether the timeout ended it.
    pub timed_out: bool,
    /// The last 4 KiB of standard output and error, lossily as UTF-8.
    pub tail: String,
}

/// What came of publishing a slots generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is the newest generation now, durably.
    Ours,
    /// Somebody else published that number first; read again and decide again.
    Taken,
}

/// The process that a component's launcher keeps, as observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Process id of the launcher, if one is alive.
    pub launcher: Option<u32>,
    /// Its child, if one is alive.
    pub child: Option<Launched>,
    /// The slots generation whose pause the launcher says it keeps: its child is stopped and it
    /// starts nothing before a newer generation.
    pub paused: Option<u64>,
}

/// A launched process, proved by looking at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launched {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot (`/proc/PID/stat` field 22): tells a reused id apart.
    pub started: u64,
    /// The slot that the launcher says it started.
    pub release: ReleaseId,
    /// SHA-256 of the executable that the process really runs (`/proc/PID/exe`).
    pub executable_digest: Digest,
    /// Whether it said that it is ready, or needs not say so.
    pub ready: bool,
    /// How long it has been running.
    pub age: Duration,
}

/// What a health check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckAnswer {
    /// As wanted.
    Well,
    /// Not as wanted; why, for people.
    Ill(String),
}

/// A host call that failed.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The operating system refused.
    #[error("could not {act} {path}")]
    Io {
        /// What was tried, such as `rename`.
        act: &'static str,
        /// The path it was tried on.
        path: Utf8PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A framed file is damaged or too new.
    #[error("{path} can't be used; `handover-agent doctor` says how to mend it")]
    Damaged {
        /// Which file.
        path: Utf8PathBuf,
        /// What is wrong with it.
        source: handover_model::FramedError,
    },
    /// Something that must not exist does, or the other way round.
    #[error("{path}: {what}")]
    Surprise {
        /// Where.
        path: Utf8PathBuf,
        /// What was found.
        what: String,
    },
}

impl HostError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Io { .. } => ErrorClass::Retry,
            Self::Damaged { .. } => ErrorClass::Permanent,
            Self::Surprise { .. } => ErrorClass::Conflict,
        }
    }
}

/// A machine, as far as steps may touch it. Every path is absolute. Each call that changes
/// something is durable when it returns, and does all of it or, cut short, leaves something that
/// the next `look` can tell apart.
pub trait Host {
    /// The bytes of a file of at most 64 MiB; `None` when nothing is there.
    fn read(&self, path: &Utf8Path) -> Result<Option<Vec<u8>>, HostError>;
    /// What lies at `path` itself, links not followed; `None` when nothing is there.
    fn stat(&self, path: &Utf8Path) -> Result<Option<Entry>, HostError>;
    /// The entries of a directory, sorted by name; `None` when nothing is there.
    fn list(&self, path: &Utf8Path) -> Result<Option<Vec<Entry>>, HostError>;
    /// A digest over names, kinds, modes and contents of everything below `path`, or of the one
    /// file; `None` when nothing is there.
    fn digest(&self, path: &Utf8Path) -> Result<Option<Digest>, HostError>;
    /// Free bytes for us on the file system that holds `path` or its nearest existing parent.
    fn free_bytes(&self, path: &Utf8Path) -> Result<u64, HostError>;
    /// Makes a directory and its parents, mode 0755 but for those that exist.
    fn make_dir(&mut self, path: &Utf8Path) -> Result<(), HostError>;
    /// Makes a directory of mode 0750 at most, and its parents as [`Host::make_dir`] does. One that
    /// exists keeps its mode.
    fn make_private_dir(&mut self, path: &Utf8Path) -> Result<(), HostError>;
    /// Replaces a file: write aside, fsync, rename, fsync of the directory.
    fn write(&mut self, path: &Utf8Path, bytes: &[u8], mode: u32) -> Result<(), HostError>;
    /// Renames; refuses to replace anything. Both directories are fsynced.
    fn rename(&mut self, from: &Utf8Path, to: &Utf8Path) -> Result<(), HostError>;
    /// Copies a tree (modes, owners and links kept, everything fsynced) to a place where nothing
    /// may be yet. Cut short, `to` does not exist: the copy is made aside and renamed.
    fn copy_tree(&mut self, from: &Utf8Path, to: &Utf8Path) -> Result<(), HostError>;
    /// Removes a file or a tree if it is there: renamed aside first, so that what is half removed
    /// is never found under its old name.
    fn remove(&mut self, path: &Utf8Path) -> Result<(), HostError>;
    /// Gives a tree to a user.
    fn chown_tree(&mut self, path: &Utf8Path, user: &str) -> Result<(), HostError>;
    /// Runs a program to its end. A change as far as faults are concerned.
    fn exec(&mut self, command: &CommandSpec) -> Result<Output, HostError>;
    /// The component's newest slots generation; generation 0 and empty when there is none yet.
    fn slots(&self, component: &ComponentName) -> Result<Slots, HostError>;
    /// Publishes `slots` under its own generation number, if that is still free.
    fn publish_slots(
        &mut self,
        component: &ComponentName,
        slots: &Slots,
    ) -> Result<Published, HostError>;
    /// What the component's launcher runs, proved by looking at the process.
    fn running(&self, component: &ComponentName) -> Result<Running, HostError>;
    /// Performs one health check now. `directory` is the slot's, for commands.
    fn check(&self, check: &CheckKind, directory: &Utf8Path) -> Result<CheckAnswer, HostError>;
}
