//! The launcher's decisions (DESIGN 5.2), as a core without IO: the shell feeds events in, and
//! performs the effects in the order given.
//!
//! The core compares what must run ([`crate::slots::desired`]) with what does, after every event.
//! Rules that it keeps:
//! - a boot of a trial is spent durably before each start of it, and before the old child stops;
//! - what ends a trial is published before the trial is stopped, where publishing works at all;
//! - when publishing fails (a full disk), no trial is started, a trial whose window has passed is
//!   stopped all the same, and `current` serves meanwhile;
//! - a child is started only when none is left.
//!
//! The shell: performs [`Effect::Publish`], then feeds what came of it before anything else;
//! performs [`Effect::Start`], then feeds [`Event::Started`] or [`Event::StartFailed`]; calls
//! [`Launch::handle`] with [`Event::Tick`] when [`Launch::next_deadline`] has come.

use std::fmt;
use std::time::Duration;

use handover_model::{LaunchEvent, Millis, Now, ReleaseId, RunId, Slot, Slots, StopSpec};

use crate::slots::{self, AfterCrash};

mod clocks;
mod decide;

use clocks::Clocks;

/// The first pause before a crashed current release is started again; it doubles each time.
pub const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
/// The longest such pause; a child that ran for as long begins anew with the first.
pub const LAST_BACK_OFF: Duration = Duration::from_secs(10);
/// How long until a failed publication is tried again.
pub const PUBLISH_AGAIN: Duration = Duration::from_secs(1);
/// How long a failed trial may take to stop before it is killed, if its own grace is longer: what
/// it wrote is set aside anyway, and the last good version must be back soon.
pub const FAILED_TRIAL_GRACE: Millis = Millis(500);

/// What the shell saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The newest slots generation, read at the start and whenever one appeared; generation 0 when
    /// there is none yet.
    Slots(Slots),
    /// The newest generation can't be read, for this reason. What runs goes on.
    SlotsUnusable(String),
    /// What was to be published is the newest generation now, durably.
    Published,
    /// Somebody else published first; this is the newest generation.
    Taken(Slots),
    /// Publishing failed, for this reason.
    PublishFailed(String),
    /// The child was started.
    Started {
        /// Its process id.
        pid: u32,
    },
    /// The child could not be started, for this reason.
    StartFailed(String),
    /// The child said that it is ready, or needs not say so.
    ChildReady,
    /// The child is gone, and so is everything that it left behind.
    ChildExited(Exit),
    /// The launcher was asked to end; a second time: at once.
    StopRequested,
    /// [`Launch::next_deadline`] has come.
    Tick,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "it exited with code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal} ended it"),
        }
    }
}

/// What the shell must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Publish this generation, durably, if its number is free.
    Publish(Box<Slots>),
    /// Start this slot's process.
    Start(Box<Slot>),
    /// Send the child its stop signal. [`Effect::Kill`] follows when the grace is over.
    Stop(StopSpec),
    /// Kill the child and all that it started.
    Kill,
    /// Append to the launcher's record.
    Record(LaunchEvent),
    /// End the launcher; no child is left.
    ExitLauncher,
}

/// The launcher of one component.
#[derive(Debug, Clone)]
pub struct Launch {
    slots: Option<Slots>,
    unusable: Option<String>,
    child: Option<Child>,
    clocks: Clocks,
    /// The pause that is kept, if the slots ask for one and we saw it appear.
    pause: Option<KeptPause>,
    in_flight: Option<Flight>,
    publish_again_at: Option<Duration>,
    /// The trial whose boot was spent durably and not used yet.
    boot_paid: Option<RunId>,
    /// How the child of this run ended last, for reasons.
    last_exit: Option<(RunId, String)>,
    /// Crashes of the current release that its guard has not counted yet.
    uncounted: Option<(RunId, u32)>,
    back_off: Option<BackOff>,
    last_started: Option<ReleaseId>,
    last_refusal: Option<String>,
    stopping: bool,
    out: Vec<Effect>,
}

#[derive(Debug, Clone)]
struct Child {
    run: RunId,
    release: ReleaseId,
    generation: u64,
    stop: StopSpec,
    since: Duration,
    pid: Option<u32>,
    ready: bool,
    stopping: Option<Stopping>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    KillAt(Duration),
    Killed,
}

#[derive(Debug, Clone)]
struct KeptPause {
    run: RunId,
    until: Duration,
    said: bool,
}

