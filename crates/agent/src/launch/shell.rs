//! The launcher's loop: wait, look, ask the core (`engine::launch`), act.
//!
//! Time is counted on `CLOCK_MONOTONIC`, which stands still while the machine is suspended, just
//! as it does while the machine is off: a trial can show what it is worth only while it runs. (The
//! other candidate, `CLOCK_BOOTTIME`, would end every trial that a laptop's lid fell upon.) What
//! has passed is published about each tenth of a window, so after a power cut at most that much
//! counts twice; the boot that was spent before the start bounds how often that can happen.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use handover_engine::launch::{Effect, Event, Exit, Launch};
use handover_engine::slots;
use handover_hoststeps::disk::{self, SlotsStore};
use handover_hoststeps::{HostError, Published};
use handover_model::{ComponentName, LaunchEvent, Readiness, Slot, Slots, SocketSpec, Version};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal};

use super::LaunchError;
use super::child::{Child, Stage};
use super::inbox::Inbox;
use super::notify::{Notify, Patience};
use super::processes::{self, Swept};
use super::record::{Record, chain};
use super::signals::Signals;
use super::sockets::Sockets;
use crate::real_world::{Clock as _, RealClock};

/// A main process that exits with 0 so soon, and leaves others behind, has put itself into the
/// background.
const AT_ONCE: Duration = Duration::from_secs(5);

/// The launcher of one component.
#[derive(Debug)]
pub(super) struct Shell {
    clock: RealClock,
    core: Launch,
    store: SlotsStore,
    record: Record,
    child_file: Utf8PathBuf,
    signals: Signals,
    inbox: Inbox,
    notify: Notify,
    patience: Patience,
    sockets: Sockets,
    child: Option<Child>,
    /// The version of what was started last.
    version: Option<Version>,
    events: VecDeque<Event>,
    ended: bool,
}

impl Shell {
    /// A launcher for `component`, whose lock the caller holds, with the slots read.
    ///
    /// # Errors
    /// [`LaunchError`]; a damaged slots file among them.
    pub(super) fn new(root: &Utf8Path, component: &ComponentName) -> Result<Self, LaunchError> {
        let prepare = |act| move |source: io::Error| LaunchError::Prepare { act, source };
        let home = root.join("components").join(component.as_str());
        let clock = RealClock::start();
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(|errno| {
            prepare("become the reaper of what a component leaves")(errno.into())
        })?;
        let signals = Signals::catch().map_err(prepare("catch signals"))?;
        let store = SlotsStore::new(home.join("slots"));
        disk::make_dir(store.dir()).map_err(LaunchError::Host)?;
        let inbox = Inbox::watch(store.dir()).map_err(prepare("watch the slots directory"))?;
        let notify = Notify::open().map_err(prepare("open a notification socket"))?;
        let mut shell = Self {
            core: Launch::new(clock.now()),
            patience: Patience::begin(clock.now().mono),
            clock,
            store,
            record: Record::new(home.join("launches.jsonl"), component.as_str()),
            child_file: home.join("child"),
            signals,
            inbox,
            notify,
            sockets: Sockets::default(),
            child: None,
            version: None,
            events: VecDeque::new(),
            ended: false,
        };
        shell.end_orphans()?;
        let slots = shell.store.load().map_err(LaunchError::Host)?;
        if slots.generation == 0 {
            shell.record.say("nothing is installed yet; waiting for a first release");
            shell.notify.tell_manager("READY=1\nSTATUS=waiting for a first release");
            shell.patience.end();
        }
        let slots = shell.admit(slots);
        shell.events.push_back(Event::Slots(slots));
        Ok(shell)
    }

    /// Runs until asked to end.
    ///
    /// # Errors
    /// When waiting for events is impossible.
    pub(super) fn run(mut self) -> Result<(), LaunchError> {
        loop {
            while let Some(event) = self.events.pop_front() {
                self.feed(event);
            }
            if self.ended {
                return Ok(());
            }
            self.keep_sockets();
            self.wait().map_err(|errno| LaunchError::Prepare {
                act: "wait for events",
                source: errno.into(),
            })?;
            self.look();
        }
    }

