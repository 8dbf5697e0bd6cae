//! One host: its agent's process around the production core, its disk, and its machine.

pub(crate) mod machine;
mod orders;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use handover_agent::control::core::outbox::{Found, document, first_free};
use handover_agent::control::core::{Core, Effect, File, Input, Missed, Opening};
use handover_agent::control::standing::Standing as Shown;
use handover_engine::graph::Offer;
use handover_engine::orders::OrderLedger;
use handover_model::wire::{
    AgentOrder, ChannelCa, ComponentState, HostState, Proof, QuarantinedState, SyncAnswer,
    SyncRequest,
};
use handover_model::{
    AgentId, AgentName, ComponentPolicy, Digest, ErrorClass, IdGen, Labels, Mode, Now, OrderId,
    Platform, ReleaseId, RunId, SessionId, open_framed,
};
use handover_trust::control::OrderKeys;
use handover_trust::keys::SigningKey;

use self::machine::Machine;
use crate::dice::{Dice, Purpose, seed_of};
use crate::shelf::{Shelf, beginning};

/// How long a settled look at a trial waits for the next.
const GLANCE: Duration = Duration::from_secs(1);

/// What a host asks of the world.
#[derive(Debug)]
pub(crate) enum Wish {
    /// Send this request, of this life of the agent.
    Send { life: u64, exchange: u64, request: Box<SyncRequest> },
    /// The agent died; it is to be started again.
    Died(&'static str),
}

/// What happened that the truth wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    /// A trial was published, or a return, for an order.
    Acted(OrderId, ReleaseId),
    /// An order was begun.
    Began(OrderId),
}

/// How often something dies, in a million.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Doom {
    /// The agent, at one durable write.
    pub(crate) agent: u64,
}

/// A host.
pub(crate) struct Host {
    pub(crate) name: AgentName,
    pub(crate) site: usize,
    pub(crate) id: AgentId,
    pub(crate) secret: String,
    pub(crate) machine: Machine,
    pub(crate) is_on: bool,
    /// How far its wall clock is off, in microseconds.
    skew: i64,
    key_seed: [u8; 32],
    trust: (OrderKeys, ChannelCa),
    disk: BTreeMap<File, Vec<u8>>,
    process: Option<Process>,
    life: u64,
    boots: u64,
    ids: IdGen,
    dice: Dice,
    faults: Dice,
    pub(crate) doom: Doom,
    policy: ComponentPolicy,
    shelf: Arc<Shelf>,
    pub(crate) wishes: Vec<Wish>,
    pub(crate) deeds: Vec<Deed>,
    /// Which order each run of this host carried.
    carried: BTreeMap<RunId, OrderId>,
}

/// One life of the agent.
struct Process {
    core: Core,
    errands: VecDeque<Effect>,
    sent: Option<(u64, Duration)>,
    exchanges: u64,
    work: Work,
}

/// What the thread that carries orders out is at.
#[derive(Debug, Clone)]
enum Work {
    /// Nobody works.
    Nobody,
    /// The core is asked what is next, then.
    Asks(Duration),
    /// A package is on its way until then: to be staged, or to be tried.
    Brings { order: Box<AgentOrder>, to: Box<Offer>, until: Duration, stages: bool },
    /// The trial of a run is waited for; the next look.
    Settles { order: Box<AgentOrder>, run: RunId, next: Duration },
}

