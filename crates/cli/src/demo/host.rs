//! A host: a root directory, two launchers, and what can be seen of it from outside.

use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use camino::Utf8PathBuf;
use handover_hoststeps::disk::SlotsStore;
use handover_model::{Hasher, Layout, Slot, Slots};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::catalogue::Programs;
use super::clients::{Answer, ask};
use super::processes::{Daemon, Ended, run};
use super::publisher::{put, text};

/// One host of the demo.
#[derive(Debug)]
pub(super) struct Host {
    /// Its name in permits and reports.
    pub(super) name: String,
    /// Where its service listens.
    pub(super) port: u16,
    root: PathBuf,
    agent: PathBuf,
    launchers: Vec<Daemon>,
}

/// What the agent is told once, at its enrolment.
#[derive(Debug)]
pub(super) struct Joining<'a> {
    /// The token, which works once.
    pub(super) token: &'a str,
    /// The repository's base address, for what this host's own policy says.
    pub(super) repository: &'a str,
    /// The root that was brought by another way than the control plane.
    pub(super) trusted_root: &'a Path,
    /// How often it asks the repository for news.
    pub(super) poll: &'static str,
}

impl Host {
    /// Sets a host up and enrols it: what a person would do, once.
    pub(super) fn enrol(
        name: &str,
        directory: &Path,
        programs: &Programs,
        joining: &Joining<'_>,
    ) -> anyhow::Result<Self> {
        let root = directory.join(name);
        let agent = programs.path("handover-agent");
        let words = ["--root", text(&root)?, "enroll", "--name", name, "--trusted-root"];
        let words = [&words[..], &[text(joining.trusted_root)?]].concat();
        let ended = run(&agent, &words, &[("HANDOVER_TOKEN", joining.token)])?;
        ensure!(ended.status.success(), "{name} could not enrol: {}{}", ended.out, ended.err);
        let host =
            Self { name: name.to_owned(), port: free_port()?, root, agent, launchers: Vec::new() };
        let url = joining.repository;
        let policy = include_str!("policy.yaml")
            .replace("@NAME@", name)
            .replace("@URL@", url)
            .replace("@POLL@", joining.poll)
            .replace("@HOST@", url.trim_start_matches("http://"))
            .replace("@PORT@", &host.port.to_string())
            .replace("@ROOT@", text(&host.root)?);
        put(&host.root.join("policy.yaml"), policy.as_bytes(), 0o644)?;
        Ok(host)
    }

    /// Starts what a service manager would: a launcher for each component.
    pub(super) fn switch_on(&mut self, logs: &Path) -> anyhow::Result<()> {
        let launcher = self.root.join("bin/handover-launch");
        for component in ["web", "handover-agent"] {
            let name = format!("{}'s launcher of {component}", self.name);
            let log = logs.join(format!("{}-{component}.log", self.name));
            let words = ["--root", text(&self.root)?, component];
            self.launchers.push(Daemon::start(&name, &launcher, &words, &log)?);
        }
        Ok(())
    }

    /// The launchers that are no longer there.
    pub(super) fn dead_launchers(&mut self) -> Vec<String> {
        let dead = self
            .launchers
            .iter_mut()
            .filter_map(|launcher| (!launcher.is_alive()).then(|| launcher.name().to_owned()));
        dead.collect()
    }

    /// Asks both launchers to end, without waiting.
    pub(super) fn ask_to_end(&self) {
        // One that was stopped could not end; one that was not is told nothing by this.
        let _gone = self.thaw();
        for launcher in &self.launchers {
            launcher.ask_to_end();
        }
    }

    /// Stops its agent where it is, without ending it: to others the host falls silent.
    pub(super) fn freeze(&self) -> anyhow::Result<()> {
        self.signal_agent(Signal::STOP)
    }

    /// Lets a stopped agent go on.
    pub(super) fn thaw(&self) -> anyhow::Result<()> {
        self.signal_agent(Signal::CONT)
    }

    fn signal_agent(&self, signal: Signal) -> anyhow::Result<()> {
        let launcher = self.launchers.get(1).context("it is switched off")?;
        // Beside the agent the launcher has whatever the agent left to it.
        let runs = |pid: &u32| {
            let exe = fs::read_link(format!("/proc/{pid}/exe"));
            exe.is_ok_and(|exe| exe.ends_with("bin/handover-agent"))
        };
        let agent = children_of(launcher.pid())?.into_iter().find(runs);
        let pid = agent.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{}: no agent runs", self.name))?;
        Ok(kill_process(pid, signal)?)
    }

