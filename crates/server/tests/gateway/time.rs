//! What time changes: silence, expiry, certificates, keys.

use std::time::Duration;

use handover_model::api::{AgentState, OrderState};
use handover_server::{Rotated, Rotation, rotate};

use crate::rig::{Client, PATIENCE, Site};
use crate::said::{host, opened, update};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_falls_silent_is_away_until_it_speaks() {
    let site = Site::start_with(|config| config.next = handover_model::Millis(100)).await;
    let mut agent = site.enrol("web-1").await;
    let mut client = site.connect().await;
    agent.sync(&mut client, Vec::new()).await;
    site.clock.advance(Duration::from_mins(5));
    site.until_agent(agent.id, |agent| agent.state == AgentState::Away).await;
    agent.sync(&mut client, Vec::new()).await;
    // The event of its silence may be followed after it spoke: it speaks again soon.
    agent.sync(&mut client, Vec::new()).await;
    site.until_agent(agent.id, |agent| agent.state == AgentState::Present).await;
    let kinds = site.kinds(agent.id).await;
    assert!(kinds.contains(&"agent.away".to_owned()), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_nobody_came_for_expires_and_is_not_handed_out() {
    let site = Site::start_with(|config| config.next = handover_model::Millis(100)).await;
    let mut agent = site.enrol("web-1").await;
    let id = site.order(agent.id, update()).await;
    site.clock.advance(Duration::from_hours(2));
    site.until_order(id, |order| order.state == OrderState::Expired).await;
    let mut client = site.connect().await;
    assert!(agent.sync(&mut client, Vec::new()).await.orders.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_is_renewed_at_half_its_life_while_the_server_runs() {
    let site = Site::start().await;
    let first = site.connect().await.certificate;
    site.clock.advance(Duration::from_hours(16 * 24));
    let renewed = async {
        while site.connect().await.certificate == first {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_order_key_reaches_agents_before_what_it_signs() {
    let site = Site::start().await;
    let mut agent = site.enrol("web-1").await;
    let mut client = site.connect().await;
    agent.sync(&mut client, Vec::new()).await;
    let before = site.order(agent.id, update()).await;
    let answer = agent.ordered(&mut client).await;
    assert_eq!(opened(&site, &agent, &answer.orders[0]).id, before);
    tell(&site, Rotation::OrderKey, true).await;
    let walked = async {
        while agent.order_keys.as_ref().unwrap().number < 3 {
            agent.poll(&mut client, Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, walked).await.unwrap();
    site.clock.advance(Duration::from_secs(11));
    let answer = agent.sync(&mut client, Vec::new()).await;
    let again = opened(&site, &agent, &answer.orders[0]);
    assert_eq!((again.id, again.place.sequence), (before, 1), "the same, under the new key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_moves_to_the_next_authority_once_those_who_are_there_trust_it() {
    let site = Site::start().await;
    let mut agent = site.enrol("web-1").await;
    let mut client = site.connect().await;
    let state = agent.state_report(&site, host("web-1", "1.0.0"));
    agent.sync(&mut client, vec![state]).await;
    let [current, standby] = site.authorities().try_into().unwrap();
    assert!(only(&site, &standby).await.is_err());
    tell(&site, Rotation::ChannelCa, false).await;
    let announced = async {
        while site.authorities().len() != 3 {
            assert!(only(&site, &current).await.is_ok(), "nobody followed yet");
        }
    };
    tokio::time::timeout(PATIENCE, announced).await.unwrap();
    let switched = async {
        // A host that knew both all along never notices.
        while only(&site, &standby).await.is_err() {
            agent.poll(&mut client, Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, switched).await.unwrap();
    assert!(only(&site, &current).await.is_err());
    assert_eq!(site.authorities().len(), 2);
}

/// Connects as one who believes that authority alone.
async fn only(site: &Site, pem: &str) -> std::io::Result<Client> {
    Client::connect(site, &[pem.to_owned()]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_one_rotates_and_the_other_takes_it_over() {
    let Some(postgres) = handover_testkit::Postgres::shared() else { return };
    let url = postgres.fresh_database();
    let site = Site::start_with(|config| config.database = Some(url)).await;
    let other = site.replica().await;
    let mut agent = site.enrol("web-1").await;
    let before = (site.running().state().ca_pems(), other.running().state().ca_pems());
    assert_eq!(before.0, before.1);
    tell(&site, Rotation::OrderKey, true).await;
    tell(&site, Rotation::ChannelCa, true).await;
    let rotated = async {
        loop {
            let [one, two] = [&site, &other].map(|site| site.running().state().ca_pems());
            if one == two && one != before.0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, rotated).await.expect("both have the same new authorities");

    // Whichever of them signs, the agent follows from what the other told it.
    for replica in [&site, &other] {
        let mut client = replica.connect().await;
        let id = replica.order(agent.id, update()).await;
        let answer = agent.ordered(&mut client).await;
        assert_eq!(opened(replica, &agent, &answer.orders[0]).id, id);
        let order = opened(replica, &agent, &answer.orders[0]);
        let refused = agent.order_report(
            replica,
            crate::said::on(&order, handover_model::wire::OrderStage::Refused),
        );
        agent.sync(&mut client, vec![refused]).await;
    }
    let keys = agent.order_keys.as_ref().map(|keys| keys.number);
    assert_eq!(keys, Some(3), "one rotation, begun and finished");
}

async fn tell(site: &Site, what: Rotation, at_once: bool) {
    let config = site.config.clone();
    let told = tokio::task::spawn_blocking(move || rotate(&config, what, at_once));
    assert_eq!(told.await.unwrap().unwrap(), Rotated::Told);
}
