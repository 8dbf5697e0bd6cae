//! The load generator: one job on standard input, what came of it on standard output, both JSON.
//! It runs on one thread, so that it takes no more of the machine than it must.

mod check_ins;
mod connection;
mod enrolments;
mod handshakes;
pub(crate) mod polls;
pub(crate) mod rollouts;

use std::io::{self, BufRead as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::process::cpu_of_tree;
use crate::real_world::Stopwatch;
pub(crate) use connection::Connector;

/// What to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Where.
    pub(crate) target: Target,
    /// Processes whose processor time is read where the measurement begins and ends, each with
    /// its children.
    pub(crate) watched: Vec<u32>,
    /// What.
    pub(crate) task: Task,
}

/// A server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Target {
    /// Its address; its certificate is for `localhost`.
    pub(crate) address: SocketAddr,
    /// The certificates that are trusted, PEM.
    pub(crate) roots: Vec<String>,
}

/// What to do at a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Check in without pause, or at a rate.
    CheckIns(CheckIns),
    /// Connect anew for each request.
    Handshakes {
        /// How often.
        count: u32,
        /// Resume the session before.
        is_resumed: bool,
    },
    /// Hold a long poll on a connection of its own for each of the first agents, until standard
    /// input ends; says who was answered, and when.
    Polls {
        /// How many.
        agents: u32,
        /// Ask for something, instead of connecting alone.
        asks: bool,
    },
    /// Ask for orders, carry out what comes and report on it, until standard input ends.
    Rollouts(rollouts::Fleet),
    /// Enrol hosts, each on a connection of its own.
    Enrolments {
        /// The requests' bodies.
        bodies: Vec<String>,
        /// How many at once.
        at_once: usize,
    },
}

/// Check-ins by many agents over few connections: each connection carries its share of the
/// agents, one after the other, as a kept connection of one agent carries one request at a time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CheckIns {
    /// Agents with numbers from 0.
    pub(crate) agents: u32,
    /// Connections.
    pub(crate) connections: u32,
    /// Check-ins a second of all together; absent: without pause.
    pub(crate) rate: Option<u32>,
    /// How long to go on before the measurement begins.
    pub(crate) warm_up: Duration,
    /// How long the measurement lasts.
    pub(crate) lasting: Duration,
    /// Whether the server dies meanwhile; connections that break are no error then.
    pub(crate) is_to_break: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Requests that were answered with 200, within the measurement.
    pub(crate) done: u32,
    /// How long the measurement lasted.
    pub(crate) elapsed: Duration,
    /// Processor time of what is watched, within it.
    pub(crate) cpu: Duration,
    /// How long an answer took, median.
    pub(crate) median: Duration,
    /// How long an answer took, 99th percentile.
    pub(crate) p99: Duration,
    /// Of each agent that was answered: its number and when it sent the last request that was
    /// acknowledged, in microseconds since 1970. Warming up counts.
    pub(crate) acknowledged: Vec<(u32, i64)>,
    /// The first answer's bytes, for the peer that answers the same.
    pub(crate) answer: String,
}

/// Reads the job and does it.
pub(crate) fn main() -> anyhow::Result<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let job: Job = serde_json::from_str(&line).context("the job makes no sense")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(run(job))?;
    say(&outcome)
}

async fn run(job: Job) -> anyhow::Result<Outcome> {
    let connector = Connector::new(&job.target)?;
    let meter = Meter { watched: job.watched };
    match job.task {
        Task::CheckIns(check_ins) => check_ins::run(connector, meter, check_ins).await,
        Task::Handshakes { count, is_resumed } => {
            handshakes::run(&connector, &meter, count, is_resumed).await
        }
        Task::Polls { agents, asks } => polls::run(connector, agents, asks).await,
        Task::Rollouts(fleet) => rollouts::run(connector, fleet).await,
        Task::Enrolments { bodies, at_once } => {
            enrolments::run(connector, &meter, bodies, at_once).await
        }
    }
}

/// Writes one line to whoever started this process.
fn say<T: Serialize>(value: &T) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Reads the processor time of what is watched.
struct Meter {
    watched: Vec<u32>,
}

/// A measurement that has begun.
struct Begun {
    watch: Stopwatch,
    cpu: Duration,
}

impl Meter {
    fn begin(&self) -> anyhow::Result<Begun> {
        Ok(Begun { cpu: self.cpu()?, watch: Stopwatch::start() })
    }

    /// Time on the clock and of the processor since then.
    fn end(&self, begun: &Begun) -> anyhow::Result<(Duration, Duration)> {
        let elapsed = begun.watch.elapsed();
        Ok((elapsed, self.cpu()?.saturating_sub(begun.cpu)))
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        self.watched.iter().map(|pid| cpu_of_tree(*pid)).sum()
    }
}

/// Median and 99th percentile of microseconds.
fn percentiles(mut micros: Vec<u32>) -> (Duration, Duration) {
    micros.sort_unstable();
    let at = |percent: usize| {
        let found = micros.get(micros.len() * percent / 100).copied().unwrap_or_default();
        Duration::from_micros(found.into())
    };
    (at(50), at(99))
}
