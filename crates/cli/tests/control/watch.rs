//! The event stream, cut and resumed.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use super::site::Site;

#[test]
fn a_watcher_loses_nothing_and_sees_nothing_twice_when_the_server_restarts() {
    let mut site = Site::with_repository();
    site.enrol("web-1");
    let mut watching = site
        .desk
        .command(&["--output", "json", "watch", "web-1", "--after", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut numbers = Vec::new();
    let mut read_until = |label: &str| {
        for line in lines.by_ref() {
            let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            numbers.push(event["seq"].as_u64().unwrap());
            if event["kind"] == "agent.labels" && event["data"].to_string().contains(label) {
                return;
            }
        }
        panic!("the stream ended before {label}");
    };
    site.desk.well(&["agent", "label", "web-1", "round=one"]);
    read_until("one");
    site.server.kill();
    site.server.start_again();
    site.desk.well(&["agent", "label", "web-1", "round=two"]);
    read_until("two");
    watching.kill().unwrap();
    watching.wait().unwrap();
    let rising = numbers.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(rising, "{numbers:?}");
}

#[test]
fn a_watcher_whose_reader_leaves_ends_by_itself() {
    let site = Site::with_repository();
    site.enrol("web-1");
    let mut watching = site
        .desk
        .command(&["watch", "--after", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(watching.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(!first.is_empty());
    // The pipe is closed now: the next event finds nobody.
    site.desk.well(&["agent", "label", "web-1", "a=1"]);
    site.desk.well(&["agent", "label", "web-1", "a=2"]);
    assert_eq!(watching.wait().unwrap().code(), Some(0));
}
