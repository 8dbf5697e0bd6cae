//! The world: what happens when, and between whom.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use handover_model::wire::{ChannelCa, SyncRequest};
use handover_model::{ReleaseId, SessionId};
use handover_store::agents::{self, NewAgent};
use handover_trust::control::first_order_keys;

use crate::dice::{Dice, Purpose};
use crate::host::machine::News;
use crate::host::{Deed, Doom, Host, Wish, platform};
use crate::network::Network;
use crate::plane::{Answer, Plane};
use crate::scenario::{Conduct, Quality, Scenario};
use crate::shelf::{Shelf, beginning};
use crate::story::Story;
use crate::truth::{Broken, Truth};

/// How long an answer may take beyond what the request asked for, as the agent's channel has it.
const MARGIN: Duration = Duration::from_secs(20);
/// How often the server looks by itself.
const RHYTHM: Duration = Duration::from_secs(15);

/// What is due.
#[derive(Debug)]
enum Event {
    /// A host's programs.
    Wake(usize),
    /// A request arrives at the server.
    Arrive { host: usize, life: u64, exchange: u64, body: Arc<Vec<u8>> },
    /// An answer arrives at a host, or it gives up waiting.
    Return { host: usize, life: u64, exchange: u64, answer: Option<Arc<Answer>> },
    /// The server numbers and follows what was written.
    Sequence,
    /// The server looks at what time alone changes.
    Rhythm,
    /// The server is started again.
    ServerUp,
    /// The agent is started again.
    AgentUp(usize),
    /// The power of a host is back.
    PowerOn(usize),
    /// The network of a site is whole again.
    Mend(usize),
    /// Something fails, or nothing does.
    Accident,
    /// A person looks, and may act.
    Person,
    /// From now on nothing fails.
    Heal,
}

#[derive(Debug)]
struct Due {
    at: Duration,
    turn: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.turn) == (other.at, other.turn)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.turn).cmp(&(other.at, other.turn))
    }
}

/// The world.
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) at: Duration,
    queue: BinaryHeap<Reverse<Due>>,
    turns: u64,
    pub(crate) hosts: Vec<Host>,
    /// When each host is woken next.
    alarms: Vec<Option<Duration>>,
    pub(crate) plane: Plane,
    network: Network,
    pace: Dice,
    faults: Dice,
    pub(crate) person: Dice,
    pub(crate) story: Story,
    pub(crate) truth: Truth,
    pub(crate) is_healed: bool,
    is_sequencing: bool,
}

impl World {
    pub(crate) fn new(
        seed: u64,
        scenario: Scenario,
        shelf: &Arc<Shelf>,
        story: Story,
    ) -> anyhow::Result<Self> {
        let plane = Plane::start(seed, shelf)?;
        let (documents, certificates) = plane.trust()?;
        let first = documents.first().context("a server has order keys")?;
        let keys = first_order_keys(first)?.into_inner();
        let ca = ChannelCa { type_: ChannelCa::TYPE.to_owned(), number: 1, certificates };
        let from = shelf.offer(&scenario.from).context("the first release is offered")?.clone();
        let mut hosts = Vec::with_capacity(scenario.hosts);
        for number in 0..scenario.hosts {
            let mut dice = Dice::new(seed, Purpose::Conduct(number));
            let conduct = conduct(&scenario, &mut dice, shelf);
            let site = number % scenario.sites;
            let off = i64::try_from(dice.between(0, scenario.skew * 2_000_000))?;
            let skew = off - i64::try_from(scenario.skew * 1_000_000)?;
            let trust = (keys.clone(), ca.clone());
            let mut host = Host::new(seed, number, site, &from, conduct, skew, trust, shelf)?;
            host.doom = Doom { agent: scenario.agent_deaths };
            hosts.push(host);
        }
        let count = hosts.len();
        let network = Network::new(seed, scenario.weather);
        let mut world = Self {
            shelf: Arc::clone(shelf),
            at: Duration::ZERO,
            queue: BinaryHeap::new(),
            turns: 0,
            hosts,
            alarms: vec![None; count],
            plane,
            network,
            pace: Dice::new(seed, Purpose::Turns),
            faults: Dice::new(seed, Purpose::Faults),
            person: Dice::new(seed, Purpose::Person),
            story,
            truth: Truth::new(count),
            is_healed: false,
            is_sequencing: false,
            scenario,
        };
        world.enrol()?;
        world.begin();
        Ok(world)
    }

