//! A small world around a controller: hosts that come, take their orders and say how it went.

mod acts;
mod edges;
mod histories;
mod stories;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use handover_model::api::{CheckVerdict, HoldCode, RolloutSpec};
use handover_model::{AgentId, IdGen, Millis, Platform, Timestamp, Version};

use super::{
    Act, CheckFact, Controller, Decision, Effect, Event, Facts, MemberFact, Presence, Progress,
    Watched, WindowFact,
};
use crate::rollout::gate::Baseline;
use crate::rollout::outcome::Outcome;
use crate::rollout::plan::Plan;
use crate::rollout::roster::{Candidate, Roster, draw};

/// What a host does with its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Succeeds,
    Fails,
    FallsSilent,
    Lapses,
    Refuses,
}

struct World {
    controller: Controller,
    now: Timestamp,
    seen: Vec<Option<Timestamp>>,
    gone: BTreeSet<u32>,
    /// Those whose silence was told.
    noted: BTreeSet<u32>,
    satisfied: BTreeSet<u32>,
    blocked: BTreeSet<u32>,
    checks: BTreeMap<String, (CheckVerdict, Timestamp)>,
    stopped: Option<String>,
    window: WindowFact,
    /// Why the release can't be handed out.
    release: Option<String>,
    committed: Watched,
    /// Attempts made, by position.
    attempts: BTreeMap<u32, u32>,
    /// What was told, for whoever wants to tell it again.
    told: Vec<Event>,
    log: Vec<String>,
}

const PATIENCE: Millis = Millis(60_000);

fn second(number: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + number * 1_000_000)
}

