//! The real `handover-agent` with a control plane: enrolment, orders, reports, and what survives
//! a kill.

#[cfg(test)]
mod host;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod later;
#[cfg(test)]
mod plane;
#[cfg(test)]
#[expect(dead_code, reason = "what only the follow tests use")]
#[path = "../follow/site.rs"]
mod site;

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use handover_agent::real_world::{Clock as _, RealClock, Stop};
use handover_model::wire::{Action, OrderStage};
use host::{Running, enrolled, framed, runs_of_web, update};
use plane::{Plane, is_done};
use site::{Site, web};

/// Waits for a condition, at most a minute: other tests may have the machine.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let (pause, clock) = (Stop::never(), RealClock::start());
    while clock.now().mono < Duration::from_mins(1) {
        if holds() {
            return;
        }
        pause.wait(Duration::from_millis(10));
    }
    panic!("never happened: {what}");
}

#[test]
fn one_command_enrols_a_host_and_the_same_again_changes_nothing() {
    let site = Site::new();
    let (plane, token) = Plane::start(&site);
    let file = site.path().join("token");
    handover_hoststeps::disk::write(&file, token.as_bytes(), 0o600).unwrap();
    let (code, out, said) =
        site.run(&["enroll", "--token-file", file.as_str(), "--name", "host-1"]);
    assert_eq!(code, 0, "{said}");
    assert!(out.contains("host-1 is enrolled at https://127.0.0.1"), "{out}");
    let control = site.root().join("control");
    let mode =
        |path: &camino::Utf8Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&control), 0o700);
    for entry in control.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        assert_eq!(mode(&path), 0o600, "{path}");
    }
    assert!(!control.join("enrolling.json").exists());
    let policy = std::fs::read_to_string(site.root().join("policy.yaml")).unwrap();
    assert!(policy.contains("- name: handover-agent\n    mode: manual"), "{policy}");
    let (code, _, said) = site.run(&["enroll", &token]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(plane.with(|books| books.enrolled.len()), 1, "nobody was asked twice");
}

#[test]
fn an_enrolment_that_was_cut_before_its_answer_was_kept_leads_to_the_same_agent() {
    let site = Site::new();
    let (plane, token) = Plane::start(&site);
    let (code, _, said) = site.run(&["enroll", &token, "--name", "host-1"]);
    assert_eq!(code, 0, "{said}");
    // As if the power had gone between the control plane's yes and the disk's.
    let control = site.root().join("control");
    let identity: serde_json::Value = framed(&control.join("identity.json"));
    let begun = serde_json::json!({ "token": identity["token"], "key": identity["key"] });
    let bytes = handover_model::seal_framed("enrolling", 1, &begun).unwrap();
    handover_hoststeps::disk::write(&control.join("enrolling.json"), &bytes, 0o600).unwrap();
    handover_hoststeps::disk::remove_tree(&control.join("identity.json")).unwrap();
    let (code, _, said) = site.run(&["enroll", &token]);
    assert_eq!(code, 0, "{said}");
    // The fake refuses a second key.
    assert_eq!(plane.with(|books| books.enrolled.len()), 2);
}

#[test]
fn an_ordered_component_is_installed_and_its_running_process_proved() {
    let (mut site, plane) = enrolled();
    site.publish_stock("1.0.0", 1, true);
    let _agent = Running::agent(&site);
    let _launcher = Running::launcher(&site, "web");
    let order = plane.order(update(None));
    let end = plane.end_of(order);
    assert!(is_done(&end), "{end:?}");
    let stages: Vec<_> = plane.said(order).iter().map(|said| said.stage).collect();
    assert_eq!(stages[0], OrderStage::Accepted, "{stages:?}");
    assert!(stages.contains(&OrderStage::Running), "{stages:?}");
    let state = plane.state().unwrap();
    let seen = state.components.iter().find(|each| each.component == web()).unwrap();
    assert_eq!(seen.current, end.release);
    let proof = seen.proof.as_ref().unwrap();
    assert!(proof.proved && Some(&proof.release) == end.release.as_ref(), "{proof:?}");
    assert_eq!(seen.mode, handover_model::Mode::Manual, "it came by order");
    // And the next version, with what the one who ordered saw.
    site.publish_stock("1.1.0", 2, true);
    let mut outdated = plane.draft(update(Some("1.1.0")));
    outdated.expect =
        Some(handover_model::wire::Expect { current: Some("0.9.0".parse().unwrap()) });
    plane.hand_out(&outdated);
    let end = plane.end_of(outdated.id);
    assert_eq!(end.code.as_deref(), Some("order.unexpected"), "{end:?}");
    let mut fresh = plane.draft(update(Some("1.1.0")));
    fresh.expect = Some(handover_model::wire::Expect { current: Some("1.0.0".parse().unwrap()) });
    plane.hand_out(&fresh);
    assert!(is_done(&plane.end_of(fresh.id)));
}

