//! Who may do what: every route of the server, in one table, with what its caller must be.
//!
//! Invariant: a route that is not in [`ROUTES`] can't be mounted, and one that is there is
//! reached only by someone to whom its [`Access`] is given. The default is no.

use http::Method;

use handover_model::api::Permission;

/// What a route's caller must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Anybody: health, and what is signed or pinned anyway.
    Anybody,
    /// An agent, or a host that enrols: the route authenticates those by itself.
    Agent,
    /// Whoever has the secret of what the path names: the route checks the signature by itself.
    Signed,
    /// The holder of any API token that counts.
    Known,
    /// The holder of an API token with this permission.
    Needs(Permission),
}

/// One route.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path, parameters in braces.
    pub path: &'static str,
    /// What its caller must be.
    pub access: Access,
}

const fn route(method: Method, path: &'static str, access: Access) -> Route {
    Route { method, path, access }
}

const fn get(path: &'static str, permission: Permission) -> Route {
    route(Method::GET, path, Access::Needs(permission))
}

const fn post(path: &'static str, permission: Permission) -> Route {
    route(Method::POST, path, Access::Needs(permission))
}

/// Every route of the server.
pub static ROUTES: &[Route] = &[
    route(Method::GET, "/agent/v1/ca", Access::Anybody),
    route(Method::POST, "/agent/v1/enroll", Access::Agent),
    route(Method::POST, "/agent/v1/sync", Access::Agent),
    route(Method::GET, "/healthz", Access::Anybody),
    route(Method::GET, "/readyz", Access::Anybody),
    get("/metrics", Permission::ServerRead),
    route(Method::GET, "/repository/metadata/{name}", Access::Anybody),
    route(Method::GET, "/repository/targets/{*path}", Access::Anybody),
    route(Method::GET, "/api/v1/openapi.json", Access::Anybody),
    get("/api/v1/info", Permission::ServerRead),
    route(Method::GET, "/api/v1/whoami", Access::Known),
    get("/api/v1/agents", Permission::AgentsRead),
    get("/api/v1/agents/{agent}", Permission::AgentsRead),
    route(Method::PATCH, "/api/v1/agents/{agent}", Access::Needs(Permission::AgentsWrite)),
    post("/api/v1/agents/{agent}/retire", Permission::AgentsWrite),
    get("/api/v1/agents/{agent}/updates/available", Permission::AgentsRead),
    post("/api/v1/agents/{agent}/update", Permission::OrdersWrite),
    post("/api/v1/agents/{agent}/rollback", Permission::OrdersWrite),
    route(Method::PUT, PIN, Access::Needs(Permission::OrdersWrite)),
    route(Method::DELETE, PIN, Access::Needs(Permission::OrdersWrite)),
    post("/api/v1/agents/{agent}/quarantine/clear", Permission::OrdersWrite),
    get("/api/v1/agents/{agent}/explain", Permission::AgentsRead),
    get("/api/v1/agents/{agent}/timeline", Permission::AgentsRead),
    get("/api/v1/agents/{agent}/reports", Permission::AgentsRead),
    get("/api/v1/orders", Permission::OrdersRead),
    get("/api/v1/orders/{order}", Permission::OrdersRead),
    post("/api/v1/orders/{order}/cancel", Permission::OrdersWrite),
    get("/api/v1/rollouts", Permission::RolloutsRead),
    post("/api/v1/rollouts", Permission::RolloutsWrite),
    post("/api/v1/rollouts/preview", Permission::RolloutsRead),
    get("/api/v1/rollouts/{rollout}", Permission::RolloutsRead),
    route(Method::PUT, "/api/v1/rollouts/{rollout}", Access::Needs(Permission::RolloutsWrite)),
    get("/api/v1/rollouts/{rollout}/members", Permission::RolloutsRead),
    post("/api/v1/rollouts/{rollout}/approve", Permission::RolloutsApprove),
    post("/api/v1/rollouts/{rollout}/pause", Permission::RolloutsWrite),
    post("/api/v1/rollouts/{rollout}/resume", Permission::RolloutsWrite),
    post("/api/v1/rollouts/{rollout}/abort", Permission::RolloutsWrite),
    post("/api/v1/rollouts/{rollout}/revert", Permission::RolloutsWrite),
    post("/api/v1/rollouts/{rollout}/leave-out", Permission::RolloutsWrite),
    post("/api/v1/selections/preview", Permission::RolloutsRead),
    get("/api/v1/rollouts/{rollout}/checks", Permission::RolloutsRead),
    get("/api/v1/rollouts/{rollout}/checks/{check}/secret", Permission::RolloutsWrite),
    route(Method::POST, "/api/v1/rollouts/{rollout}/checks/{check}", Access::Signed),
    get("/api/v1/groups", Permission::RolloutsRead),
    get("/api/v1/groups/{group}", Permission::RolloutsRead),
    route(Method::PUT, "/api/v1/groups/{group}", Access::Needs(Permission::RolloutsWrite)),
    route(Method::DELETE, "/api/v1/groups/{group}", Access::Needs(Permission::RolloutsWrite)),
    get("/api/v1/stop", Permission::RolloutsRead),
    route(Method::PUT, "/api/v1/stop", Access::Needs(Permission::FleetStop)),
    get("/api/v1/webhooks", Permission::Webhooks),
    post("/api/v1/webhooks", Permission::Webhooks),
    get("/api/v1/webhooks/{webhook}", Permission::Webhooks),
    route(Method::DELETE, "/api/v1/webhooks/{webhook}", Access::Needs(Permission::Webhooks)),
    get("/api/v1/tokens", Permission::TokensRead),
    post("/api/v1/tokens", Permission::TokensWrite),
    route(Method::DELETE, "/api/v1/tokens/{token}", Access::Needs(Permission::TokensWrite)),
    get("/api/v1/api-tokens", Permission::ApiTokens),
    post("/api/v1/api-tokens", Permission::ApiTokens),
    route(Method::DELETE, "/api/v1/api-tokens/{token}", Access::Needs(Permission::ApiTokens)),
    get("/api/v1/releases", Permission::ReleasesRead),
    get("/api/v1/releases/{component}", Permission::ReleasesRead),
    get("/api/v1/releases/{component}/graph", Permission::ReleasesRead),
    route(Method::PUT, STAGING, Access::Needs(Permission::ReleasesPublish)),
    post("/api/v1/repository/publish", Permission::ReleasesPublish),
    get("/api/v1/inventory", Permission::AgentsRead),
    get("/api/v1/audit", Permission::AuditRead),
    get("/api/v1/audit/checkpoints", Permission::AuditRead),
    get("/api/v1/events", Permission::EventsRead),
];

const PIN: &str = "/api/v1/agents/{agent}/pins/{component}";
const STAGING: &str = "/api/v1/repository/staging/{*path}";

/// What a route's caller must be; `None`: the route can't be mounted.
pub(crate) fn access(method: &Method, path: &str) -> Option<Access> {
    ROUTES
        .iter()
        .find(|route| route.method == *method && route.path == path)
        .map(|route| route.access)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_route_that_is_not_in_the_table_has_no_access() {
        assert_eq!(access(&Method::DELETE, "/healthz"), None);
        assert_eq!(access(&Method::GET, "/healthz"), Some(Access::Anybody));
    }

    #[test]
    fn no_route_stands_twice_in_the_table() {
        let all: BTreeSet<_> =
            ROUTES.iter().map(|route| (route.method.as_str(), route.path)).collect();
        assert_eq!(all.len(), ROUTES.len());
    }
}
