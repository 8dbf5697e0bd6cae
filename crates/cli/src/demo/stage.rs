//! The stage: everything that the chapters act on, how they wait for what they expect, and how it
//! is all cleared away.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::catalogue::Programs;
use super::clients::{Clients, Tally};
use super::control::Control;
use super::file_server::FileServer;
use super::host::{Host, processes_under};
use super::publisher::Publisher;
use super::story::Story;
use crate::real_world::{Clock, Stop};

/// How often a condition is looked at while it is waited for.
const GLANCE: Duration = Duration::from_millis(40);
/// How long the demo's processes may take to end.
const ENDING: Duration = Duration::from_secs(15);

/// Everything that the demo acts on.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) story: Story,
    pub(super) stop: Stop,
    pub(super) programs: Programs,
    pub(super) publisher: Publisher,
    pub(super) server: FileServer,
    pub(super) control: Option<Control>,
    pub(super) hosts: Vec<Host>,
    pub(super) clients: Option<Clients>,
    directory: PathBuf,
    clock: Clock,
}

/// The demo was asked to stop.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
pub(super) struct Stopped;

impl Stage {
    /// Sets the stage under `directory`.
    pub(super) fn set(directory: &Path, stop: Stop) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let programs = Programs::find()?;
        for part in ["hosts", "logs", "attacks"] {
            let part = directory.join(part);
            fs::create_dir_all(&part)
                .with_context(|| format!("could not make {}", part.display()))?;
        }
        let publisher = Publisher::new(&programs.path("handover"), directory);
        let server = FileServer::start(&publisher.public()).context("could not serve files")?;
        Ok(Self {
            story: Story::begin(clock),
            stop,
            programs,
            publisher,
            server,
            control: None,
            hosts: Vec::new(),
            clients: None,
            directory: directory.to_owned(),
            clock,
        })
    }

    /// The demo's directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where programs that go on running write what they say.
    pub(super) fn logs(&self) -> PathBuf {
        self.directory.join("logs")
    }

    /// The control plane.
    pub(super) fn control(&self) -> anyhow::Result<&Control> {
        self.control.as_ref().context("there is no control plane yet")
    }

    /// The control plane, to be killed or started.
    pub(super) fn control_mut(&mut self) -> anyhow::Result<&mut Control> {
        self.control.as_mut().context("there is no control plane yet")
    }

    /// Starts the clients.
    pub(super) fn start_clients(&mut self) {
        let ports: Vec<u16> = self.hosts.iter().map(|host| host.port).collect();
        self.clients = Some(Clients::start(&ports, self.clock));
    }

    /// What the clients saw since the last call.
    pub(super) fn tally(&self) -> Tally {
        self.clients.as_ref().map(Clients::take).unwrap_or_default()
    }

    /// Waits until `look` is content with every host, at most `deadline`, and puts the outcome
    /// into the story. `look` answers with what it saw, or with what it misses.
    pub(super) fn expect_everywhere(
        &mut self,
        what: &str,
        deadline: Duration,
        look: impl Fn(&Host) -> anyhow::Result<String>,
    ) -> anyhow::Result<()> {
        let until = self.clock.now().mono + deadline;
        loop {
            let seen: Vec<_> = self.hosts.iter().map(&look).collect();
            let missing = seen.iter().filter_map(|seen| seen.as_ref().err()).next_back();
            let Some(missing) = missing else {
                let mut all: Vec<String> = seen.into_iter().flatten().collect();
                all.dedup();
                self.story.check(what, Ok(all.join(", ")));
                return Ok(());
            };
            if self.clock.now().mono >= until {
                let missing = format!("not within {deadline:?}: {missing:#}");
                self.story.check(what, Err(missing));
                return Ok(());
            }
            if self.stop.wait(GLANCE) {
                bail!(Stopped);
            }
        }
    }

    /// Waits until `look` is content, at most `deadline`: with what it saw, or what it misses.
    pub(super) fn expect(
        &self,
        deadline: Duration,
        look: impl Fn(&Self) -> anyhow::Result<String>,
    ) -> anyhow::Result<Result<String, String>> {
        let until = self.clock.now().mono + deadline;
        loop {
            match look(self) {
                Ok(seen) => return Ok(Ok(seen)),
                Err(missing) if self.clock.now().mono >= until => {
                    return Ok(Err(format!("not within {deadline:?}: {missing:#}")));
                }
                Err(_not_yet) => self.rest(GLANCE)?,
            }
        }
    }

    /// Waits for a length of time, unless the demo is asked to stop.
    pub(super) fn rest(&self, length: Duration) -> anyhow::Result<()> {
        anyhow::ensure!(!self.stop.wait(length), Stopped);
        Ok(())
    }

    /// Ends everything that was started, and reports what would not go.
    pub(super) fn clear(&mut self) -> Result<String, String> {
        self.clients = None;
        for host in &self.hosts {
            host.ask_to_end();
        }
        let started: usize = 2 * self.hosts.len();
        self.hosts.clear();
        // Last: agents that still have something to say can say it.
        self.control = None;
        let until = self.clock.now().mono + ENDING;
        loop {
            let left = processes_under(&self.directory);
            if left.is_empty() {
                return Ok(format!(
                    "{started} launchers, all that they started, and the server have ended"
                ));
            }
            if self.clock.now().mono >= until {
                signal(left.iter(), Signal::KILL);
                let names: Vec<_> =
                    left.iter().map(|(pid, name)| format!("{pid} ({name})")).collect();
                return Err(format!("had to be killed: {}", names.join(", ")));
            }
            // Whoever watches a release after its commit goes on for as long as that was declared.
            let watchers = left.iter().filter(|(_, name)| name.contains("handover/upgrade watch"));
            signal(watchers, Signal::TERM);
            std::thread::park_timeout(GLANCE);
        }
    }
}

/// Signals what runs under the demo's own directory, by process id.
fn signal<'p>(processes: impl Iterator<Item = &'p (u32, String)>, signal: Signal) {
    for (pid, _) in processes {
        if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
            // It may just have ended by itself.
            let _gone = kill_process(pid, signal);
        }
    }
}
