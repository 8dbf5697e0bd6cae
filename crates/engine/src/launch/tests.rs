use handover_model::{Guard, Timestamp};

use super::*;
use crate::slots::{begin_trial, commit, pause, quarantine_trial, roll_back_to};
use crate::testing::{release_of, run, slot, when};

mod any_history;

/// A machine around the core: a disk with slots, one child, and a clock.
struct World {
    launch: Launch,
    now: Duration,
    disk: Slots,
    disk_is_full: bool,
    child: Option<ReleaseId>,
    /// Whether the child obeys its stop signal.
    obedient: bool,
    ended: bool,
    pid: u32,
    /// Boots of the trial that are on disk as spent and were not used yet.
    paid: u32,
    /// What was done, in order, in short words.
    log: Vec<String>,
}

impl World {
    fn new(disk: Slots) -> Self {
        let now = Duration::from_secs(50);
        let launch = Launch::new(Self::both(now));
        let mut world = Self {
            launch,
            now,
            disk,
            disk_is_full: false,
            child: None,
            obedient: true,
            ended: false,
            pid: 100,
            paid: 0,
            log: Vec::new(),
        };
        world.feed(Event::Slots(world.disk.clone()));
        world
    }

    fn both(mono: Duration) -> Now {
        Now { wall: when(7), mono }
    }

    fn feed(&mut self, event: Event) {
        let mut events = std::collections::VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.launch.handle(event, Self::both(self.now)) {
                events.extend(self.perform(effect));
            }
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Publish(next) => return Some(self.publish(*next)),
            Effect::Start(slot) => {
                assert!(self.child.is_none(), "started beside a running child");
                if self.disk.trial.as_ref().is_some_and(|trial| trial.slot == *slot) {
                    self.paid = self.paid.checked_sub(1).expect("every start of a trial is paid");
                }
                self.log.push(format!("start {}", slot.release.version));
                self.child = Some(slot.release);
                self.pid += 1;
                return Some(Event::Started { pid: self.pid });
            }
            Effect::Stop(stop) => {
                self.log.push(format!("stop {} {}", stop.signal, stop.grace));
                if self.obedient {
                    self.child = None;
                    return Some(Event::ChildExited(Exit::Code(0)));
                }
            }
            Effect::Kill => {
                self.log.push("kill".to_owned());
                self.child = None;
                return Some(Event::ChildExited(Exit::Signal(9)));
            }
            Effect::Record(LaunchEvent::Quarantined { reason, .. }) => {
                self.log.push(format!("quarantined: {reason}"));
            }
            Effect::Record(LaunchEvent::Returned { reason, .. }) => {
                self.log.push(format!("returned: {reason}"));
            }
            Effect::Record(LaunchEvent::Refused { reason }) => {
                self.log.push(format!("refused: {reason}"));
            }
            Effect::Record(LaunchEvent::Paused { generation }) => {
                self.log.push(format!("paused {generation}"));
            }
            Effect::Record(_) => {}
            Effect::ExitLauncher => {
                assert!(self.child.is_none(), "the launcher left its child behind");
                self.ended = true;
            }
        }
        None
    }

    fn publish(&mut self, next: Slots) -> Event {
        if self.disk_is_full {
            return Event::PublishFailed("no space left on device".to_owned());
        }
        if next.generation != self.disk.generation + 1 {
            return Event::Taken(self.disk.clone());
        }
        if let (Some(old), Some(new)) = (&self.disk.trial, &next.trial)
            && new.boots_left < old.boots_left
        {
            self.log.push(format!("boot, {} left", new.boots_left));
            self.paid += 1;
        }
        self.disk = next;
        Event::Published
    }

    /// Somebody else publishes.
    fn meanwhile(&mut self, change: impl FnOnce(&Slots) -> Result<Slots, slots::Refused>) {
        self.disk = change(&self.disk).unwrap();
        self.feed(Event::Slots(self.disk.clone()));
    }

    /// Lets `passed` go by, waking the launcher whenever it asked for that.
    fn pass(&mut self, passed: Duration) {
        let until = self.now + passed;
        let mut wakes = 0;
        while let Some(at) = self.launch.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.feed(Event::Tick);
            wakes += 1;
            assert!(wakes < 10_000, "the launcher spins at {:?}", self.now);
        }
        self.now = until;
        self.feed(Event::Tick);
    }

    fn child_exits(&mut self, code: i32) {
        self.child = None;
        self.feed(Event::ChildExited(Exit::Code(code)));
    }

    fn runs(&self, version: &str) -> bool {
        self.child == Some(release_of(version))
    }

    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}

