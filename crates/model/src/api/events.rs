//! What happened, in the order in which it is numbered.

use serde::{Deserialize, Serialize};

use crate::{AgentId, OrderId, RolloutId, Timestamp};

/// One event. In the stream its `seq` is the event's id, so that `Last-Event-ID` resumes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventInfo {
    /// Its number, counting up without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What: `order.running`, `agent.enrolled`, ….
    pub kind: String,
    /// The agent that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// The order that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    /// The rollout that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutId>,
    /// Particulars, by kind; only ever added to.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub data: serde_json::Value,
}
