//! Webhooks: told at least once, in order, signed, and in nobody's way.

use serde_json::{Value, json};

use crate::receiver::{Does, Receiver, answers};
use crate::site::Site;

const HOOKS: &str = "/api/v1/webhooks";

/// A webhook that is told of the fleet's stop.
async fn hook(site: &Site, receiver: &Receiver) -> Value {
    let body = json!({ "url": receiver.url, "kinds": ["fleet."], "note": "pager" });
    site.admin.post(HOOKS, &body).await.good()
}

/// Stops the fleet or lets it go on, which is what webhooks are told of here.
async fn stop(site: &Site, stopped: bool) {
    let body = json!({ "stopped": stopped, "reason": "a test" });
    site.admin.json("PUT", "/api/v1/stop", &body).await.good();
}

/// Waits until the webhook's deliveries are as wanted, newest first.
async fn until(site: &Site, webhook: &Value, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let looked = async {
        loop {
            let page = site.admin.get(HOOKS).await.good();
            let found = page["items"].as_array().unwrap().iter();
            let one = found.into_iter().find(|one| one["id"] == webhook["id"]).unwrap().clone();
            let deliveries = one["deliveries"].as_array().unwrap().clone();
            if is_so(&deliveries) {
                return deliveries;
            }
        }
    };
    let limit = std::time::Duration::from_mins(1);
    tokio::time::timeout(limit, looked).await.expect("deliveries get there")
}

fn is_delivered(delivery: &Value) -> bool {
    delivery["delivered_at"].is_string() && delivery["next_at"].is_null()
}

#[tokio::test]
async fn an_event_is_delivered_once_signed_as_an_independent_program_checks() {
    for site in Site::on_each().await {
        let mut receiver = Receiver::new(&[]).await;
        let webhook = hook(&site, &receiver).await;
        let secret = webhook["secret"].as_str().unwrap();
        stop(&site, true).await;
        let got = receiver.next().await;
        assert!(got.head.starts_with("POST /hook HTTP/1.1"), "{}", got.head);
        assert_eq!(got.header("handover-event"), "fleet.stopped");
        let body = got.json();
        assert_eq!(body["id"], got.header("handover-delivery"));
        assert_eq!((&body["webhook"], &body["kind"]), (&webhook["id"], &json!("fleet.stopped")));
        assert_eq!(body["data"]["reason"], "a test");
        assert!(got.is_signed_with(secret));
        assert!(!got.is_signed_with("hws1_another"));
        let mut changed = got.clone();
        changed.body.push(b' ');
        assert!(!changed.is_signed_with(secret));
        let deliveries = until(&site, &webhook, |all| is_delivered(&all[0])).await;
        assert_eq!((deliveries.len(), &deliveries[0]["attempts"]), (1, &json!(1)));
        stop(&site, true).await;
        stop(&site, false).await;
        let next = receiver.next().await;
        assert_eq!(next.header("handover-event"), "fleet.resumed", "nothing is said twice");
        site.stop().await;
    }
}

#[tokio::test]
async fn a_receiver_that_fails_gets_all_of_it_again_in_order() {
    for site in Site::on_each().await {
        let mut receiver = Receiver::new(&[answers(500), answers(503)]).await;
        let webhook = hook(&site, &receiver).await;
        stop(&site, true).await;
        let first = receiver.next().await;
        stop(&site, false).await;
        let second = receiver.next().await;
        let third = receiver.next().await;
        let id = first.header("handover-delivery");
        assert_eq!(
            (second.header("handover-delivery"), second.body.as_slice()),
            (id, &first.body[..])
        );
        assert_eq!(third.header("handover-delivery"), id, "the same until it is taken");
        let last = receiver.next().await;
        assert_eq!(last.header("handover-event"), "fleet.resumed");
        let deliveries = until(&site, &webhook, |all| all.iter().all(is_delivered)).await;
        assert_eq!((deliveries.len(), &deliveries[1]["attempts"]), (2, &json!(3)));
        site.stop().await;
    }
}

#[tokio::test]
async fn a_delivery_that_is_declined_or_redirected_waits_alone() {
    let site = Site::new().await;
    let mut elsewhere = Receiver::new(&[]).await;
    let mut receiver = Receiver::new(&[Does::Redirects(elsewhere.url.clone())]).await;
    let webhook = hook(&site, &receiver).await;
    stop(&site, true).await;
    receiver.next().await;
    let deliveries = until(&site, &webhook, |all| all[0]["error"].is_string()).await;
    let error = deliveries[0]["error"].as_str().unwrap();
    assert!(error.contains("redirections are not followed"), "{error}");
    assert!(deliveries[0]["next_at"].is_string(), "the address may be mended in time");
    stop(&site, false).await;
    until(&site, &webhook, |all| all.len() == 2 && all.iter().all(is_delivered)).await;
    assert!(elsewhere.is_quiet());
    site.stop().await;
}

#[tokio::test]
async fn a_receiver_that_hangs_delays_neither_others_nor_the_server() {
    let site = Site::new().await;
    let mut hanging = Receiver::new(&[Does::Hangs]).await;
    let mut well = Receiver::new(&[]).await;
    let slow = hook(&site, &hanging).await;
    hook(&site, &well).await;
    stop(&site, true).await;
    hanging.next().await;
    well.next().await;
    stop(&site, false).await;
    assert_eq!(well.next().await.header("handover-event"), "fleet.resumed");
    let deliveries = site.admin.get(HOOKS).await.good()["items"][0]["deliveries"].clone();
    assert_eq!(deliveries[1]["attempts"], 0, "it hangs still: {deliveries}");
    let deliveries = until(&site, &slow, |all| all.iter().all(is_delivered)).await;
    assert_eq!(deliveries[1]["attempts"], 2);
    site.stop().await;
}

