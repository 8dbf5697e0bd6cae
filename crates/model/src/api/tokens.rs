//! Tokens: those that enrol hosts, and those that call the API.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Permission;
use crate::{AgentId, AgentName, Labels, Millis, Timestamp, TokenId};

/// What an enrolment token should be. It enrols one host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Labels that the agent gets.
    #[serde(default)]
    pub labels: Labels,
    /// The only name that it may be used under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<AgentName>,
    /// How long it can be used; an hour when absent, at most 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Millis>,
    /// Retire the agent by itself after this long a silence; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_after: Option<Millis>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 200))]
    pub note: Option<String>,
}

/// How a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// It can be used.
    Open,
    /// It was used (enrolment tokens).
    Used,
    /// Its time is over.
    Expired,
    /// A person revoked it, or a restored database voided it.
    Revoked,
}

/// An enrolment token, without its secret, which nobody has but the one who made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenInfo {
    /// Its id.
    pub id: TokenId,
    /// How it stands.
    pub state: TokenState,
    /// Labels that the agent gets.
    pub labels: Labels,
    /// The only name that it may be used under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<AgentName>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Retires the agent after this long a silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_after: Option<Millis>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When its time is over.
    pub expires: Timestamp,
    /// The agent that it enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// When it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// Counts changes; the `ETag` is made of it.
    pub generation: u64,
}

/// A new enrolment token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenCreated {
    /// What it is.
    pub info: TokenInfo,
    /// The one word to give to `handover-agent enroll`. Shown this once.
    pub token: String,
}

/// What an API token should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ApiTokenRequest {
    /// Who or what it is for; stands in the audit trail beside the token's id.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 80))]
    pub name: String,
    /// What it may; no more than the maker may.
    #[cfg_attr(feature = "openapi", schema(min_items = 1))]
    pub permissions: BTreeSet<Permission>,
    /// How long it can be used; 90 days when absent, at most 10 years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Millis>,
}

/// An API token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiTokenInfo {
    /// Its id.
    pub id: TokenId,
    /// Who or what it is for.
    pub name: String,
    /// How it stands.
    pub state: TokenState,
    /// What it may.
    pub permissions: BTreeSet<Permission>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When its time is over; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// Counts changes; the `ETag` is made of it.
    pub generation: u64,
}

/// A new API token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiTokenCreated {
    /// What it is.
    pub info: ApiTokenInfo,
    /// The one word to give to `handover login`. Shown this once.
    pub token: String,
}

impl std::fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenCreated({:?}, [secret])", self.info)
    }
}

impl std::fmt::Debug for ApiTokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiTokenCreated({:?}, [secret])", self.info)
    }
}