/// A specification, as people write it, but for what no test cares about.
fn spec(rest: &str) -> RolloutSpec {
    let rest = if rest.is_empty() { String::new() } else { format!(", {rest}") };
    let text = format!(
        r#"{{"name": "web-2", "component": "web", "to": "2.0.0", "select": "name = x"{rest}}}"#
    );
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn drawn(spec: &RolloutSpec, members: u32, waves: impl Fn(u32) -> Option<u16>) -> (Plan, Roster) {
    let platform: Platform = "linux-x86_64".parse().unwrap();
    let version: Version = "1.0.0".parse().unwrap();
    let mut ids = IdGen::new([1; 32]);
    let candidates: Vec<Candidate<'_>> = (0..members)
        .map(|number| Candidate {
            key: i64::from(number),
            id: AgentId::mint(&mut ids, second(0)),
            platform: &platform,
            current: Some(&version),
            site: None,
            wave: waves(number),
        })
        .collect();
    draw(spec, [7; 32], Baseline::named(0.002).unwrap(), &candidates)
}

impl World {
    fn new(rest: &str, members: u32) -> Self {
        let spec = spec(rest);
        let (plan, roster) = drawn(&spec, members, |_| None);
        Self::of(spec, plan, roster)
    }

    fn of(spec: RolloutSpec, plan: Plan, roster: Roster) -> Self {
        let seen = vec![Some(second(0)); roster.members.len()];
        let progress = Progress::new(second(0));
        let controller = Controller::open(Arc::new(plan), Arc::new(roster), spec, progress);
        Self {
            controller,
            now: second(0),
            seen,
            gone: BTreeSet::new(),
            noted: BTreeSet::new(),
            satisfied: BTreeSet::new(),
            blocked: BTreeSet::new(),
            checks: BTreeMap::new(),
            stopped: None,
            window: WindowFact::ALWAYS,
            release: None,
            committed: Watched::default(),
            attempts: BTreeMap::new(),
            told: Vec::new(),
            log: Vec::new(),
        }
    }

    fn tell(&mut self, event: Event) {
        self.told.push(event);
        self.controller.handle(event);
    }

    fn decide(&mut self) -> Decision {
        for (position, seen) in self.seen.iter_mut().enumerate() {
            if !self.gone.contains(&u32::try_from(position).unwrap()) {
                *seen = Some(self.now);
            }
        }
        self.tell_who_went();
        let checks: Vec<CheckFact<'_>> = self
            .checks
            .iter()
            .map(|(name, (verdict, at))| CheckFact {
                name,
                verdict: Some(*verdict),
                reason: None,
                at: Some(*at),
            })
            .collect();
        let member = |position: u32| MemberFact {
            last_seen: self.seen.get(usize::try_from(position).unwrap()).copied().flatten(),
            satisfied: self.satisfied.contains(&position),
            blocked: self.blocked.contains(&position),
        };
        let facts = Facts {
            patience: PATIENCE,
            member: &member,
            checks: &checks,
            fleet_stopped: self.stopped.as_deref(),
            window: self.window,
            release: self.release.as_deref().map_or(Ok(()), Err),
            committed: self.committed,
        };
        let decision = self.controller.decide(&facts, self.now);
        let counts = self.controller.counts();
        assert!(counts.exposed <= counts.released, "{counts:?}");
        assert!(counts.released <= counts.members, "{counts:?}");
        decision
    }

    /// Tells of hosts that were not heard of for long enough, as a server does.
    fn tell_who_went(&mut self) {
        let now = self.now;
        self.noted.retain(|position| self.gone.contains(position));
        for position in self.gone.clone() {
            let seen = self.seen.get(usize::try_from(position).unwrap()).copied().flatten();
            let is_gone = seen.is_none_or(|seen| now.since(seen) > PATIENCE.duration());
            if is_gone && self.noted.insert(position) {
                self.tell(away(position, now));
            }
        }
    }

    /// Decides, and writes down what came of it.
    fn look(&mut self) {
        let decision = self.decide();
        let counts = self.controller.counts();
        let mut line = format!(
            "{:>6}s {} {}/{}",
            self.now.since(second(0)).as_secs(),
            self.controller.progress().state,
            counts.released,
            counts.members,
        );
        let parts = [
            ("exposed", counts.exposed),
            ("done", counts.done),
            ("failed", counts.failed),
            ("silent", counts.silent),
            ("away", counts.away),
        ];
        for (name, count) in parts {
            if count > 0 {
                write!(line, " {name} {count}").unwrap();
            }
        }
        for effect in &decision.effects {
            write!(line, " | {}", shown(effect)).unwrap();
        }
        for held in &decision.holds {
            write!(line, " # {:?} by {:?}", held.hold.code, held.hold.lifted_by).unwrap();
        }
        self.log.push(line);
    }

    /// Moves the clock.
    fn pass(&mut self, seconds: u64) {
        self.now = self.now.after(std::time::Duration::from_secs(seconds));
    }

    /// Lets every released host that is there take its order and say how it went, and decides.
    fn round(&mut self, fate: impl Fn(u32) -> Fate) -> bool {
        let released = self.controller.progress().released;
        let mut moved = false;
        for position in 0..released {
            let outcome = self.controller.outcome(position);
            let waits = outcome == handover_model::api::MemberOutcome::Released;
            if !waits || self.gone.contains(&position) || self.blocked.contains(&position) {
                continue;
            }
            moved = true;
            self.take(position, fate(position));
        }
        moved
    }

    fn take(&mut self, position: u32, fate: Fate) {
        let attempt = self.attempts.entry(position).or_default();
        *attempt += 1;
        let attempt = *attempt;
        self.tell(Event::HandedOut { position, attempt, from: self.now });
        self.tell(Event::Exposed { position, attempt, from: self.now });
        let at = self.now;
        let outcome = match fate {
            Fate::Succeeds => Outcome::Done,
            Fate::Fails => Outcome::Failed,
            Fate::Lapses => Outcome::Passing,
            Fate::Refuses => Outcome::Refused,
            Fate::FallsSilent => {
                self.gone.insert(position);
                return;
            }
        };
        self.tell(Event::Ended { position, attempt, outcome, at });
    }

    /// Rounds, each a minute after the other, until nothing more comes of it.
    fn play(&mut self, fate: impl Fn(u32) -> Fate) {
        self.look();
        for _ in 0..200 {
            let moved = self.round(&fate);
            self.pass(60);
            let released = self.controller.progress().released;
            self.look();
            if !moved && released == self.controller.progress().released {
                return;
            }
        }
        panic!("it never comes to rest:\n{}", self.story());
    }

    fn act(&mut self, act: &Act) -> Result<Decision, super::RefusedAct> {
        let decision = self.controller.act(act, self.now)?;
        let effects: Vec<String> = decision.effects.iter().map(shown).collect();
        self.log.push(format!("        {}", effects.join(" | ")));
        Ok(decision)
    }

    fn holds(&mut self) -> Vec<HoldCode> {
        self.decide().holds.iter().map(|held| held.hold.code).collect()
    }

    fn story(&self) -> String {
        let mut story = self.log.join("\n");
        story.push('\n');
        story
    }

    /// The same rollout, opened anew from what is stored.
    fn reopened(&self) -> Controller {
        let stored = serde_json::to_string(self.controller.progress()).unwrap();
        let plan = serde_json::to_string(&**self.controller.plan()).unwrap();
        let mut controller = Controller::open(
            Arc::new(serde_json::from_str(&plan).unwrap()),
            Arc::clone(self.controller.roster()),
            self.controller.spec().clone(),
            serde_json::from_str(&stored).unwrap(),
        );
        for event in &self.told {
            controller.handle(*event);
        }
        controller
    }
}

fn shown(effect: &Effect) -> String {
    match effect {
        Effect::Released { from, to } => format!("released {from}..{to}"),
        Effect::WaveBegan(wave) => format!("wave {wave} began"),
        Effect::WaveThrough(wave) => format!("wave {wave} through"),
        Effect::NeedsApproval(wave) => format!("wave {wave} needs approval"),
        Effect::Approved(wave) => format!("wave {wave} approved"),
        Effect::Halted(halt) => format!(
            "halted at wave {} by {}: {} {:?}",
            halt.wave,
            halt.gate.name(),
            halt.text,
            halt.deciding
        ),
        Effect::Revert(scope) => format!("revert {scope:?}"),
        Effect::LeftOut(positions) => format!("left out {positions:?}"),
        Effect::Alert(alert) => format!("alert {}: {}", alert.code, alert.text),
        Effect::Started
        | Effect::Paused
        | Effect::Resumed
        | Effect::Reverted
        | Effect::Done
        | Effect::Aborted
        | Effect::Superseded => format!("{effect:?}").to_lowercase(),
    }
}

fn by(name: &str) -> String {
    name.to_owned()
}

fn away(position: u32, at: Timestamp) -> Event {
    Event::Presence { position, presence: Presence::Away, at }
}

fn present(position: u32, at: Timestamp) -> Event {
    Event::Presence { position, presence: Presence::Present, at }
}
