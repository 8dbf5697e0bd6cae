//! How a rollout goes on: wave after wave, step after step.

use handover_model::Timestamp;
use handover_model::api::{CheckVerdict, Membership, RolloutState};

use super::book::at;
use super::pace::Pace;
use super::progress::{Period, Step};
use super::seat::Cell;
use super::{CheckFact, Controller, Effect, Facts};

/// Periods in which silence is compared; a ramp has some twenty steps, and one that is held down
/// for long shares the last.
const MOST_PERIODS: usize = 256;

/// What a look at the wave whose turn it is came to.
enum Turn {
    /// Something changed: look again.
    Again,
    /// Nothing more can be done now.
    Rest,
}

impl Controller {
    pub(super) fn advance(&mut self, facts: &Facts<'_>, now: Timestamp, out: &mut Vec<Effect>) {
        while let Turn::Again = self.turn(facts, now, out) {
            self.changed = true;
        }
    }

    fn turn(&mut self, facts: &Facts<'_>, now: Timestamp, out: &mut Vec<Effect>) -> Turn {
        let wave = self.progress.wave;
        let Some(stands) = self.progress.waves.get(at(wave)) else {
            return self.linger(now, out);
        };
        if stands.began_at.is_none() {
            return self.begin(wave, facts, now, out);
        }
        let end = self.book.plan.positions(wave).end;
        match stands.settled_at {
            Some(since) if self.progress.released >= end => {
                if self.holds_back(wave, since, facts, now) {
                    return Turn::Rest;
                }
                self.close(wave, now, out);
                Turn::Again
            }
            Some(_) | None => self.step_on(wave, facts, now, out),
        }
    }

    /// Begins a wave, if it may.
    fn begin(
        &mut self,
        wave: u32,
        facts: &Facts<'_>,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) -> Turn {
        let positions = self.book.plan.positions(wave);
        let approval = self.needs_approval(wave);
        let may_release = self.may_release(facts);
        let Some(stands) = self.progress.waves.get_mut(at(wave)) else { return Turn::Rest };
        if positions.is_empty() {
            // Nobody to wait for: a wave without members is through, whoever should approve it.
            (stands.began_at, stands.settled_at) = (Some(now), Some(now));
            stands.ended_at = Some(now);
            self.progress.wave += 1;
            return Turn::Again;
        }
        if approval {
            if stands.asked {
                return Turn::Rest;
            }
            stands.asked = true;
            out.push(Effect::NeedsApproval(wave));
            return Turn::Again;
        }
        if !may_release {
            return Turn::Rest;
        }
        stands.began_at = Some(now);
        self.progress.started_at.get_or_insert(now);
        out.push(Effect::WaveBegan(wave));
        let size = self.first_step(wave);
        self.begin_step(positions.start, size, facts, now, out);
        Turn::Again
    }

    fn step_on(
        &mut self,
        wave: u32,
        facts: &Facts<'_>,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) -> Turn {
        match self.pace(now) {
            Pace::Waits | Pace::Silent | Pace::Away => Turn::Rest,
            Pace::TopUp(_) | Pace::Next(_) if !self.may_release(facts) => Turn::Rest,
            Pace::TopUp(more) => {
                self.release(more, facts, now, out);
                Turn::Again
            }
            Pace::Next(size) => {
                self.begin_step(self.progress.released, size, facts, now, out);
                Turn::Again
            }
            Pace::Settled => {
                if let Some(stands) = self.progress.waves.get_mut(at(wave)) {
                    stands.settled_at = Some(now);
                }
                Turn::Again
            }
        }
    }