    /// Enrols every host, as its token would have.
    fn enrol(&mut self) -> anyhow::Result<()> {
        for host in &self.hosts {
            let key = host.key()?;
            let public = serde_json::to_value(key.public())?;
            let mut ids = handover_model::IdGen::new([9; 32]);
            let labels = [format!("site=site-{}", host.site)];
            let new = NewAgent {
                id: host.id,
                name: host.name.clone(),
                key_digest: handover_model::Digest::of(public.to_string().as_bytes()),
                public_key: public,
                secret: handover_model::wire::secret_digest(&host.secret),
                machine: host.machine_id(),
                session: SessionId::mint(&mut ids, beginning()),
                platform: platform(),
                agent_version: "0.1.0".parse()?,
                labels: handover_model::Labels::parse(labels.iter().map(String::as_str))?,
                ephemeral_after: None,
                token: None,
            };
            self.plane.write(move |tx| agents::insert(tx, &new, beginning()))?;
        }
        // A server that starts reads them all.
        self.plane.kill();
        self.plane.up()
    }

    fn begin(&mut self) {
        let (before, after) = self.scenario.server_deaths;
        self.plane.set_doom(before, after);
        for number in 0..self.hosts.len() {
            let at = Duration::from_millis(self.pace.between(0, 10_000));
            self.push(at, Event::AgentUp(number));
        }
        self.push(RHYTHM, Event::Rhythm);
        self.push(Duration::from_mins(1), Event::Person);
        self.push(Duration::from_secs(30), Event::Accident);
        self.push(self.scenario.heals_at, Event::Heal);
    }

    fn push(&mut self, at: Duration, event: Event) {
        self.turns += 1;
        self.queue.push(Reverse(Due { at: at.max(self.at), turn: self.turns, event }));
    }

    pub(crate) fn tell(&mut self, who: &dyn std::fmt::Display, what: std::fmt::Arguments<'_>) {
        self.story.tell(self.at, who, what);
    }

    /// Lets the next thing happen; `false` when the story is over.
    pub(crate) fn step(&mut self) -> anyhow::Result<bool> {
        let Some(Reverse(due)) = self.queue.pop() else { return Ok(false) };
        if due.at > self.scenario.ends_at {
            return Ok(false);
        }
        self.at = due.at;
        self.plane.clock().set(self.at);
        match due.event {
            Event::Wake(host) => {
                self.alarms[host] = None;
                self.hosts[host].wake(self.at)?;
                self.attend(host)?;
            }
            Event::Arrive { host, life, exchange, body } => {
                self.arrive(host, life, exchange, &body)?;
            }
            Event::Return { host, life, exchange, answer } => {
                // Who is off the net hears nothing; the wait ends all the same.
                let answer = answer.filter(|_| !self.is_mute(host));
                self.hosts[host].hear(life, exchange, answer.as_deref(), self.at)?;
                self.attend(host)?;
            }
            Event::Sequence => {
                self.is_sequencing = false;
                self.plane.sequence()?;
                self.plane.roll()?;
                self.turned()?;
            }
            Event::Rhythm => self.rhythm()?,
            Event::ServerUp => {
                if !self.plane.is_up() {
                    self.tell(&"server", format_args!("starts"));
                    self.plane.up()?;
                    self.watch_server();
                }
            }
            Event::AgentUp(host) => {
                self.hosts[host].start_agent(self.at)?;
                self.attend(host)?;
            }
            Event::PowerOn(host) => {
                let name = self.hosts[host].name.clone();
                self.tell(&name, format_args!("boots"));
                self.hosts[host].power_on(self.at)?;
                self.attend(host)?;
            }
            Event::Mend(site) => self.network.mend(site),
            Event::Accident => self.accident(),
            Event::Person => {
                self.push(self.at + Duration::from_mins(1), Event::Person);
                self.act()?;
            }
            Event::Heal => self.heal(),
        }
        Ok(true)
    }

