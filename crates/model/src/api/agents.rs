//! Agents.

use serde::{Deserialize, Serialize};

use super::OrderInfo;
use crate::wire::{ComponentState, OrderReport};
use crate::{
    AgentId, AgentName, ComponentName, Labels, OrderId, Pin, Platform, Timestamp, TokenId, Version,
};

/// How an agent stands with the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// It checks in.
    Present,
    /// It has not checked in for longer than it should.
    Away,
    /// Two machines, or two processes, use its identity; it gets no orders.
    Cloned,
    /// It left, or was sent away; its credentials are void.
    Retired,
}

/// An agent in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentSummary {
    /// Its id.
    pub id: AgentId,
    /// Its name, unique among agents that are not retired.
    pub name: AgentName,
    /// How it stands.
    pub state: AgentState,
    /// Labels that people and its token gave it.
    pub labels: Labels,
    /// Its platform.
    pub platform: Platform,
    /// The version of the agent itself.
    pub agent_version: Version,
    /// When it enrolled.
    pub enrolled_at: Timestamp,
    /// When it checked in last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// Whether it is retired by itself after a silence.
    #[serde(default)]
    pub ephemeral: bool,
    /// Its components, by name, as it reported them last.
    pub components: Vec<ComponentSummary>,
    /// How many orders for it are open.
    pub open_orders: u32,
}

/// A component of an agent in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ComponentSummary {
    /// The component.
    pub component: ComponentName,
    /// The committed version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Version>,
    /// Whether the running process was seen to be that version.
    pub proved: bool,
    /// The version on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Version>,
    /// What the host would do next by itself: `up-to-date`, `moves`, or what holds it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlook: Option<String>,
}

/// One agent, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentDetail {
    /// As in lists.
    #[serde(flatten)]
    pub agent: AgentSummary,
    /// Counts changes by people; the `ETag` is made of it.
    pub generation: u64,
    /// What the host says of itself.
    #[serde(default)]
    pub facts: Labels,
    /// The kernel's boot id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// When the host wrote the report that the components come from, by its own clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<Timestamp>,
    /// The components as reported, in full.
    pub reported: Vec<ComponentState>,
    /// Pins that the control plane has set or is about to.
    pub pins: Vec<PinInfo>,
    /// Orders that are not ended, the newest first.
    pub orders: Vec<OrderInfo>,
    /// The token that it enrolled with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenId>,
    /// When it was retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<Timestamp>,
    /// Why it stands as it stands, where that needs words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A change of labels. What is in neither list stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LabelsChange {
    /// Labels to add or to change.
    #[serde(default)]
    pub set: Labels,
    /// Keys to take away; ones that are not there are no error.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_items = 64))]
    pub remove: Vec<String>,
}

/// What is to be said when an agent is retired.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RetireRequest {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 500))]
    pub reason: Option<String>,
}

/// A pin of the control plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PinInfo {
    /// The component.
    pub component: ComponentName,
    /// What it may run; absent while a pin that was taken away is still on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Why, in the words of the one who set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who set it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// The order that tells the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    /// Whether the host has it like this.
    pub in_force: bool,
    /// Counts changes; the `ETag` is made of it.
    pub generation: u64,
}

/// A wish to pin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PinRequest {
    /// What the component may run: a version, or a range.
    pub pin: Pin,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 500))]
    pub reason: Option<String>,
}

/// A report that an agent signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReportInfo {
    /// Its number among the agent's reports.
    pub number: u64,
    /// When the host wrote it, by its own clock.
    pub at: Timestamp,
    /// When the control plane took it.
    pub received_at: Timestamp,
    /// `state` or `order`.
    pub kind: String,
    /// What it says of an order, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderReport>,
    /// What it says of the host's components, if it is about the state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<ComponentState>,
}
