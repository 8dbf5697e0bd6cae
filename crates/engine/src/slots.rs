//! Every change that a component's slots may undergo, as pure functions from one generation to the
//! next (DESIGN 5.1, 5.2, 5.5). Launcher, watcher, entrypoint and agent all change the slots
//! through these, publish the result under its own generation number, and decide again from what
//! they read when that number was taken.
//!
//! Invariants, each with a property test:
//! - a transition never loses `current`: it is replaced only by the trial that was committed,
//!   or by a slot that was current before;
//! - a release is in at most one of `current` and `trial`, and once in `previous`;
//! - neither `current` nor `trial` is in quarantine;
//! - the generation grows by exactly one.
//!
//! Not here: whether a return is allowed by the host's floor (`crate::floors`), and what may be
//! deleted (`crate::retention`).

use std::time::Duration;

use handover_model::{
    ErrorClass, Guard, Millis, Quarantined, ReleaseId, RunId, Slot, Slots, Timestamp, Trial,
};

mod desired;
mod pause;

pub use desired::{Desired, Nothing, TrialOver, desired, trial_over};
pub use pause::{end_pause, pause};

/// How many releases the quarantine remembers; the oldest is forgotten first.
pub const QUARANTINE_LIMIT: usize = 64;

/// Why a transition is refused. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A trial is pending.
    #[error("release {release} is on trial; wait for its end, or cancel it")]
    TrialPending {
        /// The one on trial.
        release: ReleaseId,
        /// The run that began it.
        run: RunId,
    },
    /// No trial is pending.
    #[error("no release is on trial")]
    NoTrial,
    /// The trial, or the current slot, is another run's.
    #[error("the slot belongs to {found}, not to {wanted}")]
    OtherRun {
        /// The run that the caller speaks for.
        wanted: RunId,
        /// The run that the slots name.
        found: RunId,
    },
    /// The child is stopped for another run.
    #[error("the component is paused while {run} copies its state; wait for its end")]
    Paused {
        /// The run that asked for the pause.
        run: RunId,
    },
    /// There is no pause to end.
    #[error("the component is not paused")]
    NotPaused,
    /// A trial of no length, or of no boots.
    #[error("a trial needs a window longer than nothing and at least one boot")]
    EmptyTrial,
    /// Every boot of the trial is spent.
    #[error("release {release} has spent every boot of its trial")]
    BootsSpent {
        /// The one on trial.
        release: ReleaseId,
    },
    /// The trial's window has passed.
    #[error("the trial of {release} was over after {window}")]
    WindowOver {
        /// The one on trial.
        release: ReleaseId,
        /// How long it lasted.
        window: Millis,
    },
    /// The release is in quarantine on this host.
    #[error("release {release} is in quarantine: {reason}; release it from there first")]
    Quarantined {
        /// Which one.
        release: ReleaseId,
        /// Why it is there.
        reason: String,
    },
    /// The release is not in quarantine.
    #[error("release {release} is not in quarantine")]
    NotQuarantined {
        /// Which one.
        release: ReleaseId,
    },
    /// The release is current already.
    #[error("release {release} is current already")]
    AlreadyCurrent {
        /// Which one.
        release: ReleaseId,
    },
    /// The release is none of the kept ones.
    #[error("release {release} is not kept on this host")]
    NotKept {
        /// Which one.
        release: ReleaseId,
    },
    /// The release is what the host would return to.
    #[error("release {release} is the last good one and stays")]
    LastGood {
        /// Which one.
        release: ReleaseId,
    },
    /// Nothing was ever committed.
    #[error("no release is current")]
    NoCurrent,
    /// There is nothing to return to.
    #[error("no earlier good release is kept on this host")]
    NoPrevious,
    /// The current release never asked for automatic return.
    #[error("release {release} has no guard: it asked for no return after commit")]
    NoGuard {
        /// The current one.
        release: ReleaseId,
    },
    /// The time for returning has passed.
    #[error("the guard of {release} was over after {within}")]
    GuardOver {
        /// The current one.
        release: ReleaseId,
        /// How long it lasted.
        within: Millis,
    },
    /// Neither a trial nor a guard counts time.
    #[error("there is neither a trial nor a guard")]
    NothingCounts,
    /// The generation number can't grow.
    #[error("the slots' generation number can't grow any further")]
    LastGeneration,
}