#[test]
fn orders_pin_clear_and_go_back_within_what_the_host_allows() {
    let (mut site, plane) = enrolled();
    site.publish_returnable("1.0.0", 1);
    let _agent = Running::agent(&site);
    let _launcher = Running::launcher(&site, "web");
    assert!(is_done(&plane.end_of(plane.order(update(None)))));
    site.publish_returnable("1.1.0", 2);
    let pin = Action::Pin { component: web(), pin: "1.0.0".parse().unwrap() };
    assert!(is_done(&plane.end_of(plane.order(pin))));
    let held = plane.end_of(plane.order(update(Some("1.1.0"))));
    assert_eq!((held.stage, held.code.as_deref()), (OrderStage::Refused, Some("control-pinned")));
    assert!(is_done(&plane.end_of(plane.order(Action::Unpin { component: web() }))));
    // The host's own pin is not the control plane's to take away.
    let (code, _, said) = site.run(&["pin", "web", "1.0.0"]);
    assert_eq!(code, 0, "{said}");
    plane.end_of(plane.order(Action::Unpin { component: web() }));
    let held = plane.end_of(plane.order(update(Some("1.1.0"))));
    assert_eq!((held.stage, held.code.as_deref()), (OrderStage::Refused, Some("pinned")));
    site.run(&["unpin", "web"]);
    assert!(is_done(&plane.end_of(plane.order(update(Some("1.1.0"))))));
    let back = plane.end_of(plane.order(Action::Rollback { component: web(), to: None }));
    assert!(is_done(&back), "{back:?}");
    assert_eq!(back.release.unwrap().version.to_string(), "1.0.0");
    // What was left is in quarantine: an update does not lift that, an order of its own does.
    let held = plane.end_of(plane.order(update(Some("1.1.0"))));
    assert_eq!((held.stage, held.code.as_deref()), (OrderStage::Refused, Some("quarantined")));
    let clear = Action::ClearQuarantine { component: web(), version: None };
    assert!(is_done(&plane.end_of(plane.order(clear))));
    assert!(is_done(&plane.end_of(plane.order(update(Some("1.1.0"))))));
}

#[test]
fn a_bad_release_reverts_and_the_order_says_so() {
    let (mut site, plane) = enrolled();
    site.publish_stock("1.0.0", 1, true);
    let _agent = Running::agent(&site);
    let _launcher = Running::launcher(&site, "web");
    assert!(is_done(&plane.end_of(plane.order(update(None)))));
    site.publish_stock("1.1.0", 2, false);
    let end = plane.end_of(plane.order(update(Some("1.1.0"))));
    assert_eq!(end.stage, OrderStage::Reverted, "{end:?}");
    let state = plane.state().unwrap();
    let seen = state.components.iter().find(|each| each.component == web()).unwrap();
    assert_eq!(seen.quarantine[0].release.version.to_string(), "1.1.0");
}

#[test]
fn a_killed_agent_carries_each_order_out_once_and_forgets_none() {
    let (mut site, plane) = enrolled();
    site.publish_stock("1.0.0", 1, true);
    let _launcher = Running::launcher(&site, "web");
    let mut agent = Running::agent(&site);
    // Where the kills fall.
    let mut seed = 0x5eed_u64;
    let (mut orders, mut killed) = (Vec::new(), Vec::new());
    for round in 0..8_u64 {
        if round % 3 == 1 {
            site.publish_stock(&format!("1.{round}.0"), round + 1, true);
        }
        orders.push(plane.order(update(None)));
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let wait = Duration::from_millis((seed >> 33) % 1200);
        killed.push(wait);
        Stop::never().wait(wait);
        agent.kill();
        agent = Running::agent(&site);
    }
    orders.push(plane.order(update(None)));
    for order in orders {
        let end = plane.end_of(order);
        // One that was cut again and again before it did anything is given up, with the reason.
        let given_up = end.code.as_deref() == Some("order.interrupted") && end.reason.is_some();
        assert!(is_done(&end) || given_up, "{end:?}, killed after {killed:?}");
        // A kill between saying it and noting that may say it again, and never otherwise.
        let said = plane.said(order);
        let ends: Vec<_> = said.iter().filter(|said| said.stage.is_final()).collect();
        assert!(ends.iter().all(|other| **other == end), "{ends:?}");
    }
    // Three versions were published: an order done twice would have made a fourth run.
    assert!(runs_of_web(&site) <= 4, "{} runs", runs_of_web(&site));
    assert_eq!(site.json(&["status"])["components"][1]["current"], "1.7.0");
}

