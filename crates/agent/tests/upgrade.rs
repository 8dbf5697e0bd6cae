//! The stock entrypoint, its watcher and the launcher, as the executables that they are, on a root
//! in a directory of each test's own.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail their test")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::disk::{self, Lock, SlotsStore};
use handover_hoststeps::shell::Clock as _;
use handover_hoststeps::{Host as _, RealClock, RealHost};
use handover_model::{
    ComponentName, Digest, IdGen, Layout, Millis, Order, OrderId, Outcome, Progress, ReleaseId,
    RunId, RunResult, Slots, open_framed,
};
use serde_json::{Value, json};

const UPGRADE: &str = env!("CARGO_BIN_EXE_handover-upgrade");
const LAUNCH: &str = env!("CARGO_BIN_EXE_handover-launch");
const LIMIT: Duration = Duration::from_secs(30);

/// A root with one component, `web`, and its launcher.
struct Root {
    _dir: tempfile::TempDir,
    layout: Layout,
    launcher: Option<Child>,
    ids: IdGen,
}

/// How an entrypoint answered.
struct Answer {
    run: RunId,
    code: Option<i32>,
    lines: Vec<Progress>,
    errors: String,
}

impl Root {
    fn new(seed: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().canonicalize().unwrap()).unwrap();
        let layout = Layout::new(path, "web".parse().unwrap());
        let mut root = Self { _dir: dir, layout, launcher: None, ids: IdGen::new([seed; 32]) };
        root.start_launcher();
        root
    }

    fn start_launcher(&mut self) {
        disk::make_dir(&self.layout.directory()).unwrap();
        let launcher = Command::new(LAUNCH)
            .args(["web", "--root", self.layout.root().as_str()])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.launcher = Some(launcher);
        let lock = self.layout.launcher_lock();
        wait_until("the launcher lives", || Lock::holder(&lock).unwrap().is_some());
    }

    /// A package as the agent unpacks it. Its service sleeps; its state is one file, `schema`.
    fn package(&self, version: &str, sequence: u64, more: Value) -> ReleaseId {
        let digest = Digest::of(format!("package {version}").as_bytes());
        self.package_as(version, digest, sequence, more)
    }

    fn package_as(&self, version: &str, digest: Digest, sequence: u64, more: Value) -> ReleaseId {
        let package = self.layout.incoming(&digest);
        let migrate = "#!/bin/sh\nset -e\ncat $1/schema >> $1/history\necho $2 > $1/schema\n";
        let manifest = manifest(version, sequence, more);
        for (path, bytes, mode) in [
            ("handover/upgrade", std::fs::read(UPGRADE).unwrap(), 0o755),
            ("handover/release.json", serde_json::to_vec(&manifest).unwrap(), 0o644),
            ("bin/serve", sleeper(version), 0o755),
            ("bin/migrate", migrate.as_bytes().to_vec(), 0o755),
            ("etc/web.conf", b"version ${version}\n".to_vec(), 0o644),
        ] {
            let path = package.join(path);
            disk::make_dir(path.parent().unwrap()).unwrap();
            disk::write(&path, &bytes, mode).unwrap();
        }
        ReleaseId { version: version.parse().unwrap(), digest }
    }

    fn order(&mut self, to: &ReleaseId, sequence: u64) -> Order {
        let now = RealClock::new(None).now().wall;
        Order {
            contract: 1,
            id: OrderId::mint(&mut self.ids, now),
            run: RunId::mint(&mut self.ids, now),
            component: self.component(),
            root: self.layout.root().to_owned(),
            from: self.slots().current.map(|slot| slot.release),
            to: to.clone(),
            sequence,
            deadline: now.after(Duration::from_secs(100)),
            patience: Millis(30_000),
            parameters: BTreeMap::new(),
        }
    }

    fn run(&self, order: &Order) -> Answer {
        let path = self.layout.root().join("order.json");
        disk::write(&path, &serde_json::to_vec(order).unwrap(), 0o644).unwrap();
        let program = self.layout.incoming(&order.to.digest).join("handover/upgrade");
        Self::call(&program, order.run, &["run", "--contract", "1", "--order", path.as_str()])
    }

    /// A verb for a run that began, by the entrypoint wherever its package lies now.
    fn verb(&self, verb: &str, order: &Order) -> Answer {
        let installed = self.layout.release(&order.to);
        let package =
            if installed.exists() { installed } else { self.layout.incoming(&order.to.digest) };
        let run = order.run.to_string();
        let root = self.layout.root().as_str();
        let arguments = [verb, "--root", root, "--component", "web", "--run", &run];
        Self::call(&package.join("handover/upgrade"), order.run, &arguments)
    }

    fn call(program: &Utf8Path, run: RunId, arguments: &[&str]) -> Answer {
        let output = Command::new(program).args(arguments).env_clear().output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        Answer { run, code: output.status.code(), lines, errors }
    }

    fn install(&mut self, release: &ReleaseId, sequence: u64) {
        let order = self.order(release, sequence);
        let answer = self.run(&order);
        assert_eq!(answer.code, Some(0), "{}\n{}", answer.errors, self.told(answer.run));
        self.expect(answer.run, RunResult::Done, &release.version.to_string());
    }

    fn upgrade(&mut self, version: &str, sequence: u64, more: Value) -> (Order, Answer) {
        let to = self.package(version, sequence, more);
        let order = self.order(&to, sequence);
        let answer = self.run(&order);
        (order, answer)
    }

    fn component(&self) -> ComponentName {
        self.layout.component().clone()
    }

    fn slots(&self) -> Slots {
        SlotsStore::new(self.layout.slots()).load().unwrap()
    }

    fn current(&self) -> Option<String> {
        self.slots().current.map(|slot| slot.release.version.to_string())
    }

    /// The version that is proved to run.
    fn running(&self) -> Option<String> {
        let child = RealHost::new(self.layout.root()).running(&self.component()).unwrap().child?;
        let slots = self.slots();
        let trial = slots.trial.into_iter().map(|trial| trial.slot);
        let all = slots.current.into_iter().chain(trial).chain(slots.previous);
        let slot = all.into_iter().find(|slot| slot.release == child.release)?;
        (slot.recipe.executable_digest == child.executable_digest)
            .then(|| slot.release.version.to_string())
    }

    fn outcome(&self, run: RunId) -> Option<Outcome> {
        let bytes = disk::read(&self.layout.run(run).join("outcome.json")).unwrap()?;
        Some(open_framed("outcome", 1, &bytes).unwrap())
    }

    fn result(&self, run: RunId) -> Option<RunResult> {
        self.outcome(run).map(|outcome| outcome.result)
    }

    /// The run came to `wanted`, and `version` is what runs.
    fn expect(&self, run: RunId, wanted: RunResult, version: &str) {
        wait_until(&format!("{wanted:?} with {version}"), || {
            self.result(run) == Some(wanted) && self.running().as_deref() == Some(version)
        });
        assert_eq!(self.current().as_deref(), Some(version), "{}", self.told(run));
    }

    fn state(&self, file: &str) -> String {
        let state = self.slots().current.unwrap().state.unwrap();
        std::fs::read_to_string(state.join(file)).unwrap_or_default()
    }

    /// For failing tests.
    fn told(&self, run: RunId) -> String {
        let read = |path: Utf8PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let dir = self.layout.run(run);
        ["outcome.json", "progress.jsonl", "watcher.log"]
            .map(|name| format!("--- {name}\n{}", read(dir.join(name))))
            .join("\n")
            + &read(self.layout.launches())
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        for run in disk_names(&self.layout.runs()) {
            let lock = self.layout.runs().join(run).join("lock");
            if let Ok(Some(pid)) = Lock::holder(&lock) {
                kill(pid);
            }
        }
        if let Some(mut launcher) = self.launcher.take() {
            kill(launcher.id());
            let _ = launcher.wait();
        }
    }
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

