//! The fleet-wide stop.

use serde_json::json;

use crate::site::{Site, component};

const STOP: &str = "/api/v1/stop";

#[tokio::test]
async fn a_stop_is_said_once_and_shown_to_whoever_asks_why_nothing_moves() {
    for site in Site::on_each().await {
        let before = site.admin.get(STOP).await.good();
        assert_eq!((&before["stopped"], &before["generation"]), (&json!(false), &json!(0)));
        site.agent_with("web-1", vec![component("web", "1.0.0", 1)]).await;
        let body = json!({ "stopped": true, "reason": "smoke in the data centre" });
        let stopped = site.admin.json("PUT", STOP, &body).await;
        assert_eq!(stopped.header("etag"), Some("\"g1\""));
        let stopped = stopped.good();
        assert!(stopped["by"].as_str().unwrap().starts_with("token_"), "{stopped}");
        let again = site.admin.json("PUT", STOP, &json!({ "stopped": true })).await.good();
        assert_eq!(again, stopped, "what stands is not said twice");
        let explained = site.admin.get("/api/v1/agents/web-1/explain?component=web").await.good();
        let layers = explained[0]["layers"].as_array().unwrap().clone();
        let layer = layers.iter().find(|layer| layer["layer"] == "fleet").unwrap();
        assert!(layer["sentence"].as_str().unwrap().ends_with("smoke in the data centre"));
        let stale = [("if-match", "\"g0\"")];
        let late = site.admin.json_with("PUT", STOP, &json!({ "stopped": false }), &stale).await;
        assert_eq!((late.status, late.code().as_str()), (412, "changed"));
        let seen = [("if-match", "\"g1\"")];
        let ended = site.admin.json_with("PUT", STOP, &json!({ "stopped": false }), &seen).await;
        assert_eq!(ended.good()["stopped"], false);
        site.number().await;
        let rows = site.admin.get("/api/v1/audit?subject=fleet").await.good();
        let whats: Vec<_> =
            rows["items"].as_array().unwrap().iter().map(|row| row["what"].clone()).collect();
        assert_eq!(whats, ["fleet.stop", "fleet.resume"]);
        site.stop().await;
    }
}

#[tokio::test]
async fn who_may_see_rollouts_may_see_the_stop_and_not_change_it() {
    let site = Site::new().await;
    let viewer = site.token(&["rollouts:read", "rollouts:write"]).await;
    assert_eq!(viewer.get(STOP).await.status, 200);
    let refused = viewer.json("PUT", STOP, &json!({ "stopped": true })).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"));
    let stopper = site.token(&["fleet:stop"]).await;
    assert_eq!(stopper.json("PUT", STOP, &json!({ "stopped": true })).await.status, 200);
    site.stop().await;
}
