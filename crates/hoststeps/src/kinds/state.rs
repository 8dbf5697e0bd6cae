//! The new slot's own state directory: copied aside, migrated there, then renamed. A migration
//! that was cut short begins again from a fresh copy.

use handover_engine::run::{Fault, Intent, Seen};
use handover_engine::upgrade::PrepareState;
use serde_json::{Value, json};

use super::config::look_at;
use super::preflight::{refuse_failed, spec_of};
use super::slots::{is_kept, pauses};
use crate::{Host, Step};

impl Step for PrepareState {
    fn look(&self, host: &dyn Host, _intent: Option<&Intent>) -> Result<Seen, Fault> {
        let seen = look_at(host, &self.work, &self.to)?;
        if let Seen::After(_) = seen {
            return Ok(Seen::After(json!({ "digest": host.digest(&self.to)? })));
        }
        Ok(seen)
    }

    fn look_back(&self, host: &dyn Host, _intent: &Intent) -> Result<Seen, Fault> {
        if is_kept(&host.slots(&self.component)?, &self.release) {
            return Ok(Seen::Before(Value::Null));
        }
        look_at(host, &self.work, &self.to)
    }

    fn apply(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        if self.paused && !pauses(&host.slots(&self.component)?, self.run) {
            return Err(Fault::Permanent(
                "the launcher ended the pause, so the old version runs again and its state can't \
                 be copied"
                    .to_owned(),
            ));
        }
        host.remove(&self.work)?;
        if let Some(parent) = self.to.parent() {
            host.make_dir(parent)?;
        }
        match &self.from {
            Some(from) => host.copy_tree(from, &self.work)?,
            // What a component keeps is its user's own business; migrations may open it further.
            None => host.make_private_dir(&self.work)?,
        }
        if let Some(user) = &self.user {
            host.chown_tree(&self.work, user)?;
        }
        for migration in &self.migrations {
            let output = host.exec(&spec_of(migration))?;
            refuse_failed("a state migration", migration, &output)?;
        }
        Ok(host.rename(&self.work, &self.to)?)
    }

    fn revert(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        host.remove(&self.work)?;
        if host.stat(&self.to)?.is_none() {
            return Ok(());
        }
        // What the new release wrote is set aside, not lost: retention removes it by and by.
        host.remove(&self.aside)?;
        Ok(host.rename(&self.to, &self.aside)?)
    }
}
