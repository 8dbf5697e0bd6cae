//! External checks: asked, or answered by whoever has the secret, and by nobody else.

use std::process::Command;

use handover_model::api::{CheckSpec, RolloutSpec};
use handover_model::{RolloutId, Timestamp};
use handover_store::StoreError;
use serde_json::{Value, json};

use crate::client::{Reply, authorities};
use crate::receiver::{Does, Receiver, answers, snippet};
use crate::site::Site;

/// A rollout that runs, as far as its checks need one.
async fn rollout(site: &Site, checks: Value) -> RolloutId {
    let state = site.running.state();
    let id = state.mint(RolloutId::mint);
    let checks: Vec<CheckSpec> = serde_json::from_value(checks).unwrap();
    let spec: RolloutSpec = serde_json::from_value(json!({
        "name": "web-2", "component": "web", "to": "2.0.0", "select": "all", "all": true,
        "checks": checks,
    }))
    .unwrap();
    let made = state.store.write(move |tx| -> Result<_, StoreError> {
        tx.execute(
            "INSERT INTO rollouts (id, name, kind, component, spec, state, priority, released, \
             members, progress, counts, created_by, created_at, changed_at, generation) VALUES \
             ($1, 'web-2', '{\"is\":\"update\"}', 'web', $2, 'paused', 50, 0, 0, '{}', '{}', \
             'ann', 0, 0, 1)",
            &[id.to_string().into(), serde_json::to_string(&spec).unwrap().into()],
        )
    });
    made.await.unwrap();
    id
}

/// The check's newest answer, once it is as wanted.
async fn until(site: &Site, is_so: impl Fn(&Value) -> bool) -> Value {
    let looked = async {
        loop {
            let check = site.admin.get("/api/v1/rollouts/web-2/checks").await.good()[0].clone();
            if is_so(&check) {
                return check;
            }
        }
    };
    let limit = std::time::Duration::from_mins(1);
    tokio::time::timeout(limit, looked).await.expect("the check gets there")
}

fn says(verdict: &str) -> Does {
    Does::Answers(200, json!({ "verdict": verdict, "reason": "latency" }).to_string())
}

#[tokio::test]
async fn a_check_is_asked_again_and_again_and_tells_of_what_changes() {
    for site in Site::on_each().await {
        let mut receiver = Receiver::new(&[says("inconclusive"), says("pass")]).await;
        let how = json!({ "poll": { "url": receiver.url, "every": "1s" } });
        rollout(&site, json!([{ "name": "slo", "how": how }])).await;
        let first = receiver.next().await;
        assert!(first.head.starts_with("GET /hook HTTP/1.1"), "{}", first.head);
        let check = until(&site, |check| check["verdict"] == "pass").await;
        assert_eq!((&check["reason"], &check["is_fresh"]), (&json!("latency"), &json!(true)));
        for bad in [answers(500), Does::Redirects(receiver.url.clone()), answers(200)] {
            receiver.does(bad);
        }
        for _ in 0..3 {
            receiver.next().await;
        }
        receiver.does(says("fail"));
        until(&site, |check| check["verdict"] == "fail").await;
        site.number().await;
        let seen = site.events("rollout.check").await;
        let seen: Vec<_> = seen.iter().map(|event| event["data"]["verdict"].clone()).collect();
        assert_eq!(seen, ["inconclusive", "pass", "fail"], "no answer is no news");
        site.stop().await;
    }
}

#[tokio::test]
async fn a_check_that_can_not_be_asked_says_why() {
    let site = Site::new().await;
    let receiver = Receiver::new(&[]).await;
    let url = receiver.url.clone();
    drop(receiver);
    rollout(&site, json!([{ "name": "slo", "how": { "poll": { "url": url, "every": "1s" } } }]))
        .await;
    let check = until(&site, |check| check["reason"].is_string()).await;
    assert!(check["verdict"].is_null(), "{check}");
    assert_eq!(check["is_fresh"], false);
    site.stop().await;
}

#[tokio::test]
async fn the_program_of_the_documentation_answers_a_check() {
    for site in Site::on_each().await {
        let id = rollout(&site, json!([{ "name": "slo", "how": { "webhook": {} } }])).await;
        let secret = site.admin.get("/api/v1/rollouts/web-2/checks/slo/secret").await.good();
        let port = site.running.address.port();
        let url = secret["url"].as_str().unwrap();
        assert!(url.ends_with(&format!(":{port}/api/v1/rollouts/{id}/checks/slo")), "{url}");
        let mut bundle = Vec::new();
        for pem in authorities(&site.data) {
            bundle.extend(std::fs::read(pem).unwrap());
        }
        let pems = site.data.join("authorities.pem");
        std::io::Write::write_all(&mut std::fs::File::create(&pems).unwrap(), &bundle).unwrap();
        let answer = json!({ "verdict": "fail", "reason": "p99 9 s" }).to_string();
        let mut shell = Command::new("sh");
        shell.args(["-c", &snippet("sh"), "answer-check.sh"]).env("CACERT", &pems);
        shell.args([url, secret["secret"].as_str().unwrap(), &answer]);
        let done = tokio::task::spawn_blocking(move || shell.output().unwrap()).await.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let check = until(&site, |check| check["verdict"] == "fail").await;
        assert_eq!(check["reason"], "p99 9 s");
        site.stop().await;
    }
}