impl Host {
    #[expect(clippy::too_many_arguments, reason = "a host is made in one place, of these facts")]
    pub(crate) fn new(
        seed: u64,
        number: usize,
        site: usize,
        release: &Offer,
        conduct: BTreeMap<ReleaseId, crate::scenario::Conduct>,
        skew: i64,
        trust: (OrderKeys, ChannelCa),
        shelf: &Arc<Shelf>,
    ) -> anyhow::Result<Self> {
        let now = Now { wall: beginning(), mono: Duration::ZERO };
        let mut ids = IdGen::new(seed_of(seed, Purpose::Host(number)));
        let run = RunId::mint(&mut ids, now.wall);
        let mut disk = BTreeMap::new();
        disk.insert(File::Ledger, OrderLedger::default().seal()?);
        Ok(Self {
            name: format!("host-{number}").parse()?,
            site,
            id: AgentId::mint(&mut ids, now.wall),
            secret: format!("the-secret-of-{number}-in-{seed}"),
            machine: Machine::new(release, run, conduct, now),
            is_on: true,
            skew,
            key_seed: seed_of(seed, Purpose::Conduct(number)),
            trust,
            disk,
            process: None,
            life: 0,
            boots: 1,
            ids,
            dice: Dice::new(seed, Purpose::Host(number)),
            faults: Dice::new(seed, Purpose::HostFaults(number)),
            doom: Doom::default(),
            policy: serde_json::from_value(
                serde_json::json!({ "name": shelf.component, "mode": "manual" }),
            )?,
            shelf: Arc::clone(shelf),
            wishes: Vec::new(),
            deeds: Vec::new(),
            carried: BTreeMap::new(),
        })
    }

    pub(crate) fn key(&self) -> anyhow::Result<SigningKey> {
        Ok(SigningKey::from_seed(self.key_seed.into())?)
    }

    pub(crate) fn machine_id(&self) -> Digest {
        Digest::of(self.name.as_str().as_bytes())
    }

    /// Both clocks of this host.
    pub(crate) fn now(&self, at: Duration) -> Now {
        let true_wall = beginning().after(at);
        let micros = true_wall.as_micros().saturating_add(self.skew);
        Now { wall: handover_model::Timestamp::from_micros(micros), mono: at }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.is_on && self.process.is_some()
    }

    /// The current release.
    pub(crate) fn current(&self) -> Option<ReleaseId> {
        self.machine.slots.current.as_ref().map(|slot| slot.release.clone())
    }

    /// The ledger as it lies on the disk.
    pub(crate) fn ledger(&self) -> OrderLedger {
        self.disk
            .get(&File::Ledger)
            .and_then(|bytes| OrderLedger::open(bytes).ok())
            .unwrap_or_default()
    }

    /// Starts the agent on what is on its disk.
    pub(crate) fn start_agent(&mut self, at: Duration) -> anyhow::Result<()> {
        if !self.is_on || self.process.is_some() {
            return Ok(());
        }
        let now = self.now(at);
        self.life += 1;
        let opening = self.opening(now)?;
        let core = Core::open(opening, now).map_err(|error| anyhow::anyhow!("{error}"))?;
        self.process = Some(Process {
            core,
            errands: VecDeque::new(),
            sent: None,
            exchanges: 0,
            work: Work::Nobody,
        });
        // An agent picks up what was cut before anything else.
        self.machine.resume(now);
        self.pump(at)
    }

    fn opening(&mut self, now: Now) -> anyhow::Result<Opening> {
        let read = |file: File| self.disk.get(&file).map(Vec::as_slice);
        let ledger = read(File::Ledger).context("a ledger lies on every disk")?;
        let ledger = OrderLedger::open(ledger).context("the ledger is whole")?;
        let keys = match read(File::OrderKeys) {
            Some(bytes) => open_framed(File::OrderKeys.kind(), File::OrderKeys.format(), bytes)?,
            None => self.trust.0.clone(),
        };
        let ca = match read(File::Ca) {
            Some(bytes) => open_framed(File::Ca.kind(), File::Ca.format(), bytes)?,
            None => self.trust.1.clone(),
        };
        let free = read(File::Numbers).map(first_free).transpose()?.unwrap_or(0);
        let standing = read(File::Standing)
            .and_then(|bytes| {
                let file = File::Standing;
                open_framed::<Shown>(file.kind(), file.format(), bytes).ok()
            })
            .unwrap_or_default();
        let mut reports = BTreeMap::new();
        for (file, bytes) in &self.disk {
            let File::Report(number) = file else { continue };
            match Found::read(bytes, self.id) {
                Found::Waits(waits) => drop(reports.insert(*number, waits)),
                Found::OfAnother | Found::Damaged => {}
            }
        }
        Ok(Opening {
            agent: self.id,
            enrolled_at: beginning(),
            key: self.key()?,
            session: SessionId::mint(&mut self.ids, now.wall),
            number: 0,
            machine: self.machine_id(),
            version: "0.1.0".parse()?,
            keys,
            ca,
            ledger,
            free,
            reports,
            standing,
            seed: self.dice.roll(),
        })
    }

