//! The event stream: everything once, in order, also over a break.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use handover_model::wire::LoginToken;

use crate::client::Client;
use crate::site::Site;

/// A stream of events.
struct Follower {
    stream: TlsStream<TcpStream>,
    text: String,
}

impl Follower {
    async fn open(site: &Site, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::open_as(&site.admin, path, headers).await
    }

    async fn open_as(client: &Client, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = client.connect().await;
        let head = client.head("GET", path, headers, 0);
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut this = Self { stream, text: String::new() };
        this.until(|text| text.contains(": open")).await;
        assert!(this.text.starts_with("HTTP/1.1 200"), "{}", this.text);
        this
    }

    async fn until(&mut self, holds: impl Fn(&str) -> bool) {
        let read = async {
            while !holds(&self.text) {
                let mut piece = [0; 4096];
                let count = self.stream.read(&mut piece).await.unwrap();
                assert_ne!(count, 0, "the stream ended: {}", self.text);
                self.text.push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        };
        tokio::time::timeout(Duration::from_secs(10), read).await.expect("within ten seconds");
    }

    /// The events so far, each whole.
    fn events(&self) -> Vec<Value> {
        let data = self.text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter_map(|data| serde_json::from_str(data).ok()).collect()
    }

    async fn wait_for(&mut self, count: usize) -> Vec<Value> {
        self.until(|text| text.matches("\ndata: ").count() >= count && text.ends_with('\n')).await;
        self.events()
    }
}

async fn relabel(site: &Site, agent: &str, value: &str) {
    let change = json!({ "set": { "n": value } });
    site.admin.json("PATCH", &format!("/api/v1/agents/{agent}"), &change).await.good();
    site.number().await;
}

#[tokio::test]
async fn a_follower_that_comes_back_gets_what_it_missed_and_nothing_twice() {
    for site in Site::on_each().await {
        site.agent("web-1").await;
        site.agent("web-2").await;
        let mut first = Follower::open(&site, "/api/v1/events?agent=web-1", &[]).await;
        relabel(&site, "web-1", "1").await;
        relabel(&site, "web-2", "other").await;
        relabel(&site, "web-1", "2").await;
        let seen = first.wait_for(2).await;
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert_eq!(seen[1]["data"]["n"], "2");
        drop(first);

        relabel(&site, "web-1", "3").await;
        let last = seen[1]["seq"].to_string();
        let headers = [("last-event-id", last.as_str())];
        let mut second = Follower::open(&site, "/api/v1/events?agent=web-1", &headers).await;
        relabel(&site, "web-1", "4").await;
        let seen = second.wait_for(2).await;
        let values: Vec<_> = seen.iter().map(|event| event["data"]["n"].clone()).collect();
        assert_eq!(json!(values), json!(["3", "4"]));
        drop(second);
        let timeline = site.admin.get("/api/v1/agents/web-1/timeline").await.good();
        assert_eq!(timeline["items"][0]["data"]["n"], "4", "{timeline}");
        site.stop().await;
    }
}

#[tokio::test]
async fn a_follower_of_another_database_is_not_left_waiting_for_ever() {
    let site = Site::new().await;
    let headers = [("last-event-id", "4711")];
    let reply = site.admin.send("GET", "/api/v1/events", &headers, b"").await;
    assert_eq!((reply.status, reply.code().as_str()), (410, "events.gone"));
    let headers = [("last-event-id", "x")];
    let reply = site.admin.send("GET", "/api/v1/events", &headers, b"").await;
    assert_eq!(reply.code(), "malformed");
    site.stop().await;
}

#[tokio::test]
async fn a_stream_ends_with_the_token_that_it_was_opened_with() {
    let site = Site::new().await;
    let body = json!({ "name": "watcher", "permissions": ["events:read"] });
    let made = site.admin.post("/api/v1/api-tokens", &body).await.good();
    let secret = LoginToken::parse(made["token"].as_str().unwrap()).unwrap().secret;
    let watcher = site.admin.with_token(Some(&secret));
    let mut stream = Follower::open_as(&watcher, "/api/v1/events", &[]).await;
    let id = made["info"]["id"].as_str().unwrap();
    site.admin.delete(&format!("/api/v1/api-tokens/{id}")).await.good();
    stream.until(|text| text.contains("token.ended")).await;
    site.stop().await;
}

#[tokio::test]
async fn the_stream_of_one_rollout_shows_it_and_no_other() {
    for site in Site::on_each().await {
        crate::rollouts::fleet(&site).await;
        let mut ids = Vec::new();
        for (name, select) in [("one", "name = web-1"), ("two", "name = web-2")] {
            let spec = crate::rollouts::spec(&json!({ "name": name, "select": select }));
            let made = site.admin.post("/api/v1/rollouts", &spec).await.good();
            ids.push(made["id"].as_str().unwrap().to_owned());
        }
        let mut stream = Follower::open(&site, "/api/v1/events?rollout=two&after=0", &[]).await;
        stream.until(|text| text.contains("rollout.released")).await;
        assert!(stream.text.contains(&ids[1]) && !stream.text.contains(&ids[0]));
        let none = site.admin.get("/api/v1/events?rollout=three").await;
        assert_eq!(none.code(), "not-found");
        site.stop().await;
    }
}
