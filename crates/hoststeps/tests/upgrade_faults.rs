//! The whole plan of a host upgrade, with the real kinds and the real launcher's core, failed and
//! crashed at every call of host and journal.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use camino::Utf8Path;
use handover_engine::run::{Input, Plan};
use handover_engine::upgrade::{HostFacts, compile};
use handover_hoststeps::kinds::{Surroundings, host_upgrade};
use handover_hoststeps::shell::Rested;
use handover_hoststeps::{Kinds, Output};
use handover_model::{
    ComponentName, Digest, Manifest, Millis, Order, ReleaseId, Timestamp, Version,
};
use handover_testkit::{
    Behaviour, Depth, Faults, Tree, World, every_fault_of, every_full_disk_of, run_until_it_rests,
};
use serde_json::{Value, json};

const OLD: Version = Version::new(1, 0, 0);
const NEW: Version = Version::new(1, 1, 0);
const OUTSIDE: &str = "/etc/web.conf";

fn kinds() -> Kinds {
    host_upgrade(&Surroundings::new(|| Timestamp::from_micros(5)))
}

fn web() -> ComponentName {
    "web".parse().expect("it is a name")
}

fn manifest(version: &Version, more: Value) -> Manifest {
    let mut value = json!({
        "format": 1, "component": "web", "version": version, "sequence": 2,
        "upgrades_from": ">=1.0.0",
        "service": {"executable": "bin/serve", "self_test": ["bin/test"]},
        "state": {"schema": 2, "migrations": [{"from": 1, "up": ["bin/up", "${state}"]}]},
        "configuration": [{"path": "conf", "source": "etc/conf", "edits": "replace"}],
        "health": {"stable_for": "1s", "every": "1s", "successes": 2, "failures": 2,
            "checks": [{"name": "port", "tcp": {"address": "127.0.0.1:1"}}]},
        "trial": {"window": "30s", "boots": 3},
    });
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    serde_json::from_value(value).expect("it is a manifest")
}

/// A machine that runs the old release and has the new one's package, and the plan between them.
fn upgrade(more: Value, behaviour: Behaviour) -> (Plan, World) {
    let world = World::new(kinds);
    let slot = world.install(&web(), OLD, 1);
    world.commit_first(&web(), slot);
    let to = ReleaseId { version: NEW, digest: Digest::of(b"package") };
    let package = world.machine().layout(&web()).incoming(&to.digest);
    {
        let mut machine = world.machine_mut();
        let run = machine.layout(&web()).run(world.run_id());
        machine.tree.make_dir(&run);
        for (path, text, mode) in [
            ("bin/serve", "serve 1.1.0", 0o755),
            ("bin/up", "", 0o755),
            ("etc/conf", "conf of ${version}", 0o644),
            ("etc/outside", "outside of ${version}", 0o644),
        ] {
            machine.tree.put(package.join(path), text, mode);
        }
        machine.tree.put(OUTSIDE, "mine", 0o600);
        machine.behaviours.insert(NEW, behaviour);
        machine.programs.insert("up".to_owned(), Rc::new(migrate));
        machine.programs.insert("down".to_owned(), Rc::new(migrate));
    }
    let manifest = manifest(&NEW, more);
    let slots = world.machine().newest_slots(&web());
    let order = Order {
        contract: 1,
        id: "order_00000000000070008000000000000001".parse().expect("it is an id"),
        run: world.run_id(),
        component: web(),
        root: world.machine().root.clone(),
        from: slots.current.as_ref().map(|slot| slot.release.clone()),
        to,
        sequence: 2,
        deadline: Timestamp::from_micros(1000),
        patience: Millis(1000),
        parameters: BTreeMap::new(),
    };
    let plan = compile(&order, &manifest, &facts(&world, package.as_path()));
    (plan.expect("nothing speaks against it"), world)
}

fn facts(world: &World, package: &Utf8Path) -> HostFacts {
    HostFacts {
        has_launcher: false,
        now: Timestamp::from_micros(0),
        slots: world.machine().newest_slots(&web()),
        launcher_runs: true,
        package: package.to_owned(),
        old: Some(manifest(&OLD, json!({"state": {"schema": 1}}))),
        old_parameters: BTreeMap::new(),
        copied_bytes: 1000,
        executable_digest: Digest::of(b"serve 1.1.0"),
        executable_machine: None,
        host_machine: None,
        free_state: 5,
        free_config: 5,
        taken_sockets: Vec::new(),
        unusable_user: None,
        edited: BTreeSet::new(),
        unfinished_run: None,
    }
}

