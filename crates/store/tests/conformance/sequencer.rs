//! Numbers without gaps, and the chain of the audit trail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use handover_model::api::{AuditRow, EventInfo, verify_audit};
use handover_store::audit::{self, NewAudit};
use handover_store::events::{self, Filter, NewEvent};
use handover_store::leases::acquire;
use handover_store::{Lease, Store, StoreError, params, sequencer};

use crate::rig::{Rig, agent_id, at, at_once, on_both_databases, read, write};

on_both_databases! {
    numbers_are_consecutive_under_concurrent_writers_and_the_trail_is_chained,
    what_is_not_numbered_is_not_read,
    a_sequencer_that_was_replaced_numbers_nothing,
    a_trail_that_was_changed_shows,
    a_commit_with_an_event_rings_and_one_without_does_not,
    old_events_go_and_their_numbers_never_come_again,
}

fn lease(store: &Store, holder: &'static str, second: i64) -> Lease {
    let length = Duration::from_secs(10);
    write(store, move |tx| acquire(tx, sequencer::LEASE, holder, at(second), length))
        .unwrap()
        .unwrap()
}

fn number(store: &Store, lease: &Lease) -> Result<sequencer::Numbered, StoreError> {
    let lease = lease.clone();
    write(store, move |tx| sequencer::number(tx, &lease, 7))
}

fn number_all(store: &Store, lease: &Lease) {
    while number(store, lease).unwrap().has_more {}
}

fn happen(store: &Store, thread: u64, round: u64) {
    let data = serde_json::json!({ "thread": thread, "round": round });
    write(store, move |tx| {
        let agent = round.is_multiple_of(2).then(|| agent_id(thread));
        let event = NewEvent {
            at: at(0),
            kind: "test",
            agent,
            order: None,
            rollout: None,
            data: data.clone(),
        };
        events::insert(tx, &event)?;
        let change = NewAudit {
            at: at(0),
            who: format!("thread {thread}"),
            what: "test.round",
            subject: format!("round {round}"),
            before: None,
            after: Some(data.clone()),
        };
        audit::insert(tx, &change)
    })
    .unwrap();
}

fn all_events(store: &Store) -> Vec<EventInfo> {
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let place = after.clone();
        let page =
            read(store, move |tx| events::list(tx, &Filter::All, place.as_deref(), 10)).unwrap();
        all.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

fn trail(store: &Store) -> Vec<AuditRow> {
    read(store, |tx| audit::list(tx, None, None, 1000)).unwrap().items
}

fn numbers_are_consecutive_under_concurrent_writers_and_the_trail_is_chained(rig: &Rig) {
    let (threads, rounds) = (6, 15);
    let store = rig.open();
    let lease = lease(&store, "only", 0);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                number(&store, &lease).unwrap();
            }
        });
        at_once(threads, |thread| (0..rounds).for_each(|round| happen(&store, thread, round)));
        is_over.store(true, Ordering::SeqCst);
    });
    number_all(&store, &lease);
    let events = all_events(&store);
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=threads * rounds).collect::<Vec<_>>());
    for thread in 0..threads {
        let own = events.iter().filter(|event| event.data["thread"] == thread);
        let seen: Vec<_> = own.map(|event| event.data["round"].as_u64().unwrap()).collect();
        assert_eq!(seen, (0..rounds).collect::<Vec<_>>(), "thread {thread} in its own order");
    }
    let rows = trail(&store);
    let head = verify_audit(&rows, &[]).unwrap();
    assert_eq!(head.0, threads * rounds);
    assert_eq!(read(&store, audit::head).unwrap(), head);
    let of_agent = read(&store, move |tx| events::timeline(tx, agent_id(0), None, 3)).unwrap();
    assert_eq!(of_agent.items.len(), 3);
    assert!(of_agent.items.iter().all(|event| event.agent == Some(agent_id(0))));
    assert!(of_agent.items.is_sorted_by(|newer, older| newer.seq > older.seq));
}

fn what_is_not_numbered_is_not_read(rig: &Rig) {
    let store = rig.open();
    happen(&store, 0, 0);
    assert_eq!(all_events(&store), []);
    assert_eq!(trail(&store), []);
    assert_eq!(read(&store, events::range).unwrap(), None);
    let lease = lease(&store, "only", 0);
    let numbered = number(&store, &lease).unwrap();
    assert_eq!(numbered.events, all_events(&store));
    assert_eq!(numbered.audit, trail(&store));
    assert_eq!(read(&store, events::range).unwrap(), Some((1, 1)));
}

fn a_sequencer_that_was_replaced_numbers_nothing(rig: &Rig) {
    let store = rig.open();
    let first = lease(&store, "first", 0);
    happen(&store, 0, 0);
    let second = lease(&store, "second", 10);
    assert!(matches!(number(&store, &first), Err(StoreError::Fenced { .. })));
    assert_eq!(all_events(&store), []);
    assert_eq!(number(&store, &second).unwrap().events.len(), 1);
}

fn a_trail_that_was_changed_shows(rig: &Rig) {
    let store = rig.open();
    (0..5).for_each(|round| happen(&store, 0, round));
    number_all(&store, &lease(&store, "only", 0));
    write(&store, |tx| {
        tx.execute("UPDATE audit SET who = 'nobody' WHERE seq = $1", params![3_i64])
    })
    .unwrap();
    assert!(verify_audit(&trail(&store), &[]).is_err());
}

fn a_commit_with_an_event_rings_and_one_without_does_not(rig: &Rig) {
    let store = rig.open();
    let news = store.news();
    let rung = || {
        crate::rig::wait_for(async {
            let mut bell = std::pin::pin!(news.notified());
            std::future::poll_fn(|context| {
                std::task::Poll::Ready(bell.as_mut().poll(context).is_ready())
            })
            .await
        })
    };
    write(&store, |tx| handover_store::meta::set(tx, "quiet", "change")).unwrap();
    assert!(!rung());
    happen(&store, 0, 0);
    assert!(rung());
    let failed: Result<(), StoreError> = write(&store, |tx| {
        let data = serde_json::json!({});
        let event =
            NewEvent { at: at(0), kind: "test", agent: None, order: None, rollout: None, data };
        events::insert(tx, &event)?;
        Err(StoreError::Closed)
    });
    assert!(failed.is_err() && !rung());
}

fn old_events_go_and_their_numbers_never_come_again(rig: &Rig) {
    let store = rig.open();
    let lease = lease(&store, "only", 0);
    (0..10).for_each(|round| happen(&store, 0, round));
    number_all(&store, &lease);
    let pruned = write(&store, |tx| events::prune(tx, at(100), 4)).unwrap();
    assert_eq!(pruned, 4);
    assert_eq!(read(&store, events::range).unwrap(), Some((5, 10)));
    write(&store, |tx| events::prune(tx, at(100), 100)).unwrap();
    assert_eq!(read(&store, events::range).unwrap(), Some((10, 10)));
    happen(&store, 0, 10);
    number_all(&store, &lease);
    assert_eq!(read(&store, events::range).unwrap(), Some((10, 11)));
}
