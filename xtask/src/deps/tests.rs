//! Each rule can fail: every test plants one offence.

use serde_json::{Value, json};

use super::*;

/// A world of packages, all of them members of the workspace but those in `foreign`.
fn world(members: &[&str], foreign: &[&str], edges: &[(&str, &str, Option<&str>)]) -> Metadata {
    let all: Vec<_> = members.iter().chain(foreign).collect();
    let packages: Vec<Value> = all.iter().map(|n| json!({"id": n, "name": n})).collect();
    let nodes: Vec<Value> = all
        .iter()
        .map(|name| {
            let deps: Vec<Value> = edges
                .iter()
                .filter(|(from, _, _)| from == *name)
                .map(|(_, to, kind)| json!({"pkg": to, "dep_kinds": [{"kind": kind}]}))
                .collect();
            json!({"id": name, "deps": deps})
        })
        .collect();
    serde_json::from_value(json!({
        "packages": packages,
        "workspace_members": members,
        "resolve": {"nodes": nodes},
    }))
    .expect("the world above has the shape of cargo metadata")
}

fn file(path: &str, text: &str) -> TextFile {
    TextFile { path: path.into(), text: text.to_owned() }
}

#[test]
fn an_edge_of_the_map_passes_and_any_other_fails() {
    let members = ["handover-model", "handover-engine", "handover-agent", "handover-cli"];
    let good = world(&members, &[], &[("handover-agent", "handover-engine", None)]);
    assert_eq!(check_edges(&good, MAP), Vec::<String>::new());
    for (from, to) in [
        ("handover-model", "handover-engine"),
        ("handover-cli", "handover-agent"),
        ("handover-agent", "handover-cli"),
    ] {
        let bad = world(&members, &[], &[(from, to, None)]);
        assert_eq!(check_edges(&bad, MAP).len(), 1, "{from} -> {to}");
    }
}

#[test]
fn tests_may_use_the_testkit_but_code_may_not() {
    let members = ["handover-engine", "handover-testkit"];
    let edge = |kind| world(&members, &[], &[("handover-engine", "handover-testkit", kind)]);
    assert!(check_edges(&edge(Some("dev")), MAP).is_empty());
    assert_eq!(check_edges(&edge(None), MAP).len(), 1);
    assert_eq!(check_edges(&edge(Some("build")), MAP).len(), 1);
}

#[test]
fn a_crate_outside_the_map_fails() {
    assert_eq!(check_edges(&world(&["handover-helpers"], &[], &[]), MAP).len(), 1);
}

#[test]
fn a_runtime_behind_two_edges_of_a_pure_crate_fails_with_its_way() {
    let edges = [("handover-trust", "clever", None), ("clever", "tokio", None)];
    let found = check_reach(&world(&["handover-trust"], &["clever", "tokio"], &edges));
    assert_eq!(found, ["a pure crate reaches IO: handover-trust -> clever -> tokio"]);
}

#[test]
fn a_runtime_for_tests_or_in_an_impure_crate_passes() {
    let dev = [("handover-trust", "tokio", Some("dev"))];
    assert!(check_reach(&world(&["handover-trust"], &["tokio"], &dev)).is_empty());
    let agent = [("handover-agent", "ureq", None)];
    assert!(check_reach(&world(&["handover-agent"], &["ureq"], &agent)).is_empty());
}

#[test]
fn every_impure_path_in_pure_source_fails() {
    for (left, right) in IMPURE_PATHS {
        let text = format!("fn a() {{ {left}::{right}::b(); }}");
        let found = check_sources(&[file("crates/engine/src/a.rs", &text)]);
        assert_eq!(found.len(), 1, "{left}::{right}");
    }
    for name in IMPURE_NAMES {
        let found = check_sources(&[file("crates/model/src/a.rs", &format!("let a = {name};"))]);
        assert_eq!(found.len(), 1, "{name}");
    }
}

#[test]
fn a_grouped_import_does_not_hide_files() {
    let found = check_sources(&[file("crates/trust/src/a.rs", "use std::{fmt, fs};")]);
    assert_eq!(found, ["crates/trust/src/a.rs:1: std::fs in a pure crate"]);
}

#[test]
fn tests_comments_and_other_crates_may_name_files() {
    let passes = [
        file("crates/engine/src/a.rs", "// std::fs\nlet a = \"std::fs\";"),
        file("crates/engine/src/a.rs", "#[cfg(test)]\nmod tests { use std::fs; }"),
        file("crates/engine/src/a/tests.rs", "use std::fs;"),
        file("crates/engine/tests/a.rs", "use std::fs;"),
        file("crates/agent/src/a.rs", "use std::fs;"),
    ];
    for passing in passes {
        assert!(check_sources(std::slice::from_ref(&passing)).is_empty(), "{}", passing.text);
    }
}