const WINDOW: Millis = Millis(60_000);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// 1.1.0 is current, 1.0.0 was before.
fn settled(guard: Option<Guard>) -> Slots {
    let mut slots = Slots::default();
    for (n, guard) in [(0, None), (1, guard)] {
        let each = slot(&format!("1.{n}.0"), n);
        slots = begin_trial(&slots, each, WINDOW, 1, guard).unwrap();
        slots = commit(&slots, run(n), when(1)).unwrap();
    }
    slots
}

fn guard(crashes_left: u32) -> Guard {
    Guard { within: Millis(3_600_000), elapsed: Millis(0), crashes_left }
}

fn on_trial(boots: u32) -> World {
    let mut world = World::new(settled(None));
    world.meanwhile(|slots| begin_trial(slots, slot("1.2.0", 2), WINDOW, boots, None));
    world
}

#[test]
fn a_boot_is_spent_durably_before_the_old_child_stops_and_the_trial_starts() {
    let mut world = on_trial(3);
    assert_eq!(world.said(), ["start 1.1.0", "boot, 2 left", "stop TERM 10s", "start 1.2.0"]);
    world.meanwhile(|slots| commit(slots, run(2), when(9)));
    world.pass(seconds(3600));
    assert!(world.said().is_empty(), "a commit restarts nothing");
}

#[test]
fn a_trial_that_exits_is_retried_at_once_until_its_boots_are_spent() {
    let mut world = on_trial(2);
    world.said();
    world.child_exits(7);
    assert_eq!(world.said(), ["boot, 0 left", "start 1.2.0"]);
    world.child_exits(7);
    let why = "every boot of the trial was spent without a commit; at last it exited with code 7";
    assert_eq!(world.said(), [format!("quarantined: {why}"), "start 1.1.0".to_owned()]);
    assert_eq!(world.disk.quarantine[0].reason, why);
}

#[test]
fn a_trial_without_commit_is_gone_within_a_second_of_its_window_even_if_it_hangs() {
    let mut world = World::new(settled(None));
    world.obedient = false;
    world.meanwhile(|slots| begin_trial(slots, slot("1.2.0", 2), WINDOW, 3, None));
    world.pass(seconds(1)); // the old child still holds out against its stop signal
    assert!(world.runs("1.1.0"));
    world.pass(seconds(9));
    assert!(world.runs("1.2.0"));
    world.said();
    world.pass(Duration::from_millis(49_999));
    assert!(world.runs("1.2.0") && world.said().is_empty());
    world.pass(seconds(1));
    assert!(world.runs("1.1.0"));
    let why = "quarantined: no commit within the trial's window of 1m";
    assert_eq!(world.said(), [why, "stop TERM 500ms", "kill", "start 1.1.0"]);
}

#[test]
fn the_window_goes_on_counting_over_launcher_lives() {
    let mut world = on_trial(9);
    for _life in 0..3 {
        world.pass(seconds(19));
        world = World::new(world.disk);
        assert!(world.runs("1.2.0"));
    }
    assert!(world.disk.trial.as_ref().unwrap().elapsed >= Millis(3 * 14_000));
    world.pass(seconds(18));
    assert!(world.runs("1.1.0"));
}

#[test]
fn the_last_boot_runs_its_course_and_is_not_repeated_by_a_new_launcher() {
    let mut world = on_trial(1);
    world.pass(seconds(30));
    assert!(world.runs("1.2.0"));
    let world = World::new(world.disk);
    assert!(world.runs("1.1.0"));
    assert_eq!(world.disk.trial, None);
}

#[test]
fn a_guarded_release_bears_its_crashes_and_then_the_last_good_one_is_back() {
    let mut world = World::new(settled(Some(guard(1))));
    world.said();
    world.child_exits(1);
    assert_eq!(world.disk.current.as_ref().unwrap().guard.as_ref().unwrap().crashes_left, 0);
    world.pass(FIRST_BACK_OFF);
    assert_eq!(world.said(), ["start 1.1.0"]);
    world.child_exits(1);
    assert!(world.runs("1.0.0"));
    let said = world.said();
    assert!(said[0].starts_with("returned: it exited with code 1"), "{said:?}");
    assert_eq!(world.disk.quarantine[0].release, release_of("1.1.0"));
}

