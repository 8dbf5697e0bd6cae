//! The same scenarios, driven through the production controller: plan, roster, waves of 5, 25 and
//! 100 % with a ramp in each, deadlines, plain thresholds beside the sequential test.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use handover_engine::rollout::controller::{
    Controller, Effect, Event, Facts, HaltGate, MemberFact, Progress, Watched, WindowFact,
};
use handover_engine::rollout::gate::{Baseline, Counts};
use handover_engine::rollout::outcome::Outcome;
use handover_engine::rollout::plan::Plan;
use handover_engine::rollout::roster::{Candidate, Roster, draw};
use handover_model::api::{RolloutSpec, RolloutState};
use handover_model::{AgentId, IdGen, Millis, Platform, Timestamp, Version};

use super::campaign::Found;
use super::dice::{Dice, LnFactorials};
use super::fleet::{Fleet, HEALTHY, World};
use super::play::Played;

/// A roster, drawn once, over which many rollouts are played: their fates differ.
#[derive(Debug)]
pub(crate) struct Premises {
    spec: RolloutSpec,
    plan: Plan,
    roster: Arc<Roster>,
    table: LnFactorials,
}

/// A host that is not heard of for so long is away.
const PATIENCE: Millis = Millis(60_000);

/// How long an update takes on a host: longer than a host may be quiet.
const UPDATE: Duration = Duration::from_mins(5);

/// When every rollout begins.
fn begin() -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000)
}

/// Looks without anything new after which a rollout is left alone.
const IDLE: u32 = 8;

impl Premises {
    /// Draws the roster of a fleet by the production planner, with its defaults.
    pub(crate) fn draw(fleet: &Fleet) -> anyhow::Result<Self> {
        let spec: RolloutSpec = serde_json::from_value(serde_json::json!({
            "name": "web-2", "component": "web", "to": "2.0.0", "select": "all", "all": true,
        }))?;
        let platform: Platform = "linux-x86_64".parse().ok().context("a platform")?;
        let versions = (0..fleet.strata.len()).map(|stratum| format!("1.0.{stratum}").parse());
        let versions: Vec<Version> = versions.collect::<Result<_, _>>()?;
        let sites: Vec<String> =
            (0..fleet.sites.len()).map(|site| format!("site-{site}")).collect();
        let mut ids = IdGen::new([13; 32]);
        let mut dice = Dice::new(super::SEED, u64::MAX);
        let mut strata =
            (0..).zip(&fleet.strata).flat_map(|(number, hosts)| (0..*hosts).map(move |_| number));
        let candidates: Vec<Candidate<'_>> = (0..fleet.hosts)
            .map(|key| {
                let site = usize::try_from(fleet.any_site(&mut dice)).unwrap_or(0);
                Candidate {
                    key: i64::from(key),
                    id: AgentId::mint(&mut ids, begin()),
                    platform: &platform,
                    current: strata.next().and_then(|stratum: usize| versions.get(stratum)),
                    site: sites.get(site).map(String::as_str),
                    wave: None,
                }
            })
            .collect();
        let (plan, roster) = draw(&spec, [7; 32], Baseline::of(Counts::default()), &candidates);
        Ok(Self { spec, plan, roster: Arc::new(roster), table: LnFactorials::up_to(10_000) })
    }

    /// Plays so many rollouts; says also how many of the halts were the plain thresholds'.
    pub(crate) fn play(&self, world: &World, rollouts: u32) -> (Found, u32) {
        let mut by_threshold = 0;
        let played = (0..rollouts).map(|number| {
            let (played, gate) = Driven::new(self, *world, number).play();
            by_threshold += u32::from(gate.is_some_and(|gate| gate != HaltGate::Evidence));
            played
        });
        (Found::of(&played.collect::<Vec<_>>()), by_threshold)
    }
}

/// The world around a controller.
struct Hosts<'a> {
    premises: &'a Premises,
    world: World,
    /// What the fates of this rollout's hosts are drawn from.
    seed: u64,
    now: Timestamp,
    /// The step that goes on: how many there were, when it began.
    step: u32,
    began_at: Timestamp,
    released: u32,
    /// Exposed hosts that fell silent, and when they were heard of last.
    silent: HashMap<u32, Timestamp>,
}

/// What a draw is about, so that no two share a stream.
#[derive(Debug, Clone, Copy)]
enum About {
    Away,
    Silent,
    Failing,
    Control,
    Site,
}

