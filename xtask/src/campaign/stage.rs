//! The world of one run: a host's root, a repository, a launcher, an agent, and looks at them.
//!
//! It lies at one path in every run, since roots hold absolute paths; each run has a mount, a
//! process and a network namespace of its own, so that runs don't meet.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::disk::SlotsStore;
use handover_model::{ComponentName, Layout, Slots};
use serde_json::Value;

use super::points::Role;
use crate::wait;

/// The address that hosts' policies name.
pub(super) const REPOSITORY: &str = "127.0.0.1:7280";
/// Where the sample service listens.
pub(super) const SERVICE: &str = "127.0.0.1:8080";
/// The component.
pub(super) const COMPONENT: &str = "web";
/// How long anything may take to settle after a fault.
pub(super) const SETTLE: Duration = Duration::from_secs(40);

/// One run's world.
pub(super) struct Stage {
    /// Everything of this run.
    pub(super) dir: Utf8PathBuf,
    /// The programs under test.
    pub(super) programs: Utf8PathBuf,
}

impl Stage {
    /// The host's root.
    pub(super) fn root(&self) -> Utf8PathBuf {
        self.dir.join("root")
    }

    /// Where calls are written down.
    pub(super) fn calls(&self) -> Utf8PathBuf {
        self.dir.join("calls.jsonl")
    }

    /// The file that says that the traced command has ended.
    pub(super) fn ended(&self) -> Utf8PathBuf {
        self.dir.join("ended")
    }

    /// Where a program's output goes.
    pub(super) fn log(&self, role: Role) -> Utf8PathBuf {
        self.dir.join(format!("{role}.log"))
    }

    /// The launcher's command line.
    pub(super) fn launcher(&self) -> Vec<String> {
        let program = self.root().join("bin/handover-launch");
        words(&[program.as_str(), "--root", self.root().as_str(), COMPONENT])
    }

    /// The agent's command line.
    pub(super) fn agent(&self, arguments: &[&str]) -> Vec<String> {
        let program = self.programs.join("handover-agent");
        let mut line = words(&[program.as_str(), "--root", self.root().as_str()]);
        line.extend(words(arguments));
        line
    }

    /// Runs the agent to its end.
    ///
    /// # Errors
    /// When it can't be started.
    pub(super) fn ask_agent(&self, arguments: &[&str]) -> anyhow::Result<Asked> {
        let line = self.agent(arguments);
        let (program, rest) = line.split_first().context("a command has a program")?;
        let done = Command::new(program).args(rest).output().context("start the agent")?;
        Ok(Asked {
            code: done.status.code(),
            out: String::from_utf8_lossy(&done.stdout).into_owned(),
            err: String::from_utf8_lossy(&done.stderr).into_owned(),
        })
    }

    /// The version that answers requests now.
    ///
    /// # Errors
    /// In words, for waiting.
    pub(super) fn served(&self) -> Result<String, String> {
        let _ = self;
        let body = get("/").map_err(|error| error.to_string())?;
        let value: Value = serde_json::from_str(&body).map_err(|e| format!("{e} in {body:?}"))?;
        value["version"].as_str().map(str::to_owned).ok_or(body)
    }

    /// The component's paths.
    pub(super) fn layout(&self) -> anyhow::Result<Layout> {
        Ok(Layout::new(self.root(), COMPONENT.parse::<ComponentName>()?))
    }

    /// The slots as they are now.
    ///
    /// # Errors
    /// When they are damaged.
    pub(super) fn slots(&self) -> anyhow::Result<Slots> {
        Ok(SlotsStore::new(self.layout()?.slots()).load()?)
    }

    /// Waits until no trial is pending, no run is unfinished, and what is current also answers.
    ///
    /// # Errors
    /// When that does not come about.
    pub(super) fn settle(&self) -> anyhow::Result<String> {
        wait::until("the host to settle", SETTLE, || {
            let slots = self.slots().map_err(|error| format!("{error:#}"))?;
            if let Some(trial) = slots.trial {
                return Err(format!("{} is on trial", trial.slot.release));
            }
            if slots.pause.is_some() {
                return Err("the component is paused".to_owned());
            }
            let current = slots.current.ok_or("nothing is current")?.release.version.to_string();
            let served = self.served()?;
            if served == current {
                Ok(served)
            } else {
                Err(format!("{served} runs, not {current}"))
            }
        })
    }

    /// Looks for what an update may leave behind and must not: directories that no slot names,
    /// and files that were being written.
    ///
    /// # Errors
    /// Naming the first such thing.
    pub(super) fn nothing_is_half_there(&self) -> anyhow::Result<()> {
        let (slots, layout) = (self.slots()?, self.layout()?);
        let kept: Vec<_> = slots.current.iter().chain(&slots.previous).collect();
        let quarantined =
            |name: &str| slots.quarantine.iter().any(|entry| entry.release.directory() == name);
        for name in names(&layout.releases())? {
            let known = kept.iter().any(|slot| slot.release.directory() == name);
            ensure!(known || quarantined(&name), "releases/{name} belongs to no slot");
        }
        for slot in kept {
            let executable = &slot.recipe.executable;
            let bytes = fs::read(executable).with_context(|| format!("read {executable}"))?;
            let digest = handover_model::Digest::of(&bytes);
            ensure!(digest == slot.recipe.executable_digest, "{executable} is not what was signed");
            ensure!(slot.config.is_dir(), "{} is missing", slot.config);
            if let Some(state) = &slot.state {
                ensure!(state.is_dir(), "{state} is missing");
            }
        }
        Ok(())
    }
}

/// What a run of the agent said.
pub(super) struct Asked {
    /// Its exit code.
    pub(super) code: Option<i32>,
    /// Its standard output.
    pub(super) out: String,
    /// Its standard error.
    pub(super) err: String,
}

/// A command line of several words.
pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The names in a directory; none where it is missing.
fn names(directory: &Utf8Path) -> anyhow::Result<Vec<String>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let entries = directory.read_dir_utf8().with_context(|| format!("list {directory}"))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_owned());
    }
    names.sort();
    Ok(names)
}

/// The body of the sample service's answer to a GET.
fn get(path: &str) -> anyhow::Result<String> {
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect(SERVICE).context("connect")?;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("read the answer")?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => bail!("the service answered {answer:?}"),
    }
}
