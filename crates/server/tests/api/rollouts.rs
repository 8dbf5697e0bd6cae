//! Rollouts by API: what each mistake gets, and that nothing is half-made by it.

use serde_json::{Value, json};

use crate::repository::Repository;
use crate::site::{Site, component};

const ROLLOUTS: &str = "/api/v1/rollouts";

/// A repository with a good release, a revoked one, one behind a floor, and four agents.
pub(crate) async fn fleet(site: &Site) {
    let mut repository = Repository::new(1, site.now());
    repository.offer("web", "1.0.0", 1, |_| {});
    repository.offer("web", "1.1.0", 2, |_| {});
    repository.offer("web", "1.2.0", 3, |facts| facts.revoked = Some("it eats data".to_owned()));
    repository.offer("web", "2.0.0", 4, |facts| facts.upgrades_from = ">=1.9".parse().unwrap());
    repository.publish(site).await;
    for name in ["web-1", "web-2", "web-3"] {
        site.agent_with(name, vec![component("web", "1.0.0", 1)]).await;
    }
    site.agent_with("db-1", vec![component("web", "1.1.0", 2)]).await;
}

pub(crate) fn spec(more: &Value) -> Value {
    let mut spec = json!({
        "name": "web-11", "component": "web", "to": "1.1.0", "select": "name = web-*",
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

/// The code of the refusal; its sentence has to say something.
async fn refusal(site: &Site, more: &Value) -> String {
    let reply = site.admin.post(ROLLOUTS, &spec(more)).await;
    let code = reply.code();
    assert!(reply.json()["detail"].as_str().unwrap().len() > 20, "{}", reply.text());
    code
}

#[tokio::test]
async fn every_bad_rollout_gets_a_code_of_its_own_and_nothing_is_made() {
    for site in Site::on_each().await {
        fleet(&site).await;
        for (more, code) in [
            (json!({ "select": "name = nobody" }), "selection.unknown"),
            (json!({ "select": "label.regoin = eu" }), "selection.unknown"),
            (json!({ "select": "web = 7.7.7" }), "selection.unknown"),
            (json!({ "select": "group:nobodys" }), "selection.unknown"),
            (json!({ "select": "name = web-1 and name = web-2" }), "selection.empty"),
            (json!({ "select": "name = (" }), "selection.malformed"),
            (json!({ "select": "all" }), "selection.everything"),
            (json!({ "select": "has web" }), "selection.everything"),
            (
                json!({ "strategy": { "kind": "staged", "percent": [25, 5, 100] } }),
                "rollout.percent",
            ),
            (json!({ "windows": [{ "start": "99:00", "for": "1h" }] }), "rollout.window"),
            (json!({ "limits": [{ "at_most": 0 }] }), "rollout.spec"),
            (json!({ "to": "9.9.9" }), "release.unknown"),
            (json!({ "component": "nothing" }), "release.unknown"),
            (json!({ "to": "1.2.0" }), "release.revoked"),
            (json!({ "to": "2.0.0" }), "rollout.floor"),
            (json!({ "select": "name = db-1" }), "rollout.nothing-to-do"),
        ] {
            assert_eq!(refusal(&site, &more).await, code, "{more}");
        }
        let unread = site.admin.post(ROLLOUTS, &spec(&json!({ "percent": 5 }))).await;
        assert_eq!(unread.status, 422, "a misspelt wish is never taken for none");
        let listed = site.admin.get(ROLLOUTS).await.good();
        assert_eq!(listed["items"], json!([]), "nothing half-made is left");
        site.stop().await;
    }
}

#[tokio::test]
async fn hosts_that_are_pinned_are_named_and_left_out_when_that_is_asked_for() {
    let site = Site::new().await;
    fleet(&site).await;
    let mut pinned = component("web", "1.0.0", 1);
    pinned.pin = Some("1.0.0".parse().unwrap());
    site.agent_with("web-4", vec![pinned]).await;
    let reply = site.admin.post(ROLLOUTS, &spec(&json!({}))).await;
    assert_eq!(reply.code(), "rollout.pinned");
    assert!(reply.text().contains("web-4"), "{}", reply.text());
    assert!(!reply.text().contains("web-1"), "{}", reply.text());

    let request = json!({ "spec": spec(&json!({ "leave_out_unable": true })), "seed": 7 });
    let preview = site.admin.post("/api/v1/rollouts/preview", &request).await.good();
    assert_eq!((&preview["matched"], &preview["members"]), (&json!(4), &json!(3)));
    assert_eq!(preview["left_out"][0]["code"], "pinned");
    assert_eq!(preview["left_out"][0]["agents"], json!(["web-4"]));
    assert_eq!(preview["paths"][0]["hops"], json!(["1.1.0"]));
    let again = site.admin.post("/api/v1/rollouts/preview", &request).await.good();
    assert_eq!(preview["waves"], again["waves"], "the same seed draws the same waves");
    assert_eq!(preview["plays"], again["plays"], "and plays the same");
    let warnings = preview["warnings"].to_string();
    assert!(warnings.contains("1.0 % fail"), "a young database assumes, and says so: {warnings}");
    let plays = preview["plays"].as_array().unwrap();
    assert_eq!(plays.len(), 4, "a good day, two bad ones, and the worst");
    assert_eq!(plays[3]["failures"], 100.0);
    assert_eq!(plays[3]["stopped"], 100.0, "a release that always fails never gets through");
    assert!(plays[3]["exposed_p95"].as_u64().unwrap() < 3, "and not to everybody: {}", plays[3]);

    let made = site.admin.post(ROLLOUTS, &spec(&json!({ "leave_out_unable": true }))).await;
    assert_eq!(made.status, 201, "{}", made.text());
    site.stop().await;
}

#[tokio::test]
async fn two_rollouts_for_one_component_on_one_agent_are_refused_until_one_takes_the_others_place()
{
    for site in Site::on_each().await {
        fleet(&site).await;
        let first = site.admin.post(ROLLOUTS, &spec(&json!({}))).await;
        assert_eq!(first.status, 201, "{}", first.text());
        let first = first.json();
        assert_eq!(refusal(&site, &json!({ "name": "web-11" })).await, "rollout.overlap");
        let other = json!({ "name": "another", "select": "name = web-2" });
        let reply = site.admin.post(ROLLOUTS, &spec(&other)).await;
        assert_eq!(reply.code(), "rollout.overlap");
        assert!(reply.text().contains("web-11") && reply.text().contains("web-2"));

        let other = json!({ "name": "another", "select": "name = web-2", "supersede": true });
        let second = site.admin.post(ROLLOUTS, &spec(&other)).await;
        assert_eq!(second.status, 201, "{}", second.text());
        let path = format!("{ROLLOUTS}/{}", first["id"].as_str().unwrap());
        let superseded = site.admin.get(&path).await.good();
        assert_eq!(superseded["state"], "superseded");
        assert_eq!(superseded["superseded_by"], second.json()["id"]);
        site.stop().await;
    }
}

#[tokio::test]
async fn a_rollout_is_made_once_however_often_it_is_sent_and_stands_in_the_audit_trail() {
    let site = Site::new().await;
    fleet(&site).await;
    let key = [("idempotency-key", "k-1")];
    let first = site.admin.json_with("POST", ROLLOUTS, &spec(&json!({})), &key).await;
    let again = site.admin.json_with("POST", ROLLOUTS, &spec(&json!({})), &key).await;
    assert_eq!((first.status, again.status), (201, 201), "{}", again.text());
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_eq!(again.json()["name"], "web-11", "the repeated request gets the whole rollout too");
    let listed = site.admin.get(ROLLOUTS).await.good();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    site.number().await;
    let id = first.json()["id"].as_str().unwrap().to_owned();
    let audit = site.admin.get(&format!("/api/v1/audit?subject={id}")).await.good();
    let whats: Vec<_> = audit["items"].as_array().unwrap().iter().map(|row| &row["what"]).collect();
    assert!(whats.contains(&&json!("rollout.create")), "{audit}");
    site.stop().await;
}

#[tokio::test]
async fn a_change_needs_the_newest_tag_and_moves_thresholds_alone() {
    let site = Site::new().await;
    fleet(&site).await;
    let later = json!({ "start_at": "2100-01-01T00:00:00Z" });
    let made = site.admin.post(ROLLOUTS, &spec(&later)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let path = format!("{ROLLOUTS}/web-11");
    let shown = site.admin.get(&path).await;
    let tag = shown.header("etag").unwrap().to_owned();
    let mut wanted = made.json()["spec"].clone();
    wanted["priority"] = json!(90);
    let put = |body: Value, tag: Option<String>| {
        let (path, admin) = (path.clone(), &site.admin);
        async move {
            let tag = tag.unwrap_or_default();
            let head = [("if-match", tag.as_str())];
            let head: &[(&str, &str)] = if tag.is_empty() { &[] } else { &head };
            admin.json_with("PUT", &path, &body, head).await
        }
    };
    assert_eq!(put(wanted.clone(), None).await.status, 428);
    let changed = put(wanted.clone(), Some(tag.clone())).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(changed.json()["spec"]["priority"], 90);
    wanted["priority"] = json!(10);
    assert_eq!(put(wanted.clone(), Some(tag)).await.code(), "changed", "a stale tag");
    let tag = changed.header("etag").unwrap().to_owned();
    wanted["to"] = json!("1.0.0");
    assert_eq!(put(wanted, Some(tag)).await.code(), "rollout.fixed");

    let approve = site.admin.post(&format!("{path}/approve"), &json!({})).await;
    assert_eq!(approve.code(), "rollout.nothing-waits", "{}", approve.text());
    let revert = site.admin.post(&format!("{path}/revert"), &json!({})).await;
    assert_eq!(revert.code(), "rollout.nothing-touched", "{}", revert.text());
    let stranger = json!({ "agents": ["db-1"], "reason": "because" });
    let left = site.admin.post(&format!("{path}/leave-out"), &stranger).await;
    assert_eq!(left.code(), "rollout.no-member", "{}", left.text());
    let aborted = site.admin.post(&format!("{path}/abort"), &json!({ "reason": "enough" })).await;
    assert_eq!(aborted.json()["state"], "aborted", "{}", aborted.text());
    let resumed = site.admin.post(&format!("{path}/resume"), &json!({})).await;
    assert_eq!(resumed.code(), "rollout.state", "{}", resumed.text());
    let nobody = site.admin.get(&format!("{ROLLOUTS}/nobody")).await;
    assert_eq!(nobody.code(), "not-found");
    site.stop().await;
}

#[tokio::test]
async fn who_may_look_may_not_steer_and_who_may_write_may_not_approve() {
    let site = Site::new().await;
    fleet(&site).await;
    site.admin.post(ROLLOUTS, &spec(&json!({}))).await.good();
    let viewer = site.token(&["rollouts:read"]).await;
    viewer.get(ROLLOUTS).await.good();
    let path = format!("{ROLLOUTS}/web-11");
    for act in ["pause", "resume", "abort", "revert", "approve"] {
        assert_eq!(viewer.post(&format!("{path}/{act}"), &json!({})).await.code(), "forbidden");
    }
    let writer = site.token(&["rollouts:read", "rollouts:write"]).await;
    assert_eq!(writer.post(&format!("{path}/approve"), &json!({})).await.code(), "forbidden");
    let paused = writer.post(&format!("{path}/pause"), &json!({})).await;
    assert_eq!(paused.json()["state"], "paused", "{}", paused.text());
    site.stop().await;
}

#[tokio::test]
async fn a_selection_is_previewed_with_counts_and_with_what_nobody_has() {
    let site = Site::new().await;
    fleet(&site).await;
    let ask = |text: &str| {
        let body = json!({ "select": text });
        let admin = &site.admin;
        async move { admin.post("/api/v1/selections/preview", &body).await }
    };
    let found = ask("name=web-*   and (web<1.1.0)").await.good();
    assert_eq!((&found["matched"], &found["of"]), (&json!(3), &json!(4)));
    assert_eq!(found["first"], json!(["web-1", "web-2", "web-3"]));
    let canonical = found["select"].as_str().unwrap().to_owned();
    assert_eq!(ask(&canonical).await.good()["select"], canonical.as_str());
    let typo = ask("label.regoin = eu").await.good();
    assert_eq!(typo["matched"], 0);
    assert!(typo["unknown"][0].as_str().unwrap().contains("regoin"), "{typo}");
    assert_eq!(ask("name = ").await.code(), "selection.malformed");
    site.stop().await;
}
