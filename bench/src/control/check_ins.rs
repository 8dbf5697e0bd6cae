//! Aim 1, and the share of aim 2 that is processor time.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use handover_model::AgentId;
use handover_store::{AgentKey, agents};

use super::peer::Load;
use super::{Ground, Peer, Plane, Premises, median, thousands};
use crate::fleet::Virtual;
use crate::load::{CheckIns, Outcome, Target, Task};
use crate::table::{Row, ms, times, us};

/// The poll that aim 2 speaks of.
const POLL: u32 = 300;

/// Check-ins without pause, at the pace of a five-minute poll, and what a kill leaves of them.
pub(super) fn measure(ground: &Ground, large: &Premises) -> anyhow::Result<Vec<Row>> {
    let plane = large.start()?;
    let first = Load::run(plane.target(), &[plane.pid()], task(ground, None, 0.2))?;
    let peer = Peer::start(&first.answer)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ground.sizes.rounds {
        let task = || task(ground, None, 1.0);
        ours.push(Load::run(plane.target(), &[plane.pid()], task())?);
        theirs.push(Load::run(peer.target(), &[peer.pid()], task())?);
    }
    let mut rows = vec![at_most(ground, &ours, &theirs)];
    rows.extend(handshakes(ground, &plane, &peer)?);
    rows.extend(polled(ground, &plane, &peer)?);
    rows.insert(1, after_a_kill(ground, large, plane)?);
    Ok(rows)
}

/// Check-ins by the whole fleet.
fn task(ground: &Ground, rate: Option<u32>, share: f64) -> Task {
    Task::CheckIns(CheckIns {
        agents: ground.sizes.fleet,
        connections: ground.sizes.connections,
        rate,
        warm_up: Duration::from_secs(2).mul_f64(share),
        lasting: ground.sizes.lasting.mul_f64(share),
        is_to_break: false,
    })
}

/// Requests a second.
pub(super) fn rate(outcome: &Outcome) -> f64 {
    f64::from(outcome.done) / outcome.elapsed.as_secs_f64().max(1e-9)
}

/// Processor time of one request.
pub(super) fn each(outcome: &Outcome) -> Duration {
    outcome.cpu / outcome.done.max(1)
}

/// The median of rounds: requests a second, and processor time of each.
pub(super) fn middle(rounds: &[Outcome]) -> (f64, Duration) {
    let each = rounds.iter().map(|one| each(one).as_secs_f64()).collect();
    (median(rounds.iter().map(rate).collect()), Duration::from_secs_f64(median(each)))
}

fn at_most(ground: &Ground, ours: &[Outcome], theirs: &[Outcome]) -> Row {
    let ((rate, each), (peer_rate, peer_each)) = (middle(ours), middle(theirs));
    let latency = |of: fn(&Outcome) -> Duration| {
        ms(Duration::from_secs_f64(median(ours.iter().map(|one| of(one).as_secs_f64()).collect())))
    };
    Row {
        what: "persisted check-ins over TLS, SQLite: a second, server's processor time for each",
        found: format!(
            "{} and {} by {} agents on {} connections; answered in {} (median), {} (p99)",
            thousands(rate),
            us(each),
            thousands(ground.sizes.fleet.into()),
            ground.sizes.connections,
            latency(|one| one.median),
            latency(|one| one.p99),
        ),
        aim: "≥ 40,000, ≤ 25 µs",
        is_met: Some(rate >= 40_000.0 && each <= Duration::from_micros(25)),
        beside: format!(
            "bare TLS server, same bytes: {} and {}; ours take {} the processor time",
            thousands(peer_rate),
            us(peer_each),
            times(each.as_secs_f64(), peer_each.as_secs_f64())
        ),
    }
}

