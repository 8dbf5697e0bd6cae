//! Rollouts: a release, a selection of agents, a strategy (DESIGN 7).
//!
//! | route | takes | answers |
//! | --- | --- | --- |
//! | `POST /rollouts/preview` | [`PreviewRequest`] | [`RolloutPreview`] |
//! | `GET /rollouts?state=&component=&open=` | | page of [`RolloutInfo`] |
//! | `POST /rollouts` | [`RolloutSpec`] | [`RolloutInfo`], 201 |
//! | `GET /rollouts/{rollout}` (id or name) | | [`RolloutInfo`] with an `ETag` |
//! | `PUT /rollouts/{rollout}` with `If-Match` | [`RolloutSpec`] | [`RolloutInfo`]: what may change of one that began |
//! | `GET /rollouts/{rollout}/members?wave=&outcome=` | | page of [`MemberInfo`] |
//! | `POST /rollouts/{rollout}/approve` | [`ApproveRequest`] | [`RolloutInfo`] |
//! | `POST /rollouts/{rollout}/pause`, `/resume`, `/abort` | [`ActRequest`] | [`RolloutInfo`] |
//! | `POST /rollouts/{rollout}/revert` | [`RevertRequest`] | [`RolloutInfo`] of the revert, 201 |
//! | `POST /rollouts/{rollout}/leave-out` | [`LeaveOutRequest`] | [`RolloutInfo`] |
//! | `POST /rollouts/{rollout}/checks/{name}` | [`CheckAnswer`], signed | 204 |
//! | `POST /selections/preview` | [`SelectionRequest`] | [`SelectionPreview`] |
//! | `GET /rollouts/{rollout}/checks` | | list of [`CheckInfo`] |
//! | `GET /rollouts/{rollout}/checks/{name}/secret` | | [`CheckSecret`] |
//! | `GET/PUT/DELETE /groups[/{group}]` | [`GroupRequest`] | [`GroupInfo`] |
//! | `GET/POST/DELETE /webhooks[/{webhook}]` | [`WebhookRequest`] | [`WebhookInfo`], [`WebhookCreated`] |
//! | `GET/PUT /stop` | [`StopRequest`] | [`StopInfo`] |

mod acts;
mod around;
mod gates;
mod play;
mod spec;

use serde::{Deserialize, Serialize};

pub use acts::{ActRequest, ApproveRequest, LeaveOutRequest, RevertRequest};
pub use around::{
    CheckInfo, CheckSecret, DeliveryInfo, GroupInfo, GroupRequest, SelectionPreview,
    SelectionRequest, StopInfo, StopRequest, WebhookCreated, WebhookInfo, WebhookRequest,
};
pub use gates::{Alert, Deciding, EvidenceInfo, HaltInfo, Hold, HoldCode, HoldLifter, StratumInfo};
pub use play::{LeftOut, Play, PreviewPath, PreviewRequest, PreviewWave, RolloutPreview};
pub use spec::{
    AfterSpec, Approval, CheckAnswer, CheckHow, CheckSpec, CheckVerdict, GateSpec, LimitSpec,
    Membership, OnDecay, OnHalt, Requirement, Rest, RetrySpec, RolloutSpec, Strategy, WaveSpec,
};

use crate::{AgentId, AgentName, OrderId, RolloutId, RolloutName, Timestamp};

/// How a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// Waits for its time. The server starts it, a person aborts it.
    Scheduled,
    /// Goes on by itself, or says what holds it. Ends by itself.
    Running,
    /// A person stopped it; a person resumes, reverts or aborts it.
    Paused,
    /// A gate stopped it; a person resumes, reverts or aborts it.
    Halted,
    /// A revert of all its hosts runs; ends with that.
    Reverting,
    /// Its hosts were taken back.
    Reverted,
    /// Every wave is through.
    Done,
    /// A person ended it.
    Aborted,
    /// Another rollout took its place.
    Superseded,
}

