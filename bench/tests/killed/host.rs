//! A host: the agent's own enrolment, channel, ledger and outbox on their own files. Only what an
//! order does to the host is put in: a line in a file, which is what is counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use handover_agent::agent::Agent;
use handover_agent::control::channel::{BearerChannel, Channel as _};
use handover_agent::control::core::{Effect, Got, Input, Missed, Task, Turn};
use handover_agent::control::desk::Desk;
use handover_agent::control::enrolment::{self, Which};
use handover_agent::control::identity::{ControlFiles, Identity};
use handover_agent::failure::Failure;
use handover_agent::home::Home;
use handover_agent::voice::Voice;
use handover_client::real_world::{Clock, RealClock, Stop};
use handover_engine::orders::Ending;
use handover_model::wire::{
    Action, AgentOrder, EnrolToken, HostState, Place, SignedDoc, SyncAnswer, SyncRequest,
    secret_digest,
};
use handover_model::{
    ComponentName, Digest, Millis, Now, OrderId, Pin, ReleaseId, SessionId, Version,
};
use serde_json::{Value, json};

use crate::Site;
use crate::person::may_pass;

/// How many times faster than the machine's the time passes of an agent's pauses and back-off.
const HASTE: u32 = 40;
/// The longest that a host looks away.
const NAP: Duration = Duration::from_millis(100);

/// One line of the file that counts.
#[derive(Debug, Clone)]
pub(crate) struct Executed {
    pub(crate) order: OrderId,
    pub(crate) place: Place,
    /// When, in the order of all hosts.
    pub(crate) tick: u64,
    /// The version that it led to.
    pub(crate) version: Option<Version>,
}

/// What a host executed, in its order.
pub(crate) fn executions(root: &Utf8Path) -> Vec<Executed> {
    let text = fs::read_to_string(executions_path(root)).unwrap_or_default();
    let read = |line: &str| {
        let mut words = line.split(' ');
        let order = words.next()?.parse().ok()?;
        let epoch = words.next()?.parse().ok()?;
        let sequence = words.next()?.parse().ok()?;
        let tick = words.next()?.parse().ok()?;
        let version = words.next().map(|word| word.parse().expect("a version"));
        Some(Executed { order, place: Place { epoch, sequence }, tick, version })
    };
    text.lines().map(|line| read(line).unwrap_or_else(|| panic!("{root}: {line:?}"))).collect()
}

fn executions_path(root: &Utf8Path) -> Utf8PathBuf {
    root.join("executions")
}

/// One host.
pub(crate) struct Host<'s> {
    site: &'s Site,
    agent: Agent,
    files: ControlFiles,
    identity: Identity,
    channel: BearerChannel,
    session: SessionId,
    number: u64,
    desk: Desk,
    /// Whether it comes by now and then, in place of a question that is held open: what is
    /// released waits for such a host.
    comes_by: bool,
    /// The orders that came last, to be brought once more.
    brought: Vec<SignedDoc>,
    components: BTreeMap<ComponentName, ReleaseId>,
    pins: BTreeMap<ComponentName, Pin>,
}

/// The agent's clock: as long as the machine's, but for pauses and back-off, which pass fast.
struct Hasty(RealClock);

impl Clock for Hasty {
    fn now(&self) -> Now {
        let now = self.0.now();
        Now { mono: now.mono.saturating_mul(HASTE), ..now }
    }
}

/// Enrols, and carries orders out until the test is over.
pub(crate) fn live(site: &Site, number: usize, token: &str) {
    let Some(mut host) = Host::enrol(site, number, token) else { return };
    site.hosts[number].set(host.identity.agent).expect("each host enrols once");
    while !site.is_over() && !site.is_done() {
        host.go_on();
    }
}

