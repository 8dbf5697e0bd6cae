//! When a gate halts a rollout, which hosts decided it, and how silence is compared.

use std::time::Duration;

use handover_model::Timestamp;
use handover_model::api::{CheckVerdict, OnHalt, RolloutState};

use super::advance::answer_to;
use super::book::at;
use super::progress::{Halt, HaltGate};
use super::seat::{Mark, Seat, Weight};
use super::{Controller, Effect, Facts, RevertScope, is_there};
use crate::rollout::gate::{Counts, HALT_AT, Part};

/// How many untouched hosts silence is compared with at most, from the far end of the roster.
const MOST_CONTROLS: u32 = 10_000;

/// How often the untouched hosts are counted anew while nothing else changes.
const COMPARE_EVERY: Duration = Duration::from_secs(10);

impl Controller {
    /// Whether a gate halts it now.
    pub(super) fn find_halt(&self, facts: &Facts<'_>, now: Timestamp) -> Option<Halt> {
        self.too_many(now)
            .or_else(|| self.too_large_a_share(now))
            .or_else(|| self.too_much_evidence(now))
            .or_else(|| self.failing_check(facts, now))
    }

    pub(super) fn halt(&mut self, mut halt: Halt, out: &mut Vec<Effect>) {
        let wave = halt.wave;
        let all = |mark| self.book.find(0..u32::MAX, usize::MAX, move |seat, _| seat.has(mark));
        (halt.late, halt.silent) = (all(Mark::Late), all(Mark::Silent));
        self.enter(RolloutState::Halted);
        self.progress.halt = Some(halt.clone());
        out.push(Effect::Halted(halt));
        match self.spec.on_halt {
            OnHalt::Stop => {}
            OnHalt::RevertWave => out.push(Effect::Revert(RevertScope::Wave(wave))),
            OnHalt::RevertRollout => {
                self.enter(RolloutState::Reverting);
                out.push(Effect::Revert(RevertScope::Rollout));
            }
        }
    }

    fn too_many(&self, now: Timestamp) -> Option<Halt> {
        let most = self.spec.gate.failures_at_most?;
        let failures: u32 = self.book.waves().iter().map(|wave| wave.failures).sum();
        (failures > most).then(|| {
            let text = format!("{} failed, and {most} may", hosts(failures));
            self.halted(HaltGate::FailuresAtMost, text, now, self.failing(0..u32::MAX))
        })
    }

    fn too_large_a_share(&self, now: Timestamp) -> Option<Halt> {
        let most = self.spec.gate.failures_share?;
        self.book.waves().iter().zip(0_u32..).find_map(|(tally, wave)| {
            let positions = self.book.plan.positions(wave);
            let released = self.progress.released.clamp(positions.start, positions.end);
            let released = released - positions.start;
            let is_more = f64::from(tally.failures) * 100.0 > most * f64::from(released);
            (is_more && tally.failures > 0).then(|| {
                let text = format!(
                    "{} of the {released} that wave {} has released failed, and {most} % may",
                    hosts(tally.failures),
                    self.wave_name(wave),
                );
                let deciding = self.failing(positions);
                Halt { wave, ..self.halted(HaltGate::FailuresShare, text, now, deciding) }
            })
        })
    }

    fn too_much_evidence(&self, now: Timestamp) -> Option<Halt> {
        let verdict = self.book.evidence.verdict();
        if !self.spec.gate.sequential || !verdict.halts() {
            return None;
        }
        let total = self.book.evidence.total();
        let rate = self.book.plan.baseline.rate() * 100.0;
        let (what, deciding) = match verdict.leading() {
            Part::Explicit => (
                format!(
                    "{} of {} exposed failed, where at most {rate:.2} % do on a good day",
                    hosts(total.failures),
                    total.trials
                ),
                self.failing(0..u32::MAX),
            ),
            Part::Stratum => self.worst_stratum(rate),
            Part::Silent => (
                format!(
                    "{} of {} exposed fell silent, far more than of those that were not touched",
                    hosts(self.silent_that_count()),
                    total.trials
                ),
                self.find(0..u32::MAX, |seat| seat.weight(self.book.attempts()) == Weight::Silent),
            ),
        };
        let text =
            format!("{what}: the evidence is {:.0}, and {HALT_AT} halts", verdict.combined());
        Some(self.halted(HaltGate::Evidence, text, now, deciding))
    }

    fn worst_stratum(&self, rate: f64) -> (String, Vec<u32>) {
        let (mut worst, mut most) = (0, (Counts::default(), f64::NEG_INFINITY));
        for (number, stratum) in self.book.evidence.strata().enumerate() {
            if stratum.1 > most.1 {
                (worst, most) = (number, stratum);
            }
        }
        let plan = self.book.plan.strata.get(worst);
        let from = plan.and_then(|plan| plan.from.as_ref());
        let from =
            from.map_or_else(|| "nothing".to_owned(), |version| format!("version {version}"));
        let platform = plan.map_or_else(String::new, |plan| plan.platform.to_string());
        let text = format!(
            "{} of {} exposed that come from {from} on {platform} failed, where at most {rate:.2} \
             % do on a good day",
            hosts(most.0.failures),
            most.0.trials
        );
        let members = &self.book.roster.members;
        let is_there = |position: u32| {
            members.get(at(position)).is_some_and(|member| usize::from(member.stratum) == worst)
        };
        let fails = |seat: Seat, position| {
            seat.weight(self.book.attempts()).is_failure() && is_there(position)
        };
        (text, self.book.find(0..u32::MAX, Halt::MOST_DECIDING, fails))
    }