impl RolloutState {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Scheduled,
        Self::Running,
        Self::Paused,
        Self::Halted,
        Self::Reverting,
        Self::Reverted,
        Self::Done,
        Self::Aborted,
        Self::Superseded,
    ];

    /// Its name, as in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Reverting => "reverting",
            Self::Reverted => "reverted",
            Self::Done => "done",
            Self::Aborted => "aborted",
            Self::Superseded => "superseded",
        }
    }

    /// Whether it hands out no order ever again.
    pub fn is_over(self) -> bool {
        match self {
            Self::Scheduled | Self::Running | Self::Paused | Self::Halted => false,
            Self::Reverting | Self::Reverted | Self::Done | Self::Aborted | Self::Superseded => {
                true
            }
        }
    }
}

impl std::fmt::Display for RolloutState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for RolloutState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|state| state.name()).collect();
            format!("it is one of {}", names.join(", "))
        })
    }
}

/// Which way a rollout moves its hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum RolloutKind {
    /// To a release.
    Update,
    /// Back to what they ran before a rollout touched them.
    Revert {
        /// That rollout.
        of: RolloutId,
        /// Only this wave of it, counted from 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wave: Option<u32>,
    },
}

/// A rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RolloutInfo {
    /// Its id.
    pub id: RolloutId,
    /// Its name.
    pub name: RolloutName,
    /// Which way it goes.
    pub kind: RolloutKind,
    /// What was asked for.
    pub spec: RolloutSpec,
    /// How it stands.
    pub state: RolloutState,
    /// Counts changes; the `ETag` is made of it.
    pub generation: u64,
    /// Who made it.
    pub by: String,
    /// When.
    pub created_at: Timestamp,
    /// When its first wave began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Until when the release's health goes on being watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_until: Option<Timestamp>,
    /// All members together.
    pub counts: Counts,
    /// The waves, in order.
    pub waves: Vec<WaveInfo>,
    /// Everything that holds it, the most decisive first.
    pub holds: Vec<Hold>,
    /// What the gate sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceInfo>,
    /// Why it halted, and by which hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt: Option<HaltInfo>,
    /// Alerts after commit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    /// The rollout that takes it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverted_by: Option<RolloutId>,
    /// The rollout that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<RolloutId>,
}

/// How many members stand how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Counts {
    /// Members.
    pub members: u32,
    /// Those that may get their order.
    pub released: u32,
    /// Released, and not there to take it.
    pub away: u32,
    /// Those that acknowledged their order.
    pub exposed: u32,
    /// Exposed, without an outcome yet.
    pub running: u32,
    /// Proved to run the release.
    pub done: u32,
    /// Failed, reverted, or overdue while they talk.
    pub failed: u32,
    /// Exposed, and not heard of since.
    pub silent: u32,
    /// Did not begin, for a reason of their own.
    pub refused: u32,
    /// Cancelled, retired.
    pub withdrawn: u32,
    /// There already.
    pub satisfied: u32,
}

/// One wave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WaveInfo {
    /// Its name: `5 %`, or as the specification says.
    pub name: String,
    /// How it stands.
    pub state: WaveState,
    /// Its members.
    pub counts: Counts,
    /// Whether it waits, or waited, for a person.
    pub approval: bool,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Timestamp>,
    /// When it was through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// How a wave stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaveState {
    /// Its turn has not come.
    Waiting,
    /// Its turn has come, and something holds it.
    Held,
    /// Its members are released, step by step.
    Running,
    /// Everybody has an outcome; it is watched.
    Soaking,
    /// It is through.
    Through,
}

/// How a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MemberOutcome {
    /// Not released yet.
    Waiting,
    /// Released; its order was not taken yet.
    Released,
    /// Released, and not there to take it.
    Away,
    /// Exposed, without an outcome yet.
    Running,
    /// Proved to run the release.
    Done,
    /// Failed, reverted, or overdue while it talks.
    Failed,
    /// Done, and later back at another release by itself.
    Decayed,
    /// Exposed, and not heard of since.
    Silent,
    /// Did not begin, for a reason of its own.
    Refused,
    /// Cancelled, or retired.
    Withdrawn,
    /// There already.
    Satisfied,
    /// Left out by a person.
    LeftOut,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MemberInfo {
    /// Its place in the rollout, from 0.
    pub position: u32,
    /// Its wave, from 0.
    pub wave: u32,
    /// Its id.
    pub agent: AgentId,
    /// Its name.
    pub name: AgentName,
    /// How it stands.
    pub outcome: MemberOutcome,
    /// Its newest order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    /// Which attempt that is, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// A stable code, where it did not go as ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same in words, or why it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}