impl Refused {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::TrialPending { .. } | Self::Paused { .. } => ErrorClass::Retry,
            Self::NoTrial
            | Self::NotPaused
            | Self::OtherRun { .. }
            | Self::AlreadyCurrent { .. } => ErrorClass::Conflict,
            Self::EmptyTrial
            | Self::BootsSpent { .. }
            | Self::WindowOver { .. }
            | Self::Quarantined { .. }
            | Self::NotQuarantined { .. }
            | Self::NotKept { .. }
            | Self::LastGood { .. }
            | Self::NoCurrent
            | Self::NoPrevious
            | Self::NoGuard { .. }
            | Self::GuardOver { .. }
            | Self::NothingCounts
            | Self::LastGeneration => ErrorClass::Permanent,
        }
    }
}

/// The slots of a component before anything was installed: generation 0, never published.
pub fn empty() -> Slots {
    Slots::default()
}

/// Puts `slot` on trial, which ends a pause of its own run. `guard` is what it gets when it is
/// committed.
///
/// # Errors
/// When another trial or another run's pause is pending, when the release is current or in
/// quarantine, and when the trial could never be started.
pub fn begin_trial(
    slots: &Slots,
    slot: Slot,
    window: Millis,
    boots: u32,
    guard: Option<Guard>,
) -> Result<Slots, Refused> {
    refuse_pending(slots)?;
    pause::refuse_other_pause(slots, slot.run)?;
    if window == Millis(0) || boots == 0 {
        return Err(Refused::EmptyTrial);
    }
    if slots.current.as_ref().is_some_and(|current| current.release == slot.release) {
        return Err(Refused::AlreadyCurrent { release: slot.release });
    }
    refuse_quarantined(slots, &slot.release)?;
    let mut next = successor(slots)?;
    next.pause = None;
    next.trial = Some(Trial {
        slot: Slot { committed_at: None, guard: None, ..slot },
        boots_left: boots,
        window,
        elapsed: Millis(0),
        guard: guard.map(|guard| Guard { elapsed: Millis(0), ..guard }),
    });
    Ok(next)
}

/// Spends one boot of the trial. The launcher publishes the result before it starts the trial.
///
/// # Errors
/// When nothing is on trial, when every boot is spent, and when the window has passed.
pub fn spend_boot(slots: &Slots) -> Result<Slots, Refused> {
    let trial = pending(slots)?;
    refuse_window_over(trial)?;
    let left = trial
        .boots_left
        .checked_sub(1)
        .ok_or_else(|| Refused::BootsSpent { release: trial.slot.release.clone() })?;
    let mut next = successor(slots)?;
    next.trial = Some(Trial { boots_left: left, ..trial.clone() });
    Ok(next)
}

/// Monotonic time that passed, each part for the slot that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// For the trial.
    pub trial: Duration,
    /// For the current slot's guard.
    pub guard: Duration,
}

/// Adds time that passed on the monotonic clock to the trial and to the current slot's guard.
/// Neither grows beyond its length.
///
/// # Errors
/// When there is neither, so that the launcher doesn't publish generations for nothing.
pub fn tick(slots: &Slots, passed: Passed) -> Result<Slots, Refused> {
    if slots.trial.is_none() && slots.current.as_ref().is_none_or(|slot| slot.guard.is_none()) {
        return Err(Refused::NothingCounts);
    }
    successor(&with_time(slots, passed))
}

/// The same generation with time added that is not published yet: what a launcher decides by.
#[must_use]
pub fn with_time(slots: &Slots, passed: Passed) -> Slots {
    let mut seen = slots.clone();
    if let Some(trial) = &mut seen.trial {
        trial.elapsed = grown(trial.elapsed, passed.trial, trial.window);
    }
    if let Some(guard) = seen.current.as_mut().and_then(|current| current.guard.as_mut()) {
        guard.elapsed = grown(guard.elapsed, passed.guard, guard.within);
    }
    seen
}

/// Ends the trial of `run` without a commit: its release goes to quarantine with `reason`, and
/// `current` runs again. Used when window or boots are spent, when the watcher finds it ill, and
/// when a person cancels it.
///
/// # Errors
/// When nothing, or another run's release, is on trial.
pub fn quarantine_trial(
    slots: &Slots,
    run: RunId,
    reason: impl Into<String>,
    now: Timestamp,
) -> Result<Slots, Refused> {
    let trial = pending(slots)?;
    refuse_other_run(run, trial.slot.run)?;
    let mut next = successor(slots)?;
    next.trial = None;
    quarantine(&mut next, &trial.slot, reason.into(), now);
    Ok(next)
}

/// Makes the trial of `run` current; what was current becomes the first of `previous`, and the
/// guard, if the release asked for one and there is something to return to, starts.
///
/// # Errors
/// When nothing, or another run's release, is on trial, and when its window has passed: a healthy
/// report after the window can't commit.
pub fn commit(slots: &Slots, run: RunId, now: Timestamp) -> Result<Slots, Refused> {
    let trial = pending(slots)?;
    refuse_other_run(run, trial.slot.run)?;
    refuse_window_over(trial)?;
    let mut next = successor(slots)?;
    next.trial = None;
    next.previous.retain(|kept| kept.release != trial.slot.release);
    let guard = if slots.current.is_some() { trial.guard.clone() } else { None };
    if let Some(left) = next.current.take() {
        next.previous.insert(0, Slot { guard: None, ..left });
    }
    next.current = Some(Slot { committed_at: Some(now), guard, ..trial.slot.clone() });
    Ok(next)
}

