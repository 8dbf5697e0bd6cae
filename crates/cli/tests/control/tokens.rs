//! Tokens for hosts, and tokens for people.

use handover_model::wire::{EnrolToken, LoginToken};

use super::desk::Desk;
use super::site::Site;

#[test]
fn a_token_is_made_listed_without_its_secret_and_revoked() {
    let site = Site::with_repository();
    let desk = &site.desk;
    let made = desk.json(&[
        "token",
        "create",
        "--bind",
        "site=ost",
        "--expires",
        "2h",
        "--note",
        "rack 7",
    ]);
    let text = made["token"].as_str().unwrap();
    let secret = EnrolToken::parse(text).unwrap().secret;
    let listed = desk.json(&["token", "list"]);
    assert_eq!(listed[0]["labels"]["site"], "ost");
    assert_eq!(listed[0]["state"], "open");
    assert!(!listed.to_string().contains(&secret));
    let id = listed[0]["id"].as_str().unwrap();
    desk.well(&["token", "revoke", id]);
    assert_eq!(desk.json(&["token", "list"])[0]["state"], "revoked");
    assert_eq!(desk.json(&["token", "list", "--open"]), serde_json::json!([]));
}

#[test]
fn many_tokens_are_many_lines_and_all_different() {
    let site = Site::with_repository();
    let out = site.desk.well(&["token", "create", "--count", "3", "--ephemeral"]);
    let lines: std::collections::BTreeSet<_> = out.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| EnrolToken::parse(line).is_ok()));
    let listed = site.desk.json(&["token", "list"]);
    assert_eq!(listed[0]["ephemeral_after"], "24h");
}

#[test]
fn a_person_with_few_permissions_is_told_which_one_is_missing() {
    let site = Site::new();
    let made = site.desk.json(&["api-token", "create", "reader", "--may", "agents:read"]);
    let token = made["token"].as_str().unwrap();
    LoginToken::parse(token).unwrap();
    let reader = Desk::new();
    reader.well(&["login", token]);
    assert_eq!(reader.json(&["agent", "list"]), serde_json::json!([]));
    let told = reader.refused(3, &["token", "create"]);
    assert!(told.contains("tokens:write"), "{told}");
    let id = made["info"]["id"].as_str().unwrap();
    site.desk.well(&["api-token", "revoke", id]);
    reader.refused(3, &["agent", "list"]);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_made() {
    let site = Site::new();
    let desk = &site.desk;
    assert!(desk.refused(2, &["token", "create", "--bind", "Site=x"]).contains("label"));
    assert!(
        desk.refused(2, &["token", "create", "--count", "2", "--name", "a"]).contains("--name")
    );
    assert_eq!(desk.run(&["token", "create", "--count", "0"]).code, 2);
    assert_eq!(desk.run(&["token", "create", "--expires", "soon"]).code, 2);
    assert_eq!(desk.run(&["api-token", "create", "x", "--may", "everything"]).code, 2);
    assert_eq!(desk.json(&["token", "list"]), serde_json::json!([]));
}
