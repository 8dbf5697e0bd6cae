use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::testing::{release_of, run, slot, when};

const WINDOW: Millis = Millis(1000);

fn trial(slots: &Slots, n: u64) -> Slots {
    begin_trial(slots, slot(&format!("1.{n}.0"), n), WINDOW, 2, None).unwrap()
}

fn committed(slots: &Slots, n: u64) -> Slots {
    commit(&trial(slots, n), run(n), when(1)).unwrap()
}

fn two() -> Slots {
    committed(&committed(&Slots::default(), 1), 2)
}

fn passed(ms: u64) -> Passed {
    Passed { trial: Duration::from_millis(ms), guard: Duration::from_millis(ms) }
}

#[test]
fn a_healthy_report_after_the_window_cannot_commit() {
    let slots = tick(&trial(&two(), 3), passed(1000)).unwrap();
    let refused = commit(&slots, run(3), when(2)).unwrap_err();
    assert_eq!(refused, Refused::WindowOver { release: release_of("1.3.0"), window: WINDOW });
}

#[test]
fn only_the_run_that_began_a_trial_commits_or_ends_it() {
    let slots = trial(&two(), 3);
    let wrong = Refused::OtherRun { wanted: run(4), found: run(3) };
    assert_eq!(commit(&slots, run(4), when(2)), Err(wrong.clone()));
    assert_eq!(quarantine_trial(&slots, run(4), "ill", when(2)), Err(wrong));
    assert_eq!(commit(&two(), run(2), when(2)), Err(Refused::NoTrial));
}

#[test]
fn what_failed_here_is_not_tried_again_until_a_person_lets_it() {
    let failed = quarantine_trial(&trial(&two(), 3), run(3), "ill", when(2)).unwrap();
    let again = |slots: &Slots| begin_trial(slots, slot("1.3.0", 9), WINDOW, 1, None);
    assert!(matches!(again(&failed), Err(Refused::Quarantined { reason, .. }) if reason == "ill"));
    let cleared = clear_quarantine(&failed, &release_of("1.3.0")).unwrap();
    assert!(again(&cleared).is_ok());
    let refused = clear_quarantine(&cleared, &release_of("1.3.0"));
    assert_eq!(refused, Err(Refused::NotQuarantined { release: release_of("1.3.0") }));
}

#[test]
fn a_guard_without_anything_to_return_to_does_not_start() {
    let guard = Guard { within: WINDOW, elapsed: Millis(7), crashes_left: 1 };
    let first = begin_trial(&Slots::default(), slot("1.1.0", 1), WINDOW, 1, Some(guard.clone()));
    let first = commit(&first.unwrap(), run(1), when(1)).unwrap();
    assert_eq!(first.current.as_ref().unwrap().guard, None);
    let second = begin_trial(&first, slot("1.2.0", 2), WINDOW, 1, Some(guard)).unwrap();
    let second = commit(&second, run(2), when(1)).unwrap();
    assert_eq!(second.current.unwrap().guard.unwrap().elapsed, Millis(0));
}

#[test]
fn a_return_needs_a_guard_whose_time_is_not_over() {
    let left = Refused::NoGuard { release: release_of("1.2.0") };
    assert_eq!(return_to_previous(&two(), run(2), "ill", when(2)), Err(left));
    let guard = Guard { within: WINDOW, elapsed: Millis(0), crashes_left: 0 };
    let guarded = begin_trial(&two(), slot("1.3.0", 3), WINDOW, 1, Some(guard)).unwrap();
    let guarded = commit(&guarded, run(3), when(1)).unwrap();
    let back = return_to_previous(&guarded, run(3), "ill", when(2)).unwrap();
    assert_eq!(back.current.as_ref().unwrap().release, release_of("1.2.0"));
    assert_eq!(last_good(&back).unwrap().release, release_of("1.1.0"), "not what it came from");
    let over = tick(&guarded, passed(5000)).unwrap();
    let refused = return_to_previous(&over, run(3), "ill", when(2)).unwrap_err();
    assert_eq!(refused, Refused::GuardOver { release: release_of("1.3.0"), within: WINDOW });
}

#[test]
fn the_last_good_slot_and_the_ones_in_use_are_never_forgotten() {
    let slots = trial(&committed(&two(), 3), 4);
    let refused = |n: &str| forget(&slots, &release_of(n)).unwrap_err();
    assert_eq!(refused("1.2.0"), Refused::LastGood { release: release_of("1.2.0") });
    assert_eq!(refused("1.3.0"), Refused::AlreadyCurrent { release: release_of("1.3.0") });
    assert!(matches!(refused("1.4.0"), Refused::TrialPending { .. }));
    assert_eq!(refused("1.9.0"), Refused::NotKept { release: release_of("1.9.0") });
    assert_eq!(forget(&slots, &release_of("1.1.0")).unwrap().previous.len(), 1);
}

#[test]
fn the_last_generation_is_an_error_and_no_wrap() {
    let slots = Slots { generation: u64::MAX, ..two() };
    let refused = begin_trial(&slots, slot("1.3.0", 3), WINDOW, 1, None);
    assert_eq!(refused, Err(Refused::LastGeneration));
}

#[test]
fn the_quarantine_forgets_its_oldest_entries() {
    let mut slots = two();
    for n in 3..=70 {
        slots = quarantine_trial(&trial(&slots, n), run(n), "ill", when(1)).unwrap();
    }
    assert_eq!(slots.quarantine.len(), QUARANTINE_LIMIT);
    assert_eq!(slots.quarantine.last().unwrap().release, release_of("1.70.0"));
}