/// What the launcher does about a child that ended although nobody stopped it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AfterCrash {
    /// A trial with boots left: start it again at once (spending a boot); nothing to publish.
    Retry,
    /// The trial's boots are spent: it is in quarantine and `current` runs again.
    Quarantined(Slots),
    /// The current release is guarded and bears this one: start it again.
    Counted(Slots),
    /// The current release is guarded and bears no more: the last good one is current again.
    Returned(Slots),
    /// The current release is not guarded: start it again, with back-off; nothing to publish.
    Unguarded,
}

/// Decides about the unexpected end of the child that ran the slot of `run`; `how` says how it
/// ended, for people (`exited with code 1`).
///
/// # Errors
/// [`Refused::OtherRun`] and its like when the slots changed since that child was started: look
/// again with [`desired`].
pub fn crash(slots: &Slots, run: RunId, how: &str, now: Timestamp) -> Result<AfterCrash, Refused> {
    if let Some(trial) = slots.trial.as_ref().filter(|trial| trial.slot.run == run) {
        if trial.boots_left > 0 {
            return Ok(AfterCrash::Retry);
        }
        let reason = format!("{how}, and every boot of its trial was spent");
        return quarantine_trial(slots, run, reason, now).map(AfterCrash::Quarantined);
    }
    let current = slots.current.as_ref().ok_or(Refused::NoCurrent)?;
    refuse_other_run(run, current.run)?;
    let Some(guard) = current.guard.as_ref().filter(|_guard| guard_runs(current)) else {
        return Ok(AfterCrash::Unguarded);
    };
    let Some(left) = guard.crashes_left.checked_sub(1) else {
        if slots.trial.is_some() || last_good(slots).is_none() {
            return Ok(AfterCrash::Unguarded);
        }
        let reason = format!("{how}, once more than it may within {} of its commit", guard.within);
        return return_to_previous(slots, run, reason, now).map(AfterCrash::Returned);
    };
    let mut next = successor(slots)?;
    next.current = Some(Slot {
        guard: Some(Guard { crashes_left: left, ..guard.clone() }),
        ..current.clone()
    });
    Ok(AfterCrash::Counted(next))
}

/// Returns by itself from the current slot of `run`, while its guard lasts, to the last good one.
/// What is left goes to quarantine with `reason`; its slot stays among `previous`, so that what it
/// wrote is kept until retention forgets it.
///
/// # Errors
/// When the current slot is another run's, has no guard or one whose time is over, when a trial is
/// pending, and when nothing is left to return to.
pub fn return_to_previous(
    slots: &Slots,
    run: RunId,
    reason: impl Into<String>,
    now: Timestamp,
) -> Result<Slots, Refused> {
    refuse_pending(slots)?;
    let current = slots.current.as_ref().ok_or(Refused::NoCurrent)?;
    refuse_other_run(run, current.run)?;
    let Some(guard) = &current.guard else {
        return Err(Refused::NoGuard { release: current.release.clone() });
    };
    if !guard_runs(current) {
        return Err(Refused::GuardOver { release: current.release.clone(), within: guard.within });
    }
    let target = last_good(slots).ok_or(Refused::NoPrevious)?.clone();
    step_back(slots, target, reason.into(), now)
}

/// Makes the kept slot of `release` current, because a person says so; it needs no network. What
/// is left goes to quarantine with `reason`, so that it isn't installed again by itself, and its
/// slot stays among `previous`. The caller has asked `crate::floors` before.
///
/// # Errors
/// When a trial is pending, and when `release` is current, not kept, or in quarantine.
pub fn roll_back_to(
    slots: &Slots,
    release: &ReleaseId,
    reason: impl Into<String>,
    now: Timestamp,
) -> Result<Slots, Refused> {
    refuse_pending(slots)?;
    if slots.current.as_ref().is_some_and(|current| current.release == *release) {
        return Err(Refused::AlreadyCurrent { release: release.clone() });
    }
    let target = slots
        .previous
        .iter()
        .find(|kept| kept.release == *release)
        .ok_or_else(|| Refused::NotKept { release: release.clone() })?
        .clone();
    refuse_quarantined(slots, release)?;
    step_back(slots, target, reason.into(), now)
}

