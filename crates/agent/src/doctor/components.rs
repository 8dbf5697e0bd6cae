//! Components: slots, releases, runs, attempts.

use camino::Utf8Path;
use handover_hoststeps::disk::SlotsStore;
use handover_hoststeps::{HostError, Published};
use handover_model::{ComponentName, Slot, Slots};

use super::{Examination, put_aside};
use crate::agent::Agent;
use crate::attempts::Attempts;
use crate::contents::{Difference, compare, digest_of, kept};
use crate::failure::{Failure, chain};
use crate::home::Home;
use crate::runs::{open_runs, resume};

pub(super) fn examine(seen: &mut Examination<'_>) {
    let components = match seen.agent.home.present() {
        Ok(components) => components,
        Err(error) => {
            let path = seen.agent.home.components();
            return seen.note("components", &path, chain(&error), "make it readable");
        }
    };
    for name in components {
        match seen.agent.home.slots(&name) {
            Ok(slots) => {
                for slot in slots.current.iter().chain(&slots.previous) {
                    release(seen, &name, slot);
                }
                process(seen, &name, &slots);
            }
            Err(error) => damaged_slots(seen, &name, &error),
        }
        runs(seen, &name);
        let path = seen.agent.home.attempts(&name);
        if let Err(error) = Attempts::load(&path) {
            let does = "set it aside; releases that failed are tried again";
            let goal = path.clone();
            seen.mendable("attempts", &path, chain(&error), does, move |agent| {
                put_aside(agent, &goal)?;
                Ok(())
            });
        }
    }
}

/// A damaged generation is never skipped by itself; here a person says so.
fn damaged_slots(seen: &mut Examination<'_>, name: &ComponentName, error: &HostError) {
    let store = SlotsStore::new(seen.agent.home.component(name).slots());
    let good = store
        .history()
        .ok()
        .and_then(|all| all.into_iter().rev().find_map(|(_, slots)| slots.ok()));
    if error.is_too_new() {
        let way_out = "a newer Handover wrote it: run that one";
        return seen.note("slots-too-new", &name, chain(error), way_out);
    }
    let Some(good) = good else {
        let way_out = "no earlier generation is whole: restore the file from a backup, or move \
                       the component's directory away and install it again";
        return seen.note("slots", &name, chain(error), way_out);
    };
    let current = good.current.as_ref().map_or_else(
        || "nothing installed".to_owned(),
        |slot| format!("{} current", slot.release.version),
    );
    let does = format!(
        "set the damaged file aside and go on from generation {}, which has {current}",
        good.generation
    );
    let name_owned = name.clone();
    seen.mendable("slots", &name, chain(error), &does, move |agent| {
        go_on_from(agent, &name_owned, &good)
    });
}

/// Moves every generation after `good` aside and publishes it again under a number that none of
/// them had, so that a launcher which has seen those takes it for newer.
fn go_on_from(agent: &Agent, name: &ComponentName, good: &Slots) -> Result<(), Failure> {
    let store = SlotsStore::new(agent.home.component(name).slots());
    let newer: Vec<u64> =
        store.generations()?.into_iter().filter(|number| *number > good.generation).collect();
    for generation in &newer {
        put_aside(agent, &store.path(*generation))?;
    }
    let last = newer.last().copied().unwrap_or(good.generation).saturating_add(1);
    for generation in good.generation.saturating_add(1)..=last {
        let next = Slots { generation, ..good.clone() };
        if store.publish(&next)? == Published::Taken {
            let reason = "somebody else published a generation meanwhile; run doctor again";
            return Err(Failure::Refused { code: "slots.taken", reason: reason.to_owned() });
        }
    }
    Ok(())
}

