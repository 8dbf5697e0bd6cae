//! The only code that changes files under a host's root: write aside, fsync, rename, fsync of the
//! directory (DESIGN 5.1).
//!
//! Invariant: whoever reads a path that was written here sees all of the old content or all of
//! the new, also after a power cut; and when a function returns, its effect survives one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU64, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{CWD, Mode, RenameFlags};

use crate::HostError;

mod lines;
mod lock;
mod store;
mod tree;

pub use lines::{MAX_LINES_BYTES, append_line, read_last_lines, read_lines};
pub use lock::Lock;
pub use store::{Generation, KEPT_GENERATIONS, SlotsStore};
pub(crate) use tree::metadata;
pub use tree::{chown_tree, copy_tree, digest_tree, remove_tree, sync_tree, tree_bytes};

/// The most bytes that [`read`] takes from one file.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// What names of files that are not finished begin with. They are named after the process that
/// writes them, so that whoever finds one can tell whether its writer still lives.
pub const ASIDE_PREFIX: &str = ".aside-";

/// The bytes of a file of at most [`MAX_FILE_BYTES`]; `None` when nothing is there.
///
/// # Errors
/// [`HostError::Io`]; [`HostError::Surprise`] when the file is larger.
pub fn read(path: &Utf8Path) -> Result<Option<Vec<u8>>, HostError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("open", path, source)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| failed("read", path, source))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        let what = format!("larger than {MAX_FILE_BYTES} bytes, which nothing here should be");
        return Err(HostError::Surprise { path: path.to_owned(), what });
    }
    Ok(Some(bytes))
}

/// Makes a directory and its parents, mode 0755 but for those that exist, durably.
///
/// # Errors
/// [`HostError::Io`].
pub fn make_dir(path: &Utf8Path) -> Result<(), HostError> {
    make_dir_mode(path, 0o755)
}

/// Makes a directory of `mode` with parents of mode 0755, durably. One that exists keeps its mode.
///
/// # Errors
/// [`HostError::Io`].
pub fn make_dir_mode(path: &Utf8Path, mode: u32) -> Result<(), HostError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent()
        && !parent.as_str().is_empty()
    {
        make_dir(parent)?;
    }
    match rustix::fs::mkdir(path.as_std_path(), Mode::from_raw_mode(mode)) {
        Ok(()) => {}
        // Somebody else was quicker: just as good, as long as it is a directory.
        Err(rustix::io::Errno::EXIST) if path.is_dir() => {}
        Err(errno) => return Err(failed("make directory", path, errno.into())),
    }
    sync_parent(path)
}

/// Replaces a file: write aside, fsync, rename, fsync of the directory.
///
/// # Errors
/// [`HostError::Io`]; the old content is untouched then, unless the last fsync failed.
pub fn write(path: &Utf8Path, bytes: &[u8], mode: u32) -> Result<(), HostError> {
    let aside = write_aside(path, bytes, mode)?;
    if let Err(source) = fs::rename(&aside, path) {
        discard(&aside);
        return Err(failed("replace", path, source));
    }
    sync_parent(path)
}

/// Creates a file if nothing is at `path` yet; says whether it did. Two writers never both win.
///
/// # Errors
/// [`HostError::Io`].
pub fn write_new(path: &Utf8Path, bytes: &[u8], mode: u32) -> Result<bool, HostError> {
    let aside = write_aside(path, bytes, mode)?;
    match rename_new(&aside, path) {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(rustix::io::Errno::EXIST) => {
            discard(&aside);
            Ok(false)
        }
        Err(errno) => {
            discard(&aside);
            Err(failed("create", path, errno.into()))
        }
    }
}

/// Renames within one file system; refuses to replace anything. Both directories are fsynced.
///
/// # Errors
/// [`HostError::Surprise`] when something is at `to`; [`HostError::Io`].
pub fn rename(from: &Utf8Path, to: &Utf8Path) -> Result<(), HostError> {
    match rename_new(from, to) {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => {
            let what = "something is there already, and nothing may be replaced".to_owned();
            return Err(HostError::Surprise { path: to.to_owned(), what });
        }
        Err(errno) => return Err(failed("rename", from, errno.into())),
    }
    sync_parent(to)?;
    if from.parent() == to.parent() { Ok(()) } else { sync_parent(from) }
}

/// Makes the names in the directory that holds `path` durable.
///
/// # Errors
/// [`HostError::Io`].
pub fn sync_parent(path: &Utf8Path) -> Result<(), HostError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_str().is_empty() => parent,
        Some(_) | None => Utf8Path::new("."),
    };
    sync_dir(parent)
}

/// Makes the names in a directory durable.
///
/// # Errors
/// [`HostError::Io`].
pub fn sync_dir(path: &Utf8Path) -> Result<(), HostError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| failed("fsync directory", path, source))
}

/// Removes unfinished files in `dir` whose writers no longer live. Files that are being written
/// now are left alone.
///
/// # Errors
/// [`HostError::Io`].
pub fn clean_asides(dir: &Utf8Path) -> Result<(), HostError> {
    let entries = match dir.read_dir_utf8() {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed("list", dir, source)),
    };
    for entry in entries {
        let entry = entry.map_err(|source| failed("list", dir, source))?;
        let Some(rest) = entry.file_name().strip_prefix(ASIDE_PREFIX) else { continue };
        let writer = rest.split('-').next().unwrap_or_default();
        if !writer.is_empty() && !Utf8Path::new("/proc").join(writer).exists() {
            tree::remove_now(entry.path())?;
        }
    }
    Ok(())
}

/// A name beside `path` that nobody else uses.
pub(crate) fn aside_name(path: &Utf8Path) -> Utf8PathBuf {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    let drawn = DRAWN.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or("unnamed");
    // 255 bytes is the longest name on the file systems that we know; ours is 40 at most.
    let kept: String = name.chars().take(48).collect();
    path.with_file_name(format!("{ASIDE_PREFIX}{}-{drawn}-{kept}", std::process::id()))
}

pub(crate) fn failed(act: &'static str, path: &Utf8Path, source: io::Error) -> HostError {
    HostError::Io { act, path: path.to_owned(), source }
}

fn write_aside(path: &Utf8Path, bytes: &[u8], mode: u32) -> Result<Utf8PathBuf, HostError> {
    // A leftover of an earlier process with our id may have the name: take the next one then.
    loop {
        let aside = aside_name(path);
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside) {
            Ok(file) => {
                let written = fill(file, bytes, mode);
                return match written {
                    Ok(()) => Ok(aside),
                    Err(source) => {
                        discard(&aside);
                        Err(failed("write", path, source))
                    }
                };
            }
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(failed("write", path, source)),
        }
    }
}

fn fill(mut file: File, bytes: &[u8], mode: u32) -> io::Result<()> {
    file.write_all(bytes)?;
    // The umask may have taken bits away.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    file.sync_all()
}

fn rename_new(from: &Utf8Path, to: &Utf8Path) -> Result<(), rustix::io::Errno> {
    rustix::fs::renameat_with(
        CWD,
        from.as_std_path(),
        CWD,
        to.as_std_path(),
        RenameFlags::NOREPLACE,
    )
}

/// What is left behind costs a name, no more; `clean_asides` gets it later.
fn discard(aside: &Utf8Path) {
    if let Err(source) = fs::remove_file(aside) {
        tracing::debug!(path = %aside, error = %source, "left an unfinished file behind");
    }
}

#[cfg(test)]
mod tests;
