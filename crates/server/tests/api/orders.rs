//! Orders: refused beforehand with the reason, given, taken back.

use handover_model::api::OrderState;
use handover_model::wire::QuarantinedState;
use handover_store::{StoreError, orders};
use serde_json::{Value, json};

use crate::repository::Repository;
use crate::site::{Site, component, release, version};

async fn with_repository(site: &Site) {
    let mut repository = Repository::new(1, site.now());
    repository.offer("web", "1.0.0", 1, |_| {});
    repository.offer("web", "1.1.0", 2, |_| {});
    repository.offer("web", "1.2.0", 3, |facts| facts.revoked = Some("it eats data".to_owned()));
    repository.offer("web", "2.0.0", 4, |facts| facts.upgrades_from = ">=1.9".parse().unwrap());
    repository.publish(site).await;
}

async fn refusal(site: &Site, agent: &str, body: Value) -> String {
    let reply = site.admin.post(&format!("/api/v1/agents/{agent}/update"), &body).await;
    let code = reply.code();
    assert!(reply.json()["detail"].as_str().unwrap().len() > 20, "{}", reply.text());
    code
}

#[tokio::test]
async fn an_order_that_the_host_would_refuse_is_refused_when_it_is_made() {
    for site in Site::on_each().await {
        with_repository(&site).await;
        site.agent_with("web-1", vec![component("web", "1.0.0", 1)]).await;
        let to = |version: &str| json!({ "component": "web", "to": version });
        assert_eq!(refusal(&site, "web-1", to("1.2.0")).await, "order.revoked");
        assert_eq!(refusal(&site, "web-1", to("2.0.0")).await, "order.no-path");
        assert_eq!(refusal(&site, "web-1", to("9.0.0")).await, "order.no-such-release");
        assert_eq!(refusal(&site, "web-1", to("1.0.0")).await, "order.already-there");
        assert_eq!(refusal(&site, "web-1", to("0.1.0")).await, "order.no-such-release");
        let other = json!({ "component": "db" });
        assert_eq!(refusal(&site, "web-1", other).await, "order.not-offered");
        let expecting = json!({ "component": "web", "expect": { "current": "0.9.0" } });
        assert_eq!(refusal(&site, "web-1", expecting).await, "order.expect");

        let mut ill = component("web", "1.0.0", 1);
        let bad = release("web", "1.1.0");
        ill.quarantine = vec![QuarantinedState {
            release: bad,
            reason: "it crashed".to_owned(),
            at: site.now(),
        }];
        site.agent_with("web-2", vec![ill]).await;
        assert_eq!(refusal(&site, "web-2", to("1.1.0")).await, "order.quarantined");

        let mut pinned = component("web", "1.0.0", 1);
        pinned.pin = Some("1.0.0".parse().unwrap());
        site.agent_with("web-3", vec![pinned]).await;
        assert_eq!(refusal(&site, "web-3", to("1.1.0")).await, "order.pinned");

        let listed = site.admin.get("/api/v1/orders").await.good();
        assert_eq!(listed["items"], json!([]), "nothing half-made is left");
        site.stop().await;
    }
}

#[tokio::test]
async fn an_order_below_the_hosts_floor_needs_a_permit() {
    let site = Site::new().await;
    with_repository(&site).await;
    let mut ahead = component("web", "1.1.0", 2);
    ahead.floor = Some(version("1.1.0"));
    site.agent_with("web-1", vec![ahead]).await;
    let to = json!({ "component": "web", "to": "1.0.0" });
    assert_eq!(refusal(&site, "web-1", to).await, "order.needs-permit");
    site.stop().await;
}