    /// The agent's process is gone.
    pub(crate) fn kill_agent(&mut self, why: &'static str) {
        if self.process.take().is_some() {
            self.wishes.push(Wish::Died(why));
        }
    }

    /// The power goes.
    pub(crate) fn power_off(&mut self) {
        self.process = None;
        self.is_on = false;
    }

    /// The power is back.
    pub(crate) fn power_on(&mut self, at: Duration) -> anyhow::Result<()> {
        self.is_on = true;
        self.boots += 1;
        let now = self.now(at);
        self.machine.reboot(now);
        self.start_agent(at)
    }

    /// When [`Self::wake`] is due.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        if !self.is_on {
            return None;
        }
        let process = self.process.as_ref();
        let core = process.and_then(|process| process.core.next_deadline());
        let work = process.and_then(|process| match &process.work {
            Work::Nobody => None,
            Work::Asks(at) => Some(*at),
            Work::Brings { until, .. } => Some(*until),
            Work::Settles { next, .. } => Some(*next),
        });
        [core, work, self.machine.next_deadline()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn wake(&mut self, at: Duration) -> anyhow::Result<()> {
        if !self.is_on {
            return Ok(());
        }
        let now = self.now(at);
        if self.machine.next_deadline().is_some_and(|due| due <= at) {
            self.machine.wake(now);
        }
        if let Some(process) = &mut self.process
            && process.core.next_deadline().is_some_and(|due| due <= at)
        {
            checked(process.core.handle_timeout(now))?;
            self.pump(at)?;
        }
        self.work(at)
    }

    /// Something happened to the agent.
    fn say(&mut self, input: Input, at: Duration) -> anyhow::Result<()> {
        let now = self.now(at);
        let Some(process) = &mut self.process else { return Ok(()) };
        checked(process.core.handle(input, now))?;
        self.pump(at)
    }

    /// Performs what the core wants; the process may die at each write.
    fn pump(&mut self, at: Duration) -> anyhow::Result<()> {
        loop {
            let Some(process) = &mut self.process else { return Ok(()) };
            let Some(effect) = process.core.poll() else { break };
            let errand = match effect {
                Effect::Write { file, bytes } => {
                    self.write(file, bytes);
                    None
                }
                Effect::Remove(file) => {
                    self.disk.remove(&file);
                    None
                }
                Effect::Ring => None,
                errand @ (Effect::Look
                | Effect::Send { .. }
                | Effect::Believe(_)
                | Effect::Work
                | Effect::Leave) => Some(errand),
            };
            if let (Some(errand), Some(process)) = (errand, &mut self.process) {
                process.errands.push_back(errand);
            }
        }
        while let Some(errand) =
            self.process.as_mut().and_then(|process| process.errands.pop_front())
        {
            self.run_errand(errand, at)?;
        }
        Ok(())
    }

    fn write(&mut self, file: File, bytes: Vec<u8>) {
        if self.faults.chance(self.doom.agent) {
            match self.faults.between(0, 2) {
                0 => self.kill_agent("before a write"),
                1 => {
                    self.disk.insert(file, bytes);
                    self.kill_agent("after a write");
                }
                // Files are renamed into place: a torn write leaves a report that is damaged at
                // worst, where a disk lies, and never a ledger that is.
                _ => {
                    if let File::Report(_) = file {
                        let half = bytes.len() / 2;
                        self.disk.insert(file, bytes[..half].to_vec());
                    }
                    self.kill_agent("in a write");
                }
            }
        } else {
            self.disk.insert(file, bytes);
        }
    }

    fn run_errand(&mut self, errand: Effect, at: Duration) -> anyhow::Result<()> {
        match errand {
            Effect::Look => {
                let state = Some(Box::new(self.state()));
                let slots = &self.machine.slots;
                let is_unsettled = slots.trial.is_some()
                    || slots.current.as_ref().is_some_and(handover_engine::slots::guard_runs);
                self.say(Input::Looked { state, is_unsettled }, at)
            }
            Effect::Send { request, reports } => self.send(*request, &reports, at),
            Effect::Work => {
                if let Some(process) = &mut self.process {
                    process.work = Work::Asks(at);
                }
                Ok(())
            }
            Effect::Believe(_)
            | Effect::Leave
            | Effect::Write { .. }
            | Effect::Remove(_)
            | Effect::Ring => Ok(()),
        }
    }

    fn send(
        &mut self,
        mut request: SyncRequest,
        reports: &[u64],
        at: Duration,
    ) -> anyhow::Result<()> {
        let mut unreadable = Vec::new();
        for number in reports {
            let bytes = self.disk.get(&File::Report(*number));
            match bytes.and_then(|bytes| document(bytes)) {
                Some(doc) => request.reports.push(doc),
                None => unreadable.push(*number),
            }
        }
        if !unreadable.is_empty() {
            self.say(Input::Unreadable(unreadable), at)?;
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        process.exchanges += 1;
        process.sent = Some((process.exchanges, at));
        let (life, exchange) = (self.life, process.exchanges);
        self.wishes.push(Wish::Send { life, exchange, request: Box::new(request) });
        Ok(())
    }

    /// An answer arrives, or it is clear that none will.
    pub(crate) fn hear(
        &mut self,
        life: u64,
        exchange: u64,
        answer: Option<&(u16, Vec<u8>)>,
        at: Duration,
    ) -> anyhow::Result<()> {
        if life != self.life {
            return Ok(());
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        let Some((_, sent_at)) = process.sent.filter(|(number, _)| *number == exchange) else {
            return Ok(());
        };
        process.sent = None;
        let missed = |class, is_problem, code: String| {
            let reason = code.clone();
            Input::Missed(Missed { class, is_problem, retry_after: None, code, reason })
        };
        let input = match answer {
            None => missed(ErrorClass::Retry, false, "fetch.timeout".to_owned()),
            Some((200, body)) => match serde_json::from_slice::<SyncAnswer>(body) {
                Ok(answer) => {
                    Input::Answered { answer: Box::new(answer), took: at.saturating_sub(sent_at) }
                }
                Err(_) => missed(ErrorClass::Retry, false, "call.meaningless".to_owned()),
            },
            Some((status, _)) => {
                let retry = *status >= 500 || *status == 429;
                let class = if retry { ErrorClass::Retry } else { ErrorClass::Permanent };
                missed(class, true, format!("http.{status}"))
            }
        };
        self.say(input, at)
    }

    /// How this host stands, by a fresh look.
    fn state(&self) -> HostState {
        let slots = &self.machine.slots;
        let boot = format!("boot-{}", self.boots);
        let proof = self.machine.running().map(|(release, pid, ready)| Proof {
            release: release.clone(),
            executable: release.digest,
            proved: true,
            pid,
            ready,
            boot: boot.clone(),
        });
        let quarantine = slots.quarantine.iter().map(|entry| QuarantinedState {
            release: entry.release.clone(),
            reason: entry.reason.clone(),
            at: entry.at,
        });
        HostState {
            name: self.name.clone(),
            platform: platform(),
            agent_version: "0.1.0".parse().expect("a version"),
            boot,
            facts: Labels::default(),
            components: vec![ComponentState {
                component: self.policy.name.clone(),
                current: slots.current.as_ref().map(|slot| slot.release.clone()),
                sequence: slots.current.as_ref().map(|slot| slot.sequence),
                proof,
                trial: slots.trial.as_ref().map(|trial| trial.slot.release.clone()),
                previous: slots.previous.iter().map(|slot| slot.release.clone()).collect(),
                quarantine: quarantine.collect(),
                mode: Mode::Manual,
                channel: "stable".to_owned(),
                pin: None,
                control_pin: None,
                floor: None,
                outlook: None,
            }],
        }
    }
}

/// A core's refusal is a fault of the program, never of the story.
fn checked<T>(done: Result<T, handover_agent::failure::Failure>) -> anyhow::Result<T> {
    done.map_err(|error| anyhow::anyhow!("the agent's core failed: {error}"))
}

/// The platform of every host.
pub(crate) fn platform() -> Platform {
    "linux-x86_64".parse().expect("a platform")
}
