//! Rollouts: one row that changes by compare and swap, and a roster that only grows.

use handover_model::api::{OrderState, RolloutKind, RolloutSpec, RolloutState};
use handover_model::wire::Action;
use handover_model::{IdGen, RolloutId};
use handover_store::orders::{self, Member, NewOrder};
use handover_store::rollouts::{self, Decay, Filter, NewRollout, RolloutKey, RosterMember};
use handover_store::{AgentKey, Store, StoreError};

use crate::rig::{
    Rig, at, enrol, enrol_with, labels, on_both_databases, order_id, parsed, read, write,
};

on_both_databases! {
    a_rollout_is_read_as_it_was_written_and_changes_by_compare_and_swap,
    a_name_is_free_again_when_its_rollout_is_over,
    a_roster_comes_back_in_order_and_grows_at_its_end,
    two_who_add_members_at_once_do_not_both_succeed,
    orders_of_a_rollout_carry_their_member_and_when_the_host_took_them,
    what_is_under_way_is_counted_by_label,
    lists_show_the_newest_first_and_only_what_was_asked_for,
    a_decay_is_noted_once,
    updates_that_ended_are_counted_by_how,
    a_rollout_that_ran_is_paused_by_a_restore,
}

fn rollout_id(number: u64) -> RolloutId {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    RolloutId::mint(&mut IdGen::new(seed), at(0))
}

