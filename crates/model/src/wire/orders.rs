//! Orders: signed intent for one agent.

use serde::{Deserialize, Serialize};

use crate::{AgentId, ComponentName, OrderId, Pin, Timestamp, Version};

/// The signed part of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentOrder {
    /// Always [`AgentOrder::TYPE`].
    #[serde(rename = "_type")]
    pub type_: String,
    /// Its id. The same order executed twice is one order.
    pub id: OrderId,
    /// The one agent that it is for.
    pub agent: AgentId,
    /// Its number among the agent's orders.
    #[serde(flatten)]
    pub place: Place,
    /// What to do.
    pub action: Action,
    /// What the one who ordered saw; an agent that sees something else refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
    /// When it was handed out first.
    pub issued: Timestamp,
    /// When it is void, unless it was begun.
    pub expires: Timestamp,
    /// Why, in the words of the one who ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl AgentOrder {
    /// The value of `_type`.
    pub const TYPE: &'static str = "handover-order";
}

/// An order's number: the epoch is raised when the control plane's database is restored, the
/// sequence with every order of the agent. Agents take no order at or below one that they took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Place {
    /// The life of the control plane's database.
    pub epoch: u64,
    /// The order's number within it, from 1.
    pub sequence: u64,
}

/// What an order says to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Action {
    /// Move the component to a version, or to the newest permitted one.
    Update {
        /// The component; one that the host does not have yet is installed.
        component: ComponentName,
        /// The version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Version>,
    },
    /// Go back to a release that is kept on the host.
    Rollback {
        /// The component.
        component: ComponentName,
        /// The version; absent: the last good one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Version>,
    },
    /// Allow only some versions. The host's own pin goes on counting beside it.
    Pin {
        /// The component.
        component: ComponentName,
        /// What it may run.
        pin: Pin,
    },
    /// Take the control plane's pin away; never the host's own.
    Unpin {
        /// The component.
        component: ComponentName,
    },
    /// Let releases that failed on the host be tried again.
    ClearQuarantine {
        /// The component.
        component: ComponentName,
        /// Only this version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<Version>,
    },
    /// Leave the control plane: forget the credentials, go on by the host's own policy.
    Retire,
    /// Something that a newer control plane can say. An agent refuses it and says so.
    #[serde(other)]
    Unknown,
}

impl Action {
    /// The component that it is about, if it is about one.
    pub fn component(&self) -> Option<&ComponentName> {
        match self {
            Self::Update { component, .. }
            | Self::Rollback { component, .. }
            | Self::Pin { component, .. }
            | Self::Unpin { component }
            | Self::ClearQuarantine { component, .. } => Some(component),
            Self::Retire | Self::Unknown => None,
        }
    }

    /// Its name, as in `do`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Update { .. } => "update",
            Self::Rollback { .. } => "rollback",
            Self::Pin { .. } => "pin",
            Self::Unpin { .. } => "unpin",
            Self::ClearQuarantine { .. } => "clear_quarantine",
            Self::Retire => "retire",
            Self::Unknown => "unknown",
        }
    }
}

/// Compare and swap: the state that an order was made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Expect {
    /// The component's current version; `null`: not installed.
    pub current: Option<Version>,
}

/// The signed part of a cancel: the order is not to be begun any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Always [`Cancel::TYPE`].
    #[serde(rename = "_type")]
    pub type_: String,
    /// The agent.
    pub agent: AgentId,
    /// The order.
    pub order: OrderId,
    /// When it was said.
    pub issued: Timestamp,
}

impl Cancel {
    /// The value of `_type`.
    pub const TYPE: &'static str = "handover-cancel";
}