    fn is_mute(&self, host: usize) -> bool {
        self.hosts[host].machine.mute_until.is_some_and(|until| until > self.at)
    }

    /// Looks after what a host wants and did.
    fn attend(&mut self, number: usize) -> anyhow::Result<()> {
        let wishes = std::mem::take(&mut self.hosts[number].wishes);
        for wish in wishes {
            match wish {
                Wish::Send { life, exchange, request } => {
                    self.send(number, life, exchange, &request)?;
                }
                Wish::Died(why) => {
                    let name = self.hosts[number].name.clone();
                    self.tell(&name, format_args!("the agent dies {why}"));
                    let after = Duration::from_millis(self.faults.between(500, 30_000));
                    self.push(self.at + after, Event::AgentUp(number));
                }
            }
        }
        self.note(number)?;
        let next = self.hosts[number].next_deadline();
        if let Some(at) = next
            && self.alarms[number].is_none_or(|alarm| alarm > at)
        {
            let at = at.max(self.at);
            self.alarms[number] = Some(at);
            self.push(at, Event::Wake(number));
        }
        Ok(())
    }

    /// Tells the truth what happened on a host.
    fn note(&mut self, number: usize) -> anyhow::Result<()> {
        let host = &mut self.hosts[number];
        let (news, deeds) =
            (std::mem::take(&mut host.machine.news), std::mem::take(&mut host.deeds));
        let name = host.name.clone();
        for one in news {
            match one {
                News::Trial(release, run) => {
                    let order = self.hosts[number].order_of(run);
                    self.tell(&name, format_args!("tries {release} for {order:?}"));
                    if let Some(order) = order {
                        self.truth.acted(number, order, &release)?;
                    }
                }
                News::Committed(release) => {
                    self.tell(&name, format_args!("commits {release}"));
                    self.truth.committed(number, &release);
                }
                News::Left(release, why) => {
                    self.tell(&name, format_args!("leaves {release}: {why}"));
                }
                News::TwoAtOnce(one, two) => {
                    return Err(Broken(format!("{name} runs {one} and {two} at once")).into());
                }
                News::Began(release) => self.tell(&name, format_args!("runs {release}")),
            }
        }
        for deed in deeds {
            match deed {
                Deed::Began(order) => self.tell(&name, format_args!("begins {order}")),
                Deed::Acted(order, release) => {
                    self.tell(&name, format_args!("goes back to {release} for {order}"));
                    self.truth.acted(number, order, &release)?;
                }
            }
        }
        Ok(())
    }

    fn send(
        &mut self,
        host: usize,
        life: u64,
        exchange: u64,
        request: &SyncRequest,
    ) -> anyhow::Result<()> {
        let patience = request.wait.duration() + MARGIN;
        self.push(self.at + patience, Event::Return { host, life, exchange, answer: None });
        if self.is_mute(host) {
            return Ok(());
        }
        let body = Arc::new(serde_json::to_vec(request)?);
        for delay in self.network.carry(self.hosts[host].site) {
            let body = Arc::clone(&body);
            self.push(self.at + delay, Event::Arrive { host, life, exchange, body });
        }
        Ok(())
    }

    fn arrive(
        &mut self,
        host: usize,
        life: u64,
        exchange: u64,
        body: &Arc<Vec<u8>>,
    ) -> anyhow::Result<()> {
        let secret = self.hosts[host].secret.clone();
        let before = Truth::before_exchange(&self.plane);
        let answer = self.plane.sync(&secret, body.to_vec());
        self.truth.after_exchange(&self.plane, before, &self.hosts)?;
        self.watch_server();
        self.sequence_soon();
        let Some(answer) = answer else { return Ok(()) };
        if answer.0 != 200 {
            let name = self.hosts[host].name.clone();
            let said = String::from_utf8_lossy(&answer.1).chars().take(200).collect::<String>();
            self.tell(&name, format_args!("is refused: {} {said}", answer.0));
        }
        let answer = Some(Arc::new(answer));
        for delay in self.network.carry(self.hosts[host].site) {
            let answer = answer.clone();
            self.push(self.at + delay, Event::Return { host, life, exchange, answer });
        }
        Ok(())
    }

