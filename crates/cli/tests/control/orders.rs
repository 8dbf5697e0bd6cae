//! Orders to a host whose agent does not run: given, seen, taken back.

use super::site::Site;

fn ordered(site: &Site) -> String {
    let words = ["agent", "update", "web-1", "--component", "web", "--to", "1.0.0", "--no-wait"];
    let order = site.desk.json(&words);
    assert_eq!(order["state"], "pending");
    order["id"].as_str().unwrap().to_owned()
}

#[test]
fn an_order_that_nobody_has_begun_is_cancelled_at_once() {
    let site = Site::with_repository();
    site.release("1.0.0");
    site.enrol("web-1");
    let order = ordered(&site);
    assert_eq!(site.desk.json(&["order", "list", "--open"])[0]["id"], order.as_str());
    let cancelled = site.desk.json(&["order", "cancel", &order]);
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!(site.desk.json(&["order", "list", "--open"]), serde_json::json!([]));
    assert!(site.desk.well(&["order", "show", &order]).contains("cancelled"));
    // To watch what has ended is to be told how.
    assert_eq!(site.desk.run(&["watch", &order]).code, 3);
}

#[test]
fn an_order_outlives_the_server_and_its_watcher_notices_the_end() {
    let mut site = Site::with_repository();
    site.release("1.0.0");
    site.enrol("web-1");
    let order = ordered(&site);
    let watching = site
        .desk
        .command(&["--output", "json", "watch", &order])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    site.server.kill();
    site.server.start_again();
    site.desk.well(&["order", "cancel", &order]);
    let ended = watching.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(3), "{}", String::from_utf8_lossy(&ended.stderr));
    let last: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(last["state"], "cancelled");
}

#[test]
fn an_order_that_makes_no_sense_is_refused_with_a_reason() {
    let site = Site::with_repository();
    site.release("1.0.0");
    site.enrol("web-1");
    let desk = &site.desk;
    let update = |to| ["agent", "update", "web-1", "--component", "web", "--to", to, "--no-wait"];
    let told = desk.refused(3, &update("9.9.9"));
    assert!(told.contains("9.9.9"), "{told}");
    let unknown = "order_00000000000000000000000000000000";
    desk.refused(5, &["order", "cancel", unknown]);
    assert_eq!(desk.run(&["order", "show", "order_x"]).code, 2);
    ordered(&site);
    // Another one for the same component has to say what becomes of the first.
    desk.refused(3, &update("1.0.0"));
    let words = [&update("1.0.0")[..], &["--supersede"]].concat();
    desk.well(&words);
}

#[test]
fn a_selection_of_hosts_is_counted_before_anything_is_ordered() {
    let site = Site::with_repository();
    site.release("1.0.0");
    site.enrol("web-1");
    site.enrol("web-2");
    let desk = &site.desk;
    let words = ["agent", "update", "web-1", "web-2", "--component", "web", "--to", "1.0.0"];
    let told = desk.refused(2, &words);
    assert!(told.contains("2 agents") && told.contains("--yes"), "{told}");
    assert_eq!(desk.json(&["order", "list"]), serde_json::json!([]));
    let orders = desk.json(&[&words[..], &["--yes", "--no-wait"]].concat());
    assert_eq!(orders.as_array().unwrap().len(), 2);
}
