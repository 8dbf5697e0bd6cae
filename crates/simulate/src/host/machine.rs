//! A host below its agent: slots on a disk, the launcher's production core, one process at most,
//! and the newcomer's own work of an update.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use handover_agent::runs::{Standing, standing_by_outcome, standing_by_slots};
use handover_engine::graph::Offer;
use handover_engine::launch::{Effect, Event, Exit, Launch};
use handover_engine::slots::{self, Refused};
use handover_model::{
    Guard, LAUNCHER_PROTOCOL, Millis, Now, Outcome, Readiness, Recipe, ReleaseId, RunId, RunResult,
    Slot, Slots, StopSpec,
};

use crate::scenario::Conduct;

/// How long a trial may last without a commit.
const WINDOW: Millis = Millis(120_000);
/// How often a trial is started.
const BOOTS: u32 = 3;
/// How long a new process must have been ready before it is committed.
const STABLE: Duration = Duration::from_secs(5);
/// After what time without readiness the watcher gives a trial up.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often the watcher looks.
const GLANCE: Duration = Duration::from_secs(1);
/// How long a stopped process takes to end.
const ENDS: Duration = Duration::from_millis(100);
/// How long a release may return by itself after its commit.
const GUARDED: Millis = Millis(30 * 60_000);
/// How many crashes its guard allows.
const CRASHES: u32 = 2;

/// The newcomer's work.
#[derive(Debug, Clone)]
struct Upgrade {
    run: RunId,
    from: Option<ReleaseId>,
    to: Offer,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// State is copied and the slot installed, until then.
    Installs(Duration),
    /// The trial is watched since then; the next look.
    Watches { since: Duration, next: Duration },
    /// The power went, or it was killed: it waits to be resumed.
    Cut,
}

/// A running process.
#[derive(Debug, Clone)]
struct Child {
    run: RunId,
    release: ReleaseId,
    pid: u32,
    ready_at: Option<Duration>,
    is_ready: bool,
    ends_at: Option<(Duration, Exit)>,
}

/// What is worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// A trial of a release was published, for this run.
    Trial(ReleaseId, RunId),
    /// A release was committed by its watcher.
    Committed(ReleaseId),
    /// A release went to quarantine, or was left by itself.
    Left(ReleaseId, String),
    /// A process was started while another ran: must never be.
    TwoAtOnce(ReleaseId, ReleaseId),
    /// A process of a release began.
    Began(ReleaseId),
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Machine {
    /// The newest generation, durable.
    pub(crate) slots: Slots,
    outcomes: BTreeMap<RunId, Outcome>,
    begun: BTreeSet<RunId>,
    upgrade: Option<Upgrade>,
    launcher: Launch,
    child: Option<Child>,
    pids: u32,
    /// How each release behaves here.
    conduct: BTreeMap<ReleaseId, Conduct>,
    /// The host is off the net until then.
    pub(crate) mute_until: Option<Duration>,
    pub(crate) news: Vec<News>,
}

impl Machine {
    /// A host that committed `release` long ago.
    pub(crate) fn new(
        release: &Offer,
        run: RunId,
        conduct: BTreeMap<ReleaseId, Conduct>,
        now: Now,
    ) -> Self {
        let slot = Slot { committed_at: Some(now.wall), ..slot_of(release, run) };
        let slots = Slots { generation: 1, current: Some(slot), ..Slots::default() };
        let mut machine = Self {
            slots,
            outcomes: BTreeMap::new(),
            begun: BTreeSet::new(),
            upgrade: None,
            launcher: Launch::new(now),
            child: None,
            pids: 100,
            conduct,
            mute_until: None,
            news: Vec::new(),
        };
        machine.feed(Event::Slots(machine.slots.clone()), now);
        machine
    }

    /// The power goes and comes back: no process is left, what is on the disk is.
    pub(crate) fn reboot(&mut self, now: Now) {
        self.child = None;
        self.mute_until = None;
        if let Some(upgrade) = &mut self.upgrade {
            upgrade.phase = Phase::Cut;
        }
        self.launcher = Launch::new(now);
        self.feed(Event::Slots(self.slots.clone()), now);
    }

    /// Begins an update to `to`: the package's entrypoint was started.
    pub(crate) fn begin(&mut self, run: RunId, to: &Offer, takes: Duration, now: Now) {
        self.begun.insert(run);
        let from = self.slots.current.as_ref().map(|slot| slot.release.clone());
        let phase = Phase::Installs(now.mono.saturating_add(takes));
        self.upgrade = Some(Upgrade { run, from, to: to.clone(), phase });
    }

    /// How a release behaves here.
    pub(crate) fn conduct_of(&self, release: &ReleaseId) -> Conduct {
        self.conduct.get(release).copied().unwrap_or_default()
    }

    /// Whether an entrypoint or its watcher is at work.
    pub(crate) fn is_upgrading(&self) -> bool {
        self.upgrade.is_some()
    }