fn spec(name: &str) -> RolloutSpec {
    let text = format!(r#"{{"name": "{name}", "component": "app", "to": "2.0.0", "select": "x"}}"#);
    serde_json::from_str(&text).unwrap()
}

fn make(store: &Store, number: u64, name: &str) -> Result<RolloutKey, StoreError> {
    let new = NewRollout {
        id: rollout_id(number),
        kind: RolloutKind::Update,
        spec: spec(name),
        progress: "{}".to_owned(),
        by: "ann".to_owned(),
    };
    write(store, move |tx| rollouts::insert(tx, &new, at(1)))
}

fn a_rollout_is_read_as_it_was_written_and_changes_by_compare_and_swap(rig: &Rig) {
    let store = rig.open();
    let key = make(&store, 1, "app-2").unwrap();
    let mut made = read(&store, |tx| rollouts::get(tx, rollout_id(1))).unwrap().unwrap();
    assert_eq!((made.key, made.state, made.generation), (key, RolloutState::Scheduled, 1));
    assert_eq!(made.spec, spec("app-2"));
    made.state = RolloutState::Running;
    made.plan = Some("{\"seed\":1}".to_owned());
    "{\"wave\":0}".clone_into(&mut made.progress);
    (made.released, made.members) = (10, 100);
    (made.counts.done, made.started_at) = (3, Some(at(2)));
    made.superseded_by = Some(rollout_id(9));
    let change = made.clone();
    assert_eq!(write(&store, move |tx| rollouts::save(tx, &change, at(2))).unwrap(), 2);
    let change = made.clone();
    let stale = write(&store, move |tx| rollouts::save(tx, &change, at(3)));
    assert!(matches!(stale, Err(StoreError::Stale { expected: 1, found: 2, .. })), "{stale:?}");
    (made.generation, made.changed_at) = (2, at(2));
    let stored = read(&store, move |tx| rollouts::by_key(tx, key)).unwrap().unwrap();
    assert_eq!(stored, made);
    let standing = read(&store, move |tx| rollouts::standing(tx, key)).unwrap().unwrap();
    assert_eq!((standing.state, standing.released), (RolloutState::Running, 10));
    assert_eq!(serde_json::from_str::<RolloutSpec>(&standing.spec).unwrap(), made.spec);
}

fn a_name_is_free_again_when_its_rollout_is_over(rig: &Rig) {
    let store = rig.open();
    let key = make(&store, 1, "app-2").unwrap();
    let taken = make(&store, 2, "app-2");
    assert!(matches!(taken, Err(StoreError::Constraint { .. })), "{taken:?}");
    write(&store, move |tx| {
        let mut old = rollouts::by_key(tx, key)?.unwrap();
        (old.state, old.ended_at) = (RolloutState::Aborted, Some(at(5)));
        rollouts::save(tx, &old, at(5))
    })
    .unwrap();
    make(&store, 2, "app-2").unwrap();
    let newest = read(&store, |tx| rollouts::by_name(tx, &parsed("app-2"))).unwrap().unwrap();
    assert_eq!(newest.id, rollout_id(2));
    let live = read(&store, rollouts::live).unwrap();
    assert_eq!(live.len(), 1);
}

fn roster(from: u32, to: u32) -> Vec<RosterMember> {
    let member = |number: u32| RosterMember {
        agent: AgentKey::from_i64(1_000_000 - i64::from(number)),
        stratum: u16::try_from(number % 7).unwrap(),
        site: number * 3,
    };
    (from..to).map(member).collect()
}

fn a_roster_comes_back_in_order_and_grows_at_its_end(rig: &Rig) {
    let store = rig.open();
    let key = make(&store, 1, "app-2").unwrap();
    let parts = [(0, 12_000), (12_000, 12_003), (12_003, 15_000), (15_000, 15_001)];
    for (from, to) in parts {
        write(&store, move |tx| rollouts::append_members(tx, key, from, &roster(from, to)))
            .unwrap();
    }
    let mut found = Vec::new();
    loop {
        let from = u32::try_from(found.len()).unwrap();
        let page = read(&store, move |tx| rollouts::members(tx, key, from)).unwrap();
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found, roster(0, 15_001));
    let from_within = read(&store, move |tx| rollouts::members(tx, key, 14_990)).unwrap();
    assert_eq!(from_within, roster(14_990, 15_000));
}

fn two_who_add_members_at_once_do_not_both_succeed(rig: &Rig) {
    let store = rig.open();
    let key = make(&store, 1, "app-2").unwrap();
    write(&store, move |tx| rollouts::append_members(tx, key, 0, &roster(0, 3))).unwrap();
    write(&store, move |tx| rollouts::append_members(tx, key, 3, &roster(3, 5))).unwrap();
    let late = write(&store, move |tx| rollouts::append_members(tx, key, 3, &roster(7, 8)));
    assert!(matches!(late, Err(StoreError::Stale { found: 5, .. })), "{late:?}");
}

fn order(store: &Store, number: u64, agent: AgentKey, rollout: RolloutKey, position: u32) {
    let new = NewOrder {
        id: order_id(number),
        agent,
        action: Action::Update { component: parsed("app"), to: Some(parsed("2.0.0")) },
        expect: None,
        reason: None,
        by: "rollout app-2".to_owned(),
        expires: at(1000),
        member: Some(Member { rollout, position, attempt: 1 }),
        activate_at: Some(at(50)),
    };
    write(store, move |tx| orders::insert(tx, &new, at(1))).unwrap();
}

fn advance(store: &Store, number: u64, state: OrderState, seconds: i64) {
    write(store, move |tx| {
        let mut order = orders::get(tx, order_id(number))?.unwrap();
        order.state = state;
        orders::save(tx, &order, at(seconds))
    })
    .unwrap();
}

fn orders_of_a_rollout_carry_their_member_and_when_the_host_took_them(rig: &Rig) {
    let store = rig.open();
    let rollout = make(&store, 1, "app-2").unwrap();
    let agents: Vec<_> = (1..=3).map(|n| enrol(&store, n, &format!("web-{n}"))).collect();
    for (number, position) in [(1, 2), (2, 0), (3, 1)] {
        let agent = agents[usize::try_from(position).unwrap()];
        order(&store, number, agent, rollout, position);
    }
    advance(&store, 2, OrderState::HandedOut, 2);
    advance(&store, 2, OrderState::Accepted, 3);
    advance(&store, 2, OrderState::Running, 4);
    advance(&store, 3, OrderState::Refused, 4);
    let stored = read(&store, |tx| orders::get(tx, order_id(2))).unwrap().unwrap();
    let member = Member { rollout, position: 0, attempt: 1 };
    assert_eq!(stored.rollout, Some((rollout_id(1), member)));
    assert_eq!((stored.accepted_at, stored.activate_at), (Some(at(3)), Some(at(50))));
    let found = read(&store, move |tx| rollouts::orders_of(tx, rollout, (-1, 0), 2)).unwrap();
    assert_eq!(found.iter().map(|one| one.position).collect::<Vec<_>>(), [0, 1]);
    assert_eq!((found[0].accepted_at, found[1].accepted_at), (Some(at(3)), None));
    let after = (1, found[1].key);
    let found = read(&store, move |tx| rollouts::orders_of(tx, rollout, after, 2)).unwrap();
    assert_eq!((found.len(), found[0].position, found[0].id), (1, 2, order_id(1)));
    let one = read(&store, move |tx| rollouts::order_of_member(tx, rollout, 1)).unwrap();
    assert_eq!((one.len(), one[0].state), (1, OrderState::Refused));
}

fn what_is_under_way_is_counted_by_label(rig: &Rig) {
    let store = rig.open();
    let rollout = make(&store, 1, "app-2").unwrap();
    for (number, cluster) in [(1, "a"), (2, "a"), (3, "b"), (4, "a")] {
        let cluster = labels(&[("cluster", cluster)]);
        let agent = enrol_with(&store, number, &format!("web-{number}"), cluster);
        order(&store, number, agent, rollout, u32::try_from(number).unwrap());
    }
    advance(&store, 4, OrderState::Done, 2);
    let count = |label: Option<&'static str>| {
        read(&store, move |tx| {
            rollouts::in_flight(tx, rollout, label.map(|value| ("cluster", value)), &[])
        })
        .unwrap()
    };
    assert_eq!([count(None), count(Some("a")), count(Some("b")), count(Some("c"))], [3, 2, 1, 0]);
    let but = |label: Option<&'static str>| {
        read(&store, move |tx| {
            let label = label.map(|value| ("cluster", value));
            rollouts::in_flight(tx, rollout, label, &[2, 9])
        })
        .unwrap()
    };
    assert_eq!([but(None), but(Some("a")), but(Some("b"))], [2, 1, 1], "who was left out");
}

