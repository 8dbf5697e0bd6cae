//! Aim 13: how many hosts a bad release meets before the gate halts it, and how often the gate
//! halts a good one. The gate and the ramp are production's; the fleet is simulated, from a seed.

mod campaign;
mod dice;
mod driven;
mod fleet;
mod play;

use campaign::{Campaign, Found};
use driven::Premises;
use fleet::{Fleet, HEALTHY, World};
use play::Rule;

use crate::table::{Row, times};

/// Every draw comes from it.
const SEED: u64 = 2_026_013;

/// The percentage gate beside ours halts a wave of which more than 5 % failed or fell silent.
const PEER: Rule = Rule::Percentage(5);

/// Healthy, but each outage silences touched hosts and none of those that they are compared with:
/// the worst case for false halts.
const UNLUCKY: World = World { do_outages_spare_the_unexposed: true, ..HEALTHY };

/// Measures all; `scale` divides how many rollouts are played.
pub(crate) fn measure(scale: u32) -> anyhow::Result<Vec<Row>> {
    let fleet = Fleet::new(100_000, 2_000);
    let limits_of = Limits::new();
    let campaign = |fleet, world, rule, rollouts: u32| Campaign {
        seed: SEED,
        fleet,
        world,
        rule,
        rollouts: (rollouts / scale).max(100),
    };
    let mut rows = false_halts(&fleet, &campaign);
    rows.extend(exposures(&fleet, &campaign));
    rows.push(small_platform(&fleet, &campaign));
    rows.extend(why(&fleet, &campaign));
    rows.extend(limits(&limits_of, &campaign));
    rows.extend(by_controller(&fleet, scale)?);
    Ok(rows)
}

/// Makes a campaign of so many rollouts.
trait Make<'a>: Fn(&'a Fleet, World, Rule, u32) -> Campaign<'a> {}

impl<'a, F: Fn(&'a Fleet, World, Rule, u32) -> Campaign<'a>> Make<'a> for F {}

fn false_halts<'a>(fleet: &'a Fleet, make: &impl Make<'a>) -> Vec<Row> {
    let cases = [
        ("healthy rollouts that halt; steps of the ramp, median and p95", HEALTHY),
        ("the same, where outages silence only touched hosts", UNLUCKY),
    ];
    let row = |(what, world)| {
        let ours = make(fleet, world, Rule::Gate, 10_000).run();
        let peer = make(fleet, world, PEER, 2_000).run();
        Row {
            what,
            found: format!("{}; {} and {} steps", share(&ours), ours.steps(50), ours.steps(95)),
            aim: "≤ 4 in 10,000",
            is_met: Some(u64::from(ours.halted) * 10_000 <= 4 * u64::from(ours.rollouts)),
            beside: format!("percentage gate: {}; 3 waves", share(&peer)),
        }
    };
    cases.into_iter().map(row).collect()
}

fn exposures<'a>(fleet: &'a Fleet, make: &impl Make<'a>) -> Vec<Row> {
    let failing = |ppm| World { failing: ppm, ..HEALTHY };
    let silenced = |ppm| World { silenced: ppm, ..HEALTHY };
    let cases = [
        ("hosts exposed, 10 % fail", failing(100_000), "≤ 60 and 100", Some((60, 100))),
        ("hosts exposed, 2 % fail", failing(20_000), "≤ 300 and 800", Some((300, 800))),
        (
            "hosts exposed, 10 % more fall silent",
            silenced(100_000),
            "≤ 100 and 220",
            Some((100, 220)),
        ),
        (
            "the same, where outages silence only touched hosts",
            World { silenced: 100_000, ..UNLUCKY },
            "≤ 100 and 220",
            Some((100, 220)),
        ),
        ("hosts exposed, 2 % more fall silent", silenced(20_000), "", None),
    ];
    let row = |(what, world, aim, limits): (_, _, _, Option<(u32, u32)>)| {
        let ours = make(fleet, world, Rule::Gate, 10_000).run();
        let peer = make(fleet, world, PEER, 200).run();
        let is_met = limits.map(|(p50, p95)| ours.exposed(50) <= p50 && ours.exposed(95) <= p95);
        let ratio = times(f64::from(peer.exposed(50)), f64::from(ours.exposed(50)));
        Row {
            what,
            found: exposed(&ours),
            aim,
            is_met,
            beside: format!("percentage gate: {}; {ratio} as many", exposed(&peer)),
        }
    };
    cases.into_iter().map(row).collect()
}

fn small_platform<'a>(fleet: &'a Fleet, make: &impl Make<'a>) -> Row {
    let world = World { is_last_stratum_doomed: true, ..HEALTHY };
    let ours = make(fleet, world, Rule::Gate, 2_000).run();
    let pooled = make(fleet, world, Rule::Pooled, 2_000).run();
    let peer = make(fleet, world, PEER, 200).run();
    let last = |found: &Found| {
        format!(
            "{} and {} of its 100 hosts; halted: {}",
            found.last(50),
            found.last(95),
            share(found)
        )
    };
    Row {
        what: "a platform of 0.1 % of the hosts always fails: its hosts exposed, median and p95",
        found: last(&ours),
        aim: "",
        is_met: None,
        beside: format!("one pooled test: {}. Percentage gate: {}", last(&pooled), last(&peer)),
    }
}

