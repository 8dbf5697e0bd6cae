//! Tokens: made once, shown once, stored as digests; nobody gives away more than they have.

use handover_model::wire::{EnrolToken, LoginToken};
use serde_json::json;

use crate::site::Site;

#[tokio::test]
async fn a_repeated_request_gets_the_same_token_and_no_file_of_the_server_holds_its_secret() {
    for site in Site::on_each().await {
        let body = json!({ "labels": { "site": "ost" }, "expires_in": "10m" });
        let key = [("idempotency-key", "make-1")];
        let path = "/api/v1/tokens";
        let first = site.admin.json_with("POST", path, &body, &key).await.good();
        let again = site.admin.json_with("POST", path, &body, &key).await.good();
        assert_eq!(first, again);
        let token = EnrolToken::parse(first["token"].as_str().unwrap()).unwrap();
        assert_eq!(token.pins, site.running.state().ca_pins());
        let without = site.admin.post(path, &body).await.good();
        assert_ne!(without["token"], first["token"], "without a key it is another one");
        for entry in site.data.read_dir_utf8().unwrap().flatten() {
            if let Ok(bytes) = std::fs::read(entry.path()) {
                let text = String::from_utf8_lossy(&bytes);
                assert!(!text.contains(&token.secret), "{} holds the secret", entry.path());
            }
        }
        let id = first["info"]["id"].as_str().unwrap();
        let gone = site.admin.delete(&format!("{path}/{id}")).await.good();
        assert_eq!(gone["state"], "revoked");
        site.stop().await;
    }
}

#[tokio::test]
async fn a_token_does_what_it_was_made_for_and_nothing_else() {
    let site = Site::new().await;
    site.agent("web-1").await;
    let body = json!({ "name": "viewer", "permissions": ["agents:read", "api-tokens"] });
    let made = site.admin.post("/api/v1/api-tokens", &body).await.good();
    let secret = LoginToken::parse(made["token"].as_str().unwrap()).unwrap().secret;
    let viewer = site.admin.with_token(Some(&secret));
    assert_eq!(viewer.get("/api/v1/agents").await.status, 200);
    assert_eq!(viewer.get("/api/v1/whoami").await.good()["name"], "viewer");
    let order = viewer.post("/api/v1/agents/web-1/update", &json!({ "component": "web" })).await;
    assert_eq!((order.status, order.code().as_str()), (403, "forbidden"));
    assert_eq!(viewer.get("/api/v1/audit").await.status, 403);
    assert_eq!(viewer.get("/metrics").await.status, 403);

    let more = json!({ "name": "more", "permissions": ["agents:read", "orders:write"] });
    let more = viewer.post("/api/v1/api-tokens", &more).await;
    assert_eq!((more.status, more.code().as_str()), (403, "forbidden"));
    let admins = site.admin.get("/api/v1/whoami").await.good()["id"].as_str().unwrap().to_owned();
    let stolen = viewer.delete(&format!("/api/v1/api-tokens/{admins}")).await;
    assert_eq!(stolen.status, 403, "nor takes a token away that may more");

    let id = made["info"]["id"].as_str().unwrap();
    site.admin.delete(&format!("/api/v1/api-tokens/{id}")).await.good();
    let late = viewer.get("/api/v1/agents").await;
    assert_eq!((late.status, late.code().as_str()), (401, "unauthenticated"));
    site.stop().await;
}

#[tokio::test]
async fn tokens_that_a_revoked_token_made_are_revoked_with_it() {
    for site in Site::on_each().await {
        let path = "/api/v1/api-tokens";
        let make = async |by: &crate::client::Client, name: &str| {
            let body = json!({ "name": name, "permissions": ["api-tokens"] });
            let made = by.post(path, &body).await.good();
            let secret = LoginToken::parse(made["token"].as_str().unwrap()).unwrap().secret;
            let id = made["info"]["id"].as_str().unwrap().to_owned();
            (by.with_token(Some(&secret)), id)
        };
        let (stolen, id) = make(&site.admin, "stolen").await;
        let (sibling, _) = make(&site.admin, "sibling").await;
        let (child, child_id) = make(&stolen, "child").await;
        let (grandchild, _) = make(&child, "grandchild").await;
        assert_eq!(grandchild.get("/api/v1/whoami").await.status, 200);
        site.admin.delete(&format!("{path}/{id}")).await.good();
        for gone in [&stolen, &child, &grandchild] {
            assert_eq!(gone.get("/api/v1/whoami").await.code(), "unauthenticated");
        }
        for stays in [&site.admin, &sibling] {
            assert_eq!(stays.get("/api/v1/whoami").await.status, 200);
        }
        site.number().await;
        let rows = site.admin.get(&format!("/api/v1/audit?subject={child_id}")).await.good();
        let last = rows["items"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(
            (&last["what"], &last["after"]["made_by"]),
            (&json!("api-token.revoke"), &json!(id))
        );
        site.stop().await;
    }
}