fn disk_names(path: &Utf8Path) -> Vec<String> {
    let entries = path.read_dir_utf8().map(|entries| entries.flatten().collect::<Vec<_>>());
    entries.unwrap_or_default().iter().map(|entry| entry.file_name().to_owned()).collect()
}

fn manifest(version: &str, sequence: u64, more: Value) -> Value {
    let mut manifest = json!({
        "format": 1, "component": "web", "version": version, "sequence": sequence,
        "upgrades_from": ">=0.0.0",
        "service": {"executable": "bin/serve", "arguments": ["100000"],
            "stop": {"signal": "KILL", "grace": "1s"}},
        "health": {"stable_for": "20ms", "every": "20ms", "successes": 2, "failures": 2},
        "trial": {"window": "5s", "boots": 2},
        "configuration": [{"path": "web.conf", "source": "etc/web.conf"}],
    });
    if let (Some(manifest), Value::Object(more)) = (manifest.as_object_mut(), more) {
        manifest.extend(more);
    }
    manifest["service"]["stop"]["signal"] = json!("TERM");
    manifest
}

/// The system's `sleep` with the version behind its end, so that each release's digest differs.
fn sleeper(version: &str) -> Vec<u8> {
    let mut bytes = std::fs::read("/bin/sleep").unwrap();
    bytes.extend_from_slice(version.as_bytes());
    bytes
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let mut clock = RealClock::new(None);
    let limit = clock.now().mono + LIMIT;
    while !holds() {
        let now = clock.now().mono;
        assert!(now < limit, "{what}: not within {LIMIT:?}");
        clock.wait(now + Duration::from_millis(5));
    }
}

