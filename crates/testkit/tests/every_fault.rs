//! The harness, proved with two small kinds: putting a file, and switching a component over.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use handover_engine::run::{Fault, Input, Intent, Plan, Seen, Spec};
use handover_engine::slots;
use handover_hoststeps::shell::Rested;
use handover_hoststeps::{Host, HostError, Kinds, Published, Step};
use handover_model::{ComponentName, Millis, ReleaseId, Slot, Version};
use handover_testkit::{
    Behaviour, Depth, World, every_fault_of, every_full_disk_of, run_until_it_rests,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// Puts a text where nothing, or another text, is.
#[derive(Deserialize)]
struct PutFile {
    path: Utf8PathBuf,
    text: String,
}

impl PutFile {
    fn now(&self, host: &dyn Host) -> Result<Value, HostError> {
        let bytes = host.read(&self.path)?;
        Ok(bytes.map_or(Value::Null, |bytes| json!(String::from_utf8_lossy(&bytes))))
    }
}

impl Step for PutFile {
    fn look(&self, host: &dyn Host, intent: Option<&Intent>) -> Result<Seen, Fault> {
        let now = self.now(host)?;
        Ok(if now == json!(self.text) {
            Seen::After(json!({ "path": self.path }))
        } else if intent.is_none_or(|intent| intent.before == now) {
            Seen::Before(now)
        } else {
            Seen::Elsewhere(format!("{} holds something else", self.path))
        })
    }

    fn save(&self, host: &mut dyn Host, _observed: &Value) -> Result<Value, Fault> {
        Ok(self.now(host)?)
    }

    fn apply(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        Ok(host.write(&self.path, self.text.as_bytes(), 0o644)?)
    }

    fn revert(&self, host: &mut dyn Host, intent: &Intent) -> Result<(), Fault> {
        match intent.before.as_str() {
            Some(text) => Ok(host.write(&self.path, text.as_bytes(), 0o644)?),
            None => Ok(host.remove(&self.path)?),
        }
    }
}

/// Puts a slot on trial, and takes it back by quarantine.
#[derive(Deserialize)]
struct Try {
    component: ComponentName,
    slot: Slot,
}

fn publish(
    host: &mut dyn Host,
    component: &ComponentName,
    next: Result<handover_model::Slots, slots::Refused>,
) -> Result<(), Fault> {
    let next = next.map_err(|refused| Fault::Permanent(refused.to_string()))?;
    match host.publish_slots(component, &next)? {
        Published::Ours => Ok(()),
        Published::Taken => Err(Fault::Retry("somebody else was quicker".to_owned())),
    }
}

impl Step for Try {
    fn look(&self, host: &dyn Host, _intent: Option<&Intent>) -> Result<Seen, Fault> {
        let slots = host.slots(&self.component)?;
        let run = self.slot.run;
        let on_trial = slots.trial.as_ref().is_some_and(|trial| trial.slot.run == run);
        let current = slots.current.as_ref().is_some_and(|slot| slot.run == run);
        Ok(if on_trial || current {
            Seen::After(Value::Null)
        } else if let Some(bad) = slots.quarantine.iter().find(|bad| bad.run == run) {
            Seen::Overruled(bad.reason.clone())
        } else {
            Seen::Before(json!(slots.generation))
        })
    }

    fn apply(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        let slots = host.slots(&self.component)?;
        let next = slots::begin_trial(&slots, self.slot.clone(), Millis(60_000), 3, None);
        publish(host, &self.component, next)
    }

    fn revert(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        let slots = host.slots(&self.component)?;
        let run = self.slot.run;
        let now = slots.current.as_ref().and_then(|slot| slot.committed_at);
        let now = now.unwrap_or(handover_model::Timestamp::from_micros(0));
        if slots.trial.as_ref().is_some_and(|trial| trial.slot.run == run) {
            let next = slots::quarantine_trial(&slots, run, "taken back", now);
            return publish(host, &self.component, next);
        }
        if slots.current.as_ref().is_some_and(|slot| slot.run == run) {
            let last = slots.previous.first().map(|slot| slot.release.clone());
            let last = last.ok_or_else(|| Fault::Permanent("nothing to return to".to_owned()))?;
            let next = slots::roll_back_to(&slots, &last, "taken back", now);
            return publish(host, &self.component, next);
        }
        Ok(())
    }
}

/// Waits until the trial has been well for a second, then commits it.
#[derive(Deserialize)]
struct Commit {
    component: ComponentName,
    release: ReleaseId,
    directory: Utf8PathBuf,
}

impl Step for Commit {
    fn look(&self, host: &dyn Host, _intent: Option<&Intent>) -> Result<Seen, Fault> {
        let slots = host.slots(&self.component)?;
        if slots.current.as_ref().is_some_and(|slot| slot.release == self.release) {
            return Ok(Seen::After(Value::Null));
        }
        if let Some(bad) = slots.quarantine.iter().find(|bad| bad.release == self.release) {
            return Ok(Seen::Overruled(bad.reason.clone()));
        }
        let child = host.running(&self.component)?.child;
        let well = child.as_ref().is_some_and(|child| {
            child.release == self.release && child.ready && child.age >= Duration::from_secs(1)
        });
        let check = handover_model::CheckKind::Tcp {
            address: "127.0.0.1:1".to_owned(),
            timeout: Millis(1000),
        };
        let check = host.check(&check, &self.directory)?;
        Ok(if well && check == handover_hoststeps::CheckAnswer::Well {
            Seen::Before(Value::Null)
        } else {
            let again = Duration::from_millis(300);
            Seen::NotYet { why: "it is not well yet".to_owned(), again }
        })
    }

    /// What was committed is taken back by the step that began the trial.
    fn look_back(&self, _host: &dyn Host, _intent: &Intent) -> Result<Seen, Fault> {
        Ok(Seen::Before(Value::Null))
    }

    fn apply(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        let slots = host.slots(&self.component)?;
        let trial = slots.trial.as_ref().map(|trial| trial.slot.run);
        let run = trial.ok_or_else(|| Fault::Retry("the trial is over".to_owned()))?;
        let at = handover_model::Timestamp::from_micros(5);
        publish(host, &self.component, slots::commit(&slots, run, at))
    }

    fn revert(&self, _host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        Ok(())
    }
}

fn kinds() -> Kinds {
    Kinds::new()
        .with::<PutFile>("file.put/1")
        .with::<Try>("slot.try/1")
        .with::<Commit>("slot.commit/1")
}

fn named<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("the test names it rightly")
}