/// In place and not to be done twice: a second time it would say so for ever.
fn migrate(tree: &mut Tree, command: &handover_hoststeps::CommandSpec) -> Output {
    let data = Utf8Path::new(&command.arguments[0]).join("data");
    let text = tree.file(&data).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    tree.put(data, format!("{} migrated", text.unwrap_or_default()), 0o644);
    Output { code: Some(0), timed_out: false, tail: String::new() }
}

fn text(world: &World, path: impl AsRef<Utf8Path>) -> Option<String> {
    let machine = world.machine();
    machine.tree.file(path.as_ref()).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// The new release runs on its own migrated state, and the old slot is as it was.
fn assert_new(world: &World, faults: &Faults) {
    assert_eq!(world.rested(), &Rested::Done, "{faults}");
    assert_eq!(world.machine().running_version(&web()), Some(NEW), "{faults}");
    assert_slot(world, "data migrated", "conf of 1.1.0", faults);
    assert_old_slot_untouched(world, faults);
}

/// The old release runs on its own state, and nothing of the new one is in anybody's way.
fn assert_old(world: &World, faults: &Faults) {
    assert!(matches!(world.rested(), Rested::Reverted(_)), "{faults}: {:?}", world.rested());
    world.machine_mut().pass(Duration::from_secs(1));
    assert_eq!(world.machine().running_version(&web()), Some(OLD), "{faults}");
    let slots = world.machine().newest_slots(&web());
    assert_eq!((&slots.trial, &slots.pause), (&None, &None), "{faults}");
    assert_slot(world, "data", "conf", faults);
    assert_old_slot_untouched(world, faults);
    assert_eq!(text(world, OUTSIDE).as_deref(), Some("mine"), "{faults}");
}

fn assert_slot(world: &World, data: &str, conf: &str, faults: &Faults) {
    let current = world.machine().newest_slots(&web()).current.expect("a release is current");
    let state = current.state.expect("it has state");
    assert_eq!(text(world, state.join("data")).as_deref(), Some(data), "{faults}");
    assert_eq!(text(world, current.config.join("conf")).as_deref(), Some(conf), "{faults}");
}

fn assert_old_slot_untouched(world: &World, faults: &Faults) {
    let layout = world.machine().layout(&web());
    assert_eq!(text(world, layout.state(1, 1).join("data")).as_deref(), Some("data"), "{faults}");
    assert_eq!(text(world, layout.config(1).join("conf")).as_deref(), Some("conf"), "{faults}");
}

/// A power cut while the state is copied ends the launcher's pause: the old version ran since, so
/// its state must be copied anew, by another run. Everything else that is cut short goes on.
fn was_unpaused(world: &World) -> bool {
    matches!(world.rested(), Rested::Reverted(why) if why.contains("ended the pause"))
}

fn with_outside() -> Value {
    json!({"outside": [{"path": OUTSIDE, "source": "etc/outside", "edits": "replace",
        "then": ["reload"]}], "return_within": "5s"})
}

#[test]
fn an_upgrade_survives_every_fault_and_so_does_taking_it_back() {
    let (plan, world) = upgrade(with_outside(), Behaviour::default());
    let all = every_fault_of(&plan, &world, Depth::Once);
    assert!(all.len() > 500, "{}", all.len());
    let mut unpaused = 0;
    for (number, faults) in all.iter().enumerate() {
        let world = run_until_it_rests(&plan, world.clone().with(faults));
        if was_unpaused(&world) {
            unpaused += 1;
            assert_old(&world, faults);
            continue;
        }
        assert_new(&world, faults);
        assert_eq!(text(&world, OUTSIDE).as_deref(), Some("outside of 1.1.0"), "{faults}");
        if number % 8 == 0 {
            let why = Input::Revert { why: "a person said so".to_owned() };
            let world = run_until_it_rests(&plan, world.asked_to(why));
            assert_old(&world, faults);
        }
    }
    assert!(unpaused * 10 < all.len(), "{unpaused} of {}", all.len());
}

#[test]
fn taking_an_upgrade_back_survives_every_fault() {
    let (plan, world) = upgrade(with_outside(), Behaviour::default());
    let why = Input::Revert { why: "a person said so".to_owned() };
    let world = run_until_it_rests(&plan, world).asked_to(why);
    let all = every_fault_of(&plan, &world, Depth::Once);
    assert!(all.len() > 100, "{}", all.len());
    for faults in &all {
        assert_old(&run_until_it_rests(&plan, world.clone().with(faults)), faults);
    }
}

#[test]
fn a_second_fault_while_the_first_is_recovered_from_changes_nothing() {
    let (plan, world) = upgrade(json!({}), Behaviour::default());
    for faults in every_fault_of(&plan, &world, Depth::Twice { stride: 151 }).iter().step_by(5) {
        let world = run_until_it_rests(&plan, world.clone().with(faults));
        if was_unpaused(&world) {
            assert_old(&world, faults);
        } else {
            assert_new(&world, faults);
        }
    }
}

#[test]
fn a_release_that_crashes_on_trial_is_taken_back_under_every_fault() {
    let exits_after = Some(Duration::from_millis(700));
    let behaviour = Behaviour { exits_after, ..Behaviour::default() };
    let (plan, world) = upgrade(json!({}), behaviour);
    for faults in &every_fault_of(&plan, &world, Depth::Once) {
        let world = run_until_it_rests(&plan, world.clone().with(faults));
        assert_old(&world, faults);
        let known = usize::from(!was_unpaused(&world));
        assert_eq!(world.machine().newest_slots(&web()).quarantine.len(), known, "{faults}");
    }
}

#[test]
fn a_release_that_never_gets_well_is_taken_back_under_every_fault() {
    let behaviour = Behaviour { ill_after: Some(Duration::ZERO), ..Behaviour::default() };
    let (plan, world) = upgrade(json!({"trial": {"window": "4s", "boots": 1}}), behaviour);
    // The same calls as everywhere until the trial; every third fault meets the others.
    for faults in every_fault_of(&plan, &world, Depth::Once).iter().step_by(3) {
        let world = run_until_it_rests(&plan, world.clone().with(faults));
        assert_old(&world, faults);
        let known = usize::from(!was_unpaused(&world));
        assert_eq!(world.machine().newest_slots(&web()).quarantine.len(), known, "{faults}");
    }
}

#[test]
fn a_release_that_falls_ill_after_commit_returns_under_every_fault() {
    let behaviour = Behaviour { ill_after: Some(Duration::from_secs(8)), ..Behaviour::default() };
    let more = json!({"return_within": "1h", "outside": with_outside()["outside"]});
    let (plan, world) = upgrade(more, behaviour);
    // The same calls as everywhere until the trial; every third fault meets the others.
    for faults in every_fault_of(&plan, &world, Depth::Once).iter().step_by(3) {
        let world = run_until_it_rests(&plan, world.clone().with(faults));
        assert_old(&world, faults);
        let known = usize::from(!was_unpaused(&world));
        assert_eq!(world.machine().newest_slots(&web()).quarantine.len(), known, "{faults}");
    }
}

#[test]
fn a_disk_that_fills_up_anywhere_leaves_one_whole_release_or_the_other() {
    let (plan, world) = upgrade(json!({}), Behaviour::default());
    for faults in &every_full_disk_of(&plan, &world) {
        let world = run_until_it_rests(&plan, world.clone().with(faults));
        match world.rested() {
            Rested::Done => assert_new(&world, faults),
            Rested::Reverted(_) => assert_old(&world, faults),
            rested @ (Rested::Parked(_) | Rested::Before(_) | Rested::Stopped) => {
                panic!("{faults}: {rested:?}")
            }
        }
    }
}

/// Ways back: on return the old release gets what the new one wrote, unless that fails; then, and
/// when the launcher returns by itself, its own kept copy.
#[test]
fn state_is_migrated_down_on_return_or_the_kept_copy_is_used_under_every_fault() {
    let behaviour = Behaviour { ill_after: Some(Duration::from_secs(8)), ..Behaviour::default() };
    let more = json!({"return_within": "1h", "on_revert": "migrate-down", "state": {"schema": 2,
        "migrations": [{"from": 1, "up": ["bin/up", "${state}"], "down": ["bin/down", "${state}"]}]}});
    let (plan, world) = upgrade(more, behaviour);
    let mut kept = 0;
    let all = every_fault_of(&plan, &world, Depth::Once);
    for faults in all.iter().step_by(2) {
        let world = run_until_it_rests(&plan, world.clone().with(faults));
        assert!(matches!(world.rested(), Rested::Reverted(_)), "{faults}: {:?}", world.rested());
        world.machine_mut().pass(Duration::from_secs(1));
        assert_eq!(world.machine().running_version(&web()), Some(OLD), "{faults}");
        assert_old_slot_untouched(&world, faults);
        let current = world.machine().newest_slots(&web()).current.expect("it returned");
        let state = text(&world, current.state.expect("it has state").join("data"));
        match state.as_deref() {
            Some("data migrated migrated") => {}
            Some("data") => kept += 1,
            other => panic!("{faults}: {other:?}"),
        }
    }
    assert!(kept * 5 < all.len(), "{kept} of {}", all.len());
}
