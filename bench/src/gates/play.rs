//! One rollout over a simulated fleet, by the production gate and ramp, or by a percentage.

use handover_engine::rollout::gate::{
    Baseline, Counts, Evidence, FIRST_STEP, HALT_AT, Site, Verdict, next_step,
};

use super::dice::Dice;
use super::fleet::{Fleet, Rest, World};

/// Hosts that silence is compared with, at most.
const CONTROLS: u32 = 10_000;

/// Earlier updates that a baseline is estimated from.
const EARLIER: u32 = 10_000;

/// Which gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Ours.
    Gate,
    /// Ours, where each silent host counts, whatever its site.
    EverySilentHost,
    /// Ours, where one host of a site counts in the whole rollout, not in each step.
    OncePerRollout,
    /// Only the explicit failures of all hosts together, without strata.
    Pooled,
    /// Ours, where a silent host is one that failed.
    SilenceIsFailure,
    /// Waves of 5, 25 and 100 %; halts when more than this share of a wave, in percent, failed or
    /// fell silent.
    Percentage(u32),
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Played {
    /// Whether it halted.
    pub(crate) has_halted: bool,
    /// Hosts that acknowledged an order.
    pub(crate) exposed: u32,
    /// Those of the last stratum.
    pub(crate) exposed_of_last: u32,
    /// Steps of the ramp.
    pub(crate) steps: u32,
}

/// Plays one.
pub(crate) fn play(fleet: &Fleet, world: &World, rule: Rule, dice: &mut Dice) -> Played {
    match rule {
        Rule::Percentage(percent) => by_percentage(fleet, world, percent, dice),
        Rule::Gate
        | Rule::EverySilentHost
        | Rule::OncePerRollout
        | Rule::Pooled
        | Rule::SilenceIsFailure => by_gate(fleet, world, rule, dice),
    }
}

fn by_gate(fleet: &Fleet, world: &World, rule: Rule, dice: &mut Dice) -> Played {
    let failures = dice.binomial(&fleet.table, EARLIER, super::fleet::HEALTHY.failing);
    let baseline = Baseline::of(Counts { failures, trials: EARLIER });
    let mut evidence = Evidence::new(baseline, fleet.strata.len());
    let mut rest = Rest::of(fleet);
    let mut played = Played { has_halted: false, exposed: 0, exposed_of_last: 0, steps: 0 };
    let mut size = FIRST_STEP;
    let mut period = 0;
    while rest.total() > 0 {
        let taken = if played.steps == 0 {
            rest.take_one_of_each()
        } else {
            rest.take(fleet, dice, size.min(rest.total()))
        };
        let step = Step::draw(fleet, world, &taken, dice);
        let controls = compare(fleet, world, &step, rest.total(), dice);
        played.count(&step);
        judge(&mut evidence, &step, rule, period);
        evidence.silence.compare(period, controls);
        let verdict = evidence.verdict();
        if halts(rule, &verdict) {
            return Played { has_halted: true, ..played };
        }
        size = next_step(size, &verdict);
        period += usize::from(rule != Rule::OncePerRollout);
    }
    played
}

/// Tells the evidence of a step.
fn judge(evidence: &mut Evidence, step: &Step, rule: Rule, period: usize) {
    for (stratum, ends) in (0..).zip(&step.strata) {
        evidence.expose(stratum, ends.exposed);
        let silent = if rule == Rule::SilenceIsFailure { ends.silent } else { 0 };
        for _ in 0..ends.failed + silent {
            evidence.fail(stratum);
        }
    }
    evidence.silence.expose(period, step.exposed());
    for site in &step.silent_at {
        let site = if rule == Rule::EverySilentHost { Site::Own } else { Site::Shared(*site) };
        evidence.silence.fall_silent(period, site);
    }
}

