//! Aim 14: what a healthy rollout through 10,000 agents costs the server.

use std::time::Duration;

use anyhow::{Context, ensure};
use camino::Utf8PathBuf;
use handover_model::api::{RolloutInfo, RolloutState};
use handover_model::{Digest, ReleaseId};
use serde_json::json;

use super::peer::Load;
use super::{Ground, Plane, Premises, thousands};
use crate::library;
use crate::load::Task;
use crate::load::rollouts::{Asking, Fleet};
use crate::real_world::{Stopwatch, wait_until, wall};
use crate::table::Row;

/// What is rolled out.
const COMPONENT: &str = "web";
/// The release that every agent comes to.
const TO: &str = "1.1.0";
/// How long a rollout may take.
const PATIENCE: Duration = Duration::from_mins(10);
/// How often the rollout is looked at: each look costs the server a handshake.
const GLANCE: Duration = Duration::from_millis(500);

/// What one rollout cost.
struct Cost {
    /// From the request that makes it to the answer that it is done.
    elapsed: Duration,
    /// Processor time of the server.
    cpu: Duration,
    /// The most memory beyond what it had before, in kB.
    memory: u64,
    /// Processor time of the server for as long without a rollout, with the same questions.
    idle: Duration,
}

/// With long polls, and with questions without pause.
pub(super) fn measure(ground: &Ground) -> anyhow::Result<Vec<Row>> {
    let members = ground.sizes.members;
    let held = roll_out(ground, members)?;
    let asking = roll_out(ground, ground.sizes.connections.min(members))?;
    Ok(vec![
        row("a rollout through 10,000 agents on long polls", members, &held),
        row("the same, agents asking without pause on 512 connections", members, &asking),
    ])
}

fn row(what: &'static str, members: u32, cost: &Cost) -> Row {
    let megabytes = cost.memory.div_ceil(1024);
    Row {
        what,
        found: format!(
            "{:.1} s, {:.1} s of the server's processor, {megabytes} MB, for {} agents",
            cost.elapsed.as_secs_f64(),
            cost.cpu.as_secs_f64(),
            thousands(members.into()),
        ),
        aim: "≤ 30 s of processor, ≤ 64 MB beyond open connections",
        is_met: Some(cost.cpu <= Duration::from_secs(30) && megabytes <= 64),
        beside: format!(
            "the same agents for as long without a rollout: {:.1} s of processor; hawkBit 0.9.0: \
             322 s, 646 s of processor, 1.1 GB",
            cost.idle.as_secs_f64()
        ),
    }
}

/// One rollout, on a server of its own.
fn roll_out(ground: &Ground, connections: u32) -> anyhow::Result<Cost> {
    let agents = ground.sizes.members;
    let directory = tempfile::Builder::new().prefix("handover-bench-").tempdir()?;
    let repository = Utf8PathBuf::try_from(directory.path().to_owned())?;
    library::lay_out(&repository, COMPONENT, &["1.0.0".to_owned(), TO.to_owned()], wall())?;
    let premises = Premises::serving(ground, None, Some(repository))?;
    premises.populate(agents)?;
    let plane = premises.start()?;
    let digest = Digest::of(&library::package(COMPONENT, TO));
    let release = ReleaseId { version: TO.parse()?, digest };
    let task = Task::Rollouts(Fleet { agents, connections, release });
    let mut load = Load::start(plane.target(), &[], task)?;
    let _asking: Asking = load.hear()?;

    let (before, cpu, watch) = (plane.resident()?, plane.cpu()?, Stopwatch::start());
    let spec = json!({
        "name": "bench", "component": COMPONENT, "to": TO, "select": "all", "all": true,
    });
    let (status, body) = plane.call("POST", "/api/v1/rollouts", "bench", &spec.to_string())?;
    ensure!(status == 201, "the rollout was answered with {status}: {body}");
    let (info, most) = follow(&plane)?;
    let (elapsed, cpu) = (watch.elapsed(), plane.cpu()?.saturating_sub(cpu));
    ensure!(info.counts.done == agents, "not everybody is done: {:?}", info.counts);

    let rested = plane.cpu()?;
    wait_until(elapsed, || false);
    let idle = plane.cpu()?.saturating_sub(rested);
    let outcome = load.finish()?;
    ensure!(outcome.done == agents, "{} orders were carried out", outcome.done);
    Ok(Cost { elapsed, cpu, memory: most.saturating_sub(before), idle })
}

/// Looks until it is done; with the most memory that was seen.
fn follow(plane: &Plane) -> anyhow::Result<(RolloutInfo, u64)> {
    let (watch, mut most) = (Stopwatch::start(), 0);
    loop {
        wait_until(GLANCE, || {
            most = most.max(plane.resident().unwrap_or(0));
            false
        });
        let (status, body) = plane.call("GET", "/api/v1/rollouts/bench", "", "")?;
        ensure!(status == 200, "the rollout was shown with {status}: {body}");
        let info: RolloutInfo = serde_json::from_str(&body).context("a rollout")?;
        match info.state {
            RolloutState::Done => return Ok((info, most)),
            RolloutState::Scheduled | RolloutState::Running => {}
            RolloutState::Paused
            | RolloutState::Halted
            | RolloutState::Reverting
            | RolloutState::Reverted
            | RolloutState::Aborted
            | RolloutState::Superseded => anyhow::bail!("it did not go through: {info:#?}"),
        }
        ensure!(watch.elapsed() < PATIENCE, "it stalls: {info:#?}");
    }
}
