//! Orders, as people give and watch them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::wire::{Action, Expect, Place};
use crate::{
    AgentId, AgentName, ComponentName, Millis, OrderId, Progress, ReleaseId, Timestamp, Version,
};

/// How far an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Wanted; the agent has not come for it.
    Pending,
    /// Signed and handed out; the agent has not said that it has it.
    HandedOut,
    /// The agent has it, durably, and has not begun.
    Accepted,
    /// Cancelled by a person; the agent, who may have it, has not said whether it was in time.
    Cancelling,
    /// Under way.
    Running,
    /// Carried out, and proved where it can be.
    Done,
    /// Failed.
    Failed,
    /// Tried, and taken back.
    Reverted,
    /// The agent would not.
    Refused,
    /// Cancelled before it was begun.
    Cancelled,
    /// Not begun in time.
    Expired,
    /// A later order took its place before it was begun.
    Superseded,
    /// Void since the control plane's database was restored, or the agent retired.
    Voided,
}

/// A text that is no state of orders.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a state of orders; there are {}", all_names())]
pub struct UnknownOrderState {
    /// What was offered, cut to 80 characters.
    pub text: String,
}

impl OrderState {
    /// Every state.
    pub const ALL: [Self; 13] = [
        Self::Pending,
        Self::HandedOut,
        Self::Accepted,
        Self::Cancelling,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Reverted,
        Self::Refused,
        Self::Cancelled,
        Self::Expired,
        Self::Superseded,
        Self::Voided,
    ];

    /// Its name, as in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::HandedOut => "handed_out",
            Self::Accepted => "accepted",
            Self::Cancelling => "cancelling",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Reverted => "reverted",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Voided => "voided",
        }
    }

    /// Whether nothing more will become of the order.
    pub fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::HandedOut | Self::Accepted | Self::Cancelling | Self::Running => {
                false
            }
            Self::Done
            | Self::Failed
            | Self::Reverted
            | Self::Refused
            | Self::Cancelled
            | Self::Expired
            | Self::Superseded
            | Self::Voided => true,
        }
    }
}

impl fmt::Display for OrderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for OrderState {
    type Err = UnknownOrderState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|one| one.name() == text);
        found.ok_or_else(|| UnknownOrderState { text: text.chars().take(80).collect() })
    }
}

fn all_names() -> String {
    OrderState::ALL.map(OrderState::name).join(", ")
}

/// A wish to update a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct OrderRequest {
    /// The component; may be left out when the agent has only one beside itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<ComponentName>,
    /// The version; absent: the newest permitted one, as the host sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Version>,
    /// What the one who orders saw; an agent that sees something else refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
    /// How long the agent may take to begin; a day when absent, at most 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Millis>,
    /// Take the place of an open order for the same component that was not begun.
    #[serde(default)]
    pub supersede: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 500))]
    pub reason: Option<String>,
}

/// A wish to go back to a release that is kept on the host. Same fields as [`OrderRequest`];
/// without a version: to the last good one.
pub type RollbackRequest = OrderRequest;

/// A wish to let releases that failed on a host be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ClearQuarantineRequest {
    /// The component.
    pub component: ComponentName,
    /// Only this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 500))]
    pub reason: Option<String>,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderInfo {
    /// Its id.
    pub id: OrderId,
    /// The agent that it is for.
    pub agent: AgentId,
    /// The agent's name.
    pub agent_name: AgentName,
    /// What to do.
    pub action: Action,
    /// How far it is.
    pub state: OrderState,
    /// Its number among the agent's orders, once it was handed out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What the one who ordered saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
    /// Why, in the words of the one who ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who ordered.
    pub by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it is void unless begun.
    pub expires: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// A stable code, where it did not go as ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The release that it came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// The newest progress, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The order that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<OrderId>,
    /// How it went, the oldest first; only where one order is asked for by its id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<OrderStep>,
}

/// One thing that became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderStep {
    /// When, by the control plane's clock.
    pub at: Timestamp,
    /// The state that it came to.
    pub state: OrderState,
    /// A stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}
