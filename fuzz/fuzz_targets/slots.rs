//! The slots file, whole and as the body of one: what opens seals to the same, and no decision
//! over it loses what runs.
#![no_main]

use handover_engine::retention::{Found, Inventory, Keep, plan_retention};
use handover_engine::slots::{desired, last_good, quarantine_trial, spend_boot};
use handover_fuzz::{now, round_trip};
use handover_model::{SLOTS_FORMAT, Slots, open_framed, seal_framed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = open_framed::<Slots>("slots", SLOTS_FORMAT, bytes).ok();
    let body = serde_json::from_slice::<Slots>(bytes).ok();
    for slots in [whole, body].into_iter().flatten() {
        round_trip(&slots);
        let sealed = seal_framed("slots", SLOTS_FORMAT, &slots).expect("slots can be sealed");
        let opened: Slots = open_framed("slots", SLOTS_FORMAT, &sealed).expect("and opened");
        assert_eq!(opened, slots);
        decide(&slots);
    }
});

fn decide(slots: &Slots) {
    let _ = desired(slots, None);
    if let Ok(next) = spend_boot(slots) {
        assert_eq!(next.current, slots.current);
    }
    if let Some(trial) = &slots.trial
        && let Ok(next) = quarantine_trial(slots, trial.slot.run, "fuzz", now())
    {
        assert_eq!(next.current, slots.current);
        assert!(next.trial.is_none());
    }
    let names = slots.current.iter().chain(&slots.previous).map(|slot| slot.release.directory());
    let found = names.map(|name| Found { name, is_directory: true, bytes: 1 }).collect();
    let inventory = Inventory { releases: found, ..Inventory::default() };
    let plan = plan_retention(slots, &inventory, Keep::releases(1), None);
    let kept = slots.current.as_ref().into_iter().chain(last_good(slots));
    for name in kept.map(|slot| slot.release.directory()) {
        assert!(plan.delete.iter().all(|entry| entry.name != name), "{name} would be deleted");
    }
}
