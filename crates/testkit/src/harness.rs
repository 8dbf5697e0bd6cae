//! Runs plans on fake machines until they rest, through faults, over as many lives as it takes.

use std::cell::{Ref, RefCell, RefMut};
use std::rc::Rc;

use camino::Utf8PathBuf;
use handover_engine::journal::Replay;
use handover_engine::run::{Core, Ended, Hold, Input, Party, Plan, summarize};
use handover_hoststeps::Kinds;
use handover_hoststeps::shell::{Event, Rested, Shell};
use handover_model::{
    ComponentName, Digest, IdGen, Millis, Readiness, Recipe, ReleaseId, RunId, Slot, Slots,
    StopSpec, Timestamp, Version,
};

use crate::machine::Doing;
use crate::{FakeClock, FakeHost, FakeLog, Fault, Faults, How, Machine, Tail};

/// More lives than any history here needs.
const LIVES: usize = 60;

/// A machine, a program that works on it, and what was asked of it.
pub struct World {
    machine: Rc<RefCell<Machine>>,
    kinds: fn() -> Kinds,
    run: RunId,
    party: Party,
    asked: Vec<Input>,
    faults: Faults,
    rested: Option<Rested>,
    lives: usize,
}

impl Clone for World {
    fn clone(&self) -> Self {
        let machine = self.machine.borrow().clone();
        Self {
            machine: Rc::new(RefCell::new(machine)),
            kinds: self.kinds,
            run: self.run,
            party: self.party.clone(),
            asked: self.asked.clone(),
            faults: self.faults.clone(),
            rested: self.rested.clone(),
            lives: self.lives,
        }
    }
}

impl World {
    /// An empty machine, and a program with these kinds. Kinds are made anew for each life.
    ///
    /// # Panics
    /// Never: the party's name is fixed.
    pub fn new(kinds: fn() -> Kinds) -> Self {
        let run = RunId::mint(&mut IdGen::new([1; 32]), Timestamp::from_micros(0));
        Self {
            machine: Rc::new(RefCell::new(Machine::new())),
            kinds,
            run,
            party: "host".parse().expect("it is a name"),
            asked: Vec::new(),
            faults: Faults::default(),
            rested: None,
            lives: 0,
        }
    }

    /// The run that plans are run as.
    pub fn run_id(&self) -> RunId {
        self.run
    }

    /// The run's directory for large images; it exists.
    pub fn blobs(&self) -> Utf8PathBuf {
        let path = self.machine.borrow().root.join("run/blobs");
        self.machine_mut().tree.make_dir(&path);
        path
    }

