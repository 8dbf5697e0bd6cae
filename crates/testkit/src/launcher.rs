//! The launcher of a fake machine: the real core (`engine::launch`) with processes that are made
//! up, on virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use handover_engine::launch::{Effect, Event, Exit, Launch};
use handover_model::{
    Digest, LaunchEvent, LaunchRecord, Layout, Now, Slot, Slots, Timestamp, Version,
};

use crate::Tree;

/// How the processes of a release behave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Behaviour {
    /// When it says that it is ready, after its start.
    pub ready_after: Duration,
    /// When it exits with code 1, after its start.
    pub exits_after: Option<Duration>,
    /// When its health checks begin to fail, after its start.
    pub ill_after: Option<Duration>,
    /// Whether only a kill ends it.
    pub ignores_stop: bool,
}

/// A made-up process.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    pub(crate) pid: u32,
    pub(crate) slot: Slot,
    pub(crate) since: Duration,
    pub(crate) digest: Digest,
    pub(crate) behaviour: Behaviour,
    pub(crate) ready: bool,
}

/// A launcher that lives.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    core: Launch,
    born: Duration,
    pub(crate) pid: u32,
    pub(crate) child: Option<Child>,
    pub(crate) paused: Option<u64>,
    pids: u32,
    layout: Layout,
}

/// What a launcher acts on.
pub(crate) struct Ground<'a> {
    pub(crate) slots: &'a mut BTreeMap<u64, Slots>,
    pub(crate) tree: &'a mut Tree,
    pub(crate) behaviours: &'a BTreeMap<Version, Behaviour>,
    pub(crate) now: Duration,
    pub(crate) wall: Timestamp,
}

impl Ground<'_> {
    fn newest(&self) -> Slots {
        self.slots.values().next_back().cloned().unwrap_or_default()
    }
}

impl Launcher {
    /// A launcher that begins its life now. `pid` is its own; its children count up from there.
    pub(crate) fn start(layout: Layout, pid: u32, ground: &mut Ground<'_>) -> Self {
        let core = Launch::new(Now { wall: ground.wall, mono: Duration::ZERO });
        let mut launcher =
            Self { core, born: ground.now, pid, child: None, paused: None, pids: pid, layout };
        launcher.look(ground);
        launcher
    }

    /// It notices a new generation.
    pub(crate) fn look(&mut self, ground: &mut Ground<'_>) {
        let newest = ground.newest();
        self.feed(Event::Slots(newest), ground);
    }

    /// When it next has something to do by itself.
    pub(crate) fn next(&self) -> Option<Duration> {
        let tick = self.core.next_deadline().map(|at| self.born + at);
        let child = self.child.as_ref();
        let ready = child.filter(|c| !c.ready).map(|c| c.since + c.behaviour.ready_after);
        let exits = child.and_then(|c| Some(c.since + c.behaviour.exits_after?));
        [tick, ready, exits].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, ground: &mut Ground<'_>) {
        let now = ground.now;
        let exits = self
            .child
            .as_ref()
            .is_some_and(|c| c.behaviour.exits_after.is_some_and(|after| c.since + after <= now));
        if exits {
            self.child = None;
            self.feed(Event::ChildExited(Exit::Code(1)), ground);
        } else if let Some(child) = &mut self.child
            && !child.ready
            && child.since + child.behaviour.ready_after <= now
        {
            child.ready = true;
            self.feed(Event::ChildReady, ground);
        }
        if self.core.next_deadline().is_some_and(|at| self.born + at <= now) {
            self.feed(Event::Tick, ground);
        }
    }

    fn feed(&mut self, event: Event, ground: &mut Ground<'_>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = Now { wall: ground.wall, mono: ground.now.saturating_sub(self.born) };
            let effects = self.core.handle(event, now);
            for effect in effects {
                // What came of a publication goes in before anything else.
                let first = matches!(effect, Effect::Publish(_) | Effect::Start(_));
                match self.perform(effect, ground) {
                    Some(event) if first => events.push_front(event),
                    Some(event) => events.push_back(event),
                    None => {}
                }
            }
        }
    }

    fn perform(&mut self, effect: Effect, ground: &mut Ground<'_>) -> Option<Event> {
        match effect {
            Effect::Publish(slots) => {
                let newest = ground.newest();
                if newest.generation >= slots.generation {
                    return Some(Event::Taken(newest));
                }
                ground.slots.insert(slots.generation, *slots);
                Some(Event::Published)
            }
            Effect::Start(slot) => Some(self.start_child(*slot, ground)),
            Effect::Stop(_) => {
                let stops = self.child.take_if(|child| !child.behaviour.ignores_stop);
                stops.map(|_child| Event::ChildExited(Exit::Signal(15)))
            }
            Effect::Kill => self.child.take().map(|_child| Event::ChildExited(Exit::Signal(9))),
            Effect::Record(event) => {
                self.record(event, ground);
                None
            }
            Effect::ExitLauncher => None,
        }
    }

    fn start_child(&mut self, slot: Slot, ground: &mut Ground<'_>) -> Event {
        let Some(bytes) = ground.tree.file(&slot.recipe.executable) else {
            return Event::StartFailed("there is no such file".to_owned());
        };
        let digest = Digest::of(bytes);
        self.pids += 1;
        let pid = self.pids;
        let behaviour = ground.behaviours.get(&slot.release.version).cloned().unwrap_or_default();
        self.paused = None;
        self.child = Some(Child { pid, slot, since: ground.now, digest, behaviour, ready: false });
        Event::Started { pid }
    }

    fn record(&mut self, event: LaunchEvent, ground: &mut Ground<'_>) {
        if let LaunchEvent::Paused { generation } = &event {
            self.paused = Some(*generation);
        }
        let path = self.layout.launches();
        let mut bytes = ground.tree.file(&path).unwrap_or_default().to_vec();
        let record = LaunchRecord { at: ground.wall, launcher: self.pid, event };
        let line = serde_json::to_string(&record).expect("a launch record has a JSON form");
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        ground.tree.put(path, bytes, 0o644);
    }
}
