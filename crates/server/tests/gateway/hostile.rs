//! Agents that lie, flood, dawdle or were copied: what they get, and that others are served.

use std::time::Duration;

use handover_model::Labels;
use handover_model::api::{AgentState, OrderState};
use handover_model::wire::{
    LARGEST_REQUEST, MOST_REPORTS, OrderStage, Place, Report, SyncAnswer, SyncRequest,
};
use handover_model::{Digest, SessionId};
use handover_trust::control::sign;
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::rig::{Agent, PATIENCE, Site, protocol, tls};
use crate::said::{host, on, opened, update};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_of_another_agent_or_in_anothers_name_is_refused_and_leaves_nothing() {
    let site = Site::start().await;
    let (mut mallory, mut victim) = (site.enrol("mallory").await, site.enrol("victim").await);
    let mut client = site.connect().await;
    let theirs = victim.state_report(&site, host("victim", "6.6.6"));
    let request = SyncRequest { reports: vec![theirs], ..mallory.request() };
    let reply = mallory.send(&mut client, &request).await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::FORBIDDEN, "unproved"));

    let report = handover_model::wire::ReportBody::State(Box::new(host("victim", "6.6.6")));
    let forged = Report {
        type_: Report::TYPE.to_owned(),
        agent: victim.id,
        number: 1,
        session: mallory.session,
        at: site.now(),
        body: report,
    };
    let forged = sign(&forged, &mallory.key).unwrap();
    let request = SyncRequest { reports: vec![forged], ..mallory.request() };
    assert_eq!(mallory.send(&mut client, &request).await.code(), "unproved");
    for agent in [victim.id, mallory.id] {
        let stored = site.stored_agent(agent).await;
        assert_eq!((stored.acknowledged, stored.components.len()), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_on_another_agents_order_or_on_one_that_was_never_handed_out_changes_nothing() {
    let site = Site::start().await;
    let (mut mallory, mut victim) = (site.enrol("mallory").await, site.enrol("victim").await);
    let mut client = site.connect().await;
    let id = site.order(victim.id, update()).await;
    let answer = victim.ordered(&mut client).await;
    let order = opened(&site, &victim, &answer.orders[0]);
    let lie = mallory.order_report(&site, on(&order, OrderStage::Failed));
    let answer = mallory.sync(&mut client, vec![lie]).await;
    assert_eq!(answer.acknowledged, 1, "it is kept, as a lie of its own");
    assert_eq!(site.stored_order(id).await.state, OrderState::HandedOut);

    let mut ahead = on(&order, OrderStage::Done);
    ahead.place = Place { epoch: 1, sequence: 99 };
    let lie = victim.order_report(&site, ahead);
    victim.sync(&mut client, vec![lie]).await;
    assert_eq!(site.stored_order(id).await.state, OrderState::HandedOut);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replayed_and_reordered_reports_have_no_effect() {
    for site in Site::on_both().await {
        let mut agent = site.enrol("web-1").await;
        let mut client = site.connect().await;
        let old = agent.state_report(&site, host("web-1", "1.0.0"));
        let new = agent.state_report(&site, host("web-1", "2.0.0"));
        let answer = agent.sync(&mut client, vec![new.clone(), old.clone()]).await;
        assert_eq!(answer.acknowledged, 2);
        for replayed in [vec![old.clone()], vec![new.clone()], vec![old, new]] {
            assert_eq!(agent.sync(&mut client, replayed).await.acknowledged, 2);
        }
        let version = site.stored_agent(agent.id).await.components[0].current.clone();
        assert_eq!(version, Some("2.0.0".parse().unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_or_means_nothing_is_refused_by_name() {
    let site = Site::start().await;
    let mut agent = site.enrol("web-1").await;
    let mut client = site.connect().await;
    let bearer = format!("Bearer {}", agent.secret);
    let headers = [protocol(), ("authorization", bearer.as_str())];

    let reply = client.post("/agent/v1/sync", &headers, vec![b' '; LARGEST_REQUEST + 1]).await;
    assert_eq!(reply.code(), "too-large");
    let mut client = site.connect().await;
    let reply = client.post("/agent/v1/sync", &headers, b"{\"session\": 7}".to_vec()).await;
    assert_eq!(reply.code(), "malformed");
    let report = agent.state_report(&site, host("web-1", "1.0.0"));
    let request = SyncRequest { reports: vec![report; MOST_REPORTS + 1], ..agent.request() };
    assert_eq!(agent.send(&mut client, &request).await.code(), "too-large");

    // Labels that no document of ours could hold.
    let mut state = serde_json::to_value(host("web-1", "1.0.0")).unwrap();
    let many = (0..500).map(|n| (format!("k{n}"), serde_json::Value::from("v")));
    state["facts"] = many.collect::<serde_json::Map<_, _>>().into();
    let report = serde_json::json!({
        "_type": Report::TYPE, "agent": agent.id, "number": 9, "session": agent.session,
        "at": site.now(), "kind": "state", "body": state,
    });
    let request =
        SyncRequest { reports: vec![sign(&report, &agent.key).unwrap()], ..agent.request() };
    assert_eq!(agent.send(&mut client, &request).await.code(), "unproved");
    assert_eq!(site.stored_agent(agent.id).await.facts, Labels::default());

    let long = "x".repeat(40_000);
    let headers = [protocol(), ("authorization", long.as_str())];
    let reply = client.call(http::Method::POST, "/agent/v1/sync", &headers, Vec::new()).await;
    // The server may close before the whole head was written.
    if let Ok(reply) = reply {
        assert_eq!(reply.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    let mut client = site.connect().await;
    agent.sync(&mut client, Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_versions_of_the_protocol_and_unknown_secrets_are_refused_by_name() {
    let site = Site::start().await;
    let mut agent = site.enrol("web-1").await;
    let mut client = site.connect().await;
    let bearer = format!("Bearer {}", agent.secret);
    for version in ["0", "2", "99", "one", ""] {
        let headers = [("handover-protocol", version), ("authorization", bearer.as_str())];
        let reply = client.post("/agent/v1/sync", &headers, b"{}".to_vec()).await;
        assert_eq!(reply.code(), "protocol.unsupported", "{version:?}");
    }
    let reply = client.post("/agent/v1/sync", &[("authorization", &bearer)], b"{}".to_vec()).await;
    assert_eq!(reply.code(), "protocol.unsupported");
    let reply = client.post("/agent/v1/sync", &[protocol()], b"{}".to_vec()).await;
    assert_eq!(reply.code(), "unauthenticated");
    agent.secret = "guess".to_owned();
    let request = agent.request();
    let reply = agent.send(&mut client, &request).await;
    assert_eq!(reply.code(), "unauthenticated");
    assert_eq!(reply.headers["www-authenticate"], "Bearer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_told_when_to_come_again_and_others_are_served() {
    let site = Site::start_with(|config| {
        config.limits.agent_requests_per_10s = 20;
        config.limits.enrolments_per_second = 2;
    })
    .await;
    let (mut flood, mut quiet) = (site.enrol("flood").await, site.enrol("quiet").await);
    let mut client = site.connect().await;
    let mut refused = 0;
    for _ in 0..60 {
        let request = flood.request();
        let reply = flood.send(&mut client, &request).await;
        if reply.status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(reply.code(), "rate-limited");
            let wait: u64 = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=11).contains(&wait), "{wait}");
            refused += 1;
        }
    }
    assert!(refused >= 20, "{refused}");
    quiet.sync(&mut client, Vec::new()).await;

    let mut stranger = site.stranger("nobody", "nothing");
    stranger.secret = "guess".to_owned();
    let mut codes = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let request = stranger.request();
        codes.insert(stranger.send(&mut client, &request).await.code());
    }
    assert!(codes.contains("rate-limited") && codes.contains("unauthenticated"), "{codes:?}");
    quiet.sync(&mut client, Vec::new()).await;
    // Those who guess secrets don't keep hosts from enrolling.
    site.enrol("newcomer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_never_ends_and_a_body_that_never_comes_lose_their_place() {
    let site = Site::start_with(|config| {
        config.limits.head = Duration::from_secs(1);
        config.limits.body = Duration::from_secs(1);
        config.limits.idle = Duration::from_secs(2);
    })
    .await;
    let agent = site.enrol("web-1").await;
    let mut dripping = tls(&site, &site.authorities()).await.unwrap();
    let drip = async {
        dripping.write_all(b"POST /agent/v1/sync HTTP/1.1\r\nhost: x\r\n").await.unwrap();
        // Another header now and then keeps nobody waiting.
        while dripping.write_all(b"a: b\r\n").await.is_ok() {
            let read = tokio::time::timeout(Duration::from_millis(200), dripping.read_u8());
            if matches!(read.await, Ok(Err(_))) {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, drip).await.unwrap();

    let mut silent = tls(&site, &site.authorities()).await.unwrap();
    let head = format!(
        "POST /agent/v1/sync HTTP/1.1\r\nhost: x\r\nhandover-protocol: 1\r\n\
         authorization: Bearer {}\r\ncontent-length: 500\r\n\r\n{{",
        agent.secret
    );
    silent.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{ended:?} {answer}");

    let mut idle = tls(&site, &site.authorities()).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, idle.read_u8()).await;
    assert!(ended.unwrap().is_err(), "a connection that says nothing is closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_asks_for_hours_is_answered_at_the_limit() {
    let site = Site::start_with(|config| config.limits.wait = Duration::from_millis(300)).await;
    let mut agent = site.enrol("web-1").await;
    let mut client = site.connect().await;
    let state = agent.state_report(&site, host("web-1", "1.0.0"));
    agent.sync(&mut client, vec![state]).await;
    let asked = agent.poll(&mut client, Duration::from_hours(10));
    let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap();
    assert!(answer.orders.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_copies_of_an_agent_are_both_told_and_get_no_orders_until_one_enrols_again() {
    for site in Site::on_both().await {
        let mut original = site.enrol("web-1").await;
        let mut client = site.connect().await;
        original.sync(&mut client, Vec::new()).await;
        let mut copy = copied(&site, &original);
        let order = site.order(original.id, update()).await;
        copy.sync(&mut client, Vec::new()).await;
        for agent in [&mut original, &mut copy] {
            let answer: SyncAnswer = agent.sync(&mut client, Vec::new()).await;
            assert_eq!(answer.notices[0].code, "agent.cloned");
            assert!(answer.orders.is_empty());
        }
        let stored = site.stored_agent(original.id).await;
        assert_eq!(stored.state, AgentState::Cloned);
        assert!(stored.note.is_some_and(|note| note.contains("two hosts")));

        let (secret, _info) = site.token(|_| {}).await;
        original.token = secret;
        let answer = original.enrol(&site).await.expect_ok();
        original.take(&answer);
        let request = copy.request();
        assert_eq!(copy.send(&mut client, &request).await.code(), "unauthenticated");
        // The copy may have taken the order before: it comes again until a host reports on it.
        site.clock.advance(Duration::from_secs(11));
        let answer = original.sync(&mut client, Vec::new()).await;
        assert_eq!(answer.notices, []);
        assert_eq!(opened(&site, &original, &answer.orders[0]).id, order);
    }
}

/// The same files on another machine.
fn copied(site: &Site, original: &Agent) -> Agent {
    let mut copy = site.stranger(&original.name, "");
    copy.id = original.id;
    copy.secret.clone_from(&original.secret);
    copy.order_keys.clone_from(&original.order_keys);
    copy.machine = Digest::of(b"another machine");
    copy.session = SessionId::mint(&mut site.ids(), site.now());
    copy
}