#[derive(Debug, Clone)]
enum Deed {
    Begin { version: u64, guarded: bool },
    SpendBoot,
    Tick(u64),
    Quarantine { right_run: bool },
    Commit { right_run: bool },
    Crash,
    Return,
    RollBack(u64),
    Forget(u64),
    Clear(u64),
    Pause,
    EndPause,
}

fn deed() -> impl Strategy<Value = Deed> {
    let version = 1_u64..6;
    prop_oneof![
        5 => (version.clone(), any::<bool>())
            .prop_map(|(version, guarded)| Deed::Begin { version, guarded }),
        2 => Just(Deed::SpendBoot),
        2 => (0_u64..700).prop_map(Deed::Tick),
        1 => any::<bool>().prop_map(|right_run| Deed::Quarantine { right_run }),
        4 => any::<bool>().prop_map(|right_run| Deed::Commit { right_run }),
        3 => Just(Deed::Crash),
        2 => Just(Deed::Return),
        2 => version.clone().prop_map(Deed::RollBack),
        1 => version.clone().prop_map(Deed::Forget),
        2 => version.prop_map(Deed::Clear),
        1 => Just(Deed::Pause),
        1 => Just(Deed::EndPause),
    ]
}

fn apply(slots: &Slots, deed: &Deed, fresh: u64) -> Result<Slots, Refused> {
    let of = |n: &u64| release_of(&format!("1.{n}.0"));
    let trial_run = slots.trial.as_ref().map_or(run(0), |trial| trial.slot.run);
    let current_run = slots.current.as_ref().map_or(run(0), |slot| slot.run);
    let whose = |right: &bool| if *right { trial_run } else { run(7777) };
    match deed {
        Deed::Begin { version, guarded } => {
            let guard = Guard { within: Millis(900), elapsed: Millis(0), crashes_left: 1 };
            let each = slot(&format!("1.{version}.0"), fresh);
            begin_trial(slots, each, WINDOW, 2, guarded.then_some(guard))
        }
        Deed::SpendBoot => spend_boot(slots),
        Deed::Tick(ms) => tick(slots, passed(*ms)),
        Deed::Quarantine { right_run } => quarantine_trial(slots, whose(right_run), "i", when(1)),
        Deed::Commit { right_run } => commit(slots, whose(right_run), when(1)),
        Deed::Crash => {
            let which = if slots.trial.is_some() { trial_run } else { current_run };
            Ok(match crash(slots, which, "it broke", when(1))? {
                AfterCrash::Retry | AfterCrash::Unguarded => slots.clone(),
                AfterCrash::Quarantined(next)
                | AfterCrash::Counted(next)
                | AfterCrash::Returned(next) => next,
            })
        }
        Deed::Return => return_to_previous(slots, current_run, "ill", when(1)),
        Deed::RollBack(n) => roll_back_to(slots, &of(n), "asked", when(1)),
        Deed::Forget(n) => forget(slots, &of(n)),
        Deed::Clear(n) => clear_quarantine(slots, &of(n)),
        Deed::Pause => pause(slots, run(fresh), WINDOW),
        Deed::EndPause => end_pause(slots),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_history_loses_what_runs_or_runs_what_failed(
        history in prop::collection::vec(deed(), 1..60),
    ) {
        let mut slots = Slots::default();
        for (fresh, deed) in (100..).zip(&history) {
            let Ok(next) = apply(&slots, deed, fresh) else { continue };
            if next == slots {
                continue;
            }
            prop_assert_eq!(next.generation, slots.generation + 1, "{:?}", deed);
            prop_assert!(next.current.is_some() || slots.current.is_none(), "{:?}", deed);
            check_who_is_current(&slots, &next)?;
            let trial = next.trial.as_ref().map(|trial| &trial.slot);
            for slot in next.current.iter().chain(trial) {
                prop_assert!(quarantined(&next, &slot.release).is_none(), "{:?}", deed);
            }
            let current = next.current.as_ref().map(|slot| &slot.release);
            prop_assert!(current.is_none() || trial.map(|slot| &slot.release) != current);
            let kept: Vec<_> = next.previous.iter().map(|slot| &slot.release).collect();
            prop_assert_eq!(kept.iter().collect::<BTreeSet<_>>().len(), kept.len());
            prop_assert!(current.is_none_or(|current| !kept.contains(&current)), "{:?}", deed);
            prop_assert!(next.pause.is_none() || next.trial.is_none());
            // What was last good stays within reach, whatever is forgotten.
            if let (Some(good), Deed::Forget(_)) = (last_good(&slots), deed) {
                prop_assert_eq!(last_good(&next), Some(good));
            }
            slots = next;
        }
    }
}

/// A new current slot was on trial for it, or was current before.
fn check_who_is_current(old: &Slots, new: &Slots) -> Result<(), TestCaseError> {
    let (Some(now), was) = (&new.current, &old.current) else { return Ok(()) };
    if was.as_ref().is_some_and(|was| was.run == now.run) {
        return Ok(());
    }
    let tried = old.trial.as_ref().is_some_and(|trial| {
        trial.slot.run == now.run && trial.elapsed < trial.window && now.committed_at.is_some()
    });
    let kept = old.previous.iter().any(|kept| kept.run == now.run);
    prop_assert!(tried || kept, "{now:?} came from nowhere");
    if let Some(was) = was {
        prop_assert!(new.previous.iter().any(|kept| kept.run == was.run), "{was:?} was lost");
    }
    Ok(())
}
