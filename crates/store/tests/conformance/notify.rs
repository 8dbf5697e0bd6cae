//! Saved groups, the fleet-wide stop, webhooks with their deliveries, and answers of checks.

use std::time::Duration;

use handover_model::api::{CheckAnswer, CheckVerdict, RolloutSpec};
use handover_model::{IdGen, RolloutId, Timestamp, WebhookId};
use handover_store::events::{self, NewEvent};
use handover_store::fleet::{self, Stop};
use handover_store::groups::{self, Group};
use handover_store::webhooks::{self, Attempted, Webhook, WebhookKey};
use handover_store::{Store, StoreError, Tx, checks};
use serde_json::json;

use crate::rig::{Rig, at, on_both_databases, parsed, read, write};

on_both_databases! {
    a_group_changes_by_compare_and_swap,
    a_stop_stands_until_somebody_ends_it,
    a_delivery_is_there_when_its_event_is,
    a_webhook_is_told_of_its_kinds_alone,
    deliveries_are_due_oldest_first_and_wait_for_their_time,
    a_removed_webhook_leaves_nothing_to_send,
    the_oldest_deliveries_give_way,
    more_webhooks_than_can_be_told_are_refused,
    a_check_keeps_its_newest_answer,
    a_check_that_is_not_answered_keeps_an_answer_while_it_is_fresh,
}

fn a_group_changes_by_compare_and_swap(rig: &Rig) {
    let store = rig.open();
    let group = |select: &str, generation: u64| Group {
        name: parsed("canaries"),
        select: select.to_owned(),
        note: None,
        by: "ann".to_owned(),
        changed_at: at(1),
        generation,
    };
    let save = |group: Group| write(&store, move |tx| groups::save(tx, &group));
    assert_eq!(save(group("label.ring = 0", 0)).unwrap(), 1);
    assert!(matches!(save(group("all", 0)), Err(StoreError::Stale { found: 1, .. })));
    assert_eq!(save(group("label.ring = 1", 1)).unwrap(), 2);
    let name = parsed("canaries");
    let found = read(&store, move |tx| groups::get(tx, &name)).unwrap().unwrap();
    assert_eq!(found, group("label.ring = 1", 2));
    assert_eq!(read(&store, groups::all).unwrap(), [found]);
    let remove = |seen: u64| write(&store, move |tx| groups::remove(tx, &parsed("canaries"), seen));
    assert!(matches!(remove(1), Err(StoreError::Stale { .. })));
    remove(2).unwrap();
    assert!(matches!(remove(2), Err(StoreError::Absent { .. })));
    assert!(read(&store, groups::all).unwrap().is_empty());
}

fn a_stop_stands_until_somebody_ends_it(rig: &Rig) {
    let store = rig.open();
    assert_eq!(read(&store, fleet::stop).unwrap(), None);
    assert_eq!(read(&store, fleet::info).unwrap().generation, 0);
    let stop = Stop { by: "ann".to_owned(), at: at(5), reason: Some("smoke".to_owned()) };
    let set = |stopped: bool, seen: u64| {
        let stop = stop.clone();
        write(&store, move |tx| fleet::set_stop(tx, stopped, &stop, seen))
    };
    assert_eq!(set(true, 0).unwrap().generation, 1);
    assert_eq!(read(&store, fleet::stop).unwrap(), Some(stop.clone()));
    assert!(matches!(set(false, 0), Err(StoreError::Stale { found: 1, .. })));
    let ended = set(false, 1).unwrap();
    assert_eq!((ended.stopped, ended.generation), (false, 2));
    assert_eq!(read(&store, fleet::stop).unwrap(), None);
}

fn a_delivery_is_there_when_its_event_is(rig: &Rig) {
    let store = rig.open();
    let hook = hook(&store, 1, &[]);
    let failed: Result<(), StoreError> = write(&store, |tx| {
        tell(tx, "rollout.started", 1)?;
        Err(StoreError::Absent { what: "test", id: "x".to_owned() })
    });
    assert!(failed.is_err());
    assert!(due(&store, hook, at(10)).is_empty());
    write(&store, |tx| tell(tx, "rollout.started", 1)).unwrap();
    let waiting = due(&store, hook, at(10));
    let body: serde_json::Value = serde_json::from_str(&waiting[0].body).unwrap();
    assert_eq!(body["id"], waiting[0].id.to_string());
    assert_eq!(body["kind"], "rollout.started");
    assert_eq!(body["data"], json!({ "number": 1 }));
    assert_eq!(read(&store, webhooks::next_due).unwrap(), Some(at(1)));
}

