//! The trial becomes current; reverting returns to the last good slot.

use handover_engine::run::{Fault, Intent, Seen};
use handover_engine::slots::{Refused, commit, last_good, return_to_previous, roll_back_to};
use handover_engine::upgrade::CommitSlots;
use handover_model::Slots;
use serde_json::{Value, json};

use super::With;
use super::slots::{Place, change, pauses, place};
use crate::{Host, Step};

impl Step for With<CommitSlots> {
    fn look(&self, host: &dyn Host, _intent: Option<&Intent>) -> Result<Seen, Fault> {
        let slots = host.slots(&self.inputs.component)?;
        Ok(match place(&slots, self.inputs.run) {
            Place::Trial => Seen::Before(Value::Null),
            Place::Current(_) => Seen::After(json!({ "generation": slots.generation })),
            Place::Gone(Some(entry)) => Seen::Overruled(entry.reason.clone()),
            Place::Gone(None) => Seen::Overruled("the trial was ended".to_owned()),
        })
    }

    fn look_back(&self, host: &dyn Host, _intent: &Intent) -> Result<Seen, Fault> {
        Ok(match place(&host.slots(&self.inputs.component)?, self.inputs.run) {
            Place::Current(_) => Seen::After(Value::Null),
            Place::Trial | Place::Gone(_) => Seen::Before(Value::Null),
        })
    }

    fn apply(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        let run = self.inputs.run;
        change(host, &self.inputs.component, &|slots| match place(slots, run) {
            Place::Trial => commit(slots, run, self.around.now()).map(Some),
            Place::Current(_) | Place::Gone(_) => Ok(None),
        })
    }

    fn revert(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        // State that was migrated down for the old slot takes the place of its kept copy, but only
        // while the pause that it was made under lasts: nothing was written since.
        let back = self.inputs.back.as_deref();
        let made = match back.and_then(|slot| slot.state.as_deref()) {
            Some(state) => host.stat(state)?.is_some(),
            None => false,
        };
        change(host, &self.inputs.component, &|slots| match place(slots, self.inputs.run) {
            Place::Current(_) => {
                let mut next = self.back(slots)?;
                if let (Some(current), Some(back)) = (&mut next.current, back)
                    && made
                    && pauses(slots, self.inputs.run)
                    && current.release == back.release
                {
                    current.state.clone_from(&back.state);
                    current.recipe = back.recipe.clone();
                }
                Ok(Some(next))
            }
            Place::Trial | Place::Gone(_) => Ok(None),
        })
    }
}

impl With<CommitSlots> {
    /// While the guard lasts the return is the release's own; afterwards it is a person's, who
    /// asked the host's floors before.
    fn back(&self, slots: &Slots) -> Result<Slots, Refused> {
        let (why, now) = (self.around.why(), self.around.now());
        match return_to_previous(slots, self.inputs.run, why.clone(), now) {
            Err(Refused::NoGuard { .. } | Refused::GuardOver { .. }) => {
                let target = last_good(slots).ok_or(Refused::NoPrevious)?.release.clone();
                roll_back_to(slots, &target, why, now)
            }
            other => other,
        }
    }
}
