//! A rollout played against a simulated fleet, with the very controller that would run it: what a
//! failure rate would cost, before anything moves.
//!
//! Every host is there, takes its order at once and says how it went after the same time; people
//! approve and external checks pass at once; windows are open. What is left is the ramp, the gate,
//! the soaks and the fleet-wide limit. A play is a function of its seed.

use std::sync::Arc;

use handover_model::api::{Membership, Play, RolloutSpec, RolloutState, Strategy};
use handover_model::{Millis, Timestamp};

use super::controller::{
    Act, Controller, Decision, Effect, Event, Facts, MemberFact, Progress, Watched, WindowFact,
};
use super::outcome::Outcome;
use super::plan::Plan;
use super::roster::Roster;

/// What is to be played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlayAsk {
    /// How many of a hundred hosts the release fails on.
    pub failures_percent: f64,
    /// How many times; fewer of a large fleet, so that an answer comes within seconds, but never
    /// less than [`FEWEST_PLAYS`].
    pub plays: u32,
    /// What the dice are drawn from: the same seed plays the same.
    pub seed: u64,
    /// How long an update takes on a host.
    pub each_takes: Millis,
}

/// How often a fleet is played at least, however large it is.
pub const FEWEST_PLAYS: u32 = 5;

/// How many hosts are played at most, all plays together, beyond the fewest plays.
const MOST_HOSTS: u32 = 2_000_000;

/// Plays a rollout.
pub fn play(plan: &Plan, roster: &Roster, spec: &RolloutSpec, ask: &PlayAsk) -> Play {
    let (plan, roster) = (Arc::new(plan.clone()), Arc::new(roster.clone()));
    let affordable = MOST_HOSTS.checked_div(plan.members()).unwrap_or(ask.plays);
    let plays = ask.plays.min(affordable.max(FEWEST_PLAYS)).max(1);
    let spec = RolloutSpec {
        start_at: None,
        membership: Membership::Frozen,
        checks: Vec::new(),
        windows: Vec::new(),
        ..spec.clone()
    };
    let mut dice = Dice(ask.seed);
    let ends: Vec<End> = (0..plays)
        .map(|_| {
            let progress = Progress::new(start());
            let (plan, roster) = (Arc::clone(&plan), Arc::clone(&roster));
            let controller = Controller::open(plan, roster, spec.clone(), progress);
            Run { controller, now: start() }.through(ask, &mut dice)
        })
        .collect();
    let stopped = count(ends.iter().filter(|end| end.is_stopped).count());
    let of = |value: fn(&End) -> u64| {
        let mut values: Vec<u64> = ends.iter().map(value).collect();
        values.sort_unstable();
        values
    };
    let exposed = of(|end| end.exposed.into());
    Play {
        failures: ask.failures_percent,
        plays,
        stopped: 100.0 * f64::from(stopped) / f64::from(plays),
        exposed_p50: count_of(quantile(&exposed, 50)),
        exposed_p95: count_of(quantile(&exposed, 95)),
        failed_p50: count_of(quantile(&of(|end| end.failed.into()), 50)),
        takes_p50: Millis(quantile(&of(|end| end.takes.0), 50)),
    }
}

/// The steps of each wave's ramp on a good day: how many hosts each.
pub fn good_day(plan: &Plan, spec: &RolloutSpec) -> Vec<Vec<u32>> {
    let waves = plan.waves.iter().zip(0_u32..);
    waves
        .map(|(wave, number)| {
            let mut left = count(plan.positions(number).len());
            let mut size = match spec.strategy {
                Strategy::Immediate {} => left,
                Strategy::Staged { .. } | Strategy::Waves { .. } => {
                    spec.gate.first.max(wave.strata_first)
                }
            }
            .max(1);
            let mut steps = Vec::new();
            while left > 0 {
                let step = size.min(left);
                steps.push(step);
                (left, size) = (left - step, size.saturating_mul(2));
            }
            steps
        })
        .collect()
}

/// How a play ended.
struct End {
    is_stopped: bool,
    exposed: u32,
    failed: u32,
    takes: Millis,
}

struct Run {
    controller: Controller,
    now: Timestamp,
}

