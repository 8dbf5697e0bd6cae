//! The component's process: started through the exec stage, signalled, and how its start went.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use handover_model::Recipe;
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, kill_process};

use super::exec_stage::{self, Orders};

/// What a component inherits of the launcher's environment, where it is set.
const INHERITED: [&str; 3] = ["PATH", "TZ", "LANG"];

/// A started slot.
#[derive(Debug)]
pub(super) struct Child {
    /// Its main process.
    pub(super) pid: Pid,
    /// How it was launched.
    pub(super) recipe: Recipe,
    /// When, on the monotonic clock.
    pub(super) since: Duration,
    /// Whether it was asked to stop.
    pub(super) stopping: bool,
    /// What the exec stage complains of; gone once that is known.
    complaints: Option<OwnedFd>,
}

/// How far a start has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// The exec stage is at work, or its end is known already.
    Unchanged,
    /// The process is the component now.
    Running,
    /// The exec stage gave up, for this reason.
    Failed(String),
}

impl Child {
    /// Starts `recipe` with its held `sockets`.
    ///
    /// # Errors
    /// When the system refuses a pipe, memory or a process.
    pub(super) fn start(
        recipe: &Recipe,
        sockets: &[(&str, BorrowedFd<'_>)],
        notify: &str,
        since: Duration,
    ) -> io::Result<Self> {
        let (complaints, writer) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Copies without CLOEXEC live only until the process is made; there is one thread.
        let writer = rustix::io::dup(&writer)?;
        let handed: Vec<OwnedFd> = sockets
            .iter()
            .map(|(_name, socket)| rustix::io::dup(socket))
            .collect::<Result<_, _>>()?;
        let names = sockets.iter().map(|(name, _socket)| (*name).to_owned());
        let orders = Orders {
            launcher: rustix::process::getpid().as_raw_pid(),
            executable: recipe.executable.clone(),
            arguments: recipe.arguments.clone(),
            environment: environment(recipe, notify),
            directory: recipe.directory.clone(),
            user: recipe.user.clone(),
            sockets: handed.iter().map(AsRawFd::as_raw_fd).zip(names).collect(),
            complaints: writer.as_raw_fd(),
        };
        let child = Command::new("/proc/self/exe")
            .arg0("handover-launch")
            .arg(exec_stage::ARGUMENT)
            .env_clear()
            .stdin(Stdio::from(in_memory(&orders)?))
            .spawn()?;
        Ok(Self {
            pid: Pid::from_child(&child),
            recipe: recipe.clone(),
            since,
            stopping: false,
            complaints: Some(complaints),
        })
    }

    /// Sends it a signal. One that is gone is found by reaping.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid, signal);
    }

    /// Asks it to stop; a stopped process is woken, so that it can hear.
    pub(super) fn ask_to_stop(&mut self, signal: &str) {
        self.stopping = true;
        self.signal(named(signal));
        self.signal(Signal::CONT);
    }

    /// What is to be polled while the start is not settled.
    pub(super) fn complaints(&self) -> Option<BorrowedFd<'_>> {
        self.complaints.as_ref().map(AsFd::as_fd)
    }

    /// Looks how far the start has come; each outcome is told once.
    pub(super) fn stage(&mut self) -> Stage {
        let Some(complaints) = self.complaints.take() else { return Stage::Unchanged };
        let mut text = [0; 4096];
        match rustix::io::read(&complaints, &mut text) {
            Ok(0) => Stage::Running,
            Ok(len) => Stage::Failed(String::from_utf8_lossy(&text[..len]).into_owned()),
            Err(Errno::AGAIN | Errno::INTR) => {
                self.complaints = Some(complaints);
                Stage::Unchanged
            }
            Err(errno) => Stage::Failed(format!("could not hear from the exec stage: {errno}")),
        }
    }
}

fn environment(recipe: &Recipe, notify: &str) -> BTreeMap<String, String> {
    let inherited =
        INHERITED.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    let mut all: BTreeMap<_, _> = inherited.collect();
    all.extend(recipe.environment.clone());
    all.insert("NOTIFY_SOCKET".to_owned(), notify.to_owned());
    all
}

/// The orders as a file without a name.
fn in_memory(orders: &Orders) -> io::Result<OwnedFd> {
    let mut file = File::from(rustix::fs::memfd_create("orders", MemfdFlags::CLOEXEC)?);
    file.write_all(&serde_json::to_vec(orders)?)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file.into())
}

/// Signals that a recipe may name; `engine` has checked the manifest, so any other is asked for by
/// the usual one.
fn named(signal: &str) -> Signal {
    match signal {
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "HUP" => Signal::HUP,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        _ => Signal::TERM,
    }
}
