//! What an API token lets its holder do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One permission. Each route asks for one; a token has a set of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Permission {
    /// Everything, that which is added later too.
    #[serde(rename = "admin")]
    Admin,
    /// See agents, their reports, timelines and explanations, and the inventory.
    #[serde(rename = "agents:read")]
    AgentsRead,
    /// Change labels; retire agents.
    #[serde(rename = "agents:write")]
    AgentsWrite,
    /// See orders.
    #[serde(rename = "orders:read")]
    OrdersRead,
    /// Give and cancel orders: update, roll back, pin, unpin, clear quarantine.
    #[serde(rename = "orders:write")]
    OrdersWrite,
    /// See rollouts, their members, what selections match, and saved groups.
    #[serde(rename = "rollouts:read")]
    RolloutsRead,
    /// Make, change, pause, resume, revert and abort rollouts; save groups.
    #[serde(rename = "rollouts:write")]
    RolloutsWrite,
    /// Let a wave begin that waits for a person.
    #[serde(rename = "rollouts:approve")]
    RolloutsApprove,
    /// Stop the whole fleet, and let it go on.
    #[serde(rename = "fleet:stop")]
    FleetStop,
    /// See, make and remove webhooks.
    #[serde(rename = "webhooks")]
    Webhooks,
    /// See enrolment tokens; never their secrets.
    #[serde(rename = "tokens:read")]
    TokensRead,
    /// Make and revoke enrolment tokens.
    #[serde(rename = "tokens:write")]
    TokensWrite,
    /// See, make and revoke API tokens with no more permissions than the maker's own.
    #[serde(rename = "api-tokens")]
    ApiTokens,
    /// See releases and their graph.
    #[serde(rename = "releases:read")]
    ReleasesRead,
    /// Publish signed repository files.
    #[serde(rename = "releases:publish")]
    ReleasesPublish,
    /// See and export the audit trail.
    #[serde(rename = "audit:read")]
    AuditRead,
    /// Follow the event stream.
    #[serde(rename = "events:read")]
    EventsRead,
    /// See the server's particulars and metrics.
    #[serde(rename = "server:read")]
    ServerRead,
}

/// A text that is no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a permission; there are {}", all_names())]
pub struct UnknownPermission {
    /// What was offered, cut to 80 characters.
    pub text: String,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 18] = [
        Self::Admin,
        Self::AgentsRead,
        Self::AgentsWrite,
        Self::OrdersRead,
        Self::OrdersWrite,
        Self::RolloutsRead,
        Self::RolloutsWrite,
        Self::RolloutsApprove,
        Self::FleetStop,
        Self::Webhooks,
        Self::TokensRead,
        Self::TokensWrite,
        Self::ApiTokens,
        Self::ReleasesRead,
        Self::ReleasesPublish,
        Self::AuditRead,
        Self::EventsRead,
        Self::ServerRead,
    ];

    /// Its name, as in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::AgentsRead => "agents:read",
            Self::AgentsWrite => "agents:write",
            Self::OrdersRead => "orders:read",
            Self::OrdersWrite => "orders:write",
            Self::RolloutsRead => "rollouts:read",
            Self::RolloutsWrite => "rollouts:write",
            Self::RolloutsApprove => "rollouts:approve",
            Self::FleetStop => "fleet:stop",
            Self::Webhooks => "webhooks",
            Self::TokensRead => "tokens:read",
            Self::TokensWrite => "tokens:write",
            Self::ApiTokens => "api-tokens",
            Self::ReleasesRead => "releases:read",
            Self::ReleasesPublish => "releases:publish",
            Self::AuditRead => "audit:read",
            Self::EventsRead => "events:read",
            Self::ServerRead => "server:read",
        }
    }

    /// Whether someone who has `held` may do what asks for this.
    pub fn is_granted_by<'a>(self, held: impl IntoIterator<Item = &'a Self>) -> bool {
        held.into_iter().any(|one| *one == Self::Admin || *one == self)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|one| one.name() == text);
        found.ok_or_else(|| UnknownPermission { text: text.chars().take(80).collect() })
    }
}

fn all_names() -> String {
    Permission::ALL.map(Permission::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_documents_and_on_the_command_line_are_the_same() {
        for one in Permission::ALL {
            let json = serde_json::to_value(one).expect("a permission is text");
            assert_eq!(json, one.name());
            assert_eq!(one.name().parse(), Ok(one));
        }
    }

    #[test]
    fn nothing_grants_what_it_does_not_name_but_admin() {
        let reader = [Permission::AgentsRead, Permission::OrdersRead];
        assert!(!Permission::OrdersWrite.is_granted_by(&reader));
        assert!(!Permission::Admin.is_granted_by(&reader));
        assert!(Permission::ApiTokens.is_granted_by(&[Permission::Admin]));
        assert!(!Permission::AgentsRead.is_granted_by(&[]));
    }
}
