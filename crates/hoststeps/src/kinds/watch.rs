//! The trial's health before commit, and the committed release's afterwards.

use std::time::Duration;

use handover_engine::run::{Fault, Intent, Seen};
use handover_engine::slots::guard_runs;
use handover_engine::upgrade::{GuardHealth, Process, Sight, Vigil, WatchHealth, Watched};
use handover_model::Health;
use serde_json::{Value, json};

use super::With;
use super::slots::{Place, place, withdraw};
use super::trial::look_withdrawn;
use crate::{CheckAnswer, Host, Step};

impl Step for With<WatchHealth> {
    fn look(&self, host: &dyn Host, intent: Option<&Intent>) -> Result<Seen, Fault> {
        let (watched, health) = (&self.inputs.watched, &self.inputs.health);
        match place(&host.slots(&watched.component)?, watched.run) {
            Place::Trial => {}
            Place::Current(_) => return Ok(Seen::After(Value::Null)),
            Place::Gone(entry) => {
                let why = entry.map_or("the trial was ended", |entry| entry.reason.as_str());
                return Ok(Seen::Overruled(why.to_owned()));
            }
        }
        if intent.is_none() {
            return Ok(Seen::Before(Value::Null));
        }
        let sight = see(host, watched, health)?;
        let (release, executable) = (&watched.release, &watched.executable_digest);
        Ok(self.around.vigil(|vigil| {
            let why = match vigil.see(health, release, executable, &sight) {
                Ok(()) if vigil.is_proved(health) => {
                    return Seen::After(json!({ "looks": vigil.good() }));
                }
                Ok(()) => format!("{} of {} good looks", vigil.good(), health.successes.max(1)),
                Err(ill) => format!("health: {}", ill.0),
            };
            Seen::NotYet { why, again: pace(health) }
        }))
    }

    fn look_back(&self, host: &dyn Host, _intent: &Intent) -> Result<Seen, Fault> {
        look_withdrawn(host, &self.inputs.watched.component, self.inputs.watched.run)
    }

    fn apply(&self, _host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        Ok(())
    }

    fn revert(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        let watched = &self.inputs.watched;
        let why = self.around.why();
        let why = match self.around.vigil(|vigil| vigil.last_complaint().map(str::to_owned)) {
            Some(complaint) if !why.contains(&complaint) => format!("{why}: {complaint}"),
            Some(_) | None => why,
        };
        withdraw(host, &watched.component, watched.run, &why, self.around.now())
    }
}

impl Step for With<GuardHealth> {
    fn look(&self, host: &dyn Host, intent: Option<&Intent>) -> Result<Seen, Fault> {
        let (watched, health) = (&self.inputs.watched, &self.inputs.health);
        let slots = host.slots(&watched.component)?;
        match place(&slots, watched.run) {
            Place::Current(slot) if guard_runs(slot) => {}
            Place::Gone(Some(entry)) => return Ok(Seen::Overruled(entry.reason.clone())),
            // Its time has passed, or a later release took over: either way it stayed well.
            Place::Current(_) | Place::Trial | Place::Gone(None) => {
                return Ok(Seen::After(Value::Null));
            }
        }
        if intent.is_none() {
            self.around.vigil(|vigil| *vigil = Vigil::default());
            return Ok(Seen::Before(Value::Null));
        }
        let again = pace(health);
        if slots.trial.is_some() || slots.pause.is_some() {
            // Another release is being tried: what runs now says nothing about this one.
            self.around.vigil(|vigil| *vigil = Vigil::default());
            return Ok(Seen::NotYet { why: "another upgrade's end".to_owned(), again });
        }
        if host.running(&watched.component)?.launcher.is_none() {
            // Somebody stopped the service, or the machine is going down: no fault of the release.
            self.around.vigil(|vigil| *vigil = Vigil::default());
            return Ok(Seen::NotYet { why: "its launcher to be started".to_owned(), again });
        }
        let sight = see(host, watched, health)?;
        let (release, executable) = (&watched.release, &watched.executable_digest);
        Ok(self.around.vigil(|vigil| {
            let seen = vigil.see(health, release, executable, &sight);
            match seen {
                Err(ill) if vigil.is_lost(health) => {
                    let why =
                        format!("after commit, {} looks in a row: {}", health.failures, ill.0);
                    Seen::Overruled(why)
                }
                Ok(()) | Err(_) => {
                    Seen::NotYet { why: "the guard's time to pass".to_owned(), again }
                }
            }
        }))
    }

    fn look_back(&self, _host: &dyn Host, _intent: &Intent) -> Result<Seen, Fault> {
        Ok(Seen::Before(Value::Null))
    }

    fn apply(&self, _host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        Ok(())
    }

    fn revert(&self, _host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        Ok(())
    }
}

/// One look at everything that "healthy" means.
fn see(host: &dyn Host, watched: &Watched, health: &Health) -> Result<Sight, Fault> {
    let running = host.running(&watched.component)?;
    let process = running.child.map(|child| Process {
        identity: (child.pid, child.started),
        release: child.release,
        executable: child.executable_digest,
        ready: child.ready,
        age: child.age,
    });
    let mut complaints = Vec::new();
    // Without a process there is nothing to ask, and each check would cost its timeout.
    if process.as_ref().is_some_and(|process| process.ready) {
        for check in &health.checks {
            if let CheckAnswer::Ill(why) = host.check(&check.kind, &watched.directory)? {
                complaints.push((check.name.clone(), why));
            }
        }
    }
    Ok(Sight { process, complaints })
}

/// No faster than a hundred times a second, whatever the release says.
fn pace(health: &Health) -> Duration {
    health.every.duration().max(Duration::from_millis(10))
}
