//! Backup, restore, check.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use camino::Utf8Path;
use handover_model::api::{Checkpoint, OrderState, TokenInfo, TokenState};
use handover_model::{Digest, Timestamp};
use handover_store::audit::{self, NewAudit};
use handover_store::backup::restore;
use handover_store::events::{self, NewEvent};
use handover_store::idempotency::{self, Answer};
use handover_store::leases::acquire;
use handover_store::orders::{self, NewOrder};
use handover_store::pins::{self, StoredPin};
use handover_store::{
    AgentKey, Cell, Database, Store, StoreError, agents, api_tokens, documents, meta, reports,
    sequencer, settings, tokens,
};

use crate::agents::{component, host};
use crate::rig::{
    Rig, agent, agent_id, at, counter, enrol, enrol_with, labels, on_both_databases, options,
    order_id, parsed, read, session_id, token_id, write,
};

on_both_databases! {
    a_backup_goes_into_an_empty_database_of_either_kind,
    a_backup_under_writes_is_of_one_moment,
    a_restored_database_begins_a_new_life,
    neither_backup_nor_restore_overwrites_anything,
    a_backup_that_is_none_is_refused_and_nothing_is_made,
    a_sound_database_has_no_problems,
    a_check_finds_what_was_tampered_with,
}

/// A rollout with everything that hangs on it, as rows: what schema 2 brought.
const FLEETS: [&str; 8] = [
    "INSERT INTO rollouts (id, name, kind, component, spec, state, priority, released, members, \
     progress, counts, created_by, created_at, changed_at, generation) VALUES ( \
     'rollout_018bcfe5687b7fffbfffffffffffffff', 'app-2', '{}', 'app', '{}', 'done', 50, 1, 1, '{}', '{}', 'ann', 1, 1, 1)",
    "INSERT INTO rollout_members (rollout, chunk, members) SELECT key, 0, '[]' FROM rollouts",
    "INSERT INTO rollout_decays (rollout, position, agent, at, code) \
     SELECT r.key, 0, a.key, 1, 'returned' FROM rollouts r, agents a WHERE a.name = 'web-1'",
    "INSERT INTO rollout_checks (rollout, name, generation) SELECT key, 'probe', 1 FROM rollouts",
    "UPDATE orders SET rollout = (SELECT key FROM rollouts), position = 0, attempt = 1 \
     WHERE state = 'done'",
    "INSERT INTO selections (name, selection, changed_by, changed_at, generation) \
     VALUES ('canaries', 'label.site = a', 'ann', 1, 1)",
    "INSERT INTO webhooks (id, url, kinds, created_by, created_at) \
     VALUES ('webhook_1', 'https://hooks.example.com', '[]', 'ann', 1)",
    "INSERT INTO deliveries (id, webhook, kind, at, body, attempts, delivered_at) \
     SELECT 'delivery_1', key, 'rollout.done', 1, '{}', 1, 2 FROM webhooks",
];

/// Something in every table.
pub(crate) fn fill(store: &Store) -> AgentKey {
    let key = enrol_with(store, 1, "web-1", labels(&[("site", "ä 'quoted'")]));
    enrol(store, 2, "web-2");
    let mut app = component("app", "1.0.0");
    app.quarantine = vec![handover_model::wire::QuarantinedState {
        release: app.current.clone().unwrap(),
        reason: "it failed".to_owned(),
        at: at(1),
    }];
    write(store, move |tx| {
        let state = host(vec![app.clone()]);
        agents::put_state(tx, key, 1, &Digest::of(b"state"), &state, at(2))?;
        let signed = handover_model::wire::SignedDoc(serde_json::json!({ "signed": {} }));
        let report = handover_model::wire::Report {
            type_: handover_model::wire::Report::TYPE.to_owned(),
            agent: agent_id(1),
            number: 1,
            session: session_id(1),
            at: at(2),
            body: handover_model::wire::ReportBody::State(Box::new(state)),
        };
        reports::keep(tx, key, &report, &signed, at(2))?;
        let order = NewOrder {
            id: order_id(1),
            agent: key,
            action: handover_model::wire::Action::Retire,
            expect: None,
            reason: None,
            by: "ann".to_owned(),
            expires: at(1000),
            member: None,
            activate_at: None,
        };
        orders::insert(tx, &order, at(3))?;
        let mut done = NewOrder { id: order_id(2), ..order };
        done.reason = Some("done".to_owned());
        orders::insert(tx, &done, at(3))?;
        let mut done = orders::get(tx, order_id(2))?.unwrap();
        done.state = OrderState::Done;
        orders::save(tx, &done, at(4))?;
        let pin = StoredPin {
            component: parsed("app"),
            pin: Some(parsed(">=1, <2")),
            reason: None,
            by: "ann".to_owned(),
            at: at(1),
            order: None,
            in_force: true,
            generation: 0,
        };
        pins::save(tx, key, &pin)?;
        documents::append(tx, documents::Kind::OrderKeys, 1, &signed, at(0))?;
        settings::set(tx, "limit", &5, 0, at(0))?;
        for sql in FLEETS {
            tx.execute(sql, &[])?;
        }
        let answer = Answer { status: 200, body: "{}".to_owned() };
        idempotency::keep(tx, "ann", "key", &Digest::of(b"r"), &answer, at(9))
    })
    .unwrap();
    make_tokens(store);
    happen(store, 3);
    key
}

