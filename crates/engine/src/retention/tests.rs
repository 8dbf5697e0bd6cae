use handover_model::Millis;
use proptest::prelude::*;

use super::*;
use crate::testing::{release_of, run, slot, when};

fn found(name: impl Into<String>) -> Found {
    Found { name: name.into(), is_directory: true, bytes: 10 }
}

fn ended(n: u64) -> FoundRun {
    FoundRun { entry: found(run(n).to_string()), progress: RunProgress::Ended }
}

/// Releases 1 to `n` committed one after the other, the last one current; all on disk.
fn host(n: u64) -> (Slots, Inventory) {
    let (mut slots, mut inventory) = (Slots::default(), Inventory::default());
    for k in 1..=n {
        let each = slot(&format!("1.{k}.0"), k);
        inventory.releases.push(found(each.release.directory()));
        inventory.states.push(found(format!("1.{k}")));
        inventory.configs.push(found(k.to_string()));
        inventory.runs.push(ended(k));
        slots = crate::slots::begin_trial(&slots, each, Millis(1000), 1, None).unwrap();
        slots = crate::slots::commit(&slots, run(k), when(1)).unwrap();
    }
    (slots, inventory)
}

fn names(plan: &Retention, place: Place) -> Vec<&str> {
    plan.delete.iter().filter(|e| e.place == place).map(|e| e.name.as_str()).collect()
}

#[test]
fn the_oldest_releases_go_with_their_copies() {
    let (slots, inventory) = host(5);
    let keep = Keep { releases: 2, set_aside: 1, runs: 0 };
    let plan = plan_retention(&slots, &inventory, keep, None);
    assert_eq!(plan.forget, [release_of("1.2.0"), release_of("1.1.0")]);
    let gone = [release_of("1.1.0").directory(), release_of("1.2.0").directory()];
    assert_eq!(names(&plan, Place::Releases), gone);
    assert_eq!(names(&plan, Place::State), ["1.1"], "1.2 is the newest that is set aside");
    assert_eq!(names(&plan, Place::Config), ["1"]);
    assert_eq!(names(&plan, Place::Runs).len(), 2, "runs that made kept slots stay");
    assert_eq!(plan.frees(), 10 * 6);
}

#[test]
fn keeping_nothing_still_keeps_the_last_good_one() {
    let (slots, inventory) = host(3);
    let keep = Keep { releases: 0, set_aside: 0, runs: 0 };
    let plan = plan_retention(&slots, &inventory, keep, None);
    assert_eq!(plan.forget, [release_of("1.1.0")]);
}

#[test]
fn what_nobody_knows_is_reported_and_stays() {
    let (slots, mut inventory) = host(1);
    for name in ["lost+found", "1.0.0", "1.0.0+ABCDEF12", ".new", "v1+00000000"] {
        inventory.releases.push(found(name));
    }
    inventory.states.push(found("01.1"));
    inventory.configs.push(Found { is_directory: false, ..found("77") });
    let keep = Keep { releases: 0, set_aside: 0, runs: 0 };
    let plan = plan_retention(&slots, &inventory, keep, None);
    assert_eq!((plan.unknown.len(), plan.delete.len()), (7, 0));
}

#[test]
fn an_unfinished_run_keeps_its_packages_and_every_copy() {
    let (slots, mut inventory) = host(3);
    let package = release_of("1.9.0");
    inventory.releases.push(found(package.directory()));
    inventory.states.push(found("2.9"));
    let progress = RunProgress::Unfinished { needs: vec![package.clone()] };
    inventory.runs.push(FoundRun { entry: found(run(9).to_string()), progress });
    let keep = Keep { releases: 1, set_aside: 0, runs: 0 };
    let plan = plan_retention(&slots, &inventory, keep, None);
    assert_eq!(names(&plan, Place::Releases), [release_of("1.1.0").directory()]);
    assert!(names(&plan, Place::State).is_empty());
    let plan = plan_retention(&slots, &inventory, keep, Some(run(9)));
    assert_eq!(names(&plan, Place::State), ["1.1", "2.9"], "its own last step counts it as ended");
    assert!(!names(&plan, Place::Releases).contains(&package.directory().as_str()));
}

#[test]
fn what_a_return_set_aside_counts_among_the_copies() {
    let (slots, mut inventory) = host(2);
    inventory.states.extend([found("1.3.reverted"), found("1.4.reverted"), found("1.4.other")]);
    let keep = Keep { releases: 1, set_aside: 1, runs: 0 };
    let plan = plan_retention(&slots, &inventory, keep, None);
    assert_eq!(names(&plan, Place::State), ["1.3.reverted"]);
    assert_eq!(plan.unknown.len(), 1);
}