fn a_webhook_is_told_of_its_kinds_alone(rig: &Rig) {
    let store = rig.open();
    let every = hook(&store, 1, &[]);
    let some = hook(&store, 2, &["rollout.halted", "fleet."]);
    write(&store, |tx| {
        for (number, kind) in
            ["rollout.started", "rollout.halted", "fleet.stopped", "order.done"].iter().enumerate()
        {
            tell(tx, kind, i64::try_from(number).unwrap())?;
        }
        Ok(())
    })
    .unwrap();
    let kinds = |hook| -> Vec<String> {
        due(&store, hook, at(10)).into_iter().map(|due| due.kind).collect()
    };
    assert_eq!(kinds(every), ["rollout.started", "rollout.halted"]);
    assert_eq!(kinds(some), ["rollout.halted", "fleet.stopped"]);
}

fn deliveries_are_due_oldest_first_and_wait_for_their_time(rig: &Rig) {
    let store = rig.open();
    let hook = hook(&store, 1, &[]);
    write(&store, |tx| (0..3).try_for_each(|number| tell(tx, "rollout.wave", number))).unwrap();
    let all = due(&store, hook, at(10));
    assert_eq!(all.iter().map(|due| due.at).collect::<Vec<_>>(), [at(0), at(1), at(2)]);
    let settle = |number: usize, came_to: Attempted| {
        let one = all[number].clone();
        write(&store, move |tx| webhooks::attempted(tx, &one, &came_to, at(10))).unwrap();
    };
    settle(0, Attempted::Again { at: at(60), error: "status 500".to_owned() });
    settle(1, Attempted::Delivered);
    settle(2, Attempted::GivenUp { error: "status 410".to_owned() });
    assert!(due(&store, hook, at(59)).is_empty());
    let again = due(&store, hook, at(60));
    assert_eq!((again[0].id, again[0].attempts), (all[0].id, 1));
    assert_eq!(read(&store, webhooks::next_due).unwrap(), Some(at(60)));
    let info = read(&store, move |tx| {
        let (key, webhook) = webhooks::living(tx)?.remove(0);
        webhooks::info(tx, key, webhook)
    });
    let info = info.unwrap();
    assert_eq!(info.waiting, 1);
    let errors: Vec<_> = info.deliveries.iter().map(|one| one.error.as_deref()).collect();
    assert_eq!(errors, [Some("status 410"), None, Some("status 500")]);
    assert_eq!(info.deliveries[1].delivered_at, Some(at(10)));
}

fn a_removed_webhook_leaves_nothing_to_send(rig: &Rig) {
    let store = rig.open();
    let key = hook(&store, 1, &[]);
    write(&store, |tx| tell(tx, "rollout.wave", 1)).unwrap();
    let waiting = due(&store, key, at(10)).remove(0);
    assert!(write(&store, |tx| webhooks::remove(tx, webhook_id(1), at(2))).unwrap());
    assert!(!write(&store, |tx| webhooks::remove(tx, webhook_id(1), at(2))).unwrap());
    // Its sender may be under way.
    let late = Attempted::Again { at: at(20), error: "late".to_owned() };
    write(&store, move |tx| webhooks::attempted(tx, &waiting, &late, at(10))).unwrap();
    write(&store, |tx| tell(tx, "rollout.wave", 2)).unwrap();
    assert!(due(&store, key, at(99)).is_empty());
    assert!(read(&store, webhooks::living).unwrap().is_empty());
}

fn the_oldest_deliveries_give_way(rig: &Rig) {
    let store = rig.open();
    let key = hook(&store, 1, &[]);
    let over = i64::from(webhooks::KEPT) + 5;
    write(&store, move |tx| (0..over).try_for_each(|number| tell(tx, "rollout.wave", number)))
        .unwrap();
    write(&store, move |tx| {
        for one in webhooks::due(tx, key, at(1000), 1000)? {
            webhooks::attempted(tx, &one, &Attempted::Delivered, at(1000))?;
        }
        tell(tx, "rollout.done", 2000)?;
        webhooks::prune(tx, key)?;
        webhooks::prune(tx, key)
    })
    .unwrap();
    let count = read(&store, |tx| {
        tx.query_one("SELECT count(*), min(at) FROM deliveries WHERE next_at IS NULL", &[])
    });
    let count = count.unwrap();
    assert_eq!(count.get::<u32>(0).unwrap(), webhooks::KEPT);
    assert_eq!(count.get::<Timestamp>(1).unwrap(), at(5));
    assert_eq!(due(&store, key, at(3000)).len(), 1, "what waits is not what gives way");
}

fn more_webhooks_than_can_be_told_are_refused(rig: &Rig) {
    let store = rig.open();
    let most = u64::try_from(webhooks::MOST).unwrap();
    let insert = |number| write(&store, move |tx| webhooks::insert(tx, &new_hook(number, &[])));
    for number in 0..most {
        assert!(insert(number).unwrap());
    }
    assert!(!insert(most).unwrap());
    write(&store, |tx| webhooks::remove(tx, webhook_id(0), at(1))).unwrap();
    assert!(insert(most).unwrap());
}

