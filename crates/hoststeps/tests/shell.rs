//! The blocking shell on a real directory: lock, torn tails, panics, stopping before a step, and
//! what it costs.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::io::Write as _;
use std::str::FromStr;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use handover_engine::journal::JournalError;
use handover_engine::run::{Core, Ended, Fault, Input, Intent, Plan, Seen, Spec, summarize};
use handover_hoststeps::shell::{
    Clock, Event, LogError, Rested, Shell, ShellError, Waited, open_run,
};
use handover_hoststeps::{Host, Kinds, RealClock, Step};
use handover_model::{IdGen, RunId, Timestamp, Version};
use handover_testkit::World;
use serde::Deserialize;
use serde_json::{Value, json};

/// Puts a file; panics the first time where it is told to.
#[derive(Deserialize)]
struct Put {
    path: Utf8PathBuf,
    #[serde(default)]
    panics: bool,
}

impl Step for Put {
    fn look(&self, host: &dyn Host, _intent: Option<&Intent>) -> Result<Seen, Fault> {
        Ok(match host.read(&self.path)? {
            Some(_) => Seen::After(Value::Null),
            None => Seen::Before(Value::Null),
        })
    }

    fn apply(&self, host: &mut dyn Host, intent: &Intent) -> Result<(), Fault> {
        assert!(!self.panics || intent.attempt > 1, "it breaks");
        Ok(host.write(&self.path, b"x", 0o644)?)
    }

    fn revert(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        Ok(host.remove(&self.path)?)
    }
}

fn kinds() -> Kinds {
    Kinds::new().with::<Put>("put/1")
}

fn named<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("the test names it rightly")
}

/// Steps that need each other in a row.
fn plan(count: usize, panics: bool) -> Plan {
    let step = |place: usize| Spec {
        id: named(&format!("s{place}")),
        kind: named("put/1"),
        owner: named("host"),
        needs: place.checked_sub(1).map(|need| named(&format!("s{need}"))).into_iter().collect(),
        inputs: json!({ "path": format!("/h/{place}"), "panics": panics }),
        attempts: 2,
        timeout: None,
        asks: None,
    };
    Plan {
        name: "test".to_owned(),
        revert_on_failure: true,
        width: 1,
        roles: BTreeMap::from([(named("host"), named("host"))]),
        steps: (0..count).map(step).collect(),
    }
}

fn run_id() -> RunId {
    RunId::mint(&mut IdGen::new([1; 32]), Timestamp::from_micros(0))
}

/// One life on a real journal in `dir`, with real clocks.
fn live(
    dir: &Utf8Path,
    world: &World,
    plan: &Plan,
    stop_before: Option<&str>,
    input: Option<Input>,
) -> Result<Rested, ShellError> {
    let mut open = open_run(dir).expect("the run opens");
    let mut clock = RealClock::new(None);
    let now = clock.now();
    let engine = Version::new(1, 0, 0);
    let mut core = Core::open(run_id(), plan.clone(), &named("host"), &engine, &open.replay, now)
        .expect("the journal is ours");
    if let Some(input) = input {
        core.handle(input, now).expect("the run takes it");
    }
    let mut shell = Shell {
        host: &mut world.host(),
        kinds: &kinds(),
        log: &mut open.log,
        clock: &mut clock,
        progress: &mut |_event: Event<'_>| {},
        stop_before: stop_before.map(named),
    };
    shell.drive(&mut core)
}

fn scratch() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = Utf8PathBuf::from_path_buf(dir.path().join("run")).expect("its path is text");
    (dir, path)
}

#[test]
fn a_run_on_disk_goes_on_in_the_next_life_and_comes_back() {
    let (_dir, dir) = scratch();
    let (world, plan) = (World::new(kinds), plan(3, false));
    let first = live(&dir, &world, &plan, Some("s2"), None).unwrap();
    assert_eq!(first, Rested::Before(named("s2")));
    assert!(world.machine().tree.file(Utf8Path::new("/h/2")).is_none());
    assert_eq!(live(&dir, &world, &plan, None, None).unwrap(), Rested::Done);
    let bytes = fs::read(dir.join("journal.jsonl")).unwrap();
    assert_eq!(live(&dir, &world, &plan, None, None).unwrap(), Rested::Done);
    assert_eq!(fs::read(dir.join("journal.jsonl")).unwrap(), bytes);
    let revert = Input::Revert { why: "test".to_owned() };
    // A run that is taken back does not stop before a step.
    let back = live(&dir, &world, &plan, Some("s2"), Some(revert)).unwrap();
    assert_eq!(back, Rested::Reverted("test".to_owned()));
    let summary = summarize(&open_run(&dir).unwrap().replay).unwrap().unwrap();
    assert_eq!(summary.ended, Some(Ended::Reverted("test".to_owned())));
    assert!(world.machine().tree.file(Utf8Path::new("/h/0")).is_none());
}

#[test]
fn a_panicking_step_is_unknown_and_tried_again() {
    let (_dir, dir) = scratch();
    let (world, plan) = (World::new(kinds), plan(1, true));
    assert_eq!(live(&dir, &world, &plan, None, None).unwrap(), Rested::Done);
    let journal = fs::read_to_string(dir.join("journal.jsonl")).unwrap();
    assert!(journal.contains(r#""is":"unsure""#) && journal.contains("it breaks"));
}

#[test]
fn a_run_that_is_open_is_busy_until_its_holder_lets_go() {
    let (_dir, dir) = scratch();
    let open = open_run(&dir).unwrap();
    let me = std::process::id();
    assert!(matches!(open_run(&dir), Err(LogError::Busy { pid: Some(pid), .. }) if pid == me));
    drop(open);
    assert!(open_run(&dir).is_ok());
}

#[test]
fn a_torn_tail_is_cut_from_the_file_and_other_damage_is_refused() {
    let (_dir, dir) = scratch();
    let (world, plan) = (World::new(kinds), plan(2, false));
    live(&dir, &world, &plan, Some("s1"), None).unwrap();
    let path = dir.join("journal.jsonl");
    let whole = fs::read(&path).unwrap();
    let append = |bytes: &[u8]| {
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(bytes).unwrap();
    };
    append(&whole[..40]);
    assert!(open_run(&dir).unwrap().replay.was_torn());
    assert_eq!(fs::read(&path).unwrap(), whole);
    append(b"{}\n");
    let damaged = open_run(&dir).unwrap_err();
    assert!(matches!(damaged, LogError::Damaged { source: JournalError::Form { .. }, .. }));
    assert!(damaged.to_string().contains("journal.jsonl"));
}

#[test]
fn a_wait_ends_when_the_process_is_asked_to_end() {
    let (read, write) = rustix::pipe::pipe().unwrap();
    let mut clock = RealClock::new(Some(read));
    rustix::io::write(&write, b"!").unwrap();
    assert_eq!(clock.wait(Duration::from_hours(1)), Waited::Stop);
    let mut clock = RealClock::new(None);
    let until = clock.now().mono + Duration::from_millis(5);
    assert_eq!(clock.wait(until), Waited::Elapsed);
    assert!(clock.now().mono >= until);
}