    fn wait(&self) -> rustix::io::Result<()> {
        let now = self.clock.now().mono;
        // A deadline that has come waits for nothing; one far off may be cut, the core asks again.
        let deadlines = [self.core.next_deadline(), self.patience.deadline()];
        let timeout = deadlines
            .into_iter()
            .flatten()
            .min()
            .map(|at| Timespec::try_from(at.saturating_sub(now)).unwrap_or_default());
        if timeout.as_ref().is_none_or(|wait| wait.tv_sec > 0) {
            crate::memory::give_back_text();
        }
        let mut fds = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.inbox, PollFlags::IN),
            PollFd::new(&self.notify, PollFlags::IN),
        ];
        if let Some(complaints) = self.child.as_ref().and_then(Child::complaints) {
            fds.push(PollFd::from_borrowed_fd(complaints, PollFlags::IN));
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Gathers what has happened, as events.
    fn look(&mut self) {
        for signal in self.signals.take() {
            if signal == Signal::TERM || signal == Signal::INT {
                self.notify.tell_manager("STOPPING=1");
                self.patience.end();
                self.events.push_back(Event::StopRequested);
            } else if let Some(child) = &self.child {
                child.signal(signal);
            }
        }
        self.look_at_child();
        if self.patience.is_over(self.clock.now().mono) {
            self.notify.tell_manager("READY=1");
            self.tell_status("started, and not ready yet");
        }
        if self.inbox.take() {
            let event = self.read_slots();
            self.events.push_back(event);
        }
        let due = self.core.next_deadline().is_some_and(|at| at <= self.clock.now().mono);
        if due || self.events.is_empty() {
            self.events.push_back(Event::Tick);
        }
    }

    fn look_at_child(&mut self) {
        let said = self.notify.hear(self.child.as_ref().map(|child| child.pid));
        if said.ready {
            self.ready();
        }
        if let Some(status) = said.status {
            self.tell_status(&status);
        }
        if said.alive {
            self.notify.tell_watchdog();
        }
        let stage = self.child.as_mut().map_or(Stage::Unchanged, Child::stage);
        match stage {
            Stage::Unchanged => {}
            Stage::Running => {
                if self.child.as_ref().is_some_and(|c| c.recipe.readiness == Readiness::None) {
                    self.ready();
                }
            }
            Stage::Failed(why) => return self.start_failed(why),
        }
        while let Some((pid, exit)) = processes::reap() {
            if self.child.as_ref().is_some_and(|child| child.pid == pid) {
                self.exited(exit);
            }
        }
    }

    fn ready(&mut self) {
        self.events.push_back(Event::ChildReady);
        self.notify.tell_manager("READY=1");
        self.patience.end();
        self.tell_status("ready");
    }

    fn tell_status(&self, status: &str) {
        if let Some(version) = &self.version {
            self.notify.tell_manager(&format!("STATUS={version}: {status}"));
        }
    }

    /// The child's main process was reaped: everything else of it goes, too.
    fn exited(&mut self, exit: Exit) {
        let Some(mut child) = self.child.take() else { return };
        // The exec stage may have given up since we looked at it.
        let stage = child.stage();
        let young = self.clock.now().mono.saturating_sub(child.since) < AT_ONCE;
        let behind = processes::children();
        let behind = behind.first().map(|pid| format!("{} ({pid})", processes::name_of(*pid)));
        let swept = processes::sweep(child.pid);
        self.say_stuck(swept);
        let daemon = behind.filter(|_| young && !child.stopping && exit == Exit::Code(0));
        self.events.push_back(match (stage, daemon) {
            (Stage::Failed(why), _) => Event::StartFailed(why),
            (Stage::Unchanged | Stage::Running, None) => Event::ChildExited(exit),
            (Stage::Unchanged | Stage::Running, Some(left)) => Event::StartFailed(format!(
                "it daemonises: its main process exited at once and left {left} behind; make it stay \
                 in the foreground"
            )),
        });
    }

    fn start_failed(&mut self, why: String) {
        let Some(child) = self.child.take() else { return };
        self.say_stuck(processes::sweep(child.pid));
        self.events.push_back(Event::StartFailed(why));
    }

    fn say_stuck(&self, swept: Swept) {
        if let Some(stuck) = swept.stuck {
            let reason = format!("process {stuck} could not be killed: it hangs in the kernel");
            self.record.write(LaunchEvent::Refused { reason }, self.clock.now().wall);
        }
    }

    fn feed(&mut self, event: Event) {
        let effects = self.core.handle(event, self.clock.now());
        // What comes of the effects is fed before anything else that waits.
        let waiting = std::mem::take(&mut self.events);
        for effect in effects {
            self.perform(effect);
        }
        self.events.extend(waiting);
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Publish(next) => {
                let event = self.publish(&next);
                self.events.push_back(event);
            }
            Effect::Start(slot) => {
                let event = self.start(&slot);
                self.events.push_back(event);
            }
            Effect::Stop(stop) => {
                if let Some(child) = &mut self.child {
                    child.ask_to_stop(&stop.signal);
                }
            }
            Effect::Kill => self.kill(),
            Effect::Record(event) => self.record.write(event, self.clock.now().wall),
            Effect::ExitLauncher => self.ended = true,
        }
    }

    fn publish(&mut self, next: &Slots) -> Event {
        match self.store.publish(next) {
            Ok(Published::Ours) => Event::Published,
            Ok(Published::Taken) => match self.store.load() {
                Ok(slots) => Event::Taken(self.admit(slots)),
                Err(error) => Event::SlotsUnusable(chain(&error)),
            },
            // It may have been published before the failure: only a look can tell.
            Err(error) => match self.store.load() {
                Ok(found) if found == *next => Event::Published,
                Ok(_) | Err(_) => Event::PublishFailed(chain(&error)),
            },
        }
    }

    fn start(&mut self, slot: &Slot) -> Event {
        let recipe = &slot.recipe;
        if let Err(error) = self.sockets.open(&recipe.sockets) {
            return Event::StartFailed(chain(&error));
        }
        let since = self.clock.now().mono;
        let sockets = self.sockets.of(&recipe.sockets);
        match Child::start(recipe, &sockets, self.notify.address(), since) {
            Err(error) => Event::StartFailed(error.to_string()),
            Ok(child) => {
                let pid = child.pid;
                self.child = Some(child);
                self.version = Some(slot.release.version.clone());
                self.remember(pid);
                self.tell_status("started");
                Event::Started { pid: pid.as_raw_pid().unsigned_abs() }
            }
        }
    }

    fn kill(&mut self) {
        let Some(child) = self.child.take() else { return };
        child.signal(Signal::KILL);
        let swept = processes::sweep(child.pid);
        self.say_stuck(swept);
        let exit = swept.main.unwrap_or(Exit::Signal(Signal::KILL.as_raw()));
        self.events.push_back(Event::ChildExited(exit));
    }

    fn read_slots(&mut self) -> Event {
        let read = self.store.load();
        // A directory that was removed and made again is not watched any more.
        if let Ok(slots) = &read
            && slots.generation == 0
            && let Ok(()) = disk::make_dir(self.store.dir())
            && let Ok(inbox) = Inbox::watch(self.store.dir())
        {
            self.inbox = inbox;
        }
        match read {
            Ok(slots) => Event::Slots(self.admit(slots)),
            Err(error) => Event::SlotsUnusable(chain(&error)),
        }
    }

    /// Opens the listening sockets of a trial while the old child still serves. Where that is
    /// impossible, the trial is over before it began, and nothing was stopped.
    fn admit(&mut self, mut slots: Slots) -> Slots {
        while let Some(trial) = &slots.trial {
            let Err(error) = self.sockets.open(&trial.slot.recipe.sockets) else { return slots };
            let (run, release, reason) =
                (trial.slot.run, trial.slot.release.clone(), chain(&error));
            let now = self.clock.now().wall;
            let Ok(next) = slots::quarantine_trial(&slots, run, reason.as_str(), now) else {
                return slots;
            };
            match self.store.publish(&next) {
                Ok(Published::Ours) => {
                    self.record.write(LaunchEvent::Quarantined { release, reason }, now);
                    return next;
                }
                Ok(Published::Taken) => match self.store.load() {
                    Ok(newer) => slots = newer,
                    Err(_) => return slots,
                },
                // The core meets the same refusal and tries again, until the window ends.
                Err(_) => return slots,
            }
        }
        slots
    }

    /// Sockets are dropped only when no slot that may run names them.
    fn keep_sockets(&mut self) {
        let Some(slots) = self.core.slots() else { return };
        let trial = slots.trial.as_ref().map(|trial| &trial.slot.recipe);
        let current = slots.current.as_ref().map(|slot| &slot.recipe);
        let running = self.child.as_ref().map(|child| &child.recipe);
        let named: Vec<&SocketSpec> =
            [trial, current, running].into_iter().flatten().flat_map(|r| &r.sockets).collect();
        self.sockets.keep(&named);
    }

    /// Writes down whom a successor would have to end, should this launcher be killed.
    fn remember(&self, pid: Pid) {
        let pid = pid.as_raw_pid();
        let birth = processes::birth_of(pid).unwrap_or_default();
        if let Err(error) =
            disk::write(&self.child_file, format!("{pid} {birth}").as_bytes(), 0o644)
        {
            self.record.say(&chain(&error));
        }
    }

    /// Ends what a launcher that was killed has left running: two of a component must never run.
    fn end_orphans(&self) -> Result<(), LaunchError> {
        let Some(bytes) = disk::read(&self.child_file).map_err(LaunchError::Host)? else {
            return Ok(());
        };
        let text = String::from_utf8_lossy(&bytes);
        if let Some((pid, birth)) = text.split_once(' ')
            && let Ok(pid) = pid.parse()
        {
            let count = processes::kill_orphans(pid, birth);
            if count > 0 {
                self.record.say(&format!("ended {count} processes of a launcher that was killed"));
            }
        }
        Ok(())
    }
}

/// For whoever reads [`HostError`] here: damage has an exit code of its own.
pub(super) fn is_damage(error: &HostError) -> bool {
    match error {
        HostError::Damaged { .. } | HostError::Surprise { .. } => true,
        HostError::Io { .. } => false,
    }
}