    /// Its root directory.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Asks the service who it is.
    pub(super) fn ask(&self) -> anyhow::Result<Answer> {
        ask(self.port).with_context(|| self.name.clone())
    }

    /// The slots of a component, as the disk has them.
    pub(super) fn slots(&self, component: &str) -> anyhow::Result<Slots> {
        Ok(SlotsStore::new(self.layout(component)?.slots()).load()?)
    }

    /// How many runs on this host had a version as their goal.
    pub(super) fn runs_to(&self, component: &str, version: &str) -> anyhow::Result<usize> {
        let runs = self.layout(component)?.runs();
        let mut count = 0;
        for run in fs::read_dir(&runs).with_context(|| format!("could not list {runs}"))? {
            let order = fs::read(run?.path().join("order.json"));
            let order: Option<Value> =
                order.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            count += usize::from(order.is_some_and(|order| order["to"]["version"] == version));
        }
        Ok(count)
    }

    fn layout(&self, component: &str) -> anyhow::Result<Layout> {
        let root = Utf8PathBuf::from(text(&self.root)?);
        Ok(Layout::new(root, component.parse()?))
    }

    /// Runs the agent's command line against this host.
    pub(super) fn command(&self, words: &[&str]) -> anyhow::Result<Ended> {
        let mut all = vec!["--root", text(&self.root)?, "--output", "json"];
        all.extend(words);
        run(&self.agent, &all, &[("RUST_LOG", "off")])
    }

    /// What the agent's `status` says, as JSON.
    pub(super) fn status(&self) -> anyhow::Result<Value> {
        let ended = self.command(&["status"])?;
        ensure!(ended.status.success(), "{}: status failed: {}", self.name, ended.err);
        ended.json()
    }

    /// Proves that `component` is settled on `version`: committed, nothing on trial, and the
    /// process that the launcher keeps really runs that release's executable.
    pub(super) fn prove(&self, component: &str, version: &str) -> anyhow::Result<u32> {
        let slots = self.slots(component)?;
        ensure!(slots.trial.is_none(), "{}: {component} is on trial", self.name);
        let current = slots.current.with_context(|| format!("{}: nothing committed", self.name))?;
        let found = current.release.version.to_string();
        ensure!(found == version, "{}: {component} {found} is committed", self.name);
        self.process_of(component, &current)
    }

    /// The process of a component's launcher that runs the slot's executable, proved by its
    /// digest.
    fn process_of(&self, component: &str, slot: &Slot) -> anyhow::Result<u32> {
        let at = ["web", "handover-agent"].iter().position(|name| *name == component);
        let launcher = at.and_then(|at| self.launchers.get(at)).context("no such launcher")?;
        for pid in children_of(launcher.pid())? {
            if digest_of_process(pid).ok() == Some(slot.recipe.executable_digest.to_string()) {
                return Ok(pid);
            }
        }
        anyhow::bail!("{}: no process runs {component} {}", self.name, slot.release)
    }
}

/// A port that nobody listens on. Somebody may take it before the launcher does; the launcher
/// then says so.
pub(super) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?.port())
}

/// The children of a process, of all its threads.
fn children_of(pid: u32) -> anyhow::Result<Vec<u32>> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).context("the launcher is gone")?.flatten()
    {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(children)
}

/// SHA-256 of the executable that a process really runs.
fn digest_of_process(pid: u32) -> anyhow::Result<String> {
    let mut file = File::open(format!("/proc/{pid}/exe"))?;
    let mut hasher = Hasher::default();
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher.finish().to_string()),
            len => hasher.update(&chunk[..len]),
        }
    }
}

/// Every process whose executable, or a word of whose command line, lies under `directory`, with
/// its name.
pub(super) fn processes_under(directory: &Path) -> Vec<(u32, String)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid == std::process::id() {
            continue;
        }
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        let runs = fs::read_link(entry.path().join("exe"));
        let here = runs.is_ok_and(|exe| exe.starts_with(directory))
            || directory.to_str().is_some_and(|directory| words.contains(directory));
        if here {
            found.push((pid, words.trim().to_owned()));
        }
    }
    found
}
