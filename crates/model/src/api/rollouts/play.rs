//! What a rollout would do, before anything moves.

use serde::{Deserialize, Serialize};

use super::RolloutSpec;
use crate::{AgentName, Millis, Platform, Version};

/// Asks what a rollout would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PreviewRequest {
    /// The rollout.
    pub spec: RolloutSpec,
    /// Failure rates to play, in percent; absent: 0.1, 2, 10 and 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_items = 8))]
    pub failures: Option<Vec<f64>>,
    /// How long an update takes on a host; absent: the median of the last ones, or a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each_takes: Option<Millis>,
    /// The seed of the play; absent: drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// What a rollout would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RolloutPreview {
    /// How many agents the selection matches.
    pub matched: u32,
    /// How many of them would be members.
    pub members: u32,
    /// Why the others would not, and how many.
    pub left_out: Vec<LeftOut>,
    /// The waves.
    pub waves: Vec<PreviewWave>,
    /// Ways that hosts would go: from each version, over which stops.
    pub paths: Vec<PreviewPath>,
    /// What people should know: releases that can't be returned from, gates that can't see.
    pub warnings: Vec<String>,
    /// Plays against a simulated fleet of this size.
    pub plays: Vec<Play>,
    /// The seed of the plays.
    pub seed: u64,
}

/// Agents that match and would not be members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeftOut {
    /// A stable code.
    pub code: String,
    /// In a sentence.
    pub text: String,
    /// How many.
    pub count: u32,
    /// The first few.
    pub agents: Vec<AgentName>,
}

/// A wave that a rollout would have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PreviewWave {
    /// Its name.
    pub name: String,
    /// Its members.
    pub members: u32,
    /// Members that are away now.
    pub away: u32,
    /// Whether it would wait for a person.
    pub approval: bool,
    /// The first few of its members, in order.
    pub first: Vec<AgentName>,
    /// The steps of its ramp on a good day: how many hosts each.
    pub steps: Vec<u32>,
}

/// The way of hosts of one platform and version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PreviewPath {
    /// Their platform.
    pub platform: Platform,
    /// The version that they run; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Version>,
    /// The stops, the last one the target.
    pub hops: Vec<Version>,
    /// How many hosts go it.
    pub members: u32,
}

/// One play of a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Play {
    /// The failure rate that was played, in percent.
    pub failures: f64,
    /// How many times it was played.
    pub plays: u32,
    /// How many of those were stopped by the gate, in percent.
    pub stopped: f64,
    /// Hosts exposed: the median.
    pub exposed_p50: u32,
    /// Hosts exposed in the worst twentieth.
    pub exposed_p95: u32,
    /// Hosts that failed: the median.
    pub failed_p50: u32,
    /// How long it took: the median; people and windows answer at once.
    pub takes_p50: Millis,
}
