//! Check-ins.

use handover_model::api::AgentState;
use handover_store::{AgentKey, agents};

use crate::rig::{Rig, agent, at, at_once, enrol, on_both_databases, wait_for, write};

on_both_databases! {
    a_check_in_that_was_answered_is_there_after_opening_again,
    the_latest_time_counts_whatever_comes_last,
    check_ins_from_many_threads_all_arrive,
    one_of_nobody_is_passed_over,
}

fn a_check_in_that_was_answered_is_there_after_opening_again(rig: &Rig) {
    let store = rig.open();
    let key = enrol(&store, 1, "web-1");
    wait_for(store.touch(key, at(7))).unwrap();
    drop(store);
    assert_eq!(agent(&rig.open(), key).last_seen, Some(at(7)));
}

fn the_latest_time_counts_whatever_comes_last(rig: &Rig) {
    let store = rig.open();
    let key = enrol(&store, 1, "web-1");
    let answers: Vec<_> = [9, 30, 12].map(|second| store.touch(key, at(second))).into();
    for answer in answers {
        wait_for(answer).unwrap();
    }
    wait_for(store.touch(key, at(20))).unwrap();
    assert_eq!(agent(&store, key).last_seen, Some(at(30)));
}

fn check_ins_from_many_threads_all_arrive(rig: &Rig) {
    let store = rig.open();
    let keys: Vec<_> =
        (0..40).map(|number| enrol(&store, number, &format!("host-{number}"))).collect();
    at_once(4, |thread| {
        for round in 1..=10 {
            let mine = keys.iter().skip(usize::try_from(thread).unwrap()).step_by(4);
            let answers: Vec<_> = mine.map(|key| store.touch(*key, at(round))).collect();
            for answer in answers {
                wait_for(answer).unwrap();
            }
            // Closures go on in the same groups.
            let name = format!("by-{thread}-{round}");
            write(&store, move |tx| handover_store::meta::set(tx, &name, "x")).unwrap();
        }
    });
    assert!(keys.iter().all(|key| agent(&store, *key).last_seen == Some(at(10))));
}

fn one_of_nobody_is_passed_over(rig: &Rig) {
    let store = rig.open();
    let key = enrol(&store, 1, "web-1");
    let nobody = store.touch(AgentKey::from_i64(4711), at(5));
    let somebody = store.touch(key, at(5));
    wait_for(nobody).unwrap();
    wait_for(somebody).unwrap();
    assert_eq!(agent(&store, key).last_seen, Some(at(5)));
    let retired = AgentState::Retired;
    write(&store, move |tx| agents::set_standing(tx, key, retired, None, at(6))).unwrap();
    wait_for(store.touch(key, at(7))).unwrap();
}
