//! The members' seats and everything that is counted over them: cells by wave and by step, the
//! gate's evidence, deadlines. Each change of a seat changes the counts by what it changed, so that
//! an event costs the same however large the fleet is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use handover_model::Timestamp;

use super::inputs::{Event, Presence};
use super::progress::Progress;
use super::seat::{Cell, Mark, Phase, Seat, Tally, Weight};
use crate::rollout::gate::Evidence;
use crate::rollout::outcome::Outcome;
use crate::rollout::plan::Plan;
use crate::rollout::roster::Roster;

/// Times of members are kept in tenths of a second since the rollout was made.
const TICK: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Book {
    pub(super) plan: Arc<Plan>,
    pub(super) roster: Arc<Roster>,
    seats: Vec<Seat>,
    waves: Vec<WaveTally>,
    /// Positions of the step whose members are counted apart.
    pub(super) step: Range<u32>,
    pub(super) step_tally: Tally,
    pub(super) evidence: Evidence,
    /// No member of the step before this position waits for an outcome.
    open_from: u32,
    /// Weighed failures on hosts that had committed.
    pub(super) decays: u32,
    /// Something became of a member of the step since this was looked at last.
    pub(super) moved: bool,
    deadlines: BinaryHeap<Reverse<(u32, u32)>>,
    epoch: Timestamp,
    attempts: u8,
    deadline: u32,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WaveTally {
    pub(super) cells: Tally,
    /// Failures that weigh.
    pub(super) failures: u32,
}

/// What the specification says about single members.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) attempts: u8,
    pub(super) deadline: Duration,
}

impl Book {
    pub(super) fn open(
        plan: Arc<Plan>,
        roster: Arc<Roster>,
        terms: Terms,
        progress: &Progress,
    ) -> Self {
        let mut seats = vec![Seat::EMPTY; roster.members.len()];
        let marks = [
            (Mark::LeftOut, &progress.left_out),
            (Mark::AcceptedFailure, &progress.accepted_failures),
            (Mark::AcceptedSilence, &progress.accepted_silence),
        ];
        for (mark, positions) in marks {
            for position in positions {
                if let Some(seat) = seats.get_mut(at(*position)) {
                    seat.set(mark, true);
                }
            }
        }
        for position in &progress.satisfied {
            if let Some(seat) = seats.get_mut(at(*position)) {
                seat.advance(0, Phase::Satisfied, 0);
            }
        }
        let mut book = Self {
            evidence: Evidence::new(plan.baseline, plan.strata.len()),
            plan,
            roster,
            seats,
            waves: Vec::new(),
            step: 0..0,
            step_tally: Tally::default(),
            open_from: 0,
            decays: 0,
            moved: true,
            deadlines: BinaryHeap::new(),
            epoch: progress.epoch,
            attempts: terms.attempts,
            deadline: ticks(terms.deadline),
        };
        for (period, stored) in progress.periods.iter().enumerate() {
            book.evidence.silence.compare(period, stored.controls);
        }
        book.count_all(progress);
        book
    }

    /// Takes late joiners in.
    pub(super) fn join(&mut self, plan: Arc<Plan>, roster: Arc<Roster>, progress: &Progress) {
        self.seats.resize(roster.members.len(), Seat::EMPTY);
        (self.plan, self.roster) = (plan, roster);
        self.count_all(progress);
    }

    /// Takes changed terms in: deadlines are computed anew.
    pub(super) fn change(&mut self, terms: Terms, progress: &Progress) {
        self.deadline = ticks(terms.deadline);
        let old = std::mem::replace(&mut self.attempts, terms.attempts);
        if old != terms.attempts {
            self.count_all(progress);
        }
        self.deadlines.clear();
        for (position, seat) in self.seats.iter().enumerate() {
            if seat.is_open() && !seat.is_judged() {
                let due = seat.from.saturating_add(self.deadline);
                self.deadlines.push(Reverse((due, u32::try_from(position).unwrap_or(u32::MAX))));
            }
        }
    }

    /// Takes an event in.
    pub(super) fn handle(&mut self, event: Event, progress: &Progress) {
        match event {
            Event::HandedOut { position, attempt, from } => {
                self.order(position, attempt, Phase::Handed, from, progress);
            }
            Event::Exposed { position, attempt, from } => {
                self.order(position, attempt, Phase::Exposed, from, progress);
            }
            Event::Ended { position, attempt, outcome, at } => {
                if outcome == Outcome::Recalled {
                    let attempt = u8::try_from(attempt).unwrap_or(u8::MAX);
                    self.touch(position, progress, |seat| seat.recall(attempt));
                }
                self.order(position, attempt, outcome.into(), at, progress);
            }
            Event::Decayed { position } => {
                self.touch(position, progress, |seat| seat.set(Mark::Decayed, true));
            }
            Event::Presence { position, presence, at } => {
                self.see(position, presence, progress);
                let returned = presence != Presence::Away
                    && self.seat(position).is_some_and(|seat| seat.has(Mark::Silent));
                if returned {
                    // It may have its outcome with it: it is judged anew a little later.
                    self.touch(position, progress, |seat| seat.set(Mark::Silent, false));
                    self.deadlines.push(Reverse((self.tick(at), position)));
                }
            }
        }
    }