fn installed(seed: u8, more: Value) -> Root {
    let mut root = Root::new(seed);
    let (_, answer) = root.upgrade("1.0.0", 1, more);
    assert_eq!(answer.code, Some(0), "{}\n{}", answer.errors, root.told(answer.run));
    root.expect(answer.run, RunResult::Done, "1.0.0");
    root
}

fn schema(number: u32) -> Value {
    let migrations: Vec<_> = (1..number)
        .map(
            |from| json!({"from": from, "up": ["bin/migrate", "${state}", (from + 1).to_string()]}),
        )
        .collect();
    json!({"state": {"schema": number, "migrations": migrations}})
}

#[test]
fn a_first_release_and_the_next_one_are_installed_tried_and_committed() {
    let mut root = installed(1, schema(1));
    let state = root.slots().current.unwrap().state.unwrap();
    disk::write(&state.join("schema"), b"1\n", 0o644).unwrap();
    let (order, answer) = root.upgrade("1.1.0", 2, schema(2));
    assert_eq!(answer.code, Some(0), "{}\n{}", answer.errors, root.told(answer.run));
    root.expect(order.run, RunResult::Done, "1.1.0");
    assert_eq!((root.state("schema").as_str(), root.state("history").as_str()), ("2\n", "1\n"));
    assert_eq!(std::fs::read_to_string(state.join("schema")).unwrap(), "1\n");
    let config = root.slots().current.unwrap().config;
    assert_eq!(std::fs::read_to_string(config.join("web.conf")).unwrap(), "version 1.1.0\n");
    let percents: Vec<_> = answer.lines.iter().filter_map(|line| line.percent).collect();
    assert!(percents.contains(&100) && percents.iter().all(|percent| *percent <= 100));
    let mode = root.layout.release(&order.to).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn a_release_that_fails_its_health_check_is_taken_back_with_its_reason() {
    let mut root = installed(2, schema(1));
    let ill = json!({"state": {"schema": 1}, "trial": {"window": "600ms", "boots": 2},
        "health": {"stable_for": "10ms", "every": "20ms", "checks": [
            {"name": "works", "exec": {"command": ["bin/migrate", "/nowhere"]}}]}});
    let (order, answer) = root.upgrade("1.2.0", 3, ill);
    assert_eq!(answer.code, Some(0), "{}", answer.errors);
    root.expect(order.run, RunResult::Reverted, "1.0.0");
    let slots = root.slots();
    assert_eq!(slots.quarantine.len(), 1);
    let reason = &slots.quarantine[0].reason;
    assert!(reason.contains("health check works"), "{reason}");
    assert!(!root.layout.release(&order.to).exists());
    // The same release is refused from now on, and nothing changes.
    let generation = slots.generation;
    let again = root.order(&order.to, 3);
    let answer = root.run(&again);
    assert_eq!(answer.code, Some(3), "{}", answer.errors);
    assert!(answer.errors.contains("quarantine"), "{}", answer.errors);
    assert_eq!(root.slots().generation, generation);
}

#[test]
fn a_release_that_crashes_is_taken_back_by_the_launcher_at_once() {
    let mut root = installed(3, json!({}));
    let crash = json!({"service": {"executable": "bin/serve", "arguments": ["0"], "stop": {}},
        "trial": {"window": "60s", "boots": 2}});
    let (order, answer) = root.upgrade("1.3.0", 2, crash);
    assert!(matches!(answer.code, Some(0 | 4)), "{:?} {}", answer.code, answer.errors);
    root.expect(order.run, RunResult::Reverted, "1.0.0");
}

#[test]
fn a_failing_migration_leaves_the_old_release_running_on_its_own_state() {
    let mut root = installed(4, schema(1));
    let state = root.slots().current.unwrap().state.unwrap();
    disk::write(&state.join("schema"), b"1\n", 0o644).unwrap();
    let more = json!({"state": {"schema": 2, "migrations": [{"from": 1,
        "up": ["bin/migrate", "/nowhere", "2"]}]}});
    let (order, answer) = root.upgrade("1.1.0", 2, more);
    assert_eq!(answer.code, Some(4), "{}", answer.errors);
    assert!(answer.errors.contains("migration"), "{}", answer.errors);
    root.expect(order.run, RunResult::Reverted, "1.0.0");
    assert_eq!(root.state("schema"), "1\n");
    assert_eq!(root.slots().pause, None);
}

#[test]
fn a_failing_self_test_is_a_refusal_that_nobody_noticed() {
    let mut root = installed(5, json!({}));
    let pid = RealHost::new(root.layout.root()).running(&root.component()).unwrap();
    let more = json!({"service": {"executable": "bin/serve", "arguments": ["100000"], "stop": {},
        "self_test": ["bin/migrate", "/nowhere"]}});
    let (order, answer) = root.upgrade("1.1.0", 2, more);
    assert_eq!(answer.code, Some(3), "{}", answer.errors);
    assert_eq!(root.result(order.run), Some(RunResult::Refused));
    let now = RealHost::new(root.layout.root()).running(&root.component()).unwrap();
    assert_eq!(now.child.unwrap().pid, pid.child.unwrap().pid);
    assert!(root.layout.incoming(&order.to.digest).exists());
}

#[test]
fn a_release_that_falls_ill_after_commit_returns_with_its_outside_files() {
    let mut root = installed(6, schema(1));
    let outside = root.layout.root().join("outside.conf");
    disk::write(&outside, b"mine\n", 0o600).unwrap();
    let more = json!({"state": {"schema": 1}, "return_within": "1h",
        "outside": [{"path": outside, "source": "etc/web.conf", "edits": "replace"}],
        "health": {"stable_for": "10ms", "every": "20ms", "successes": 1, "failures": 3, "checks": [
            {"name": "works", "exec": {"command": ["bin/check"]}}]}});
    let to = root.package("1.4.0", 2, more);
    let well = root.layout.root().join("well");
    disk::write(&well, b"", 0o644).unwrap();
    let check = format!("#!/bin/sh\ntest -e {well}\n");
    let path = root.layout.incoming(&to.digest).join("bin/check");
    disk::write(&path, check.as_bytes(), 0o755).unwrap();
    let order = root.order(&to, 2);
    let answer = root.run(&order);
    assert_eq!(answer.code, Some(0), "{}", answer.errors);
    root.expect(order.run, RunResult::Guarded, "1.4.0");
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "version 1.4.0\n");
    disk::remove_tree(&well).unwrap();
    root.expect(order.run, RunResult::Reverted, "1.0.0");
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "mine\n");
    assert_eq!(outside.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let reason = root.outcome(order.run).unwrap().reason;
    assert!(reason.contains("works"), "{reason}");
}