fn lists_show_the_newest_first_and_only_what_was_asked_for(rig: &Rig) {
    let store = rig.open();
    for number in 1..=4 {
        make(&store, number, &format!("app-{number}")).unwrap();
    }
    write(&store, |tx| {
        let mut old = rollouts::get(tx, rollout_id(2))?.unwrap();
        (old.state, old.ended_at) = (RolloutState::Done, Some(at(5)));
        rollouts::save(tx, &old, at(5))
    })
    .unwrap();
    let names = |filter: Filter, before: Option<&'static str>, limit| {
        let page = read(&store, move |tx| rollouts::list(tx, &filter, before, limit)).unwrap();
        let names: Vec<_> = page.items.iter().map(|one| one.name.to_string()).collect();
        (names, page.next.is_some())
    };
    let names = |filter: &Filter, limit| names(filter.clone(), None, limit);
    let all = Filter::default();
    assert_eq!(names(&all, 2), (vec!["app-4".to_owned(), "app-3".to_owned()], true));
    let open = Filter { is_open: true, ..all.clone() };
    assert_eq!(names(&open, 9).0.len(), 3);
    let done = Filter { state: Some(RolloutState::Done), ..all.clone() };
    assert_eq!(names(&done, 9).0, ["app-2"]);
    let other = Filter { component: Some(parsed("db")), ..all };
    assert_eq!(names(&other, 9).0.len(), 0);
    let counts = read(&store, rollouts::count_by_state).unwrap();
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<u32>(), 4);
}

fn a_decay_is_noted_once(rig: &Rig) {
    let store = rig.open();
    let rollout = make(&store, 1, "app-2").unwrap();
    let agent = enrol(&store, 1, "web-1");
    let decay = Decay {
        position: 3,
        agent,
        at: at(7),
        code: "returned".to_owned(),
        words: Some("it is back at 1.0.0".to_owned()),
    };
    for is_new in [true, false] {
        let decay = decay.clone();
        let noted = write(&store, move |tx| rollouts::insert_decay(tx, rollout, &decay)).unwrap();
        assert_eq!(noted, is_new);
    }
    let found = read(&store, move |tx| rollouts::decays(tx, rollout, None, 10)).unwrap();
    assert_eq!(found, [decay]);
    let found = read(&store, move |tx| rollouts::decays(tx, rollout, Some(3), 10)).unwrap();
    assert_eq!(found, []);
}

fn a_rollout_that_ran_is_paused_by_a_restore(rig: &Rig) {
    let store = rig.open();
    let key = make(&store, 1, "app-2").unwrap();
    write(&store, move |tx| {
        let mut row = rollouts::by_key(tx, key)?.unwrap();
        row.state = RolloutState::Running;
        "{\"state\":\"running\",\"released\":3}".clone_into(&mut row.progress);
        rollouts::save(tx, &row, at(2))
    })
    .unwrap();
    let path = rig.path("backup.db");
    store.backup(&path).unwrap();
    let target = Rig::sqlite();
    let options = crate::rig::options();
    let restored = handover_store::backup::restore(&path, &target.database, &options).unwrap();
    assert_eq!(restored.rollouts, 1);
    let row = read(&target.open(), |tx| rollouts::get(tx, rollout_id(1))).unwrap().unwrap();
    assert_eq!((row.state, row.generation), (RolloutState::Paused, 3));
    let record: serde_json::Value = serde_json::from_str(&row.progress).unwrap();
    assert_eq!((&record["state"], &record["released"]), (&"paused".into(), &3.into()));
    assert_eq!(record["paused"]["reason"], "restored from a backup");
}

fn updates_that_ended_are_counted_by_how(rig: &Rig) {
    let store = rig.open();
    let rollout = make(&store, 1, "app-2").unwrap();
    let states = [OrderState::Done, OrderState::Done, OrderState::Reverted, OrderState::Refused];
    for (number, state) in (1..).zip(states) {
        let agent = enrol(&store, number, &format!("web-{number}"));
        order(&store, number, agent, rollout, u32::try_from(number).unwrap());
        advance(&store, number, state, i64::try_from(number).unwrap());
    }
    let mut ended = read(&store, |tx| rollouts::ended_updates(tx, 10_000)).unwrap();
    ended.sort_by_key(|ended| ended.count);
    let counts: Vec<_> = ended.iter().map(|ended| (ended.state, ended.count)).collect();
    assert_eq!(counts, [(OrderState::Reverted, 1), (OrderState::Done, 2)]);
    let last = read(&store, |tx| rollouts::ended_updates(tx, 1)).unwrap();
    assert_eq!((last[0].state, last[0].count), (OrderState::Reverted, 1));
}
