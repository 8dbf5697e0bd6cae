//! Agents that ask for orders, carry out what comes, and report on it as a real one does: that it
//! has the order and begins, then its new state with the proof, and the order's end.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use handover_model::wire::{
    AgentOrder, LONGEST_WAIT, OrderReport, OrderStage, Place, Report, ReportBody, SignedDoc,
    SyncAnswer,
};
use handover_model::{Digest, Millis, ReleaseId};
use handover_trust::control::{sign, state_digest};
use handover_trust::keys::SigningKey;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio::task::LocalSet;

use super::connection::Connection;
use super::{Connector, Outcome, say};
use crate::fleet::{self, CheckIn, Virtual};
use crate::real_world::wall;

/// The agents of a rollout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fleet {
    /// How many, with numbers from 0.
    pub(crate) agents: u32,
    /// Connections that carry them; as many as agents: each holds a long poll on its own.
    /// Otherwise each connection asks for its agents in turn, without pause.
    pub(crate) connections: u32,
    /// The release that every order leads to.
    pub(crate) release: ReleaseId,
}

/// What is said once every agent has asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asking;

/// What all agents share.
struct Common {
    key: SigningKey,
    before: Digest,
    after: Digest,
    release: ReleaseId,
    wait: Millis,
    asked: Cell<u32>,
    done: Cell<u32>,
    is_over: Cell<bool>,
}

/// One agent.
struct Agent {
    who: Virtual,
    next: CheckIn,
    stands: Stands,
    reports: u64,
    has_asked: bool,
}

/// How far an agent is.
#[derive(Debug, Clone, Copy)]
enum Stands {
    Idle,
    /// The order is said to run.
    Runs(Order),
    /// Its end is said, too.
    Ended(Order),
}

/// What of an order matters here.
#[derive(Debug, Clone, Copy)]
struct Order {
    id: handover_model::OrderId,
    place: Place,
}

/// Plays the fleet; `done` counts the orders that were carried out.
pub(super) async fn run(connector: Connector, job: Fleet) -> anyhow::Result<Outcome> {
    let is_held = job.connections == job.agents;
    let common = Rc::new(Common {
        key: fleet::key()?,
        before: state_digest(&fleet::state()?)?,
        after: state_digest(&fleet::state_at(&job.release)?)?,
        release: job.release.clone(),
        wait: Millis(if is_held { LONGEST_WAIT } else { 0 }),
        asked: Cell::new(0),
        done: Cell::new(0),
        is_over: Cell::new(false),
    });
    let mut shares = vec![Vec::new(); usize::try_from(job.connections)?];
    let last = shares.len().max(1);
    for (place, agent) in fleet::shuffled(job.agents).into_iter().enumerate() {
        shares[place % last].push(agent);
    }
    let local = LocalSet::new();
    let mut carriers = Vec::new();
    for share in shares {
        let connection = connector.connect().await?;
        let agents = share.iter().map(|number| Agent::new(*number, &common));
        let agents = agents.collect::<anyhow::Result<Vec<_>>>()?;
        carriers.push(local.spawn_local(carry(connection, agents, Rc::clone(&common))));
    }
    local.run_until(watch(&common, job.agents)).await?;
    for carrier in carriers {
        if is_held {
            // It may be asked for another minute.
            carrier.abort();
        } else {
            local.run_until(carrier).await.context("a connection's task died")??;
        }
    }
    Ok(Outcome { done: common.done.get(), ..Outcome::default() })
}

