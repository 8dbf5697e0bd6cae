//! The controller of one rollout: events in, decisions and their reasons out.
//!
//! It holds what the orders of its members say (eight bytes a member, and eight more for each that
//! is under way), counts it, and raises the number of released members when the gate lets it. All
//! of it can be rebuilt from rows: open it with the stored plan, roster and progress, tell it what
//! the orders say, in any order, and it decides as the one before it.
//!
//! The rules, in the order in which they are asked:
//!
//! - A step of the ramp is waited for until every member that is there has an outcome. Silence is
//!   one, by the clock alone; those that are away or kept from it by something of their own are
//!   not waited for, nor those that could take their order and let a whole deadline pass.
//! - A step in which more hosts are silent than say how it went teaches nothing: it is held.
//! - A step from which less than half of what was wanted was learnt is topped up by the shortfall,
//!   as long as no more than four times its size could come back at once; then it is held.
//! - Else the next step is released: twice as large while the evidence permits, else as large.
//! - A wave is through when nobody is left to release, its soak is over, its share of successes
//!   holds and the external checks pass. A last wave has nobody after it: it is through at once.
//! - A rollout is done when every wave is through and nobody may yet come; those that are away are
//!   given as long as the rollout is watched afterwards, and so are late joiners.
//! - Halts are asked first and are durable. Resuming accepts what is known at that moment: those
//!   failures and silences are set aside for good, by position. A host whose silence was accepted
//!   and that then fails is new, and so is every other host. Successes go on counting.

mod acting;
mod acts;
mod advance;
mod book;
mod decision;
mod halting;
mod info;
mod inputs;
mod pace;
mod progress;
mod seat;
mod watch;
mod why;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use handover_model::Timestamp;
use handover_model::api::{RolloutSpec, RolloutState};

pub use acts::{Act, RefusedAct};
pub use decision::{Decision, Effect, RevertScope};
pub use inputs::{CheckFact, Event, Facts, MemberFact, Presence, Watched, WindowFact};
pub use progress::{Halt, HaltGate, Period, Progress, Signed, Step, WaveProgress};

use self::book::{Book, Terms};
use super::plan::Plan;
use super::roster::Roster;

/// The controller of one rollout.
#[derive(Debug)]
pub struct Controller {
    spec: RolloutSpec,
    progress: Progress,
    book: Book,
    /// When it decided first: nobody was listened to before.
    opened: Option<Timestamp>,
    /// When it decided last.
    decided: Option<Timestamp>,
    /// How long a silence makes a host away, as it was told last.
    patience: Duration,
    /// When something last became of the step, or nothing could.
    moved_at: Timestamp,
    /// Whether hosts could take their orders when it decided last.
    could_move: bool,
    /// How many were silent, and when, as the untouched hosts were counted last.
    compared: Option<(u32, Timestamp)>,
    changed: bool,
}

impl Controller {
    /// Opens a rollout from what is stored. What its orders say is to be told next, by
    /// [`Self::handle`], before anything is decided.
    pub fn open(
        plan: Arc<Plan>,
        roster: Arc<Roster>,
        spec: RolloutSpec,
        mut progress: Progress,
    ) -> Self {
        progress.waves.resize_with(plan.waves.len(), WaveProgress::default);
        let mut book = Book::open(plan, roster, terms(&spec), &progress);
        if let Some(step) = progress.step {
            book.watch(step.from..step.to, &progress);
        }
        let moved_at = progress.epoch;
        Self {
            spec,
            progress,
            book,
            opened: None,
            decided: None,
            patience: Duration::ZERO,
            moved_at,
            could_move: false,
            compared: None,
            changed: false,
        }
    }

