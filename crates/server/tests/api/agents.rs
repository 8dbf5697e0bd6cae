//! Agents: lists, labels, retirement, explanations, updates, inventory.

use serde_json::json;

use crate::repository::Repository;
use crate::site::{Site, component};

#[tokio::test]
async fn agents_are_listed_by_name_page_by_page_and_filtered() {
    for site in Site::on_each().await {
        for number in 0..5 {
            site.agent_with(&format!("web-{number}"), vec![component("web", "1.0.0", 1)]).await;
        }
        site.agent("db-1").await;
        let mut names = Vec::new();
        let mut path = "/api/v1/agents?limit=2".to_owned();
        loop {
            let page = site.admin.get(&path).await.good();
            names.extend(page["items"].as_array().unwrap().iter().map(|one| one["name"].clone()));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/api/v1/agents?limit=2&after={}", next.replace('/', "%2F"));
        }
        assert_eq!(json!(names), json!(["db-1", "web-0", "web-1", "web-2", "web-3", "web-4"]));
        let count = async |query: &str| {
            let page = site.admin.get(&format!("/api/v1/agents?{query}")).await.good();
            page["items"].as_array().unwrap().len()
        };
        assert_eq!(count("name=web-").await, 5);
        assert_eq!(count("component=web&version=1.0.0&label=site%3Dost").await, 5);
        assert_eq!(count("component=web&version=1.1.0").await, 0);
        assert_eq!(count("label=site%3Dwest").await, 0);
        assert_eq!(count("state=retired").await, 0);
        site.stop().await;
    }
}

#[tokio::test]
async fn agents_are_listed_by_selection() {
    for site in Site::on_each().await {
        for number in 0..5 {
            site.agent_with(&format!("web-{number}"), vec![component("web", "1.0.0", 1)]).await;
        }
        let db = site.agent("db-1").await;
        let path = |selection: &str, rest: &str| {
            let selection: String = form_urlencoded::byte_serialize(selection.as_bytes()).collect();
            format!("/api/v1/agents?select={selection}{rest}")
        };
        let names = async |selection: &str, rest: &str| {
            let page = site.admin.get(&path(selection, rest)).await.good();
            let items = page["items"].as_array().unwrap().clone();
            items.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("web < 2.0.0 and name in (web-1, db-1)", "").await, ["web-1"]);
        assert_eq!(names("not has web", "").await, ["db-1"]);
        assert_eq!(names("label.site = ost", "&component=web").await.len(), 5);
        assert_eq!(names("state = retired", "").await, [""; 0]);
        site.admin.json("POST", &format!("/api/v1/agents/{db}/retire"), &json!({})).await.good();
        assert_eq!(names("state = retired", "").await, ["db-1"], "it asks for retired ones");
        assert_eq!(names("all", "").await.len(), 5, "retired ones are left out");

        // A page that ends in the middle goes on where it ended.
        let first = site.admin.get(&path("not name = web-1", "&limit=2")).await.good();
        let next = first["next"].as_str().unwrap().replace('/', "%2F");
        let rest = names("not name = web-1", &format!("&limit=2&after={next}")).await;
        assert_eq!(rest, ["web-3", "web-4"]);

        let refused = site.admin.get(&path("web == 1.0.0", "")).await;
        assert_eq!(refused.status, 422);
        assert_eq!(refused.code(), "selection.malformed");
        let refused = site.admin.get(&path("group:nobody", "")).await;
        assert_eq!(refused.status, 422);
        assert_eq!(refused.code(), "selection.unknown");
        site.stop().await;
    }
}