#[test]
fn a_journal_that_cannot_be_read_keeps_every_release() {
    let (slots, mut inventory) = host(4);
    let progress = RunProgress::Unreadable;
    inventory.runs.push(FoundRun { entry: found(run(9).to_string()), progress });
    let keep = Keep { releases: 1, set_aside: 0, runs: 0 };
    let plan = plan_retention(&slots, &inventory, keep, None);
    assert!(names(&plan, Place::Releases).is_empty());
}

#[derive(Debug, Clone)]
enum Deed {
    Update,
    Fail,
    Back(usize),
    Trial,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    prop::collection::vec(
        prop_oneof![
            4 => Just(Deed::Update),
            2 => Just(Deed::Fail),
            1 => (0_usize..4).prop_map(Deed::Back),
            1 => Just(Deed::Trial),
        ],
        1..12,
    )
}

/// Any history that a host may have had; everything it ever installed still lies there.
fn lived(deeds: &[Deed]) -> (Slots, Inventory) {
    use crate::slots::{begin_trial, commit, quarantine_trial, roll_back_to};
    let (mut slots, mut inventory) = (Slots::default(), Inventory::default());
    for (k, deed) in (1..).zip(deeds) {
        if let Deed::Back(at) = deed {
            if let Some(to) = slots.previous.get(*at).map(|kept| kept.release.clone()) {
                slots = roll_back_to(&slots, &to, "asked", when(1)).unwrap_or(slots);
            }
            continue;
        }
        if let Some(trial) = &slots.trial {
            slots = quarantine_trial(&slots, trial.slot.run, "ill", when(1)).unwrap();
        }
        let each = slot(&format!("1.{k}.0"), k);
        inventory.releases.push(found(each.release.directory()));
        inventory.states.push(found(format!("1.{k}")));
        inventory.configs.push(found(k.to_string()));
        inventory.runs.push(ended(k));
        slots = begin_trial(&slots, each, Millis(1000), 1, None).unwrap();
        slots = match deed {
            Deed::Update => commit(&slots, run(k), when(1)).unwrap(),
            Deed::Fail => quarantine_trial(&slots, run(k), "ill", when(1)).unwrap(),
            Deed::Trial | Deed::Back(_) => slots,
        };
    }
    (slots, inventory)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn never_current_trial_or_last_good_nor_what_an_unfinished_run_began_with(
        history in deeds(),
        (releases, set_aside, runs) in (0_u32..4, 0_u32..3, 0_u32..3),
        unfinished in prop::option::of(1_u64..12),
    ) {
        let (slots, mut inventory) = lived(&history);
        let needed = unfinished.map(|k| release_of(&format!("1.{k}.0")));
        if let Some(release) = &needed {
            let progress = RunProgress::Unfinished { needs: vec![release.clone()] };
            inventory.runs.push(FoundRun { entry: found(run(99).to_string()), progress });
        }
        let keep = Keep { releases, set_aside, runs };
        let plan = plan_retention(&slots, &inventory, keep, None);
        let trial = slots.trial.as_ref().map(|trial| &trial.slot);
        for slot in slots.current.iter().chain(trial).chain(last_good(&slots)) {
            prop_assert!(!names(&plan, Place::Releases).contains(&slot.release.directory().as_str()));
            let state = slot.state.as_ref().unwrap().file_name().unwrap();
            prop_assert!(!names(&plan, Place::State).contains(&state));
            prop_assert!(!names(&plan, Place::Config).contains(&slot.config.file_name().unwrap()));
            prop_assert!(!plan.forget.contains(&slot.release) || trial == Some(slot));
        }
        if let Some(release) = needed {
            prop_assert!(!names(&plan, Place::Releases).contains(&release.directory().as_str()));
            prop_assert!(!names(&plan, Place::Runs).contains(&run(99).to_string().as_str()));
        }
        // What is to be forgotten can be, one after the other; then nothing is left to do.
        let mut after = slots.clone();
        for release in &plan.forget {
            after = crate::slots::forget(&after, release).unwrap();
        }
        let mut rest = inventory.clone();
        for entry in &plan.delete {
            let all = match entry.place {
                Place::Releases => &mut rest.releases,
                Place::State => &mut rest.states,
                Place::Config => &mut rest.configs,
                Place::Runs => {
                    rest.runs.retain(|run| run.entry.name != entry.name);
                    continue;
                }
            };
            all.retain(|found| found.name != entry.name);
        }
        let again = plan_retention(&after, &rest, keep, None);
        prop_assert_eq!(&again.forget, &[]);
        prop_assert_eq!(&again.delete, &[]);
        prop_assert!(again.unknown.is_empty());
    }
}
