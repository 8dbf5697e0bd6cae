//! A host: the agent's own enrolment, channel, ledger and outbox on their own files. Only what an
//! order does to the host is put in: a line in a file, which is what is counted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use camino::{Utf8Path, Utf8PathBuf};
use handover_agent::agent::Agent;
use handover_agent::control::channel::{BearerChannel, Channel as _};
use handover_agent::control::desk::Desk;
use handover_agent::control::enrolment::{self, Which, machine};
use handover_agent::control::identity::{ControlFiles, Identity};
use handover_agent::failure::Failure;
use handover_agent::home::Home;
use handover_agent::voice::Voice;
use handover_client::real_world::Stop;
use handover_engine::orders::{Ending, Next, OrderLedger, Reception};
use handover_model::wire::{
    Action, AgentOrder, ChannelCa, EnrolToken, HostState, LARGEST_REQUEST, MOST_REPORTS,
    OrderStage, Place, SignedDoc, SyncAnswer, SyncRequest, secret_digest,
};
use handover_model::{
    ComponentName, Digest, Millis, OrderId, Pin, ReleaseId, SessionId, Timestamp, Version,
};
use handover_trust::Verified;
use handover_trust::control::{OrderKeys, verify_channel_ca, verify_order_of};
use serde_json::json;

use crate::Site;
use crate::person::may_pass;

/// How long an idle host lets its question wait for an answer.
const WAIT: Millis = Millis(20_000);

/// One line of the file that counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Executed {
    pub(crate) order: OrderId,
    pub(crate) place: Place,
}

