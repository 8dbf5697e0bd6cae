//! Locks that die with their holder.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use camino::Utf8Path;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::failed;
use crate::HostError;

/// How often a lock that others share is asked for again. They only look, each for microseconds.
const LOOKERS_PATIENCE: u32 = 10_000;

/// An exclusive `flock(2)` on a file that holds its holder's process id. Dropping it, or dying,
/// frees it; the file stays.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // By word: a process that another thread is just starting has a copy of every open file
        // until it becomes its program, and closing ours would not free the lock before that.
        // If it fails, closing frees it then.
        let _closing_frees_it = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

impl Lock {
    /// Takes the lock, or returns `None` at once when another process has it.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn try_take(path: &Utf8Path) -> Result<Option<Self>, HostError> {
        let file = open(path)?;
        // Whoever looks for a holder shares the lock for that moment, which must not look like one.
        for _ in 0..LOOKERS_PATIENCE {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return sign(&file, path).map(|()| Some(Self { file })),
                Err(Errno::WOULDBLOCK) => {}
                Err(errno) => return Err(failed("lock", path, errno.into())),
            }
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
                // Exclusively held: no looker's.
                return Ok(None);
            }
            std::thread::yield_now();
        }
        Ok(None)
    }

    /// The process that holds the lock now, if one does. Takes nothing.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn holder(path: &Utf8Path) -> Result<Option<u32>, HostError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("open", path, source)),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            // Nobody holds it; closing the file gives our share back.
            Ok(()) => return Ok(None),
            Err(Errno::WOULDBLOCK) => {}
            Err(errno) => return Err(failed("lock", path, errno.into())),
        }
        let mut text = String::new();
        file.take(32).read_to_string(&mut text).map_err(|source| failed("read", path, source))?;
        Ok(text.trim().parse().ok())
    }
}

/// In place and of one width, so that it needs no new block on a full disk and reads whole.
fn sign(file: &File, path: &Utf8Path) -> Result<(), HostError> {
    let pid = format!("{:<10}", std::process::id());
    file.write_all_at(pid.as_bytes(), 0).map_err(|source| failed("write", path, source))
}

fn open(path: &Utf8Path) -> Result<File, HostError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        // Whoever can open it can hold it: nobody but its owner.
        .mode(0o600)
        .open(path)
        .map_err(|source| failed("open", path, source))
}