    /// The machine.
    pub fn machine(&self) -> Ref<'_, Machine> {
        self.machine.borrow()
    }

    /// The machine, to set up or to change behind everyone's back.
    pub fn machine_mut(&self) -> RefMut<'_, Machine> {
        self.machine.borrow_mut()
    }

    /// The machine as steps see it, for tests that drive them by hand.
    pub fn host(&self) -> FakeHost {
        FakeHost::new(Rc::clone(&self.machine))
    }

    /// Adds an invariant of the test's own.
    #[must_use]
    pub fn always(self, check: fn(&Machine) -> Result<(), String>) -> Self {
        self.machine_mut().checks.push(check);
        self
    }

    /// Installs a release's files and gives back its slot: an executable, a configuration, a
    /// state directory. `number` names the last two.
    pub fn install(&self, component: &ComponentName, version: Version, number: u32) -> Slot {
        let mut machine = self.machine_mut();
        let layout = machine.layout(component);
        let digest = Digest::of(format!("{component} {version}").as_bytes());
        let release = ReleaseId { version, digest };
        let directory = layout.release(&release);
        let executable = directory.join("bin/serve");
        let bytes = format!("serve {}", release.version);
        let executable_digest = Digest::of(bytes.as_bytes());
        machine.tree.put(&executable, bytes, 0o755);
        let (state, config) = (layout.state(1, number), layout.config(number));
        machine.tree.put(state.join("data"), "data", 0o644);
        machine.tree.put(config.join("conf"), "conf", 0o644);
        Slot {
            release,
            sequence: u64::from(number),
            recipe: Recipe {
                launcher: 1,
                executable,
                executable_digest,
                arguments: Vec::new(),
                environment: std::collections::BTreeMap::new(),
                directory,
                user: None,
                stop: StopSpec::default(),
                readiness: Readiness::None,
                sockets: Vec::new(),
            },
            state: Some(state),
            config,
            run: RunId::mint(
                &mut IdGen::new([2; 32]),
                Timestamp::from_micros(i64::from(number) * 1_000_000),
            ),
            committed_at: None,
            guard: None,
        }
    }

    /// Makes `slot` the component's current one and starts its launcher.
    pub fn commit_first(&self, component: &ComponentName, slot: Slot) {
        let mut machine = self.machine_mut();
        let committed_at = Some(machine.wall());
        let current = Some(Slot { committed_at, ..slot });
        let generation = machine.newest_slots(component).generation + 1;
        let slots = Slots { generation, current, ..Slots::default() };
        machine.publish(component, &slots);
        machine.start_launcher(component);
        machine.pass(Millis(100).duration());
    }

    /// The same world with faults to come.
    #[must_use]
    pub fn with(mut self, faults: &Faults) -> Self {
        self.faults = faults.clone();
        self.machine_mut().faults = faults.0.iter().copied().collect();
        self.machine_mut().since_fault = 0;
        self
    }

    /// The same world, where somebody asks something of the run.
    #[must_use]
    pub fn asked_to(mut self, input: Input) -> Self {
        self.asked.push(input);
        self
    }

    /// The same world, run by a program with other kinds from now on.
    #[must_use]
    pub fn with_kinds(mut self, kinds: fn() -> Kinds) -> Self {
        self.kinds = kinds;
        self
    }

    /// Room is made on the full disk, and who made it asks for what failed to be tried again.
    fn make_room(&mut self, rested: Option<Rested>) {
        self.machine_mut().full = false;
        if let Some(Rested::Parked(holds)) = rested {
            let failed = holds.into_iter().filter(|(_, hold)| matches!(hold, Hold::Person(_)));
            self.asked.extend(failed.map(|(step, _)| Input::Retry { step }));
        }
    }

    /// How the run rested.
    ///
    /// # Panics
    /// When it was never run.
    pub fn rested(&self) -> &Rested {
        self.rested.as_ref().expect("the world was run")
    }

    /// How many lives it took.
    pub fn lives(&self) -> usize {
        self.lives
    }

    /// The journal, read back.
    ///
    /// # Panics
    /// When it is damaged, which nothing here may do.
    pub fn journal(&self) -> Replay {
        Replay::of(&self.machine().journal_seen()).expect("the journal is whole")
    }

    /// How often the journal was synced.
    pub fn syncs(&self) -> usize {
        self.machine().calls.iter().filter(|call| call.name == "sync").count()
    }

    /// One life: opens the run, hands in what was asked, drives it. `None` when it was cut short.
    fn live(&mut self, plan: &Rc<Plan>) -> Option<Rested> {
        self.lives += 1;
        self.machine_mut().revive();
        self.machine_mut().plan = Some(Rc::clone(plan));
        let bytes = self.machine().journal_seen();
        let replay = Replay::of(&bytes).expect("only a torn tail is ever left behind");
        {
            // As a reader of the real file does: cut the torn tail, durably.
            let machine = &mut *self.machine_mut();
            let tail = replay.good_len().saturating_sub(machine.journal.durable.len());
            machine.journal.tail.truncate(tail);
        }
        let mut clock = FakeClock::new(Rc::clone(&self.machine));
        let mut log = FakeLog::new(Rc::clone(&self.machine));
        let mut host = FakeHost::new(Rc::clone(&self.machine));
        let now = handover_hoststeps::shell::Clock::now(&clock);
        let engine = Version::new(1, 0, 0);
        let opened =
            Core::open(self.run, plan.as_ref().clone(), &self.party, &engine, &replay, now);
        let mut core = opened.expect("what the core wrote, the core opens");
        let before = replay.records().len();
        for input in &self.asked {
            // A word that was durable before a crash is not said twice.
            if core.handle(input.clone(), now).is_err() {
                assert!(before > 0, "{input:?} was refused in the first life");
            }
        }
        let kinds = (self.kinds)();
        let machine = Rc::clone(&self.machine);
        let mut progress = move |event: Event<'_>| {
            machine.borrow_mut().doing = match event {
                Event::Doing { job, .. } => {
                    Some(Doing { step: job.step.clone(), act: job.act.clone() })
                }
                Event::Came { .. } | Event::Waiting { .. } | Event::Turned { .. } => None,
            };
        };
        let mut shell = Shell {
            host: &mut host,
            kinds: &kinds,
            log: &mut log,
            clock: &mut clock,
            progress: &mut progress,
            stop_before: None,
        };
        let rested = shell.drive(&mut core).ok();
        self.check(rested.as_ref());
        rested.filter(|rested| *rested != Rested::Stopped && self.machine().down.is_none())
    }

    fn check(&self, rested: Option<&Rested>) {
        let machine = self.machine();
        let faults = &self.faults;
        assert!(machine.violations.is_empty(), "{faults}: {:#?}", machine.violations);
        let replay = Replay::of(&machine.journal_seen()).expect("only a torn tail is left behind");
        let summary = summarize(&replay).expect("every prefix of a journal is possible");
        match (rested, summary.and_then(|summary| summary.ended)) {
            (Some(Rested::Done), ended) => assert_eq!(ended, Some(Ended::Done), "{faults}"),
            (Some(Rested::Reverted(_)), ended) => {
                assert!(matches!(ended, Some(Ended::Reverted(_))), "{faults}: {ended:?}");
            }
            (Some(Rested::Parked(_) | Rested::Before(_) | Rested::Stopped) | None, _) => {}
        }
    }
}

