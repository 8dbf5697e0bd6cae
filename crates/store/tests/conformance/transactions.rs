//! What a transaction promises.

use std::sync::atomic::{AtomicU64, Ordering};

use handover_store::{Cell, StoreError, meta, params};

use crate::rig::{Rig, at_once, counter, on_both_databases, read, write};

on_both_databases! {
    what_is_written_is_read_back_exactly,
    parameters_are_bound_by_their_numbers,
    a_closure_that_fails_leaves_nothing_and_its_neighbours_everything,
    a_closure_that_panics_is_taken_back_and_the_next_one_runs,
    a_failed_statement_fails_the_transaction_though_the_closure_ignores_it,
    a_closure_answers_its_own_kind_of_error,
    increments_from_many_threads_lose_nothing,
    two_that_each_rely_on_the_other_can_not_both_leave,
    a_reader_sees_one_moment,
    a_reader_can_not_write,
    what_was_queued_before_closing_is_written,
}

/// A closure's own error.
#[derive(Debug, PartialEq)]
enum Refusal {
    Mine(u64),
    Stores,
}

impl From<StoreError> for Refusal {
    fn from(_: StoreError) -> Self {
        Self::Stores
    }
}

fn what_is_written_is_read_back_exactly(rig: &Rig) {
    let store = rig.open();
    let text = "a 'quoted' \"ünïcode\" \u{1F980} line\nbreak %_\\ $1 ?1";
    write(&store, move |tx| meta::set(tx, "text", text)).unwrap();
    assert_eq!(read(&store, |tx| meta::get(tx, "text")).unwrap().as_deref(), Some(text));
    for number in [i64::MIN, -1, 0, 1, i64::MAX] {
        let row = write(&store, move |tx| {
            tx.execute("DELETE FROM leases", &[])?;
            tx.query_one(
                "INSERT INTO leases (name, holder, fence, until) VALUES ($1, $1, $2, $2) \
                 RETURNING fence, name",
                params!["x", number],
            )
        });
        let expected = [Cell::Int(number), Cell::Text("x".to_owned())];
        assert_eq!(row.unwrap().cells(), expected);
    }
    let nothing = read(&store, |tx| meta::get(tx, "nobody-set-this")).unwrap();
    assert_eq!(nothing, None);
}

fn parameters_are_bound_by_their_numbers(rig: &Rig) {
    let store = rig.open();
    let row = write(&store, |tx| {
        tx.query_one(
            "INSERT INTO leases (fence, until, name, holder) VALUES ($2, $2, $3, $1) \
             RETURNING holder, fence, name",
            params!["first", 2_i64, "third"],
        )
    });
    let row = row.unwrap();
    assert_eq!(row.get::<String>(0).unwrap(), "first");
    assert_eq!(row.get::<i64>(1).unwrap(), 2);
    assert_eq!(row.get::<String>(2).unwrap(), "third");
}

fn a_closure_that_fails_leaves_nothing_and_its_neighbours_everything(rig: &Rig) {
    let store = rig.open();
    at_once(8, |thread| {
        for round in 0..20 {
            let number = thread * 100 + round;
            let outcome = store.write_blocking(move |tx| {
                meta::set(tx, &format!("n{number}"), "here")?;
                if number % 3 == 0 { Err(Refusal::Mine(number)) } else { Ok(number) }
            });
            let expected = if number % 3 == 0 { Err(Refusal::Mine(number)) } else { Ok(number) };
            assert_eq!(outcome, expected);
        }
    });
    for thread in 0..8 {
        for round in 0..20 {
            let number: u64 = thread * 100 + round;
            let key = format!("n{number}");
            let found = read(&store, move |tx| meta::get(tx, &key)).unwrap();
            assert_eq!(found.is_some(), !number.is_multiple_of(3), "{number}");
        }
    }
}

fn a_closure_that_panics_is_taken_back_and_the_next_one_runs(rig: &Rig) {
    let store = rig.open();
    let outcome: Result<(), StoreError> = write(&store, |tx| {
        meta::set(tx, "half", "written")?;
        panic!("this panic belongs to the test");
    });
    assert!(matches!(outcome, Err(StoreError::Panicked)), "{outcome:?}");
    assert_eq!(read(&store, |tx| meta::get(tx, "half")).unwrap(), None);
    write(&store, |tx| meta::set(tx, "next", "written")).unwrap();
}

