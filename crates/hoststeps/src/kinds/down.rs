//! State on return, for releases that declare ways back: what the new release wrote is copied and
//! migrated down for the old one, while the launcher keeps the component paused.
//!
//! It is worth an attempt, not the return itself: when it fails, or no launcher is there to pause,
//! a marker says so and the old release gets its kept copy. The launcher's own return, which needs
//! nobody, always uses the kept copy.

use std::time::Duration;

use handover_engine::run::{Fault, Intent, Seen};
use handover_engine::slots::pause;
use handover_engine::upgrade::MigrateDown;
use serde_json::Value;

use super::preflight::{refuse_failed, spec_of};
use super::slots::{Place, change, pauses, place};
use crate::{Host, Step};

const AGAIN: Duration = Duration::from_millis(5);

impl Step for MigrateDown {
    fn look(&self, _host: &dyn Host, intent: Option<&Intent>) -> Result<Seen, Fault> {
        // Never satisfied: the way back must be walked.
        Ok(if intent.is_some() { Seen::After(Value::Null) } else { Seen::Before(Value::Null) })
    }

    fn look_back(&self, host: &dyn Host, _intent: &Intent) -> Result<Seen, Fault> {
        let slots = host.slots(&self.component)?;
        let over = !matches!(place(&slots, self.run), Place::Current(_))
            || host.stat(&self.to)?.is_some()
            || host.stat(&self.marker)?.is_some();
        if over {
            return Ok(Seen::Before(Value::Null));
        }
        let running = host.running(&self.component)?;
        let stops = pauses(&slots, self.run) && running.launcher.is_some();
        Ok(if stops && (running.paused.is_none() || running.child.is_some()) {
            Seen::NotYet { why: "the launcher to stop the component".to_owned(), again: AGAIN }
        } else {
            Seen::After(Value::Null)
        })
    }

    fn apply(&self, _host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        Ok(())
    }

    fn revert(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        let done = self.attempt(host);
        if let Err(Fault::Permanent(why)) = &done {
            // The return goes on without it.
            host.write(&self.marker, why.as_bytes(), 0o644)?;
            return Ok(());
        }
        done
    }
}

trait Attempt {
    fn attempt(&self, host: &mut dyn Host) -> Result<(), Fault>;
}

impl Attempt for MigrateDown {
    fn attempt(&self, host: &mut dyn Host) -> Result<(), Fault> {
        let running = host.running(&self.component)?;
        if running.launcher.is_none() {
            return Err(Fault::Permanent("no launcher runs that could pause".to_owned()));
        }
        if !pauses(&host.slots(&self.component)?, self.run) {
            return change(host, &self.component, &|slots| {
                pause(slots, self.run, self.window).map(Some)
            });
        }
        host.remove(&self.work)?;
        host.copy_tree(&self.from, &self.work)?;
        if let Some(user) = &self.user {
            host.chown_tree(&self.work, user)?;
        }
        for migration in &self.migrations {
            let output = host.exec(&spec_of(migration))?;
            refuse_failed("a migration down", migration, &output)?;
        }
        Ok(host.rename(&self.work, &self.to)?)
    }
}
