//! From a person's wish to a proved release.

use std::time::Duration;

use handover_model::api::{AgentState, OrderState};
use handover_model::wire::{Action, OrderStage};
use handover_trust::control::verify_cancel;

use crate::rig::Site;
use crate::said::{host, on, opened, update};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_is_durable_when_it_is_answered() {
    for site in Site::on_both().await {
        let mut agent = site.enrol("web-1").await;
        let mut client = site.connect().await;
        site.clock.advance(Duration::from_mins(1));
        let before = site.now();
        let answer = agent.sync(&mut client, Vec::new()).await;
        assert!(answer.want_state, "the server knows no state of it yet");
        assert!(answer.orders.is_empty());
        assert!((57_000..63_000).contains(&answer.next.0), "{}", answer.next);
        assert!(site.stored_agent(agent.id).await.last_seen.unwrap() >= before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_handed_out_until_it_is_reported_on_and_done_when_it_is_proved() {
    for site in Site::on_both().await {
        let mut agent = site.enrol("web-1").await;
        let mut client = site.connect().await;
        agent.sync(&mut client, Vec::new()).await;
        let id = site.order(agent.id, update()).await;
        let answer = agent.ordered(&mut client).await;
        let order = opened(&site, &agent, &answer.orders[0]);
        assert_eq!((order.id, order.place.sequence, &order.action), (id, 1, &update()));
        assert_eq!(site.stored_order(id).await.state, OrderState::HandedOut);

        let again = agent.sync(&mut client, Vec::new()).await;
        assert!(again.orders.is_empty() || again.orders == answer.orders, "the same bytes");
        site.clock.advance(Duration::from_secs(11));
        let again = agent.sync(&mut client, Vec::new()).await;
        assert_eq!(again.orders, answer.orders, "the answer may have been lost");

        let accepted = agent.order_report(&site, on(&order, OrderStage::Accepted));
        let running = agent.order_report(&site, on(&order, OrderStage::Running));
        let answer = agent.sync(&mut client, vec![accepted, running]).await;
        assert_eq!((answer.acknowledged, answer.orders.len()), (2, 0));
        assert_eq!(site.stored_order(id).await.state, OrderState::Running);

        let done = agent.order_report(&site, on(&order, OrderStage::Done));
        agent.sync(&mut client, vec![done]).await;
        assert_eq!(site.stored_order(id).await.state, OrderState::Running, "not proved yet");
        let state = agent.state_report(&site, host("web-1", "1.1.0"));
        let answer = agent.sync(&mut client, vec![state]).await;
        assert!(!answer.want_state);
        assert_eq!(site.stored_order(id).await.state, OrderState::Done);
        let stored = site.stored_agent(agent.id).await;
        assert_eq!((stored.open_orders, stored.components.len()), (0, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_ends_when_something_is_ordered() {
    for site in Site::on_both().await {
        let mut agent = site.enrol("web-1").await;
        let mut client = site.connect().await;
        let state = agent.state_report(&site, host("web-1", "1.0.0"));
        agent.sync(&mut client, vec![state]).await;
        let (id, mut other) = (agent.id, site.connect().await);
        let polled = tokio::spawn(async move {
            let answer = agent.poll(&mut other, Duration::from_secs(50)).await;
            (agent, answer)
        });
        // The poll counts as heard once its check-in is stored.
        let order = site.order(id, update()).await;
        let (agent, answer) =
            tokio::time::timeout(crate::rig::PATIENCE, polled).await.unwrap().unwrap();
        assert_eq!(opened(&site, &agent, &answer.orders[0]).id, order);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_reaches_the_host_signed_and_its_word_ends_the_order() {
    for site in Site::on_both().await {
        let mut agent = site.enrol("web-1").await;
        let mut client = site.connect().await;
        agent.sync(&mut client, Vec::new()).await;
        let id = site.order(agent.id, update()).await;
        let answer = agent.ordered(&mut client).await;
        let order = opened(&site, &agent, &answer.orders[0]);
        site.cancel(id).await;
        let cancelled = async {
            loop {
                let answer = agent.poll(&mut client, Duration::from_secs(20)).await;
                if !answer.cancels.is_empty() {
                    break answer;
                }
            }
        };
        let answer = tokio::time::timeout(crate::rig::PATIENCE, cancelled).await.unwrap();
        let keys = agent.order_keys.as_ref().unwrap();
        let cancel = verify_cancel(&answer.cancels[0], keys, agent.id).unwrap().into_inner();
        assert_eq!(cancel.order, id);
        assert_eq!(answer.orders.len(), 1, "it may never have come");
        let cancelled = agent.order_report(&site, on(&order, OrderStage::Cancelled));
        agent.sync(&mut client, vec![cancelled]).await;
        assert_eq!(site.stored_order(id).await.state, OrderState::Cancelled);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_answered_is_lost_when_the_server_starts_again() {
    let mut site = Site::start().await;
    let mut agent = site.enrol("web-1").await;
    let mut client = site.connect().await;
    let state = agent.state_report(&site, host("web-1", "1.0.0"));
    agent.sync(&mut client, vec![state]).await;
    let id = site.order(agent.id, update()).await;
    site.down().await;
    site.up().await;
    let mut client = site.connect().await;
    let answer = agent.sync(&mut client, Vec::new()).await;
    assert_eq!((answer.acknowledged, answer.want_state), (1, false));
    assert_eq!(opened(&site, &agent, &answer.orders[0]).id, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_was_ordered_to_leave_is_gone_with_its_other_orders_when_it_says_so() {
    let site = Site::start().await;
    let mut agent = site.enrol("web-1").await;
    let mut client = site.connect().await;
    agent.sync(&mut client, Vec::new()).await;
    site.order(agent.id, Action::Retire).await;
    let answer = agent.ordered(&mut client).await;
    let order = opened(&site, &agent, &answer.orders[0]);
    let other = site.order(agent.id, update()).await;
    let report =
        handover_model::wire::OrderReport { release: None, ..on(&order, OrderStage::Done) };
    let done = agent.order_report(&site, report);
    let answer = agent.sync(&mut client, vec![done]).await;
    assert_eq!(answer.acknowledged, 1, "it hears that its last word was taken");
    assert_eq!(site.stored_agent(agent.id).await.state, AgentState::Retired);
    assert_eq!(site.stored_order(other).await.state, OrderState::Voided);
    let request = agent.request();
    assert_eq!(agent.send(&mut client, &request).await.code(), "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_of_the_fleet_keeps_updates_here_until_it_ends_and_lets_rollbacks_pass() {
    for site in Site::on_both().await {
        let mut agent = site.enrol("web-1").await;
        let mut client = site.connect().await;
        let state = agent.state_report(&site, host("web-1", "1.0.0"));
        agent.sync(&mut client, vec![state]).await;
        site.stop_fleet(true, 0).await;
        let kept = site.order(agent.id, update()).await;
        let back = Action::Rollback { component: "web".parse().unwrap(), to: None };
        let passes = site.order(agent.id, back).await;
        let answer = agent.ordered(&mut client).await;
        let ids: Vec<_> =
            answer.orders.iter().map(|order| opened(&site, &agent, order).id).collect();
        assert_eq!(ids, [passes], "the update was ordered first, and is not there");
        assert_eq!(site.stored_order(kept).await.state, OrderState::Pending);
        let report = opened(&site, &agent, &answer.orders[0]);
        let refused = agent.order_report(&site, on(&report, OrderStage::Refused));
        agent.sync(&mut client, vec![refused]).await;

        let mut other = site.connect().await;
        let polled = tokio::spawn(async move {
            let answer = agent.ordered(&mut other).await;
            (agent, answer)
        });
        site.stop_fleet(false, 1).await;
        let (agent, answer) =
            tokio::time::timeout(crate::rig::PATIENCE, polled).await.unwrap().unwrap();
        assert_eq!(opened(&site, &agent, &answer.orders[0]).id, kept);
    }
}
