//! Programs that the demo starts, and their end. Each is known by its process id; nothing is ever
//! killed by name.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::real_world::Clock;

/// How a command ended and what it said.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its exit status.
    pub(super) status: ExitStatus,
    /// Its standard output.
    pub(super) out: String,
    /// Its standard error.
    pub(super) err: String,
}

impl Ended {
    /// Standard output as JSON.
    pub(super) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("not JSON: {}", self.out))
    }
}

/// Runs a program to its end.
pub(super) fn run(
    program: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> anyhow::Result<Ended> {
    let output = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not run {}", program.display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ended { status: output.status, out: text(&output.stdout), err: text(&output.stderr) })
}

/// A program that goes on running, its output in a file. Dropped: asked to end, then killed.
#[derive(Debug)]
pub(super) struct Daemon {
    name: String,
    child: Child,
}

/// How long a program that was asked to end may take.
const GRACE: Duration = Duration::from_secs(12);

impl Daemon {
    /// Starts it. Its output is appended to `log`.
    pub(super) fn start(
        name: &str,
        program: &Path,
        arguments: &[&str],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("could not open {}", log.display()))?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("could not start {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its name, for people.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it still runs.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it, and waits for its end.
    pub(super) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().with_context(|| format!("could not kill {}", self.name))?;
        self.child.wait().with_context(|| format!("{} did not end", self.name))?;
        Ok(())
    }

    /// Asks it to end.
    pub(super) fn ask_to_end(&self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended already; its id is ours until it is waited for.
            let _gone = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !self.is_alive() {
            return;
        }
        self.ask_to_end();
        let clock = Clock::start();
        while self.is_alive() && clock.now().mono < GRACE {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        if self.is_alive() {
            super::story::say(&format!("{} did not end within {GRACE:?} and is killed", self.name));
            let _gone = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}
