//! The monotonic time of a trial and of a guard since it was last published, and when to publish
//! it again. Each belongs to one run: time that passed for one slot never counts for another.

use std::time::Duration;

use handover_model::{Millis, RunId, Slots};

use crate::slots::{self, Passed};

/// Time is published each tenth of a window, but neither more often nor less often than this.
const TRIAL_EVERY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// As above, for a twentieth of a guard.
const GUARD_EVERY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_mins(1));

#[derive(Debug, Clone)]
pub(super) struct Clocks {
    last: Duration,
    trial: Option<(RunId, Duration)>,
    guard: Option<(RunId, Duration)>,
}

impl Clocks {
    pub(super) fn new(now: Duration) -> Self {
        Self { last: now, trial: None, guard: None }
    }

    pub(super) fn now(&self) -> Duration {
        self.last
    }

    /// Lets time pass up to `now`, for what the known slots count.
    pub(super) fn advance(&mut self, slots: Option<&Slots>, now: Duration) {
        let passed = now.saturating_sub(self.last);
        self.last = self.last.max(now);
        let Some(slots) = slots else { return };
        self.follow(slots);
        for (_, unsaved) in [&mut self.trial, &mut self.guard].into_iter().flatten() {
            *unsaved = unsaved.saturating_add(passed);
        }
    }

    /// Drops what was counted for slots that are gone, and begins with those that came.
    pub(super) fn follow(&mut self, slots: &Slots) {
        let trial = slots.trial.as_ref().map(|trial| trial.slot.run);
        self.trial = trial.map(|run| kept(self.trial, run));
        let guarded = slots.current.as_ref().filter(|slot| slots::guard_runs(slot));
        self.guard = guarded.map(|slot| kept(self.guard, slot.run));
    }

    /// Everything counted so far was published.
    pub(super) fn saved(&mut self) {
        for (_, unsaved) in [&mut self.trial, &mut self.guard].into_iter().flatten() {
            *unsaved = Duration::ZERO;
        }
    }

    /// The slots with the time that is not published yet; the generation stays.
    pub(super) fn folded(&self, slots: &Slots) -> Slots {
        slots::with_time(slots, self.passed())
    }

    /// Whether so much is unpublished that it should be published.
    pub(super) fn is_due(&self, slots: &Slots) -> bool {
        self.due_in(slots).is_some_and(|rest| rest.is_zero())
    }

    /// Whether anything is unpublished.
    pub(super) fn has_unsaved(&self) -> bool {
        self.passed() != Passed::default()
    }

    pub(super) fn next_deadline(
        &self,
        slots: Option<&Slots>,
        may_publish: bool,
    ) -> Option<Duration> {
        let slots = slots?;
        let save = self.due_in(slots).filter(|_| may_publish);
        let over = self.folded(slots).trial.and_then(|trial| {
            Some(Millis(trial.window.0.checked_sub(trial.elapsed.0).filter(|rest| *rest > 0)?))
        });
        let rest = save.into_iter().chain(over.map(Millis::duration)).min()?;
        Some(self.last.saturating_add(rest))
    }

    fn passed(&self) -> Passed {
        // Documents carry whole milliseconds; a remainder must not look like something to save.
        let whole = |part: Option<(RunId, Duration)>| {
            part.map_or(Duration::ZERO, |(_, unsaved)| Millis::of(unsaved).duration())
        };
        Passed { trial: whole(self.trial), guard: whole(self.guard) }
    }

    /// Never during a pause: whoever asked for it counts on the generation that it published.
    fn due_in(&self, slots: &Slots) -> Option<Duration> {
        if slots.pause.is_some() {
            return None;
        }
        let trial = self.trial.zip(slots.trial.as_ref()).map(|((_, unsaved), trial)| {
            every(trial.window, 10, TRIAL_EVERY).saturating_sub(unsaved)
        });
        let guard = slots.current.as_ref().and_then(|slot| slot.guard.as_ref());
        let guard = self.guard.zip(guard).map(|((_, unsaved), guard)| {
            let rest = guard.within.0.saturating_sub(guard.elapsed.0);
            every(guard.within, 20, GUARD_EVERY)
                .min(Millis(rest).duration())
                .saturating_sub(unsaved)
        });
        trial.into_iter().chain(guard).min()
    }
}

fn kept(counted: Option<(RunId, Duration)>, run: RunId) -> (RunId, Duration) {
    counted.filter(|(of, _)| *of == run).unwrap_or((run, Duration::ZERO))
}

fn every(length: Millis, share: u32, (least, most): (Duration, Duration)) -> Duration {
    (length.duration() / share).clamp(least, most)
}