    fn failing_check(&self, facts: &Facts<'_>, now: Timestamp) -> Option<Halt> {
        let accepted = self.progress.accepted.as_ref().map(|accepted| accepted.at);
        self.spec.checks.iter().find_map(|check| {
            let answer = answer_to(check, facts, now)?;
            let is_new = accepted.is_none_or(|accepted| answer.at.is_some_and(|at| at > accepted));
            (answer.verdict == Some(CheckVerdict::Fail) && is_new).then(|| {
                let why = answer.reason.map_or_else(String::new, |why| format!(": {why}"));
                let text = format!("external check {} fails{why}", check.name);
                self.halted(HaltGate::Check, text, now, Vec::new())
            })
        })
    }

    pub(super) fn halted(
        &self,
        gate: HaltGate,
        text: String,
        at: Timestamp,
        deciding: Vec<u32>,
    ) -> Halt {
        let last = u32::try_from(self.progress.waves.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let wave = self.progress.wave.min(last);
        Halt { gate, text, at, wave, deciding, late: Vec::new(), silent: Vec::new() }
    }

    /// The members whose failures weigh.
    pub(super) fn failing(&self, range: std::ops::Range<u32>) -> Vec<u32> {
        self.find(range, |seat| seat.weight(self.book.attempts()).is_failure())
    }

    fn find(&self, range: std::ops::Range<u32>, wanted: impl Fn(Seat) -> bool) -> Vec<u32> {
        self.book.find(range, Halt::MOST_DECIDING, |seat, _| wanted(seat))
    }

    /// Silent hosts that count: one of each site and period.
    pub(super) fn silent_that_count(&self) -> u32 {
        let periods = 0..self.progress.periods.len();
        let of_period = |period| self.book.evidence.silence.of_period(period);
        periods.filter_map(of_period).map(|(counts, _)| counts.failures).sum()
    }

    /// Counts the untouched hosts of the period that goes on, when it matters: when somebody in it
    /// is silent.
    pub(super) fn compare_silence(&mut self, facts: &Facts<'_>, now: Timestamp) {
        let Some(period) = self.progress.periods.len().checked_sub(1) else { return };
        let silent =
            self.book.evidence.silence.of_period(period).map_or(0, |(counts, _)| counts.failures);
        let is_known = self.compared.is_some_and(|(known, at)| {
            known == silent && at <= now && now.since(at) < COMPARE_EVERY
        });
        if silent > 0 && !is_known {
            self.compare_now(facts, now);
            self.compared = Some((silent, now));
        }
    }

    /// Counts the untouched hosts that were there when the newest period began.
    pub(super) fn compare_now(&mut self, facts: &Facts<'_>, now: Timestamp) {
        let Some(last) = self.progress.periods.len().checked_sub(1) else { return };
        let Some(period) = self.progress.periods.get_mut(last) else { return };
        let members = self.book.plan.members();
        let from = self.progress.released.max(members.saturating_sub(MOST_CONTROLS));
        let mut controls = Counts::default();
        for position in from..members {
            let seen = (facts.member)(position).last_seen;
            // Who was heard of since, or shortly before, was there when it began.
            let Some(seen) =
                seen.filter(|seen| period.began_at.since(*seen) <= facts.patience.duration())
            else {
                continue;
            };
            controls.trials += 1;
            controls.failures += u32::from(!is_there(seen, facts, now));
        }
        period.controls = controls;
        self.book.evidence.silence.compare(last, controls);
    }

    /// Sets every failure and silence that is known aside, for good: also those that the halt
    /// knew by deadlines alone, which a controller that was just opened has not judged yet.
    pub(super) fn accept_evidence(&mut self) {
        let attempts = self.book.attempts();
        let halt = self.progress.halt.take();
        let judged = halt.iter().flat_map(|halt| {
            let late = halt.late.iter().map(|position| (*position, Mark::AcceptedFailure));
            let silent = halt.silent.iter().map(|position| (*position, Mark::AcceptedSilence));
            late.chain(silent)
        });
        for (position, mark) in judged {
            let is_open =
                self.book.seat(position).is_some_and(|seat| seat.is_open() && !seat.is_judged());
            if is_open {
                self.accept(position, mark);
            }
        }
        let weighs = |seat: Seat, _: u32| {
            let weight = seat.weight(attempts);
            weight.is_failure() || weight == Weight::Silent
        };
        for position in self.book.find(0..u32::MAX, usize::MAX, weighs) {
            let failed =
                self.book.seat(position).is_some_and(|seat| seat.weight(attempts).is_failure());
            self.accept(
                position,
                if failed { Mark::AcceptedFailure } else { Mark::AcceptedSilence },
            );
        }
    }

    fn accept(&mut self, position: u32, mark: Mark) {
        let list = if mark == Mark::AcceptedFailure {
            &mut self.progress.accepted_failures
        } else {
            &mut self.progress.accepted_silence
        };
        insert(list, position);
        self.book.touch(position, &self.progress, |seat| seat.set(mark, true));
    }

    pub(super) fn wave_name(&self, wave: u32) -> &str {
        self.book.plan.waves.get(at(wave)).map_or("", |wave| wave.name.as_str())
    }
}

/// Puts a position into an ascending list, once.
pub(super) fn insert(list: &mut Vec<u32>, position: u32) {
    if let Err(place) = list.binary_search(&position) {
        list.insert(place, position);
    }
}

pub(super) fn hosts(count: u32) -> String {
    if count == 1 { "1 host".to_owned() } else { format!("{count} hosts") }
}
