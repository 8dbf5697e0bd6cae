//! What the kinds have in common about slots.

use handover_engine::run::Fault;
use handover_engine::slots::{Refused, end_pause, quarantine_trial};
use handover_model::{
    ComponentName, ErrorClass, Quarantined, ReleaseId, RunId, Slot, Slots, Timestamp,
};

use crate::{Host, Published};

/// How often a change is decided again before it is left to a later attempt.
const ROUNDS: u32 = 64;

/// Where a run's slot is.
pub(super) enum Place<'a> {
    /// On trial.
    Trial,
    /// Current.
    Current(&'a Slot),
    /// Neither; with the reason, if its release is in quarantine because of this run.
    Gone(Option<&'a Quarantined>),
}

pub(super) fn place(slots: &Slots, run: RunId) -> Place<'_> {
    if slots.trial.as_ref().is_some_and(|trial| trial.slot.run == run) {
        return Place::Trial;
    }
    match slots.current.as_ref().filter(|current| current.run == run) {
        Some(current) => Place::Current(current),
        None => Place::Gone(slots.quarantine.iter().find(|entry| entry.run == run)),
    }
}

/// Whether some slot still names the release, so that its directories must stay.
pub(super) fn is_kept(slots: &Slots, release: &ReleaseId) -> bool {
    slots
        .current
        .iter()
        .chain(slots.trial.iter().map(|trial| &trial.slot))
        .chain(&slots.previous)
        .any(|slot| slot.release == *release)
}

/// Publishes what `decide` makes of the newest slots; `None` from it means that nothing is to be
/// changed.
pub(super) fn change(
    host: &mut dyn Host,
    component: &ComponentName,
    decide: &dyn Fn(&Slots) -> Result<Option<Slots>, Refused>,
) -> Result<(), Fault> {
    for _ in 0..ROUNDS {
        let slots = host.slots(component)?;
        let Some(next) = decide(&slots).map_err(|refused| fault(&refused))? else { return Ok(()) };
        match host.publish_slots(component, &next)? {
            Published::Ours => return Ok(()),
            // Somebody else was quicker: decide again.
            Published::Taken => {}
        }
    }
    Err(Fault::Retry(format!("the slots of {component} change faster than they can be read")))
}

/// Ends the trial and the pause of `run`, if there are any.
pub(super) fn withdraw(
    host: &mut dyn Host,
    component: &ComponentName,
    run: RunId,
    why: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    change(host, component, &|slots| match place(slots, run) {
        Place::Trial => quarantine_trial(slots, run, why, now).map(Some),
        Place::Gone(_) if pauses(slots, run) => end_pause(slots).map(Some),
        Place::Current(_) | Place::Gone(_) => Ok(None),
    })
}

pub(super) fn pauses(slots: &Slots, run: RunId) -> bool {
    slots.pause.as_ref().is_some_and(|pause| pause.run == run)
}

pub(super) fn fault(refused: &Refused) -> Fault {
    match refused.class() {
        ErrorClass::Retry => Fault::Retry(refused.to_string()),
        ErrorClass::Conflict | ErrorClass::Permanent | ErrorClass::Bug => {
            Fault::Permanent(refused.to_string())
        }
    }
}