/// What each part of the gate is good for: the same healthy rollouts without it.
fn why<'a>(fleet: &'a Fleet, make: &impl Make<'a>) -> Vec<Row> {
    let cases = [
        ("healthy, where silence is a failure like others", HEALTHY, Rule::SilenceIsFailure, 1_000),
        (
            "healthy, where every silent host of a site counts",
            UNLUCKY,
            Rule::EverySilentHost,
            2_000,
        ),
        (
            "healthy, where a site counts once in the whole rollout",
            UNLUCKY,
            Rule::OncePerRollout,
            2_000,
        ),
    ];
    let row = |(what, world, rule, rollouts)| {
        let without = make(fleet, world, rule, rollouts).run();
        let ours = make(fleet, world, Rule::Gate, rollouts).run();
        Row {
            what,
            found: share(&without),
            aim: "",
            is_met: None,
            beside: format!("the gate as it is: {}", share(&ours)),
        }
    };
    cases.into_iter().map(row).collect()
}

/// Where arithmetic ends what a gate can do.
fn limits<'a>(fleets: &'a Limits, make: &impl Make<'a>) -> Vec<Row> {
    let silenced = World { silenced: 100_000, ..HEALTHY };
    let few = |what, fleet: &'a Fleet| {
        let bad = make(fleet, silenced, Rule::Gate, 2_000).run();
        let good = make(fleet, HEALTHY, Rule::Gate, 2_000).run();
        let unlucky = make(fleet, UNLUCKY, Rule::Gate, 2_000).run();
        let beside = format!(
            "healthy: {}; where outages silence only touched hosts: {}",
            share(&good),
            share(&unlucky)
        );
        Row { what, found: exposed(&bad), aim: "", is_met: None, beside }
    };
    let small = |what, fleet: &'a Fleet| {
        let failing = World { failing: 20_000, ..HEALTHY };
        let bad = make(fleet, failing, Rule::Gate, 10_000).run();
        let peer = make(fleet, failing, PEER, 10_000).run();
        let beside = format!("percentage gate: {}", share(&peer));
        Row { what, found: share(&bad), aim: "", is_met: None, beside }
    };
    vec![
        few("hosts exposed, 10 % more fall silent, 20 sites of 5,000", &fleets.at_20),
        few("hosts exposed, 10 % more fall silent, 5 sites of 20,000", &fleets.at_5),
        small("rollouts that halt: 200 hosts, 2 % fail", &fleets.of_200),
        small("rollouts that halt: 1,000 hosts, 2 % fail", &fleets.of_1000),
    ]
}

/// Fleets at the limits.
struct Limits {
    at_20: Fleet,
    at_5: Fleet,
    of_200: Fleet,
    of_1000: Fleet,
}

impl Limits {
    fn new() -> Self {
        Self {
            at_20: Fleet::at_sites(100_000, 20),
            at_5: Fleet::at_sites(100_000, 5),
            of_200: Fleet::new(200, 20),
            of_1000: Fleet::new(1_000, 20),
        }
    }
}

/// The production controller itself, with its waves, deadlines and plain thresholds.
fn by_controller(fleet: &Fleet, scale: u32) -> anyhow::Result<Vec<Row>> {
    let (small, large) = (Premises::draw(&Fleet::new(1_000, 20))?, Premises::draw(fleet)?);
    let many = |rollouts: u32| (rollouts / scale).max(20);
    let (healthy, _) = small.play(&HEALTHY, many(10_000));
    let mut rows = vec![Row {
        what: "production controller, 1,000 hosts: healthy rollouts that halt; steps in all waves",
        found: format!(
            "{}; {} and {} steps",
            share(&healthy),
            healthy.steps(50),
            healthy.steps(95)
        ),
        aim: "≤ 4 in 10,000",
        is_met: Some(u64::from(healthy.halted) * 10_000 <= 4 * u64::from(healthy.rollouts)),
        beside: String::new(),
    }];
    let cases = [
        (
            "production controller: hosts exposed, 10 % fail",
            World { failing: 100_000, ..HEALTHY },
            "≤ 60 and 100",
            (60, 100),
        ),
        (
            "production controller: hosts exposed, 2 % fail",
            World { failing: 20_000, ..HEALTHY },
            "≤ 300 and 800",
            (300, 800),
        ),
        (
            "production controller: hosts exposed, 10 % more fall silent",
            World { silenced: 100_000, ..HEALTHY },
            "≤ 100 and 220",
            (100, 220),
        ),
    ];
    for (what, world, aim, (p50, p95)) in cases {
        let (found, by_threshold) = large.play(&world, many(1_000));
        rows.push(Row {
            what,
            found: exposed(&found),
            aim,
            is_met: Some(found.exposed(50) <= p50 && found.exposed(95) <= p95),
            beside: format!(
                "of {} halts {by_threshold} by a plain threshold, of a share of 20 %",
                found.halted
            ),
        });
    }
    Ok(rows)
}

fn exposed(found: &Found) -> String {
    let halted = if found.halted == found.rollouts {
        String::new()
    } else {
        format!("; halted: {}", share(found))
    };
    format!("{} and {}{halted}", found.exposed(50), found.exposed(95))
}

/// How many halted of how many.
fn share(found: &Found) -> String {
    let percent = 100.0 * f64::from(found.halted) / f64::from(found.rollouts);
    format!("{} of {} ({percent:.3} %)", found.halted, found.rollouts)
}