fn a_failed_statement_fails_the_transaction_though_the_closure_ignores_it(rig: &Rig) {
    let store = rig.open();
    let outcome = write(&store, |tx| {
        meta::set(tx, "before", "written")?;
        let twice = "INSERT INTO meta (key, value) VALUES ('before', 'again')";
        assert!(matches!(tx.execute(twice, &[]), Err(StoreError::Constraint { .. })));
        assert!(meta::set(tx, "after", "written").is_err());
        Ok(())
    });
    assert!(matches!(outcome, Err(StoreError::Constraint { .. })), "{outcome:?}");
    assert_eq!(read(&store, |tx| meta::get(tx, "before")).unwrap(), None);
    let wrong = write(&store, |tx| tx.execute("SELECT nonsense FROM nowhere", &[]));
    assert!(matches!(wrong, Err(StoreError::Statement { .. })), "{wrong:?}");
}

fn a_closure_answers_its_own_kind_of_error(rig: &Rig) {
    let store = rig.open();
    let outcome: Result<(), Refusal> = store.write_blocking(|_| Err(Refusal::Mine(7)));
    assert_eq!(outcome, Err(Refusal::Mine(7)));
    let outcome: Result<u64, Refusal> =
        store.write_blocking(|tx| Ok(tx.execute("SELECT nonsense FROM nowhere", &[])?));
    assert_eq!(outcome, Err(Refusal::Stores));
}

fn increments_from_many_threads_lose_nothing(rig: &Rig) {
    let store = rig.open();
    let (threads, rounds) = (8, 25);
    at_once(threads, |_| {
        for _ in 0..rounds {
            let add = |tx: &mut handover_store::Tx<'_>| {
                let count = counter(tx, "count")?;
                meta::set(tx, "count", &(count + 1).to_string())
            };
            // Whoever lost too often is told so, and may ask again.
            while let Err(error) = write(&store, add) {
                assert!(matches!(error, StoreError::Contended { .. }), "{error}");
            }
        }
    });
    let count = read(&store, |tx| counter(tx, "count")).unwrap();
    assert_eq!(count, i64::try_from(threads * rounds).unwrap());
}

fn two_that_each_rely_on_the_other_can_not_both_leave(rig: &Rig) {
    let store = rig.open();
    for round in 0..20 {
        let name = |who: u64| format!("on-duty-{round}-{who}");
        let (first, second) = (name(0), name(1));
        write(&store, move |tx| {
            meta::set(tx, &first, "1")?;
            meta::set(tx, &second, "1")
        })
        .unwrap();
        let left = AtomicU64::new(0);
        at_once(2, |who| {
            let (mine, other) = (name(who), name(1 - who));
            let gone = write(&store, move |tx| {
                let other_stays = counter(tx, &other)? == 1;
                if other_stays {
                    meta::set(tx, &mine, "0")?;
                }
                Ok(other_stays)
            });
            if gone.unwrap() {
                left.fetch_add(1, Ordering::SeqCst);
            }
        });
        assert_eq!(left.load(Ordering::SeqCst), 1, "round {round}");
    }
}

fn a_reader_sees_one_moment(rig: &Rig) {
    let store = rig.open();
    let settle = |left: i64| {
        write(&store, move |tx| {
            meta::set(tx, "left", &left.to_string())?;
            meta::set(tx, "right", &(100 - left).to_string())
        })
        .unwrap();
    };
    settle(50);
    at_once(3, |thread| {
        for round in 0..40 {
            if thread == 0 {
                settle(round);
                continue;
            }
            let sum = read(&store, |tx| Ok(counter(tx, "left")? + counter(tx, "right")?));
            assert_eq!(sum.unwrap(), 100);
        }
    });
}

fn a_reader_can_not_write(rig: &Rig) {
    let store = rig.open();
    let outcome = read(&store, |tx| meta::set(tx, "key", "value"));
    assert!(matches!(outcome, Err(StoreError::ReadOnly { .. })), "{outcome:?}");
    assert_eq!(read(&store, |tx| meta::get(tx, "key")).unwrap(), None);
}

fn what_was_queued_before_closing_is_written(rig: &Rig) {
    let store = rig.open();
    let answers: Vec<_> = (0..100)
        .map(|number| store.write(move |tx| meta::set(tx, &format!("queued-{number}"), "written")))
        .collect();
    drop(store);
    for answer in answers {
        let outcome: Result<(), StoreError> = crate::rig::wait_for(answer);
        outcome.unwrap();
    }
    let store = rig.open();
    let row = read(&store, |tx| {
        tx.query_one("SELECT count(*) FROM meta WHERE key >= 'queued' AND key < 'queuee'", &[])
    });
    assert_eq!(row.unwrap().get::<i64>(0).unwrap(), 100);
}