fn a_check_keeps_its_newest_answer(rig: &Rig) {
    let store = rig.open();
    let id = rollout(&store);
    let answer = |verdict, second: i64| {
        let answer = CheckAnswer { verdict, reason: Some("latency".to_owned()) };
        write(&store, move |tx| {
            let rollout = checks::by_id(tx, id)?.unwrap();
            checks::answer(tx, &rollout, "slo", &answer, (at(second), at(second + 1)))
        })
        .unwrap()
    };
    assert_eq!(answer(CheckVerdict::Pass, 1), None);
    let before = answer(CheckVerdict::Fail, 2).unwrap();
    assert_eq!((before.verdict, before.answered_at), (Some(CheckVerdict::Pass), Some(at(1))));
    let known = read(&store, move |tx| checks::of(tx, id)).unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!((known[0].name.as_str(), known[0].verdict), ("slo", Some(CheckVerdict::Fail)));
    assert_eq!((known[0].answered_at, known[0].asked_at), (Some(at(2)), Some(at(3))));
    let by_name = read(&store, |tx| checks::by_name(tx, &parsed("web-2"))).unwrap().unwrap();
    assert_eq!(by_name.id, id);
    assert_eq!(read(&store, |tx| checks::live(tx, 0, 10)).unwrap().0, [by_name]);
    write(&store, |tx| tx.execute("UPDATE rollouts SET ended_at = 1", &[])).unwrap();
    assert!(read(&store, |tx| checks::live(tx, 0, 10)).unwrap().0.is_empty());
}

fn a_check_that_is_not_answered_keeps_an_answer_while_it_is_fresh(rig: &Rig) {
    let store = rig.open();
    let id = rollout(&store);
    let pass = CheckAnswer { verdict: CheckVerdict::Pass, reason: None };
    write(&store, move |tx| {
        let rollout = checks::by_id(tx, id)?.unwrap();
        checks::answer(tx, &rollout, "slo", &pass, (at(0), at(0)))
    })
    .unwrap();
    let fresh = Duration::from_mins(5);
    let silent = |second| {
        write(&store, move |tx| {
            let rollout = checks::by_id(tx, id)?.unwrap();
            checks::unanswered(tx, &rollout, "slo", "refused", (at(second), fresh))?;
            checks::of(tx, id)
        })
        .unwrap()
        .remove(0)
    };
    let kept = silent(299);
    assert_eq!((kept.verdict, kept.asked_at), (Some(CheckVerdict::Pass), Some(at(299))));
    let gone = silent(300);
    assert_eq!((gone.verdict, gone.reason.as_deref()), (None, Some("refused")));
}

fn tell(tx: &mut Tx<'_>, kind: &'static str, number: i64) -> Result<(), StoreError> {
    let data = json!({ "number": number });
    events::insert(
        tx,
        &NewEvent { at: at(number), kind, agent: None, order: None, rollout: None, data },
    )
}

fn due(store: &Store, hook: WebhookKey, now: Timestamp) -> Vec<webhooks::Due> {
    read(store, move |tx| webhooks::due(tx, hook, now, 1000)).unwrap()
}

fn hook(store: &Store, number: u64, kinds: &'static [&'static str]) -> WebhookKey {
    assert!(write(store, move |tx| webhooks::insert(tx, &new_hook(number, kinds))).unwrap());
    let id = webhook_id(number);
    read(store, move |tx| webhooks::get(tx, id)).unwrap().unwrap().0
}

fn new_hook(number: u64, kinds: &[&str]) -> Webhook {
    Webhook {
        id: webhook_id(number),
        url: "https://example.com/hook".to_owned(),
        kinds: kinds.iter().map(|&kind| kind.to_owned()).collect(),
        note: Some("for the pager".to_owned()),
        by: "ann".to_owned(),
        created_at: at(0),
    }
}

fn webhook_id(number: u64) -> WebhookId {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    WebhookId::mint(&mut IdGen::new(seed), at(0))
}

/// A rollout with a check, as far as checks need one.
fn rollout(store: &Store) -> RolloutId {
    let id = RolloutId::mint(&mut IdGen::new([9; 32]), at(0));
    let spec: RolloutSpec = serde_json::from_value(json!({
        "name": "web-2", "component": "web", "to": "2.0.0", "select": "all", "all": true,
        "checks": [{ "name": "slo", "how": { "webhook": {} } }],
    }))
    .unwrap();
    write(store, move |tx| {
        tx.execute(
            "INSERT INTO rollouts (id, name, kind, component, spec, state, priority, released, \
             members, progress, counts, created_by, created_at, changed_at, generation) \
             VALUES ($1, 'web-2', '{}', 'web', $2, 'running', 50, 0, 0, '{}', '{}', 'ann', 0, 0, 1)",
            &[id.to_string().into(), serde_json::to_string(&spec).unwrap().into()],
        )
    })
    .unwrap();
    id
}
