//! What a release says of itself: `release.yaml` as its author writes it, which is also
//! `handover/release.json` inside the package, and the facts that signed metadata repeats so that
//! a host can plan without downloading.
//!
//! In arguments, environment, checks and commands these placeholders are filled in on the host:
//! `${slot}` (the unpacked package), `${state}`, `${config}`, `${root}` (the component's
//! directory), `${version}`, and `${param.NAME}`.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::{ComponentName, Digest, Millis, Platform, Version, VersionRange};

/// The newest manifest format that this program reads and the one that it writes.
pub const MANIFEST_FORMAT: u32 = 1;

/// A release, as its author describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    /// The component that this is a release of.
    pub component: ComponentName,
    /// The release's version.
    pub version: Version,
    /// The place in the order of production, counted from 1 for each component (DESIGN 5.5).
    pub sequence: u64,
    /// The channel that hosts subscribe to.
    #[serde(default = "stable")]
    pub channel: String,
    /// A line for people: what is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// The versions that this release can take over from.
    pub upgrades_from: VersionRange,
    /// Versions outside `upgrades_from`, or produced later, that it can take over from as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_from: Vec<Version>,
    /// Whether every path across this version must stop at it.
    #[serde(default)]
    pub floor: bool,
    /// How long after commit a host may return to the previous release without a permit, and
    /// does so by itself when the new one stops being healthy. Absent: during trial alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_within: Option<Millis>,
    /// What becomes of the state when the release is reverted.
    #[serde(default)]
    pub on_revert: OnRevert,
    /// The lowest launcher protocol that can run it; see [`crate::LAUNCHER_PROTOCOL`].
    #[serde(default = "one")]
    pub launcher: u32,
    /// How many earlier releases are kept beside the running one; at least 1.
    #[serde(default = "two")]
    pub keep: u32,
    /// Settings whose values each host supplies.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Parameter>,
    /// The state that the component keeps, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateSpec>,
    /// The process to run.
    pub service: Service,
    /// What "healthy" means.
    #[serde(default)]
    pub health: Health,
    /// How long and how often a trial may try.
    #[serde(default)]
    pub trial: TrialSpec,
    /// Files of the slot's own configuration directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configuration: Vec<ConfigFile>,
    /// Files outside the slot, written only after commit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside: Vec<OutsideFile>,
}

fn stable() -> String {
    "stable".to_owned()
}

fn one() -> u32 {
    1
}

fn two() -> u32 {
    2
}

fn yes() -> bool {
    true
}

/// What becomes of state when a release is reverted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRevert {
    /// The kept copy from before the upgrade is used again; what the new release wrote is set
    /// aside.
    #[default]
    Restore,
    /// The new release's state is migrated down into a copy for the old one.
    MigrateDown,
}

/// A setting whose value each host supplies.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// The value where the host says nothing; absent means that the host must say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// A line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
}

/// The component's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateSpec {
    /// The schema that this release reads and writes; counted from 1.
    pub schema: u32,
    /// Steps between schemas; each works on a copy, in place, in `${state}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub migrations: Vec<Migration>,
}

/// One step between two neighbouring schemas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// The schema it starts from; it ends at `from + 1`.
    pub from: u32,
    /// The command, its first word a path inside the package.
    pub up: Vec<String>,
    /// The way back, needed for `on_revert: migrate-down`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub down: Vec<String>,
    /// How long it may take.
    #[serde(default = "ten_minutes")]
    pub timeout: Millis,
}

fn ten_minutes() -> Millis {
    Millis(600_000)
}

/// The process that the launcher runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Path inside the package.
    pub executable: Utf8PathBuf,
    /// Arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Environment, in addition to `PATH`, `LISTEN_*` and `NOTIFY_SOCKET`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The user it runs as; absent: whoever runs the launcher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How it is stopped.
    #[serde(default)]
    pub stop: StopSpec,
    /// How it says that it is ready.
    #[serde(default)]
    pub readiness: Readiness,
    /// Listening sockets that the launcher opens, holds over every swap and hands on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<SocketSpec>,
    /// A command (its first word a path inside the package) that proves the binary can start on
    /// this host; run in preflight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub self_test: Vec<String>,
}

/// How a process is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopSpec {
    /// Signal name without `SIG`: TERM, INT, QUIT, HUP, USR1, USR2.
    #[serde(default = "term")]
    pub signal: String,
    /// How long until it is killed.
    #[serde(default = "ten_seconds")]
    pub grace: Millis,
}

fn term() -> String {
    "TERM".to_owned()
}

fn ten_seconds() -> Millis {
    Millis(10_000)
}

impl Default for StopSpec {
    fn default() -> Self {
        Self { signal: term(), grace: ten_seconds() }
    }
}

/// How a process says that it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    /// It is ready as soon as it runs.
    #[default]
    None,
    /// It sends `READY=1` to `$NOTIFY_SOCKET`, as `sd_notify(3)` describes.
    Notify,
}

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SocketSpec {
    /// The name passed in `LISTEN_FDNAMES`.
    pub name: String,
    /// `HOST:PORT`, `[HOST]:PORT`, or `unix:/path`; placeholders are filled in.
    pub listen: String,
}

/// What "healthy" means for this release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// How long one and the same process must have been running.
    #[serde(default = "one_second")]
    pub stable_for: Millis,
    /// How often to look.
    #[serde(default = "one_second")]
    pub every: Millis,
    /// How many looks in a row must find everything well before commit.
    #[serde(default = "three")]
    pub successes: u32,
    /// How many looks in a row may fail after commit before the host returns.
    #[serde(default = "three")]
    pub failures: u32,
    /// What to look at beside the process itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

