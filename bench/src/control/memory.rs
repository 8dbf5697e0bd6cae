//! What agents and their long polls cost in memory.

use std::time::Duration;

use super::peer::Load;
use super::{Ground, Peer, Plane, Premises, thousands};
use crate::load::polls::Said;
use crate::load::{CheckIns, Task};
use crate::table::{Row, times};

/// Connections of the warm-up: few, so that their own memory does not count.
const CONNECTIONS: u32 = 64;

/// Memory of an agent, and of a long poll.
pub(super) fn measure(
    ground: &Ground,
    few: &Premises,
    large: &Premises,
) -> anyhow::Result<Vec<Row>> {
    let small = few.start()?;
    let without = warmed(ground, &small, ground.sizes.few)?;
    small.stop();
    let plane = large.start()?;
    let with = warmed(ground, &plane, ground.sizes.fleet)?;
    let agents = f64::from(ground.sizes.fleet - ground.sizes.few);
    let each =
        (f64::from(u32::try_from(with)?) - f64::from(u32::try_from(without)?)) * 1024.0 / agents;
    Ok(vec![
        Row {
            what: "memory of an agent beyond open connections",
            found: format!(
                "{} bytes: {with} kB resident with {} agents, {without} kB with {}",
                thousands(each),
                thousands(ground.sizes.fleet.into()),
                thousands(ground.sizes.few.into()),
            ),
            aim: "≤ 1,000 bytes",
            is_met: Some(each <= 1_000.0),
            beside: format!("1,000,000 agents, computed from it: {} MB", thousands(each)),
        },
        polls(ground, &plane)?,
    ])
}

/// Resident memory after check-ins of all agents.
fn warmed(ground: &Ground, plane: &Plane, agents: u32) -> anyhow::Result<u64> {
    // The same number at the same rate for both fleets: each agent of the small one stays below
    // what one agent may ask, and each of the large one comes.
    let rate = ground.sizes.few * 8;
    let lasting = Duration::from_secs(u64::from(ground.sizes.fleet / rate) + 1);
    let task = Task::CheckIns(CheckIns {
        agents,
        connections: CONNECTIONS.min(agents),
        rate: Some(rate),
        warm_up: Duration::ZERO,
        lasting,
        is_to_break: false,
    });
    let _counted = Load::run(plane.target(), &[], task)?;
    plane.resident()
}

/// A long poll on a connection of its own, beside an idle connection of the bare server.
fn polls(ground: &Ground, plane: &Plane) -> anyhow::Result<Row> {
    let agents = ground.sizes.polls;
    let hold = |target, asks| {
        let mut load = Load::start(target, &[], Task::Polls { agents, asks })?;
        let _holding: Said = load.hear()?;
        anyhow::Ok(load)
    };
    let peer = Peer::start("{\"at\":\"2030-01-01T00:00:00Z\"}")?;
    let before = (plane.resident()?, crate::process::resident(peer.pid())?);
    let load = hold(plane.target(), true)?;
    let ours = each(before.0, plane.resident()?, agents)?;
    load.finish()?;
    let load = hold(peer.target(), false)?;
    let theirs = each(before.1, crate::process::resident(peer.pid())?, agents)?;
    load.finish()?;
    Ok(Row {
        what: "memory of a long poll with its TLS connection",
        found: format!("{ours:.1} kB, {} held at once", thousands(agents.into())),
        aim: "",
        is_met: None,
        beside: format!(
            "an idle connection of the bare TLS server: {theirs:.1} kB; {}",
            times(ours, theirs)
        ),
    })
}

fn each(before: u64, after: u64, count: u32) -> anyhow::Result<f64> {
    Ok(f64::from(u32::try_from(after.saturating_sub(before))?) / f64::from(count.max(1)))
}