#[test]
fn a_link_outside_the_slot_is_a_persons_and_stays() {
    let mut root = installed(16, json!({}));
    let (outside, theirs) =
        (root.layout.root().join("outside.conf"), root.layout.root().join("theirs.conf"));
    disk::write(&theirs, b"mine\n", 0o600).unwrap();
    std::os::unix::fs::symlink(&theirs, &outside).unwrap();
    let more = json!({
        "outside": [{"path": outside, "source": "etc/web.conf", "edits": "replace"}]});
    let to = root.package("1.4.0", 2, more);
    let order = root.order(&to, 2);
    root.run(&order);
    root.expect(order.run, RunResult::Reverted, "1.0.0");
    let reason = root.outcome(order.run).unwrap().reason;
    assert!(reason.contains("outside.conf is a link"), "{reason}");
    assert_eq!(std::fs::read_link(&outside).unwrap(), theirs);
}

#[test]
fn a_person_takes_a_guarded_run_back_and_another_release_can_follow_it() {
    let mut root = installed(7, json!({}));
    let (first, answer) = root.upgrade("1.1.0", 2, json!({"return_within": "1h"}));
    assert_eq!(answer.code, Some(0), "{}", answer.errors);
    root.expect(first.run, RunResult::Guarded, "1.1.0");
    // Another upgrade is not held up by the guard, and ends it.
    let (second, answer) = root.upgrade("1.2.0", 3, json!({"return_within": "1h"}));
    assert_eq!(answer.code, Some(0), "{}", answer.errors);
    root.expect(second.run, RunResult::Guarded, "1.2.0");
    wait_until("the first run is done", || root.result(first.run) == Some(RunResult::Done));
    let answer = root.verb("revert", &second);
    assert_eq!(answer.code, Some(4), "{}", answer.errors);
    root.expect(second.run, RunResult::Reverted, "1.1.0");
}

