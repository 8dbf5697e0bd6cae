//! A host's root with one component, `web`, and its real launcher.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use handover_agent::real_world::{Clock as _, RealClock};
use handover_engine::slots;
use handover_hoststeps::Published;
use handover_hoststeps::disk::{SlotsStore, read_lines};
use handover_model::{
    Digest, Guard, IdGen, LAUNCHER_PROTOCOL, LaunchEvent, LaunchRecord, Millis, Readiness, Recipe,
    ReleaseId, RunId, Slot, Slots, SocketSpec, StopSpec, Timestamp, Version,
};
use rustix::event::{Timespec, poll};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Everything here happens within this, or never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The root, and the launcher while it runs. Dropping it ends both.
pub(crate) struct Host {
    dir: tempfile::TempDir,
    clock: RealClock,
    ids: IdGen,
    launcher: Option<Child>,
}

impl Host {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, clock: RealClock::start(), ids: IdGen::new([1; 32]), launcher: None }
    }

    pub(crate) fn root(&self) -> &Utf8Path {
        Utf8Path::from_path(self.dir.path()).unwrap()
    }

    pub(crate) fn home(&self) -> Utf8PathBuf {
        self.root().join("components/web")
    }

    pub(crate) fn store(&self) -> SlotsStore {
        SlotsStore::new(self.home().join("slots"))
    }

    pub(crate) fn slots(&self) -> Slots {
        self.store().load().unwrap()
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.now().mono
    }

    pub(crate) fn since(&self, earlier: Duration) -> Duration {
        self.now().saturating_sub(earlier)
    }

    /// A slot of `version` that runs `script` with `/bin/sh`.
    pub(crate) fn script(&mut self, version: &str, script: &str) -> Slot {
        let script = script.replace("$HERE", self.root().as_str());
        self.program(version, "/bin/sh", &["-c", &script])
    }

    /// A slot of `version` that runs `program`.
    pub(crate) fn program(&mut self, version: &str, program: &str, arguments: &[&str]) -> Slot {
        let version: Version = version.parse().unwrap();
        let recipe = Recipe {
            launcher: LAUNCHER_PROTOCOL,
            executable: program.into(),
            executable_digest: Digest::of(b"not looked at here"),
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            environment: BTreeMap::from([("COLOUR".to_owned(), "green".to_owned())]),
            directory: self.root().to_owned(),
            user: None,
            stop: StopSpec::default(),
            readiness: Readiness::None,
            sockets: Vec::new(),
        };
        Slot {
            release: ReleaseId { digest: Digest::of(version.to_string().as_bytes()), version },
            sequence: 1,
            recipe,
            state: None,
            config: self.root().join("config"),
            run: RunId::mint(&mut self.ids, Timestamp::from_micros(0)),
            committed_at: None,
            guard: None,
        }
    }

    /// A slot of `version` that serves its version on `address`.
    pub(crate) fn service(&mut self, version: &str, address: &str) -> Slot {
        let mut path = Utf8PathBuf::from(env!("CARGO_BIN_EXE_handover-launch"));
        path.set_file_name("examples/launcher_child");
        assert!(path.exists(), "{path} is missing: cargo build -p handover-agent --examples");
        let mut slot = self.program(version, path.as_str(), &[version]);
        slot.recipe.readiness = Readiness::Notify;
        slot.recipe.sockets = vec![socket("web", address)];
        slot
    }

    /// Publishes what `change` makes of the newest slots, as often as somebody else is quicker.
    pub(crate) fn change(
        &self,
        change: impl Fn(&Slots, Timestamp) -> Result<Slots, slots::Refused>,
    ) -> Slots {
        loop {
            let next = change(&self.slots(), self.clock.now().wall).unwrap();
            if self.store().publish(&next).unwrap() == Published::Ours {
                return next;
            }
        }
    }

    /// Puts `slot` on trial.
    pub(crate) fn try_out(&self, slot: &Slot, window: Duration, boots: u32) {
        let window = Millis::of(window);
        self.change(|slots, _| slots::begin_trial(slots, slot.clone(), window, boots, None));
    }

    /// Puts `slot` on trial with a guard for afterwards.
    pub(crate) fn try_guarded(&self, slot: &Slot, guard: &Guard) {
        let guard = || Some(guard.clone());
        self.change(|slots, _| {
            slots::begin_trial(slots, slot.clone(), Millis::of(PATIENCE), 3, guard())
        });
    }

    pub(crate) fn commit(&self, slot: &Slot) {
        self.change(|slots, now| slots::commit(slots, slot.run, now));
    }

    /// Makes `slot` current without anybody running it.
    pub(crate) fn install(&self, slot: &Slot) {
        self.try_out(slot, PATIENCE, 1);
        self.commit(slot);
    }

    /// Starts the launcher.
    pub(crate) fn launch(&mut self) {
        self.launch_with(&[]);
    }

    /// Starts the launcher with more in its environment.
    pub(crate) fn launch_with(&mut self, environment: &[(&str, &str)]) {
        assert!(self.launcher.is_none());
        let launcher = Command::new(env!("CARGO_BIN_EXE_handover-launch"))
            .args(["--root", self.root().as_str(), "web"])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(if std::env::var_os("SHOW").is_some() {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .spawn()
            .unwrap();
        self.launcher = Some(launcher);
    }

    /// The launcher's process id.
    pub(crate) fn launcher(&self) -> Pid {
        Pid::from_child(self.launcher.as_ref().unwrap())
    }

    /// Sends the launcher a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.launcher(), signal).unwrap();
    }

    /// Waits until the launcher has ended; its exit code.
    pub(crate) fn launcher_ends(&mut self) -> Option<i32> {
        let mut launcher = self.launcher.take().unwrap();
        let mut ended = None;
        self.until("the launcher ends", || {
            ended = launcher.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap().code()
    }

    /// Kills the launcher as the kernel would, and waits until it is gone.
    pub(crate) fn kill_launcher(&mut self) {
        self.signal(Signal::KILL);
        self.launcher_ends();
    }

    /// Asks the launcher to end, and waits for it.
    pub(crate) fn stop_launcher(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.launcher_ends()
    }

    /// Waits until `holds`.
    pub(crate) fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = self.now() + PATIENCE;
        while !holds() {
            assert!(self.now() < deadline, "never: {what}\n{:#?}", self.events());
            let _ = poll(&mut [], Timespec::try_from(Duration::from_millis(2)).ok().as_ref());
        }
    }

    /// The launcher's record so far.
    pub(crate) fn events(&self) -> Vec<LaunchEvent> {
        let lines = read_lines(&self.home().join("launches.jsonl")).unwrap();
        let parse = |line: &String| serde_json::from_str::<LaunchRecord>(line).unwrap().event;
        lines.iter().map(parse).collect()
    }

    /// The processes that were started for `version`.
    pub(crate) fn started(&self, version: &str) -> Vec<u32> {
        let version: Version = version.parse().unwrap();
        let pid_of = |event: LaunchEvent| {
            let LaunchEvent::Started { pid, release, generation: _ } = event else { return None };
            (release.version == version).then_some(pid)
        };
        self.events().into_iter().filter_map(pid_of).collect()
    }

    /// Waits until `version` was started `times` times; the newest process.
    pub(crate) fn starts(&self, version: &str, times: usize) -> u32 {
        self.until(&format!("{version} is started {times} times"), || {
            self.started(version).len() >= times
        });
        *self.started(version).last().unwrap()
    }

    /// Waits until the newest process of `version` is ready; its id.
    pub(crate) fn is_ready(&self, version: &str) -> u32 {
        let mut ready = None;
        self.until(&format!("{version} is ready"), || {
            ready = self.started(version).last().copied().filter(|started| {
                self.events()
                    .iter()
                    .any(|event| matches!(event, LaunchEvent::Ready { pid } if pid == started))
            });
            ready.is_some()
        });
        ready.unwrap()
    }

    /// Why `version` is in quarantine, if it is.
    pub(crate) fn quarantined(&self, version: &str) -> Option<String> {
        let version: Version = version.parse().unwrap();
        let quarantine = self.slots().quarantine;
        quarantine.into_iter().find(|q| q.release.version == version).map(|q| q.reason)
    }

    /// Waits until `version` is in quarantine; why it is.
    pub(crate) fn goes_to_quarantine(&self, version: &str) -> String {
        self.until(&format!("{version} goes to quarantine"), || {
            self.quarantined(version).is_some()
        });
        self.quarantined(version).unwrap()
    }

    /// What a child wrote to `name`, once it ends with a newline.
    pub(crate) fn written(&self, name: &str) -> String {
        let mut text = String::new();
        self.until(&format!("{name} is written"), || {
            text = std::fs::read_to_string(self.root().join(name)).unwrap_or_default();
            text.ends_with('\n')
        });
        text
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut launcher) = self.launcher.take() {
            let _ = kill_process(Pid::from_child(&launcher), Signal::TERM);
            let deadline = self.now() + PATIENCE;
            while matches!(launcher.try_wait(), Ok(None)) && self.now() < deadline {
                let _ = poll(&mut [], Timespec::try_from(Duration::from_millis(2)).ok().as_ref());
            }
            let _ = launcher.kill();
            let _ = launcher.wait();
        }
    }
}

pub(crate) fn socket(name: &str, address: &str) -> SocketSpec {
    SocketSpec { name: name.to_owned(), listen: address.to_owned() }
}

/// An address on loopback that is free now.
pub(crate) fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Whether a process exists, as more than a zombie.
pub(crate) fn lives(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    test_kill_process(pid).is_ok() && !stat.contains(") Z ")
}