impl<'s> Host<'s> {
    fn enrol(site: &'s Site, number: usize, token: &str) -> Option<Self> {
        let home = Home::new(site.host_root(number));
        for dir in ["trust", "control"] {
            fs::create_dir_all(home.root().join(dir)).expect("a directory");
        }
        let token = EnrolToken::parse(token).expect("a token");
        let mut agent = Agent::real(home.clone(), Stop::never(), Voice::silent()).expect("agent");
        let identity = loop {
            match try_enrol(&mut agent, &token, number) {
                Ok(identity) => break identity,
                Err(Failure::Call(error)) if may_pass(&error) => site.rest(),
                Err(error) => panic!("host {number} can't enrol: {error}"),
            }
            if site.is_over() {
                return None;
            }
        };
        let files = ControlFiles::of(&home);
        let ca = files.ca().expect("it reads").expect("enrolment wrote it");
        let clock: Arc<dyn Clock> = Arc::new(site.clock);
        let channel = BearerChannel::new(&identity, &ca, clock).expect("a secret");
        let now = agent.now().wall;
        let session = SessionId::mint(&mut agent.ids, now);
        agent.clock = Arc::new(Hasty(site.clock));
        let desk = open_desk(&mut agent, &files, &identity, session, 0);
        let (components, pins) = (BTreeMap::new(), BTreeMap::new());
        Some(Self {
            site,
            agent,
            files,
            identity,
            channel,
            session,
            number: 0,
            desk,
            comes_by: number.is_multiple_of(5),
            brought: Vec::new(),
            components,
            pins,
        })
    }

    /// What the thread that talks does (`handover_agent::control`), once.
    fn go_on(&mut self) {
        if let Some(errand) = self.desk.errand() {
            return self.carry_out(errand);
        }
        let now = self.agent.now();
        let due = self.desk.next_deadline().expect("the files are kept").expect("it talks");
        if due <= now.mono {
            self.desk.with(|core| core.handle_timeout(now)).expect("the files are kept");
        } else {
            thread::park_timeout((due.saturating_sub(now.mono) / HASTE).min(NAP));
        }
    }

    fn say(&self, input: Input) {
        self.desk.say(&self.agent, input).expect("the files are kept");
    }

    fn carry_out(&mut self, errand: Effect) {
        match errand {
            Effect::Look => {
                let state = Some(Box::new(self.state()));
                self.say(Input::Looked { state, is_unsettled: false });
            }
            Effect::Send { request, reports } => self.send(*request, &reports),
            Effect::Believe(ca) => {
                let clock: Arc<dyn Clock> = Arc::new(self.site.clock);
                self.channel = BearerChannel::new(&self.identity, &ca, clock).expect("a secret");
            }
            Effect::Work => {
                self.work();
                self.say(Input::Idle);
            }
            Effect::Leave => panic!("nobody ordered {} to leave", self.identity.name),
            // The desk has done these.
            Effect::Write { .. } | Effect::Remove(_) | Effect::Ring => {}
        }
    }

    fn send(&mut self, mut request: SyncRequest, reports: &[u64]) {
        let (documents, unreadable) = self.desk.documents(reports).expect("they read");
        assert!(unreadable.is_empty(), "{unreadable:?}");
        request.reports = documents;
        if self.comes_by {
            request.wait = Millis(0);
        }
        self.number = request.number;
        let began = self.agent.now().mono;
        match self.channel.sync(&request) {
            Ok(mut answer) => {
                self.bring_again(&mut answer);
                assert!(answer.notices.is_empty(), "{:?}", answer.notices);
                self.count(&answer);
                let took = self.agent.now().mono.saturating_sub(began);
                self.say(Input::Answered { answer: Box::new(answer), took });
            }
            Err(error) if may_pass(&error) => {
                self.site.unanswered.fetch_add(1, Ordering::SeqCst);
                self.say(Input::Missed(Missed {
                    class: error.class(),
                    is_problem: false,
                    retry_after: None,
                    code: error.code().to_owned(),
                    reason: error.to_string(),
                }));
            }
            Err(error) => panic!("{} is refused: {error}", self.identity.name),
        }
    }

    /// The protocol lets the control plane hand an order out again until it hears of it: every
    /// third answer brings the newest ones once more.
    fn bring_again(&mut self, answer: &mut SyncAnswer) {
        let again = if self.number.is_multiple_of(3) { self.brought.clone() } else { Vec::new() };
        if !answer.orders.is_empty() {
            self.brought.clone_from(&answer.orders);
        }
        answer.orders.extend(again);
    }

    /// Counts orders, before anything is made of them.
    fn count(&self, answer: &SyncAnswer) {
        for doc in &answer.orders {
            let id = doc.0.pointer("/signed/id").and_then(Value::as_str).expect("an id");
            let id: OrderId = id.parse().expect("an id");
            let known = self.desk.with(|core| Ok(core.ledger().find(id).is_some()));
            if known.expect("the files are kept") {
                self.site.again.fetch_add(1, Ordering::SeqCst);
            } else if let Some(to) = doc.0.pointer("/signed/action/to").and_then(Value::as_str) {
                let version: Version = to.parse().expect("a version");
                *self.site.taken().entry(version).or_default() += 1;
            }
        }
    }

