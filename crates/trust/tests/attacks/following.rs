//! What our author makes, our client accepts; what is lost or cut takes no host back.

use handover_trust::{Goal, VerifyError};

use crate::world::{
    World, at, component, drive, facts, follow, follow_counting, now, version, web,
};

fn world() -> World {
    let mut world = World::new();
    world.add("web", "1.0.0", 1, b"package");
    world.publish();
    world
}

#[test]
fn a_published_package_is_found_with_its_facts() {
    let world = world();
    let catalog = follow(&world.files(), &mut world.host(), web(), now()).unwrap().catalog;
    let host = "linux-x86_64".parse().unwrap();
    let package = catalog.package_for(&component("web"), &version("1.0.0"), &host).unwrap();
    assert_eq!(package.facts, facts("web", "1.0.0", 1));
    assert_eq!(package.target.length, 7);
    assert!(world.packages.contains_key(&format!("targets/{}", package.target.served_as)));
}

#[test]
fn a_second_look_fetches_only_what_it_must() {
    let world = world();
    let mut memory = world.host();
    let (_, fetched) = follow_counting(&world.files(), &mut memory, web(), now());
    let all = ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"];
    assert_eq!(fetched[..4], all);
    assert_eq!(fetched[4..], ["1.component-web.json"]);
    let (again, fetched) = follow_counting(&world.files(), &mut memory, web(), now());
    again.unwrap();
    assert_eq!(fetched, ["2.root.json", "timestamp.json"]);
}

#[test]
fn lost_and_cut_files_take_no_host_back() {
    let old = world();
    let mut world = old.clone();
    world.add("web", "1.1.0", 2, b"new");
    world.publish();
    let memory = world.followed();
    for name in memory.files.keys() {
        let mut cut = memory.clone();
        cut.files.get_mut(name).unwrap().truncate(100);
        let refused = follow(&old.files(), &mut cut, web(), now()).unwrap_err();
        assert_eq!(refused.code(), "rollback", "{name} cut: {refused}");
    }
    let mut bare = memory.clone();
    bare.files.clear();
    let refused = follow(&old.files(), &mut bare, web(), now()).unwrap_err();
    assert_eq!(refused.code(), "rollback");
}

#[test]
fn cut_files_do_not_stop_an_honest_update() {
    let mut world = world();
    let mut memory = world.followed();
    world.rotate_root();
    follow(&world.files(), &mut memory, web(), now()).unwrap();
    world.add("web", "1.1.0", 2, b"new");
    world.publish();
    for bytes in memory.files.values_mut() {
        bytes.truncate(10);
    }
    let refreshed = follow(&world.files(), &mut memory, web(), now()).unwrap();
    assert_eq!(refreshed.damaged, ["root.json", "timestamp.json", "snapshot.json"]);
    assert_eq!(refreshed.catalog.packages(&component("web")).len(), 2);
}

#[test]
fn a_cut_after_any_write_leaves_a_host_that_goes_on() {
    let mut world = world();
    let before = world.followed();
    world.rotate_root();
    world.rotate_online();
    world.add("web", "1.1.0", 2, b"new");
    world.publish();
    let files = world.files();
    for writes in 0.. {
        let (mut memory, mut left, mut fetched) = (before.clone(), writes, Vec::new());
        let whole = drive(&files, &mut memory, web(), now(), &mut fetched, &mut left).unwrap();
        let after = follow(&files, &mut memory, web(), now());
        assert!(after.is_ok(), "cut after {writes} writes: {after:?}");
        if whole.is_some() {
            assert_eq!(writes, 12, "two roots and four roles, a floors write before each");
            break;
        }
    }
}

#[test]
fn floors_fall_with_online_keys_alone() {
    let mut world = world();
    let mut fast = world.clone();
    fast.fast_forward(1 << 40);
    let memory = fast.followed();
    let refused = follow(&world.files(), &mut memory.clone(), web(), now()).unwrap_err();
    assert_eq!(refused.code(), "rollback");
    let mut offline_only = world.clone();
    offline_only.rotate_root();
    offline_only.publish();
    let refused = follow(&offline_only.files(), &mut memory.clone(), web(), now()).unwrap_err();
    assert_eq!(refused.code(), "rollback");
    world.rotate_online();
    world.publish();
    follow(&world.files(), &mut memory.clone(), web(), now()).unwrap();
    let mut bare = memory;
    bare.files.clear();
    follow(&world.files(), &mut bare, web(), now()).unwrap();
}

#[test]
fn a_target_is_found_through_its_delegation_and_another_is_not() {
    let world = world();
    let goals = ["web/1.0.0/linux-x86_64.tar.zst", "web/9.9.9/linux-x86_64.tar.zst", "x"];
    let goals = goals.map(|path| Goal::Target(path.to_owned())).to_vec();
    let refreshed = follow(&world.files(), &mut world.host(), goals, now()).unwrap();
    assert_eq!(refreshed.targets.len(), 1);
}

#[test]
fn expiry_names_both_clocks() {
    let world = world();
    let late = at("2031-01-01T00:00:00Z");
    let refused = follow(&world.files(), &mut world.host(), web(), late).unwrap_err();
    assert!(matches!(refused, VerifyError::Expired { .. }), "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains("2031-01-01") && text.contains("2030-12-31"), "{text}");
}

#[test]
fn an_update_says_when_it_must_be_repeated() {
    let world = world();
    let refreshed = follow(&world.files(), &mut world.host(), web(), now()).unwrap();
    assert_eq!(refreshed.expires, world.timestamp_expires);
}

#[test]
fn floors_that_lose_any_byte_are_damaged_and_never_none() {
    let sealed = world().followed().floors.seal().unwrap();
    for cut in 0..sealed.len() {
        let opened = handover_trust::VersionFloors::open(Some(&sealed[..cut]));
        assert_eq!(opened.unwrap_err().code(), "damaged_floors", "cut at {cut}");
    }
    let missing = handover_trust::VersionFloors::open(None);
    assert_eq!(missing.unwrap_err().code(), "missing_floors");
}
