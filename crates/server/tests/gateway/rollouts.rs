//! Rollouts, from their row to the hosts and back.

use std::collections::BTreeMap;
use std::time::Duration;

use handover_engine::rollout::controller::Progress;
use handover_model::api::{OrderState, RolloutKind, RolloutSpec, RolloutState};
use handover_model::wire::{AgentOrder, OrderStage, SyncAnswer};
use handover_model::{Millis, RolloutId};
use handover_store::events::{self, NewEvent};
use handover_store::rollouts::{self, NewRollout, Rollout};
use handover_store::{StoreError, fleet};
use serde_json::{Value, json};

use crate::rig::{Agent, Client, PATIENCE, Site};
use crate::said::{host, on, opened};

/// Makes a rollout of `web` 1.1.0 to all, as the API does once everything is checked.
pub(crate) async fn roll_out(site: &Site, more: Value) -> RolloutId {
    let mut spec = json!({
        "name": "web-2", "component": "web", "to": "1.1.0", "select": "all", "all": true,
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let spec: RolloutSpec = serde_json::from_value(spec).unwrap();
    let now = site.now();
    let id = RolloutId::mint(&mut site.ids(), now);
    let new = NewRollout {
        id,
        kind: RolloutKind::Update,
        spec,
        progress: serde_json::to_string(&Progress::new(now)).unwrap(),
        by: "test".to_owned(),
    };
    let written = site.running().state().store.write(move |tx| -> Result<(), StoreError> {
        rollouts::insert(tx, &new, now)?;
        tell(tx, "rollout.created", id, now)
    });
    written.await.unwrap();
    id
}

fn tell(
    tx: &mut handover_store::Tx<'_>,
    kind: &'static str,
    id: RolloutId,
    at: handover_model::Timestamp,
) -> Result<(), StoreError> {
    let data = json!({});
    events::insert(tx, &NewEvent { at, kind, agent: None, order: None, rollout: Some(id), data })
}

pub(crate) async fn stored(site: &Site, id: RolloutId) -> Rollout {
    let read = site.running().state().store.read(move |tx| rollouts::get(tx, id));
    read.await.unwrap().unwrap()
}

/// Waits until a rollout stands as a test expects.
pub(crate) async fn until(site: &Site, id: RolloutId, holds: impl Fn(&Rollout) -> bool) -> Rollout {
    let mut numbers = site.running().state().events.subscribe();
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            let row = stored(site, id).await;
            if holds(&row) {
                return row;
            }
            numbers.changed().await.expect("the server runs");
        }
    });
    if let Ok(row) = waited.await {
        return row;
    }
    panic!("never came: {:?}", stored(site, id).await)
}

/// A host that does what it is ordered.
pub(crate) struct Host {
    pub(crate) agent: Agent,
    pub(crate) client: Client,
}

impl Host {
    pub(crate) async fn new(site: &Site, name: &str) -> Self {
        let agent = site.enrol(name).await;
        let mut host = Self { agent, client: site.connect().await };
        host.shows(site, "1.0.0").await;
        host
    }

    /// Reports that it runs that version.
    pub(crate) async fn shows(&mut self, site: &Site, version: &str) -> SyncAnswer {
        let state = host(&self.agent.name, version);
        let state = self.agent.state_report(site, state);
        self.agent.sync(&mut self.client, vec![state]).await
    }

    /// Looks once; the order that it has for it, if any.
    pub(crate) async fn look(&mut self, site: &Site) -> Option<AgentOrder> {
        let answer = self.agent.sync(&mut self.client, Vec::new()).await;
        answer.orders.first().map(|order| opened(site, &self.agent, order))
    }

    /// Waits for its order.
    pub(crate) async fn ordered(&mut self, site: &Site) -> AgentOrder {
        let answer = self.agent.ordered(&mut self.client).await;
        opened(site, &self.agent, &answer.orders[0])
    }

    pub(crate) async fn says(&mut self, site: &Site, order: &AgentOrder, stage: OrderStage) {
        let report = self.agent.order_report(site, on(order, stage));
        self.agent.sync(&mut self.client, vec![report]).await;
    }

    /// Does it, and proves it.
    pub(crate) async fn succeeds(&mut self, site: &Site, order: &AgentOrder) {
        self.says(site, order, OrderStage::Accepted).await;
        self.says(site, order, OrderStage::Done).await;
        self.shows(site, "1.1.0").await;
    }
}

pub(crate) async fn fleet(site: &Site, count: usize) -> Vec<Host> {
    let mut hosts = Vec::with_capacity(count);
    for number in 0..count {
        hosts.push(Host::new(site, &format!("web-{number}")).await);
    }
    hosts
}

