//! Any history: other writers, crashes, full disks, launchers that die, time.

use proptest::prelude::*;

use super::*;
use crate::slots::{Desired, clear_quarantine, desired, end_pause, return_to_previous};

#[derive(Debug, Clone)]
enum Deed {
    BeginTrial { boots: u32, guarded: bool },
    Commit,
    Ill,
    Return,
    RollBack(usize),
    Clear(usize),
    Pause,
    EndPause,
    Unseen(Box<Deed>),
    Exit,
    FillDisk(bool),
    Obey(bool),
    LauncherDies,
    Pass(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    let writer = prop_oneof![
        4 => (1_u32..4, any::<bool>())
            .prop_map(|(boots, guarded)| Deed::BeginTrial { boots, guarded }),
        3 => Just(Deed::Commit),
        1 => Just(Deed::Ill),
        1 => Just(Deed::Return),
        1 => (0_usize..3).prop_map(Deed::RollBack),
        1 => (0_usize..3).prop_map(Deed::Clear),
        1 => Just(Deed::Pause),
        1 => Just(Deed::EndPause),
    ];
    prop_oneof![
        6 => writer.clone(),
        2 => writer.prop_map(|deed| Deed::Unseen(Box::new(deed))),
        4 => Just(Deed::Exit),
        1 => any::<bool>().prop_map(Deed::FillDisk),
        1 => any::<bool>().prop_map(Deed::Obey),
        1 => Just(Deed::LauncherDies),
        4 => (0_u64..20_000).prop_map(Deed::Pass),
    ]
}

fn write(slots: &Slots, deed: &Deed, fresh: u64) -> Option<Slots> {
    let trial = slots.trial.as_ref().map(|trial| trial.slot.run);
    let current = slots.current.as_ref().map(|slot| slot.run);
    match deed {
        Deed::BeginTrial { boots, guarded } => {
            let each = slot(&format!("1.{fresh}.0"), fresh);
            begin_trial(slots, each, WINDOW, *boots, guarded.then(|| guard(1))).ok()
        }
        Deed::Commit => commit(slots, trial?, when(3)).ok(),
        Deed::Ill => quarantine_trial(slots, trial?, "ill", when(3)).ok(),
        Deed::Return => return_to_previous(slots, current?, "ill", when(3)).ok(),
        Deed::RollBack(at) => {
            roll_back_to(slots, &slots.previous.get(*at)?.release.clone(), "asked", when(3)).ok()
        }
        Deed::Clear(at) => {
            clear_quarantine(slots, &slots.quarantine.get(*at)?.release.clone()).ok()
        }
        Deed::Pause => pause(slots, run(fresh), Millis(5000)).ok(),
        Deed::EndPause => end_pause(slots).ok(),
        Deed::Unseen(_)
        | Deed::Exit
        | Deed::FillDisk(_)
        | Deed::Obey(_)
        | Deed::LauncherDies
        | Deed::Pass(_) => None,
    }
}

fn play(world: &mut World, deed: &Deed, fresh: u64) {
    match deed {
        Deed::Unseen(inner) => {
            if let Some(next) = write(&world.disk, inner, fresh) {
                world.disk = next;
            }
        }
        Deed::Exit => {
            if world.child.is_some() {
                world.child_exits(1);
            }
        }
        Deed::FillDisk(full) => world.disk_is_full = *full,
        Deed::Obey(obedient) => world.obedient = *obedient,
        Deed::LauncherDies => *world = World::new(world.disk.clone()),
        Deed::Pass(ms) => world.pass(Duration::from_millis(*ms)),
        Deed::BeginTrial { .. }
        | Deed::Commit
        | Deed::Ill
        | Deed::Return
        | Deed::RollBack(_)
        | Deed::Clear(_)
        | Deed::Pause
        | Deed::EndPause => {
            if let Some(next) = write(&world.disk, deed, fresh) {
                world.disk = next;
                world.feed(Event::Slots(world.disk.clone()));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_must_run_runs_in_the_end_and_no_trial_runs_unpaid(
        history in prop::collection::vec(deed(), 1..40),
    ) {
        let mut world = World::new(settled(Some(guard(1))));
        for (fresh, deed) in (10..).zip(&history) {
            let full = world.disk_is_full;
            world.said();
            play(&mut world, deed, fresh);
            if full && world.disk_is_full {
                prop_assert!(!world.log.iter().any(|line| line.starts_with("boot")));
            }
        }
        // Then peace: the disk has room, children obey, and nobody else writes.
        world.disk_is_full = false;
        world.obedient = true;
        world.feed(Event::Slots(world.disk.clone()));
        world.pass(seconds(120));
        let running = world.child.clone();
        match desired(&world.disk, None) {
            Desired::Current(slot) => prop_assert_eq!(running, Some(slot.release.clone())),
            other @ (Desired::Trial(_)
            | Desired::Settle(..)
            | Desired::Paused(_)
            | Desired::Nothing(_)) => prop_assert!(false, "it outlived its window: {:?}", other),
        }
        let wanted = world.child.clone().unwrap();
        prop_assert!(world.disk.quarantine.iter().all(|entry| entry.release != wanted));
    }
}
