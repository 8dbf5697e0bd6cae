//! Records of JSON lines that only grow, bounded by one rotation.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;

use camino::{Utf8Path, Utf8PathBuf};

use super::{failed, sync_parent};
use crate::HostError;

/// When a record reaches this size it is renamed to `<name>.1`, replacing the one before.
pub const MAX_LINES_BYTES: u64 = 1 << 20;

/// Appends one line, which must hold no newline of its own, and makes it durable.
///
/// # Errors
/// [`HostError::Io`].
pub fn append_line(path: &Utf8Path, line: &str) -> Result<(), HostError> {
    let mut file = open(path)?;
    let len = file.metadata().map_err(|source| failed("stat", path, source))?.len();
    if len >= MAX_LINES_BYTES {
        std::fs::rename(path, rotated(path)).map_err(|source| failed("rotate", path, source))?;
        file = open(path)?;
    }
    let mut bytes = Vec::with_capacity(line.len() + 2);
    // A torn line of an earlier life must not swallow this one: an empty line is skipped.
    if len > 0 {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(line.as_bytes());
    bytes.push(b'\n');
    file.write_all(&bytes)
        .and_then(|()| file.sync_data())
        .map_err(|source| failed("append to", path, source))?;
    if len == 0 || len >= MAX_LINES_BYTES { sync_parent(path) } else { Ok(()) }
}

/// All whole lines, those of the rotated file first, empty ones left out; none when there is no
/// record. At most twice [`MAX_LINES_BYTES`] and a line are read.
///
/// # Errors
/// [`HostError::Io`].
pub fn read_lines(path: &Utf8Path) -> Result<Vec<String>, HostError> {
    let mut lines = Vec::new();
    for path in [rotated(path), path.to_owned()] {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(failed("open", &path, source)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_LINES_BYTES * 2)
            .read_to_end(&mut bytes)
            .map_err(|source| failed("read", &path, source))?;
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        lines.extend(whole.split('\n').filter(|line| !line.is_empty()).map(str::to_owned));
    }
    Ok(lines)
}

/// The whole lines among the last `bytes` of the record, rotated ones left out.
///
/// # Errors
/// [`HostError::Io`].
pub fn read_last_lines(path: &Utf8Path, bytes: u64) -> Result<Vec<String>, HostError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed("open", path, source)),
    };
    let reading = |source| failed("read", path, source);
    let len = file.metadata().map_err(reading)?.len();
    let from = len.saturating_sub(bytes);
    file.seek(SeekFrom::Start(from)).map_err(reading)?;
    let mut found = Vec::new();
    file.take(bytes).read_to_end(&mut found).map_err(reading)?;
    let text = String::from_utf8_lossy(&found);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let cut = usize::from(from > 0);
    Ok(whole.split('\n').skip(cut).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn rotated(path: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{path}.1"))
}

fn open(path: &Utf8Path) -> Result<File, HostError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .open(path)
        .map_err(|source| failed("open", path, source))
}
