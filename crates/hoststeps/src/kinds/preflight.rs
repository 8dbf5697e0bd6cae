//! There is room, and the new binary starts on this host. A passed preflight leaves a marker in
//! the run's directory; there is nothing to take back.

use handover_engine::run::{Fault, Intent, Seen};
use handover_engine::upgrade::{Command, Preflight};
use serde_json::Value;

use crate::{CommandSpec, Host, Output, Step};

impl Step for Preflight {
    fn look(&self, host: &dyn Host, _intent: Option<&Intent>) -> Result<Seen, Fault> {
        let passed = host.read(&self.marker)?;
        let ours = self.executable_digest.to_string();
        Ok(if passed.is_some_and(|text| text == ours.as_bytes()) {
            Seen::After(Value::Null)
        } else {
            Seen::Before(Value::Null)
        })
    }

    fn look_back(&self, _host: &dyn Host, _intent: &Intent) -> Result<Seen, Fault> {
        Ok(Seen::Before(Value::Null))
    }

    fn apply(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        for space in &self.spaces {
            let free = host.free_bytes(&space.path)?;
            if free < space.bytes {
                return Err(Fault::Permanent(format!(
                    "{} has {free} bytes free, and {} need {}; make room and order again",
                    space.path, space.what, space.bytes
                )));
            }
        }
        if let Some(test) = &self.self_test {
            let output = host.exec(&spec_of(test))?;
            refuse_failed("the release's self-test", test, &output)?;
        }
        host.write(&self.marker, self.executable_digest.to_string().as_bytes(), 0o644)?;
        Ok(())
    }

    fn revert(&self, _host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        Ok(())
    }
}

pub(super) fn spec_of(command: &Command) -> CommandSpec {
    CommandSpec {
        program: command.program.clone(),
        arguments: command.arguments.clone(),
        environment: command.environment.clone(),
        directory: command.directory.clone(),
        user: command.user.clone(),
        timeout: command.timeout.duration(),
    }
}

/// Success is exit code 0 and nothing else.
pub(super) fn refuse_failed(what: &str, command: &Command, output: &Output) -> Result<(), Fault> {
    if output.code == Some(0) {
        return Ok(());
    }
    let how = match output.code {
        Some(code) => format!("exited with {code}"),
        None if output.timed_out => format!("took longer than {}", command.timeout),
        None => "was ended by a signal".to_owned(),
    };
    let tail = output.tail.trim();
    let said = if tail.is_empty() { "it said nothing".to_owned() } else { tail.to_owned() };
    Err(Fault::Permanent(format!("{what} ({}) {how}: {said}", command.program)))
}
