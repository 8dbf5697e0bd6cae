//! Rollouts, groups, webhooks and the fleet-wide stop, against hosts whose agents do not run.

use std::fs::File;
use std::io::Write as _;

use serde_json::json;

use super::site::Site;

/// Three hosts at two sites, and two releases of `web`.
fn fleet() -> Site {
    let site = Site::with_repository();
    site.release("1.0.0");
    for (name, place) in [("web-1", "ost"), ("web-2", "ost"), ("web-3", "west")] {
        site.enrol(name);
        site.desk.well(&["agent", "label", name, &format!("site={place}")]);
    }
    site
}

fn write(site: &Site, name: &str, text: &str) {
    let mut file = File::create(site.desk.home().join(name)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn create<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["rollout", "create", "--component", "web", "--to", "1.0.0"], more].concat()
}

#[test]
fn a_rollout_is_previewed_created_shown_paused_resumed_and_aborted() {
    let site = fleet();
    let desk = &site.desk;
    let preview = [
        &["rollout", "preview", "--component", "web", "--to", "1.0.0"][..],
        &["--select", "label.site = ost"],
    ]
    .concat();
    let found = desk.json(&preview);
    assert_eq!((found["matched"].as_u64(), found["members"].as_u64()), (Some(2), Some(2)));
    let told = desk.well(&preview);
    assert!(told.contains("APPROVAL") && told.contains("100 %"), "{told}");
    assert_eq!(desk.json(&["rollout", "list"]), json!([]), "a preview moves nothing");

    let made = desk.json(&create(&["--select", "label.site=ost", "--approve-each"]));
    assert_eq!(made["name"], "web-1-0-0");
    assert_eq!(made["spec"]["select"], "label.site = ost");
    assert_eq!(desk.json(&["rollout", "list", "--open"])[0]["name"], "web-1-0-0");
    let shown = desk.well(&["rollout", "show", "web-1-0-0"]);
    assert!(shown.contains("web → 1.0.0") && shown.contains("approval"), "{shown}");
    let members = desk.json(&["rollout", "members", "web-1-0-0"]);
    let mut names: Vec<_> =
        members.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["web-1", "web-2"]);

    assert_eq!(
        desk.json(&["rollout", "pause", "web-1-0-0", "--reason", "lunch"])["state"],
        "paused"
    );
    // Whether the server began it before the pause is its affair.
    let resumed = desk.json(&["rollout", "resume", "web-1-0-0"])["state"].clone();
    assert!(resumed == "running" || resumed == "scheduled", "{resumed}");
    let told = desk.refused(2, &["rollout", "abort", "web-1-0-0"]);
    assert!(told.contains("--yes"), "{told}");
    assert_eq!(desk.json(&["rollout", "abort", "web-1-0-0", "--yes"])["state"], "aborted");
    assert_eq!(desk.run(&["rollout", "watch", "web-1-0-0"]).code, 3);
    assert_eq!(desk.json(&["rollout", "list", "--open"]), json!([]));
}

#[test]
fn what_can_not_be_rolled_out_is_refused_with_the_way_out_and_nothing_is_made() {
    let site = fleet();
    let desk = &site.desk;
    let told = desk.refused(2, &create(&["--select", "has label.site"]));
    assert!(told.contains("every agent there is, 3") && told.contains("--all"), "{told}");
    let told = desk.refused(3, &create(&["--select", "label.stie = ost"]));
    assert!(told.contains("site"), "{told}");
    let told = desk.refused(3, &create(&["--select", "name = web-1 and name = web-2"]));
    assert!(told.contains("selection.empty"), "{told}");
    let ended = desk.run(&create(&["--select", "label.site == ost"]));
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("label.site == ost\n"), "{}", ended.err);
    let percent = ["--select", "label.site = ost", "--percent", "50,20,100"];
    let told = desk.refused(2, &create(&percent));
    assert!(told.contains("strategy.percent: "), "{told}");
    desk.refused(5, &["rollout", "show", "web"]);
    assert_eq!(desk.json(&["rollout", "list"]), json!([]));
}

#[test]
fn a_file_is_applied_compared_and_applied_again() {
    let site = fleet();
    let desk = &site.desk;
    let file = "name: web-ost\ncomponent: web\nto: 1.0.0\nselect: label.site=ost\n\
                strategy: { kind: staged, approval: every }\n";
    write(&site, "web.yaml", file);
    let planned = desk.json(&["rollout", "apply", "-f", "web.yaml", "--dry-run"]);
    assert_eq!(planned["action"], "would_create");
    assert_eq!(desk.json(&["rollout", "list"]), json!([]));
    assert_eq!(desk.json(&["rollout", "apply", "-f", "web.yaml"])["action"], "created");
    assert_eq!(desk.json(&["rollout", "apply", "-f", "web.yaml"])["action"], "unchanged");
    assert_eq!(desk.json(&["rollout", "diff", "-f", "web.yaml"]), json!([]));

    write(&site, "web.yaml", &format!("{file}gate: {{ soak: 10m }}\n"));
    let told = desk.well(&["rollout", "diff", "-f", "web.yaml"]);
    assert_eq!(told, "- gate.soak: 0s\n+ gate.soak: 10m\n");
    let told = desk.refused(2, &["rollout", "apply", "-f", "web.yaml"]);
    assert!(told.contains("--yes"), "{told}");
    let changed = desk.json(&["rollout", "apply", "-f", "web.yaml", "--yes"]);
    assert_eq!(changed["action"], "changed");
    assert_eq!(changed["rollout"]["spec"]["gate"]["soak"], "10m");
    desk.refused(5, &["rollout", "apply", "-f", "absent.yaml"]);
}

