//! Idempotency keys, settings, signed documents, pins.

use std::sync::atomic::{AtomicU32, Ordering};

use handover_model::Digest;
use handover_model::wire::SignedDoc;
use handover_store::documents::{self, Kind};
use handover_store::idempotency::{self, Answer, Known};
use handover_store::pins::{self, StoredPin};
use handover_store::{StoreError, meta, settings};

use crate::rig::{Rig, at, at_once, counter, enrol, on_both_databases, parsed, read, write};

on_both_databases! {
    the_same_request_twice_at_once_acts_once,
    a_key_used_for_another_request_is_told_apart,
    an_answer_whose_time_is_over_is_forgotten,
    a_setting_changes_by_compare_and_swap,
    documents_are_numbered_without_gaps,
    a_pin_changes_by_compare_and_swap,
    a_database_begins_in_epoch_one,
}

fn the_same_request_twice_at_once_acts_once(rig: &Rig) {
    let store = rig.open();
    let request = Digest::of(b"request");
    let acts = AtomicU32::new(0);
    at_once(6, |_| {
        let act = move |tx: &mut handover_store::Tx<'_>| match idempotency::find(
            tx,
            "ann",
            "key-1",
            &request,
            at(0),
        )? {
            Known::Same(answer) => Ok((answer, false)),
            Known::Other => panic!("another request"),
            Known::New => {
                let count = counter(tx, "acts")? + 1;
                meta::set(tx, "acts", &count.to_string())?;
                let answer = Answer { status: 201, body: format!("act {count}") };
                idempotency::keep(tx, "ann", "key-1", &request, &answer, at(10))?;
                Ok((answer, true))
            }
        };
        let (answer, is_new) = write(&store, act).unwrap();
        assert_eq!(answer, Answer { status: 201, body: "act 1".to_owned() });
        acts.fetch_add(u32::from(is_new), Ordering::SeqCst);
    });
    assert_eq!(acts.load(Ordering::SeqCst), 1);
    assert_eq!(read(&store, |tx| counter(tx, "acts")).unwrap(), 1);
}

fn a_key_used_for_another_request_is_told_apart(rig: &Rig) {
    let store = rig.open();
    let (first, second) = (Digest::of(b"first"), Digest::of(b"second"));
    let answer = Answer { status: 200, body: "{}".to_owned() };
    write(&store, move |tx| idempotency::keep(tx, "ann", "k", &first, &answer, at(10))).unwrap();
    let find = |owner: &'static str, request: Digest, second: i64| {
        read(&store, move |tx| idempotency::find(tx, owner, "k", &request, at(second))).unwrap()
    };
    assert!(matches!(find("ann", first, 9), Known::Same(_)));
    assert_eq!(find("ann", second, 9), Known::Other);
    assert_eq!(find("bob", first, 9), Known::New);
    assert_eq!(find("ann", first, 10), Known::New);
}

fn an_answer_whose_time_is_over_is_forgotten(rig: &Rig) {
    let store = rig.open();
    let request = Digest::of(b"request");
    for number in 0..5 {
        let answer = Answer { status: 200, body: "{}".to_owned() };
        let key = format!("key-{number}");
        write(&store, move |tx| idempotency::keep(tx, "ann", &key, &request, &answer, at(number)))
            .unwrap();
    }
    let pruned = |limit: u32| write(&store, move |tx| idempotency::prune(tx, at(3), limit));
    assert_eq!(pruned(2).unwrap(), 2);
    assert_eq!(pruned(10).unwrap(), 2);
    assert_eq!(pruned(10).unwrap(), 0);
}

fn a_setting_changes_by_compare_and_swap(rig: &Rig) {
    let store = rig.open();
    let set = |value: u32, seen: u64| {
        write(&store, move |tx| settings::set(tx, "limit", &value, seen, at(0)))
    };
    assert_eq!(read(&store, |tx| settings::get::<u32>(tx, "limit")).unwrap(), None);
    assert_eq!(set(5, 0).unwrap(), 1);
    assert_eq!(set(6, 1).unwrap(), 2);
    assert!(matches!(set(7, 1), Err(StoreError::Stale { expected: 1, found: 2, .. })));
    assert_eq!(read(&store, |tx| settings::get::<u32>(tx, "limit")).unwrap(), Some((6, 2)));
    let wrong = read(&store, |tx| settings::get::<String>(tx, "limit"));
    assert!(matches!(wrong, Err(StoreError::CorruptRow { .. })), "{wrong:?}");
}

fn documents_are_numbered_without_gaps(rig: &Rig) {
    let store = rig.open();
    let append = |kind: Kind, number: u64| {
        let document = SignedDoc(serde_json::json!({ "number": number }));
        write(&store, move |tx| documents::append(tx, kind, number, &document, at(0)))
    };
    append(Kind::OrderKeys, 1).unwrap();
    append(Kind::OrderKeys, 2).unwrap();
    append(Kind::ChannelCa, 1).unwrap();
    assert!(matches!(append(Kind::OrderKeys, 2), Err(StoreError::Stale { .. })));
    assert!(matches!(append(Kind::OrderKeys, 4), Err(StoreError::Stale { .. })));
    let newest = read(&store, |tx| documents::newest(tx, Kind::OrderKeys)).unwrap().unwrap();
    assert_eq!(newest, (2, SignedDoc(serde_json::json!({ "number": 2 }))));
    let after = read(&store, |tx| documents::after(tx, Kind::OrderKeys, 0)).unwrap();
    assert_eq!(after.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(read(&store, |tx| documents::after(tx, Kind::ChannelCa, 1)).unwrap(), []);
}

fn a_pin_changes_by_compare_and_swap(rig: &Rig) {
    let store = rig.open();
    let agent = enrol(&store, 1, "web-1");
    let pin = |text: Option<&str>, generation: u64| StoredPin {
        component: parsed("app"),
        pin: text.map(parsed),
        reason: Some("because".to_owned()),
        by: "ann".to_owned(),
        at: at(1),
        order: None,
        in_force: false,
        generation,
    };
    let save = |pin: StoredPin| write(&store, move |tx| pins::save(tx, agent, &pin));
    assert_eq!(save(pin(Some("1.2.3"), 0)).unwrap(), 1);
    assert!(matches!(save(pin(Some("2.0.0"), 0)), Err(StoreError::Stale { .. })));
    assert_eq!(save(pin(Some(">=1, <2"), 1)).unwrap(), 2);
    let found = read(&store, move |tx| pins::of_agent(tx, agent)).unwrap();
    assert_eq!(found, [pin(Some(">=1, <2"), 2)]);
    assert_eq!(save(pin(None, 2)).unwrap(), 3);
    write(&store, move |tx| pins::remove(tx, agent, &parsed("app"))).unwrap();
    assert_eq!(read(&store, move |tx| pins::get(tx, agent, &parsed("app"))).unwrap(), None);
}

fn a_database_begins_in_epoch_one(rig: &Rig) {
    let store = rig.open();
    assert_eq!(read(&store, meta::epoch).unwrap(), 1);
    assert_eq!(read(&store, meta::schema).unwrap(), 2);
}
