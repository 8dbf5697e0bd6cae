//! Bringing signed repository files to the control plane, which can verify and not sign.

use serde::{Deserialize, Serialize};

use crate::{ComponentName, Digest, Timestamp};

/// A file that was put into staging.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Staged {
    /// Its path in the repository: `metadata/…` or `targets/…`.
    pub path: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub digest: Digest,
}

/// A wish to publish what is in staging.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// SHA-256 of `1.root.json`, as its owner knows it. Needed when the server has no repository
    /// yet, which it then pins for good; ignored otherwise unless it differs, which is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_root: Option<Digest>,
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Published {
    /// The version of the root.
    pub root: u64,
    /// The version of the timestamp.
    pub timestamp: u64,
    /// When the metadata expires, the first of it.
    pub expires: Timestamp,
    /// The components that it offers.
    pub components: Vec<ComponentName>,
    /// How many files changed.
    pub files: u32,
}
