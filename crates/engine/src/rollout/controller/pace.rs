//! How a step of the ramp stands, and what would come after it.

use handover_model::Timestamp;
use handover_model::api::Strategy;

use super::Controller;
use super::book::at;
use super::seat::{Cell, Tally};
use crate::rollout::gate::next_step;

/// As many hosts as this, times a step's size, may be released and unexposed when a step is topped
/// up: if all of them come back at once, that is the exposure.
pub(super) const MOST_UNEXPOSED: u32 = 4;

/// How the step that goes on stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Hosts that are there have no outcome yet.
    Waits,
    /// More hosts are silent than say how it went.
    Silent,
    /// Too few hosts are there to learn anything.
    Away,
    /// The step gets so many members more.
    TopUp(u32),
    /// A step of so many members follows; its size is aimed at, whatever is left.
    Next(u32),
    /// Everybody is released, and who is there has an outcome.
    Settled,
}

impl Controller {
    /// How the step that goes on stands.
    pub(super) fn pace(&self, now: Timestamp) -> Pace {
        let Some(step) = self.progress.step else { return Pace::Waits };
        let tally = &self.book.step_tally;
        let is_stuck = now.since(self.moved_at) >= self.stuck_after();
        if tally.under_way() > 0 || (tally.able() > 0 && !is_stuck) {
            return Pace::Waits;
        }
        let wave = self.progress.wave;
        let (end, all) = (self.book.plan.positions(wave).end, self.book.wave(wave).cells);
        if step.to >= end {
            return self.pace_at_end(&all, step.target);
        }
        if is_mute(tally) {
            return Pace::Silent;
        }
        let learnt = tally.spoke() + tally.of(Cell::Silent);
        if learnt >= step.target.div_ceil(2) {
            return Pace::Next(self.size_after(step.target));
        }
        let room = step.target.saturating_mul(MOST_UNEXPOSED).saturating_sub(all.unexposed());
        match (step.target - learnt).min(room).min(end - step.to) {
            0 => Pace::Away,
            more => Pace::TopUp(more),
        }
    }

    /// Nobody is left in the wave: what was learnt in all of it decides.
    fn pace_at_end(&self, wave: &Tally, target: u32) -> Pace {
        if is_mute(wave) {
            return Pace::Silent;
        }
        let learnt = wave.spoke() + wave.of(Cell::Silent);
        let could = learnt + wave.unexposed();
        let is_last = at(self.progress.wave) + 1 == self.book.plan.waves.len();
        if learnt >= target.min(could).div_ceil(2) || is_last { Pace::Settled } else { Pace::Away }
    }

    /// The size of the step after one of `target` hosts.
    fn size_after(&self, target: u32) -> u32 {
        if self.spec.gate.sequential {
            next_step(target, &self.book.evidence.verdict())
        } else {
            target.saturating_mul(2)
        }
    }

    /// Whether the evidence keeps the ramp from growing.
    pub(super) fn is_held_down(&self) -> bool {
        let verdict = self.book.evidence.verdict();
        self.spec.gate.sequential && !verdict.may_double() && !verdict.halts()
    }

    /// The size of a wave's first step.
    pub(super) fn first_step(&self, wave: u32) -> u32 {
        let members = self.book.plan.positions(wave).len();
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        let strata = self.book.plan.waves.get(at(wave)).map_or(0, |wave| wave.strata_first);
        match self.spec.strategy {
            Strategy::Immediate {} => members,
            Strategy::Staged { .. } | Strategy::Waves { .. } => {
                self.spec.gate.first.max(strata).max(1).min(members)
            }
        }
    }

    /// After how long hosts that are there and take no order are waited for no more.
    pub(super) fn stuck_after(&self) -> std::time::Duration {
        self.deadline()
    }
}

/// Whether more hosts are silent than say how it went.
fn is_mute(tally: &Tally) -> bool {
    tally.of(Cell::Silent) > tally.spoke()
}