fn one_second() -> Millis {
    Millis(1000)
}

fn three() -> u32 {
    3
}

impl Default for Health {
    fn default() -> Self {
        Self {
            stable_for: one_second(),
            every: one_second(),
            successes: three(),
            failures: three(),
            checks: Vec::new(),
        }
    }
}

/// One thing to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// A name for reasons and reports.
    pub name: String,
    /// What is looked at.
    #[serde(flatten)]
    pub kind: CheckKind,
}

/// The kinds of check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    /// A GET of this `http://` address answers with `expect` (default 200).
    Http {
        /// The address.
        url: String,
        /// The wanted status code.
        #[serde(default = "two_hundred")]
        expect: u16,
        /// A text that the body must hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        contains: Option<String>,
        /// How long it may take.
        #[serde(default = "one_second")]
        timeout: Millis,
    },
    /// `HOST:PORT` accepts a connection.
    Tcp {
        /// The address.
        address: String,
        /// How long it may take.
        #[serde(default = "one_second")]
        timeout: Millis,
    },
    /// A command (its first word a path inside the package) exits with 0.
    Exec {
        /// The command.
        command: Vec<String>,
        /// How long it may take.
        #[serde(default = "one_second")]
        timeout: Millis,
    },
    /// The process reaches what its predecessor reached: the agent's own check. An answer of 429
    /// or 5xx counts as reached, since it is not the new version's fault.
    Reach {
        /// The address, `http://` or `https://`.
        url: String,
        /// How long it may take.
        #[serde(default = "ten_seconds")]
        timeout: Millis,
    },
}

fn two_hundred() -> u16 {
    200
}

/// How long and how often a trial may try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialSpec {
    /// Without a commit by then, the last good version runs again.
    #[serde(default = "sixty_seconds")]
    pub window: Millis,
    /// How many times the trial may be started.
    #[serde(default = "three")]
    pub boots: u32,
}

fn sixty_seconds() -> Millis {
    Millis(60_000)
}

impl Default for TrialSpec {
    fn default() -> Self {
        Self { window: sixty_seconds(), boots: three() }
    }
}

/// A file in the slot's own configuration directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// Path inside the configuration directory.
    pub path: Utf8PathBuf,
    /// Path inside the package.
    pub source: Utf8PathBuf,
    /// What happens to changes that were made on the host.
    #[serde(default)]
    pub edits: Edits,
    /// Whether placeholders in it are filled in.
    #[serde(default = "yes")]
    pub fill: bool,
}

/// What happens to changes that were made on the host to a file that a release brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edits {
    /// The host's file stays; the release's lies beside it as `<name>.new`.
    #[default]
    Keep,
    /// The release's file wins; the host's lies beside it as `<name>.local`.
    Replace,
    /// The upgrade is refused until a person decides.
    Refuse,
}

/// A file outside the slot (a service unit, say), written only after commit and put back on
/// return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutsideFile {
    /// Absolute path on the host; `${root}` and parameters are filled in.
    pub path: String,
    /// Path inside the package.
    pub source: Utf8PathBuf,
    /// Mode bits, at most 0755, no set-uid; written as text such as `"0644"`.
    #[serde(default = "plain_mode")]
    pub mode: String,
    /// What happens to changes that were made on the host.
    #[serde(default)]
    pub edits: Edits,
    /// A command to run after the file changed, such as `["systemctl", "daemon-reload"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<String>,
}

fn plain_mode() -> String {
    "0644".to_owned()
}

/// What signed repository metadata says of one package: enough to plan with.
///
/// It stands under `custom.handover` of the package's target (TUF 1.0.34, section 4.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseFacts {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    /// The component.
    pub component: ComponentName,
    /// The version.
    pub version: Version,
    /// The place in the order of production.
    pub sequence: u64,
    /// The platform of this package.
    pub platform: Platform,
    /// The channel.
    pub channel: String,
    /// See [`Manifest::upgrades_from`].
    pub upgrades_from: VersionRange,
    /// See [`Manifest::also_from`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_from: Vec<Version>,
    /// See [`Manifest::floor`].
    #[serde(default)]
    pub floor: bool,
    /// See [`Manifest::return_within`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_within: Option<Millis>,
    /// See [`Manifest::launcher`].
    pub launcher: u32,
    /// SHA-256 of `handover/release.json` inside the package.
    pub manifest: Digest,
    /// How many bytes the package unpacks to, all files together; a bound.
    pub unpacked_bytes: u64,
    /// How many entries the archive has; a bound.
    pub entries: u64,
    /// Why the release was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
    /// A line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

impl Manifest {
    /// The signed facts of one package of this release.
    pub fn facts(
        &self,
        platform: Platform,
        manifest: Digest,
        unpacked_bytes: u64,
        entries: u64,
    ) -> ReleaseFacts {
        ReleaseFacts {
            format: self.format,
            component: self.component.clone(),
            version: self.version.clone(),
            sequence: self.sequence,
            platform,
            channel: self.channel.clone(),
            upgrades_from: self.upgrades_from.clone(),
            also_from: self.also_from.clone(),
            floor: self.floor,
            return_within: self.return_within,
            launcher: self.launcher,
            manifest,
            unpacked_bytes,
            entries,
            revoked: None,
            notes: self.notes.clone(),
        }
    }
}
