//! The launcher keeps the child stopped while its state is copied.

use std::time::Duration;

use handover_engine::run::{Fault, Intent, Seen};
use handover_engine::slots::{end_pause, pause};
use handover_engine::upgrade::PauseSlots;
use serde_json::{Value, json};

use super::slots::{Place, change, pauses, place};
use crate::{Host, Step};

/// How often the launcher is looked at while it stops its child.
const AGAIN: Duration = Duration::from_millis(5);

impl Step for PauseSlots {
    fn look(&self, host: &dyn Host, intent: Option<&Intent>) -> Result<Seen, Fault> {
        let slots = host.slots(&self.component)?;
        if let Place::Trial | Place::Current(_) = place(&slots, self.run) {
            return Ok(Seen::After(Value::Null));
        }
        let Some(asked) = &slots.pause else {
            return Ok(Seen::Before(json!({ "generation": slots.generation })));
        };
        if asked.run != self.run {
            return Ok(Seen::Elsewhere(format!("{} pauses it already", asked.run)));
        }
        let since = intent.and_then(|intent| intent.observed.pointer("/generation"));
        let since = since.and_then(Value::as_u64).unwrap_or(0);
        let running = host.running(&self.component)?;
        let stopped = running.child.is_none() && running.paused.is_some_and(|at| at > since);
        Ok(if stopped {
            Seen::After(Value::Null)
        } else {
            let why = "the launcher to stop the running version".to_owned();
            Seen::NotYet { why, again: AGAIN }
        })
    }

    fn look_back(&self, host: &dyn Host, _intent: &Intent) -> Result<Seen, Fault> {
        Ok(if pauses(&host.slots(&self.component)?, self.run) {
            Seen::After(Value::Null)
        } else {
            Seen::Before(Value::Null)
        })
    }

    fn apply(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        change(host, &self.component, &|slots| {
            if pauses(slots, self.run) {
                return Ok(None);
            }
            pause(slots, self.run, self.window).map(Some)
        })
    }

    fn revert(&self, host: &mut dyn Host, intent: &Intent) -> Result<(), Fault> {
        // Only the pause is left to end: a trial was taken back before.
        if let Seen::Before(_) = self.look_back(host, intent)? {
            return Ok(());
        }
        change(host, &self.component, &|slots| {
            if pauses(slots, self.run) {
                return end_pause(slots).map(Some);
            }
            Ok(None)
        })
    }
}