impl Hosts<'_> {
    /// Whether a host, or a site, has bad luck.
    fn has(&self, about: About, number: u32, ppm: u32) -> bool {
        let (about, step) = match about {
            About::Away => (1, 0),
            About::Silent => (2, 0),
            About::Failing => (3, 0),
            About::Control => (4, self.step),
            About::Site => (5, self.step),
        };
        let stream = (u64::from(number) << 24) ^ (u64::from(step) << 4) ^ about;
        Dice::new(self.seed, stream).below(1_000_000) < ppm
    }

    fn loses_network(&self, position: u32) -> bool {
        let at = usize::try_from(position).ok();
        let member = at.and_then(|at| self.premises.roster.members.get(at));
        member.is_some_and(|member| self.has(About::Site, member.site, self.world.outage))
    }

    fn fact(&self, position: u32) -> MemberFact {
        let last_seen = match self.silent.get(&position) {
            Some(seen) => Some(*seen),
            None if self.has(About::Away, position, self.world.away) => None,
            // An unexposed host that is silent was there when the step began.
            None if position >= self.released
                && (self.has(About::Control, position, self.world.silent)
                    || self.loses_network(position)) =>
            {
                Some(self.began_at)
            }
            None => Some(self.now),
        };
        MemberFact { last_seen, ..MemberFact::default() }
    }
}

/// A controller amid its hosts.
struct Driven<'a> {
    hosts: Hosts<'a>,
    controller: Controller,
}

impl<'a> Driven<'a> {
    fn new(premises: &'a Premises, world: World, number: u32) -> Self {
        let seed = super::SEED ^ (u64::from(number) << 20);
        let failures = Dice::new(seed, 0).binomial(&premises.table, 10_000, HEALTHY.failing);
        let baseline = Baseline::of(Counts { failures, trials: 10_000 });
        let controller = Controller::open(
            Arc::new(Plan { baseline, ..premises.plan.clone() }),
            Arc::clone(&premises.roster),
            premises.spec.clone(),
            Progress::new(begin()),
        );
        let hosts = Hosts {
            premises,
            world,
            seed,
            now: begin(),
            step: 0,
            began_at: begin(),
            released: 0,
            silent: HashMap::new(),
        };
        Self { hosts, controller }
    }

    /// Plays it until it halts, everybody was released, or nothing comes of it any more. Says how
    /// it ended, and by which gate it halted.
    fn play(mut self) -> (Played, Option<HaltGate>) {
        let mut idle = 0;
        while idle < IDLE && !self.is_over() {
            let released = self.decide();
            if released.is_empty() {
                // Deadlines pass, and who is silent is silent.
                let later = self.controller.spec().deadline.duration() + 2 * PATIENCE.duration();
                self.hosts.now = self.hosts.now.after(later);
                idle += 1;
            } else {
                self.take(released);
                idle = 0;
            }
        }
        let progress = self.controller.progress();
        let played = Played {
            has_halted: progress.state == RolloutState::Halted,
            exposed: self.controller.counts().exposed,
            exposed_of_last: 0,
            steps: self.hosts.step,
        };
        (played, progress.halt.as_ref().map(|halt| halt.gate))
    }

    fn is_over(&self) -> bool {
        let progress = self.controller.progress();
        let is_through = progress.lingers_from.is_some();
        is_through || progress.state == RolloutState::Halted || progress.state.is_over()
    }

    /// Decides, and says who was released by it.
    fn decide(&mut self) -> Range<u32> {
        let hosts = &self.hosts;
        let member = |position| hosts.fact(position);
        let facts = Facts {
            patience: PATIENCE,
            member: &member,
            checks: &[],
            fleet_stopped: None,
            window: WindowFact::ALWAYS,
            release: Ok(()),
            committed: Watched::default(),
        };
        let decision = self.controller.decide(&facts, self.hosts.now);
        let released = decision.effects.iter().find_map(|effect| match effect {
            Effect::Released { from, to } => Some(*from..*to),
            Effect::Started
            | Effect::WaveBegan(_)
            | Effect::WaveThrough(_)
            | Effect::NeedsApproval(_)
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
            | Effect::Alert(_) => None,
        });
        released.unwrap_or_default()
    }

    /// Who was released takes the order. After a while, in which the untouched may fall silent as
    /// well, the outcomes come, failures before successes.
    fn take(&mut self, released: Range<u32>) {
        let (world, now) = (self.hosts.world, self.hosts.now);
        self.hosts.step += 1;
        (self.hosts.began_at, self.hosts.released) = (now, released.end);
        let (mut failed, mut done) = (Vec::new(), Vec::new());
        for position in released {
            if self.hosts.has(About::Away, position, world.away) {
                continue;
            }
            self.controller.handle(Event::HandedOut { position, attempt: 1, from: now });
            self.controller.handle(Event::Exposed { position, attempt: 1, from: now });
            let is_silent = self.hosts.has(About::Silent, position, world.silent + world.silenced);
            if is_silent || self.hosts.loses_network(position) {
                self.hosts.silent.insert(position, now);
            } else if self.hosts.has(About::Failing, position, world.failing) {
                failed.push(position);
            } else {
                done.push(position);
            }
        }
        self.hosts.now = now.after(UPDATE);
        let now = self.hosts.now;
        for (positions, outcome) in [(failed, Outcome::Failed), (done, Outcome::Done)] {
            for position in positions {
                self.controller.handle(Event::Ended { position, attempt: 1, outcome, at: now });
            }
        }
    }
}