/// Runs `plan` until it rests: restarts it as often as it takes. Then runs it once more, which
/// must change nothing.
///
/// # Panics
/// When an invariant breaks at any moment, when the run never rests, and when a finished run
/// changes something.
pub fn run_until_it_rests(plan: &Plan, mut world: World) -> World {
    let plan = Rc::new(plan.clone());
    let faults = world.faults.clone();
    let mut rested = None;
    for _ in 0..LIVES {
        rested = world.live(&plan);
        if world.machine().full && rested.as_ref().is_none_or(may_be_helped) {
            world.make_room(rested.take());
        }
        if rested.is_some() {
            break;
        }
    }
    let rested = rested.unwrap_or_else(|| panic!("{faults}: it never rests"));
    world.asked.clear();
    if matches!(rested, Rested::Done | Rested::Reverted(_)) {
        assert_rests(&plan, &mut world, &rested);
    }
    world.rested = Some(rested);
    world
}

/// Whether a run rests because something failed that a person can mend.
fn may_be_helped(rested: &Rested) -> bool {
    matches!(rested, Rested::Parked(_))
}

/// Running a finished plan again changes nothing.
fn assert_rests(plan: &Rc<Plan>, world: &mut World, rested: &Rested) {
    let faults = world.faults.clone();
    assert!(world.machine().journal.tail.is_empty(), "{faults}: its end is not durable");
    let (journal, calls) = (world.machine().journal_seen(), world.machine().calls.len());
    world.machine_mut().faults.clear();
    let again = world.live(plan);
    assert_eq!(again.as_ref(), Some(rested), "{faults}: run again, it rests elsewhere");
    let machine = world.machine();
    assert!(machine.journal_seen() == journal, "{faults}: run again, it wrote its journal");
    let wrote = machine.calls[calls..].iter().any(|call| call.writes && call.name != "sync");
    assert!(!wrote, "{faults}: run again, it changed something");
}

