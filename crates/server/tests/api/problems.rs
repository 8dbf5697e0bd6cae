//! Every refusal is a problem document that says what is at fault.

use serde_json::json;

use crate::site::Site;

#[tokio::test]
async fn whatever_is_wrong_with_a_request_is_a_problem_with_the_part_at_fault() {
    let site = Site::new().await;
    site.agent("web-1").await;
    let client = &site.admin;
    let update = "/api/v1/agents/web-1/update";
    let nobody = client.with_token(None);
    let json_type = [("content-type", "application/json")];

    let cases = [
        (client.get("/nowhere").await, 404, "not-found"),
        (client.get("/api/v1/agents/nobody").await, 404, "not-found"),
        (client.get("/api/v1/agents/Not%20a%20name").await, 404, "not-found"),
        (client.get("/api/v1/agents/%ff").await, 400, "malformed"),
        (client.get("/api/v1/orders/order_1").await, 404, "not-found"),
        (client.send("PUT", "/api/v1/agents", &[], b"").await, 405, "method"),
        (client.send("POST", update, &[], b"x").await, 415, "media-type"),
        (client.send("POST", update, &json_type, b"{\"to\"").await, 400, "malformed"),
        (client.send("POST", update, &json_type, b"").await, 400, "malformed"),
        (client.post(update, &json!({ "to": "one" })).await, 422, "invalid"),
        (client.post(update, &json!({ "reason": "a\u{0}b" })).await, 422, "invalid"),
        (client.post(update, &json!({ "expires_in": "400d" })).await, 422, "invalid"),
        (client.get("/api/v1/agents?limit=0").await, 400, "malformed"),
        (client.get("/api/v1/agents?lable=a%3Db").await, 400, "malformed"),
        (client.get("/api/v1/agents?after=%00/1").await, 400, "malformed"),
        (client.get("/api/v1/orders?after=x").await, 400, "malformed"),
        (nobody.get("/api/v1/agents").await, 401, "unauthenticated"),
        (client.with_token(Some("x")).get("/api/v1/agents").await, 401, "unauthenticated"),
    ];
    for (reply, status, code) in cases {
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{}", reply.text());
    }
    let image = client.send("GET", "/api/v1/agents", &[("accept", "image/png")], b"").await;
    assert_eq!((image.status, image.code().as_str()), (406, "not-acceptable"));
    let large = vec![b' '; (1 << 20) + 1];
    let large = client.send("POST", update, &json_type, &large).await;
    assert_eq!((large.status, large.code().as_str()), (413, "too-large"));
    let bad = client.post(update, &json!({ "component": "web", "expect": { "current": 7 } })).await;
    assert_eq!(bad.json()["fields"][0]["field"], "body.expect.current");
    let key = [("idempotency-key", "")];
    let bad = client.json_with("POST", update, &json!({}), &key).await;
    assert_eq!(bad.json()["fields"][0]["field"], "header.idempotency-key");
    site.stop().await;
}

#[tokio::test]
async fn probes_monitoring_and_the_document_are_served() {
    for site in Site::on_each().await {
        let nobody = site.admin.with_token(None);
        assert_eq!(nobody.get("/healthz").await.good()["ok"], true);
        assert_eq!(nobody.get("/readyz").await.good()["ok"], true);
        let document = nobody.get("/api/v1/openapi.json").await.good();
        assert_eq!(document["openapi"], "3.1.0");
        let metrics = site.admin.get("/metrics").await;
        assert!(metrics.text().contains("\nhandover_agents{state=\"present\"} 0\n"));
        let info = site.admin.get("/api/v1/info").await.good();
        assert_eq!(info["epoch"], 1);
        assert!(info["checkpoint_key"].is_object(), "{info}");
        site.stop().await;
    }
}