fn step(id: &str, kind: &str, needs: &[&str], inputs: Value) -> Spec {
    Spec {
        id: named(id),
        kind: named(kind),
        owner: named("host"),
        needs: needs.iter().map(|id| named(id)).collect(),
        inputs,
        attempts: 3,
        timeout: None,
        asks: None,
    }
}

fn plan(steps: Vec<Spec>) -> Plan {
    Plan {
        name: "test".to_owned(),
        revert_on_failure: true,
        width: 1,
        roles: BTreeMap::from([(named("host"), named("host"))]),
        steps,
    }
}

fn revert() -> Input {
    Input::Revert { why: "test".to_owned() }
}

fn two_files() -> (Plan, World) {
    let world = World::new(kinds);
    world.machine_mut().tree.put("/h/a", "old", 0o644);
    let second = json!({"path": "/h/b", "text": {"$from": "a", "path": "/path"}});
    let plan = plan(vec![
        step("a", "file.put/1", &[], json!({"path": "/h/a", "text": "new"})),
        step("b", "file.put/1", &["a"], second),
    ]);
    (plan, world)
}

fn text(world: &World, path: &str) -> Option<String> {
    let machine = world.machine();
    machine.tree.file(Utf8Path::new(path)).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

#[test]
fn putting_files_survives_every_fault() {
    let (plan, world) = two_files();
    let all = every_fault_of(&plan, &world, Depth::Twice { stride: 2 });
    assert!(all.len() > 500, "{}", all.len());
    for faults in &all {
        let world = run_until_it_rests(&plan, world.clone().with(faults));
        assert_eq!(world.rested(), &Rested::Done, "{faults}");
        assert_eq!(text(&world, "/h/a").as_deref(), Some("new"), "{faults}");
        assert_eq!(text(&world, "/h/b").as_deref(), Some("/h/a"), "{faults}");
        let world = run_until_it_rests(&plan, world.asked_to(revert()));
        assert!(matches!(world.rested(), Rested::Reverted(_)), "{faults}");
        assert_eq!(text(&world, "/h/a").as_deref(), Some("old"), "{faults}");
        assert_eq!(text(&world, "/h/b"), None, "{faults}");
    }
}

#[test]
fn taking_files_back_survives_every_fault() {
    let (plan, world) = two_files();
    let world = run_until_it_rests(&plan, world).asked_to(revert());
    let all = every_fault_of(&plan, &world, Depth::Twice { stride: 2 });
    assert!(all.len() > 300, "{}", all.len());
    for faults in &all {
        let world = run_until_it_rests(&plan, world.clone().with(faults));
        assert!(matches!(world.rested(), Rested::Reverted(_)), "{faults}");
        assert_eq!(text(&world, "/h/a").as_deref(), Some("old"), "{faults}");
        assert_eq!(text(&world, "/h/b"), None, "{faults}");
    }
}

#[test]
fn a_disk_that_fills_up_anywhere_leaves_all_or_nothing() {
    let (plan, world) = two_files();
    for faults in &every_full_disk_of(&plan, &world) {
        let world = run_until_it_rests(&plan, world.clone().with(faults));
        let done = (Some("new".to_owned()), Some("/h/a".to_owned()));
        let back = (Some("old".to_owned()), None);
        let files = (text(&world, "/h/a"), text(&world, "/h/b"));
        match world.rested() {
            Rested::Done => assert_eq!(files, done, "{faults}"),
            Rested::Reverted(_) => assert_eq!(files, back, "{faults}"),
            rested @ (Rested::Parked(_) | Rested::Before(_) | Rested::Stopped) => {
                panic!("{faults}: {rested:?}")
            }
        }
    }
}

fn upgrade(behaviour: Behaviour) -> (Plan, World, ComponentName) {
    let world = World::new(kinds);
    let web: ComponentName = named("web");
    let old = world.install(&web, Version::new(1, 0, 0), 1);
    world.commit_first(&web, old);
    let slot = world.install(&web, Version::new(1, 1, 0), 2);
    world.machine_mut().behaviours.insert(Version::new(1, 1, 0), behaviour);
    let plan = plan(vec![
        step("try", "slot.try/1", &[], json!({"component": web, "slot": slot})),
        step(
            "commit",
            "slot.commit/1",
            &["try"],
            json!({"component": web, "release": slot.release, "directory": slot.recipe.directory}),
        ),
    ]);
    (plan, world, web)
}

#[test]
fn a_disk_that_fills_up_in_an_upgrade_leaves_a_good_version_running() {
    let (plan, world, web) = upgrade(Behaviour::default());
    for faults in &every_full_disk_of(&plan, &world) {
        let world = run_until_it_rests(&plan, world.clone().with(faults));
        let wanted = match world.rested() {
            Rested::Done => Version::new(1, 1, 0),
            Rested::Reverted(_) => Version::new(1, 0, 0),
            rested @ (Rested::Parked(_) | Rested::Before(_) | Rested::Stopped) => {
                panic!("{faults}: {rested:?}")
            }
        };
        world.machine_mut().pass(Duration::from_secs(1));
        assert_eq!(world.machine().running_version(&web), Some(wanted), "{faults}");
    }
}

#[test]
fn switching_over_survives_every_fault() {
    let (plan, world, web) = upgrade(Behaviour::default());
    let all = every_fault_of(&plan, &world, Depth::Twice { stride: 5 });
    assert!(all.len() > 300, "{}", all.len());
    for faults in &all {
        let world = run_until_it_rests(&plan, world.clone().with(faults));
        assert_eq!(world.rested(), &Rested::Done, "{faults}");
        let version = world.machine().running_version(&web);
        assert_eq!(version, Some(Version::new(1, 1, 0)), "{faults}");
        let world = run_until_it_rests(&plan, world.asked_to(revert()));
        let version = world.machine().running_version(&web);
        assert_eq!(version, Some(Version::new(1, 0, 0)), "{faults}");
    }
}

#[test]
fn a_version_that_crashes_is_taken_back_under_every_fault() {
    let exits_after = Some(Duration::from_millis(500));
    let (plan, world, web) = upgrade(Behaviour { exits_after, ..Behaviour::default() });
    for faults in &every_fault_of(&plan, &world, Depth::Twice { stride: 7 }) {
        let world = run_until_it_rests(&plan, world.clone().with(faults));
        assert!(matches!(world.rested(), Rested::Reverted(_)), "{faults}: {:?}", world.rested());
        world.machine_mut().pass(Duration::from_secs(1));
        let version = world.machine().running_version(&web);
        assert_eq!(version, Some(Version::new(1, 0, 0)), "{faults}");
    }
}

#[test]
fn a_version_that_never_gets_well_is_taken_back_by_the_launcher() {
    let ill_after = Some(Duration::ZERO);
    let (plan, world, web) = upgrade(Behaviour { ill_after, ..Behaviour::default() });
    let world = run_until_it_rests(&plan, world);
    assert!(matches!(world.rested(), Rested::Reverted(why) if why.contains("overruled")));
    assert_eq!(world.machine().running_version(&web), Some(Version::new(1, 0, 0)));
}

#[test]
fn a_missing_revision_of_a_kind_holds_its_step_and_changes_nothing() {
    fn newer() -> Kinds {
        Kinds::new().with::<PutFile>("file.put/2")
    }
    let (plan, world) = two_files();
    let world = run_until_it_rests(&plan, world.with_kinds(newer));
    assert!(matches!(world.rested(), Rested::Parked(_)));
    assert_eq!(text(&world, "/h/a").as_deref(), Some("old"));
    let world = run_until_it_rests(&plan, world.with_kinds(kinds));
    assert_eq!(world.rested(), &Rested::Done);
}

#[test]
fn a_step_costs_one_sync_and_a_life_two_more() {
    let (plan, world) = two_files();
    let world = run_until_it_rests(&plan, world);
    // A session's start, two intents, the end (the shell's own sync finds nothing to do), and
    // the one of the run that finds everything done.
    assert!(world.syncs() <= 6, "{}", world.syncs());
}
