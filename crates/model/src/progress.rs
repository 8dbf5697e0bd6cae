//! What an entrypoint says while it works, and how it ends (DESIGN 5.3).

use serde::{Deserialize, Serialize};

/// The stages, by the names that operators see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The package is on its way.
    UpdateDownload,
    /// Signatures and content are checked.
    UpdateVerify,
    /// State is copied and migrated, the slot installed, the trial started.
    UpdateInstall,
    /// The trial's health is watched.
    UpdateHealthcheck,
    /// The old version is being put back.
    UpdateRollback,
}

/// One line of progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// The stage.
    pub stage: Stage,
    /// The step's id in the plan.
    pub step: String,
    /// How much of the stage is done, 0 to 100, counted in steps or bytes, never in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// A line for people.
    pub detail: String,
}

/// How an entrypoint ends, as an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCode {
    /// 0: a trial is running and a watcher guards it; or, from `resume`, the run is done.
    Trial,
    /// 3: refused; nothing changed.
    Refused,
    /// 4: failed and reverted.
    Reverted,
    /// Anything else, a signal, or silence past the deadline.
    Unknown,
}

impl ExitCode {
    /// Reads a process's exit code.
    pub fn of(code: Option<i32>) -> Self {
        match code {
            Some(0) => Self::Trial,
            Some(3) => Self::Refused,
            Some(4) => Self::Reverted,
            Some(_) | None => Self::Unknown,
        }
    }

    /// The code to exit with; 1 for [`ExitCode::Unknown`].
    pub fn code(self) -> u8 {
        match self {
            Self::Trial => 0,
            Self::Refused => 3,
            Self::Reverted => 4,
            Self::Unknown => 1,
        }
    }
}