    /// Notes whether a member is there.
    pub(super) fn see(&mut self, position: u32, presence: Presence, progress: &Progress) {
        self.touch(position, progress, |seat| {
            seat.set(Mark::Present, presence == Presence::Present);
            seat.set(Mark::Blocked, presence == Presence::Blocked);
        });
    }

    fn order(
        &mut self,
        position: u32,
        attempt: u32,
        phase: Phase,
        from: Timestamp,
        progress: &Progress,
    ) {
        let from = self.tick(from);
        let attempt = u8::try_from(attempt).unwrap_or(u8::MAX);
        let before = self.seat(position).filter(|seat| seat.is_open());
        self.touch(position, progress, |seat| seat.advance(attempt, phase, from));
        let Some(seat) = self.seat(position).filter(|seat| seat.is_open() && !seat.is_judged())
        else {
            return;
        };
        // One entry for each attempt: where it turns out to be too early, it is put back.
        let has_entry = before.is_some_and(|before| {
            before.attempt == seat.attempt && before.from <= seat.from && !before.is_judged()
        });
        if !has_entry {
            self.deadlines.push(Reverse((seat.from.saturating_add(self.deadline), position)));
        }
    }

    /// Changes a seat, and the counts by what changed. Returns whether anything did.
    pub(super) fn touch(
        &mut self,
        position: u32,
        progress: &Progress,
        change: impl FnOnce(&mut Seat),
    ) -> bool {
        let Some(seat) = self.seats.get_mut(at(position)) else { return false };
        let before = *seat;
        change(seat);
        let after = *seat;
        if before == after {
            return false;
        }
        let is_released = position < progress.released;
        self.recount(position, before.cell(is_released, self.attempts), Some(after), is_released);
        self.weigh(position, before, after, progress);
        true
    }

    /// Moves a member from one cell to that of its seat.
    fn recount(&mut self, position: u32, before: Cell, seat: Option<Seat>, is_released: bool) {
        let seat = seat.unwrap_or(Seat::EMPTY);
        let after = seat.cell(is_released, self.attempts);
        if before == after {
            return;
        }
        if let Some(wave) = self.waves.get_mut(at(self.plan.wave_of(position))) {
            wave.cells.take(before);
            wave.cells.add(after);
        }
        if self.step.contains(&position) {
            self.step_tally.take(before);
            self.step_tally.add(after);
            self.moved = true;
            if after.waits_for_outcome() {
                self.open_from = self.open_from.min(position);
            }
        }
    }

    /// Tells the gate what changed.
    fn weigh(&mut self, position: u32, before: Seat, after: Seat, progress: &Progress) {
        let (before, after) = (before.weight(self.attempts), after.weight(self.attempts));
        if before == after {
            return;
        }
        let Some(member) = self.roster.members.get(at(position)).copied() else { return };
        let period = progress.period_of(position);
        let mut none = WaveTally::default();
        let wave = self.waves.get_mut(at(self.plan.wave_of(position))).unwrap_or(&mut none);
        if before.is_failure() && !after.is_failure() {
            self.evidence.forgive(member.stratum);
            wave.failures = wave.failures.saturating_sub(1);
        }
        if before == Weight::Silent {
            self.evidence.silence.return_from(period, member.site());
        }
        if !after.is_exposed() {
            self.evidence.unexpose(member.stratum);
            self.evidence.silence.unexpose(period);
        }
        if !before.is_exposed() {
            self.evidence.expose(member.stratum, 1);
            self.evidence.silence.expose(period, 1);
        }
        if after.is_failure() && !before.is_failure() {
            self.evidence.fail(member.stratum);
            wave.failures += 1;
        }
        if after == Weight::Silent {
            self.evidence.silence.fall_silent(period, member.site());
        }
        self.decays += u32::from(after == Weight::Decayed);
        self.decays -= u32::from(before == Weight::Decayed);
    }