    /// Resumes what was cut, with the package that began it.
    pub(crate) fn resume(&mut self, now: Now) {
        let on_trial = self.slots.trial.as_ref().map(|trial| trial.slot.run);
        if let Some(upgrade) = self.upgrade.as_mut().filter(|upgrade| upgrade.phase == Phase::Cut) {
            upgrade.phase = if on_trial == Some(upgrade.run) {
                Phase::Watches { since: now.mono, next: now.mono }
            } else {
                Phase::Installs(now.mono.saturating_add(GLANCE))
            };
        }
    }

    /// How a run stands, by looking.
    pub(crate) fn look_at(&self, run: RunId) -> Standing {
        let cut = self
            .upgrade
            .as_ref()
            .is_some_and(|upgrade| upgrade.run == run && upgrade.phase != Phase::Cut);
        match standing_by_slots(&self.slots, run) {
            Some(standing) => standing,
            // Its entrypoint is at work: nothing to pick up, nothing to say yet.
            None if cut => Standing::OnTrial,
            None => {
                standing_by_outcome(self.outcomes.get(&run).cloned(), self.begun.contains(&run))
            }
        }
    }

    /// What runs, proved: the release, and whether it is ready.
    pub(crate) fn running(&self) -> Option<(&ReleaseId, u32, bool)> {
        self.child.as_ref().map(|child| (&child.release, child.pid, child.is_ready))
    }