/// A slot's release directory against what was unpacked.
fn release(seen: &mut Examination<'_>, name: &ComponentName, slot: &Slot) {
    let layout = seen.agent.home.component(name);
    let directory = layout.release(&slot.release);
    let again = "install it again: `handover-agent rollback` to another release, then `update`";
    if !directory.is_dir() {
        let what = format!("the directory of {name} {} is gone", slot.release.version);
        return seen.note("release-gone", &directory, what, again);
    }
    let right = digest_of(&slot.recipe.executable)
        .is_ok_and(|digest| digest == slot.recipe.executable_digest);
    if !right {
        let what = "the executable is not the one that was installed".to_owned();
        seen.note("executable", &slot.recipe.executable, what, again);
    }
    let differences = match kept(&layout, &slot.release) {
        Ok(Some(wanted)) => compare(&directory, &wanted),
        Ok(None) => return,
        Err(error) => Err(error),
    };
    match differences {
        Ok(differences) => {
            for difference in differences {
                differs(seen, &directory, &slot.recipe.executable, difference);
            }
        }
        Err(error) => seen.note("contents", &directory, chain(&error), again),
    }
}

fn differs(
    seen: &mut Examination<'_>,
    directory: &Utf8Path,
    executable: &Utf8Path,
    difference: Difference,
) {
    match difference {
        Difference::Foreign(path) => {
            let path = directory.join(path);
            let what = "the package has no such file".to_owned();
            let goal = path.clone();
            seen.mendable("foreign-file", &path, what, "set it aside", move |agent| {
                put_aside(agent, &goal)?;
                Ok(())
            });
        }
        // Said already, by the recipe's digest.
        Difference::Modified(path) | Difference::Missing(path)
            if directory.join(&path) == *executable => {}
        Difference::Modified(path) | Difference::Missing(path) => {
            let what = "the file is gone or not as the package has it".to_owned();
            let way_out = "bring the package's own file back: `handover-agent rollback` to \
                           another release, then `update`";
            seen.note("modified-file", &directory.join(path), what, way_out);
        }
    }
}

/// Whether what runs is what the slots say.
fn process(seen: &mut Examination<'_>, name: &ComponentName, slots: &Slots) {
    let running = match seen.agent.running(name) {
        Ok(running) => running,
        Err(error) => return seen.note("running", &name, chain(&error), "mend the file"),
    };
    let Some(child) = running.child else { return };
    let known = slots.current.iter().chain(slots.trial.iter().map(|trial| &trial.slot));
    let proved = known
        .filter(|slot| slot.release == child.release)
        .any(|slot| slot.recipe.executable_digest == child.executable_digest);
    if !proved {
        let what = format!("process {} does not run what its slot names", child.pid);
        seen.note("running-other", &name, what, "restart the component's launcher");
    }
}

fn runs(seen: &mut Examination<'_>, name: &ComponentName) {
    let open = match open_runs(&seen.agent.home, name) {
        Ok(open) => open,
        Err(error) => {
            let way_out = "set the damaged file aside by hand; the launcher's rule holds anyway";
            return seen.note("run", &name, chain(&error), way_out);
        }
    };
    for run in open.into_iter().filter(|run| run.holder.is_none()) {
        let what = format!("run {} to {} was cut and nobody works on it", run.run, run.to.version);
        seen.mendable("run-cut", &name, what, "resume it", move |agent| {
            let patience = agent.policy()?.patience.duration();
            if resume(agent, &run, patience)? {
                return Ok(());
            }
            let what = format!("the package that began run {} is gone", run.run);
            Err(Failure::NotFound { what })
        });
    }
}

/// How much space the release directories hold that no slot names: what retention may free.
pub(super) fn spare_bytes(agent: &Agent) -> u64 {
    let home: &Home = &agent.home;
    let components = home.present().unwrap_or_default();
    components.iter().map(|name| spare_of(home, name)).sum()
}

fn spare_of(home: &Home, name: &ComponentName) -> u64 {
    // What can't be read is not spare.
    let Ok(slots) = home.slots(name) else { return 0 };
    let named: Vec<String> = slots
        .current
        .iter()
        .chain(&slots.previous)
        .chain(slots.trial.iter().map(|trial| &trial.slot))
        .map(|slot| slot.release.directory())
        .collect();
    let Ok(entries) = home.component(name).releases().read_dir_utf8() else { return 0 };
    entries
        .filter_map(Result::ok)
        .filter(|entry| !named.iter().any(|name| name == entry.file_name()))
        .map(|entry| size_of(entry.path()))
        .sum()
}

fn size_of(path: &Utf8Path) -> u64 {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => path.read_dir_utf8().map_or(0, |entries| {
            entries.filter_map(Result::ok).map(|entry| size_of(entry.path())).sum()
        }),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    }
}
