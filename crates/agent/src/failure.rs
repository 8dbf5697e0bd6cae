//! Why a command failed, for people and programs: one enum over the modules' own errors, with
//! the exit code that `docs/exit-codes.md` promises.

use handover_engine::floors::FloorError;
use handover_hoststeps::HostError;
use handover_model::{ComponentName, ErrorClass, Version};
use handover_trust::VerifyError;

use crate::call::CallError;
use crate::download::DownloadError;
use crate::entrypoint::EntrypointError;
use crate::policy::PolicyError;
use crate::repository::RepositoryError;
use crate::unpack::UnpackError;

/// How a command ends, as an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or there was nothing to do.
    Done,
    /// 1: failed.
    Failed,
    /// 2: the command line makes no sense.
    Usage,
    /// 3: refused; nothing changed.
    Refused,
    /// 4: tried and reverted.
    Reverted,
    /// 5: there is no such component, release or file.
    NotFound,
    /// 6: a file of this host is damaged.
    Damaged,
    /// 7: another command is at work.
    Busy,
}

impl Exit {
    /// The code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Reverted => 4,
            Self::NotFound => 5,
            Self::Damaged => 6,
            Self::Busy => 7,
        }
    }
}

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The policy can't be followed.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The repository can't be believed or reached.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The package did not come.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// The package can't be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The entrypoint can't be run.
    #[error(transparent)]
    Entrypoint(#[from] EntrypointError),
    /// The control plane refuses or can't be reached.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A file of this host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// What is signed refuses.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Floors, ledger or a permit refuse.
    #[error(transparent)]
    Floors(#[from] FloorError),
    /// Something asked for is refused; the words say what and the way out.
    #[error("{reason}")]
    Refused {
        /// A name for programs.
        code: &'static str,
        /// What and why, for people.
        reason: String,
    },
    /// The update was tried and taken back.
    #[error("{component} {to} was tried and taken back: {reason}")]
    Reverted {
        /// The component.
        component: ComponentName,
        /// The version that was tried.
        to: Version,
        /// Why.
        reason: String,
    },
    /// Whether it worked can't be said.
    #[error(
        "what became of {component} {to} is not known yet: {reason}; see `handover-agent status`"
    )]
    Unknown {
        /// The component.
        component: ComponentName,
        /// The version that was tried.
        to: Version,
        /// What was seen.
        reason: String,
    },
    /// There is no such thing.
    #[error("{what}")]
    NotFound {
        /// What is not there, and what is.
        what: String,
    },
    /// Another command works on the component.
    #[error("{component} is being updated by process {holder}; wait for it, or see `status`")]
    Busy {
        /// The component.
        component: ComponentName,
        /// Who, or `unknown`.
        holder: String,
    },
    /// The end was asked for.
    #[error("stopped; what was begun goes on with the next start")]
    Stopped,
    /// Standard output or another stream failed.
    #[error("could not {act}")]
    Stream {
        /// What was tried.
        act: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Failure {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Policy(error) => error.class(),
            Self::Repository(error) => error.class(),
            Self::Download(error) => error.class(),
            Self::Unpack(error) => error.class(),
            Self::Entrypoint(error) => error.class(),
            Self::Call(error) => error.class(),
            Self::Host(error) => error.class(),
            Self::Verify(error) => error.class(),
            Self::Floors(error) => error.class(),
            Self::Refused { .. } | Self::Reverted { .. } | Self::NotFound { .. } => {
                ErrorClass::Permanent
            }
            Self::Unknown { .. } | Self::Busy { .. } | Self::Stopped | Self::Stream { .. } => {
                ErrorClass::Retry
            }
        }
    }

    /// A name for programs, stable over releases.
    pub fn code(&self) -> String {
        match self {
            Self::Policy(error) => error.code().to_owned(),
            Self::Repository(error) => error.code(),
            Self::Download(error) => error.code().to_owned(),
            Self::Unpack(error) => error.code().to_owned(),
            Self::Entrypoint(_) => "entrypoint".to_owned(),
            Self::Call(error) => error.code().to_owned(),
            Self::Host(HostError::Damaged { .. }) => "host.damaged".to_owned(),
            Self::Host(HostError::Io { .. } | HostError::Surprise { .. }) => "host".to_owned(),
            Self::Verify(error) => format!("trust.{}", error.code().replace('_', "-")),
            Self::Floors(_) => "floors".to_owned(),
            Self::Refused { code, .. } => (*code).to_owned(),
            Self::Reverted { .. } => "reverted".to_owned(),
            Self::Unknown { .. } => "unknown".to_owned(),
            Self::NotFound { .. } => "not-found".to_owned(),
            Self::Busy { .. } => "busy".to_owned(),
            Self::Stopped => "stopped".to_owned(),
            Self::Stream { .. } => "stream".to_owned(),
        }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Policy(error) => match error {
                PolicyError::Missing { .. } => Exit::NotFound,
                PolicyError::Choices { .. } => Exit::Damaged,
                PolicyError::Read { .. } => Exit::Failed,
                PolicyError::Malformed { .. } | PolicyError::Contradiction { .. } => Exit::Refused,
            },
            Self::Repository(error) => match error {
                RepositoryError::Verify(error) => exit_of_verify(error),
                RepositoryError::Disk(error) => exit_of_host(error),
                RepositoryError::Fetch(_) => Exit::Failed,
                RepositoryError::NoRoot { .. } => Exit::NotFound,
                RepositoryError::OtherRoot { .. } => Exit::Refused,
                RepositoryError::Busy => Exit::Busy,
            },
            Self::Host(error) => exit_of_host(error),
            Self::Verify(error) => exit_of_verify(error),
            Self::Floors(error) => match error {
                FloorError::OpenFloors { .. } | FloorError::OpenLedger { .. } => Exit::Damaged,
                FloorError::OtherComponent { .. }
                | FloorError::OtherAgent { .. }
                | FloorError::OtherVersion { .. }
                | FloorError::Expired { .. }
                | FloorError::Spent { .. } => Exit::Refused,
            },
            Self::Download(_) | Self::Unpack(_) | Self::Call(_)
                if matches!(self.class(), ErrorClass::Permanent | ErrorClass::Conflict) =>
            {
                Exit::Refused
            }
            Self::Download(_)
            | Self::Unpack(_)
            | Self::Call(_)
            | Self::Entrypoint(_)
            | Self::Unknown { .. }
            | Self::Stopped
            | Self::Stream { .. } => Exit::Failed,
            Self::Refused { .. } => Exit::Refused,
            Self::Reverted { .. } => Exit::Reverted,
            Self::NotFound { .. } => Exit::NotFound,
            Self::Busy { .. } => Exit::Busy,
        }
    }
}

fn exit_of_host(error: &HostError) -> Exit {
    match error {
        HostError::Damaged { .. } => Exit::Damaged,
        HostError::Io { .. } | HostError::Surprise { .. } => Exit::Failed,
    }
}

fn exit_of_verify(error: &VerifyError) -> Exit {
    if matches!(error, VerifyError::DamagedFloors { .. } | VerifyError::MissingFloors) {
        Exit::Damaged
    } else if matches!(error, VerifyError::UnknownTarget { .. } | VerifyError::UnknownRole { .. }) {
        Exit::NotFound
    } else {
        Exit::Refused
    }
}

/// An error and all its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