/// Lets everybody look and do, until the rollout stands as expected. Returns how many had an
/// order.
pub(crate) async fn play(
    site: &Site,
    hosts: &mut [Host],
    id: RolloutId,
    fails: impl Fn(usize) -> bool,
    ends: impl Fn(&Rollout) -> bool,
) -> usize {
    let mut touched = 0;
    let played = tokio::time::timeout(PATIENCE * 2, async {
        loop {
            for (number, host) in hosts.iter_mut().enumerate() {
                let Some(order) = host.look(site).await else { continue };
                touched += 1;
                if fails(number) {
                    host.says(site, &order, OrderStage::Accepted).await;
                    host.says(site, &order, OrderStage::Reverted).await;
                } else {
                    host.succeeds(site, &order).await;
                }
            }
            if ends(&stored(site, id).await) {
                break;
            }
        }
    });
    assert!(played.await.is_ok(), "never ended: {:?}", stored(site, id).await);
    touched
}

async fn kinds(site: &Site, id: RolloutId) -> BTreeMap<String, usize> {
    let filter = events::Filter::Rollout(id);
    let read = site.running().state().store.read(move |tx| events::list(tx, &filter, None, 1000));
    let mut counts = BTreeMap::new();
    for event in read.await.unwrap().items {
        *counts.entry(event.kind).or_insert(0) += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_release_reaches_every_host_wave_by_wave() {
    for site in Site::on_both().await {
        let mut hosts = fleet(&site, 12).await;
        let id = roll_out(&site, json!({ "strategy": { "kind": "staged", "percent": [25, 100] } }))
            .await;
        let row = until(&site, id, |row| row.released > 0).await;
        assert_eq!((row.state, row.members, row.released), (RolloutState::Running, 12, 3));
        let touched =
            play(&site, &mut hosts, id, |_| false, |row| row.state == RolloutState::Done).await;
        assert_eq!(touched, 12, "each had one order");
        let row = stored(&site, id).await;
        assert_eq!((row.counts.done, row.counts.exposed, row.released), (12, 12, 12));
        // The last event is numbered a moment after the row is there.
        let told = async {
            loop {
                let kinds = kinds(&site, id).await;
                if kinds.contains_key("rollout.done") {
                    break kinds;
                }
                tokio::task::yield_now().await;
            }
        };
        let kinds = tokio::time::timeout(Duration::from_secs(20), told).await.unwrap();
        assert_eq!((kinds["rollout.started"], kinds["rollout.done"]), (1, 1), "{kinds:?}");
        assert_eq!(kinds["order.done"], 12, "{kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_release_halts_before_it_meets_everybody() {
    for site in Site::on_both().await {
        let mut hosts = fleet(&site, 20).await;
        let id = roll_out(&site, json!({ "gate": { "first": 4 } })).await;
        let touched =
            play(&site, &mut hosts, id, |_| true, |row| row.state == RolloutState::Halted).await;
        assert!(touched <= 4, "{touched} were touched");
        let row = stored(&site, id).await;
        assert!(row.counts.failed > 0 && row.released <= 4, "{row:?}");
        // Nobody gets anything any more.
        for host in &mut hosts {
            site.clock.advance(Duration::from_secs(11));
            assert!(host.look(&site).await.is_none());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_goes_on_where_it_was_when_the_server_starts_again() {
    let mut site = Site::start().await;
    let mut hosts = fleet(&site, 6).await;
    let id =
        roll_out(&site, json!({ "strategy": { "kind": "staged", "percent": [50, 100] } })).await;
    until(&site, id, |row| row.released == 3).await;
    let mut begun = None;
    for (number, host) in hosts.iter_mut().enumerate() {
        if let Some(order) = host.look(&site).await {
            host.says(&site, &order, OrderStage::Accepted).await;
            begun = Some((number, order));
            break;
        }
    }
    let (number, order) = begun.expect("one of six has its order");
    site.down().await;
    site.up().await;
    for host in &mut hosts {
        host.client = site.connect().await;
    }
    hosts[number].says(&site, &order, OrderStage::Done).await;
    hosts[number].shows(&site, "1.1.0").await;
    let touched =
        play(&site, &mut hosts, id, |_| false, |row| row.state == RolloutState::Done).await;
    assert_eq!(touched, 5, "the one that had its order gets no other");
    let row = stored(&site, id).await;
    assert_eq!(row.counts.done, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_share_a_cluster_are_touched_one_at_a_time() {
    for site in Site::on_both().await {
        // The rig gives every host the label `site=east`.
        let mut hosts = fleet(&site, 4).await;
        let limits = json!([{ "at_most": 1, "per": "site" }]);
        let strategy = json!({ "kind": "immediate" });
        let id = roll_out(&site, json!({ "limits": limits, "strategy": strategy })).await;
        until(&site, id, |row| row.released == 4).await;
        let first = hosts[0].ordered(&site).await;
        for host in &mut hosts[1..] {
            assert!(host.look(&site).await.is_none(), "one of the cluster is under way");
        }
        hosts[0].succeeds(&site, &first).await;
        let touched =
            play(&site, &mut hosts, id, |_| false, |row| row.state == RolloutState::Done).await;
        assert_eq!(touched, 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_rollout_is_handed_out_while_the_fleet_is_stopped() {
    for site in Site::on_both().await {
        let mut hosts = fleet(&site, 2).await;
        let (store, now) = (site.running().state().store.clone(), site.now());
        let say = |stopped: bool, seen: u64| {
            store.write(move |tx| -> Result<(), StoreError> {
                let stop =
                    fleet::Stop { by: "ann".to_owned(), at: now, reason: Some("fire".to_owned()) };
                fleet::set_stop(tx, stopped, &stop, seen)?;
                let (kind, data) = ("fleet.resumed", json!({}));
                let event =
                    NewEvent { at: now, kind, agent: None, order: None, rollout: None, data };
                events::insert(tx, &event)
            })
        };
        say(true, 0).await.unwrap();
        let id = roll_out(&site, json!({ "strategy": { "kind": "immediate" } })).await;
        until(&site, id, |row| row.state == RolloutState::Running).await;
        for host in &mut hosts {
            assert!(host.look(&site).await.is_none());
        }
        say(false, 1).await.unwrap();
        let touched =
            play(&site, &mut hosts, id, |_| false, |row| row.state == RolloutState::Done).await;
        assert_eq!(touched, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_comes_to_match_joins_a_rollout_with_live_membership() {
    for site in Site::on_both().await {
        let mut hosts = fleet(&site, 2).await;
        let id = roll_out(&site, json!({ "membership": "live" })).await;
        until(&site, id, |row| row.released > 0).await;
        hosts.push(Host::new(&site, "web-late").await);
        until(&site, id, |row| row.members == 3).await;
        let touched = play(&site, &mut hosts, id, |_| false, |row| row.counts.done == 3).await;
        assert_eq!(touched, 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_goes_back_by_itself_after_its_proof_is_a_decay() {
    for site in Site::on_both().await {
        let mut hosts = fleet(&site, 2).await;
        let id = roll_out(&site, json!({ "strategy": { "kind": "immediate" } })).await;
        play(&site, &mut hosts, id, |_| false, |row| row.state == RolloutState::Done).await;
        hosts[0].shows(&site, "1.0.0").await;
        let key = stored(&site, id).await.key;
        let state = site.running().state();
        let decays = state.store.read(move |tx| rollouts::decays(tx, key, None, 9)).await.unwrap();
        assert_eq!(decays.len(), 1, "{decays:?}");
        assert_eq!(decays[0].agent, site.stored_agent(hosts[0].agent.id).await.key);
        let mut numbers = site.running().state().events.subscribe();
        while !kinds(&site, id).await.contains_key("rollout.decayed") {
            let changed = tokio::time::timeout(PATIENCE, numbers.changed()).await;
            changed.expect("the event is numbered").expect("the server runs");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_came_to_nothing_for_a_passing_reason_is_made_again_after_a_while() {
    for site in Site::on_both().await {
        let mut hosts = fleet(&site, 1).await;
        let retries = json!({ "attempts": 2, "backoff": Millis(60_000) });
        let id = roll_out(&site, json!({ "retries": retries })).await;
        until(&site, id, |row| row.released == 1).await;
        let order = hosts[0].ordered(&site).await;
        let refusal = handover_model::wire::OrderReport {
            code: Some("download.stalled".to_owned()),
            ..on(&order, OrderStage::Refused)
        };
        let refusal = hosts[0].agent.order_report(&site, refusal);
        let host = &mut hosts[0];
        host.agent.sync(&mut host.client, vec![refusal]).await;
        assert_eq!(site.stored_order(order.id).await.state, OrderState::Refused);
        assert!(hosts[0].look(&site).await.is_none(), "not yet");
        site.clock.advance(Duration::from_secs(61));
        let again = hosts[0].ordered(&site).await;
        assert_ne!(again.id, order.id);
        hosts[0].succeeds(&site, &again).await;
        until(&site, id, |row| row.state == RolloutState::Done).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_is_committed_holds_everything_back_before_anybody_hears_of_it() {
    for site in Site::on_both().await {
        let mut hosts = fleet(&site, 3).await;
        let id = roll_out(&site, json!({ "strategy": { "kind": "immediate" } })).await;
        until(&site, id, |row| row.released == 3).await;
        let first = hosts[0].ordered(&site).await;
        // As another replica would write it, whose event is not numbered yet.
        let now = site.now();
        let paused = site.running().state().store.write(move |tx| -> Result<_, StoreError> {
            let mut row = rollouts::get(tx, id)?.expect("the rollout is there");
            row.state = RolloutState::Paused;
            rollouts::save(tx, &row, now)
        });
        paused.await.unwrap();
        for host in &mut hosts[1..] {
            site.clock.advance(Duration::from_secs(11));
            assert!(host.look(&site).await.is_none(), "the pause is in the row");
        }
        hosts[0].succeeds(&site, &first).await;
        assert_eq!(site.stored_order(first.id).await.state, OrderState::Done);
    }
}

async fn stop_fleet(site: &Site) {
    let now = site.now();
    let written = site.running().state().store.write(move |tx| -> Result<(), StoreError> {
        let (by, reason) = ("ann".to_owned(), Some("fire".to_owned()));
        fleet::set_stop(tx, true, &fleet::Stop { by, at: now, reason }, 0)?;
        let (kind, data) = ("fleet.stopped", json!({}));
        events::insert(
            tx,
            &NewEvent { at: now, kind, agent: None, order: None, rollout: None, data },
        )
    });
    written.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halt_that_takes_back_brings_hosts_to_what_they_ran_before() {
    for site in Site::on_both().await {
        let mut hosts = fleet(&site, 4).await;
        let id = roll_out(
            &site,
            json!({
                "strategy": { "kind": "staged", "percent": [50, 100] },
                "on_halt": "revert_rollout",
                "gate": { "failures_at_most": 0 },
            }),
        )
        .await;
        until(&site, id, |row| row.released == 2).await;
        let mut good = None;
        for (number, host) in hosts.iter_mut().enumerate() {
            let Some(order) = host.look(&site).await else { continue };
            if good.is_none() {
                host.succeeds(&site, &order).await;
                good = Some(number);
            } else {
                host.says(&site, &order, OrderStage::Accepted).await;
                // What goes back goes back in a stopped fleet too.
                stop_fleet(&site).await;
                host.says(&site, &order, OrderStage::Reverted).await;
            }
        }
        let good = good.expect("two of four had their orders");
        let row = until(&site, id, |row| row.reverted_by.is_some()).await;
        assert_eq!(row.state, RolloutState::Reverting);
        let revert = row.reverted_by.unwrap();
        let back = hosts[good].ordered(&site).await;
        let to = Some("1.0.0".parse().unwrap());
        let component = "web".parse().unwrap();
        assert_eq!(back.action, handover_model::wire::Action::Rollback { component, to });
        hosts[good].says(&site, &back, OrderStage::Accepted).await;
        let done = handover_model::wire::OrderReport {
            release: Some(crate::said::release("1.0.0")),
            ..on(&back, OrderStage::Done)
        };
        let done = hosts[good].agent.order_report(&site, done);
        let host = &mut hosts[good];
        host.agent.sync(&mut host.client, vec![done]).await;
        host.shows(&site, "1.0.0").await;
        until(&site, revert, |row| row.state == RolloutState::Done).await;
        let row = until(&site, id, |row| row.state == RolloutState::Reverted).await;
        assert!(row.ended_at.is_some());
        let members = stored(&site, revert).await.members;
        assert_eq!(members, 1, "only what runs the release is taken back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_replica_takes_a_rollout_over_and_nobody_gets_an_order_twice() {
    let Some(postgres) = handover_testkit::Postgres::shared() else { return };
    let url = postgres.fresh_database();
    let mut site = Site::start_with(|config| config.database = Some(url)).await;
    let mut hosts = fleet(&site, 8).await;
    let other = site.replica().await;
    let id =
        roll_out(&site, json!({ "strategy": { "kind": "staged", "percent": [50, 100] } })).await;
    until(&site, id, |row| row.released == 4).await;
    // Half of the fleet talks to the other replica.
    for host in &mut hosts[4..] {
        host.client = other.connect().await;
    }
    let mut touched = 0;
    let some = tokio::time::timeout(PATIENCE, async {
        while touched < 2 {
            for host in &mut hosts {
                if let Some(order) = host.look(&site).await {
                    host.succeeds(&site, &order).await;
                    touched += 1;
                    break;
                }
            }
        }
    });
    some.await.expect("some of the first wave have their orders");
    site.down().await;
    for host in &mut hosts[..4] {
        host.client = other.connect().await;
    }
    site.clock.advance(Duration::from_secs(21));
    touched += play(&other, &mut hosts, id, |_| false, |row| row.state == RolloutState::Done).await;
    assert_eq!(touched, 8);
    assert_eq!(stored(&other, id).await.counts.done, 8);
}
