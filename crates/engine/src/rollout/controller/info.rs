//! What a controller says about itself, in the words of the API.

use handover_model::Timestamp;
use handover_model::api::{
    Counts, EvidenceInfo, MemberOutcome, RolloutState, StratumInfo, WaveInfo, WaveState,
};

use super::Controller;
use super::book::at;
use super::seat::{Cell, Seat, Tally};
use crate::rollout::gate::{Baseline, HALT_AT};

impl Controller {
    /// How a member stands.
    pub fn outcome(&self, position: u32) -> MemberOutcome {
        match self.book.cell(position, &self.progress) {
            None | Some(Cell::Waiting) => MemberOutcome::Waiting,
            Some(Cell::Released | Cell::Blocked | Cell::Handed | Cell::Retrying) => {
                MemberOutcome::Released
            }
            Some(Cell::Away) => MemberOutcome::Away,
            Some(Cell::Running) => MemberOutcome::Running,
            Some(Cell::Done) => MemberOutcome::Done,
            Some(Cell::Failed | Cell::Late) => MemberOutcome::Failed,
            Some(Cell::Decayed) => MemberOutcome::Decayed,
            Some(Cell::Silent) => MemberOutcome::Silent,
            Some(Cell::Refused) => MemberOutcome::Refused,
            Some(Cell::Withdrawn) => MemberOutcome::Withdrawn,
            Some(Cell::Satisfied) => MemberOutcome::Satisfied,
            Some(Cell::LeftOut) => MemberOutcome::LeftOut,
        }
    }

    /// All members, counted.
    pub fn counts(&self) -> Counts {
        counts(&self.book.total(), self.progress.released)
    }

    /// The waves, as they stand now.
    pub fn waves(&self) -> Vec<WaveInfo> {
        let plans = self.book.plan.waves.iter().zip(&self.progress.waves);
        plans
            .zip(0_u32..)
            .map(|((plan, stands), number)| {
                let positions = self.book.plan.positions(number);
                let released = self.progress.released.clamp(positions.start, positions.end);
                let is_next =
                    number == self.progress.wave && self.progress.state != RolloutState::Scheduled;
                let state = match (stands.began_at, stands.settled_at, stands.ended_at) {
                    (_, _, Some(_)) => WaveState::Through,
                    (_, Some(_), None) => WaveState::Soaking,
                    (Some(_), None, None) => WaveState::Running,
                    (None, None, None) if is_next => WaveState::Held,
                    (None, None, None) => WaveState::Waiting,
                };
                WaveInfo {
                    name: plan.name.clone(),
                    state,
                    counts: counts(&self.book.wave(number).cells, released - positions.start),
                    approval: plan.approval,
                    approved_by: stands.approved.as_ref().map(|signed| signed.by.clone()),
                    began_at: stands.began_at,
                    ended_at: stands.ended_at,
                }
            })
            .collect()
    }

    /// What the gate sees; absent before anybody was exposed.
    pub fn evidence(&self) -> Option<EvidenceInfo> {
        let (evidence, strata) = (&self.book.evidence, &self.book.plan.strata);
        let total = evidence.total();
        if total.trials == 0 {
            return None;
        }
        let verdict = evidence.verdict();
        let controls = self.progress.periods.last().map(|period| period.controls);
        let exposed = evidence.strata().zip(strata).filter(|((counts, _), _)| counts.trials > 0);
        let worst = exposed.max_by(|((_, a), _), ((_, b), _)| a.total_cmp(b));
        Some(EvidenceInfo {
            exposed: total.trials,
            failures: total.failures,
            silent: self.silent_that_count(),
            baseline: self.book.plan.baseline.rate() * 100.0,
            silence_baseline: Baseline::of(controls.unwrap_or_default()).rate() * 100.0,
            e_explicit: verdict.e_explicit,
            e_stratum: verdict.e_stratum_mean,
            e_silent: verdict.e_silent,
            combined: verdict.combined(),
            halt_at: HALT_AT,
            worst_stratum: worst.map(|((_, e), plan)| StratumInfo {
                platform: plan.platform.clone(),
                from: plan.from.clone(),
                members: plan.members,
                e,
            }),
        })
    }

    /// The members that a revert would take back, of one wave or of all: those that took the
    /// release, whatever became of it. One that is back already needs no order then.
    pub fn touched(&self, wave: Option<u32>) -> Vec<u32> {
        let range = wave.map_or(0..u32::MAX, |wave| self.book.plan.positions(wave));
        let attempts = self.book.attempts();
        let took = |seat: Seat, _| match seat.cell(true, attempts) {
            Cell::Handed
            | Cell::Running
            | Cell::Done
            | Cell::Failed
            | Cell::Late
            | Cell::Decayed
            | Cell::Silent => true,
            Cell::Waiting
            | Cell::Away
            | Cell::Blocked
            | Cell::Released
            | Cell::Retrying
            | Cell::Refused
            | Cell::Withdrawn
            | Cell::Satisfied
            | Cell::LeftOut => false,
        };
        self.book.find(range, usize::MAX, took)
    }

    /// When something ends by itself: a soak, the wait for stragglers, a start, the wait for hosts
    /// that are there and take nothing.
    pub(super) fn next_turn(&self) -> Option<Timestamp> {
        match self.progress.state {
            RolloutState::Scheduled => self.spec.start_at,
            RolloutState::Running => {
                let wave = self.progress.wave;
                let Some(stands) = self.progress.waves.get(at(wave)) else {
                    let watch = self.spec.after.watch.duration();
                    return self.progress.lingers_from.map(|since| since.after(watch));
                };
                match (stands.began_at, stands.settled_at) {
                    (_, Some(since)) => Some(since.after(self.soak(wave))),
                    (Some(_), None) if self.book.step_tally.able() > 0 => {
                        Some(self.moved_at.after(self.stuck_after()))
                    }
                    (Some(_) | None, None) => None,
                }
            }
            RolloutState::Done => {
                let next = self.decided.map(|decided| decided.after(WATCH_EVERY));
                let until = self.progress.watch_until;
                next.filter(|next| until.is_some_and(|until| *next < until)).or(until)
            }
            RolloutState::Paused
            | RolloutState::Halted
            | RolloutState::Reverting
            | RolloutState::Reverted
            | RolloutState::Aborted
            | RolloutState::Superseded => None,
        }
    }
}

/// How often silence is looked at while a rollout that is done is watched.
const WATCH_EVERY: std::time::Duration = std::time::Duration::from_mins(5);

fn counts(cells: &Tally, released: u32) -> Counts {
    let every = [
        Cell::Waiting,
        Cell::Away,
        Cell::Blocked,
        Cell::Released,
        Cell::Handed,
        Cell::Retrying,
        Cell::Running,
        Cell::Done,
        Cell::Failed,
        Cell::Late,
        Cell::Decayed,
        Cell::Silent,
        Cell::Refused,
        Cell::Withdrawn,
        Cell::Satisfied,
        Cell::LeftOut,
    ];
    Counts {
        members: cells.sum(&every),
        released,
        away: cells.of(Cell::Away),
        exposed: cells.exposed(),
        running: cells.of(Cell::Running),
        done: cells.of(Cell::Done),
        failed: cells.failed(),
        silent: cells.of(Cell::Silent),
        refused: cells.of(Cell::Refused),
        withdrawn: cells.of(Cell::Withdrawn) + cells.of(Cell::LeftOut),
        satisfied: cells.of(Cell::Satisfied),
    }
}
