//! A control plane that lies, stalls and floods: nothing is executed, it is said in `status`, and
//! the agent goes on.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use handover_model::wire::{Action, AgentOrder, ChannelCa, OrderStage, SignedDoc};
use handover_model::{AgentId, IdGen};
use handover_trust::control::{OrderKeys, sign};
use serde_json::json;

use crate::host::{Running, enrolled, runs_of_web, update};
use crate::plane::{Plane, is_done, now, order_key};
use crate::site::{Site, key, web};
use crate::until;

/// An enrolled host with a release that it could install, and its agent.
fn tempted() -> (Site, Plane, Running) {
    let (mut site, plane) = enrolled();
    site.publish_stock("1.0.0", 1, true);
    let agent = Running::agent(&site);
    (site, plane, agent)
}

/// The codes of what was not believed, oldest first.
fn not_believed(site: &Site) -> Vec<String> {
    let status = site.json(&["status"]);
    let refused = status["control"]["refused"].as_array().cloned().unwrap_or_default();
    refused.iter().map(|refusal| refusal["code"].as_str().unwrap().to_owned()).collect()
}

/// Nothing of `web` was touched, `code` is shown, and the next honest order is carried out.
fn assert_unmoved(site: &Site, plane: &Plane, code: &str) {
    until(code, || not_believed(site).iter().any(|shown| shown == code));
    assert_eq!(runs_of_web(site), 0);
    assert_goes_on(plane);
}

fn assert_goes_on(plane: &Plane) {
    let honest = plane.end_of(plane.order(Action::Unpin { component: web() }));
    assert!(is_done(&honest), "{honest:?}");
}

fn hand_out(plane: &Plane, doc: SignedDoc) {
    plane.with(|books| books.orders.push(doc));
}

fn forget(plane: &Plane) {
    plane.with(|books| books.orders.clear());
}

#[test]
fn an_order_for_another_agent_is_refused() {
    let (site, plane, _agent) = tempted();
    let mut order = plane.draft(update(None));
    order.agent = AgentId::mint(&mut IdGen::new([77; 32]), now());
    plane.hand_out(&order);
    plane.heard();
    forget(&plane);
    assert!(plane.said(order.id).is_empty(), "whose order it is not is not answered");
    assert_unmoved(&site, &plane, "trust.other-agent");
}

#[test]
fn a_strangers_order_and_a_changed_one_are_refused() {
    let (site, plane, _agent) = tempted();
    hand_out(&plane, sign(&plane.draft(update(None)), &key(99)).unwrap());
    let mut changed = sign(&plane.draft(Action::Unpin { component: web() }), &order_key()).unwrap();
    changed.0["signed"]["action"] = json!({"do": "update", "component": "web"});
    hand_out(&plane, changed);
    hand_out(&plane, SignedDoc(json!({"signatures": "none", "signed": [1, 2]})));
    hand_out(&plane, SignedDoc(json!(null)));
    plane.heard();
    forget(&plane);
    assert!(not_believed(&site).contains(&"trust.malformed".to_owned()));
    assert_unmoved(&site, &plane, "trust.unsigned");
}

#[test]
fn a_stranger_does_not_become_an_order_key() {
    let (site, plane, _agent) = tempted();
    let stranger = key(99);
    let appointed = OrderKeys::new(2, vec![order_key().public(), stranger.public()]);
    let skipped = OrderKeys::new(9, vec![stranger.public()]);
    plane.with(|books| {
        books.order_keys =
            vec![sign(&appointed, &stranger).unwrap(), sign(&skipped, &order_key()).unwrap()];
    });
    hand_out(&plane, sign(&plane.draft(update(None)), &stranger).unwrap());
    plane.heard();
    forget(&plane);
    let codes = not_believed(&site);
    assert!(codes.contains(&"trust.root-gap".to_owned()), "{codes:?}");
    assert_eq!(plane.with(|books| books.syncs.last().unwrap().order_keys), 1);
    assert_unmoved(&site, &plane, "trust.unsigned");
}

#[test]
fn a_replayed_order_is_done_once_and_an_older_one_not_at_all() {
    let (mut site, plane, _agent) = tempted();
    let _launcher = Running::launcher(&site, "web");
    let held_back = plane.draft(update(Some("1.0.0")));
    let order = plane.draft(update(None));
    plane.hand_out(&order);
    assert!(is_done(&plane.end_of(order.id)));
    site.publish_stock("1.1.0", 2, true);
    // The very same bytes again, as if nothing had been reported, and one from before it.
    plane.with(|books| books.reports.clear());
    plane.hand_out(&held_back);
    let again = plane.end_of(order.id);
    assert!(is_done(&again), "it is answered again: {again:?}");
    let late = plane.end_of(held_back.id);
    assert_eq!((late.stage, late.code.as_deref()), (OrderStage::Refused, Some("order.old")));
    assert_eq!(runs_of_web(&site), 1);
    assert!(not_believed(&site).contains(&"order.old".to_owned()));
    assert_goes_on(&plane);
}