#[tokio::test]
async fn an_order_is_given_once_however_often_it_is_sent_and_stands_in_the_audit_trail() {
    for site in Site::on_each().await {
        with_repository(&site).await;
        site.agent_with("web-1", vec![component("web", "1.0.0", 1)]).await;
        let path = "/api/v1/agents/web-1/update";
        let body = json!({
            "component": "web", "to": "1.1.0", "reason": "because", "expires_in": "2h",
            "expect": { "current": "1.0.0" },
        });
        let key = [("idempotency-key", "k-1")];
        let first = site.admin.json_with("POST", path, &body, &key).await;
        assert_eq!(first.status, 201);
        let order = first.json();
        assert_eq!(order["state"], "pending");
        assert_eq!(order["expect"]["current"], "1.0.0");
        let again = site.admin.json_with("POST", path, &body, &key).await;
        assert_eq!((again.status, again.body), (201, first.body), "the same answer");
        let other = json!({ "component": "web" });
        let other = site.admin.json_with("POST", path, &other, &key).await;
        assert_eq!((other.status, other.code().as_str()), (422, "idempotency.other-request"));
        assert_eq!(refusal(&site, "web-1", json!({ "component": "web" })).await, "order.open");

        let path = format!("/api/v1/orders/{}", order["id"].as_str().unwrap());
        let shown = site.admin.get(&path).await.good();
        assert_eq!(shown["history"][0]["state"], "pending");
        site.number().await;
        let trail = site.admin.get("/api/v1/audit").await.good();
        let rows: Vec<_> = trail["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| row["subject"] == order["id"])
            .collect();
        assert_eq!(rows.len(), 1, "{trail}");
        assert_eq!(rows[0]["what"], "order.create");
        assert!(rows[0]["who"].as_str().unwrap().contains("token_"), "{rows:?}");
        assert_eq!(rows[0]["after"]["reason"], "because");
        site.stop().await;
    }
}

#[tokio::test]
async fn a_newer_order_takes_the_place_of_one_that_nobody_has_begun_if_it_says_so() {
    let site = Site::new().await;
    with_repository(&site).await;
    site.agent_with("web-1", vec![component("web", "1.0.0", 1)]).await;
    let path = "/api/v1/agents/web-1/update";
    let first = site.admin.post(path, &json!({ "component": "web" })).await.good();
    let body = json!({ "component": "web", "to": "1.1.0", "supersede": true });
    let second = site.admin.post(path, &body).await.good();
    let first = first["id"].as_str().unwrap();
    let first = site.admin.get(&format!("/api/v1/orders/{first}")).await.good();
    assert_eq!(first["state"], "superseded");
    assert_eq!(first["superseded_by"], second["id"]);
    site.stop().await;
}

/// Moves an order on, as the gateway would.
async fn advance(site: &Site, order: &Value, state: OrderState) {
    let id = order["id"].as_str().unwrap().parse().unwrap();
    let now = site.now();
    let moved = site.running.state().store.write(move |tx| -> Result<_, StoreError> {
        let mut order = orders::get(tx, id)?.unwrap();
        order.state = state;
        orders::save(tx, &order, now)
    });
    moved.await.unwrap();
}

#[tokio::test]
async fn a_cancel_cancels_what_was_not_begun_and_says_when_it_is_too_late() {
    for site in Site::on_each().await {
        with_repository(&site).await;
        site.agent_with("web-1", vec![component("web", "1.0.0", 1)]).await;
        let path = "/api/v1/agents/web-1/update";
        let body = json!({ "component": "web" });
        let cancel =
            |order: &Value| format!("/api/v1/orders/{}/cancel", order["id"].as_str().unwrap());

        let pending = site.admin.post(path, &body).await.good();
        let gone = site.admin.send("POST", &cancel(&pending), &[], b"").await.good();
        assert_eq!(gone["state"], "cancelled");
        let again = site.admin.send("POST", &cancel(&pending), &[], b"").await.good();
        assert_eq!(again["state"], "cancelled", "cancelling twice is no error");

        let handed = site.admin.post(path, &body).await.good();
        advance(&site, &handed, OrderState::HandedOut).await;
        let going = site.admin.post(&cancel(&handed), &json!({})).await.good();
        assert_eq!(going["state"], "cancelling", "the agent has the last word");
        advance(&site, &handed, OrderState::Cancelled).await;

        let running = site.admin.post(path, &body).await.good();
        advance(&site, &running, OrderState::Running).await;
        let late = site.admin.post(&cancel(&running), &json!({})).await;
        assert_eq!((late.status, late.code().as_str()), (409, "order.running"));
        advance(&site, &running, OrderState::Done).await;
        let late = site.admin.post(&cancel(&running), &json!({})).await;
        assert_eq!(late.code(), "order.ended");
        site.stop().await;
    }
}

#[tokio::test]
async fn a_pin_of_the_control_plane_is_an_order_and_bars_others_at_once() {
    for site in Site::on_each().await {
        with_repository(&site).await;
        site.agent_with("web-1", vec![component("web", "1.0.0", 1)]).await;
        let path = "/api/v1/agents/web-1/pins/web";
        let none = site.admin.delete(path).await;
        assert_eq!(none.code(), "not-found");
        let made = site.admin.json("PUT", path, &json!({ "pin": "1.0.0" })).await;
        let tag = made.header("etag").unwrap().to_owned();
        let made = made.good();
        assert_eq!(
            (made["in_force"].clone(), made["generation"].clone()),
            (json!(false), json!(1))
        );
        let to = json!({ "component": "web", "to": "1.1.0" });
        assert_eq!(refusal(&site, "web-1", to).await, "order.control-pinned");
        let later = json!({ "pin": "<2" });
        let stale = [("if-match", "\"g7\"")];
        let stale = site.admin.json_with("PUT", path, &later, &stale).await;
        assert_eq!((stale.status, stale.code().as_str()), (412, "changed"));
        let later = site.admin.json_with("PUT", path, &later, &[("if-match", &tag)]).await.good();
        assert_eq!(later["generation"], 2);
        let off = site.admin.delete(path).await.good();
        assert!(off["pin"].is_null());
        let open = site.admin.get("/api/v1/orders?open=true&agent=web-1").await.good();
        assert_eq!(open["items"].as_array().unwrap().len(), 1, "each took the place of the last");
        assert_eq!(open["items"][0]["action"]["do"], "unpin");
        site.stop().await;
    }
}