    /// Carries out what is to be, as an agent would that has just started and knows its files
    /// alone.
    fn work(&mut self) {
        let (agent, files) = (&mut self.agent, &self.files);
        self.desk = open_desk(agent, files, &self.identity, self.session, self.number);
        loop {
            match self.desk.next_task(&self.agent).expect("the files are kept") {
                Turn::Over => return,
                Turn::Wait(length) => thread::park_timeout(length / HASTE),
                Turn::Do(Task::Begin { order, release: None }) => self.begin(&order),
                Turn::Do(task) => panic!("nobody ordered that: {task:?}"),
            }
        }
    }

    fn begin(&mut self, order: &AgentOrder) {
        let component = order.action.component().expect("it is about one");
        let current = self.components.get(component).map(|release| release.version.clone());
        self.say(Input::Begin { order: order.id, current });
        if !self.desk.is_begun(order.id).expect("the files are kept") {
            return;
        }
        let release = self.act(order);
        self.say(Input::State(Box::new(self.state())));
        let ending = Ending::done(release, self.agent.now().wall);
        self.say(Input::Came { order: order.id, got: Got::Ended(ending) });
        self.site.executed.fetch_add(1, Ordering::SeqCst);
    }

    fn act(&mut self, order: &AgentOrder) -> Option<ReleaseId> {
        let place = order.place;
        let mut line = format!("{} {} {}", order.id, place.epoch, place.sequence);
        write!(line, " {}", self.site.tick()).expect("a string");
        if let Action::Update { to: Some(to), .. } = &order.action {
            write!(line, " {to}").expect("a string");
        }
        line.push('\n');
        let path = executions_path(self.agent.home.root());
        let mut file = File::options().create(true).append(true).open(path).expect("a file");
        file.write_all(line.as_bytes()).expect("a line");
        match &order.action {
            Action::Update { component, to: Some(to) } => {
                let digest = Digest::of(format!("{component} {to}").as_bytes());
                let release = ReleaseId { version: to.clone(), digest };
                self.components.insert(component.clone(), release.clone());
                Some(release)
            }
            Action::Pin { component, pin } => {
                self.pins.insert(component.clone(), pin.clone());
                None
            }
            Action::Update { to: None, .. }
            | Action::Rollback { .. }
            | Action::Unpin { .. }
            | Action::ClearQuarantine { .. }
            | Action::Retire
            | Action::Unknown => panic!("nobody ordered that: {order:?}"),
        }
    }

    /// How the host stands, each component with the proof that it runs.
    fn state(&self) -> HostState {
        let known = self.components.keys().chain(self.pins.keys());
        let names: std::collections::BTreeSet<_> = known.collect();
        let component = |name: &&ComponentName| {
            let current = self.components.get(*name);
            let proof = current.map(|release| {
                json!({
                    "release": release, "executable": release.digest, "proved": true,
                    "pid": 4242, "ready": true, "boot": "boot",
                })
            });
            let mut state = json!({ "component": name, "mode": "manual", "channel": "stable" });
            for (field, value) in [
                ("current", current.map(|release| json!(release))),
                ("proof", proof),
                ("control_pin", self.pins.get(*name).map(|pin| json!(pin))),
            ] {
                if let Some(value) = value {
                    state[field] = value;
                }
            }
            state
        };
        let state = json!({
            "name": self.identity.name, "platform": self.agent.platform,
            "agent_version": "0.1.0", "boot": "boot",
            "components": names.iter().map(component).collect::<Vec<_>>(),
        });
        serde_json::from_value(state).expect("a state as the protocol has it")
    }
}

/// A desk on what is durable.
fn open_desk(
    agent: &mut Agent,
    files: &ControlFiles,
    identity: &Identity,
    session: SessionId,
    number: u64,
) -> Desk {
    let keys = files.order_keys().expect("they read").expect("enrolment wrote them");
    let ca = files.ca().expect("it reads").expect("enrolment wrote it");
    Desk::open(agent, identity, (keys, ca), session, number).expect("a desk")
}

fn try_enrol(agent: &mut Agent, token: &EnrolToken, number: usize) -> Result<Identity, Failure> {
    let name = format!("host-{number}").parse().expect("a name");
    let found = enrolment::find(agent, token)?;
    let begun = enrolment::prepare_key(agent, secret_digest(&token.secret), Which::Same)?;
    enrolment::enrol(agent, token, &found, &name, &begun)
}
