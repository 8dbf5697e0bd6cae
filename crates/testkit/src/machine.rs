//! A machine in memory: everything that outlives a process that works on it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use camino::Utf8PathBuf;
use handover_engine::run::{Act, Plan, StepId};
use handover_hoststeps::{CommandSpec, Output};
use handover_model::{ComponentName, Layout, Slots, Timestamp, Version};

use crate::launcher::{Ground, Launcher};
use crate::{Behaviour, Fault, How, Tail, Tree, invariants};

/// What a program does to the files when it is run.
pub type Program = Rc<dyn Fn(&mut Tree, &CommandSpec) -> Output>;

/// One call that was made, so that a later run can be failed there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The call's name.
    pub name: &'static str,
    /// Whether it changes anything.
    pub writes: bool,
    /// Whether a crash can leave it half done.
    pub splits: bool,
}

/// The journal's bytes, as the machine keeps them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct JournalBytes {
    pub(crate) durable: Vec<u8>,
    pub(crate) tail: Vec<u8>,
}

/// What is being done now, for the invariants.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Doing {
    pub(crate) step: StepId,
    pub(crate) act: Act,
}

type Check = fn(&Machine) -> Result<(), String>;

/// A machine.
#[derive(Clone)]
pub struct Machine {
    /// Its files.
    pub tree: Tree,
    /// The root that components lie under.
    pub root: Utf8PathBuf,
    /// Free bytes.
    pub free: u64,
    /// How the processes of each version behave; the default is well.
    pub behaviours: BTreeMap<Version, Behaviour>,
    /// What programs do, by file name; the default is to exit with 0.
    pub programs: BTreeMap<String, Program>,
    pub(crate) slots: BTreeMap<ComponentName, BTreeMap<u64, Slots>>,
    pub(crate) launchers: BTreeMap<ComponentName, Launcher>,
    pub(crate) now: Duration,
    pub(crate) journal: JournalBytes,
    pub(crate) faults: VecDeque<Fault>,
    pub(crate) calls: Vec<Call>,
    pub(crate) since_fault: usize,
    /// The process has died; how its journal's tail fares.
    pub(crate) down: Option<Tail>,
    /// Nothing can be written.
    pub(crate) full: bool,
    pub(crate) doing: Option<Doing>,
    pub(crate) plan: Option<Rc<Plan>>,
    pub(crate) checks: Vec<Check>,
    pub(crate) violations: Vec<String>,
    pids: u32,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("now", &self.now)
            .field("down", &self.down)
            .finish_non_exhaustive()
    }
}

impl Machine {
    pub(crate) fn new() -> Self {
        let root = Utf8PathBuf::from("/h");
        let mut tree = Tree::default();
        tree.make_dir(&root);
        Self {
            tree,
            root,
            free: 1 << 40,
            behaviours: BTreeMap::new(),
            programs: BTreeMap::new(),
            slots: BTreeMap::new(),
            launchers: BTreeMap::new(),
            now: Duration::from_hours(1),
            journal: JournalBytes::default(),
            faults: VecDeque::new(),
            calls: Vec::new(),
            since_fault: 0,
            down: None,
            full: false,
            doing: None,
            plan: None,
            checks: Vec::new(),
            violations: Vec::new(),
            pids: 100,
        }
    }

    /// Where a component's files lie.
    pub fn layout(&self, component: &ComponentName) -> Layout {
        Layout::new(self.root.clone(), component.clone())
    }

    /// The newest slots generation.
    pub fn newest_slots(&self, component: &ComponentName) -> Slots {
        self.slots
            .get(component)
            .and_then(|all| all.values().next_back())
            .cloned()
            .unwrap_or_default()
    }

    /// Every generation, oldest first.
    pub fn generations(&self, component: &ComponentName) -> impl Iterator<Item = &Slots> {
        self.slots.get(component).into_iter().flat_map(BTreeMap::values)
    }