#[test]
fn orders_that_come_in_the_wrong_order_are_taken_as_they_are_numbered() {
    let (site, plane, _agent) = tempted();
    let pin = |text: &str| Action::Pin { component: web(), pin: text.parse().unwrap() };
    let (first, second) = (plane.draft(pin("1.0.0")), plane.draft(pin("2.0.0")));
    plane.with(|books| {
        books.orders.push(sign(&second, &order_key()).unwrap());
        books.orders.push(sign(&first, &order_key()).unwrap());
    });
    assert!(is_done(&plane.end_of(first.id)));
    assert!(is_done(&plane.end_of(second.id)));
    let held = plane.end_of(plane.order(update(Some("1.0.0"))));
    assert_eq!(held.code.as_deref(), Some("control-pinned"), "the second pin counts: {held:?}");
    assert_eq!(runs_of_web(&site), 0);
}

#[test]
fn two_orders_under_one_number_or_one_id_are_one() {
    let (site, plane, _agent) = tempted();
    let order = plane.draft(Action::Unpin { component: web() });
    let twin = AgentOrder { action: update(None), ..order.clone() };
    let mut rival = plane.draft(update(None));
    rival.place = order.place;
    plane.with(|books| {
        for order in [&order, &twin, &rival] {
            books.orders.push(sign(order, &order_key()).unwrap());
        }
    });
    assert!(is_done(&plane.end_of(order.id)));
    assert_eq!(plane.end_of(rival.id).code.as_deref(), Some("order.old"));
    assert_eq!(runs_of_web(&site), 0);
    assert_goes_on(&plane);
}

#[test]
fn an_expired_order_is_answered_with_both_clocks() {
    let (site, plane, _agent) = tempted();
    let mut order = plane.draft(update(None));
    order.expires = order.issued;
    plane.hand_out(&order);
    let end = plane.end_of(order.id);
    assert_eq!((end.stage, end.code.as_deref()), (OrderStage::Expired, Some("order.expired")));
    assert!(end.reason.unwrap().contains("this host's clock says"));
    assert_eq!(runs_of_web(&site), 0);
    assert_goes_on(&plane);
}

#[test]
fn an_order_that_this_agent_does_not_know_is_refused_and_unknown_fields_are_not_read() {
    let (site, plane, _agent) = tempted();
    plane.with(|books| {
        books.over.insert("mode".into(), json!("obey"));
        books.over.insert("commands".into(), json!([{"run": "rm -rf /"}]));
    });
    let order = plane.draft(Action::Retire);
    let mut signed = serde_json::to_value(&order).unwrap();
    signed["action"] = json!({"do": "execute", "component": "web", "command": "id"});
    signed["urgent"] = json!(true);
    hand_out(&plane, sign(&signed, &order_key()).unwrap());
    let end = plane.end_of(order.id);
    let code = end.code.as_deref();
    assert_eq!((end.stage, code), (OrderStage::Refused, Some("order.unknown-action")));
    let status = site.json(&["status"]);
    assert_eq!(status["control"]["orders"][0]["code"], "order.unknown-action", "{status}");
    assert_goes_on(&plane);
}

#[test]
fn a_release_that_is_not_in_the_repository_or_below_the_floor_is_not_installed() {
    let (mut site, plane, _agent) = tempted();
    let _launcher = Running::launcher(&site, "web");
    let missing = plane.end_of(plane.order(update(Some("9.9.9"))));
    assert_eq!(
        (missing.stage, missing.code.as_deref()),
        (OrderStage::Refused, Some("no-such-release"))
    );
    let db = Action::Update { component: "db".parse().unwrap(), to: None };
    let foreign = plane.end_of(plane.order(db));
    assert_eq!(foreign.code.as_deref(), Some("not-offered"), "{foreign:?}");
    assert!(!site.root().join("choices.json").exists(), "what can't come is not followed");
    site.publish_stock("1.1.0", 2, true);
    assert!(is_done(&plane.end_of(plane.order(update(Some("1.1.0"))))));
    let below = plane.end_of(plane.order(update(Some("1.0.0"))));
    assert_eq!(below.stage, OrderStage::Refused, "{below:?}");
    assert_eq!(site.json(&["status"])["components"][1]["current"], "1.1.0");
}

