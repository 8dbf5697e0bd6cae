//! How far a rollout is: what is stored beside its plan, and nothing that orders already say.

use handover_model::Timestamp;
use handover_model::api::{Alert, RolloutState};
use serde::{Deserialize, Serialize};

use crate::rollout::gate::Counts;

/// The controller's own record. Together with the plan, the roster and the rollout's orders it is
/// all that a controller is built from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What the members' times are counted from: when the rollout was made.
    pub epoch: Timestamp,
    /// How it stands.
    pub state: RolloutState,
    /// How many members, in the roster's order, may get their order. Never shrinks.
    pub released: u32,
    /// The wave whose turn it is, counted from 0; as many as there are waves when all are through.
    pub wave: u32,
    /// The waves, in order.
    pub waves: Vec<WaveProgress>,
    /// The step of the ramp that goes on, or the last one that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// The periods in which silence is compared, in order: steps of the ramp.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub periods: Vec<Period>,
    /// When its first wave began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Since when every wave is through and only stragglers are waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lingers_from: Option<Timestamp>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Until when the release's health goes on being watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_until: Option<Timestamp>,
    /// Who paused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Signed>,
    /// Why it halted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt: Option<Halt>,
    /// When a person resumed it after a halt, last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Signed>,
    /// Members whose failure a person accepted by resuming; ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted_failures: Vec<u32>,
    /// Members whose silence a person accepted by resuming; ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted_silence: Vec<u32>,
    /// Members left out by a person; ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<u32>,
    /// Members that need no order, since they run the release already; ascending. No order says
    /// so, so that it has to be kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub satisfied: Vec<u32>,
    /// What was noticed after commit; one of each code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
}

/// How far a wave is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WaveProgress {
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Signed>,
    /// Whether an approval was asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked: bool,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Timestamp>,
    /// When every member that is there had an outcome; its soak counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Timestamp>,
    /// When it was through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// Something that a person did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One step of the ramp: positions `from..to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The first position.
    pub from: u32,
    /// The position after the last one; grows when a step is topped up.
    pub to: u32,
    /// How many hosts it is to learn from.
    pub target: u32,
    /// When it began.
    pub began_at: Timestamp,
}

/// One period of the comparison of silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// The first position that belongs to it; the next period's is where it ends.
    pub from: u32,
    /// When it began.
    pub began_at: Timestamp,
    /// The hosts that it is compared with, as they were counted last.
    #[serde(default)]
    pub controls: Counts,
}

/// Which gate halted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HaltGate {
    /// The sequential test.
    Evidence,
    /// More than the permitted share of a wave failed.
    FailuresShare,
    /// More than the permitted number failed.
    FailuresAtMost,
    /// An external check said so.
    Check,
    /// The release failed on hosts that had committed it.
    Decay,
}

impl HaltGate {
    /// Its name, as in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Evidence => "evidence",
            Self::FailuresShare => "failures_share",
            Self::FailuresAtMost => "failures_at_most",
            Self::Check => "check",
            Self::Decay => "decay",
        }
    }
}

/// A halt: why, and by which members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// Which gate.
    pub gate: HaltGate,
    /// In a sentence.
    pub text: String,
    /// When.
    pub at: Timestamp,
    /// The wave, counted from 0.
    pub wave: u32,
    /// The positions of the members that decided it, ascending, at most [`Halt::MOST_DECIDING`].
    pub deciding: Vec<u32>,
    /// Every member that had failed by its deadline alone: no order says so, and a resume accepts
    /// it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<u32>,
    /// Every member that was silent, likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<u32>,
}

impl Halt {
    /// How many members a halt names at most.
    pub const MOST_DECIDING: usize = 100;
}

impl Progress {
    /// Nothing happened yet. `now` is when the rollout is made.
    pub fn new(now: Timestamp) -> Self {
        Self {
            epoch: now,
            state: RolloutState::Scheduled,
            released: 0,
            wave: 0,
            waves: Vec::new(),
            step: None,
            periods: Vec::new(),
            started_at: None,
            lingers_from: None,
            ended_at: None,
            watch_until: None,
            paused: None,
            halt: None,
            accepted: None,
            accepted_failures: Vec::new(),
            accepted_silence: Vec::new(),
            left_out: Vec::new(),
            satisfied: Vec::new(),
            alerts: Vec::new(),
        }
    }

    /// Whether a person left the member out.
    pub fn is_left_out(&self, position: u32) -> bool {
        self.left_out.binary_search(&position).is_ok()
    }

    /// The period of a position, where it was released.
    pub fn period_of(&self, position: u32) -> usize {
        self.periods.partition_point(|period| period.from <= position).saturating_sub(1)
    }
}