    /// Counts every seat anew; the gate's evidence is left as it is.
    fn count_all(&mut self, progress: &Progress) {
        let mut waves = vec![WaveTally::default(); self.plan.waves.len()];
        let mut step = Tally::default();
        let mut wave = 0;
        for (seat, position) in self.seats.iter().zip(0_u32..) {
            while self.plan.waves.get(wave).is_some_and(|plan| plan.end <= position) {
                wave += 1;
            }
            let cell = seat.cell(position < progress.released, self.attempts);
            if let Some(tally) = waves.get_mut(wave) {
                tally.cells.add(cell);
                tally.failures += u32::from(seat.weight(self.attempts).is_failure());
            }
            if self.step.contains(&position) {
                step.add(cell);
            }
        }
        (self.waves, self.step_tally) = (waves, step);
    }

    /// Counts the members of a step apart from now on.
    pub(super) fn watch(&mut self, step: Range<u32>, progress: &Progress) {
        let mut tally = Tally::default();
        for position in step.clone() {
            if let Some(seat) = self.seats.get(at(position)) {
                tally.add(seat.cell(position < progress.released, self.attempts));
            }
        }
        self.open_from = step.start;
        (self.step, self.step_tally, self.moved) = (step, tally, true);
    }

    /// Where members of the step that wait for an outcome are to be looked for: not from the
    /// beginning each time, and not without end.
    pub(super) fn open_in_step(&mut self, progress: &Progress) -> Range<u32> {
        let is_open = |cell: Cell| cell.waits_for_outcome();
        while self.open_from < self.step.end
            && !self.cell(self.open_from, progress).is_some_and(is_open)
        {
            self.open_from += 1;
        }
        self.open_from..self.step.end.min(self.open_from.saturating_add(MOST_LOOKED_AT))
    }

    /// Members of a range were released: `progress` says so already.
    pub(super) fn release(&mut self, range: Range<u32>) {
        for position in range {
            if let Some(seat) = self.seats.get(at(position)).copied() {
                let before = seat.cell(false, self.attempts);
                self.recount(position, before, Some(seat), true);
            }
        }
    }

    /// The next member whose deadline passed, and was not judged: its position and deadline.
    pub(super) fn next_due(
        &mut self,
        is_due: impl Fn(Timestamp) -> bool,
    ) -> Option<(u32, Timestamp)> {
        while let Some(Reverse((tick, position))) = self.deadlines.peek().copied() {
            if !is_due(self.time(tick)) {
                return None;
            }
            self.deadlines.pop();
            let seat = self.seat(position).filter(|seat| seat.is_open() && !seat.is_judged());
            // An order that has ended says nothing any more.
            let Some(due) = seat.map(|seat| seat.from.saturating_add(self.deadline)) else {
                continue;
            };
            if tick >= due {
                return Some((position, self.time(due)));
            }
            self.deadlines.push(Reverse((due, position)));
        }
        None
    }

    #[cfg(test)]
    pub(super) fn deadlines_kept(&self) -> usize {
        self.deadlines.len()
    }

    /// The earliest deadline that may have to be judged.
    pub(super) fn earliest_due(&self) -> Option<Timestamp> {
        self.deadlines.peek().map(|Reverse((tick, _))| self.time(*tick))
    }

    pub(super) fn seat(&self, position: u32) -> Option<Seat> {
        self.seats.get(at(position)).copied()
    }

    pub(super) fn cell(&self, position: u32, progress: &Progress) -> Option<Cell> {
        let seat = self.seat(position)?;
        Some(seat.cell(position < progress.released, self.attempts))
    }

    /// The first `most` positions of a range whose seat is as wanted.
    pub(super) fn find(
        &self,
        range: Range<u32>,
        most: usize,
        wanted: impl Fn(Seat, u32) -> bool,
    ) -> Vec<u32> {
        let seats = self.seats.get(at(range.start)..at(range.end).min(self.seats.len()));
        let seats = seats.unwrap_or_default().iter().zip(range);
        let found = seats.filter(|(seat, position)| wanted(**seat, *position));
        found.map(|(_, position)| position).take(most).collect()
    }

    pub(super) fn wave(&self, wave: u32) -> WaveTally {
        self.waves.get(at(wave)).copied().unwrap_or_default()
    }

    pub(super) fn waves(&self) -> &[WaveTally] {
        &self.waves
    }

    pub(super) fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.waves.iter().for_each(|wave| total.merge(&wave.cells));
        total
    }

    pub(super) fn attempts(&self) -> u8 {
        self.attempts
    }

    fn tick(&self, time: Timestamp) -> u32 {
        ticks(time.since(self.epoch))
    }

    fn time(&self, tick: u32) -> Timestamp {
        self.epoch.after(TICK.saturating_mul(tick))
    }
}

/// How many members of a step are looked at to name a few that wait.
const MOST_LOOKED_AT: u32 = 4096;

/// A length in ticks, rounded up: a deadline is never early.
fn ticks(length: Duration) -> u32 {
    u32::try_from(length.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX)
}

pub(super) fn at(position: u32) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}
