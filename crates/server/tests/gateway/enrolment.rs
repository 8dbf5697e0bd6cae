//! Tokens and what they make of hosts.

use std::time::Duration;

use handover_model::api::{AgentState, TokenState};
use handover_model::wire::{EnrolAnswer, EnrolProof};
use handover_store::{StoreError, tokens};
use handover_testkit::Postgres;

use crate::rig::{PATIENCE, Site};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_asks_again_is_the_same_agent_and_its_old_secret_counts_until_the_new_one() {
    for site in Site::on_both().await {
        let mut agent = site.enrol("web-1").await;
        let mut client = site.connect().await;
        agent.sync(&mut client, Vec::new()).await;
        let again: EnrolAnswer = agent.enrol(&site).await.expect_ok();
        assert_eq!((again.agent, again.labels.get("site")), (agent.id, Some("east")));
        assert_ne!(again.secret, agent.secret);
        agent.sync(&mut client, Vec::new()).await;
        let old = std::mem::replace(&mut agent.secret, again.secret);
        agent.sync(&mut client, Vec::new()).await;
        agent.secret = old;
        let request = agent.request();
        assert_eq!(agent.send(&mut client, &request).await.code(), "unauthenticated");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_one_replica_gave_counts_at_the_other() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.fresh_database();
    let site = Site::start_with(|config| config.database = Some(url)).await;
    let other = site.replica().await;
    let mut agent = site.enrol("web-1").await;
    let mut client = other.connect().await;
    for _ in 0..2 {
        let known = async {
            loop {
                let request = agent.request();
                if agent.send(&mut client, &request).await.status.is_success() {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, known).await.expect("the other replica hears of it");
        let again: EnrolAnswer = agent.enrol(&site).await.expect_ok();
        agent.secret = again.secret;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hosts_with_one_token_exactly_one_is_enrolled() {
    for site in Site::on_both().await {
        for round in 0..5 {
            let (secret, _info) = site.token(|_| {}).await;
            let one = site.stranger(&format!("one-{round}"), &secret);
            let two = site.stranger(&format!("two-{round}"), &secret);
            let replies = [one.enrol(&site), two.enrol(&site)];
            let [one, two] = replies;
            let (one, two) = tokio::join!(one, two);
            let won = [&one, &two].iter().filter(|reply| reply.status.is_success()).count();
            assert_eq!(won, 1, "{one:?} {two:?}");
            let lost = if one.status.is_success() { two } else { one };
            assert_eq!(lost.code(), "token.used");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_does_not_count_is_refused_by_name_and_makes_no_agent() {
    let site = Site::start().await;
    let nobody = site.stranger("web-1", "never-made");
    assert_eq!(nobody.enrol(&site).await.code(), "token.unknown");

    let (secret, info) = site.token(|_| {}).await;
    let now = site.now();
    let revoked = move |tx: &mut handover_store::Tx<'_>| -> Result<(), StoreError> {
        tokens::revoke(tx, info.id, None, now)
    };
    site.running().state().store.write(revoked).await.unwrap();
    assert_eq!(site.stranger("web-1", &secret).enrol(&site).await.code(), "token.revoked");

    let (secret, _info) = site.token(|_| {}).await;
    site.clock.advance(Duration::from_hours(2));
    assert_eq!(site.stranger("web-1", &secret).enrol(&site).await.code(), "token.expired");

    let (secret, _info) = site.token(|info| info.name = Some("db-1".parse().unwrap())).await;
    assert_eq!(site.stranger("web-1", &secret).enrol(&site).await.code(), "forbidden");

    site.enrol("web-1").await;
    let (secret, _info) = site.token(|_| {}).await;
    assert_eq!(site.stranger("web-1", &secret).enrol(&site).await.code(), "name.taken");
    // A refusal spends nothing: the token still enrols somebody.
    let answer: EnrolAnswer = site.stranger("web-2", &secret).enrol(&site).await.expect_ok();
    assert_eq!(site.stored_agent(answer.agent).await.name.as_str(), "web-2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_for_another_token_name_server_or_key_is_none() {
    let site = Site::start().await;
    let elsewhere = Site::start().await;
    let (secret, info) = site.token(|_| {}).await;
    let agent = site.stranger("web-1", &secret);
    let proofs: [fn(&mut EnrolProof, &Site); 3] = [
        |proof, _| proof.token = handover_model::wire::secret_digest("another"),
        |proof, _| proof.name = "web-2".parse().unwrap(),
        |proof, elsewhere| proof.pins = elsewhere.running().state().ca_pins(),
    ];
    for change in proofs {
        let mut proof = agent.proof(&site);
        change(&mut proof, &elsewhere);
        let reply = agent.enrol_with(&site, &agent.enrolment(&proof)).await;
        assert_eq!(reply.code(), "unproved");
    }
    let other = site.stranger("web-1", &secret);
    let mut request = agent.enrolment(&agent.proof(&site));
    request.public_key = serde_json::to_value(other.key.public()).unwrap();
    assert_eq!(agent.enrol_with(&site, &request).await.code(), "unproved");
    request.public_key = serde_json::json!({ "keytype": "rsa" });
    assert_eq!(agent.enrol_with(&site, &request).await.code(), "malformed");

    let now = site.now();
    let state = site.running().state();
    let stored = state.store.read(move |tx| tokens::get(tx, info.id, now)).await.unwrap();
    assert_eq!(stored.unwrap().info.state, TokenState::Open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ephemeral_agent_that_is_silent_is_retired_and_recognised_when_it_comes_back() {
    let site = Site::start_with(|config| config.next = handover_model::Millis(100)).await;
    let hour = handover_model::Millis(3_600_000);
    let (secret, _info) = site.token(|info| info.ephemeral_after = Some(hour)).await;
    let mut agent = site.stranger("job-1", &secret);
    let answer = agent.enrol(&site).await.expect_ok();
    agent.take(&answer);
    let first = agent.id;
    site.clock.advance(Duration::from_hours(2));
    site.until_agent(first, |agent| agent.state == AgentState::Retired).await;
    let mut client = site.connect().await;
    let (secret, _info) = site.token(|info| info.ephemeral_after = Some(hour)).await;
    agent.token = secret;
    let answer = agent.enrol(&site).await.expect_ok();
    agent.take(&answer);
    assert_eq!(agent.id, first);
    agent.sync(&mut client, Vec::new()).await;
    assert_eq!(site.stored_agent(first).await.state, AgentState::Present);
}
