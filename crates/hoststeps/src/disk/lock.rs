//! Locks that die with their holder.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use camino::Utf8Path;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::failed;
use crate::HostError;

/// An exclusive `flock(2)` on a file that holds its holder's process id. Dropping it, or dying,
/// frees it; the file stays.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or returns `None` at once when another process has it.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn try_take(path: &Utf8Path) -> Result<Option<Self>, HostError> {
        let mut file = open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(failed("lock", path, errno.into())),
        }
        file.set_len(0)
            .and_then(|()| file.write_all(std::process::id().to_string().as_bytes()))
            .map_err(|source| failed("write", path, source))?;
        Ok(Some(Self { _file: file }))
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

fn open(path: &Utf8Path) -> Result<File, HostError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path)
        .map_err(|source| failed("open", path, source))
}