#[test]
fn orders_that_do_not_fit_are_refused_and_nothing_changes() {
    let mut root = installed(8, json!({}));
    let to = root.package("1.1.0", 2, json!({}));
    let generation = root.slots().generation;
    let fine = root.order(&to, 2);
    let other: ReleaseId = ReleaseId { version: "9.9.9".parse().unwrap(), digest: to.digest };
    for (bad, why) in [
        (Order { deadline: handover_model::Timestamp::from_micros(1), ..fine.clone() }, "void"),
        (Order { component: "other".parse().unwrap(), ..fine.clone() }, "this package is"),
        (Order { to: other, ..fine.clone() }, "this package is"),
        (Order { from: None, ..fine.clone() }, "order again"),
        (Order { contract: 2, ..fine.clone() }, "contract"),
    ] {
        let answer = root.run(&bad);
        assert_eq!(answer.code, Some(3), "{why}: {}", answer.errors);
        assert!(answer.errors.contains(why), "{why}: {}", answer.errors);
        assert!(answer.lines.iter().any(|line| line.detail.contains(why)));
        assert_eq!(root.slots().generation, generation);
    }
    let busy = Lock::try_take(&root.layout.upgrade_lock()).unwrap().unwrap();
    assert_eq!(root.run(&fine).code, Some(3));
    drop(busy);
    assert_eq!(root.run(&fine).code, Some(0));
    let twice = root.run_installed(&fine);
    assert_eq!(twice.code, Some(3), "{}", twice.errors);
    root.expect(fine.run, RunResult::Done, "1.1.0");
}

impl Root {
    fn run_installed(&self, order: &Order) -> Answer {
        let path = self.layout.root().join("order.json");
        let program = self.layout.release(&order.to).join("handover/upgrade");
        Self::call(&program, order.run, &["run", "--contract", "1", "--order", path.as_str()])
    }
}