fn make_tokens(store: &Store) {
    write(store, |tx| {
        for number in 1..=2 {
            let token = TokenInfo {
                id: token_id(number),
                state: TokenState::Open,
                labels: labels(&[]),
                name: None,
                note: None,
                ephemeral_after: None,
                created_by: "ann".to_owned(),
                created_at: at(0),
                expires: at(1_000_000),
                agent: None,
                used_at: None,
                revoked_at: None,
                generation: 1,
            };
            tokens::insert(tx, &token, &Digest::of(&number.to_be_bytes()))?;
        }
        tokens::consume(tx, token_id(1), &Digest::of(b"key"), agent_id(1), at(1))?;
        let token = handover_model::api::ApiTokenInfo {
            id: token_id(3),
            name: "ann".to_owned(),
            state: TokenState::Open,
            permissions: [handover_model::api::Permission::Admin].into(),
            created_by: "server".to_owned(),
            created_at: at(0),
            expires: None,
            revoked_at: None,
            generation: 1,
        };
        api_tokens::insert(tx, &token, &Digest::of(b"api"))
    })
    .unwrap();
}

fn happen(store: &Store, times: u64) {
    write(store, move |tx| {
        for number in 0..times {
            let data = serde_json::json!({ "number": number });
            let event = NewEvent {
                at: at(0),
                kind: "test",
                agent: Some(agent_id(1)),
                order: None,
                rollout: None,
                data: data.clone(),
            };
            events::insert(tx, &event)?;
            let change = NewAudit {
                at: at(0),
                who: "ann".to_owned(),
                what: "test",
                subject: agent_id(1).to_string(),
                before: None,
                after: Some(data),
            };
            audit::insert(tx, &change)?;
        }
        let length = Duration::from_secs(1_000_000);
        let lease = acquire(tx, sequencer::LEASE, "a", at(0), length)?.unwrap();
        sequencer::number(tx, &lease, 100)?;
        Ok(())
    })
    .unwrap();
}

/// Every row of every table.
pub(crate) fn dump(store: &Store) -> BTreeMap<String, Vec<Vec<Cell>>> {
    let is_sqlite = matches!(store.database(), Database::Sqlite(_));
    read(store, move |tx| {
        let tables = if is_sqlite {
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        } else {
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        };
        let mut all = BTreeMap::new();
        for table in tx.query(tables, &[])? {
            let name: String = match &table.cells()[0] {
                Cell::Text(name) => name.clone(),
                other @ (Cell::Null | Cell::Int(_) | Cell::Blob(_)) => panic!("{other:?}"),
            };
            let rows = tx.query(&format!("SELECT * FROM {name}"), &[])?;
            let mut rows: Vec<_> = rows.iter().map(|row| row.cells().to_vec()).collect();
            rows.sort_by_key(|row| format!("{row:?}"));
            all.insert(name, rows);
        }
        Ok(all)
    })
    .unwrap()
}

/// Fresh databases to restore into.
fn targets() -> Vec<Rig> {
    [Some(Rig::sqlite()), Rig::postgres()].into_iter().flatten().collect()
}

