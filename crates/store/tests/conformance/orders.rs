//! Orders: from a wish to the last word.

use handover_model::Digest;
use handover_model::api::OrderState;
use handover_model::wire::{Action, OrderReport, OrderStage, Place, Report, ReportBody, SignedDoc};
use handover_store::orders::{self, Filter, NewOrder, Order};
use handover_store::{AgentKey, Store, StoreError, agents, reports};

use crate::agents::{component, host};
use crate::rig::{
    Rig, agent, agent_id, at, at_once, enrol, on_both_databases, order_id, parsed, read,
    session_id, write,
};

on_both_databases! {
    an_order_goes_from_wish_to_last_word,
    an_order_is_handed_out_once_however_many_try,
    a_place_is_given_once,
    the_overdue_are_those_that_were_not_begun,
    lists_show_the_newest_first_and_only_what_was_asked_for,
    an_order_for_nobody_is_refused,
    reports_are_kept_once_and_stale_ones_go,
}

fn update(number: u64, agent: AgentKey) -> NewOrder {
    let to = Some(parsed("2.0.0"));
    NewOrder {
        id: order_id(number),
        agent,
        action: Action::Update { component: parsed("app"), to },
        expect: None,
        reason: Some("because".to_owned()),
        by: "token_x (ann)".to_owned(),
        expires: at(100 + i64::try_from(number).unwrap()),
        member: None,
        activate_at: None,
    }
}

fn order(store: &Store, number: u64, agent: AgentKey) {
    let new = update(number, agent);
    write(store, move |tx| orders::insert(tx, &new, at(1))).unwrap();
}

fn get(store: &Store, number: u64) -> Order {
    read(store, move |tx| orders::get(tx, order_id(number))).unwrap().unwrap()
}

fn change(
    store: &Store,
    number: u64,
    second: i64,
    how: impl Fn(&mut Order) + Send + 'static,
) -> Result<u64, StoreError> {
    write(store, move |tx| {
        let mut order = orders::get(tx, order_id(number))?.unwrap();
        how(&mut order);
        orders::save(tx, &order, at(second))
    })
}

fn document(text: &str) -> SignedDoc {
    SignedDoc(serde_json::json!({ "signed": text, "signatures": [] }))
}

fn an_order_goes_from_wish_to_last_word(rig: &Rig) {
    let store = rig.open();
    let key = enrol(&store, 1, "web-1");
    order(&store, 1, key);
    let found = get(&store, 1);
    assert_eq!((found.state, found.place, found.generation), (OrderState::Pending, None, 1));
    assert_eq!((found.agent_id, found.agent_name.as_str()), (agent_id(1), "web-1"));
    assert_eq!(found.action, update(1, key).action);
    assert_eq!(agent(&store, key).open_orders, 1);
    change(&store, 1, 2, |order| {
        order.state = OrderState::HandedOut;
        order.place = Some(Place { epoch: 1, sequence: 1 });
        order.document = Some(document("order"));
        order.handed_out_at = Some(at(2));
    })
    .unwrap();
    let stale = write(&store, move |tx| orders::save(tx, &found, at(3)));
    assert!(matches!(stale, Err(StoreError::Stale { expected: 1, found: 2, .. })), "{stale:?}");
    let handed = get(&store, 1);
    assert_eq!(handed.document, Some(document("order")));
    assert_eq!(read(&store, move |tx| orders::open_of(tx, key)).unwrap(), [handed]);
    change(&store, 1, 4, |order| {
        order.state = OrderState::Failed;
        (order.code, order.outcome) = (Some("health".to_owned()), Some("it fell".to_owned()));
    })
    .unwrap();
    let ended = get(&store, 1);
    assert_eq!((ended.ended_at, ended.changed_at), (Some(at(4)), at(4)));
    assert_eq!(agent(&store, key).open_orders, 0);
    assert_eq!(read(&store, move |tx| orders::open_of(tx, key)).unwrap(), []);
    let history = read(&store, |tx| orders::history(tx, order_id(1))).unwrap();
    let steps: Vec<_> = history.iter().map(|step| (step.at, step.state)).collect();
    let expected =
        [(at(1), OrderState::Pending), (at(2), OrderState::HandedOut), (at(4), OrderState::Failed)];
    assert_eq!(steps, expected);
    assert_eq!(history[2].code.as_deref(), Some("health"));
}

fn an_order_is_handed_out_once_however_many_try(rig: &Rig) {
    let store = rig.open();
    let key = enrol(&store, 1, "web-1");
    order(&store, 1, key);
    at_once(4, |_| {
        let hand_out = move |tx: &mut handover_store::Tx<'_>| {
            let mut order = orders::get(tx, order_id(1))?.unwrap();
            if order.state == OrderState::Pending {
                let sequence = agents::next_sequence(tx, key)?;
                order.state = OrderState::HandedOut;
                order.place = Some(Place { epoch: 1, sequence });
                order.document = Some(document(&format!("order {sequence}")));
                orders::save(tx, &order, at(2))?;
            }
            Ok(order.document)
        };
        assert_eq!(write(&store, hand_out).unwrap(), Some(document("order 1")));
    });
    assert_eq!(agent(&store, key).sequence, 1);
}