/// Handshakes, full and resumed.
fn handshakes(ground: &Ground, plane: &Plane, peer: &Peer) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (what, is_resumed) in [
        ("connect, full TLS handshake, one small request: server's processor time", false),
        ("the same with a resumed handshake", true),
    ] {
        let run = |target: Target, pid: u32| {
            let count = ground.sizes.handshakes;
            Load::run(target, &[pid], Task::Handshakes { count, is_resumed })
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ground.sizes.rounds.min(3) {
            ours.push(run(plane.target(), plane.pid())?);
            theirs.push(run(peer.target(), peer.pid())?);
        }
        let (each, peer_each) = (middle(&ours).1, middle(&theirs).1);
        rows.push(Row {
            what,
            found: us(each),
            aim: "",
            is_met: None,
            beside: format!(
                "bare TLS server: {}; {}",
                us(peer_each),
                times(each.as_secs_f64(), peer_each.as_secs_f64())
            ),
        });
    }
    Ok(rows)
}

/// The fleet at a poll of five minutes, and at the rate of a fleet ten times as large.
fn polled(ground: &Ground, plane: &Plane, peer: &Peer) -> anyhow::Result<Vec<Row>> {
    let rate = ground.sizes.fleet / POLL;
    let mut rows = Vec::new();
    for (what, rate, aim, limit) in [
        ("100,000 agents, one check-in each 5 minutes: share of one core", rate, "", None),
        (
            "1,000,000 agents, computed: 100,000 agents at ten times the rate",
            rate * 10,
            "≤ 25 % of one core beyond handshakes",
            Some(25.0),
        ),
    ] {
        let ours = Load::run(plane.target(), &[plane.pid()], task(ground, Some(rate), 1.5))?;
        let theirs = Load::run(peer.target(), &[peer.pid()], task(ground, Some(rate), 1.5))?;
        let share =
            |one: &Outcome| 100.0 * one.cpu.as_secs_f64() / one.elapsed.as_secs_f64().max(1e-9);
        rows.push(Row {
            what,
            found: format!(
                "{:.1} % at {} check-ins a second, {} each",
                share(&ours),
                thousands(self::rate(&ours)),
                us(each(&ours))
            ),
            aim,
            is_met: limit.map(|limit| share(&ours) <= limit),
            beside: format!(
                "bare TLS server: {:.1} %, {} each; {}",
                share(&theirs),
                us(each(&theirs)),
                times(share(&ours), share(&theirs))
            ),
        });
    }
    Ok(rows)
}

/// Kills the server amid check-ins, and looks into the database for every one that it answered.
fn after_a_kill(ground: &Ground, premises: &Premises, plane: Plane) -> anyhow::Result<Row> {
    let load = Load::start(
        plane.target(),
        // Whoever dies meanwhile has no figures.
        &[],
        Task::CheckIns(CheckIns {
            agents: ground.sizes.fleet,
            connections: ground.sizes.connections,
            rate: None,
            warm_up: Duration::from_secs(1),
            lasting: Duration::from_secs(4),
            is_to_break: true,
        }),
    )?;
    crate::real_world::wait_until(Duration::from_secs(3), || false);
    plane.kill()?;
    let outcome = load.finish()?;
    let seen = last_seen(premises)?;
    let mut missing = 0_u32;
    for (number, sent) in &outcome.acknowledged {
        let kept = seen.get(&Virtual::of(*number).id).context("an agent is gone")?;
        missing += u32::from(kept < sent);
    }
    Ok(Row {
        what: "answered check-ins that are missing after SIGKILL amid them",
        found: format!("{missing} of {} agents' last ones", outcome.acknowledged.len()),
        aim: "0",
        is_met: Some(missing == 0 && !outcome.acknowledged.is_empty()),
        beside: format!("{} were answered after the warm-up", thousands(outcome.done.into())),
    })
}

/// When each agent was heard last, by the database, in microseconds.
fn last_seen(premises: &Premises) -> anyhow::Result<HashMap<AgentId, i64>> {
    let store = premises.look()?;
    let (mut seen, mut after) = (HashMap::new(), AgentKey::from_i64(0));
    loop {
        let page = store.read_blocking(move |tx| agents::residents(tx, after, 10_000))?;
        let Some(last) = page.last() else { return Ok(seen) };
        after = last.key;
        seen.extend(page.iter().map(|one| (one.id, one.last_seen.as_micros())));
    }
}
