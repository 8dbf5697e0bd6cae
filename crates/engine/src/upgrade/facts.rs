//! What must have been found out before an upgrade is compiled, and why one is refused.

use std::collections::BTreeSet;

use camino::Utf8PathBuf;
use handover_model::{
    ComponentName, Digest, ErrorClass, Manifest, ReleaseId, RunId, Slots, Timestamp, Version,
};

use super::FillError;

/// What the host looks like before an upgrade.
#[derive(Debug, Clone, PartialEq)]
pub struct HostFacts {
    /// Wall-clock time.
    pub now: Timestamp,
    /// The component's newest slots.
    pub slots: Slots,
    /// Whether a launcher of the component is alive.
    pub launcher_runs: bool,
    /// Where the new package lies unpacked: `incoming/<digest>`, or the release's own directory
    /// when it was installed before.
    pub package: Utf8PathBuf,
    /// The manifest of the current release, if there is one.
    pub old: Option<Manifest>,
    /// The old slot's values of parameters.
    pub old_parameters: std::collections::BTreeMap<String, String>,
    /// Bytes of the current slot's state and configuration.
    pub copied_bytes: u64,
    /// Whether the package holds a launcher, `bin/handover-launch`.
    pub has_launcher: bool,
    /// SHA-256 of the new release's executable.
    pub executable_digest: Digest,
    /// The ELF machine of the new release's executable, if it is an ELF file (`e_machine`).
    pub executable_machine: Option<u16>,
    /// The ELF machine of this host.
    pub host_machine: Option<u16>,
    /// A number that no state directory has yet, nor the one after it.
    pub free_state: u32,
    /// A number that no configuration directory has yet.
    pub free_config: u32,
    /// Listen addresses of the new release that another process holds.
    pub taken_sockets: Vec<String>,
    /// Why the release's user can't be used on this host, if it can't.
    pub unusable_user: Option<String>,
    /// Configuration files and outside files that were edited on the host, by path.
    pub edited: BTreeSet<String>,
    /// A run of this component that has not ended.
    pub unfinished_run: Option<RunId>,
}

/// Why an upgrade is refused. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A contract that this entrypoint does not serve.
    #[error("the order speaks contract {found}; this entrypoint serves up to {newest}")]
    Contract {
        /// What the order says.
        found: u32,
        /// The newest that is served.
        newest: u32,
    },
    /// The order is void.
    #[error("the order was void at {deadline}, and it is {now}; check the host's clock")]
    Expired {
        /// When it was void.
        deadline: Timestamp,
        /// What the host's clock says.
        now: Timestamp,
    },
    /// The order is for another component or release than this package holds.
    #[error("the order is for {wanted}, and this package is {found}")]
    Foreign {
        /// What the order says.
        wanted: String,
        /// What the package says.
        found: String,
    },
    /// The component runs something else than the order says.
    #[error("the order starts from {wanted}, and the host runs {found}; order again")]
    From {
        /// What the order says.
        wanted: String,
        /// What the slots say.
        found: String,
    },
    /// It is current already.
    #[error("{release} is current already")]
    AlreadyCurrent {
        /// Which.
        release: ReleaseId,
    },
    /// It failed here before.
    #[error(
        "{component} {version} is in quarantine on this host: {reason}; let it out with \
         `handover-agent component apply {component} {version}`"
    )]
    Quarantined {
        /// The component.
        component: ComponentName,
        /// Its version.
        version: Version,
        /// Why it is there.
        reason: String,
    },
    /// Another upgrade of the component is under way.
    #[error("{run} has not ended; wait for it, or resume it")]
    Busy {
        /// Which run.
        run: RunId,
    },
    /// The order's run was begun before.
    #[error("{run} was begun before; resume it instead of running it again")]
    Duplicate {
        /// Which run.
        run: RunId,
    },
    /// The launcher is too old.
    #[error(
        "the release needs launcher protocol {needs}, and this host's launcher speaks {speaks}; \
         update handover-agent first"
    )]
    Launcher {
        /// What the release needs.
        needs: u32,
        /// What the launcher speaks.
        speaks: u32,
    },
    /// Nobody is there to swap.
    #[error(
        "no launcher runs for {component}; start `handover-launch {component}` (or its service) \
         and order again"
    )]
    NoLauncher {
        /// The component.
        component: ComponentName,
    },
    /// The executable is for another machine.
    #[error("the executable is for ELF machine {found}, and this host is {host}")]
    Machine {
        /// What the executable says.
        found: u16,
        /// What the host is.
        host: u16,
    },
    /// The agent's own release declares state.
    #[error(
        "{component} declares state, and copying it would stop the very agent that runs this \
         upgrade; take `state` out of its release: the agent keeps what it must under the root"
    )]
    AgentState {
        /// The component.
        component: ComponentName,
    },
    /// The agent's own package brings no launcher.
    #[error(
        "the package of {component} holds no {path}, which every component of this host would \
         run under; build it again with the launcher in it"
    )]
    LauncherMissing {
        /// The component.
        component: ComponentName,
        /// Where in the package it should be.
        path: &'static str,
    },
    /// A migration is missing.
    #[error("no migration leads from state schema {from} on to {to}")]
    MigrationGap {
        /// The schema that is reached.
        from: u32,
        /// The schema that is wanted.
        to: u32,
    },
    /// The release wants older state than there is.
    #[error(
        "the state has schema {found}, and the release reads {wanted}: going back needs a release that migrates down"
    )]
    OlderSchema {
        /// What there is.
        found: u32,
        /// What the release reads.
        wanted: u32,
    },
    /// The host must say something.
    #[error("parameter {name} has no default: set it in the host's policy")]
    Parameter {
        /// Which.
        name: String,
    },
    /// A port is in use.
    #[error("{address} is in use by another program; stop it, or change the release's socket")]
    SocketTaken {
        /// Which.
        address: String,
    },
    /// The user can't be used.
    #[error("the release can't run as its user: {why}")]
    User {
        /// Why not.
        why: String,
    },
    /// A file that the release must not overwrite was edited on the host.
    #[error(
        "{path} was edited on this host, and the release refuses to touch edited files; take the edit back, or move it to a parameter"
    )]
    Edited {
        /// Which.
        path: String,
    },
    /// A placeholder in the manifest.
    #[error("{place} of the release can't be filled in")]
    Fill {
        /// Where.
        place: String,
        /// What is wrong.
        source: FillError,
    },
    /// A mode, a command or a path that can't be used.
    #[error("{place} of the release can't be used: {why}")]
    Manifest {
        /// Where.
        place: String,
        /// What is wrong.
        why: String,
    },
}

impl Refused {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Busy { .. } | Self::NoLauncher { .. } | Self::SocketTaken { .. } => {
                ErrorClass::Retry
            }
            Self::From { .. } | Self::AlreadyCurrent { .. } | Self::Duplicate { .. } => {
                ErrorClass::Conflict
            }
            Self::Contract { .. }
            | Self::Expired { .. }
            | Self::Foreign { .. }
            | Self::Quarantined { .. }
            | Self::Launcher { .. }
            | Self::Machine { .. }
            | Self::AgentState { .. }
            | Self::LauncherMissing { .. }
            | Self::MigrationGap { .. }
            | Self::OlderSchema { .. }
            | Self::Parameter { .. }
            | Self::User { .. }
            | Self::Edited { .. }
            | Self::Fill { .. }
            | Self::Manifest { .. } => ErrorClass::Permanent,
        }
    }
}
