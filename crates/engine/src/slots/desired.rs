//! What a launcher must run, and why.

use std::fmt;

use handover_model::{LAUNCHER_PROTOCOL, Millis, Pause, RunId, Slot, Slots, Trial};

/// What the launcher must run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Desired<'a> {
    /// The trial: a boot must be spent, durably, before each start.
    Trial(&'a Trial),
    /// The trial is over without a commit: quarantine it, then ask again.
    Settle(&'a Trial, TrialOver),
    /// Nothing, for a while: stop the child, keep the sockets, say so. A pause that was published
    /// before the launcher's own life began, or that lasts longer than its window, is ended with
    /// `end_pause` instead.
    Paused(&'a Pause),
    /// The committed slot.
    Current(&'a Slot),
    /// Nothing can be run.
    Nothing(Nothing),
}

/// Why a trial ended without a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrialOver {
    /// Its window has passed.
    Window(Millis),
    /// It was started as often as it may be, and does not run.
    Boots,
    /// It needs a newer launcher.
    Launcher {
        /// The protocol that it needs.
        needs: u32,
        /// The protocol that this launcher speaks.
        speaks: u32,
    },
}

impl fmt::Display for TrialOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window(window) => write!(f, "no commit within the trial's window of {window}"),
            Self::Boots => f.write_str("every boot of the trial was spent without a commit"),
            Self::Launcher { needs, speaks } => write!(
                f,
                "it needs launcher protocol {needs}, and this launcher speaks {speaks}: update \
                 the launcher first"
            ),
        }
    }
}

/// Why nothing can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nothing {
    /// Nothing was committed yet.
    NeverCommitted,
    /// The committed slot needs a newer launcher.
    LauncherTooOld {
        /// The protocol that it needs.
        needs: u32,
        /// The protocol that this launcher speaks.
        speaks: u32,
    },
}

impl fmt::Display for Nothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverCommitted => f.write_str("no release was committed on this host yet"),
            Self::LauncherTooOld { needs, speaks } => write!(
                f,
                "the current release needs launcher protocol {needs}, and this launcher speaks \
                 {speaks}: update the launcher"
            ),
        }
    }
}

/// What must run now. `running` is the run of the slot whose process is alive, if any: a trial
/// that runs on its last boot goes on.
pub fn desired(slots: &Slots, running: Option<RunId>) -> Desired<'_> {
    if let Some(trial) = &slots.trial {
        return match trial_over(trial, running == Some(trial.slot.run)) {
            None => Desired::Trial(trial),
            Some(over) => Desired::Settle(trial, over),
        };
    }
    if let Some(pause) = &slots.pause {
        return Desired::Paused(pause);
    }
    match &slots.current {
        None => Desired::Nothing(Nothing::NeverCommitted),
        Some(slot) if slot.recipe.launcher > LAUNCHER_PROTOCOL => {
            Desired::Nothing(Nothing::LauncherTooOld {
                needs: slot.recipe.launcher,
                speaks: LAUNCHER_PROTOCOL,
            })
        }
        Some(slot) => Desired::Current(slot),
    }
}

/// Why the trial can't go on, if it can't; `alive` says whether its process runs.
pub fn trial_over(trial: &Trial, alive: bool) -> Option<TrialOver> {
    if trial.slot.recipe.launcher > LAUNCHER_PROTOCOL {
        return Some(TrialOver::Launcher {
            needs: trial.slot.recipe.launcher,
            speaks: LAUNCHER_PROTOCOL,
        });
    }
    if trial.elapsed >= trial.window {
        return Some(TrialOver::Window(trial.window));
    }
    (trial.boots_left == 0 && !alive).then_some(TrialOver::Boots)
}
