//! The server about itself.

use serde::{Deserialize, Serialize};

use crate::{ComponentName, Digest, Timestamp, Version};

/// What a server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServerInfo {
    /// Its version.
    pub version: Version,
    /// The life of its database; raised by every restore.
    pub epoch: u64,
    /// `sqlite` or `postgresql`.
    pub database: String,
    /// The number of the database's schema.
    pub schema: u32,
    /// The oldest agent protocol that it speaks.
    pub oldest_protocol: u32,
    /// The newest agent protocol that it speaks.
    pub protocol: u32,
    /// Since when it runs.
    pub started_at: Timestamp,
    /// Its clock.
    pub at: Timestamp,
    /// SHA-256 of the channel CA's certificates, the one in use first.
    pub ca_pins: Vec<Digest>,
    /// The public key that signs checkpoints of the audit trail, as in key files: to be kept
    /// apart, and checked against when the trail is verified.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub checkpoint_key: serde_json::Value,
    /// The repository that it tells agents of.
    pub repository: RepositoryInfo,
}

/// A repository, as the server has verified it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RepositoryInfo {
    /// The base address of its metadata.
    pub metadata: String,
    /// The base address of its packages.
    pub targets: String,
    /// SHA-256 of its first root, once one is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Digest>,
    /// When its metadata expires, the first of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The components that it offers.
    pub components: Vec<ComponentName>,
    /// What is wrong with it, if something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Whether the server is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// Whether every check passed.
    pub ok: bool,
    /// Each check.
    pub checks: Vec<HealthCheck>,
}

/// One look at the server's own health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HealthCheck {
    /// What was looked at.
    pub name: String,
    /// Whether it is well.
    pub ok: bool,
    /// What was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
