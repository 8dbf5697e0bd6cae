//! Check-ins on PostgreSQL, in a throw-away cluster with its fsync on.

use std::fs;
use std::time::Duration;

use anyhow::Context;
use handover_testkit::Postgres;

use super::check_ins::{middle, rate};
use super::peer::Load;
use super::{Ground, Premises, median, thousands};
use crate::load::{CheckIns, Outcome, Task};
use crate::table::{Row, times, us};

/// Check-ins on PostgreSQL, beside SQLite with as many connections in the same minutes.
pub(super) fn measure(ground: &Ground, large: &Premises) -> anyhow::Result<Row> {
    let what = "persisted check-ins over TLS, PostgreSQL: a second, processor time of the server \
                and of PostgreSQL for each";
    let Some(cluster) = Postgres::start(&[]) else {
        let found = "not measured: PostgreSQL is not installed".to_owned();
        return Ok(Row { what, found, aim: "", is_met: None, beside: String::new() });
    };
    let premises = Premises::new(ground, Some(cluster.fresh_database()))?;
    premises.populate(ground.sizes.postgres)?;
    let pid = fs::read_to_string(cluster.directory().join("data/postmaster.pid"))?;
    let postmaster = pid.lines().next().context("no pid")?.trim().parse()?;
    let (plane, peer) = (premises.start()?, large.start()?);
    let task = |agents: u32, share: f64| {
        Task::CheckIns(CheckIns {
            agents,
            connections: ground.sizes.connections.min(agents),
            rate: None,
            warm_up: Duration::from_secs(2).mul_f64(share),
            lasting: ground.sizes.lasting.mul_f64(share),
            is_to_break: false,
        })
    };
    let (mut server, mut database, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ground.sizes.rounds.min(3) {
        let share = 0.5;
        let agents = ground.sizes.postgres;
        server.push(Load::run(plane.target(), &[plane.pid()], task(agents, share))?);
        database.push(Load::run(plane.target(), &[postmaster], task(agents, share))?);
        theirs.push(Load::run(peer.target(), &[peer.pid()], task(agents, share))?);
    }
    let (both, theirs) = (middle(&server), middle(&theirs));
    let all: Vec<&Outcome> = server.iter().chain(&database).collect();
    let rate = median(all.into_iter().map(rate).collect());
    Ok(Row {
        what,
        found: format!(
            "{}, {} and {}, by {} agents",
            thousands(rate),
            us(both.1),
            us(middle(&database).1),
            thousands(ground.sizes.postgres.into())
        ),
        aim: "",
        is_met: None,
        beside: format!(
            "SQLite in the same minutes: {} and {}; the server alone takes {} the processor time",
            thousands(theirs.0),
            us(theirs.1),
            times(both.1.as_secs_f64(), theirs.1.as_secs_f64())
        ),
    })
}