#[test]
fn a_package_that_is_not_the_signed_one_is_not_run() {
    let (site, plane, _agent) = tempted();
    site.tamper(|files| {
        for (_, bytes) in files.iter_mut().filter(|(path, _)| path.starts_with("/targets/")) {
            let end = bytes.len() - 1;
            bytes[end] ^= 1;
        }
    });
    let end = plane.end_of(plane.order(update(None)));
    assert_eq!((end.stage, end.code.as_deref()), (OrderStage::Refused, Some("download.digest")));
    assert_eq!(runs_of_web(&site), 0);
    assert_goes_on(&plane);
}

/// Lies once to the next sync, and says whether it was asked.
fn lie_once(
    plane: &Plane,
    mut lie: impl FnMut(&mut dyn Write) + Send + 'static,
) -> Arc<AtomicBool> {
    let told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&told);
    plane.with(|books| {
        books.liar = Some(Box::new(move |path, stream| {
            if path != "/agent/v1/sync" || tell.swap(true, Ordering::SeqCst) {
                return false;
            }
            lie(stream);
            true
        }));
    });
    told
}

/// The agent got over it: it says why it was silent, and comes back.
fn assert_recovers(site: &Site, plane: &Plane, told: &AtomicBool, code: &str) {
    until("the lie is told", || told.load(Ordering::SeqCst));
    until(code, || site.json(&["status"])["control"]["silent"]["code"] == code);
    assert_eq!(site.json(&["status"])["control"]["state"], "silent");
    plane.with(|books| books.liar = None);
    until("it is back", || site.json(&["status"])["control"]["state"] == "connected");
    assert_eq!(runs_of_web(site), 0);
    assert_goes_on(plane);
}

#[test]
fn twenty_gigabytes_are_refused_by_their_announcement() {
    let (site, plane, _agent) = tempted();
    let told = lie_once(&plane, |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 21474836480\r\n\r\n{");
        let _ = stream.flush();
    });
    assert_recovers(&site, &plane, &told, "fetch.too-large");
}

#[test]
fn an_answer_without_end_is_cut_at_its_bound() {
    let (site, plane, _agent) = tempted();
    let told = lie_once(&plane, |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        while stream.write_all(chunk.as_bytes()).is_ok() {}
    });
    assert_recovers(&site, &plane, &told, "fetch.too-large");
}

#[test]
fn an_answer_that_makes_no_sense_changes_nothing() {
    let (site, plane, _agent) = tempted();
    let told = lie_once(&plane, |stream| {
        let body = r#"{"at":"yesterday","orders":[{"do":"update"}]}"#;
        let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let _ = stream.flush();
    });
    assert_recovers(&site, &plane, &told, "call.meaningless");
}

#[test]
fn a_server_that_stalls_in_the_middle_is_given_up() {
    let (site, plane, _agent) = tempted();
    let told = lie_once(&plane, |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"at\":");
        let _ = stream.flush();
        handover_agent::real_world::Stop::never().wait(Duration::from_secs(40));
    });
    assert_recovers(&site, &plane, &told, "fetch.stalled");
}

#[test]
fn a_refusal_in_words_is_shown_and_not_hammered_at() {
    let (site, plane, _agent) = tempted();
    plane.heard();
    plane.with(|books| books.refusal = Some((403, "agent.retired")));
    until("it is shown", || site.json(&["status"])["control"]["silent"]["code"] == "agent.retired");
    let seen = site.json(&["status"]);
    let text = seen["control"]["silent"]["reason"].as_str().unwrap().to_owned();
    assert_eq!(text, "refused: for a test");
}

#[test]
fn a_host_that_is_known_no_more_comes_back_with_a_new_token_as_who_it_was() {
    let (site, plane) = enrolled();
    let token = plane.another_token(&site);
    let held = site.json(&["enroll", &token]);
    assert_eq!(held["error"], "enrolment.enrolled", "{held}");
    let agent = Running::agent(&site);
    plane.heard();
    plane.with(|books| books.refusal = Some((401, "unauthenticated")));
    until("it is shown", || {
        site.json(&["status"])["control"]["silent"]["code"] == "unauthenticated"
    });
    drop(agent);
    plane.with(|books| books.refusal = None);
    let (code, _, said) = site.run(&["enroll", &token]);
    assert_eq!(code, 0, "{said}");
    // The fake takes one key alone.
    assert_eq!(plane.with(|books| books.enrolled.len()), 2);
}

