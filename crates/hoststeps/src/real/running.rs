//! What a component's launcher runs, proved by looking at the process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::{Digest, Hasher, LaunchEvent, LaunchRecord, Layout, ReleaseId};

use crate::disk::{self, Lock, SlotsStore};
use crate::{HostError, Launched, Running};

/// Clock ticks a second in `/proc` (`USER_HZ`): 100 on every platform that releases are built for.
const TICKS_PER_SECOND: u64 = 100;

/// How much of the record's end is enough, nearly always.
const RECENT_BYTES: u64 = 32 << 10;

/// Digests of executables by identity, so that a watch doesn't digest the same file every second.
#[derive(Debug, Default)]
pub(super) struct Executables(Mutex<BTreeMap<Identity, Digest>>);

/// A file that didn't change in between: device, inode, size, and when it was last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Identity(u64, u64, u64, i64, i64);

/// The child as the launcher's record tells of it.
struct Told {
    pid: u32,
    release: ReleaseId,
    ready: bool,
}

impl Executables {
    pub(super) fn running(&self, layout: &Layout) -> Result<Running, HostError> {
        let Some(launcher) = Lock::holder(&layout.launcher_lock())? else {
            return Ok(Running { launcher: None, child: None, paused: None });
        };
        let recent = disk::read_last_lines(&layout.launches(), RECENT_BYTES)?;
        let (mut told, mut paused, whole) = follow(&recent, launcher);
        if !whole {
            let all = disk::read_lines(&layout.launches())?;
            (told, paused, _) = follow(&all, launcher);
        }
        let child = match told {
            Some(told) => self.look(layout, told)?,
            None => None,
        };
        Ok(Running { launcher: Some(launcher), child, paused })
    }

    /// `None` when the process is gone, or is not the launcher's child any more.
    fn look(&self, layout: &Layout, told: Told) -> Result<Option<Launched>, HostError> {
        let proc = Utf8PathBuf::from(format!("/proc/{}", told.pid));
        let Some(started) = started(&proc) else { return Ok(None) };
        let Some(digest) = self.executable(layout, &proc, &told.release)? else {
            return Ok(None);
        };
        Ok(Some(Launched {
            pid: told.pid,
            started,
            release: told.release,
            executable_digest: digest,
            ready: told.ready,
            age: age(started),
        }))
    }

    fn executable(
        &self,
        layout: &Layout,
        proc: &Utf8Path,
        release: &ReleaseId,
    ) -> Result<Option<Digest>, HostError> {
        let path = match script(layout, proc, release)? {
            Some(script) => script,
            None => proc.join("exe"),
        };
        // A process that has just ended has no executable any more.
        let Ok(mut file) = File::open(&path) else { return Ok(None) };
        let failed = |source| HostError::Io { act: "digest", path: path.clone(), source };
        let meta = file.metadata().map_err(failed)?;
        let identity =
            Identity(meta.dev(), meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec());
        if let Some(known) = self.known().get(&identity) {
            return Ok(Some(*known));
        }
        let mut hasher = Hasher::default();
        let mut piece = vec![0; 64 << 10];
        loop {
            let count = file.read(&mut piece).map_err(failed)?;
            if count == 0 {
                break;
            }
            hasher.update(piece.get(..count).unwrap_or_default());
        }
        let digest = hasher.finish();
        let mut known = self.known();
        if known.len() > 64 {
            known.clear();
        }
        known.insert(identity, digest);
        Ok(Some(digest))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<Identity, Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slot's executable, if it is a script that the process interprets: the process's own
/// executable is the interpreter then.
fn script(
    layout: &Layout,
    proc: &Utf8Path,
    release: &ReleaseId,
) -> Result<Option<Utf8PathBuf>, HostError> {
    let slots = SlotsStore::new(layout.slots()).load()?;
    let trial = slots.trial.iter().map(|trial| &trial.slot);
    let slot = slots.current.iter().chain(trial).chain(&slots.previous);
    let Some(slot) = slot.into_iter().find(|slot| slot.release == *release) else {
        return Ok(None);
    };
    let executable = &slot.recipe.executable;
    let mut magic = [0; 2];
    let is_script = File::open(executable)
        .and_then(|mut file| file.read_exact(&mut magic))
        .is_ok_and(|()| magic == *b"#!");
    if !is_script {
        return Ok(None);
    }
    let line = std::fs::read(proc.join("cmdline")).unwrap_or_default();
    let named = line.split(|byte| *byte == 0).any(|word| word == executable.as_str().as_bytes());
    Ok(named.then(|| executable.clone()))
}

/// The child of `launcher` and the generation it pauses for, as of the record's end; and whether
/// the lines reach back far enough to be sure.
fn follow(lines: &[String], launcher: u32) -> (Option<Told>, Option<u64>, bool) {
    let (mut told, mut paused, mut whole) = (None::<Told>, None, false);
    for record in lines.iter().filter_map(|line| serde_json::from_str::<LaunchRecord>(line).ok()) {
        if record.launcher != launcher {
            continue;
        }
        match record.event {
            // A process id may have been another launcher's before.
            LaunchEvent::LauncherStarted => (told, paused, whole) = (None, None, true),
            LaunchEvent::Started { pid, release, .. } => {
                (told, paused, whole) = (Some(Told { pid, release, ready: false }), None, true);
            }
            LaunchEvent::Ready { pid } => {
                for told in told.iter_mut().filter(|told| told.pid == pid) {
                    told.ready = true;
                }
            }
            LaunchEvent::Exited { pid, .. } => {
                if told.as_ref().is_some_and(|told| told.pid == pid) {
                    told = None;
                }
            }
            LaunchEvent::Paused { generation } => paused = Some(generation),
            LaunchEvent::Swapped { .. }
            | LaunchEvent::Quarantined { .. }
            | LaunchEvent::Returned { .. }
            | LaunchEvent::Refused { .. } => {}
        }
    }
    (told, paused, whole)
}

/// Field 22 of `/proc/PID/stat`, see `proc_pid_stat(5)`; `None` when the process is gone or a zombie.
fn started(proc: &Utf8Path) -> Option<u64> {
    let text = std::fs::read_to_string(proc.join("stat")).ok()?;
    // The second field is a name in parentheses that may hold anything.
    let rest = text.get(text.rfind(')')? + 2..)?;
    let mut fields = rest.split(' ');
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn age(started: u64) -> Duration {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let millis = uptime.split(' ').next().and_then(|text| {
        let (whole, part) = text.split_once('.')?;
        Some(whole.parse::<u64>().ok()? * 1000 + part.parse::<u64>().ok()? * 10)
    });
    let began = started.saturating_mul(1000 / TICKS_PER_SECOND);
    Duration::from_millis(millis.unwrap_or(0).saturating_sub(began))
}
