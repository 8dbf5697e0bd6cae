//! A signed repository, brought to the control plane.

use super::site::Site;

#[test]
fn a_release_is_published_listed_shown_and_its_graph_drawn() {
    let site = Site::with_repository();
    site.release("1.0.0");
    site.release("1.1.0");
    let desk = &site.desk;
    assert_eq!(desk.json(&["release", "list"])[0]["newest"]["stable"], "1.1.0");
    let shown = desk.json(&["release", "show", "web", "1.0.0"]);
    assert_eq!(shown[0]["sequence"], 1);
    let graph = desk.json(&["release", "graph", "web"]);
    assert_eq!(graph["edges"][0], serde_json::json!({ "from": "1.0.0", "to": "1.1.0" }));
    assert!(desk.refused(5, &["release", "show", "web", "7.0.0"]).contains("1.1.0"));
    desk.refused(5, &["release", "list", "--component", "nothing"]);
    // The same, from the directory.
    assert!(desk.well(&["release", "graph", "web", "--repo", "repository"]).contains("1.1.0"));
}

#[test]
fn publishing_again_uploads_the_timestamp_at_most() {
    let site = Site::with_repository();
    site.release("1.0.0");
    let refreshed = site.desk.run(&["repo", "refresh", "repository", "--server"]);
    assert_eq!(refreshed.code, 0, "{}", refreshed.err);
    let sent = refreshed.err.lines().find(|line| line.starts_with("uploaded ")).unwrap();
    let count: u32 = sent.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(count <= 2, "{sent}");
}

#[test]
fn a_repository_with_another_root_is_not_taken() {
    let site = Site::with_repository();
    let desk = &site.desk;
    desk.well(&["repo", "new-key", "evil.pem", "--no-passphrase"]);
    desk.well(&["repo", "init", "evil", "--root-key", "evil.pub"]);
    desk.well(&[
        "release",
        "sign",
        "evil/staging/root.tosign.json",
        "evil/staging/targets.tosign.json",
        "--key",
        "evil.pem",
    ]);
    desk.refused(3, &["release", "publish", "evil", "--server"]);
    assert_eq!(desk.json(&["release", "list"]), serde_json::json!([]));
}

#[test]
fn the_audit_trail_of_it_all_hangs_together_and_a_changed_row_shows() {
    let site = Site::with_repository();
    let desk = &site.desk;
    desk.well(&["token", "create"]);
    let verified = desk.json(&["audit", "verify"]);
    assert!(verified["rows"].as_u64().unwrap() > 1);
    desk.well(&["audit", "export", "trail.jsonl"]);
    let path = desk.home().join("trail.jsonl");
    let trail = std::fs::read_to_string(&path).unwrap();
    #[expect(clippy::disallowed_methods, reason = "what a forger would do")]
    std::fs::write(&path, trail.replace("token.create", "token.revoke")).unwrap();
    let told = desk.refused(6, &["audit", "verify", "--file", "trail.jsonl"]);
    assert!(told.contains("not what was written"), "{told}");
    assert!(desk.well(&["audit", "list", "--limit", "1"]).contains("token.create"));
}
