//! The launcher's own executable, for the component that brings it. The old one stays beside it
//! for the service's rescue unit.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8PathBuf;
use handover_engine::run::{Fault, Intent, Seen};
use handover_engine::upgrade::ReplaceLauncher;
use serde_json::{Value, json};

use crate::{CommandSpec, Host, Step};

impl Step for ReplaceLauncher {
    fn look(&self, host: &dyn Host, intent: Option<&Intent>) -> Result<Seen, Fault> {
        let there = host.digest(&self.target)?;
        let new = host.digest(&self.source)?;
        if new.is_none() {
            return Ok(Seen::Elsewhere(format!("the package has no {}", self.source)));
        }
        if there == new {
            return Ok(Seen::After(Value::Null));
        }
        let before = json!({ "digest": there });
        match intent {
            Some(intent) if intent.observed != before => {
                Ok(Seen::Elsewhere(format!("{} was replaced by somebody else", self.target)))
            }
            Some(_) | None => Ok(Seen::Before(before)),
        }
    }

    fn look_back(&self, host: &dyn Host, intent: &Intent) -> Result<Seen, Fault> {
        let seen = self.look(host, Some(intent))?;
        // Somebody else's launcher is not ours to take back.
        Ok(if let Seen::Elsewhere(_) = seen { Seen::Before(Value::Null) } else { seen })
    }

    fn apply(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        let missing = || Fault::Permanent(format!("the package has no {}", self.source));
        let output = host.exec(&CommandSpec {
            program: self.source.clone(),
            arguments: vec!["--self-test".to_owned()],
            environment: BTreeMap::new(),
            directory: self.source.parent().ok_or_else(missing)?.to_owned(),
            user: None,
            timeout: Duration::from_secs(10),
        })?;
        if output.code != Some(0) {
            return Err(Fault::Permanent(format!(
                "the new launcher fails its self-test: {}",
                output.tail.trim()
            )));
        }
        let new = host.read(&self.source)?.ok_or_else(missing)?;
        if let Some(parent) = self.target.parent() {
            host.make_dir(parent)?;
        }
        if let Some(old) = host.read(&self.target)?
            && old != new
        {
            host.write(&self.previous(), &old, 0o755)?;
        }
        Ok(host.write(&self.target, &new, 0o755)?)
    }

    fn revert(&self, host: &mut dyn Host, intent: &Intent) -> Result<(), Fault> {
        if intent.observed.pointer("/digest").is_none_or(Value::is_null) {
            return Ok(host.remove(&self.target)?);
        }
        let gone = || Fault::Permanent(format!("{} is gone", self.previous()));
        let old = host.read(&self.previous())?.ok_or_else(gone)?;
        Ok(host.write(&self.target, &old, 0o755)?)
    }
}

trait Previous {
    fn previous(&self) -> Utf8PathBuf;
}

impl Previous for ReplaceLauncher {
    fn previous(&self) -> Utf8PathBuf {
        super::config::beside(&self.target, "previous")
    }
}