/// Whether a rule halts.
fn halts(rule: Rule, verdict: &Verdict) -> bool {
    match rule {
        Rule::Pooled => verdict.e_explicit >= HALT_AT,
        Rule::SilenceIsFailure => Verdict { e_silent: 0.0, ..*verdict }.halts(),
        Rule::Gate | Rule::EverySilentHost | Rule::OncePerRollout | Rule::Percentage(_) => {
            verdict.halts()
        }
    }
}

fn by_percentage(fleet: &Fleet, world: &World, percent: u32, dice: &mut Dice) -> Played {
    let mut rest = Rest::of(fleet);
    let mut played = Played { has_halted: false, exposed: 0, exposed_of_last: 0, steps: 0 };
    for wave in [5, 25, 100] {
        let end = u64::from(fleet.hosts) * wave / 100;
        let so_far = u64::from(fleet.hosts - rest.total());
        let size = u32::try_from(end - so_far).unwrap_or(u32::MAX);
        let taken = rest.take(fleet, dice, size);
        let step = Step::draw(fleet, world, &taken, dice);
        played.count(&step);
        let failed: u32 = step.strata.iter().map(|here| here.failed).sum();
        let bad = failed + u32::try_from(step.silent_at.len()).unwrap_or(u32::MAX);
        if u64::from(bad) * 100 > u64::from(step.exposed()) * u64::from(percent) {
            return Played { has_halted: true, ..played };
        }
    }
    played
}

/// What became of a step's hosts.
#[derive(Debug)]
struct Step {
    strata: Vec<Ends>,
    /// The site of each silent host.
    silent_at: Vec<u32>,
    /// Sites without a network, with all their hosts.
    outages: Vec<(u32, u32)>,
}

#[derive(Debug, Clone, Copy)]
struct Ends {
    exposed: u32,
    failed: u32,
    silent: u32,
}

impl Step {
    fn draw(fleet: &Fleet, world: &World, taken: &[u32], dice: &mut Dice) -> Self {
        let last = taken.len() - 1;
        let mut strata = Vec::with_capacity(taken.len());
        let silent_rate = world.silent + world.silenced;
        for (number, taken) in taken.iter().enumerate() {
            let is_doomed = world.is_last_stratum_doomed && number == last;
            let failing = if is_doomed { 1_000_000 } else { world.failing };
            let exposed = taken - dice.binomial(&fleet.table, *taken, world.away);
            let silent = dice.binomial(&fleet.table, exposed, silent_rate);
            let failed = dice.binomial(&fleet.table, exposed - silent, failing);
            strata.push(Ends { exposed, failed, silent });
        }
        let silent: u32 = strata.iter().map(|ends| ends.silent).sum();
        let mut silent_at: Vec<u32> = (0..silent).map(|_| fleet.any_site(dice)).collect();
        let outages = fleet.outages(world, dice);
        let exposed: u32 = strata.iter().map(|ends| ends.exposed).sum();
        for (site, hosts) in &outages {
            let here = dice.hypergeometric(&fleet.table, fleet.hosts, *hosts, exposed);
            silent_at.extend((0..here).map(|_| *site));
        }
        Self { strata, silent_at, outages }
    }

    fn exposed(&self) -> u32 {
        self.strata.iter().map(|ends| ends.exposed).sum()
    }
}

impl Played {
    fn count(&mut self, step: &Step) {
        self.steps += 1;
        self.exposed += step.exposed();
        self.exposed_of_last += step.strata.last().map_or(0, |ends| ends.exposed);
    }
}

/// What became of the unexposed in the same time: they too fall silent, and lose their network.
fn compare(fleet: &Fleet, world: &World, step: &Step, rest: u32, dice: &mut Dice) -> Counts {
    let trials = (rest - dice.binomial(&fleet.table, rest, world.away)).min(CONTROLS);
    let mut failures = dice.binomial(&fleet.table, trials, world.silent);
    let outages = if world.do_outages_spare_the_unexposed { &[][..] } else { &step.outages };
    for (_, hosts) in outages {
        failures += dice.hypergeometric(&fleet.table, fleet.hosts, *hosts, trials);
    }
    Counts { failures, trials }
}
