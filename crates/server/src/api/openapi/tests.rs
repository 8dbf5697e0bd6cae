use std::collections::BTreeSet;

use super::*;
use crate::ROUTES;
use crate::permissions::Access;

/// `docs/openapi.json`, which is what was promised to everybody outside.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let text = text();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        crate::files::write(COMMITTED.into(), text.as_bytes(), 0o644).unwrap();
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    assert!(
        committed == text,
        "docs/openapi.json is not what the server serves. If the change is meant, and takes \
         nothing from those who rely on it: UPDATE_OPENAPI=1 cargo test -p handover-server openapi"
    );
}

#[test]
fn every_route_is_described_and_everything_described_is_a_route() {
    let routes: BTreeSet<_> = ROUTES
        .iter()
        .filter(|route| !route.path.starts_with("/agent/"))
        .map(|route| (route.method.as_str(), route.path))
        .collect();
    let described: BTreeSet<_> =
        operations().map(|operation| (operation.method, operation.path)).collect();
    assert_eq!(routes, described);
}

#[test]
fn everything_that_changes_something_needs_a_permission() {
    for route in ROUTES.iter().filter(|route| !route.path.starts_with("/agent/")) {
        let is_open = matches!(route.access, Access::Anybody | Access::Known);
        assert!(!is_open || route.method == http::Method::GET, "{route:?}");
    }
    let document: serde_json::Value = serde_json::from_str(&text()).unwrap();
    let permission = &document["paths"]["/api/v1/agents/{agent}/update"]["post"]["x-permission"];
    assert_eq!(permission, "orders:write");
}

#[test]
fn every_schema_that_is_named_is_there() {
    let text = text();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let named: BTreeSet<_> = text
        .split("\"#/components/schemas/")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let missing: Vec<_> = named.into_iter().filter(|name| !schemas.contains_key(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