#[tokio::test]
async fn labels_change_only_what_they_name_and_only_what_was_looked_at() {
    for site in Site::on_each().await {
        let id = site.agent("web-1").await;
        let path = format!("/api/v1/agents/{id}");
        let shown = site.admin.get("/api/v1/agents/web-1").await;
        let tag = shown.header("etag").unwrap().to_owned();
        assert_eq!(shown.good()["id"], id.to_string());
        let change = json!({ "set": { "tier": "db" }, "remove": ["site", "never-there"] });
        let headers = [("if-match", tag.as_str())];
        let changed = site.admin.json_with("PATCH", &path, &change, &headers).await.good();
        assert_eq!(changed["labels"], json!({ "tier": "db" }));
        let stale = site.admin.json_with("PATCH", &path, &change, &headers).await;
        assert_eq!(stale.status, 412);
        assert_eq!(stale.code(), "changed");
        let any = [("if-match", "*")];
        let same = site.admin.json_with("PATCH", &path, &change, &any).await.good();
        assert_eq!(same["generation"], changed["generation"], "no change is no new generation");
        site.number().await;
        let trail = site.admin.get(&format!("/api/v1/audit?subject={id}")).await.good();
        let rows = trail["items"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "{trail}");
        assert_eq!(rows[0]["before"], json!({ "site": "ost" }));
        assert_eq!(rows[0]["after"], json!({ "tier": "db" }));
        site.stop().await;
    }
}

#[tokio::test]
async fn a_retired_agent_gets_no_orders_and_its_open_ones_are_void() {
    let site = Site::new().await;
    site.agent_with("web-1", vec![component("web", "1.0.0", 1)]).await;
    let id = site.admin.get("/api/v1/agents/web-1").await.good()["id"].as_str().unwrap().to_owned();
    let to = json!({ "to": "1.1.0" });
    let order = site.admin.post("/api/v1/agents/web-1/update", &to).await.good();
    let order = order["id"].as_str().unwrap().to_owned();
    let body = json!({ "reason": "sold" });
    let gone = site.admin.post("/api/v1/agents/web-1/retire", &body).await.good();
    assert_eq!((gone["state"].clone(), gone["note"].clone()), (json!("retired"), json!("sold")));
    let order = site.admin.get(&format!("/api/v1/orders/{order}")).await.good();
    assert_eq!(order["state"], "voided");
    let path = format!("/api/v1/agents/{id}/update");
    let late = site.admin.post(&path, &json!({ "component": "web" })).await;
    assert_eq!((late.status, late.code().as_str()), (410, "agent.retired"));
    let again = site.admin.send("POST", &format!("/api/v1/agents/{id}/retire"), &[], b"").await;
    assert_eq!(again.status, 200);
    site.stop().await;
}

#[tokio::test]
async fn one_sentence_says_why_a_host_is_not_at_a_version() {
    let site = Site::new().await;
    let mut repository = Repository::new(1, site.now());
    repository.offer("web", "1.0.0", 1, |_| {});
    repository.offer("web", "1.1.0", 2, |_| {});
    repository.publish(&site).await;
    let mut pinned = component("web", "1.0.0", 1);
    pinned.pin = Some("1.0.0".parse().unwrap());
    site.agent_with("web-1", vec![pinned]).await;
    let explained = site.admin.get("/api/v1/agents/web-1/explain?component=web").await.good();
    let sentence = explained[0]["sentence"].as_str().unwrap();
    assert_eq!(
        sentence,
        "web on web-1 is at 1.0.0 and not at 1.1.0 because the pin 1.0.0 excludes 1.1.0; unpin \
         the component to allow it"
    );
    let updates = site.admin.get("/api/v1/agents/web-1/updates/available").await.good();
    assert_eq!(updates["components"][0]["blocked"][0]["code"], "pinned");
    let inventory = site.admin.get("/api/v1/inventory").await.good();
    assert_eq!(inventory["components"][0]["versions"][0]["agents"], 1);
    let releases = site.admin.get("/api/v1/releases/web").await.good();
    assert_eq!(releases["threshold"], 1);
    assert_eq!(releases["releases"][0]["version"], "1.1.0");
    let graph = site.admin.get("/api/v1/releases/web/graph").await.good();
    assert_eq!(graph["edges"], json!([{ "from": "1.0.0", "to": "1.1.0" }]));
    site.stop().await;
}