#[derive(Debug, Clone)]
struct BackOff {
    run: RunId,
    failures: u32,
    until: Duration,
}

/// What is being published, and what is to be recorded and remembered once it is.
#[derive(Debug, Clone)]
struct Flight {
    next: Slots,
    then: Then,
}

#[derive(Debug, Clone)]
enum Then {
    Nothing,
    BootPaid(RunId),
    CrashCounted,
    Record(LaunchEvent),
}

impl Launch {
    /// A launcher that has just begun and has read nothing yet.
    pub fn new(now: Now) -> Self {
        Self {
            slots: None,
            unusable: None,
            child: None,
            clocks: Clocks::new(now.mono),
            pause: None,
            in_flight: None,
            publish_again_at: None,
            boot_paid: None,
            last_exit: None,
            uncounted: None,
            back_off: None,
            last_started: None,
            last_refusal: None,
            stopping: false,
            out: vec![Effect::Record(LaunchEvent::LauncherStarted)],
        }
    }

    /// Takes one event in; the effects are to be performed in order.
    pub fn handle(&mut self, event: Event, now: Now) -> Vec<Effect> {
        self.clocks.advance(self.slots.as_ref(), now.mono);
        self.publish_again_at = self.publish_again_at.filter(|at| now.mono < *at);
        match event {
            Event::Slots(slots) => self.take_slots(slots, now),
            Event::SlotsUnusable(why) => {
                self.in_flight = None;
                self.refuse(format!("the slots can't be used: {why}"));
                self.unusable = Some(why);
            }
            Event::Published => self.published(now),
            Event::Taken(slots) => {
                self.in_flight = None;
                self.take_slots(slots, now);
            }
            Event::PublishFailed(why) => {
                self.in_flight = None;
                self.publish_again_at = Some(now.mono + PUBLISH_AGAIN);
                self.refuse(format!("the slots can't be published: {why}"));
            }
            Event::Started { pid } => self.started(pid),
            Event::StartFailed(why) => self.start_failed(&why, now),
            Event::ChildReady => {
                // Once: a child that says so for ever must not flood the record.
                if let Some(child) = self.child.as_mut().filter(|child| !child.ready)
                    && let Some(pid) = child.pid
                {
                    child.ready = true;
                    self.out.push(Effect::Record(LaunchEvent::Ready { pid }));
                }
            }
            Event::ChildExited(exit) => self.exited(exit, now),
            Event::StopRequested => self.stop_requested(),
            Event::Tick => self.kill_if_due(now),
        }
        self.decide(now);
        std::mem::take(&mut self.out)
    }

    /// When, on the monotonic clock, [`Event::Tick`] is due at the latest.
    pub fn next_deadline(&self) -> Option<Duration> {
        let kill = self.child.as_ref().and_then(|child| match child.stopping {
            Some(Stopping::KillAt(at)) => Some(at),
            Some(Stopping::Killed) | None => None,
        });
        let start = self.back_off.as_ref().filter(|_| self.child.is_none()).map(|wait| wait.until);
        let pause = self.pause.as_ref().map(|pause| pause.until);
        // What was due at the last event was decided then.
        let later = |at: &Duration| *at > self.clocks.now();
        let clocks = self.clocks.next_deadline(self.slots.as_ref(), self.may_publish());
        [kill, start.filter(later), pause.filter(later), self.publish_again_at, clocks]
            .into_iter()
            .flatten()
            .min()
    }

    /// The newest slots that are known, with the time that passed since they were published.
    pub fn slots(&self) -> Option<Slots> {
        self.slots.as_ref().map(|slots| self.clocks.folded(slots))
    }

    fn take_slots(&mut self, newest: Slots, now: Now) {
        self.unusable = None;
        if self.slots.as_ref().is_some_and(|known| known.generation >= newest.generation) {
            return;
        }
        let known = self.slots.as_ref();
        // A pause that was there before us was asked of another launcher: what it promised to
        // hold still has run on since.
        let begins = newest.pause.as_ref().filter(|pause| {
            known.is_some_and(|known| known.pause.as_ref().is_none_or(|old| old.run != pause.run))
        });
        if let Some(pause) = begins {
            let until = now.mono + pause.window.duration();
            self.pause = Some(KeptPause { run: pause.run, until, said: false });
        } else if newest.pause.is_none() {
            self.pause = None;
        }
        self.clocks.follow(&newest);
        let trial = newest.trial.as_ref().map(|trial| trial.slot.run);
        self.boot_paid = self.boot_paid.filter(|paid| Some(*paid) == trial);
        let current = newest.current.as_ref().map(|slot| slot.run);
        self.uncounted = self.uncounted.filter(|(run, _)| Some(*run) == current);
        self.slots = Some(newest);
        self.last_refusal = None;
    }