    /// Starts a server again that died.
    pub(crate) fn watch_server(&mut self) {
        if self.plane.bury() {
            self.tell(&"server", format_args!("dies"));
            let after = Duration::from_millis(self.faults.between(500, 60_000));
            self.push(self.at + after, Event::ServerUp);
        }
    }

    /// Looks at what a turn of the server came to.
    pub(crate) fn turned(&mut self) -> anyhow::Result<()> {
        for told in self.truth.after_turn(&self.plane, self.at)? {
            self.tell(&"server", format_args!("{told}"));
        }
        self.watch_server();
        Ok(())
    }

    pub(crate) fn sequence_soon(&mut self) {
        if !self.is_sequencing {
            self.is_sequencing = true;
            let after = Duration::from_millis(self.pace.between(10, 400));
            self.push(self.at + after, Event::Sequence);
        }
    }

    fn rhythm(&mut self) -> anyhow::Result<()> {
        self.push(self.at + RHYTHM, Event::Rhythm);
        self.plane.sweep();
        self.plane.roll()?;
        self.turned()?;
        self.sequence_soon();
        self.truth.look(&self.plane, &self.hosts, &self.shelf)?;
        Ok(())
    }

    fn accident(&mut self) {
        if self.is_healed {
            return;
        }
        self.push(self.at + Duration::from_mins(1), Event::Accident);
        if !self.faults.chance(self.scenario.accidents * 10_000) {
            return;
        }
        let count = u64::try_from(self.hosts.len()).unwrap_or(1);
        let host = usize::try_from(self.faults.between(0, count.saturating_sub(1))).unwrap_or(0);
        let name = self.hosts[host].name.clone();
        let length = Duration::from_millis(self.faults.between(1_000, 900_000));
        match self.faults.between(0, 3) {
            0 => {
                self.tell(&name, format_args!("loses its power for {length:?}"));
                self.hosts[host].power_off();
                self.push(self.at + length, Event::PowerOn(host));
            }
            1 => {
                self.hosts[host].kill_agent("of a signal");
                // What it wished for is noticed at once.
                let wishes = std::mem::take(&mut self.hosts[host].wishes);
                if !wishes.is_empty() {
                    self.tell(&name, format_args!("the agent is killed"));
                    self.push(self.at + length / 30, Event::AgentUp(host));
                }
            }
            2 => {
                let site = self.hosts[host].site;
                self.tell(&"network", format_args!("site {site} is cut off for {length:?}"));
                self.network.cut(site);
                self.push(self.at + length, Event::Mend(site));
            }
            _ => {
                self.plane.kill();
                self.watch_server();
            }
        }
    }

    fn heal(&mut self) {
        self.tell(&"network", format_args!("heals; nothing fails from now on"));
        self.is_healed = true;
        self.network.heal();
        self.plane.set_doom(0, 0);
        for host in &mut self.hosts {
            host.doom = Doom::default();
        }
    }
}

fn conduct(scenario: &Scenario, dice: &mut Dice, shelf: &Shelf) -> BTreeMap<ReleaseId, Conduct> {
    let Some(offer) = shelf.offer(&scenario.to) else { return BTreeMap::new() };
    let fails = |dice: &mut Dice| {
        if dice.chance(500_000) { Conduct::Crashes } else { Conduct::Hangs }
    };
    let conduct = match scenario.quality {
        Quality::Bad(percent) if dice.chance(percent * 10_000) => fails(dice),
        Quality::AlwaysBad => fails(dice),
        Quality::Mute(percent) if dice.chance(percent * 10_000) => {
            Conduct::Mute { length: Duration::from_secs(dice.between(120, 6 * 3600)) }
        }
        Quality::Decays(percent) if dice.chance(percent * 10_000) => {
            Conduct::Decays { after: Duration::from_secs(dice.between(20, 1200)) }
        }
        Quality::Good | Quality::Bad(_) | Quality::Mute(_) | Quality::Decays(_) => Conduct::Good,
    };
    BTreeMap::from([(offer.id(), conduct)])
}