fn now() -> handover_store::Options {
    let mut options = options();
    options.now = at(500);
    options
}

fn a_backup_goes_into_an_empty_database_of_either_kind(rig: &Rig) {
    let store = rig.open();
    let key = fill(&store);
    let path = rig.path("backup.db");
    store.backup(&path).unwrap();
    let before = dump(&store);
    assert!(before.values().all(|rows| !rows.is_empty()), "something in every table: {before:?}");
    // Later changes are not in it.
    enrol(&store, 9, "later");
    for target in targets() {
        let restored = restore(&path, &target.database, &now()).unwrap();
        assert_eq!((restored.epoch, restored.orders, restored.tokens), (2, 1, 1));
        let copy = target.open();
        let after = dump(&copy);
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        // What a new life changes is looked at by a test of its own.
        let changed = ["agents", "audit", "leases", "meta", "orders", "order_steps", "tokens"];
        for (table, rows) in before.iter().filter(|(table, _)| !changed.contains(&table.as_str())) {
            assert_eq!(Some(rows), after.get(table), "{table}");
        }
        let (mut old, mut new) = (agent(&store, key), agent(&copy, key));
        (old.state_digest, old.open_orders) = (None, 0);
        new.open_orders = 0;
        assert_eq!(old, new);
        // Keys go on after those that were copied.
        assert!(enrol(&copy, 50, "web-50") > key);
        happen(&copy, 2);
        assert_eq!(copy.check(&[]).unwrap().problems, Vec::<String>::new());
    }
}

fn a_backup_under_writes_is_of_one_moment(rig: &Rig) {
    let store = rig.open();
    let settle = |left: i64| {
        write(&store, move |tx| {
            meta::set(tx, "left", &left.to_string())?;
            meta::set(tx, "right", &(100 - left).to_string())
        })
        .unwrap();
    };
    settle(0);
    for number in 0..300 {
        enrol(&store, number, &format!("host-{number}"));
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0.. {
                settle(round % 100);
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        for number in 0..3 {
            store.backup(&rig.path(&format!("backup-{number}.db"))).unwrap();
        }
        is_over.store(true, Ordering::SeqCst);
    });
    for number in 0..3 {
        let target = Rig::sqlite();
        let path = rig.path(&format!("backup-{number}.db"));
        restore(&path, &target.database, &now()).unwrap();
        let copy = target.open();
        let sum = read(&copy, |tx| Ok(counter(tx, "left")? + counter(tx, "right")?));
        assert_eq!(sum.unwrap(), 100);
    }
}

fn a_restored_database_begins_a_new_life(rig: &Rig) {
    let store = rig.open();
    let key = fill(&store);
    let path = rig.path("backup.db");
    store.backup(&path).unwrap();
    let target = Rig::sqlite();
    restore(&path, &target.database, &now()).unwrap();
    let copy = target.open();
    assert_eq!(read(&copy, meta::epoch).unwrap(), 2);
    let order = read(&copy, |tx| orders::get(tx, order_id(1))).unwrap().unwrap();
    assert_eq!((order.state, order.ended_at), (OrderState::Voided, Some(at(500))));
    let steps = read(&copy, |tx| orders::history(tx, order_id(1))).unwrap();
    assert_eq!(steps.last().unwrap().state, OrderState::Voided);
    let done = read(&copy, |tx| orders::get(tx, order_id(2))).unwrap().unwrap();
    assert_eq!(done.state, OrderState::Done);
    let token = |number: u64| {
        read(&copy, move |tx| tokens::get(tx, token_id(number), at(501))).unwrap().unwrap().info
    };
    assert_eq!((token(1).state, token(2).state), (TokenState::Used, TokenState::Revoked));
    assert_eq!(agent(&copy, key).state_digest, None);
    assert_eq!(write(&copy, |tx| api_tokens::revoke_all(tx, at(502))).unwrap(), 1);
    // A backup of the restored one begins the third life.
    let again = rig.path("again.db");
    copy.backup(&again).unwrap();
    let third = Rig::sqlite();
    assert_eq!(restore(&again, &third.database, &now()).unwrap().epoch, 3);
}