#[tokio::test]
async fn what_was_not_taken_when_the_server_stopped_is_delivered_by_the_next_one() {
    for site in Site::on_each().await {
        let mut receiver = Receiver::new(&[Does::Hangs]).await;
        let webhook = hook(&site, &receiver).await;
        let secret = webhook["secret"].as_str().unwrap().to_owned();
        stop(&site, true).await;
        let first = receiver.next().await;
        let site = site.restart().await;
        let again = receiver.next().await;
        let id = "handover-delivery";
        assert_eq!((first.header(id), &first.body), (again.header(id), &again.body));
        assert!(again.is_signed_with(&secret), "secrets outlive the process");
        until(&site, &webhook, |all| all.len() == 1 && is_delivered(&all[0])).await;
        site.stop().await;
    }
}

#[tokio::test]
async fn a_webhook_that_was_removed_is_told_nothing_more() {
    let site = Site::new().await;
    let mut gone = Receiver::new(&[]).await;
    let mut witness = Receiver::new(&[]).await;
    let webhook = hook(&site, &gone).await;
    hook(&site, &witness).await;
    let path = format!("{HOOKS}/{}", webhook["id"].as_str().unwrap());
    assert_eq!(site.admin.get(&path).await.good()["note"], "pager");
    assert_eq!(site.admin.delete(&path).await.good()["id"], webhook["id"]);
    assert_eq!(site.admin.delete(&path).await.code(), "not-found");
    stop(&site, true).await;
    witness.next().await;
    assert!(gone.is_quiet());
    site.number().await;
    let path = format!("/api/v1/audit?subject={}", webhook["id"].as_str().unwrap());
    let rows = site.admin.get(&path).await.good();
    let whats: Vec<_> =
        rows["items"].as_array().unwrap().iter().map(|row| row["what"].clone()).collect();
    assert_eq!(whats, ["webhook.create", "webhook.remove"]);
    site.stop().await;
}

#[tokio::test]
async fn what_can_not_be_a_webhook_is_refused_by_the_field_that_is_at_fault() {
    let site = Site::new().await;
    for (body, field) in [
        (json!({ "url": "http://example.com/" }), "body.url"),
        (json!({ "url": "https://ann:pw@example.com/" }), "body.url"),
        (json!({ "url": "nonsense" }), "body.url"),
        (
            json!({ "url": "https://example.com/", "kinds": ["rollout.done", "order.done"] }),
            "body.kinds[1]",
        ),
        (json!({ "url": "https://example.com/", "kinds": ["rollout"] }), "body.kinds[0]"),
        (json!({ "url": "https://example.com/", "note": "\u{202e}" }), "body.note"),
    ] {
        let refused = site.admin.post(HOOKS, &body).await;
        assert_eq!(refused.code(), "invalid", "{body}");
        assert_eq!(refused.json()["fields"][0]["field"], field);
    }
    let body = json!({ "url": "https://example.com/" });
    let key = [("idempotency-key", "make-1")];
    let first = site.admin.json_with("POST", HOOKS, &body, &key).await.good();
    let again = site.admin.json_with("POST", HOOKS, &body, &key).await.good();
    assert_eq!(first, again, "its secret, too");
    let listed = site.admin.get(HOOKS).await.good();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert!(!listed.to_string().contains(first["secret"].as_str().unwrap()));
    for entry in site.data.read_dir_utf8().unwrap().flatten() {
        if let Ok(bytes) = std::fs::read(entry.path()) {
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(first["secret"].as_str().unwrap()), "{}", entry.path());
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn a_rollout_that_an_outside_check_stops_is_told_in_the_order_in_which_it_happened() {
    for site in Site::on_each().await {
        crate::rollouts::fleet(&site).await;
        let says = |verdict: &str| Does::Answers(200, json!({ "verdict": verdict }).to_string());
        let slo = Receiver::new(&[says("fail")]).await;
        let mut receiver = Receiver::new(&[]).await;
        let body = json!({ "url": receiver.url });
        let webhook = site.admin.post(HOOKS, &body).await.good();
        let how = json!({ "poll": { "url": slo.url, "every": "1h" } });
        let checks = json!([{ "name": "slo", "how": how, "fresh": "1h" }]);
        let spec = crate::rollouts::spec(&json!({ "checks": checks }));
        let made = site.admin.post("/api/v1/rollouts", &spec).await.good();
        let mut told = Vec::new();
        while told.last().is_none_or(|kind| kind != "rollout.halted") {
            let got = receiver.next().await;
            assert!(got.is_signed_with(webhook["secret"].as_str().unwrap()));
            assert_eq!(got.json()["rollout"], made["id"], "{}", got.json());
            told.push(got.header("handover-event").to_owned());
        }
        let place = |kind: &str| told.iter().position(|one| one == kind);
        let (created, started) = (place("rollout.created"), place("rollout.started"));
        assert!(created.is_some() && created < started, "{told:?}");
        assert!(started < place("rollout.check"), "{told:?}");
        let shown = site.admin.get("/api/v1/rollouts/web-11").await.good();
        assert_eq!((&shown["state"], &shown["halt"]["gate"]), (&json!("halted"), &json!("check")));
        site.stop().await;
    }
}