/// Says when everybody asks, and waits for the end of standard input.
async fn watch(common: &Common, agents: u32) -> anyhow::Result<()> {
    while common.asked.get() < agents {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if !common.wait.duration().is_zero() {
        // Time for the last requests to arrive.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    say(&Asking)?;
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await?;
    common.is_over.set(true);
    Ok(())
}

/// Lets the agents of one connection ask in turn.
async fn carry(
    mut connection: Connection,
    mut agents: Vec<Agent>,
    common: Rc<Common>,
) -> anyhow::Result<()> {
    loop {
        for agent in &mut agents {
            if common.is_over.get() {
                return Ok(());
            }
            agent.ask(&mut connection, &common).await?;
        }
    }
}

impl Agent {
    fn new(number: u32, common: &Common) -> anyhow::Result<Self> {
        // The first question is answered at once, so that all are known to have asked.
        let next = CheckIn::of(number, common.before, Millis(0))?;
        let who = Virtual::of(number);
        // The first report is the state that stands in the database.
        Ok(Self { who, next, stands: Stands::Idle, reports: 1, has_asked: false })
    }

    /// Asks once, and makes the next question of what is answered.
    async fn ask(&mut self, connection: &mut Connection, common: &Common) -> anyhow::Result<()> {
        let answer = connection.exchange(self.next.next()).await?;
        let body = connection.body(&answer);
        ensure!(answer.status == 200, "{}: {}", answer.status, String::from_utf8_lossy(body));
        let answer: SyncAnswer = serde_json::from_slice(body)?;
        if !self.has_asked {
            self.has_asked = true;
            common.asked.set(common.asked.get() + 1);
            if !common.wait.duration().is_zero() {
                self.say(Vec::new(), common)?;
            }
        }
        match self.stands {
            Stands::Idle => {
                let Some(order) = answer.orders.first() else { return Ok(()) };
                let order = Order::read(order)?;
                let stages = [OrderStage::Accepted, OrderStage::Running];
                let reports = stages.map(|stage| order.report(stage, None)).to_vec();
                self.stands = Stands::Runs(order);
                self.say(reports, common)
            }
            Stands::Runs(order) => {
                let state = Box::new(fleet::state_at(&common.release)?);
                let done = order.report(OrderStage::Done, Some(common.release.clone()));
                self.stands = Stands::Ended(order);
                self.say(vec![ReportBody::State(state), done], common)
            }
            Stands::Ended(order) => {
                let told = answer.acknowledged >= self.reports;
                ensure!(told, "{}: {} of {}", order.id, answer.acknowledged, self.reports);
                common.done.set(common.done.get() + 1);
                self.stands = Stands::Idle;
                self.say(Vec::new(), common)
            }
        }
    }

    /// Makes the next question: with these reports, or an idle one.
    fn say(&mut self, bodies: Vec<ReportBody>, common: &Common) -> anyhow::Result<()> {
        let wait = if bodies.is_empty() { common.wait } else { Millis(0) };
        let reports = bodies.into_iter().map(|body| self.report(body, &common.key));
        let reports = reports.collect::<anyhow::Result<Vec<_>>>()?;
        let (state, place) = match self.stands {
            Stands::Idle if self.reports == 1 => (common.before, None),
            Stands::Idle => (common.after, None),
            Stands::Runs(order) => (common.before, Some(order.place)),
            Stands::Ended(order) => (common.after, Some(order.place)),
        };
        let next = CheckIn::saying(&self.who, (state, place), reports, wait)?;
        self.next = next.after(&self.next);
        Ok(())
    }

    fn report(&mut self, body: ReportBody, key: &SigningKey) -> anyhow::Result<SignedDoc> {
        self.reports += 1;
        let report = Report {
            type_: Report::TYPE.to_owned(),
            agent: self.who.id,
            number: self.reports,
            session: self.who.session,
            at: wall(),
            body,
        };
        Ok(sign(&report, key)?)
    }
}

impl Order {
    fn read(doc: &SignedDoc) -> anyhow::Result<Self> {
        let order = doc.0.get("signed").cloned().context("a signed document")?;
        let AgentOrder { id, place, .. } = serde_json::from_value(order)?;
        Ok(Self { id, place })
    }

    fn report(self, stage: OrderStage, release: Option<ReleaseId>) -> ReportBody {
        ReportBody::Order(Box::new(OrderReport {
            order: self.id,
            place: self.place,
            stage,
            code: None,
            reason: None,
            release,
            progress: None,
        }))
    }
}
