//! The new slot on trial, and the launcher's swap to it.

use std::time::Duration;

use handover_engine::run::{Fault, Intent, Seen};
use handover_engine::slots::begin_trial;
use handover_engine::upgrade::{SetTrial, SwapSlots};
use handover_model::ReleaseId;
use serde_json::{Value, json};

use super::With;
use super::slots::{Place, change, pauses, place, withdraw};
use crate::{Host, Step};

/// How often the launcher is looked at while it swaps.
const AGAIN: Duration = Duration::from_millis(5);

impl Step for With<SetTrial> {
    fn look(&self, host: &dyn Host, _intent: Option<&Intent>) -> Result<Seen, Fault> {
        let inputs = &self.inputs;
        let slots = host.slots(&inputs.component)?;
        Ok(match place(&slots, inputs.slot.run) {
            Place::Trial | Place::Current(_) => Seen::After(Value::Null),
            Place::Gone(Some(entry)) => Seen::Overruled(entry.reason.clone()),
            Place::Gone(None) if inputs.paused && !pauses(&slots, inputs.slot.run) => {
                let why = "the launcher ended the pause, so the copied state is out of date";
                Seen::Overruled(why.to_owned())
            }
            Place::Gone(None) => match &slots.trial {
                Some(other) => Seen::Elsewhere(format!("{} is on trial", other.slot.release)),
                None => Seen::Before(Value::Null),
            },
        })
    }

    fn look_back(&self, host: &dyn Host, _intent: &Intent) -> Result<Seen, Fault> {
        look_withdrawn(host, &self.inputs.component, self.inputs.slot.run)
    }

    fn apply(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        let inputs = &self.inputs;
        change(host, &inputs.component, &|slots| {
            match place(slots, inputs.slot.run) {
                Place::Trial | Place::Current(_) | Place::Gone(Some(_)) => return Ok(None),
                Place::Gone(None) => {}
            }
            if inputs.paused && !pauses(slots, inputs.slot.run) {
                // The look that follows says so.
                return Ok(None);
            }
            let slot = inputs.slot.as_ref().clone();
            begin_trial(slots, slot, inputs.window, inputs.boots, inputs.guard.clone()).map(Some)
        })
    }

    fn revert(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        let run = self.inputs.slot.run;
        withdraw(host, &self.inputs.component, run, &self.around.why(), self.around.now())
    }
}

impl Step for With<SwapSlots> {
    fn look(&self, host: &dyn Host, intent: Option<&Intent>) -> Result<Seen, Fault> {
        let watched = &self.inputs.watched;
        let slots = host.slots(&watched.component)?;
        if let Place::Gone(entry) = place(&slots, watched.run) {
            let why = entry.map_or("the trial was ended", |entry| entry.reason.as_str());
            return Ok(Seen::Overruled(why.to_owned()));
        }
        // The launcher may have been quicker than we are: the step counts as ours all the same, so
        // that reverting waits for the old version to run.
        if intent.is_none() {
            return Ok(Seen::Before(Value::Null));
        }
        let running = host.running(&watched.component)?;
        let Some(_launcher) = running.launcher else {
            let why = format!(
                "a launcher: start `handover-launch {0}`, or its service",
                watched.component
            );
            return Ok(Seen::NotYet { why, again: Duration::from_millis(200) });
        };
        let proved = running.child.filter(|child| {
            child.release == watched.release && child.executable_digest == watched.executable_digest
        });
        Ok(if let Some(child) = proved {
            Seen::After(json!({ "pid": child.pid }))
        } else {
            let why = format!("the launcher to run {}", watched.release);
            Seen::NotYet { why, again: AGAIN }
        })
    }

    fn look_back(&self, host: &dyn Host, _intent: &Intent) -> Result<Seen, Fault> {
        let watched = &self.inputs.watched;
        let slots = host.slots(&watched.component)?;
        match place(&slots, watched.run) {
            Place::Trial => return Ok(Seen::After(Value::Null)),
            Place::Current(_) => {
                let what = format!("{} is committed still", watched.release);
                return Ok(Seen::Elsewhere(what));
            }
            Place::Gone(_) => {}
        }
        let running = host.running(&watched.component)?;
        // Without a launcher nothing runs, and the next one starts what the slots say.
        if running.launcher.is_none() {
            return Ok(Seen::Before(Value::Null));
        }
        let runs = running.child.as_ref().map(|child| &child.release);
        let wanted = slots.current.as_ref().map(|current| &current.release);
        Ok(if runs == wanted {
            Seen::Before(Value::Null)
        } else {
            let name = |release: Option<&ReleaseId>| {
                release.map_or_else(|| "nothing".to_owned(), ToString::to_string)
            };
            let why = format!("the launcher to run {} instead of {}", name(wanted), name(runs));
            Seen::NotYet { why, again: AGAIN }
        })
    }

    fn apply(&self, _host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        // The launcher acts on the slots by itself.
        Ok(())
    }

    fn revert(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        let watched = &self.inputs.watched;
        withdraw(host, &watched.component, watched.run, &self.around.why(), self.around.now())
    }
}

/// Whether the run's trial is still there to be taken back.
pub(super) fn look_withdrawn(
    host: &dyn Host,
    component: &handover_model::ComponentName,
    run: handover_model::RunId,
) -> Result<Seen, Fault> {
    Ok(match place(&host.slots(component)?, run) {
        Place::Trial => Seen::After(Value::Null),
        Place::Current(_) | Place::Gone(_) => Seen::Before(Value::Null),
    })
}
