//! Releases, what of them an agent could take, and where they run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    AgentId, AgentName, ComponentName, Digest, Millis, Platform, Timestamp, Version, VersionRange,
};

/// A component that the repository offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ComponentReleases {
    /// The component.
    pub component: ComponentName,
    /// The highest version of each channel that is not revoked.
    pub newest: BTreeMap<String, Version>,
    /// How many versions there are.
    pub versions: u32,
    /// How many agents run some version of it.
    pub agents: u32,
}

/// One package of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReleaseInfo {
    /// The version.
    pub version: Version,
    /// Its place in the order of production.
    pub sequence: u64,
    /// The platform that the package is for.
    pub platform: Platform,
    /// The channel.
    pub channel: String,
    /// The package's path among the targets.
    pub path: String,
    /// The package's SHA-256.
    pub digest: Digest,
    /// The package's length in bytes.
    pub length: u64,
    /// The versions that it can follow.
    pub upgrades_from: VersionRange,
    /// Versions that it can follow beside these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_from: Vec<Version>,
    /// Whether no one may pass it by.
    #[serde(default)]
    pub floor: bool,
    /// How long after commit a host may go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_within: Option<Millis>,
    /// Why it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
    /// A line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// How many agents run this version.
    pub agents: u32,
}

/// Everything that the repository offers of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReleaseDetail {
    /// The component.
    pub component: ComponentName,
    /// How many keys must sign its releases.
    pub threshold: u32,
    /// The ids of the keys that may.
    pub keys: Vec<String>,
    /// Packages, the highest version first.
    pub releases: Vec<ReleaseInfo>,
    /// Packages that this server is too old to understand: path and reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, String>,
}

/// Which release can follow which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReleaseGraph {
    /// The component.
    pub component: ComponentName,
    /// Usable versions, the lowest first.
    pub versions: Vec<Version>,
    /// Steps that a host may take.
    pub edges: Vec<Edge>,
    /// Versions that must not be passed by.
    pub floors: Vec<Version>,
    /// Versions that were revoked, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub revoked: BTreeMap<String, String>,
    /// The same for Graphviz.
    pub dot: String,
}

/// One step that a host may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Edge {
    /// The version to leave.
    pub from: Version,
    /// The version to arrive at.
    pub to: Version,
}

/// What an agent could be updated to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdatesAvailable {
    /// The agent.
    pub agent: AgentId,
    /// Its name.
    pub name: AgentName,
    /// When the host wrote the report that this follows from; absent: it never reported, and
    /// nothing can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<Timestamp>,
    /// By component.
    pub components: Vec<ComponentUpdates>,
}

/// What a component of an agent could be updated to, if a person ordered it now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ComponentUpdates {
    /// The component.
    pub component: ComponentName,
    /// The committed version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Version>,
    /// The newest version that can be ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Version>,
    /// The stops on the way there, the last one the newest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<Version>,
    /// Every version that can be ordered, the highest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub available: Vec<Version>,
    /// `available`, `up-to-date`, or the stable code of what holds it back.
    pub code: String,
    /// The same in a sentence.
    pub sentence: String,
    /// Newer versions that can't be ordered, the highest first, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked: Vec<BlockedRelease>,
}

/// A version that an agent can't be ordered to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlockedRelease {
    /// The version.
    pub version: Version,
    /// A stable code.
    pub code: String,
    /// The same in a sentence.
    pub sentence: String,
}

/// Which versions run where, over all agents that are not retired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Inventory {
    /// When it was counted.
    pub at: Timestamp,
    /// How many agents there are.
    pub agents: u32,
    /// How many of them never reported.
    pub unreported: u32,
    /// By component.
    pub components: Vec<InventoryComponent>,
}

/// Where a component's versions run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InventoryComponent {
    /// The component.
    pub component: ComponentName,
    /// By version, the highest first.
    pub versions: Vec<InventoryVersion>,
}

/// How many agents run a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InventoryVersion {
    /// The version; absent: the component is named, and nothing of it is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Agents that have committed it.
    pub agents: u32,
    /// Agents whose running process was seen to be it.
    pub proved: u32,
    /// Agents that have it on trial.
    pub on_trial: u32,
    /// Agents where it failed.
    pub quarantined: u32,
}