/// Takes the kept slot of `release` off the list. Retention publishes the result before it
/// deletes any directory.
///
/// # Errors
/// When the release is current, on trial, the last good one, or not kept.
pub fn forget(slots: &Slots, release: &ReleaseId) -> Result<Slots, Refused> {
    if slots.current.as_ref().is_some_and(|current| current.release == *release) {
        return Err(Refused::AlreadyCurrent { release: release.clone() });
    }
    if let Some(trial) = slots.trial.as_ref().filter(|trial| trial.slot.release == *release) {
        return Err(Refused::TrialPending { release: release.clone(), run: trial.slot.run });
    }
    if last_good(slots).is_some_and(|good| good.release == *release) {
        return Err(Refused::LastGood { release: release.clone() });
    }
    let mut next = successor(slots)?;
    next.previous.retain(|kept| kept.release != *release);
    if next.previous.len() == slots.previous.len() {
        return Err(Refused::NotKept { release: release.clone() });
    }
    Ok(next)
}

/// Lets `release` out of quarantine, because a person says so.
///
/// # Errors
/// When it isn't there.
pub fn clear_quarantine(slots: &Slots, release: &ReleaseId) -> Result<Slots, Refused> {
    let mut next = successor(slots)?;
    next.quarantine.retain(|entry| entry.release != *release);
    if next.quarantine.len() == slots.quarantine.len() {
        return Err(Refused::NotQuarantined { release: release.clone() });
    }
    Ok(next)
}

/// The slot that the host would return to: the first of `previous` that is not in quarantine.
pub fn last_good(slots: &Slots) -> Option<&Slot> {
    slots.previous.iter().find(|kept| quarantined(slots, &kept.release).is_none())
}

/// The quarantine's entry for `release`, if there is one.
pub fn quarantined<'a>(slots: &'a Slots, release: &ReleaseId) -> Option<&'a Quarantined> {
    slots.quarantine.iter().find(|entry| entry.release == *release)
}

/// Whether the slot has a guard whose time is not over: returning from it needs no permit.
pub fn guard_runs(slot: &Slot) -> bool {
    slot.guard.as_ref().is_some_and(|guard| guard.elapsed < guard.within)
}

fn successor(slots: &Slots) -> Result<Slots, Refused> {
    let generation = slots.generation.checked_add(1).ok_or(Refused::LastGeneration)?;
    Ok(Slots { generation, ..slots.clone() })
}

fn pending(slots: &Slots) -> Result<&Trial, Refused> {
    slots.trial.as_ref().ok_or(Refused::NoTrial)
}

fn refuse_pending(slots: &Slots) -> Result<(), Refused> {
    match &slots.trial {
        None => Ok(()),
        Some(trial) => {
            Err(Refused::TrialPending { release: trial.slot.release.clone(), run: trial.slot.run })
        }
    }
}

fn refuse_other_run(wanted: RunId, found: RunId) -> Result<(), Refused> {
    if wanted == found { Ok(()) } else { Err(Refused::OtherRun { wanted, found }) }
}

fn refuse_window_over(trial: &Trial) -> Result<(), Refused> {
    if trial.elapsed < trial.window {
        return Ok(());
    }
    Err(Refused::WindowOver { release: trial.slot.release.clone(), window: trial.window })
}

fn refuse_quarantined(slots: &Slots, release: &ReleaseId) -> Result<(), Refused> {
    match quarantined(slots, release) {
        None => Ok(()),
        Some(entry) => {
            Err(Refused::Quarantined { release: release.clone(), reason: entry.reason.clone() })
        }
    }
}

fn grown(elapsed: Millis, passed: Duration, limit: Millis) -> Millis {
    Millis(elapsed.0.saturating_add(Millis::of(passed).0).min(limit.0.max(elapsed.0)))
}

fn quarantine(next: &mut Slots, slot: &Slot, reason: String, now: Timestamp) {
    next.quarantine.retain(|entry| entry.release != slot.release);
    let surplus = (next.quarantine.len() + 1).saturating_sub(QUARANTINE_LIMIT);
    next.quarantine.drain(..surplus);
    next.quarantine.push(Quarantined {
        release: slot.release.clone(),
        reason,
        at: now,
        run: slot.run,
    });
}

fn step_back(
    slots: &Slots,
    target: Slot,
    reason: String,
    now: Timestamp,
) -> Result<Slots, Refused> {
    let mut next = successor(slots)?;
    next.pause = None;
    next.previous.retain(|kept| kept.release != target.release);
    if let Some(left) = next.current.take() {
        quarantine(&mut next, &left, reason, now);
        next.previous.insert(0, Slot { guard: None, ..left });
    }
    next.current = Some(Slot { guard: None, ..target });
    Ok(next)
}

#[cfg(test)]
mod tests;