fn neither_backup_nor_restore_overwrites_anything(rig: &Rig) {
    let store = rig.open();
    let path = rig.path("backup.db");
    crate::rig::put(&path, "mine");
    let error = store.backup(&path).unwrap_err();
    assert!(matches!(error, StoreError::Occupied { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    let path = rig.path("other.db");
    store.backup(&path).unwrap();
    for target in targets() {
        drop(target.open());
        let error = restore(&path, &target.database, &now()).unwrap_err();
        assert!(matches!(error, StoreError::Occupied { .. }), "{error}");
        assert_eq!(read(&target.open(), meta::epoch).unwrap(), 1);
    }
    let nowhere = store.backup(&rig.path("missing/backup.db")).unwrap_err();
    assert!(matches!(nowhere, StoreError::Open { .. }), "{nowhere}");
}

fn a_backup_that_is_none_is_refused_and_nothing_is_made(rig: &Rig) {
    let store = rig.open();
    fill(&store);
    let path = rig.path("backup.db");
    store.backup(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    let mut damaged = bytes.clone();
    damaged[middle..middle + 8192].fill(0xa5);
    let cases: [(&str, &[u8]); 4] = [
        ("text", b"this is no database, but it is long enough to look like the head of one ......"),
        ("cut", &bytes[..middle]),
        ("damaged", &damaged),
        ("empty", b""),
    ];
    for (name, content) in cases {
        let bad = rig.path(name);
        crate::rig::put(&bad, content);
        for target in targets() {
            let error = restore(&bad, &target.database, &now()).unwrap_err();
            let is_named = matches!(error, StoreError::Corrupt { .. } | StoreError::Foreign { .. });
            assert!(is_named, "{name}: {error}");
            // It is still empty: the next restore finds room.
            restore(&path, &target.database, &now()).unwrap();
        }
    }
    let missing = restore(Utf8Path::new("/nowhere/x"), &Rig::sqlite().database, &now());
    assert!(matches!(missing, Err(StoreError::Foreign { .. })), "{missing:?}");
}

fn a_sound_database_has_no_problems(rig: &Rig) {
    let store = rig.open();
    assert_eq!(store.check(&[]).unwrap().problems, Vec::<String>::new());
    fill(&store);
    let checked = store.check(&[checkpoint(&store, at(1))]).unwrap();
    assert_eq!(checked.problems, Vec::<String>::new());
    assert_eq!((checked.schema, checked.epoch, checked.audit), (2, 1, 3));
}

fn checkpoint(store: &Store, at: Timestamp) -> Checkpoint {
    let (seq, hash) = read(store, audit::head).unwrap();
    Checkpoint { type_: Checkpoint::TYPE.to_owned(), at, epoch: 1, seq, hash }
}

fn a_check_finds_what_was_tampered_with(rig: &Rig) {
    let cases = [
        ("UPDATE audit SET who = 'bob' WHERE seq = 2", "audit trail"),
        ("DELETE FROM audit WHERE seq = 2", "audit trail"),
        ("DELETE FROM audit WHERE seq = 3", "audit trail"),
        ("DELETE FROM events WHERE seq = 2", "numbers are missing"),
        ("UPDATE agent_labels SET name = 'other'", "labels are listed"),
        ("UPDATE agents SET retired_at = 5 WHERE name = 'web-2'", "agents are retired"),
        ("DELETE FROM presence", "can't check in"),
        ("UPDATE orders SET epoch = 1, sequence = 99 WHERE state = 'done'", "orders have a number"),
        ("UPDATE orders SET ended_at = NULL WHERE state = 'done'", "wrong time"),
    ];
    let store = rig.open();
    fill(&store);
    let seen = checkpoint(&store, at(1));
    let backup = rig.path("backup.db");
    store.backup(&backup).unwrap();
    for (change, words) in cases {
        let target = Rig::sqlite();
        restore(&backup, &target.database, &now()).unwrap();
        let copy = target.open();
        assert_eq!(copy.check(std::slice::from_ref(&seen)).unwrap().problems, Vec::<String>::new());
        write(&copy, move |tx| tx.execute(change, &[])).unwrap();
        let problems = copy.check(std::slice::from_ref(&seen)).unwrap().problems;
        // The row that the restore itself wrote is not numbered yet.
        assert!(problems.len() == 1 && problems[0].contains(words), "{change}: {problems:?}");
    }
}