    fn published(&mut self, now: Now) {
        let Some(Flight { next, then }) = self.in_flight.take() else { return };
        self.publish_again_at = None;
        self.clocks.saved();
        self.take_slots(next, now);
        match then {
            Then::Nothing => {}
            Then::BootPaid(run) => self.boot_paid = Some(run),
            Then::CrashCounted => {
                self.uncounted = self
                    .uncounted
                    .and_then(|(run, count)| Some((run, count.checked_sub(1)?)))
                    .filter(|(_, count)| *count > 0);
            }
            Then::Record(event) => self.out.push(Effect::Record(event)),
        }
    }

    fn started(&mut self, pid: u32) {
        let Some(child) = &mut self.child else { return };
        child.pid = Some(pid);
        let (release, generation) = (child.release.clone(), child.generation);
        let from = self.last_started.replace(release.clone());
        self.out.push(Effect::Record(LaunchEvent::Started {
            pid,
            release: release.clone(),
            generation,
        }));
        if from.as_ref().is_some_and(|from| *from != release) {
            self.out.push(Effect::Record(LaunchEvent::Swapped { from, to: release }));
        }
    }

    fn start_failed(&mut self, why: &str, now: Now) {
        let Some(child) = self.child.take() else { return };
        self.out.push(Effect::Record(LaunchEvent::Refused {
            reason: format!("release {} could not be started: {why}", child.release),
        }));
        if child.stopping.is_none() {
            self.crashed(&child, format!("it could not be started: {why}"), now);
        }
    }

    fn exited(&mut self, exit: Exit, now: Now) {
        let Some(child) = self.child.take() else { return };
        let (code, signal) = match exit {
            Exit::Code(code) => (Some(code), None),
            Exit::Signal(signal) => (None, Some(signal)),
        };
        if let Some(pid) = child.pid {
            self.out.push(Effect::Record(LaunchEvent::Exited { pid, code, signal }));
        }
        if child.stopping.is_none() {
            self.crashed(&child, exit.to_string(), now);
        }
    }

    /// Remembers an unexpected end; what follows from it is decided with everything else.
    fn crashed(&mut self, child: &Child, how: String, now: Now) {
        self.last_exit = Some((child.run, how));
        let current = self.slots.as_ref().and_then(|slots| slots.current.as_ref());
        if current.is_none_or(|slot| slot.run != child.run) {
            return;
        }
        let owed = self.uncounted.filter(|(run, _)| *run == child.run).map_or(0, |(_, owed)| owed);
        self.uncounted = Some((child.run, owed.saturating_add(1)));
        let steady = now.mono.saturating_sub(child.since) >= LAST_BACK_OFF;
        let failures = self
            .back_off
            .as_ref()
            .filter(|wait| wait.run == child.run && !steady)
            .map_or(0, |wait| wait.failures.saturating_add(1));
        let pause = FIRST_BACK_OFF.saturating_mul(1_u32 << failures.min(16)).min(LAST_BACK_OFF);
        self.back_off = Some(BackOff { run: child.run, failures, until: now.mono + pause });
    }

    fn stop_requested(&mut self) {
        let again = std::mem::replace(&mut self.stopping, true);
        if let Some(child) = self.child.as_mut().filter(|_| again) {
            child.stopping = Some(Stopping::Killed);
            self.out.push(Effect::Kill);
        }
    }

    fn kill_if_due(&mut self, now: Now) {
        let Some(child) = &mut self.child else { return };
        if matches!(child.stopping, Some(Stopping::KillAt(at)) if at <= now.mono) {
            child.stopping = Some(Stopping::Killed);
            self.out.push(Effect::Kill);
        }
    }

    fn refuse(&mut self, reason: String) {
        if self.last_refusal.as_ref() != Some(&reason) {
            self.out.push(Effect::Record(LaunchEvent::Refused { reason: reason.clone() }));
            self.last_refusal = Some(reason);
        }
    }
}

#[cfg(test)]
mod tests;
