//! What a service manager does, in a few lines: starts a program again whenever it ends.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use camino::Utf8Path;

use super::points::Role;
use crate::real_world::pause;
use crate::wait;

/// A program that is kept running until the keeper is told to end.
pub(super) struct Kept {
    starts: Arc<AtomicU32>,
    ending: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    process: Arc<AtomicU32>,
}

/// Between an end and the next start, as `RestartSec=` says in our units.
const REST: Duration = Duration::from_millis(200);

/// Keeps `command` running. `first` replaces it for the first start alone, so that a fault is
/// injected once and the world is sane afterwards.
///
/// # Errors
/// When the first start fails.
pub(super) fn keep(
    role: Role,
    first: Option<&[String]>,
    command: Vec<String>,
    log: &Utf8Path,
) -> anyhow::Result<Kept> {
    let kept = Kept {
        starts: Arc::default(),
        ending: Arc::default(),
        ended: Arc::default(),
        process: Arc::default(),
    };
    let (starts, process) = (Arc::clone(&kept.starts), Arc::clone(&kept.process));
    let (ending, ended) = (Arc::clone(&kept.ending), Arc::clone(&kept.ended));
    let log = log.to_owned();
    let mut next =
        start(first.unwrap_or(&command), &log).with_context(|| format!("start the {role}"))?;
    thread::spawn(move || {
        loop {
            starts.fetch_add(1, Ordering::SeqCst);
            process.store(next.id(), Ordering::SeqCst);
            drop(next.wait());
            pause(REST);
            if ending.load(Ordering::SeqCst) {
                ended.store(true, Ordering::SeqCst);
                return;
            }
            match start(&command, &log) {
                Ok(child) => next = child,
                // The same would happen to every further start.
                Err(_gone) => return,
            }
        }
    });
    Ok(kept)
}

impl Kept {
    /// How often it was started.
    pub(super) fn starts(&self) -> u32 {
        self.starts.load(Ordering::SeqCst)
    }

    /// Asks the program to end, does not start it again, and waits until it is gone.
    ///
    /// # Errors
    /// When it does not go.
    pub(super) fn end(&self) -> anyhow::Result<()> {
        self.ending.store(true, Ordering::SeqCst);
        let process = self.process.load(Ordering::SeqCst).to_string();
        // It may have ended by itself.
        drop(Command::new("kill").args(["-TERM", &process]).stderr(Stdio::null()).status());
        wait::until("a kept program to end", Duration::from_mins(1), || {
            if self.ended.load(Ordering::SeqCst) { Ok(()) } else { Err("it runs".to_owned()) }
        })
    }
}

fn start(words: &[String], log: &Utf8Path) -> anyhow::Result<std::process::Child> {
    let (program, arguments) = words.split_first().context("a command has a program")?;
    let out = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("open {log}"))?;
    let also = out.try_clone().context("duplicate the log")?;
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(also)
        .spawn()
        .with_context(|| format!("start {program}"))
}