/// How deep to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// One fault a history.
    Once,
    /// Also a second fault while the first is recovered from, at every `stride`th call from there,
    /// beginning elsewhere for each first fault so that all calls are met.
    Twice {
        /// 1 meets every call.
        stride: usize,
    },
}

/// Every history of faults of a run of `plan` in `world`: each call of host and journal fails
/// before and after its effect, and crashes before, within and after it, with the journal's tail
/// kept, lost and torn.
///
/// # Panics
/// When the run does not rest without faults, or breaks an invariant on the way.
pub fn every_fault_of(plan: &Plan, world: &World, depth: Depth) -> Vec<Faults> {
    let before = world.machine().calls.len();
    let dry = run_once(plan, world.clone());
    let calls = dry.machine().calls[before..].to_vec();
    let mut singles = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        let mut push = |how, tail| singles.push(Fault { at, how, tail });
        push(How::FailBefore, Tail::Kept);
        push(How::CrashBefore, Tail::Kept);
        if !call.writes {
            continue;
        }
        push(How::FailAfter, Tail::Kept);
        for tail in [Tail::Kept, Tail::Lost, Tail::Torn] {
            push(How::CrashAfter, tail);
            if call.splits {
                push(How::CrashWithin, tail);
            }
        }
        push(How::CrashBefore, Tail::Lost);
        push(How::CrashBefore, Tail::Torn);
    }
    let mut all = vec![Faults::default()];
    all.extend(singles.iter().map(|fault| Faults(vec![*fault])));
    if let Depth::Twice { stride } = depth {
        for (place, first) in singles.iter().enumerate() {
            let after = run_once(plan, world.clone().with(&Faults(vec![*first])));
            let left = after.machine().since_fault;
            for at in (place % stride..left).step_by(stride) {
                let second = second_fault(at, place);
                all.push(Faults(vec![*first, second]));
            }
        }
    }
    all
}

/// Every history of a run of `plan` in `world` in which the disk fills up, at each call that
/// writes, and stays full until the run can't go on. It then rests done or taken back, as its
/// attempts allow.
///
/// # Panics
/// As [`every_fault_of`].
pub fn every_full_disk_of(plan: &Plan, world: &World) -> Vec<Faults> {
    let before = world.machine().calls.len();
    let dry = run_once(plan, world.clone());
    let machine = dry.machine();
    let writes = machine.calls[before..].iter().enumerate().filter(|(_, call)| call.writes);
    let full = |at| Faults(vec![Fault { at, how: How::FullDisk, tail: Tail::Kept }]);
    writes.map(|(at, _)| full(at)).collect()
}

fn second_fault(at: usize, place: usize) -> Fault {
    const HOWS: [(How, Tail); 7] = [
        (How::CrashAfter, Tail::Lost),
        (How::FailAfter, Tail::Kept),
        (How::CrashBefore, Tail::Kept),
        (How::CrashAfter, Tail::Torn),
        (How::FailBefore, Tail::Kept),
        (How::CrashAfter, Tail::Kept),
        (How::CrashWithin, Tail::Lost),
    ];
    let (how, tail) = HOWS[(at + place) % HOWS.len()];
    Fault { at, how, tail }
}

/// As [`run_until_it_rests`], without the run that must change nothing: counts stay its own.
fn run_once(plan: &Plan, mut world: World) -> World {
    let plan = Rc::new(plan.clone());
    let rested = (0..LIVES).find_map(|_| world.live(&plan));
    assert!(rested.is_some(), "{}: it never rests", world.faults);
    world.rested = rested;
    world
}