/// Signs with `openssl`, which is not what the server signs with.
fn signed(secret: &str, seconds: i64, body: &str) -> String {
    let script = "printf '%s.%s' \"$1\" \"$2\" | openssl dgst -sha256 -hmac \"$3\"";
    let args = ["-c", script, "sh", &seconds.to_string(), body, secret];
    let done = Command::new("sh").args(args).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    let hex = text.trim().rsplit(' ').next().unwrap();
    assert_eq!(hex.len(), 64, "{text:?}");
    format!("t={seconds},v1={hex}")
}

#[tokio::test]
async fn forged_stale_and_repeated_answers_are_refused() {
    let site = Site::new().await;
    let checks = json!([
        { "name": "slo", "how": { "webhook": {} } },
        { "name": "other", "how": { "webhook": {} } },
        { "name": "asked", "how": { "poll": { "url": "http://127.0.0.1:1/" } } },
    ]);
    rollout(&site, checks).await;
    let secret = site.admin.get("/api/v1/rollouts/web-2/checks/slo/secret").await.good();
    let secret = secret["secret"].as_str().unwrap().to_owned();
    let stranger = site.admin.with_token(None);
    let now = site.now().as_micros() / 1_000_000;
    let body = json!({ "verdict": "pass" }).to_string();
    let post = async |check: &str, signature: &str, body: &str| -> Reply {
        let path = format!("/api/v1/rollouts/web-2/checks/{check}");
        let headers = [("content-type", "application/json"), ("handover-signature", signature)];
        stranger.send("POST", &path, &headers, body.as_bytes()).await
    };
    let good = signed(&secret, now, &body);
    for (what, check, signature, body) in [
        ("no signature", "slo", String::new(), body.as_str()),
        ("another secret", "slo", signed("hws1_x", now, &body), &body),
        ("another body", "slo", good.clone(), r#"{"verdict":"fail"}"#),
        ("another check", "other", good.clone(), &body),
        ("a check that is asked", "asked", good.clone(), &body),
        ("no such check", "none", good.clone(), &body),
        ("too old", "slo", signed(&secret, now - 400, &body), &body),
        ("too early", "slo", signed(&secret, now + 400, &body), &body),
    ] {
        let refused = post(check, &signature, body).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "unproved"), "{what}");
    }
    let nowhere = "/api/v1/rollouts/none/checks/slo";
    let headers = [("handover-signature", good.as_str())];
    assert_eq!(stranger.send("POST", nowhere, &headers, body.as_bytes()).await.code(), "unproved");
    let nonsense = signed(&secret, now, "{}");
    assert_eq!(post("slo", &nonsense, "{}").await.code(), "malformed");
    let known = site.admin.get("/api/v1/rollouts/web-2/checks").await.good();
    assert!(known[0]["verdict"].is_null(), "nothing of that counted");

    assert_eq!(post("slo", &good, &body).await.status, 204);
    let again = post("slo", &good, &body).await;
    assert_eq!((again.status, again.code().as_str()), (409, "check.stale"));
    let earlier = signed(&secret, now - 1, r#"{"verdict":"fail"}"#);
    assert_eq!(post("slo", &earlier, r#"{"verdict":"fail"}"#).await.code(), "check.stale");
    let later = signed(&secret, now + 1, r#"{"verdict":"fail"}"#);
    assert_eq!(post("slo", &later, r#"{"verdict":"fail"}"#).await.status, 204);
    let known = site.admin.get("/api/v1/rollouts/web-2/checks").await.good();
    assert_eq!(known[0]["verdict"], "fail");
    let answered: Timestamp = serde_json::from_value(known[0]["answered_at"].clone()).unwrap();
    assert!(answered <= site.now(), "a clock that goes ahead makes no answer fresher");
    site.stop().await;
}

#[tokio::test]
async fn a_secret_is_shown_to_those_who_may_change_rollouts() {
    let site = Site::new().await;
    rollout(&site, json!([{ "name": "slo", "how": { "webhook": {} } }])).await;
    let viewer = site.token(&["rollouts:read"]).await;
    assert_eq!(viewer.get("/api/v1/rollouts/web-2/checks").await.status, 200);
    let path = "/api/v1/rollouts/web-2/checks/slo/secret";
    assert_eq!(viewer.get(path).await.code(), "forbidden");
    let editor = site.token(&["rollouts:write"]).await;
    assert_eq!(editor.get(path).await.status, 200);
    assert_eq!(editor.get("/api/v1/rollouts/web-2/checks/none/secret").await.code(), "not-found");
    assert_eq!(editor.get("/api/v1/rollouts/none/checks/slo/secret").await.code(), "not-found");
    site.stop().await;
}
