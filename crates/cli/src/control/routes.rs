//! Where things are on the server.

use std::fmt::Display;

use super::api::encoded;

/// The token that speaks.
pub(crate) const WHOAMI: &str = "/api/v1/whoami";
/// The server about itself.
pub(crate) const SERVER: &str = "/api/v1/info";
/// All agents.
pub(crate) const AGENTS: &str = "/api/v1/agents";
/// All orders.
pub(crate) const ORDERS: &str = "/api/v1/orders";
/// Enrolment tokens.
pub(crate) const TOKENS: &str = "/api/v1/tokens";
/// API tokens.
pub(crate) const API_TOKENS: &str = "/api/v1/api-tokens";
/// What the repository offers.
pub(crate) const RELEASES: &str = "/api/v1/releases";
/// Which versions run where.
pub(crate) const INVENTORY: &str = "/api/v1/inventory";
/// The audit trail.
pub(crate) const AUDIT: &str = "/api/v1/audit";
/// What the audit trail's head was, signed.
pub(crate) const CHECKPOINTS: &str = "/api/v1/audit/checkpoints";
/// What happens, as it happens.
pub(crate) const STREAM: &str = "/api/v1/events";
/// The server's staging area.
pub(crate) const STAGING: &str = "/api/v1/repository/staging";
/// Swaps staging in.
pub(crate) const PUBLISH: &str = "/api/v1/repository/publish";

/// Rollouts.
pub(crate) const ROLLOUTS: &str = "/api/v1/rollouts";
/// What a rollout would do.
pub(crate) const ROLLOUT_PREVIEW: &str = "/api/v1/rollouts/preview";
/// What a selection matches.
pub(crate) const SELECTION_PREVIEW: &str = "/api/v1/selections/preview";
/// Saved groups.
pub(crate) const GROUPS: &str = "/api/v1/groups";
/// Webhooks.
pub(crate) const WEBHOOKS: &str = "/api/v1/webhooks";
/// The fleet-wide stop.
pub(crate) const STOP: &str = "/api/v1/stop";

/// `base/part`.
pub(crate) fn one(base: &str, part: impl Display) -> String {
    format!("{base}/{}", encoded(&part.to_string()))
}

/// Something of one agent.
pub(crate) fn of_agent(agent: impl Display, what: &str) -> String {
    format!("{}/{what}", one(AGENTS, agent))
}

/// A path with those parameters that there are.
pub(crate) fn query(path: &str, parameters: &[(&str, Option<String>)]) -> String {
    let mut all = path.to_owned();
    for (name, value) in parameters {
        if let Some(value) = value {
            let joint = if all.contains('?') { '&' } else { '?' };
            all = format!("{all}{joint}{name}={}", encoded(value));
        }
    }
    all
}
