//! What people do to a rollout, and when they can't.

use handover_model::ErrorClass;
use handover_model::api::RolloutState;

/// What a person, or another rollout, does to a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Lets a wave begin.
    Approve {
        /// Which, counted from 0; absent: the one that waits.
        wave: Option<u32>,
        /// Who.
        by: String,
        /// Why.
        reason: Option<String>,
    },
    /// Stops it for now.
    Pause {
        /// Who.
        by: String,
        /// Why.
        reason: Option<String>,
    },
    /// Lets it go on. After a halt this accepts the evidence: every failure and every silence that
    /// is known at this moment is set aside, for all gates and for good; what comes later counts.
    Resume {
        /// Who.
        by: String,
        /// Why.
        reason: Option<String>,
    },
    /// Ends it where it stands.
    Abort {
        /// Who.
        by: String,
    },
    /// Takes members out: they get no order, and what they said does not count.
    LeaveOut {
        /// Which.
        positions: Vec<u32>,
        /// Who.
        by: String,
    },
    /// Takes hosts back.
    Revert {
        /// Only this wave's, counted from 0.
        wave: Option<u32>,
        /// Who.
        by: String,
    },
    /// The rollout that takes all hosts back is over.
    RevertEnded {
        /// Whether it took every host back: see
        /// [`took_everybody_back`](crate::rollout::outcome::took_everybody_back). Else the rollout
        /// ends as aborted, with an alert, and can be reverted again.
        done: bool,
    },
    /// Another rollout takes its place.
    Supersede,
}

/// Why an act is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusedAct {
    /// It does not fit how the rollout stands.
    #[error("a rollout that is {state} can't be {act}; {hint}")]
    State {
        /// What was wanted.
        act: &'static str,
        /// How it stands.
        state: RolloutState,
        /// The way out.
        hint: &'static str,
    },
    /// There is no such wave.
    #[error("there is no wave {wave}; they are counted from 0, and there are {waves}")]
    NoWave {
        /// What was named.
        wave: u32,
        /// How many there are.
        waves: u32,
    },
    /// The wave needs no approval.
    #[error("wave {wave} waits for nobody's approval")]
    NoApproval {
        /// Which.
        wave: u32,
    },
    /// Nothing waits for an approval.
    #[error("no wave waits for approval; name one to approve it beforehand")]
    NothingWaits,
    /// It was approved before.
    #[error("{by} has approved wave {wave} already")]
    Approved {
        /// Which.
        wave: u32,
        /// Who did.
        by: String,
    },
    /// There is no such member.
    #[error("position {position} is no member; there are {members}")]
    NoMember {
        /// What was named.
        position: u32,
        /// How many there are.
        members: u32,
    },
    /// There is nothing to take back.
    #[error("it touched no host yet, so that nothing can be taken back; abort it instead")]
    NothingTouched,
}

impl RefusedAct {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::State { .. } => "rollout.state",
            Self::NoWave { .. } => "rollout.no-wave",
            Self::NoApproval { .. } => "rollout.no-approval",
            Self::NothingWaits => "rollout.nothing-waits",
            Self::Approved { .. } => "rollout.approved",
            Self::NoMember { .. } => "rollout.no-member",
            Self::NothingTouched => "rollout.nothing-touched",
        }
    }

    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::State { .. }
            | Self::NothingWaits
            | Self::Approved { .. }
            | Self::NothingTouched => ErrorClass::Conflict,
            Self::NoWave { .. } | Self::NoApproval { .. } | Self::NoMember { .. } => {
                ErrorClass::Permanent
            }
        }
    }
}
