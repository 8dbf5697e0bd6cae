use handover_model::{Digest, IdGen, Millis};

use super::*;
use crate::testing::{release, slot, when};

fn component() -> ComponentName {
    "web".parse().unwrap()
}

fn agent() -> AgentName {
    "host-a".parse().unwrap()
}

fn running(version: &str, sequence: u64) -> Slots {
    let mut current = slot(version, 1);
    current.sequence = sequence;
    Slots { generation: 3, current: Some(current), ..Slots::default() }
}

fn permit(id: u64, to: &str) -> Permit {
    let mut ids = IdGen::new(*Digest::of(&id.to_be_bytes()).as_bytes());
    Permit {
        type_: Permit::TYPE.to_owned(),
        id: OrderId::mint(&mut ids, when(0)),
        component: component(),
        agents: vec![agent()],
        to: to.parse().unwrap(),
        reason: "the new one eats the disk".to_owned(),
        expires: when(100),
    }
}

#[test]
fn a_floor_rises_at_a_commit_without_return_and_never_falls() {
    let first = Floors::default().raised(&component(), &running("1.1.0", 2), when(1)).unwrap();
    assert!(!first.accepts(&component(), &"1.0.0".parse().unwrap()));
    assert!(first.accepts(&component(), &"1.1.0".parse().unwrap()));
    assert_eq!(first.raised(&component(), &running("1.1.0", 2), when(2)), None);
    assert_eq!(first.raised(&component(), &running("1.0.0", 1), when(2)), None);
}

#[test]
fn a_floor_waits_until_the_guards_time_is_over() {
    let mut slots = running("1.1.0", 2);
    let guard = handover_model::Guard { within: Millis(10), elapsed: Millis(9), crashes_left: 1 };
    slots.current.as_mut().unwrap().guard = Some(guard);
    assert_eq!(Floors::default().raised(&component(), &slots, when(1)), None);
    slots.current.as_mut().unwrap().guard.as_mut().unwrap().elapsed = Millis(10);
    assert!(Floors::default().raised(&component(), &slots, when(1)).is_some());
}

#[test]
fn version_and_sequence_each_keep_their_highest() {
    let first = Floors::default().raised(&component(), &running("10.8.5", 7), when(1)).unwrap();
    let second = first.raised(&component(), &running("10.9.0", 6), when(2)).unwrap();
    let floor = second.of(&component()).unwrap();
    assert_eq!((floor.version.to_string().as_str(), floor.sequence), ("10.9.0", 7));
}

#[test]
fn a_permit_is_spent_once_and_for_what_it_says_alone() {
    let (ledger, wanted) = (Ledger::default(), permit(1, "1.0.0"));
    let to: Version = "1.0.0".parse().unwrap();
    ledger.check(&wanted, &agent(), &component(), &to, when(5)).unwrap();
    let after = ledger.spent(&wanted, when(5));
    let said = after.check(&wanted, &agent(), &component(), &to, when(6)).unwrap_err();
    assert!(matches!(said, FloorError::Spent { .. }), "{said}");
    after.check(&permit(2, "1.0.0"), &agent(), &component(), &to, when(6)).unwrap();

    let other = "db".parse().unwrap();
    let said = ledger.check(&wanted, &agent(), &other, &to, when(5)).unwrap_err();
    assert!(matches!(said, FloorError::OtherComponent { .. }), "{said}");
    let stranger = "host-b".parse().unwrap();
    let said = ledger.check(&wanted, &stranger, &component(), &to, when(5)).unwrap_err();
    assert!(matches!(said, FloorError::OtherAgent { .. }), "{said}");
    let elsewhere = "0.9.0".parse().unwrap();
    let said = ledger.check(&wanted, &agent(), &component(), &elsewhere, when(5)).unwrap_err();
    assert!(matches!(said, FloorError::OtherVersion { .. }), "{said}");
    let said = ledger.check(&wanted, &agent(), &component(), &to, when(100)).unwrap_err();
    assert!(matches!(said, FloorError::Expired { .. }), "{said}");
}

#[test]
fn both_files_open_to_what_was_sealed_and_damage_is_no_empty_file() {
    let floors = Floors::default().raised(&component(), &running("1.1.0", 2), when(1)).unwrap();
    assert_eq!(Floors::open(&floors.seal().unwrap()).unwrap(), floors);
    let ledger = Ledger::default().spent(&permit(1, "1.0.0"), when(1));
    assert_eq!(Ledger::open(&ledger.seal().unwrap()).unwrap(), ledger);
    assert!(Ledger::open(&floors.seal().unwrap()).is_err());
    assert!(Floors::open(b"").is_err());
    let mut cut = floors.seal().unwrap();
    cut.truncate(cut.len() - 1);
    assert!(Floors::open(&cut).is_err());
}

#[test]
fn the_ledger_keeps_the_first_deed_and_forgets_the_oldest_orders() {
    let mut ids = IdGen::new([9; 32]);
    let entry = |ids: &mut IdGen, at| LedgerEntry {
        order: OrderId::mint(ids, when(at)),
        component: component(),
        at: when(at),
        deed: Deed::Executed { run: release(1).1 },
    };
    let first = entry(&mut ids, 0);
    let mut ledger = Ledger::default().with(first.clone());
    let refused = Deed::Refused { code: "pin".to_owned(), reason: "pinned".to_owned() };
    ledger = ledger.with(LedgerEntry { deed: refused, ..first.clone() });
    assert_eq!(ledger.deed(first.order), Some(&first.deed));
    for at in 0..LEDGER_ORDERS {
        let next = entry(&mut ids, i64::try_from(at).unwrap());
        ledger = ledger.with(next);
    }
    assert_eq!((ledger.orders.len(), ledger.deed(first.order)), (LEDGER_ORDERS, None));
}
