//! The only code that changes files of the data directory: write aside, fsync, rename, fsync of
//! the directory. The database has its own.
//!
//! Invariant: whoever reads a path that was written here sees all of the old content or all of
//! the new, also after a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use camino::Utf8Path;
use rustix::fs::Mode;

/// The most bytes that one file of the data directory may have.
const LARGEST: u64 = 1 << 20;

/// A file or directory that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("can't {act} {path}")]
pub struct FileError {
    /// What was tried.
    pub act: &'static str,
    /// With what.
    pub path: camino::Utf8PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Makes a directory for this user alone, with its parents, durably. One that exists keeps its
/// mode.
pub(crate) fn make_private_dir(path: &Utf8Path) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent()
        && !parent.as_str().is_empty()
        && !parent.is_dir()
    {
        fs::create_dir_all(parent).map_err(failed("make directory", parent))?;
    }
    match rustix::fs::mkdir(path.as_std_path(), Mode::from_raw_mode(0o700)) {
        Ok(()) => sync_parent(path),
        Err(rustix::io::Errno::EXIST) if path.is_dir() => Ok(()),
        Err(errno) => Err(failed("make directory", path)(errno.into())),
    }
}

/// The bytes of a small file; `None` when nothing is there.
pub(crate) fn read(path: &Utf8Path) -> Result<Option<Vec<u8>>, FileError> {
    read_up_to(path, LARGEST)
}

/// The bytes of a file of at most `most` bytes; `None` when nothing is there.
pub(crate) fn read_up_to(path: &Utf8Path, most: u64) -> Result<Option<Vec<u8>>, FileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("open", path)(source)),
    };
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > most {
        let why = format!("larger than {most} bytes");
        return Err(failed("read", path)(io::Error::other(why)));
    }
    Ok(Some(bytes))
}

/// Replaces a file durably.
pub(crate) fn write(path: &Utf8Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let aside = write_aside(path, bytes, mode)?;
    fs::rename(&aside, path).map_err(failed("replace", path))?;
    sync_parent(path)
}

/// Appends a line durably. A line that a power cut tore is not a line.
pub(crate) fn append_line(path: &Utf8Path, line: &[u8]) -> Result<(), FileError> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("open", path))?;
    let whole = [line, b"\n"].concat();
    file.write_all(&whole).and_then(|()| file.sync_all()).map_err(failed("append to", path))?;
    sync_parent(path)
}

/// Takes a file away durably; one that is not there is fine.
pub(crate) fn remove(path: &Utf8Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(failed("remove", path)(source)),
    }
}

/// Makes a directory with its parents, for everybody to read.
pub(crate) fn make_dirs(path: &Utf8Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(failed("make directory", path))?;
    sync_parent(path)
}

/// Moves a file durably, over what is there; into another file system by copying it.
pub(crate) fn move_file(from: &Utf8Path, to: &Utf8Path) -> Result<(), FileError> {
    if let Some(parent) = to.parent() {
        make_dirs(parent)?;
    }
    match fs::rename(from, to) {
        Ok(()) => sync_parent(to),
        Err(source) if source.kind() == io::ErrorKind::CrossesDevices => {
            let name = to.file_name().unwrap_or("file");
            let aside = to.with_file_name(format!(".aside-{}-{name}", std::process::id()));
            fs::copy(from, &aside).map_err(failed("copy", from))?;
            File::open(&aside).and_then(|file| file.sync_all()).map_err(failed("sync", &aside))?;
            rename(&aside, to)?;
            remove(from)
        }
        Err(source) => Err(failed("move", from)(source)),
    }
}

/// Renames a file or directory durably, within one directory.
pub(crate) fn rename(from: &Utf8Path, to: &Utf8Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(failed("rename", from))?;
    sync_parent(to)
}

/// The mode bits of a file.
pub(crate) fn mode(path: &Utf8Path) -> Result<u32, FileError> {
    let facts = fs::metadata(path).map_err(failed("look at", path))?;
    Ok(facts.mode() & 0o7777)
}

fn write_aside(path: &Utf8Path, bytes: &[u8], mode: u32) -> Result<camino::Utf8PathBuf, FileError> {
    let name = path.file_name().unwrap_or("file");
    let aside = path.with_file_name(format!(".aside-{}-{name}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&aside)
        .map_err(failed("create", &aside))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("write", &aside))?;
    Ok(aside)
}

fn sync_parent(path: &Utf8Path) -> Result<(), FileError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_str().is_empty() => parent,
        Some(_) | None => Utf8Path::new("."),
    };
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed("sync", parent))
}

fn failed<'a>(act: &'static str, path: &'a Utf8Path) -> impl Fn(io::Error) -> FileError + 'a {
    move |source| FileError { act, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_replaces_what_was_there_and_nobody_else_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("key");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, b"first", 0o600).unwrap();
        write(&path, b"second", 0o600).unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some(b"second".as_slice()));
        assert_eq!(mode(&path).unwrap(), 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
