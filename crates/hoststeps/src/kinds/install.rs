//! The package's directory becomes the release's, by rename.

use handover_engine::run::{Fault, Intent, Seen};
use handover_engine::upgrade::Install;
use serde_json::{Value, json};

use super::slots::is_kept;
use crate::{Host, Step};

impl Step for Install {
    fn look(&self, host: &dyn Host, _intent: Option<&Intent>) -> Result<Seen, Fault> {
        let (from, to) = (host.stat(&self.from)?.is_some(), host.stat(&self.to)?.is_some());
        Ok(match (from, to) {
            (true, false) => Seen::Before(Value::Null),
            (false, true) => Seen::After(json!({ "slot": self.to })),
            // It was taken back here and is installed again: its slot kept it.
            (true, true) if is_kept_whole(self, host)? => Seen::After(json!({ "slot": self.to })),
            (true, true) => Seen::Elsewhere(format!(
                "{} is there already, beside the package in {}; remove one of them",
                self.to, self.from
            )),
            (false, false) => Seen::Elsewhere(format!(
                "the package is neither in {} nor in {}; download it again",
                self.from, self.to
            )),
        })
    }

    fn look_back(&self, host: &dyn Host, intent: &Intent) -> Result<Seen, Fault> {
        // What a slot names stays where it is, so that what it wrote can still be looked at.
        if is_kept(&host.slots(&self.component)?, &self.release) {
            return Ok(Seen::Before(Value::Null));
        }
        // Somebody removed it all: nothing is left to take back.
        if host.stat(&self.to)?.is_none() {
            return Ok(Seen::Before(Value::Null));
        }
        self.look(host, Some(intent))
    }

    fn apply(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        if let Some(parent) = self.to.parent() {
            host.make_dir(parent)?;
        }
        Ok(host.rename(&self.from, &self.to)?)
    }

    fn revert(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        if host.stat(&self.to)?.is_none() {
            return Ok(());
        }
        if let Some(parent) = self.from.parent() {
            host.make_dir(parent)?;
        }
        Ok(host.rename(&self.to, &self.from)?)
    }
}

/// Whether a slot keeps the release, and its directory is what the package is to the last byte.
fn is_kept_whole(install: &Install, host: &dyn Host) -> Result<bool, Fault> {
    Ok(is_kept(&host.slots(&install.component)?, &install.release)
        && host.digest(&install.from)? == host.digest(&install.to)?)
}
