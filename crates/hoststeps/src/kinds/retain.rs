//! What nothing needs any more is removed, as `engine::retention` decides on what lies there.

use camino::{Utf8Path, Utf8PathBuf};
use handover_engine::retention::{
    Found, FoundRun, Inventory, Keep, Retention, RunProgress, plan_retention,
};
use handover_engine::run::{Fault, Intent, Seen};
use handover_engine::slots::forget;
use handover_engine::upgrade::KeepFew;
use handover_model::{OUTCOME_FORMAT, Order, Outcome, ReleaseId, Slots, open_framed};
use serde_json::{Value, json};

use super::slots::change;
use crate::disk::ASIDE_PREFIX;
use crate::{Entry, EntryKind, Host, Step};

impl Step for KeepFew {
    fn look(&self, host: &dyn Host, _intent: Option<&Intent>) -> Result<Seen, Fault> {
        let plan = plan(self, host, &host.slots(&self.component)?)?;
        Ok(if plan.forget.is_empty() && plan.delete.is_empty() {
            Seen::After(json!({ "unknown": plan.unknown.len() }))
        } else {
            Seen::Before(json!({ "forgets": plan.forget.len(), "deletes": plan.delete.len() }))
        })
    }

    fn look_back(&self, _host: &dyn Host, _intent: &Intent) -> Result<Seen, Fault> {
        // What was removed was needed by nobody; it does not come back.
        Ok(Seen::Before(Value::Null))
    }

    fn apply(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        for release in plan(self, host, &host.slots(&self.component)?)?.forget {
            forget_slot(self, host, &release)?;
        }
        let slots = host.slots(&self.component)?;
        for entry in plan(self, host, &slots)?.delete {
            // Another upgrade may have begun, or a person rolled back: then nothing that was
            // decided before counts.
            if host.slots(&self.component)?.generation != slots.generation {
                return Err(Fault::Retry("the slots changed while directories went".to_owned()));
            }
            host.remove(&self.directory.join(entry.place.directory()).join(entry.name))?;
        }
        Ok(())
    }

    fn revert(&self, _host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        Ok(())
    }
}

fn forget_slot(keep: &KeepFew, host: &mut dyn Host, release: &ReleaseId) -> Result<(), Fault> {
    change(host, &keep.component, &|slots| {
        if slots.previous.iter().any(|slot| slot.release == *release) {
            return forget(slots, release).map(Some);
        }
        Ok(None)
    })
}

fn plan(keep: &KeepFew, host: &dyn Host, slots: &Slots) -> Result<Retention, Fault> {
    let found = Inventory {
        releases: entries(host, &keep.directory.join("releases"))?,
        states: entries(host, &keep.directory.join("state"))?,
        configs: entries(host, &keep.directory.join("config"))?,
        runs: runs(host, &keep.directory.join("runs"))?,
    };
    Ok(plan_retention(slots, &found, Keep::releases(keep.keep), Some(keep.run)))
}

fn entries(host: &dyn Host, dir: &Utf8Path) -> Result<Vec<Found>, Fault> {
    let listed = host.list(dir)?.unwrap_or_default();
    // What is being written or removed this moment is its writer's business.
    let settled = listed.into_iter().filter(|entry| !entry.name.starts_with(ASIDE_PREFIX));
    Ok(settled.map(found_of).collect())
}

/// Sizes are not counted here: nothing is decided by them.
fn found_of(entry: Entry) -> Found {
    Found { name: entry.name, is_directory: entry.kind == EntryKind::Directory, bytes: entry.len }
}

fn runs(host: &dyn Host, dir: &Utf8Path) -> Result<Vec<FoundRun>, Fault> {
    let mut found = Vec::new();
    for entry in entries(host, dir)? {
        let progress = progress(host, &dir.join(&entry.name))?;
        found.push(FoundRun { entry, progress });
    }
    Ok(found)
}

fn progress(host: &dyn Host, run: &Utf8Path) -> Result<RunProgress, Fault> {
    let outcome: Option<Outcome> = match host.read(&run.join("outcome.json"))? {
        Some(bytes) => match open_framed("outcome", OUTCOME_FORMAT, &bytes) {
            Ok(outcome) => Some(outcome),
            Err(_damaged) => return Ok(RunProgress::Unreadable),
        },
        None => None,
    };
    if outcome.as_ref().is_some_and(|outcome| outcome.result.ended()) {
        return Ok(RunProgress::Ended);
    }
    if let Some(outcome) = outcome {
        let needs = outcome.from.into_iter().chain([outcome.to]).collect();
        return Ok(RunProgress::Unfinished { needs });
    }
    let order: Utf8PathBuf = run.join("order.json");
    let order = host.read(&order)?.and_then(|bytes| serde_json::from_slice::<Order>(&bytes).ok());
    Ok(match order {
        Some(order) => {
            RunProgress::Unfinished { needs: order.from.into_iter().chain([order.to]).collect() }
        }
        None => RunProgress::Unreadable,
    })
}
