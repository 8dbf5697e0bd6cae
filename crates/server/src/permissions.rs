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

/// Every route of the server.
pub static ROUTES: &[Route] = &[
    route(Method::GET, "/health", Access::Anybody),
    route(Method::GET, "/agent/v1/ca", Access::Anybody),
    route(Method::POST, "/agent/v1/enroll", Access::Agent),
];

/// What a route's caller must be; `None`: the route can't be mounted.
pub fn access(method: &Method, path: &str) -> Option<Access> {
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
        assert_eq!(access(&Method::DELETE, "/health"), None);
        assert_eq!(access(&Method::GET, "/health"), Some(Access::Anybody));
    }

    #[test]
    fn no_route_stands_twice_in_the_table() {
        let all: BTreeSet<_> =
            ROUTES.iter().map(|route| (route.method.as_str(), route.path)).collect();
        assert_eq!(all.len(), ROUTES.len());
    }
}