#[test]
fn a_watcher_that_is_killed_is_replaced_by_resume() {
    let mut root = installed(9, json!({}));
    let slow = json!({"health": {"stable_for": "400ms", "every": "20ms", "successes": 2}});
    let (order, answer) = root.upgrade("1.1.0", 2, slow);
    assert_eq!(answer.code, Some(0), "{}", answer.errors);
    let lock = root.layout.run(order.run).join("lock");
    if let Some(pid) = Lock::holder(&lock).unwrap() {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    wait_until("the watcher is gone", || Lock::holder(&lock).unwrap().is_none());
    assert_eq!(root.verb("resume", &order).code, Some(0));
    root.expect(order.run, RunResult::Done, "1.1.0");
    assert_eq!(root.verb("resume", &order).code, Some(0));
}

#[test]
fn a_run_that_was_cut_before_its_journal_began_ends_as_refused_and_blocks_nobody() {
    let mut root = installed(11, json!({}));
    let to = root.package("1.1.0", 2, json!({}));
    // What a kill leaves between the making of the journal's file and its first line, and before.
    for journal in [Some(b"".as_slice()), Some(b"{\"rec\":{\"at\"".as_slice()), None] {
        let order = root.order(&to, 2);
        let dir = root.layout.run(order.run);
        disk::make_dir(&dir).unwrap();
        disk::write(&dir.join("order.json"), &serde_json::to_vec(&order).unwrap(), 0o600).unwrap();
        if let Some(bytes) = journal {
            disk::write(&dir.join("journal.jsonl"), bytes, 0o600).unwrap();
        }
        let answer = root.verb("resume", &order);
        assert_eq!(answer.code, Some(3), "{journal:?}: {}", answer.errors);
        root.expect(order.run, RunResult::Refused, "1.0.0");
        assert_eq!(root.verb("resume", &order).code, Some(3));
    }
    root.install(&to, 2);
}

/// The frozen driver and the frozen order of contract 1, against the entrypoint as it is today.
#[test]
fn the_oldest_agents_driver_hands_over_to_todays_entrypoint() {
    #[derive(serde::Deserialize)]
    struct Vector {
        name: String,
        change: serde_json::Map<String, Value>,
        answer: String,
    }
    let contract = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/v1");
    let read = |name: &str| std::fs::read_to_string(contract.join(name)).unwrap();
    let vectors: Vec<Vector> = serde_json::from_str(&read("vectors.json")).unwrap();
    let mut root = Root::new(10);
    let old = root.package_as("1.0.0", "1".repeat(64).parse().unwrap(), 1, json!({}));
    root.install(&old, 1);
    let digest: Digest = "2".repeat(64).parse().unwrap();
    let wants = json!({"parameters": {"greeting": {}}});
    root.package_as("1.1.0", digest, 2, wants);
    let recorded = read("order.json").replace("@ROOT@", root.layout.root().as_str());
    let package = root.layout.incoming(&digest);
    // The one that is carried out comes last: after it there is nothing to refuse from.
    let (refusals, carried): (Vec<_>, Vec<_>) =
        vectors.into_iter().partition(|vector| vector.answer == "refused");
    assert!(refusals.len() > 8 && carried.len() == 1);
    for vector in refusals.into_iter().chain(carried) {
        let generation = root.slots().generation;
        let mut order: Value = serde_json::from_str(&recorded).unwrap();
        let fields = order.as_object_mut().unwrap();
        for (field, value) in vector.change {
            if value.is_null() {
                fields.remove(&field);
            } else {
                fields.insert(field, value);
            }
        }
        let path = root.layout.root().join("recorded.json");
        disk::write(&path, order.to_string().as_bytes(), 0o644).unwrap();
        let driver = Command::new("/bin/sh")
            .args([contract.join("driver.sh").as_str(), package.as_str(), path.as_str()])
            .output()
            .unwrap();
        let answer = String::from_utf8(driver.stdout).unwrap();
        assert_eq!(answer.trim(), vector.answer, "{}", vector.name);
        if vector.answer == "refused" {
            assert_eq!(root.slots().generation, generation, "{}", vector.name);
            assert_eq!(root.running().as_deref(), Some("1.0.0"), "{}", vector.name);
        }
    }
    root.expect("run_019a0000000070008000000000000002".parse().unwrap(), RunResult::Done, "1.1.0");
}
