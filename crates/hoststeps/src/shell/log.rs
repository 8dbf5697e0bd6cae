//! A run's directory on disk: its lock and its journal.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use handover_engine::journal::{JournalError, Replay};
use handover_model::ErrorClass;

use super::Log;
use crate::HostError;
use crate::disk::{self, Lock};

/// A run that is open: nobody else can open it until this is dropped, or its process dies.
#[derive(Debug)]
pub struct OpenRun {
    /// The journal, open at its end.
    pub log: FileLog,
    /// What it holds.
    pub replay: Replay,
    _lock: Lock,
}

/// A journal file.
#[derive(Debug)]
pub struct FileLog {
    file: File,
}

/// Why a run can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process has it open.
    #[error("the run in {dir} is being worked on by {}", holder(*.pid))]
    Busy {
        /// The run's directory.
        dir: Utf8PathBuf,
        /// The process, where that is known.
        pid: Option<u32>,
    },
    /// The directory or the lock can't be used.
    #[error("the run in {dir} can't be opened")]
    Open {
        /// The run's directory.
        dir: Utf8PathBuf,
        /// What was wrong.
        source: HostError,
    },
    /// The journal file can't be read, cut or made durable.
    #[error("could not {act} {path}")]
    File {
        /// What was tried.
        act: &'static str,
        /// The journal.
        path: Utf8PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The journal is damaged.
    #[error("{path} can't be used: {source}; `handover-agent doctor` says how to mend it")]
    Damaged {
        /// The journal.
        path: Utf8PathBuf,
        /// What is wrong with it.
        source: JournalError,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl LogError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Busy { .. } | Self::File { .. } => ErrorClass::Retry,
            Self::Open { source, .. } => source.class(),
            Self::Damaged { .. } => ErrorClass::Permanent,
        }
    }
}

/// Opens the run in `dir`, made if need be: takes its lock, reads and checks its journal, cuts a
/// torn tail.
///
/// # Errors
/// [`LogError::Busy`] when somebody else has it open, [`LogError::Damaged`] when the journal can't
/// be trusted, and what the file system says.
pub fn open_run(dir: &Utf8Path) -> Result<OpenRun, LogError> {
    let opening = |source| LogError::Open { dir: dir.to_owned(), source };
    disk::make_dir(dir).map_err(opening)?;
    let lock_path = dir.join("lock");
    let Some(lock) = Lock::try_take(&lock_path).map_err(opening)? else {
        let pid = Lock::holder(&lock_path).map_err(opening)?;
        return Err(LogError::Busy { dir: dir.to_owned(), pid });
    };
    let path = dir.join("journal.jsonl");
    let failed = |act| {
        let path = path.clone();
        move |source| LogError::File { act, path, source }
    };
    let existed = path.exists();
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed("open"))?;
    if !existed {
        disk::sync_dir(dir).map_err(opening)?;
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed("read"))?;
    let replay =
        Replay::of(&bytes).map_err(|source| LogError::Damaged { path: path.clone(), source })?;
    if replay.was_torn() {
        let good = u64::try_from(replay.good_len()).unwrap_or(u64::MAX);
        file.set_len(good).map_err(failed("cut"))?;
        file.sync_all().map_err(failed("sync"))?;
    }
    Ok(OpenRun { log: FileLog { file }, replay, _lock: lock })
}

impl Log for FileLog {
    fn append(&mut self, line: &str) -> std::io::Result<()> {
        self.file.write_all(line.as_bytes())
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.file.sync_data()
    }
}
