//! What is played, drawn from the seed.

use std::time::Duration;

use handover_model::Version;
use serde_json::{Value, json};

use crate::dice::{Dice, Purpose};

/// How a release behaves on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conduct {
    /// Well.
    #[default]
    Good,
    /// It ends at once, each time.
    Crashes,
    /// It never gets ready.
    Hangs,
    /// It is well, and takes the host off the net from its start, for so long.
    Mute {
        /// How long.
        length: Duration,
    },
    /// It is well while it is on trial, and for so long; then it crashes without end.
    Decays {
        /// After what time.
        after: Duration,
    },
}

/// What the network does, in a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// Messages that are lost.
    pub loss: u64,
    /// Messages that arrive twice.
    pub repeats: u64,
    /// Messages that arrive very late.
    pub stalls: u64,
}

/// What the fleet is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Each host is ordered for itself.
    Single,
    /// A rollout of this specification.
    Rollout(Value),
}

/// What the new release does to the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// Well on every host.
    Good,
    /// It fails on this many hosts in a hundred.
    Bad(u64),
    /// It fails on every host.
    AlwaysBad,
    /// It takes this many hosts in a hundred off the net.
    Mute(u64),
    /// It decays on this many hosts in a hundred after their commit.
    Decays(u64),
}

/// One story.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// How many hosts.
    pub hosts: usize,
    /// At how many sites.
    pub sites: usize,
    /// What all of them run at first.
    pub from: Version,
    /// Where they are to come.
    pub to: Version,
    /// What is done.
    pub task: Task,
    /// What the release does.
    pub quality: Quality,
    /// What the network does until it heals.
    pub weather: Weather,
    /// How often an agent dies at a durable write, in a million.
    pub agent_deaths: u64,
    /// How often the server dies at a write, in a million, before it and after it.
    pub server_deaths: (u64, u64),
    /// How often a host loses its power, an agent is killed, a site is cut off, in the whole time.
    pub accidents: u64,
    /// How far hosts' clocks may be off, in seconds.
    pub skew: u64,
    /// When the weather clears and accidents end.
    pub heals_at: Duration,
    /// When the story ends at the latest.
    pub ends_at: Duration,
}

impl Scenario {
    /// The story of a seed.
    ///
    /// # Panics
    /// Never: the versions in it are versions.
    pub fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed, Purpose::Scenario);
        let counts = [4_u64, 8, 12, 20, 30, 45, 60];
        let hosts = usize::try_from(*dice.pick(&counts)).unwrap_or(4);
        let sites = usize::try_from(dice.between(1, 6)).unwrap_or(1);
        let quality = match dice.between(0, 9) {
            0..=3 => Quality::Good,
            4 => Quality::Bad(dice.between(5, 30)),
            5 => Quality::Bad(dice.between(30, 80)),
            6 => Quality::AlwaysBad,
            7 => Quality::Mute(dice.between(10, 60)),
            _ => Quality::Decays(dice.between(10, 100)),
        };
        let weather = match dice.between(0, 3) {
            0 => Weather::default(),
            1 => Weather { loss: 10_000, repeats: 10_000, stalls: 10_000 },
            2 => Weather { loss: 100_000, repeats: 50_000, stalls: 50_000 },
            _ => Weather { loss: 250_000, repeats: 100_000, stalls: 100_000 },
        };
        let calm = dice.chance(250_000);
        let from = if dice.chance(500_000) { "1.0.0" } else { "1.1.0" };
        let to = *dice.pick(&["1.2.0", "1.3.0", "2.0.0"]);
        let task =
            if dice.chance(250_000) { Task::Single } else { Task::Rollout(rollout(&mut dice, to)) };
        let deaths = |dice: &mut Dice, most: u64| if calm { 0 } else { dice.between(0, most) };
        Self {
            hosts,
            sites,
            from: from.parse().expect("a version"),
            to: to.parse().expect("a version"),
            task,
            quality,
            weather: if calm { Weather::default() } else { weather },
            agent_deaths: deaths(&mut dice, 20_000),
            server_deaths: (deaths(&mut dice, 3_000), deaths(&mut dice, 3_000)),
            accidents: deaths(&mut dice, 30),
            skew: *dice.pick(&[0, 5, 300, 7_000]),
            heals_at: Duration::from_mins(dice.between(20, 120)),
            ends_at: Duration::from_hours(24),
        }
    }
}

fn rollout(dice: &mut Dice, to: &str) -> Value {
    let strategy = match dice.between(0, 3) {
        0 => json!({ "kind": "immediate" }),
        1 => json!({ "kind": "staged", "percent": [10.0, 50.0, 100.0] }),
        2 => json!({ "kind": "staged", "percent": [5.0, 25.0, 100.0], "approval": "between" }),
        _ => json!({ "kind": "staged" }),
    };
    let on_halt = *dice.pick(&["stop", "revert_wave", "revert_rollout"]);
    let on_decay = *dice.pick(&["alert", "stop", "take_back"]);
    let limits = match dice.between(0, 2) {
        0 => json!([]),
        1 => json!([{ "at_most": dice.between(2, 6) }]),
        _ => json!([{ "at_most": 1, "per": "site" }]),
    };
    json!({
        "name": "spring",
        "component": "web",
        "to": to,
        "select": "name = host-*",
        "all": true,
        "strategy": strategy,
        "gate": {
            "first": dice.between(2, 10),
            "soak": *dice.pick(&["0s", "1m", "10m"]),
            "baseline": 0.1,
        },
        "limits": limits,
        "deadline": *dice.pick(&["10m", "30m"]),
        "on_halt": on_halt,
        "after": { "watch": "1h", "on_decay": on_decay },
    })
}