    /// Publishes a generation, if its number is newer than all; the launcher notices at once.
    pub fn publish(&mut self, component: &ComponentName, slots: &Slots) -> bool {
        if slots.generation <= self.newest_slots(component).generation {
            return false;
        }
        let all = self.slots.entry(component.clone()).or_default();
        all.insert(slots.generation, slots.clone());
        self.with_launcher(component, Launcher::look);
        true
    }

    /// The version that the component's launcher runs now.
    pub fn running_version(&self, component: &ComponentName) -> Option<Version> {
        let child = self.launchers.get(component)?.child.as_ref()?;
        Some(child.slot.release.version.clone())
    }

    /// Starts the component's launcher, or starts it anew.
    pub fn start_launcher(&mut self, component: &ComponentName) {
        self.pids += 1000;
        let pid = self.pids;
        let layout = self.layout(component);
        let launcher = self.on_ground(component, |ground| Launcher::start(layout, pid, ground));
        self.launchers.insert(component.clone(), launcher);
    }

    /// Monotonic time of this machine.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Wall-clock time.
    pub fn wall(&self) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000).after(self.now)
    }

    /// Lets time pass; launchers and processes do what is due in between.
    pub fn pass(&mut self, length: Duration) {
        let end = self.now + length;
        for _ in 0..100_000 {
            let due = self.launchers.iter().filter_map(|(name, l)| Some((l.next()?, name.clone())));
            let Some((at, component)) = due.min().filter(|(at, _)| *at <= end) else { break };
            self.now = self.now.max(at);
            self.with_launcher(&component, Launcher::tick);
            invariants::after_change(self);
        }
        self.now = end;
    }

    /// Everything of the journal that a reader sees now.
    pub(crate) fn journal_seen(&self) -> Vec<u8> {
        [self.journal.durable.as_slice(), self.journal.tail.as_slice()].concat()
    }

    /// Counts a call; says how it goes wrong, if it does.
    pub(crate) fn count(&mut self, call: Call) -> Option<Fault> {
        let writes = call.writes;
        self.calls.push(call);
        if self.full && writes {
            return Some(Fault { at: self.since_fault, how: How::FullDisk, tail: Tail::Kept });
        }
        let place = self.since_fault;
        self.since_fault += 1;
        let fault = self.faults.pop_front_if(|fault| fault.at == place)?;
        self.since_fault = 0;
        self.full = fault.how == How::FullDisk;
        if fault.how.is_crash() {
            self.down = Some(fault.tail);
        }
        Some(fault)
    }

    /// A new life: the tail fares as it does, and after a power cut launchers begin anew.
    pub(crate) fn revive(&mut self) {
        self.doing = None;
        let Some(tail) = self.down.take() else { return };
        match tail {
            Tail::Kept => return,
            Tail::Lost => self.journal.tail.clear(),
            Tail::Torn => {
                let half = self.journal.tail.len() / 2;
                self.journal.tail.truncate(half);
            }
        }
        self.now += Duration::from_secs(2);
        let components: Vec<_> = self.launchers.keys().cloned().collect();
        self.launchers.clear();
        for component in components {
            self.start_launcher(&component);
        }
    }

    fn with_launcher(
        &mut self,
        component: &ComponentName,
        act: fn(&mut Launcher, &mut Ground<'_>),
    ) {
        let Some(mut launcher) = self.launchers.remove(component) else { return };
        self.on_ground(component, |ground| act(&mut launcher, ground));
        self.launchers.insert(component.clone(), launcher);
    }

    fn on_ground<T>(
        &mut self,
        component: &ComponentName,
        act: impl FnOnce(&mut Ground<'_>) -> T,
    ) -> T {
        let wall = self.wall();
        let mut ground = Ground {
            slots: self.slots.entry(component.clone()).or_default(),
            tree: &mut self.tree,
            behaviours: &self.behaviours,
            now: self.now,
            wall,
        };
        act(&mut ground)
    }
}

/// Whether a fault lets the effect happen.
pub(crate) fn has_effect(how: How) -> bool {
    match how {
        How::FailBefore | How::CrashBefore | How::FullDisk => false,
        How::FailAfter | How::CrashWithin | How::CrashAfter => true,
    }
}