    /// What is to be stored.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.book.plan
    }

    /// The roster.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.book.roster
    }

    /// What was asked for, as it stands now.
    pub fn spec(&self) -> &RolloutSpec {
        &self.spec
    }

    /// Takes an event in: in constant time but for the order of deadlines, O(log n), and the
    /// periods of silence, of which there are some twenty.
    pub fn handle(&mut self, event: Event) {
        self.book.handle(event, &self.progress);
        if let Event::Ended { position, outcome: super::outcome::Outcome::Satisfied, .. } = event {
            self.keep_satisfied(position);
        }
    }

    /// Keeps that a member needs no order: nothing else that is stored says so.
    fn keep_satisfied(&mut self, position: u32) {
        if let Err(place) = self.progress.satisfied.binary_search(&position) {
            self.progress.satisfied.insert(place, position);
            self.changed = true;
        }
    }

    /// Takes late joiners in: plan and roster as [`late`](super::roster::late) left them.
    pub fn join(&mut self, plan: Arc<Plan>, roster: Arc<Roster>) {
        self.book.join(plan, roster, &self.progress);
    }

    /// Takes a changed specification in, which
    /// [`check_change`](super::check::check_change) let through.
    pub fn change(&mut self, spec: RolloutSpec) {
        self.spec = spec;
        self.book.change(terms(&self.spec), &self.progress);
    }

    /// When it should decide again, even if nothing happens meanwhile: a deadline to judge, the
    /// end of a soak, a start. The openings of windows are not among them; holds name those.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let judged = self
            .book
            .earliest_due()
            .map(|due| due.max(self.opened.unwrap_or(due)).after(self.patience));
        let later = |at: &Timestamp| self.decided.is_none_or(|decided| *at > decided);
        [judged, self.next_turn()].into_iter().flatten().filter(later).min()
    }

    /// Decides what follows from all that is known now.
    pub fn decide(&mut self, facts: &Facts<'_>, now: Timestamp) -> Decision {
        let mut effects = Vec::new();
        (self.patience, self.decided) = (facts.patience.duration(), Some(now));
        if self.opened.is_none() {
            self.opened = Some(now);
            self.moved_at = now;
            self.look_around(facts, now);
        }
        self.judge_deadlines(facts, now);
        self.compare_silence(facts, now);
        let may_move = self.may_move(facts);
        let could_move = std::mem::replace(&mut self.could_move, may_move);
        if std::mem::take(&mut self.book.moved) || !may_move || !could_move {
            self.moved_at = now;
        }
        match self.progress.state {
            RolloutState::Scheduled => {
                if self.spec.start_at.is_none_or(|start| start <= now) {
                    self.enter(RolloutState::Running);
                    effects.push(Effect::Started);
                    self.run(facts, now, &mut effects);
                }
            }
            RolloutState::Running => self.run(facts, now, &mut effects),
            RolloutState::Done => self.watch_committed(facts, now, &mut effects),
            RolloutState::Paused
            | RolloutState::Halted
            | RolloutState::Reverting
            | RolloutState::Reverted
            | RolloutState::Aborted
            | RolloutState::Superseded => {}
        }
        let changed = std::mem::take(&mut self.changed);
        let open = self.book.open_in_step(&self.progress);
        Decision { changed, effects, holds: self.holds(facts, open, now) }
    }

    /// Halts, or goes on.
    fn run(&mut self, facts: &Facts<'_>, now: Timestamp, effects: &mut Vec<Effect>) {
        self.watch_committed(facts, now, effects);
        if self.progress.state != RolloutState::Running {
            return;
        }
        match self.find_halt(facts, now) {
            Some(halt) => self.halt(halt, effects),
            None => self.advance(facts, now, effects),
        }
    }

    fn enter(&mut self, state: RolloutState) {
        self.progress.state = state;
        self.changed = true;
    }

    /// Whether hosts could take their orders now, as far as the rollout as a whole is concerned.
    fn may_move(&self, facts: &Facts<'_>) -> bool {
        self.progress.state == RolloutState::Running
            && facts.window.open
            && facts.fleet_stopped.is_none()
            && facts.release.is_ok()
    }

    /// Learns who is there, of all that might take an order.
    fn look_around(&mut self, facts: &Facts<'_>, now: Timestamp) {
        self.look_at(0..self.progress.released, facts, now);
    }

    fn look_at(&mut self, range: std::ops::Range<u32>, facts: &Facts<'_>, now: Timestamp) {
        let waiting =
            |seat: seat::Seat, _| matches!(seat.phase, seat::Phase::Waiting | seat::Phase::Passing);
        for position in self.book.find(range, usize::MAX, waiting) {
            let fact = (facts.member)(position);
            let is_new = self.book.seat(position).is_some_and(|seat| seat.attempt == 0);
            if fact.satisfied && is_new {
                let outcome = super::outcome::Outcome::Satisfied;
                self.handle(Event::Ended { position, attempt: 0, outcome, at: now });
                continue;
            }
            let presence = match fact.last_seen {
                Some(seen) if is_there(seen, facts, now) && fact.blocked => Presence::Blocked,
                Some(seen) if is_there(seen, facts, now) => Presence::Present,
                Some(_) | None => Presence::Away,
            };
            self.book.see(position, presence, &self.progress);
        }
    }

    /// Judges members whose deadline passed: late when they were heard of since, else silent. A
    /// host is given a moment after its deadline, and after this controller began to listen, in
    /// which its word may still be on its way.
    fn judge_deadlines(&mut self, facts: &Facts<'_>, now: Timestamp) {
        let (patience, opened) = (facts.patience.duration(), self.opened.unwrap_or(now));
        let is_due = |due: Timestamp| due.max(opened).after(patience) <= now;
        while let Some((position, due)) = self.book.next_due(is_due) {
            let heard = (facts.member)(position).last_seen.is_some_and(|seen| seen >= due);
            let mark = if heard { seat::Mark::Late } else { seat::Mark::Silent };
            self.book.touch(position, &self.progress, |seat| seat.set(mark, true));
        }
    }

    /// Judges members whose deadline passed by the clock alone, without the moment that a
    /// controller gives hosts after it was opened. For one that was opened anew to do what a
    /// person wants, right before [`Act::Resume`]: what is accepted is what is known now.
    pub fn judge(
        &mut self,
        patience: handover_model::Millis,
        last_seen: &dyn Fn(u32) -> Option<Timestamp>,
        now: Timestamp,
    ) {
        let is_due = |due: Timestamp| due.after(patience.duration()) <= now;
        while let Some((position, due)) = self.book.next_due(is_due) {
            let heard = last_seen(position).is_some_and(|seen| seen >= due);
            let mark = if heard { seat::Mark::Late } else { seat::Mark::Silent };
            self.book.touch(position, &self.progress, |seat| seat.set(mark, true));
        }
    }

    fn deadline(&self) -> Duration {
        self.spec.deadline.duration()
    }
}

fn terms(spec: &RolloutSpec) -> Terms {
    Terms { attempts: spec.retries.attempts, deadline: spec.deadline.duration() }
}

fn is_there(seen: Timestamp, facts: &Facts<'_>, now: Timestamp) -> bool {
    now.since(seen) <= facts.patience.duration()
}