/// What a host executed, in its order.
pub(crate) fn executions(root: &Utf8Path) -> Vec<Executed> {
    let text = fs::read_to_string(executions_path(root)).unwrap_or_default();
    let read = |line: &str| {
        let mut words = line.split(' ');
        let order = words.next()?.parse().ok()?;
        let epoch = words.next()?.parse().ok()?;
        let sequence = words.next()?.parse().ok()?;
        Some(Executed { order, place: Place { epoch, sequence } })
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
    keys: OrderKeys,
    ca: ChannelCa,
    channel: BearerChannel,
    session: SessionId,
    number: u64,
    desk: Desk,
    components: BTreeMap<ComponentName, ReleaseId>,
    pins: BTreeMap<ComponentName, Pin>,
}

/// Enrols, and carries orders out until the test is over.
pub(crate) fn live(site: &Site, number: usize, token: &str) {
    let Some(mut host) = Host::enrol(site, number, token) else { return };
    site.hosts[number].set(host.identity.agent).expect("each host enrols once");
    while !site.is_over() && !site.is_done() {
        host.exchange();
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
        let keys = files.order_keys().expect("it reads").expect("enrolment wrote them");
        let channel = BearerChannel::new(&identity, &ca, Arc::clone(&agent.clock)).expect("secret");
        let now = agent.now().wall;
        let session = SessionId::mint(&mut agent.ids, now);
        let desk = Desk::open(&home, &identity, session, agent.now().wall).expect("a desk");
        let (components, pins) = (BTreeMap::new(), BTreeMap::new());
        Some(Self {
            site,
            agent,
            files,
            identity,
            keys,
            ca,
            channel,
            session,
            number: 0,
            desk,
            components,
            pins,
        })
    }

    fn now(&self) -> Timestamp {
        self.agent.now().wall
    }

    fn exchange(&mut self) {
        self.desk.tell_state(self.state(), self.now()).expect("a state");
        self.number += 1;
        // The protocol lets a host speak later: then it is handed orders again that it has taken.
        let most = if self.number.is_multiple_of(2) { MOST_REPORTS } else { 0 };
        let idle = self.desk.outbox().is_empty();
        let reports = self.desk.outbox().batch(most, LARGEST_REQUEST / 2).expect("reports");
        let request = SyncRequest {
            session: self.session,
            number: self.number,
            machine: machine(),
            agent_version: version("0.1.0"),
            state: self.desk.told_state(),
            place: self.desk.ledger().highest_of(self.identity.agent),
            order_keys: self.keys.number,
            ca: self.ca.number,
            wait: if idle { WAIT } else { Millis(0) },
            reports,
        };
        match self.channel.sync(&request) {
            Ok(answer) => self.take(&answer),
            Err(error) if may_pass(&error) => {
                self.site.unanswered.fetch_add(1, Ordering::SeqCst);
                self.site.rest();
            }
            Err(error) => panic!("{} is refused: {error}", self.identity.name),
        }
    }

    fn take(&mut self, answer: &SyncAnswer) {
        assert!(answer.notices.is_empty(), "{:?}", answer.notices);
        self.desk.outbox().acknowledge(answer.acknowledged).expect("the outbox");
        if answer.want_state {
            self.desk.forget_state();
        }
        if let Some(doc) = &answer.ca {
            let ca = verify_channel_ca(doc, &self.keys, self.ca.number).expect("a signed CA");
            self.ca = ca.into_inner();
            self.files.save_ca(&self.ca).expect("the CA");
        }
        let mut orders: Vec<_> = answer.orders.iter().map(|doc| self.verify(doc)).collect();
        orders.sort_by_key(|order| order.place);
        for order in &orders {
            self.take_order(order);
        }
        while self.carry_one_out() {}
    }

    fn verify(&self, doc: &SignedDoc) -> Verified<AgentOrder> {
        verify_order_of(doc, &self.keys, self.identity.agent).expect("a genuine order")
    }

    fn take_order(&self, order: &Verified<AgentOrder>) {
        let now = self.now();
        let mut reception = Reception::Known;
        let changed = self.desk.change(|ledger| {
            reception = ledger.receive(order, now);
            match &reception {
                Reception::Taken(next) => next.clone(),
                Reception::Known | Reception::Stale(_) => ledger.clone(),
            }
        });
        changed.expect("the ledger is kept");
        match reception {
            Reception::Taken(_) => {
                self.desk.tell_progress(order, OrderStage::Accepted, None, now);
            }
            Reception::Known => {
                self.site.again.fetch_add(1, Ordering::SeqCst);
                if let Some(taken) = self.desk.ledger().find(order.id) {
                    self.desk.say_again(taken, now).expect("an answer");
                }
            }
            Reception::Stale(ending) => panic!("{} is stale: {ending:?}", order.id),
        }
    }

    /// Carries one order out, as an agent would that has just started and knows its files alone.
    fn carry_one_out(&mut self) -> bool {
        let opened =
            Desk::open(&self.agent.home, &self.identity, self.session, self.agent.now().wall);
        self.desk = opened.expect("the files read back");
        let Some(taken) = self.desk.ledger().open_orders().next().cloned() else { return false };
        let (order, now) = (taken.order.clone(), self.now());
        let next = OrderLedger::plan_next(&taken, now);
        assert_eq!(next, Some(Next::Begin(None)), "{taken:?}");
        self.desk.change(|ledger| ledger.begun(order.id, now)).expect("the ledger is kept");
        self.desk.tell_progress(&order, OrderStage::Running, None, now);
        let release = self.act(&order);
        self.desk.tell_state(self.state(), now).expect("a state");
        let ending = Ending::done(release, now);
        self.desk.end(order.id, &ending, now).expect("the ledger is kept");
        self.site.executed.fetch_add(1, Ordering::SeqCst);
        true
    }

    fn act(&mut self, order: &AgentOrder) -> Option<ReleaseId> {
        let line = format!("{} {} {}\n", order.id, order.place.epoch, order.place.sequence);
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

fn try_enrol(agent: &mut Agent, token: &EnrolToken, number: usize) -> Result<Identity, Failure> {
    let name = format!("host-{number}").parse().expect("a name");
    let found = enrolment::find(agent, token)?;
    let begun = enrolment::prepare_key(agent, secret_digest(&token.secret), Which::Same)?;
    enrolment::enrol(agent, token, &found, &name, &begun)
}

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}