    /// Begins a step of the ramp that aims at `size` hosts.
    fn begin_step(
        &mut self,
        from: u32,
        size: u32,
        facts: &Facts<'_>,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        if self.progress.periods.len() < MOST_PERIODS {
            self.compare_now(facts, now);
            let period =
                Period { from, began_at: now, controls: crate::rollout::gate::Counts::default() };
            self.progress.periods.push(period);
            self.compared = None;
        }
        self.progress.step = Some(Step { from, to: from, target: size, began_at: now });
        self.release(size, facts, now, out);
    }

    /// Releases so many members more, as far as the wave has them, into the step that goes on.
    fn release(&mut self, size: u32, facts: &Facts<'_>, now: Timestamp, out: &mut Vec<Effect>) {
        let end = self.book.plan.positions(self.progress.wave).end;
        let Some(step) = self.progress.step.as_mut() else { return };
        let from = step.to;
        let to = from.saturating_add(size).min(end);
        step.to = to;
        let whole = step.from..to;
        self.progress.released = self.progress.released.max(to);
        self.book.release(from..to);
        self.book.watch(whole, &self.progress);
        self.look_at(from..to, facts, now);
        (self.moved_at, self.book.moved) = (now, false);
        out.push(Effect::Released { from, to });
    }

    /// Whether something keeps a settled wave from being through.
    fn holds_back(&self, wave: u32, since: Timestamp, facts: &Facts<'_>, now: Timestamp) -> bool {
        if at(wave) + 1 >= self.progress.waves.len() {
            return false;
        }
        now < since.after(self.soak(wave))
            || self.lacks_success(wave).is_some()
            || self.spec.checks.iter().any(|check| {
                let verdict = answer_to(check, facts, now).and_then(|answer| answer.verdict);
                verdict != Some(CheckVerdict::Pass)
            })
    }

    fn close(&mut self, wave: u32, now: Timestamp, out: &mut Vec<Effect>) {
        if let Some(stands) = self.progress.waves.get_mut(at(wave)) {
            stands.ended_at = Some(now);
        }
        self.progress.wave += 1;
        out.push(Effect::WaveThrough(wave));
    }

    /// Every wave is through: waits for those that may yet come, for a while.
    fn linger(&mut self, now: Timestamp, out: &mut Vec<Effect>) -> Turn {
        if self.progress.released < self.book.plan.members() {
            // Members joined late: the last wave goes on.
            self.progress.lingers_from = None;
            self.progress.wave = self.progress.wave.saturating_sub(1);
            if let Some(last) = self.progress.waves.get_mut(at(self.progress.wave)) {
                (last.settled_at, last.ended_at) = (None, None);
            }
            if self.book.plan.positions(self.progress.wave).start >= self.progress.released {
                // It had no members before: it has to begin.
                self.reset_wave();
            }
            return Turn::Again;
        }
        if self.progress.lingers_from.is_none() {
            self.changed = true;
        }
        let since = *self.progress.lingers_from.get_or_insert(now);
        let total = self.book.total();
        let is_live = self.spec.membership == Membership::Live;
        let waits = is_live || total.unexposed() > 0;
        let is_over = now >= since.after(self.spec.after.watch.duration());
        if total.under_way() > 0 || (waits && !is_over) {
            return Turn::Rest;
        }
        self.enter(RolloutState::Done);
        self.progress.ended_at = Some(now);
        self.progress.watch_until = Some(now.after(self.spec.after.watch.duration()));
        out.push(Effect::Done);
        Turn::Rest
    }

    fn reset_wave(&mut self) {
        if let Some(last) = self.progress.waves.get_mut(at(self.progress.wave)) {
            last.began_at = None;
        }
    }

    /// Whether nothing about the rollout as a whole keeps members from being released.
    pub(super) fn may_release(&self, facts: &Facts<'_>) -> bool {
        (facts.window.open || (self.spec.early_download && facts.window.opens_at.is_some()))
            && facts.fleet_stopped.is_none()
            && facts.release.is_ok()
    }

    /// Whether a wave waits for a person before it begins.
    pub(super) fn needs_approval(&self, wave: u32) -> bool {
        let wants = self.book.plan.waves.get(at(wave)).is_some_and(|wave| wave.approval);
        let stands = self.progress.waves.get(at(wave));
        wants && stands.is_some_and(|wave| wave.approved.is_none())
    }

    pub(super) fn soak(&self, wave: u32) -> std::time::Duration {
        let own = self.book.plan.waves.get(at(wave)).and_then(|wave| wave.soak);
        own.unwrap_or(self.spec.gate.soak).duration()
    }

    /// How many are done, among how many exposed, where that is less than the wave must have.
    pub(super) fn lacks_success(&self, wave: u32) -> Option<(u32, u32)> {
        let share = self.spec.gate.success_share?;
        let cells = self.book.wave(wave).cells;
        let (done, exposed) = (cells.of(Cell::Done), cells.exposed());
        (f64::from(done) * 100.0 < share * f64::from(exposed)).then_some((done, exposed))
    }
}

/// The fresh answer of an external check.
pub(super) fn answer_to<'a>(
    check: &handover_model::api::CheckSpec,
    facts: &Facts<'a>,
    now: Timestamp,
) -> Option<&'a CheckFact<'a>> {
    let answer = facts.checks.iter().find(|answer| answer.name == check.name)?;
    answer.at.filter(|at| now.since(*at) <= check.fresh.duration()).map(|_| answer)
}
