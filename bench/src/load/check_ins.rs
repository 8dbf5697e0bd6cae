//! Check-ins of many agents over few connections.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use handover_model::{Digest, Millis};
use handover_trust::control::state_digest;
use tokio::task::LocalSet;

use super::connection::Connection;
use super::{CheckIns, Connector, Meter, Outcome, percentiles};
use crate::fleet::{self, CheckIn};
use crate::real_world::{Stopwatch, wall};

/// In which part of the run all connections are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measured,
    Over,
}

/// One connection and the agents that it carries.
struct Carrier {
    connection: Connection,
    agents: Vec<(u32, CheckIn, i64)>,
    pace: Option<(Duration, Duration)>,
    phase: Rc<Cell<Phase>>,
    done: u32,
    micros: Vec<u32>,
    answer: String,
}

/// Checks in as the job says.
pub(super) async fn run(
    connector: Connector,
    meter: Meter,
    job: CheckIns,
) -> anyhow::Result<Outcome> {
    let phase = Rc::new(Cell::new(Phase::WarmUp));
    let state = state_digest(&fleet::state()?)?;
    let mut shares = vec![Vec::new(); usize::try_from(job.connections)?];
    let last = shares.len().max(1);
    for (place, agent) in fleet::shuffled(job.agents).into_iter().enumerate() {
        shares[place % last].push(agent);
    }
    let mut carriers = Vec::new();
    for (number, share) in (0..).zip(shares) {
        let connection = connector.connect().await?;
        carriers.push(Carrier::new(connection, (number, &share), &job, state, &phase)?);
    }
    let local = LocalSet::new();
    let tasks: Vec<_> =
        carriers.into_iter().map(|carrier| local.spawn_local(carrier.carry())).collect();
    let measured = local.run_until(async {
        tokio::time::sleep(job.warm_up).await;
        let begun = meter.begin()?;
        phase.set(Phase::Measured);
        tokio::time::sleep(job.lasting).await;
        phase.set(Phase::Over);
        meter.end(&begun)
    });
    let (elapsed, cpu) = measured.await?;
    let mut outcome = Outcome { elapsed, cpu, ..Outcome::default() };
    let mut micros = Vec::new();
    for task in tasks {
        let (carrier, ended) = local.run_until(task).await.context("a connection's task died")?;
        ensure!(job.is_to_break || ended.is_ok(), "a connection broke: {ended:?}");
        outcome.done += carrier.done;
        micros.extend(carrier.micros);
        let answered = carrier.agents.into_iter().filter(|(_, _, at)| *at > 0);
        outcome.acknowledged.extend(answered.map(|(number, _, at)| (number, at)));
        if outcome.answer.is_empty() {
            outcome.answer = carrier.answer;
        }
    }
    (outcome.median, outcome.p99) = percentiles(micros);
    Ok(outcome)
}

impl Carrier {
    fn new(
        connection: Connection,
        (number, share): (u32, &[u32]),
        job: &CheckIns,
        state: Digest,
        phase: &Rc<Cell<Phase>>,
    ) -> anyhow::Result<Self> {
        let mut agents = Vec::new();
        for agent in share {
            agents.push((*agent, CheckIn::of(*agent, state, Millis(0))?, 0));
        }
        // Each begins at a moment of its own, so that they come evenly.
        let pace = job.rate.map(|rate| {
            let each = Duration::from_secs(1) * job.connections / rate;
            (each * number / job.connections, each)
        });
        let phase = Rc::clone(phase);
        let (micros, answer) = (Vec::new(), String::new());
        Ok(Self { connection, agents, pace, phase, done: 0, micros, answer })
    }

    /// Until it is over, or the connection breaks.
    async fn carry(mut self) -> (Self, anyhow::Result<()>) {
        let ended = self.carry_all().await;
        (self, ended)
    }

    async fn carry_all(&mut self) -> anyhow::Result<()> {
        let mut ticks = self.pace.map(|(first, each)| {
            tokio::time::interval_at(tokio::time::Instant::now() + first, each)
        });
        let mut agents = std::mem::take(&mut self.agents);
        let ended = 'over: loop {
            for (_, check_in, at) in &mut agents {
                if let Some(ticks) = &mut ticks {
                    ticks.tick().await;
                }
                if self.phase.get() == Phase::Over {
                    break 'over Ok(());
                }
                match self.one(check_in).await {
                    Ok(sent) => *at = sent,
                    Err(error) => break 'over Err(error),
                }
            }
        };
        self.agents = agents;
        ended
    }

    /// One check-in; when it was sent.
    async fn one(&mut self, check_in: &mut CheckIn) -> anyhow::Result<i64> {
        let (watch, sent) = (Stopwatch::start(), wall().as_micros());
        let answer = self.connection.exchange(check_in.next()).await?;
        let body = self.connection.body(&answer);
        ensure!(answer.status == 200, "{}: {}", answer.status, String::from_utf8_lossy(body));
        if self.answer.is_empty() {
            self.answer = String::from_utf8_lossy(body).into_owned();
        }
        if self.phase.get() == Phase::Measured {
            self.done += 1;
            self.micros.push(u32::try_from(watch.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        Ok(sent)
    }
}
