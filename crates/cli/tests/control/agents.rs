//! Agents: looked at, labelled, pinned, sent away.

use super::site::Site;

#[test]
fn an_enrolled_host_is_listed_shown_labelled_and_retired() {
    let site = Site::with_repository();
    site.enrol("web-1");
    let desk = &site.desk;
    assert_eq!(desk.json(&["agent", "list"])[0]["name"], "web-1");
    assert!(desk.well(&["agent", "list"]).contains("web-1"));

    desk.well(&["agent", "label", "web-1", "site=ost", "tier=front"]);
    desk.well(&["agent", "label", "web-1", "tier=back", "--remove", "site"]);
    let shown = desk.json(&["agent", "show", "web-1"]);
    assert_eq!(shown["labels"], serde_json::json!({ "tier": "back" }));
    assert_eq!(desk.json(&["agent", "list", "--label", "tier=back"])[0]["name"], "web-1");
    assert_eq!(desk.json(&["agent", "list", "--label", "tier=front"]), serde_json::json!([]));

    let told = desk.refused(2, &["agent", "retire", "web-1"]);
    assert!(told.contains("--yes"), "{told}");
    desk.well(&["agent", "retire", "web-1", "--yes", "--reason", "scrapped"]);
    assert_eq!(desk.json(&["agent", "list", "--state", "retired"])[0]["name"], "web-1");
}

#[test]
fn a_change_of_what_somebody_else_changed_since_is_refused() {
    let site = Site::with_repository();
    site.enrol("web-1");
    let desk = &site.desk;
    let seen = desk.json(&["agent", "show", "web-1"])["generation"].to_string();
    desk.well(&["agent", "label", "web-1", "site=ost", "--generation", &seen]);
    let told = desk.refused(3, &["agent", "label", "web-1", "site=west", "--generation", &seen]);
    assert!(told.contains("changed"), "{told}");
    assert_eq!(desk.json(&["agent", "show", "web-1"])["labels"]["site"], "ost");
}

#[test]
fn an_unknown_agent_is_answered_with_the_nearest_names() {
    let site = Site::with_repository();
    site.enrol("web-1");
    let told = site.desk.refused(5, &["agent", "show", "wbe-1"]);
    assert!(told.contains("did you mean web-1?"), "{told}");
    let told = site.desk.refused(5, &["agent", "update", "db", "--to", "1.0.0"]);
    assert!(!told.contains("did you mean"), "{told}");
    site.desk.refused(2, &["agent", "label", "web-1", "Bad Key=1"]);
    site.desk.refused(2, &["agent", "label", "web-1"]);
}

#[test]
fn a_pin_is_set_explained_and_taken_away() {
    let site = Site::with_repository();
    site.enrol("web-1");
    let desk = &site.desk;
    desk.well(&["agent", "pin", "web-1", "web", ">=1.0.0, <2.0.0", "--reason", "not yet"]);
    let shown = desk.json(&["agent", "show", "web-1"]);
    assert_eq!(shown["pins"][0]["component"], "web");
    assert_eq!(shown["pins"][0]["reason"], "not yet");
    assert!(desk.well(&["agent", "explain", "web-1", "web"]).contains("web"));
    desk.well(&["agent", "unpin", "web-1", "web"]);
    assert_eq!(desk.run(&["agent", "pin", "web-1", "web", "newest"]).code, 2);
}

#[test]
fn every_list_fits_a_narrow_terminal_and_reads_as_json_and_yaml() {
    let site = Site::with_repository();
    site.release("1.0.0");
    site.enrol("web-1");
    let desk = &site.desk;
    desk.well(&["agent", "update", "web-1", "--component", "web", "--to", "1.0.0", "--no-wait"]);
    let lists: [&[&str]; 8] = [
        &["agent", "list"],
        &["agent", "show", "web-1"],
        &["agent", "timeline", "web-1"],
        &["order", "list"],
        &["token", "list"],
        &["api-token", "list"],
        &["inventory"],
        &["audit", "list"],
    ];
    for words in lists {
        let output = desk.command(words).env("COLUMNS", "60").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        let wide = text.lines().find(|line| line.chars().count() > 60);
        // What is no table keeps its length: names and ids are never cut in a single answer.
        assert!(words.contains(&"show") || wide.is_none(), "{words:?}: {wide:?}");
        assert!(!text.contains('\u{1b}'), "{words:?} is coloured");
        let json = without_clock(desk.json(words));
        let yaml = desk.well(&[&["--output", "yaml"], words].concat());
        let read: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(without_clock(read), json, "{words:?}");
    }
}

/// An answer without the time at which it was given.
fn without_clock(mut answer: serde_json::Value) -> serde_json::Value {
    if let Some(fields) = answer.as_object_mut() {
        fields.remove("at");
    }
    answer
}