impl Run {
    fn through(mut self, ask: &PlayAsk, dice: &mut Dice) -> End {
        while self.controller.progress().state != RolloutState::Halted {
            let decision = self.decide();
            let mut released = Vec::new();
            for effect in &decision.effects {
                match effect {
                    Effect::Released { from, to } => released.extend(*from..*to),
                    Effect::NeedsApproval(wave) => self.approve(*wave),
                    Effect::Started
                    | Effect::WaveBegan(_)
                    | Effect::WaveThrough(_)
                    | Effect::Approved(_)
                    | Effect::Paused
                    | Effect::Resumed
                    | Effect::Halted(_)
                    | Effect::Revert(_)
                    | Effect::Reverted
                    | Effect::LeftOut(_)
                    | Effect::Done
                    | Effect::Aborted
                    | Effect::Superseded
                    | Effect::Alert(_) => {}
                }
            }
            if !released.is_empty() {
                self.update(&released, ask, dice);
            } else if decision.effects.is_empty() && !self.wait() {
                break;
            }
        }
        let counts = self.controller.counts();
        let is_stopped = match self.controller.progress().state {
            RolloutState::Halted | RolloutState::Reverting => true,
            RolloutState::Scheduled
            | RolloutState::Running
            | RolloutState::Paused
            | RolloutState::Reverted
            | RolloutState::Done
            | RolloutState::Aborted
            | RolloutState::Superseded => false,
        };
        let takes = Millis::of(self.now.since(start()));
        End { is_stopped, exposed: counts.exposed, failed: counts.failed, takes }
    }

    fn decide(&mut self) -> Decision {
        let fact = MemberFact { last_seen: Some(self.now), ..MemberFact::default() };
        let member = |_| fact;
        let facts = Facts {
            patience: Millis(1000),
            member: &member,
            checks: &[],
            fleet_stopped: None,
            window: WindowFact::ALWAYS,
            release: Ok(()),
            committed: Watched::default(),
        };
        self.controller.decide(&facts, self.now)
    }

    fn approve(&mut self, wave: u32) {
        let act = Act::Approve { wave: Some(wave), by: String::new(), reason: None };
        // Refused only when it is approved already.
        drop(self.controller.act(&act, self.now));
    }

    /// Lets hosts take their orders and say how it went, as many at once as may.
    fn update(&mut self, released: &[u32], ask: &PlayAsk, dice: &mut Dice) {
        let limits = self.controller.spec().limits.iter().filter(|limit| limit.per.is_none());
        let at_once = limits.map(|limit| limit.at_most).min().unwrap_or(u32::MAX).max(1);
        let mut left = released.len();
        for batch in released.chunks(usize::try_from(at_once).unwrap_or(usize::MAX)) {
            left -= batch.len();
            for position in batch.iter().copied() {
                let event = Event::Exposed { position, attempt: 1, from: self.now };
                self.controller.handle(event);
            }
            self.now = self.now.after(ask.each_takes.duration());
            for position in batch.iter().copied() {
                let fails = dice.share() * 100.0 < ask.failures_percent;
                let outcome = if fails { Outcome::Failed } else { Outcome::Done };
                let event = Event::Ended { position, attempt: 1, outcome, at: self.now };
                self.controller.handle(event);
            }
            if left > 0 && self.is_halted() {
                return;
            }
        }
    }

    /// Between two batches of one step a gate may halt.
    fn is_halted(&mut self) -> bool {
        self.decide();
        self.controller.progress().state != RolloutState::Running
    }

    /// Moves the clock to where something ends by itself, if there is such a time.
    fn wait(&mut self) -> bool {
        let next = self.controller.next_deadline().filter(|next| *next > self.now);
        let is_running = self.controller.progress().state == RolloutState::Running;
        match next {
            Some(next) if is_running => {
                self.now = next;
                true
            }
            Some(_) | None => false,
        }
    }
}

/// `SplitMix64` (Steele, Lea and Flood 2014).
struct Dice(u64);

impl Dice {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Between 0 and 1, 1 excluded.
    fn share(&mut self) -> f64 {
        let high = u32::try_from(self.draw() >> 32).unwrap_or(0);
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }
}

/// The value below which so many of a hundred lie: the nearest rank.
fn quantile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// Any instant does.
fn start() -> Timestamp {
    Timestamp::from_micros(0)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn count_of(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
