//! Leases and their fences.

use std::time::Duration;

use handover_model::ErrorClass;
use handover_store::leases::{acquire, release};
use handover_store::{Lease, Store, StoreError, meta};

use crate::rig::{Rig, at, at_once, on_both_databases, read, write};

on_both_databases! {
    a_lease_is_held_by_one_and_renewed_with_its_fence,
    a_holder_who_slept_can_not_write_after_a_takeover,
    a_lease_that_was_given_back_is_free_at_once,
    of_many_who_ask_at_once_one_gets_it,
}

const LENGTH: Duration = Duration::from_secs(10);

fn ask(store: &Store, holder: &'static str, second: i64) -> Option<Lease> {
    write(store, move |tx| acquire(tx, "sequencer", holder, at(second), LENGTH)).unwrap()
}

fn a_lease_is_held_by_one_and_renewed_with_its_fence(rig: &Rig) {
    let store = rig.open();
    let first = ask(&store, "a", 0).unwrap();
    assert_eq!(ask(&store, "b", 9), None);
    let renewed = ask(&store, "a", 9).unwrap();
    assert_eq!((renewed.fence, renewed.until), (first.fence, at(19)));
    assert_eq!(ask(&store, "b", 18), None);
    assert_eq!(ask(&store, "b", 19).unwrap().fence, first.fence + 1);
}

fn a_holder_who_slept_can_not_write_after_a_takeover(rig: &Rig) {
    let store = rig.open();
    let sleeper = ask(&store, "a", 0).unwrap();
    let late = sleeper.clone();
    // Late, but nobody took over: the fence still holds.
    write(&store, move |tx| tx.check_fence(&late)).unwrap();
    let taker = ask(&store, "b", 10).unwrap();
    let outcome = write(&store, move |tx| {
        meta::set(tx, "by-sleeper", "written")?;
        tx.check_fence(&sleeper)
    });
    let error = outcome.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Conflict);
    assert_eq!(read(&store, |tx| meta::get(tx, "by-sleeper")).unwrap(), None);
    write(&store, move |tx| tx.check_fence(&taker)).unwrap();
}

fn a_lease_that_was_given_back_is_free_at_once(rig: &Rig) {
    let store = rig.open();
    let first = ask(&store, "a", 0).unwrap();
    let given = first.clone();
    write(&store, move |tx| release(tx, &given)).unwrap();
    let second = ask(&store, "b", 1).unwrap();
    assert!(second.fence > first.fence);
    let stale = first.clone();
    write(&store, move |tx| release(tx, &stale)).unwrap();
    let (held, gone) = (second.clone(), first);
    write(&store, move |tx| tx.check_fence(&held)).unwrap();
    assert!(write(&store, move |tx| tx.check_fence(&gone)).is_err());
}

fn of_many_who_ask_at_once_one_gets_it(rig: &Rig) {
    let store = rig.open();
    let holders = std::sync::Mutex::new(Vec::new());
    at_once(6, |thread| {
        let holder = format!("holder-{thread}");
        let got = write(&store, move |tx| acquire(tx, "one", &holder, at(0), LENGTH)).unwrap();
        holders.lock().unwrap().extend(got);
    });
    assert_eq!(holders.into_inner().unwrap().len(), 1);
}