    /// When [`Self::wake`] is due.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let upgrade = self.upgrade.as_ref().and_then(|upgrade| match upgrade.phase {
            Phase::Installs(until) => Some(until),
            Phase::Watches { next, .. } => Some(next),
            Phase::Cut => None,
        });
        let child = self.child.as_ref();
        let ready = child.filter(|child| !child.is_ready).and_then(|child| child.ready_at);
        let ends = child.and_then(|child| child.ends_at.map(|(at, _)| at));
        [upgrade, ready, ends, self.launcher.next_deadline()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn wake(&mut self, now: Now) {
        if let Some((at, exit)) = self.child.as_ref().and_then(|child| child.ends_at)
            && at <= now.mono
        {
            self.child = None;
            self.feed(Event::ChildExited(exit), now);
        }
        if let Some(child) = &mut self.child
            && !child.is_ready
            && child.ready_at.is_some_and(|at| at <= now.mono)
        {
            child.is_ready = true;
            self.feed(Event::ChildReady, now);
        }
        if self.launcher.next_deadline().is_some_and(|at| at <= now.mono) {
            self.feed(Event::Tick, now);
        }
        self.upgrade(now);
    }

    /// Goes back to a release that is kept, as an order says.
    pub(crate) fn roll_back(&mut self, to: &ReleaseId, now: Now) -> Result<(), Refused> {
        let next = slots::roll_back_to(&self.slots, to, "taken back by an order", now.wall)?;
        if let Some(left) = &self.slots.current {
            self.news.push(News::Left(left.release.clone(), "taken back by an order".to_owned()));
        }
        self.publish(next, now);
        Ok(())
    }

    fn upgrade(&mut self, now: Now) {
        let Some(upgrade) = self.upgrade.clone() else { return };
        match upgrade.phase {
            Phase::Installs(until) if until <= now.mono => self.try_it(upgrade, now),
            Phase::Watches { since, next } if next <= now.mono => {
                self.watch(upgrade, since, now);
            }
            Phase::Installs(_) | Phase::Watches { .. } | Phase::Cut => {}
        }
    }

    fn try_it(&mut self, mut upgrade: Upgrade, now: Now) {
        let slot = slot_of(&upgrade.to, upgrade.run);
        let guard = upgrade.to.facts.return_within.map(|_within| Guard {
            within: GUARDED,
            elapsed: Millis(0),
            crashes_left: CRASHES,
        });
        match slots::begin_trial(&self.slots, slot, WINDOW, BOOTS, guard) {
            Ok(next) => {
                self.news.push(News::Trial(upgrade.to.id(), upgrade.run));
                upgrade.phase = Phase::Watches { since: now.mono, next: now.mono + GLANCE };
                self.upgrade = Some(upgrade);
                self.publish(next, now);
            }
            Err(error) => self.finish(&upgrade, RunResult::Refused, error.to_string(), now),
        }
    }

    fn watch(&mut self, mut upgrade: Upgrade, since: Duration, now: Now) {
        let run = upgrade.run;
        if self.slots.trial.as_ref().is_none_or(|trial| trial.slot.run != run) {
            let why = match standing_by_slots(&self.slots, run) {
                Some(Standing::Reverted(why)) => why,
                _ => "another slot runs".to_owned(),
            };
            return self.finish(&upgrade, RunResult::Reverted, why, now);
        }
        let ready_since = self
            .child
            .as_ref()
            .filter(|child| child.run == run && child.is_ready)
            .and_then(|child| child.ready_at);
        if ready_since.is_some_and(|at| now.mono.saturating_sub(at) >= STABLE) {
            if let Ok(next) = slots::commit(&self.slots, run, now.wall) {
                self.news.push(News::Committed(upgrade.to.id()));
                self.publish(next, now);
                return self.finish(&upgrade, RunResult::Done, "committed".to_owned(), now);
            }
        } else if ready_since.is_none() && now.mono.saturating_sub(since) >= PATIENCE {
            let why = "not ready in time";
            if let Ok(next) = slots::quarantine_trial(&self.slots, run, why, now.wall) {
                self.publish(next, now);
                return self.finish(&upgrade, RunResult::Reverted, why.to_owned(), now);
            }
        }
        upgrade.phase = Phase::Watches { since, next: now.mono + GLANCE };
        self.upgrade = Some(upgrade);
    }

    fn finish(&mut self, upgrade: &Upgrade, result: RunResult, reason: String, now: Now) {
        if result == RunResult::Reverted {
            self.news.push(News::Left(upgrade.to.id(), reason.clone()));
        }
        let outcome = Outcome {
            run: upgrade.run,
            component: upgrade.to.facts.component.clone(),
            from: upgrade.from.clone(),
            to: upgrade.to.id(),
            result,
            reason,
            at: now.wall,
        };
        self.outcomes.insert(upgrade.run, outcome);
        self.upgrade = None;
    }

    fn publish(&mut self, next: Slots, now: Now) {
        self.slots = next;
        self.feed(Event::Slots(self.slots.clone()), now);
    }

    /// Feeds the launcher and performs what it wants.
    fn feed(&mut self, event: Event, now: Now) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for effect in self.launcher.handle(event, now) {
                match effect {
                    Effect::Publish(next) if next.generation == self.slots.generation + 1 => {
                        self.note_return(&next);
                        self.slots = *next;
                        events.push(Event::Published);
                    }
                    Effect::Publish(_) => events.push(Event::Taken(self.slots.clone())),
                    Effect::Start(slot) => {
                        let pid = self.start(&slot, now);
                        events.push(Event::Started { pid });
                    }
                    Effect::Stop(_) | Effect::Kill => {
                        if let Some(child) = &mut self.child {
                            child.ends_at = Some((now.mono + ENDS, Exit::Signal(15)));
                        }
                    }
                    Effect::Record(_) | Effect::ExitLauncher => {}
                }
            }
        }
    }

    /// The launcher itself left a release that was committed.
    fn note_return(&mut self, next: &Slots) {
        let (before, after) = (&self.slots.current, &next.current);
        if let (Some(before), Some(after)) = (before, after)
            && before.release != after.release
        {
            let why = "its guard returned it".to_owned();
            self.news.push(News::Left(before.release.clone(), why));
        }
    }

    fn start(&mut self, slot: &Slot, now: Now) -> u32 {
        if let Some(child) = &self.child {
            self.news.push(News::TwoAtOnce(child.release.clone(), slot.release.clone()));
        }
        self.pids += 1;
        let conduct = self.conduct.get(&slot.release).copied().unwrap_or_default();
        let committed = self.slots.current.as_ref().is_some_and(|current| current.run == slot.run);
        let at = |after: Duration| Some(now.mono.saturating_add(after));
        let crash = |after| at(after).map(|at| (at, Exit::Code(1)));
        let second = Duration::from_secs(1);
        let (ready_at, ends_at) = match conduct {
            Conduct::Good | Conduct::Mute { .. } => (at(second), None),
            Conduct::Crashes => (None, crash(second * 2)),
            Conduct::Hangs => (None, None),
            Conduct::Decays { after } => {
                // It is well as long as it is on trial, and for a while after that.
                let after = if committed { second * 3 } else { after };
                (at(second), crash(after))
            }
        };
        self.mute_until = match conduct {
            Conduct::Mute { length } => at(length),
            Conduct::Good | Conduct::Crashes | Conduct::Hangs | Conduct::Decays { .. } => None,
        };
        self.news.push(News::Began(slot.release.clone()));
        self.child = Some(Child {
            run: slot.run,
            release: slot.release.clone(),
            pid: self.pids,
            ready_at,
            is_ready: false,
            ends_at,
        });
        self.pids
    }
}

fn slot_of(offer: &Offer, run: RunId) -> Slot {
    Slot {
        release: offer.id(),
        sequence: offer.facts.sequence,
        recipe: Recipe {
            launcher: LAUNCHER_PROTOCOL,
            executable: "bin/web".into(),
            executable_digest: offer.digest,
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            directory: "/".into(),
            user: None,
            stop: StopSpec { signal: "TERM".to_owned(), grace: Millis(1000) },
            readiness: Readiness::Notify,
            sockets: Vec::new(),
        },
        state: None,
        config: "config/1".into(),
        run,
        committed_at: None,
        guard: None,
    }
}
