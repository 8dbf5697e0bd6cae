//! Pauses: the child stopped and its sockets held while its state is copied.
//!
//! Invariant: a pause is never beside a trial, and only publishing the trial of its own run turns
//! it into one. So whoever finds its own pause still there knows that nothing was started since.

use handover_model::{Millis, Pause, RunId, Slots};

use super::{Refused, refuse_pending, successor};

/// Asks the launcher to stop `current` and to start nothing for at most `window`.
///
/// # Errors
/// When a trial or another run's pause is pending, when nothing is current, and when `window` is
/// nothing.
pub fn pause(slots: &Slots, run: RunId, window: Millis) -> Result<Slots, Refused> {
    refuse_pending(slots)?;
    refuse_other_pause(slots, run)?;
    if slots.current.is_none() {
        return Err(Refused::NoCurrent);
    }
    if window == Millis(0) {
        return Err(Refused::EmptyTrial);
    }
    let mut next = successor(slots)?;
    next.pause = Some(Pause { run, window });
    Ok(next)
}

/// Ends the pause, so that `current` is started again. The launcher publishes this when the pause
/// lasted longer than its window, or is older than the launcher's own life; a run, when it gives
/// up.
///
/// # Errors
/// [`Refused::NotPaused`] when there is no pause.
pub fn end_pause(slots: &Slots) -> Result<Slots, Refused> {
    if slots.pause.is_none() {
        return Err(Refused::NotPaused);
    }
    let mut next = successor(slots)?;
    next.pause = None;
    Ok(next)
}

pub(super) fn refuse_other_pause(slots: &Slots, run: RunId) -> Result<(), Refused> {
    match &slots.pause {
        Some(pause) if pause.run != run => Err(Refused::Paused { run: pause.run }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use handover_model::{IdGen, Timestamp};

    use super::*;

    fn runs() -> (RunId, RunId) {
        let mut ids = IdGen::new([3; 32]);
        let now = Timestamp::from_micros(0);
        (RunId::mint(&mut ids, now), RunId::mint(&mut ids, now))
    }

    #[test]
    fn a_pause_needs_something_to_stop() {
        let (run, _) = runs();
        assert_eq!(pause(&Slots::default(), run, Millis(1)), Err(Refused::NoCurrent));
    }

    #[test]
    fn another_runs_pause_is_not_taken_over() {
        let (mine, theirs) = runs();
        let slots =
            Slots { pause: Some(Pause { run: theirs, window: Millis(1) }), ..Slots::default() };
        assert_eq!(pause(&slots, mine, Millis(1)), Err(Refused::Paused { run: theirs }));
        let ended = end_pause(&slots).unwrap();
        assert_eq!((ended.generation, &ended.pause), (1, &None));
        assert_eq!(end_pause(&ended), Err(Refused::NotPaused));
    }
}