#[test]
fn a_watcher_without_a_terminal_gets_a_line_for_each_change() {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;

    let site = fleet();
    site.desk.well(&create(&["--select", "label.site = ost", "--approve-each"]));
    let mut watching = site
        .desk
        .command(&["rollout", "watch", "web-1-0-0", "--every", "200ms"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut read_until = |wanted: &str| {
        let mut seen = Vec::new();
        for line in lines.by_ref().map_while(Result::ok) {
            if line.contains(wanted) {
                return;
            }
            seen.push(line);
        }
        panic!("{wanted:?} never came: {seen:?}");
    };
    read_until("held: approval");
    site.desk.well(&["rollout", "approve", "web-1-0-0"]);
    read_until("no longer held: approval");
    site.desk.well(&["rollout", "abort", "web-1-0-0", "--yes"]);
    read_until("is aborted");
    assert_eq!(watching.wait().unwrap().code(), Some(3));
}

#[test]
fn a_group_stands_for_its_selection_everywhere() {
    let site = fleet();
    let desk = &site.desk;
    let saved = desk.json(&["group", "set", "east", "--select", "label.site=ost", "--note", "x"]);
    assert_eq!(saved["select"], "label.site = ost");
    assert_eq!(desk.json(&["group", "list"])[0]["matched"], 2);
    assert!(desk.well(&["group", "show", "east"]).contains("web-1, web-2"));
    let found = desk.well(&["selection", "preview", "group:east and not name=web-1"]);
    assert!(found.contains("1 of 3 agents") && found.contains("web-2"), "{found}");
    let others = desk.json(&["agent", "list", "--select", "not group:east"]);
    assert_eq!((others[0]["name"].as_str(), others.as_array().unwrap().len()), (Some("web-3"), 1));
    let told = desk.refused(5, &["group", "show", "esat"]);
    assert!(told.contains("did you mean east?"), "{told}");
    desk.refused(3, &["agent", "list", "--select", "group:west"]);
    assert_eq!(desk.run(&["group", "set", "bad", "--select", "site = ost"]).code, 2);
    desk.well(&["group", "delete", "east"]);
    assert_eq!(desk.json(&["group", "list"]), json!([]));
}

#[test]
fn orders_are_given_by_selection_and_every_agent_needs_to_be_meant() {
    let site = fleet();
    let desk = &site.desk;
    let update = ["agent", "update", "--component", "web", "--to", "1.0.0", "--no-wait", "--yes"];
    let told = desk.refused(2, &[&update[..], &["--select", "has label.site"]].concat());
    assert!(told.contains("--all"), "{told}");
    let told = desk.refused(3, &[&update[..], &["--select", "name = web-1"]].concat());
    assert!(told.contains("no agent fits"), "none has the component: {told}");
    assert_eq!(desk.json(&["order", "list"]), json!([]));
}

#[test]
fn the_fleet_is_stopped_at_once_and_let_go_after_asking() {
    let site = Site::new();
    let desk = &site.desk;
    assert_eq!(desk.json(&["stop", "status"])["stopped"], false);
    assert_eq!(desk.json(&["stop", "on", "--reason", "bad disks"])["stopped"], true);
    let told = desk.refused(2, &["stop", "off"]);
    assert!(told.contains("bad disks") && told.contains("--yes"), "{told}");
    assert!(desk.well(&["stop", "status"]).contains("bad disks"));
    assert_eq!(desk.json(&["stop", "off", "--yes"])["stopped"], false);
}

#[test]
fn a_webhook_is_added_with_its_secret_shown_once_and_removed() {
    let site = Site::new();
    let desk = &site.desk;
    let made = desk.json(&["webhook", "add", "http://127.0.0.1:9/", "--kind", "rollout.halted"]);
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let listed = desk.well(&["webhook", "list"]);
    assert!(listed.contains(id) && listed.contains("rollout.halted"), "{listed}");
    assert!(!listed.contains(secret) && !desk.well(&["webhook", "show", id]).contains(secret));
    desk.well(&["webhook", "remove", id]);
    assert_eq!(desk.json(&["webhook", "list"]), json!([]));
    desk.refused(5, &["webhook", "show", id]);
}