#[test]
fn a_server_that_is_back_is_shown_before_a_long_poll_ends() {
    let (site, plane, _agent) = tempted();
    plane.heard();
    plane.with(|books| books.refusal = Some((503, "busy")));
    until("it is silent", || site.json(&["status"])["control"]["state"] == "silent");
    plane.with(|books| {
        books.refusal = None;
        books.syncs.clear();
    });
    until("it is back", || site.json(&["status"])["control"]["state"] == "connected");
    assert_eq!(plane.with(|books| books.syncs[0].wait.0), 0, "it asked to be answered at once");
}

#[test]
fn a_clone_is_told_on_the_host() {
    let (site, plane, _agent) = tempted();
    let text = "two hosts\u{1b}[2J use this identity".to_owned();
    let notice = handover_model::wire::Notice { code: "agent.cloned".to_owned(), text };
    plane.with(|books| books.notices = vec![notice]);
    until("it is shown", || !site.json(&["status"])["control"]["notices"].is_null());
    let (_, text, _) = site.run(&["status"]);
    assert!(text.contains("NOTICE") && text.contains("agent.cloned"), "{text}");
    assert!(!text.contains('\u{1b}'), "a terminal must not be steered from there");
}

#[test]
fn a_clock_that_is_hours_off_changes_nothing_and_is_told() {
    let (site, plane, _agent) = tempted();
    plane.with(|books| {
        books.over.insert("at".into(), json!("2001-01-01T00:00:00Z"));
    });
    until("it is told", || !site.json(&["status"])["control"]["clock_off"].is_null());
    assert_goes_on(&plane);
}

#[test]
fn authorities_that_are_garbage_or_a_strangers_are_not_taken() {
    let (site, plane, _agent) = tempted();
    let bundle = |number, certificates: Vec<String>| ChannelCa {
        type_: ChannelCa::TYPE.to_owned(),
        number,
        certificates,
    };
    let garbage = bundle(2, vec!["-----BEGIN NOTHING-----".to_owned()]);
    plane.with(|books| books.ca = Some(sign(&garbage, &order_key()).unwrap()));
    until("garbage is refused", || not_believed(&site).contains(&"trust.malformed".to_owned()));
    let strangers = bundle(3, plane.ca.clone());
    plane.with(|books| books.ca = Some(sign(&strangers, &key(99)).unwrap()));
    until("a stranger is refused", || not_believed(&site).contains(&"trust.unsigned".to_owned()));
    plane.with(|books| books.ca = None);
    assert_eq!(plane.with(|books| books.syncs.last().unwrap().ca), 0);
    assert_goes_on(&plane);
}

#[test]
fn reports_that_were_never_made_can_not_be_acknowledged_away() {
    let (site, plane, _agent) = tempted();
    plane.with(|books| {
        books.over.insert("acknowledged".into(), json!(u64::MAX));
    });
    let order = plane.order(Action::Unpin { component: web() });
    assert!(is_done(&plane.end_of(order)));
    let before = plane.with(|books| books.reports.keys().next_back().copied().unwrap());
    plane.with(|books| books.over.clear());
    assert_goes_on(&plane);
    let after = plane.with(|books| books.reports.keys().next_back().copied().unwrap());
    assert!(after > before && after < before + 1000, "numbers go on from {before}, not {after}");
    assert_eq!(runs_of_web(&site), 0);
}

#[test]
fn a_server_that_is_not_the_tokens_hears_no_secret() {
    let site = Site::new();
    let (plane, _) = Plane::start(&site);
    let (_, others) = Plane::start(&site);
    // The other control plane's token, at this one's address.
    let arguments = ["enroll", &others, "--name", "host-1", "--server", &plane.url];
    let (code, _, said) = site.run(&arguments);
    assert_eq!(code, 3, "{said}");
    assert!(said.replace('\n', " ").contains("other certificate authorities"), "{said}");
    assert_eq!(plane.with(|books| books.enrolled.len()), 0);
    assert!(!site.root().join("control").exists());
    for (bad, words) in [("hol1_abc", "hoe1_"), ("hoe1_abc", "copy it again")] {
        let (code, _, said) = site.run(&["enroll", bad]);
        assert_eq!(code, 3, "{said}");
        assert!(said.replace('\n', " ").contains(words), "{said}");
    }
}

#[test]
fn a_root_that_is_not_the_tokens_is_refused_before_the_token_is_spent() {
    let site = Site::new();
    let (plane, token) = Plane::start(&site);
    site.tamper(|files| {
        let root = files.get_mut("/metadata/1.root.json").unwrap();
        root.push(b'\n');
    });
    let refused = site.json(&["enroll", &token, "--name", "host-1"]);
    assert_eq!(refused["error"], "enrolment.root", "{refused}");
    assert_eq!(plane.with(|books| books.enrolled.len()), 0);
}