#[test]
fn a_guard_runs_out_and_crashes_no_longer_return() {
    let mut world = World::new(settled(Some(guard(0))));
    world.pass(seconds(3600));
    let guard = world.disk.current.as_ref().unwrap().guard.clone().unwrap();
    assert_eq!(guard.elapsed, guard.within, "that it is over is on disk");
    let generation = world.disk.generation;
    world.pass(seconds(3600));
    assert_eq!(world.disk.generation, generation, "nothing is published any more");
    world.child_exits(1);
    world.pass(seconds(1));
    assert!(world.runs("1.1.0"));
}

#[test]
fn a_crash_loop_is_slowed_down_and_forgiven_after_a_steady_life() {
    let mut world = World::new(settled(None));
    let mut pauses = Vec::new();
    for _crash in 0..9 {
        world.child_exits(1);
        let before = world.now;
        while world.child.is_none() {
            world.pass(Duration::from_millis(100));
        }
        pauses.push(world.now.abs_diff(before).as_millis());
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    world.pass(LAST_BACK_OFF);
    world.child_exits(1);
    world.pass(FIRST_BACK_OFF);
    assert!(world.runs("1.1.0"));
}

#[test]
fn a_full_disk_starts_no_trial_and_stops_no_service() {
    let mut world = World::new(settled(None));
    world.disk = begin_trial(&world.disk, slot("1.2.0", 2), WINDOW, 3, None).unwrap();
    world.disk_is_full = true;
    world.said();
    world.feed(Event::Slots(world.disk.clone()));
    world.pass(seconds(10));
    assert!(world.runs("1.1.0"));
    let refused = "refused: the slots can't be published: no space left on device";
    assert_eq!(world.said(), [refused], "said once, and the service was left alone");
    world.disk_is_full = false;
    world.pass(seconds(1));
    assert!(world.runs("1.2.0"));
}

#[test]
fn a_full_disk_does_not_lengthen_a_trial() {
    let mut world = on_trial(3);
    world.disk_is_full = true;
    world.pass(seconds(60));
    assert!(world.runs("1.1.0"), "the current release serves again");
    assert!(world.disk.trial.is_some(), "although it can't be written down");
    world.disk_is_full = false;
    world.pass(seconds(1));
    assert_eq!(world.disk.quarantine[0].release, release_of("1.2.0"));
    assert!(world.runs("1.1.0"));
}

#[test]
fn whoever_publishes_first_is_read_again() {
    let mut world = on_trial(3);
    // The watcher commits while the launcher doesn't look; then the launcher wants to publish.
    world.disk = commit(&world.disk, run(2), when(9)).unwrap();
    world.said();
    world.child_exits(1);
    world.pass(FIRST_BACK_OFF);
    assert!(world.runs("1.2.0"));
    assert_eq!(world.said(), ["start 1.2.0"], "as the current release: no boot is spent");
}

#[test]
fn a_trial_that_is_called_ill_gives_way_at_once() {
    let mut world = on_trial(3);
    world.meanwhile(|slots| quarantine_trial(slots, run(2), "ill", when(9)));
    assert!(world.runs("1.1.0"));
}

#[test]
fn a_manual_rollback_swaps_with_the_whole_grace() {
    let mut world = World::new(settled(None));
    world.said();
    world.meanwhile(|slots| roll_back_to(slots, &release_of("1.0.0"), "asked", when(9)));
    assert_eq!(world.said(), ["stop TERM 10s", "start 1.0.0"]);
}

#[test]
fn a_pause_is_kept_for_its_window_and_its_trial_follows() {
    let mut world = World::new(settled(None));
    world.said();
    world.meanwhile(|slots| pause(slots, run(2), Millis(5000)));
    let generation = world.disk.generation;
    assert_eq!(world.said(), ["stop TERM 10s".to_owned(), format!("paused {generation}")]);
    world.pass(seconds(4));
    assert_eq!((world.child.clone(), world.disk.generation), (None, generation));
    world.meanwhile(|slots| begin_trial(slots, slot("1.2.0", 2), WINDOW, 3, None));
    assert_eq!(world.said(), ["boot, 2 left", "start 1.2.0"]);
}

#[test]
fn a_pause_that_lasts_too_long_ends() {
    let mut world = World::new(settled(Some(guard(1))));
    world.meanwhile(|slots| pause(slots, run(2), Millis(5000)));
    world.pass(seconds(5));
    assert!(world.runs("1.1.0"));
    assert_eq!(world.disk.pause, None);
}

#[test]
fn a_pause_from_before_the_launchers_life_is_ended() {
    let paused = pause(&settled(None), run(2), Millis(5000)).unwrap();
    let world = World::new(paused);
    assert!(world.runs("1.1.0"));
    assert_eq!(world.disk.pause, None);
}

#[test]
fn damaged_slots_stop_nothing_and_start_no_trial() {
    let mut world = World::new(settled(None));
    world.feed(Event::SlotsUnusable("the checksum does not match".to_owned()));
    world.child_exits(1);
    world.pass(seconds(1));
    assert!(world.runs("1.1.0"), "as the launcher knew it");

    let mut launch = Launch::new(World::both(seconds(1)));
    let now = World::both(seconds(2));
    let effects = launch.handle(Event::SlotsUnusable("cut".to_owned()), now);
    assert!(effects.iter().all(|effect| matches!(effect, Effect::Record(_))), "{effects:?}");
    assert_eq!(launch.next_deadline(), None);
}

#[test]
fn the_launcher_ends_when_its_child_has() {
    let mut world = World::new(settled(None));
    world.obedient = false;
    world.feed(Event::StopRequested);
    assert!(!world.ended);
    world.pass(seconds(10));
    assert!(world.ended && world.child.is_none());

    let mut world = World::new(settled(None));
    world.obedient = false;
    world.feed(Event::StopRequested);
    world.feed(Event::StopRequested);
    assert!(world.ended, "the second request kills");
}

#[test]
fn a_stop_in_mid_trial_saves_the_time_that_passed() {
    let mut world = on_trial(3);
    world.pass(seconds(3));
    world.feed(Event::StopRequested);
    assert!(world.ended);
    assert_eq!(world.disk.trial.as_ref().unwrap().elapsed, Millis(3000));
}

#[test]
fn a_trial_that_needs_a_newer_launcher_never_starts() {
    let mut newer = slot("1.2.0", 2);
    newer.recipe.launcher = handover_model::LAUNCHER_PROTOCOL + 1;
    let mut world = World::new(settled(None));
    world.meanwhile(|slots| begin_trial(slots, newer, WINDOW, 3, None));
    assert!(world.runs("1.1.0"));
    assert!(world.disk.quarantine[0].reason.contains("launcher protocol"));
}

#[test]
fn a_child_that_cannot_be_started_counts_as_one_that_exited() {
    let disk = begin_trial(&settled(None), slot("1.2.0", 2), WINDOW, 1, None).unwrap();
    let mut launch = Launch::new(World::both(seconds(1)));
    let now = World::both(seconds(2));
    launch.handle(Event::Slots(disk), now);
    let started = launch.handle(Event::Published, now);
    assert!(matches!(started.as_slice(), [Effect::Start(_)]), "{started:?}");
    let effects = launch.handle(Event::StartFailed("no such file".to_owned()), now);
    let Some(Effect::Publish(next)) = effects.last() else { panic!("{effects:?}") };
    assert!(next.quarantine[0].reason.contains("no such file"), "{next:?}");
    let _: Timestamp = next.quarantine[0].at;
}

#[test]
fn a_child_that_says_again_and_again_that_it_is_ready_is_recorded_once() {
    let mut launch = Launch::new(World::both(Duration::ZERO));
    let slots = Slots { generation: 1, current: Some(slot("1.0.0", 1)), ..Slots::default() };
    launch.handle(Event::Slots(slots), World::both(Duration::ZERO));
    launch.handle(Event::Started { pid: 7 }, World::both(Duration::ZERO));
    let said: Vec<_> = (0..3)
        .flat_map(|_| launch.handle(Event::ChildReady, World::both(Duration::ZERO)))
        .collect();
    assert_eq!(said, [Effect::Record(LaunchEvent::Ready { pid: 7 })]);
}
