//! From a person's order to the agent that waits for it.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::peer::Load;
use super::{Ground, Premises};
use crate::fleet::Virtual;
use crate::load::polls::Said;
use crate::load::{CheckIns, Task};
use crate::real_world::wall;
use crate::table::{Row, Samples, ms, ratio};

/// Agents that hold long polls meanwhile.
const HELD: u32 = 500;

/// Orders, one after the other, each to another agent that holds a long poll.
pub(super) fn measure(ground: &Ground, few: &Premises) -> anyhow::Result<Row> {
    let plane = few.start()?;
    // What nobody can avoid twice: a request with one durable write behind it, with nobody else.
    let alone = Task::CheckIns(CheckIns {
        agents: 50.min(ground.sizes.few),
        connections: 1,
        rate: Some(50.min(ground.sizes.few)),
        warm_up: Duration::from_millis(200),
        lasting: Duration::from_secs(2),
        is_to_break: false,
    });
    let floor = Load::run(plane.target(), &[plane.pid()], alone)?;
    let held = HELD.min(ground.sizes.few);
    let mut load = Load::start(plane.target(), &[], Task::Polls { agents: held, asks: true })?;
    let holding: Said = load.hear()?;
    ensure!(matches!(holding, Said::Holding), "an order came before one was made: {holding:?}");
    let (mut answered, mut handed) = (Samples::default(), Samples::default());
    for number in 0..ground.sizes.orders.min(held) {
        let agent = Virtual::of(number);
        let path = format!("/api/v1/agents/{}/quarantine/clear", agent.id);
        let begun = wall();
        let key = format!("bench-{number}");
        let (status, body) = plane.call("POST", &path, &key, "{\"component\":\"web\"}")?;
        let done = wall();
        ensure!((200..300).contains(&status), "the order was answered with {status}: {body}");
        let Said::Handed { agent, at } = load.hear()? else { continue };
        ensure!(agent == number, "agent {agent} got the order of {number}");
        let took = u64::try_from(at - begun.as_micros()).context("the clock was turned back")?;
        handed.0.push(Duration::from_micros(took));
        answered.0.push(done.since(begun));
    }
    load.finish()?;
    Ok(Row {
        what: "an order, from the API call to the agent on its long poll: median, p99",
        found: format!("{} and {}", ms(handed.median()), ms(handed.at(99))),
        aim: "",
        is_met: None,
        beside: format!(
            "one check-in alone, one durable write: {} and {}; {}. The call itself (with its own \
             handshake) was answered after {}",
            ms(floor.median),
            ms(floor.p99),
            ratio(handed.median(), floor.median),
            ms(answered.median())
        ),
    })
}