#[test]
fn the_agents_own_update_is_ordered_of_one_agent_and_reported_by_the_next() {
    let (mut site, plane) = enrolled();
    site.publish_agent("99.0.0", 1);
    let _launcher = Running::launcher(&site, "handover-agent");
    let own: handover_model::ComponentName = "handover-agent".parse().unwrap();
    let before = {
        until("the agent talks", || plane.with(|books| !books.syncs.is_empty()));
        plane.with(|books| books.syncs[0].session)
    };
    let order = plane.order(Action::Update { component: own.clone(), to: None });
    let end = plane.end_of(order);
    assert!(is_done(&end), "{end:?}");
    assert_eq!(end.release.as_ref().unwrap().version.to_string(), "99.0.0");
    let by = plane.with(|books| books.syncs.last().unwrap().session);
    assert_ne!(before, by, "another agent reports");
    let state = plane.state().unwrap();
    let seen = state.components.iter().find(|each| each.component == own).unwrap();
    assert!(seen.proof.as_ref().is_some_and(|proof| proof.proved), "{seen:?}");
}

#[test]
fn a_host_that_is_ordered_to_leave_forgets_its_secret_and_follows_its_policy() {
    let (site, plane) = enrolled();
    let _agent = Running::agent(&site);
    assert!(is_done(&plane.end_of(plane.order(Action::Retire))));
    let identity = site.root().join("control/identity.json");
    until("the secret is gone", || {
        let held = framed(&identity);
        held.get("secret").is_none() && held.get("left_at").is_some()
    });
    let status = site.json(&["status"]);
    assert_eq!(status["control"]["state"], "left", "{status}");
}

#[test]
fn a_cancel_of_an_order_that_never_came_keeps_it_from_beginning() {
    let (mut site, plane) = enrolled();
    site.publish_stock("1.0.0", 1, true);
    let _agent = Running::agent(&site);
    let order = plane.draft(update(None));
    plane.cancel(order.id);
    assert_eq!(plane.end_of(order.id).stage, OrderStage::Cancelled);
    plane.with(|books| books.reports.clear());
    plane.hand_out(&order);
    assert_eq!(plane.end_of(order.id).stage, OrderStage::Cancelled);
    assert_eq!(runs_of_web(&site), 0);
}

#[test]
fn order_keys_and_authorities_are_walked_forward() {
    let (site, plane) = enrolled();
    let _agent = Running::agent(&site);
    let next = site::key(41);
    let keys = handover_trust::control::OrderKeys::new;
    let two = keys(2, vec![plane::order_key().public(), next.public()]);
    let three = keys(3, vec![next.public()]);
    let docs = vec![
        handover_trust::control::sign(&two, &plane::order_key()).unwrap(),
        handover_trust::control::sign(&three, &next).unwrap(),
    ];
    let ca = handover_model::wire::ChannelCa {
        type_: handover_model::wire::ChannelCa::TYPE.to_owned(),
        number: 7,
        certificates: plane.ca.clone(),
    };
    let ca = handover_trust::control::sign(&ca, &next).unwrap();
    plane.with(|books| {
        books.order_keys = docs;
        books.ca = Some(ca);
    });
    until("both are held", || {
        plane.with(|books| {
            books.syncs.last().is_some_and(|sync| (sync.order_keys, sync.ca) == (3, 7))
        })
    });
    // The retired key orders nothing any more; its successor does.
    let retired = plane.order(Action::Unpin { component: web() });
    plane.heard();
    assert!(plane.said(retired).is_empty());
    let order = plane.draft(Action::Unpin { component: web() });
    let doc = handover_trust::control::sign(&order, &next).unwrap();
    plane.with(|books| books.orders.push(doc));
    assert!(is_done(&plane.end_of(order.id)));
}
