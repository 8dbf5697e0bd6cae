//! What must hold at every moment of every history, checked after every call and every move of a
//! launcher. The final state alone misses faults that mend themselves before the end.

use std::collections::BTreeSet;

use camino::Utf8Path;
use handover_engine::journal::{Body, Replay};
use handover_engine::run::{Act, StepId};
use handover_model::{ComponentName, Slot};

use crate::Machine;

/// Before a step changes anything: the journal must say so durably, and it must be its turn.
pub(crate) fn before_write(machine: &mut Machine, name: &str, path: &Utf8Path) {
    if let Err(what) = may_write(machine, path) {
        machine.violations.push(format!("{name} {path}: {what}"));
    }
}

fn may_write(machine: &Machine, path: &Utf8Path) -> Result<(), String> {
    let Some(doing) = &machine.doing else {
        return Err("nothing is being done".to_owned());
    };
    let step = &doing.step;
    match &doing.act {
        Act::Look => Err(format!("a look of {step} changed something")),
        Act::Save(_) if path.components().any(|part| part.as_str() == "blobs") => Ok(()),
        Act::Save(_) => Err(format!("a save of {step} wrote outside the blobs")),
        Act::Apply => {
            let live = live_steps(machine)?;
            if live.contains(step) {
                Ok(())
            } else {
                Err(format!("{step} was applied before its intent was durable"))
            }
        }
        Act::Revert => may_revert(machine, step),
    }
}

fn may_revert(machine: &Machine, step: &StepId) -> Result<(), String> {
    let replay = durable(machine)?;
    let begun = replay
        .records()
        .iter()
        .any(|record| matches!(&record.body, Body::Reverting { step: s } if s == step));
    if !begun {
        return Err(format!("{step} was reverted before that was durable"));
    }
    let live = live_steps(machine)?;
    let plan = machine.plan.as_ref().ok_or("no plan is known")?;
    let rests =
        |spec: &&handover_engine::run::Spec| spec.needs.contains(step) && live.contains(&spec.id);
    match plan.steps.iter().find(rests) {
        Some(spec) => Err(format!("{step} was reverted before {}, which needs it", spec.id)),
        None => Ok(()),
    }
}

/// The steps with a durable intent that are not durably reverted.
fn live_steps(machine: &Machine) -> Result<BTreeSet<StepId>, String> {
    let mut live = BTreeSet::new();
    for record in durable(machine)?.records() {
        match &record.body {
            Body::Intent { step, .. } => {
                live.insert(step.clone());
            }
            Body::Reverted { step } => {
                live.remove(step);
            }
            Body::Begin { .. }
            | Body::Opened { .. }
            | Body::Satisfied { .. }
            | Body::Done { .. }
            | Body::Failed { .. }
            | Body::Unsure { .. }
            | Body::Said { .. }
            | Body::Retried { .. }
            | Body::Imported { .. }
            | Body::Turned { .. }
            | Body::Reverting { .. }
            | Body::Foreign => {}
        }
    }
    Ok(live)
}

fn durable(machine: &Machine) -> Result<Replay, String> {
    Replay::of(&machine.journal.durable).map_err(|error| error.to_string())
}

/// After anything changed: what runs or may run again is there, and the launcher's word is final.
pub(crate) fn after_change(machine: &mut Machine) {
    let broken = check_slots(machine)
        .and_then(|()| machine.checks.iter().try_for_each(|check| check(machine)));
    if let Err(what) = broken
        && machine.violations.last() != Some(&what)
    {
        machine.violations.push(what);
    }
}

fn check_slots(machine: &Machine) -> Result<(), String> {
    machine.slots.keys().try_for_each(|component| {
        let newest = machine.newest_slots(component);
        let trial = newest.trial.as_ref().map(|trial| &trial.slot);
        let kept = newest.current.iter().chain(trial).chain(newest.previous.first());
        for slot in kept {
            check_slot(machine, component, slot)?;
        }
        let ever = machine.generations(component).any(|slots| slots.current.is_some());
        if ever && newest.current.is_none() {
            return Err(format!("{component} has no good version any more"));
        }
        check_final(machine, component)
    })
}

fn check_slot(machine: &Machine, component: &ComponentName, slot: &Slot) -> Result<(), String> {
    let directory = machine.layout(component).release(&slot.release);
    if !machine.tree.is_dir(&directory) {
        return Err(format!("{directory} is gone although {} may run", slot.release));
    }
    if machine.tree.file(&slot.recipe.executable).is_none() {
        return Err(format!("{} is gone although it may run", slot.recipe.executable));
    }
    for own in slot.state.iter().chain([&slot.config]) {
        if !machine.tree.is_dir(own) {
            return Err(format!("{own} is gone although {} may run", slot.release));
        }
    }
    Ok(())
}

/// What went to quarantine comes back by a new run at the earliest, unless people want it back.
fn check_final(machine: &Machine, component: &ComponentName) -> Result<(), String> {
    let mut condemned = BTreeSet::new();
    for slots in machine.generations(component) {
        let tried = slots.trial.as_ref().map(|trial| trial.slot.run);
        let current = slots.current.as_ref().map(|slot| slot.run);
        if let Some(run) = tried.iter().chain(&current).find(|run| condemned.contains(*run)) {
            return Err(format!("{component}: {run} runs again although it was in quarantine"));
        }
        condemned.extend(slots.quarantine.iter().map(|bad| bad.run));
    }
    Ok(())
}
