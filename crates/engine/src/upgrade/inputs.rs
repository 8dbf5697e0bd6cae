//! The inputs of each kind of step of a host upgrade: all that its kind may know. The kinds
//! themselves live in `hoststeps::kinds`; the names of both are paired there.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use handover_model::{ComponentName, Digest, Edits, Guard, Health, Millis, ReleaseId, RunId, Slot};
use serde::{Deserialize, Serialize};

use super::Places;

/// A program to run, placeholders filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Absolute path.
    pub program: Utf8PathBuf,
    /// Arguments.
    pub arguments: Vec<String>,
    /// The whole environment but `PATH`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Working directory.
    pub directory: Utf8PathBuf,
    /// User to run as; absent: ourselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How long it may take.
    pub timeout: Millis,
}

/// Room that must be free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Space {
    /// Where.
    pub path: Utf8PathBuf,
    /// How many bytes.
    pub bytes: u64,
    /// For what, for people.
    pub what: String,
}

/// `preflight/1`: there is room, and the new binary starts on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preflight {
    /// The file that records a passed preflight, in the run's directory.
    pub marker: Utf8PathBuf,
    /// Room that must be free.
    pub spaces: Vec<Space>,
    /// The release's own self-test, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_test: Option<Command>,
    /// SHA-256 of the executable that was tested.
    pub executable_digest: Digest,
}

/// `install/1`: the package's directory becomes the release's, by rename.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Install {
    /// The component.
    pub component: ComponentName,
    /// The release.
    pub release: ReleaseId,
    /// `incoming/<digest>`.
    pub from: Utf8PathBuf,
    /// `releases/<version>+<digest8>`.
    pub to: Utf8PathBuf,
}

/// One file of the configuration directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigCopy {
    /// Path inside the configuration directory.
    pub path: Utf8PathBuf,
    /// The new release's file, absolute.
    pub source: Utf8PathBuf,
    /// What the old release had shipped, absolute: tells edits apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Utf8PathBuf>,
    /// What becomes of edits.
    pub edits: Edits,
    /// Whether placeholders are filled in.
    pub fill: bool,
    /// Whether they were in the old release's file.
    #[serde(default)]
    pub original_fill: bool,
}

/// `config.copy/1`: the new slot's own configuration directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyConfig {
    /// The component.
    pub component: ComponentName,
    /// The release that the directory is for.
    pub release: ReleaseId,
    /// The old slot's directory, if there is an old slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Utf8PathBuf>,
    /// The new directory.
    pub to: Utf8PathBuf,
    /// The files that the release brings.
    pub files: Vec<ConfigCopy>,
    /// What placeholders stand for in the new release's files.
    pub places: Places,
    /// What they stood for in the old one's.
    #[serde(default)]
    pub old_places: Places,
}

/// `slots.pause/1`: the launcher keeps the child stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseSlots {
    /// The component.
    pub component: ComponentName,
    /// The run that asks.
    pub run: RunId,
    /// How long at most.
    pub window: Millis,
}

/// `state.prepare/1`: the new slot's own state directory, copied and migrated aside, then renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareState {
    /// The component.
    pub component: ComponentName,
    /// The release that the directory is for.
    pub release: ReleaseId,
    /// The run.
    pub run: RunId,
    /// The state to copy; absent: the state begins empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Utf8PathBuf>,
    /// Where copying and migrating happen.
    pub work: Utf8PathBuf,
    /// The new directory.
    pub to: Utf8PathBuf,
    /// Where it is set aside on revert, so that nothing which the new release wrote is lost.
    pub aside: Utf8PathBuf,
    /// Migrations, in order, working on `work`.
    pub migrations: Vec<Command>,
    /// Whom it belongs to; absent: ourselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether the copy is only good while this run's pause lasts.
    pub paused: bool,
}

/// `slots.trial/1`: the new slot is on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetTrial {
    /// The component.
    pub component: ComponentName,
    /// The new slot.
    pub slot: Box<Slot>,
    /// How long the trial may last.
    pub window: Millis,
    /// How often it may be started.
    pub boots: u32,
    /// The guard that it gets at commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// Whether this run's pause must still be there.
    pub paused: bool,
}

/// `slots.swap/1`: the launcher runs the trial, proved by its executable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwapSlots {
    /// Whom to look at.
    pub watched: Watched,
}

/// A slot's process, as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watched {
    /// The component.
    pub component: ComponentName,
    /// The run whose slot it is.
    pub run: RunId,
    /// The release.
    pub release: ReleaseId,
    /// SHA-256 of its executable.
    pub executable_digest: Digest,
    /// The slot's directory, where commands of checks run.
    pub directory: Utf8PathBuf,
}

/// `watch/1`: the trial is healthy, looked at often enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchHealth {
    /// Whom to look at.
    pub watched: Watched,
    /// What "healthy" means, placeholders filled in.
    pub health: Health,
}

/// `slots.commit/1`: the trial is current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitSlots {
    /// The component.
    pub component: ComponentName,
    /// The run.
    pub run: RunId,
    /// The release.
    pub release: ReleaseId,
    /// The old slot with migrated-down state, used on return if that state was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<Box<Slot>>,
}

/// `state.down/1`: nothing on the way forward; on return, the new release's state is copied and
/// migrated down for the old one, while the launcher keeps the component paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrateDown {
    /// The component.
    pub component: ComponentName,
    /// The run.
    pub run: RunId,
    /// The new release's state.
    pub from: Utf8PathBuf,
    /// Where copying and migrating happen.
    pub work: Utf8PathBuf,
    /// The state that the old release gets.
    pub to: Utf8PathBuf,
    /// The ways back, in order, working on `work`.
    pub migrations: Vec<Command>,
    /// Whom the state belongs to; absent: ourselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How long the pause may last.
    pub window: Millis,
    /// The file in the run's directory that says that it can't be done.
    pub marker: Utf8PathBuf,
}

/// `outside.put/1`: one file outside the slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutsideCopy {
    /// Absolute path.
    pub path: Utf8PathBuf,
    /// The new release's file, absolute.
    pub source: Utf8PathBuf,
    /// What the old release had shipped, absolute: tells edits apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Utf8PathBuf>,
    /// Mode bits.
    pub mode: u32,
    /// What becomes of edits.
    pub edits: Edits,
    /// What placeholders stand for.
    pub places: Places,
    /// What they stood for in the old release's file.
    #[serde(default)]
    pub old_places: Places,
    /// Run after the file changed, either way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Command>,
    /// The file in the run's directory that says that `then` was run.
    pub marker: Utf8PathBuf,
    /// Where images of what was there before are kept.
    pub blobs: Utf8PathBuf,
}

/// `launcher.replace/1`: the launcher itself, for the component that brings it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaceLauncher {
    /// The new launcher, absolute.
    pub source: Utf8PathBuf,
    /// The launcher's place.
    pub target: Utf8PathBuf,
}

/// `retention/1`: what nothing needs any more is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepFew {
    /// The component.
    pub component: ComponentName,
    /// The component's directory.
    pub directory: Utf8PathBuf,
    /// How many earlier releases are kept.
    pub keep: u32,
    /// The run that asks, whose own directory stays.
    pub run: RunId,
}

/// `guard/1`: after commit the release stays healthy until returning would need a permit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardHealth {
    /// Whom to look at.
    pub watched: Watched,
    /// What "healthy" means, placeholders filled in.
    pub health: Health,
}
