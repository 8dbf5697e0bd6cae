//! What stands around rollouts: selections, saved groups, webhooks, the fleet-wide stop.

use serde::{Deserialize, Serialize};

use super::{CheckSpec, CheckVerdict};
use crate::{AgentName, DeliveryId, GroupName, RolloutId, Timestamp, WebhookId};

/// Asks what a selection matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SelectionRequest {
    /// The selection.
    pub select: String,
}

/// What a selection matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SelectionPreview {
    /// The selection in its canonical spelling.
    pub select: String,
    /// How many agents it matches.
    pub matched: u32,
    /// How many there are.
    pub of: u32,
    /// How many of the matching are away.
    pub away: u32,
    /// The first few, by name.
    pub first: Vec<AgentName>,
    /// What it names and nobody has.
    pub unknown: Vec<String>,
}

/// Saves a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GroupRequest {
    /// Which agents.
    pub select: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A saved group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupInfo {
    /// Its name.
    pub name: GroupName,
    /// Which agents, in the canonical spelling.
    pub select: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// How many agents it matches now.
    pub matched: u32,
    /// Who saved it last.
    pub by: String,
    /// When.
    pub changed_at: Timestamp,
    /// Counts changes; the `ETag` is made of it.
    pub generation: u64,
}

/// Makes a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct WebhookRequest {
    /// Where to; `https`, or `http` on loopback.
    pub url: String,
    /// Of which kinds of events: `rollout.started`, `rollout.held`, `rollout.needs_approval`,
    /// `rollout.halted`, `rollout.done`, …; empty: all that begin with `rollout.`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(max_items = 32))]
    pub kinds: Vec<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookInfo {
    /// Its id.
    pub id: WebhookId,
    /// Where to.
    pub url: String,
    /// Of which kinds.
    pub kinds: Vec<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who made it.
    pub by: String,
    /// When.
    pub created_at: Timestamp,
    /// Deliveries that wait.
    pub waiting: u32,
    /// The newest deliveries, newest first.
    pub deliveries: Vec<DeliveryInfo>,
}

/// A webhook that was made, with its secret: shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookCreated {
    /// The webhook.
    #[serde(flatten)]
    pub webhook: WebhookInfo,
    /// The key of the signatures.
    pub secret: String,
}

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeliveryInfo {
    /// Its id, the same on every attempt.
    pub id: DeliveryId,
    /// The kind of the event.
    pub kind: String,
    /// When the event was.
    pub at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
    /// When it is tried next; absent: not any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// What the last attempt came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Stops the fleet, or lets it go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// Whether updates are stopped.
    pub stopped: bool,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether the fleet is stopped: no update is handed out, of rollouts or single orders. Reverts
/// and rollbacks go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StopInfo {
    /// Whether it is.
    pub stopped: bool,
    /// Who did that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Counts changes; the `ETag` is made of it.
    pub generation: u64,
}

/// An external check, and what it answered last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckInfo {
    /// The check.
    pub spec: CheckSpec,
    /// The newest answer; absent: none that could be taken has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<CheckVerdict>,
    /// Why, as the answer said; without a verdict, why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// As of when the answer holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
    /// Whether the answer still counts.
    pub is_fresh: bool,
}

/// What somebody needs to answer a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckSecret {
    /// The rollout.
    pub rollout: RolloutId,
    /// The check's name.
    pub name: String,
    /// Where the answer is posted to.
    pub url: String,
    /// The key of the signature.
    pub secret: String,
}
