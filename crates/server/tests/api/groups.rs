//! Saved groups.

use handover_model::RolloutId;
use handover_store::StoreError;
use serde_json::{Value, json};

use crate::site::{Site, component};

const GROUPS: &str = "/api/v1/groups";

async fn save(site: &Site, name: &str, select: &str) -> crate::client::Reply {
    site.admin.json("PUT", &format!("{GROUPS}/{name}"), &json!({ "select": select })).await
}

/// A rollout that is not over and means these.
async fn rollout(site: &Site, select: &str) {
    let state = site.running.state();
    let id = state.mint(RolloutId::mint);
    let spec = json!({
        "name": "web-2", "component": "web", "to": "2.0.0", "select": select,
    });
    let made = state.store.write(move |tx| -> Result<_, StoreError> {
        tx.execute(
            "INSERT INTO rollouts (id, name, kind, component, spec, state, priority, released, \
             members, progress, counts, created_by, created_at, changed_at, generation) VALUES \
             ($1, 'web-2', '{\"is\":\"update\"}', 'web', $2, 'paused', 50, 0, 0, '{}', \
             $3, 'ann', 0, 0, 1)",
            &[
                id.to_string().into(),
                spec.to_string().into(),
                serde_json::to_string(&handover_model::api::Counts::default()).unwrap().into(),
            ],
        )
    });
    made.await.unwrap();
}

#[tokio::test]
async fn a_group_is_saved_as_it_is_printed_and_counts_whom_it_holds() {
    for site in Site::on_each().await {
        for (name, version) in [("web-1", "1.0.0"), ("web-2", "1.1.0"), ("web-3", "1.1.0")] {
            site.agent_with(name, vec![component("web", version, 1)]).await;
        }
        let saved = save(&site, "newer", "web>=1.1.0  AND label.site=ost").await;
        assert_eq!(saved.status, 422, "words are small: {}", saved.text());
        let saved = save(&site, "newer", "web>=1.1.0  and label.site=ost").await;
        assert_eq!(saved.header("etag"), Some("\"g1\""));
        let saved = saved.good();
        assert_eq!(
            (&saved["select"], &saved["matched"]),
            (&json!("web >= 1.1.0 and label.site = ost"), &json!(2))
        );
        save(&site, "first", "group:newer and name = web-2").await.good();
        let listed = site.admin.get(GROUPS).await.good();
        let counts: Vec<_> = listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["name"].as_str().unwrap().to_owned(), one["matched"].clone()))
            .collect();
        assert_eq!(counts, [("first".to_owned(), json!(1)), ("newer".to_owned(), json!(2))]);
        let page = site.admin.get(&format!("{GROUPS}?limit=1")).await.good();
        let next = page["next"].as_str().unwrap();
        let rest = site.admin.get(&format!("{GROUPS}?limit=1&after={next}")).await.good();
        assert_eq!((&rest["items"][0]["name"], &rest["next"]), (&json!("newer"), &Value::Null));
        let again = save(&site, "newer", "label.site = ost and web >= 1.1.0").await.good();
        assert_eq!(again["generation"], 2);
        let same = save(&site, "newer", "label.site = ost and web >= 1.1.0").await.good();
        assert_eq!(same["generation"], 2, "what stands already is not saved again");
        site.stop().await;
    }
}

#[tokio::test]
async fn a_stale_tag_changes_and_removes_nothing() {
    let site = Site::new().await;
    site.agent("web-1").await;
    save(&site, "canaries", "name = web-1").await.good();
    save(&site, "canaries", "all").await.good();
    let path = format!("{GROUPS}/canaries");
    let stale = [("if-match", "\"g1\"")];
    let body = json!({ "select": "name = web-1" });
    let late = site.admin.json_with("PUT", &path, &body, &stale).await;
    assert_eq!((late.status, late.code().as_str()), (412, "changed"));
    let late = site.admin.send("DELETE", &path, &stale, b"").await;
    assert_eq!((late.status, late.code().as_str()), (412, "changed"));
    let seen = [("if-match", "\"g2\"")];
    let gone = site.admin.send("DELETE", &path, &seen, b"").await.good();
    assert_eq!(gone["select"], "all");
    assert_eq!(site.admin.get(&path).await.code(), "not-found");
    site.number().await;
    let rows = site.admin.get("/api/v1/audit?subject=group:canaries").await.good();
    let whats: Vec<_> =
        rows["items"].as_array().unwrap().iter().map(|row| row["what"].clone()).collect();
    assert_eq!(whats, ["group.save", "group.save", "group.remove"]);
    site.stop().await;
}

#[tokio::test]
async fn what_nobody_has_is_named_and_nothing_is_saved() {
    let site = Site::new().await;
    site.agent_with("web-1", vec![component("web", "1.0.0", 1)]).await;
    let nobody = "id = agent_018bcfe5687b7fffbfffffffffffffff";
    for select in ["label.siet = ost", "name = web-9", "wbe < 2.0.0", "group:none", nobody] {
        let refused = save(&site, "some", select).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (422, "selection.unknown"),
            "{select}"
        );
    }
    let typo = save(&site, "some", "label.siet = ost").await.json();
    let told = typo["fields"][0]["message"].as_str().unwrap();
    assert!(told.contains("did you mean") && told.contains("site"), "{told}");
    let refused = save(&site, "some", "label.site =").await;
    assert_eq!(refused.code(), "selection.malformed");
    assert!(site.admin.get(GROUPS).await.good()["items"].as_array().unwrap().is_empty());
    site.stop().await;
}

#[tokio::test]
async fn a_group_never_holds_itself() {
    let site = Site::new().await;
    site.agent("web-1").await;
    let refused = save(&site, "one", "group:one").await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "group.cycle"));
    save(&site, "one", "all").await.good();
    save(&site, "two", "group:one").await.good();
    save(&site, "three", "group:two").await.good();
    let refused = save(&site, "one", "name = web-1 or group:three").await;
    assert_eq!(refused.code(), "group.cycle", "{}", refused.text());
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("three → two → one"), "{detail}");
    site.stop().await;
}

#[tokio::test]
async fn a_group_that_somebody_names_is_removed_on_a_second_word_alone() {
    for site in Site::on_each().await {
        site.agent("web-1").await;
        save(&site, "canaries", "name = web-1").await.good();
        save(&site, "more", "group:canaries or label.site = ost").await.good();
        rollout(&site, "group:canaries").await;
        let path = format!("{GROUPS}/canaries");
        let refused = site.admin.delete(&path).await;
        assert_eq!((refused.status, refused.code().as_str()), (409, "group.used"));
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("group more, rollout web-2 would miss"), "{detail}");
        let gone = site.admin.delete(&format!("{path}?anyway=true")).await.good();
        assert_eq!(gone["name"], "canaries");
        assert_eq!(site.admin.get(&format!("{GROUPS}/more")).await.good()["matched"], 0);
        site.stop().await;
    }
}