fn a_place_is_given_once(rig: &Rig) {
    let store = rig.open();
    let key = enrol(&store, 1, "web-1");
    order(&store, 1, key);
    order(&store, 2, key);
    let place = |order: &mut Order| order.place = Some(Place { epoch: 1, sequence: 1 });
    change(&store, 1, 2, place).unwrap();
    let twice = change(&store, 2, 2, place);
    assert!(matches!(twice, Err(StoreError::Constraint { .. })), "{twice:?}");
}

fn the_overdue_are_those_that_were_not_begun(rig: &Rig) {
    let store = rig.open();
    let key = enrol(&store, 1, "web-1");
    (1..=4).for_each(|number| order(&store, number, key));
    change(&store, 2, 2, |order| order.state = OrderState::Running).unwrap();
    change(&store, 3, 2, |order| order.state = OrderState::Cancelled).unwrap();
    let overdue = |second: i64| {
        let found = read(&store, move |tx| orders::overdue(tx, at(second), 10)).unwrap();
        found.into_iter().map(|order| order.id).collect::<Vec<_>>()
    };
    assert_eq!(overdue(100), []);
    assert_eq!(overdue(101), [order_id(1)]);
    assert_eq!(overdue(1000), [order_id(1), order_id(4)]);
}

fn lists_show_the_newest_first_and_only_what_was_asked_for(rig: &Rig) {
    let store = rig.open();
    let (first, second) = (enrol(&store, 1, "web-1"), enrol(&store, 2, "web-2"));
    for number in 1..=6 {
        order(&store, number, if number % 2 == 0 { first } else { second });
    }
    change(&store, 4, 2, |order| order.state = OrderState::Done).unwrap();
    let list = |filter: Filter| {
        let (mut ids, mut before) = (Vec::new(), None::<String>);
        loop {
            let (place, filter) = (before.clone(), filter.clone());
            let page =
                read(&store, move |tx| orders::list(tx, &filter, place.as_deref(), 2)).unwrap();
            ids.extend(page.items.iter().map(|order| order.id));
            match page.next {
                Some(next) => before = Some(next),
                None => return ids,
            }
        }
    };
    assert_eq!(list(Filter::default()), [6, 5, 4, 3, 2, 1].map(order_id));
    let agent = Filter { agent: Some(first), ..Filter::default() };
    assert_eq!(list(agent.clone()), [6, 4, 2].map(order_id));
    assert_eq!(list(Filter { is_open: true, ..agent }), [6, 2].map(order_id));
    let done = Filter { state: Some(OrderState::Done), ..Filter::default() };
    assert_eq!(list(done), [order_id(4)]);
    let other = Filter { component: Some(parsed("db")), ..Filter::default() };
    assert_eq!(list(other), []);
    let app = Filter { component: Some(parsed("app")), ..Filter::default() };
    assert_eq!(list(app).len(), 6);
    let mut counts = read(&store, orders::count_by_state).unwrap();
    counts.sort();
    assert_eq!(counts, [(OrderState::Pending, 5), (OrderState::Done, 1)]);
}

fn an_order_for_nobody_is_refused(rig: &Rig) {
    let store = rig.open();
    let new = update(1, AgentKey::from_i64(77));
    let refused = write(&store, move |tx| orders::insert(tx, &new, at(1)));
    assert!(matches!(refused, Err(StoreError::Constraint { .. })), "{refused:?}");
    assert_eq!(read(&store, |tx| orders::get(tx, order_id(1))).unwrap(), None);
    assert_eq!(read(&store, |tx| orders::history(tx, order_id(1))).unwrap(), []);
}

fn reports_are_kept_once_and_stale_ones_go(rig: &Rig) {
    let store = rig.open();
    let key = enrol(&store, 1, "web-1");
    let keep = |number: u64, body: ReportBody, text: &'static str| {
        let report = Report {
            type_: Report::TYPE.to_owned(),
            agent: agent_id(1),
            number,
            session: session_id(1),
            at: at(1),
            body,
        };
        write(&store, move |tx| reports::keep(tx, key, &report, &document(text), at(2))).unwrap()
    };
    let state = || ReportBody::State(Box::new(host(vec![component("app", "1.0.0")])));
    let of_order = |stage: OrderStage| {
        let (order, place) = (order_id(1), Place { epoch: 1, sequence: 1 });
        let (code, reason, release, progress) = (None, None, None, None);
        let report = OrderReport { order, place, stage, code, reason, release, progress };
        ReportBody::Order(Box::new(report))
    };
    assert!(keep(1, state(), "state 1"));
    assert!(!keep(1, state(), "state 1 once more"));
    assert!(keep(2, of_order(OrderStage::Running), "running"));
    assert!(keep(3, of_order(OrderStage::Done), "done"));
    assert!(keep(4, state(), "state 4"));
    let newest = read(&store, move |tx| reports::newest_state(tx, key)).unwrap().unwrap();
    assert_eq!((newest.number, newest.document), (4, document("state 4")));
    let last = read(&store, |tx| reports::newest_of_order(tx, order_id(1))).unwrap().unwrap();
    assert_eq!(last.document, document("done"));
    let page = read(&store, move |tx| reports::list(tx, key, None, 10)).unwrap();
    assert_eq!(page.items.iter().map(|one| one.number).collect::<Vec<_>>(), [4, 3]);
    let digest = Digest::of(b"state");
    let nobody = AgentKey::from_i64(99);
    let absent = write(&store, move |tx| {
        agents::put_state(tx, nobody, 1, &digest, &host(Vec::new()), at(1))
    });
    assert!(matches!(absent, Err(StoreError::Absent { .. })), "{absent:?}");
}
