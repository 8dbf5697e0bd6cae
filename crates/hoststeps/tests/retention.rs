//! The retention step on a real directory: what it removes, and what it never touches.

use std::collections::BTreeMap;
use std::fs;

use camino::Utf8PathBuf;
use handover_engine::run::{Intent, Seen};
use handover_engine::slots::{begin_trial, commit};
use handover_engine::upgrade::KeepFew;
use handover_hoststeps::{Host, RealHost, Step};
use handover_model::{
    Digest, IdGen, LAUNCHER_PROTOCOL, Millis, Readiness, Recipe, ReleaseId, RunId, Slot, Slots,
    StopSpec, Timestamp, Version,
};
use serde_json::Value;

fn noon() -> Timestamp {
    Timestamp::from_micros(0)
}

fn slot(directory: &Utf8PathBuf, minor: u64, run: RunId) -> Slot {
    let version = Version::new(1, minor, 0);
    let release = ReleaseId { version, digest: Digest::of(&minor.to_be_bytes()) };
    Slot {
        sequence: minor,
        recipe: Recipe {
            launcher: LAUNCHER_PROTOCOL,
            executable: directory.join("releases").join(release.directory()).join("web"),
            executable_digest: Digest::of(b"web"),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            directory: directory.clone(),
            user: None,
            stop: StopSpec::default(),
            readiness: Readiness::None,
            sockets: Vec::new(),
        },
        state: None,
        config: directory.join("config").join(minor.to_string()),
        run,
        committed_at: None,
        guard: None,
        release,
    }
}

#[test]
fn only_what_this_program_made_and_nothing_needs_is_removed() {
    let place = tempfile::tempdir().unwrap();
    let root = Utf8PathBuf::from_path_buf(place.path().to_owned()).unwrap();
    let (mut host, mut ids) = (RealHost::new(root.clone()), IdGen::new([7; 32]));
    let component = "web".parse().unwrap();
    let directory = root.join("components/web");
    let releases = directory.join("releases");
    let mut slots = Slots::default();
    let mut made = Vec::new();
    for minor in 1..=4 {
        let slot = slot(&directory, minor, RunId::mint(&mut ids, noon()));
        made.push(slot.release.directory());
        fs::create_dir_all(releases.join(&made[made.len() - 1])).unwrap();
        slots = begin_trial(&slots, slot.clone(), Millis(1000), 1, None).unwrap();
        host.publish_slots(&component, &slots).unwrap();
        slots = commit(&slots, slot.run, noon()).unwrap();
        host.publish_slots(&component, &slots).unwrap();
    }
    let foreign = ["backup of 1.1.0", "1.1.0", "1.1.0+nonsense", ".aside-1.1.0+00000000", "notes"];
    for name in foreign {
        fs::create_dir_all(releases.join(name)).unwrap();
    }
    let run = slots.current.as_ref().unwrap().run;
    let keep = KeepFew { component, directory: directory.clone(), keep: 1, run };
    let intent =
        Intent { attempt: 1, inputs: Value::Null, observed: Value::Null, before: Value::Null };

    assert!(matches!(keep.look(&host, None).unwrap(), Seen::Before(_)));
    keep.apply(&mut host, &intent).unwrap();

    let left = |name: &str| releases.join(name).is_dir();
    assert_eq!(made.iter().map(|name| left(name)).collect::<Vec<_>>(), [false, false, true, true]);
    assert_eq!(foreign.map(left), [true; 5], "what nobody here made stays");
    // Four are reported; what is being written aside is its writer's business.
    let seen = keep.look(&host, Some(&intent)).unwrap();
    assert!(matches!(&seen, Seen::After(said) if said["unknown"] == 4), "{seen:?}");
}
