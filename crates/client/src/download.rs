//! Downloads: streamed to a file beside its goal, resumable, bounded in length, proved by digest.
//!
//! A download lies in `incoming/<sha256>.part` until its last byte, and under its own name only
//! after its digest was proved and it is durable. What an earlier life left is continued only if
//! the server continues it at that very byte, and only the digest over all of it counts: bytes
//! that do not fit are thrown away once and fetched again.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::{Digest, ErrorClass, Hasher};
use rustix::fs::{Mode, OFlags};

use crate::backoff::plan_wait;
use crate::bandwidth::Bucket;
use crate::dice::Dice;
use crate::fetch::{Answer, FetchError, Fetcher};
use crate::real_world::{Clock, Stop};

/// What to download, as signed metadata lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where it lies.
    pub url: String,
    /// SHA-256 of all of it.
    pub digest: Digest,
    /// Its length in bytes.
    pub length: u64,
}

/// What a download needs beside the server.
pub struct Means<'a> {
    /// For pace and waits.
    pub clock: &'a dyn Clock,
    /// Ends it early.
    pub stop: &'a Stop,
    /// For back-off.
    pub dice: &'a mut Dice,
    /// The bandwidth limit.
    pub bucket: &'a mut Bucket,
    /// How often to try again when the trouble may pass; each try resumes.
    pub attempts: u32,
    /// Told how many bytes are there, after each piece.
    pub progress: &'a mut dyn FnMut(u64),
}

/// A download that failed.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The server failed us, several times if that could help.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The file is not what the signed metadata lists.
    #[error("{url}: the content is {found}, signed metadata lists {wanted}")]
    Digest {
        /// The address.
        url: String,
        /// The digest of what came.
        found: Digest,
        /// The digest that is listed.
        wanted: Digest,
    },
    /// The server's file has another length than listed.
    #[error("{url}: the server offers {offered} bytes, signed metadata lists {wanted}")]
    Length {
        /// The address.
        url: String,
        /// What the server announces or sent.
        offered: u64,
        /// What is listed.
        wanted: u64,
    },
    /// There is no space for it.
    #[error(
        "the disk that holds {path} is full: free some space, then run it again; what is there \
         is continued"
    )]
    DiskFull {
        /// The file.
        path: Utf8PathBuf,
    },
    /// The disk failed us.
    #[error("could not {act} {path}")]
    Disk {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: Utf8PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The end was asked for.
    #[error("stopped; what is there is continued next time")]
    Stopped,
}

impl DownloadError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Fetch(error) => error.class(),
            Self::Digest { .. } | Self::Length { .. } => ErrorClass::Permanent,
            Self::DiskFull { .. } | Self::Disk { .. } | Self::Stopped => ErrorClass::Retry,
        }
    }

    /// A name for programs, stable over releases.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Fetch(error) => error.code(),
            Self::Digest { .. } => "download.digest",
            Self::Length { .. } => "download.length",
            Self::DiskFull { .. } => "download.disk-full",
            Self::Disk { .. } => "download.disk",
            Self::Stopped => "download.stopped",
        }
    }
}

/// Where a download lies while it is not whole.
pub fn part_path(incoming: &Utf8Path, digest: &Digest) -> Utf8PathBuf {
    incoming.join(format!("{digest}.part"))
}

/// Where a download lies when it is whole and proved.
pub fn whole_path(incoming: &Utf8Path, digest: &Digest) -> Utf8PathBuf {
    incoming.join(format!("{digest}.package"))
}

/// Brings `wanted` into `incoming` and returns its path there, proved and durable.
///
/// # Errors
/// Any [`DownloadError`]. After a failure the part stays and is continued by the next call,
/// unless it was proved wrong.
pub fn download(
    fetcher: &Fetcher,
    wanted: &Wanted,
    incoming: &Utf8Path,
    means: &mut Means<'_>,
) -> Result<Utf8PathBuf, DownloadError> {
    let whole = whole_path(incoming, &wanted.digest);
    if is_proved(&whole, wanted)? {
        (means.progress)(wanted.length);
        return Ok(whole);
    }
    let mut attempt = 0;
    loop {
        match try_once(fetcher, wanted, incoming, means) {
            Ok(()) => return Ok(whole),
            Err(error) => {
                attempt += 1;
                let asked = retry_after(&error);
                if attempt >= means.attempts || !may_pass(&error) {
                    return Err(error);
                }
                tracing::debug!(code = error.code(), attempt, "download will be continued");
                if means.stop.wait(plan_wait(attempt, asked, means.dice)) {
                    return Err(DownloadError::Stopped);
                }
            }
        }
    }
}

/// Whether trying again right away makes sense: the network's troubles, not the disk's.
fn may_pass(error: &DownloadError) -> bool {
    match error {
        DownloadError::Fetch(inner) => inner.class() != ErrorClass::Permanent,
        DownloadError::Digest { .. }
        | DownloadError::Length { .. }
        | DownloadError::DiskFull { .. }
        | DownloadError::Disk { .. }
        | DownloadError::Stopped => false,
    }
}

fn retry_after(error: &DownloadError) -> Option<Duration> {
    if let DownloadError::Fetch(inner) = error { inner.retry_after() } else { None }
}

/// An earlier life may have finished the file; a damaged one is taken away.
fn is_proved(whole: &Utf8Path, wanted: &Wanted) -> Result<bool, DownloadError> {
    let Some(mut file) = open_regular(whole, OFlags::RDONLY)? else { return Ok(false) };
    let (hasher, length) = hash_up_to(&mut file, whole, wanted.length.saturating_add(1))?;
    if length == wanted.length && hasher.finish() == wanted.digest {
        return Ok(true);
    }
    std::fs::remove_file(whole).map_err(disk("remove", whole))?;
    Ok(false)
}

fn try_once(
    fetcher: &Fetcher,
    wanted: &Wanted,
    incoming: &Utf8Path,
    means: &mut Means<'_>,
) -> Result<(), DownloadError> {
    let path = part_path(incoming, &wanted.digest);
    let mut part = Part::open(&path, wanted.length)?;
    let continued = part.length > 0;
    if part.length < wanted.length {
        let answer = begin(fetcher, wanted, &mut part)?;
        pour(answer, wanted, &mut part, means)?;
    }
    let found = part.hasher.clone().finish();
    if found != wanted.digest {
        // Not kept in any case: a longer wrong file would never become a right one.
        part.restart()?;
        if continued {
            return try_once(fetcher, wanted, incoming, means);
        }
        return Err(DownloadError::Digest {
            url: wanted.url.clone(),
            found,
            wanted: wanted.digest,
        });
    }
    part.publish(incoming, &whole_path(incoming, &wanted.digest))
}

/// Asks for what is missing. A server that can't continue is asked for all of it.
fn begin(fetcher: &Fetcher, wanted: &Wanted, part: &mut Part) -> Result<Answer, DownloadError> {
    let answer = match fetcher.open(&wanted.url, part.length) {
        Err(FetchError::RangeRefused { .. }) if part.length > 0 => {
            part.restart()?;
            fetcher.open(&wanted.url, 0)?
        }
        other => other?,
    };
    if answer.offset != part.length {
        part.restart()?;
    }
    let offered = answer.announced.map(|announced| announced.saturating_add(answer.offset));
    match offered {
        Some(offered) if offered != wanted.length => {
            Err(DownloadError::Length { url: wanted.url.clone(), offered, wanted: wanted.length })
        }
        Some(_) | None => Ok(answer),
    }
}

fn pour(
    mut answer: Answer,
    wanted: &Wanted,
    part: &mut Part,
    means: &mut Means<'_>,
) -> Result<(), DownloadError> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        if means.stop.is_asked() {
            return Err(DownloadError::Stopped);
        }
        let size = means.bucket.slice(piece.len());
        let count = answer.read(&mut piece[..size])?;
        if count == 0 {
            break;
        }
        part.append(&piece[..count])?;
        if part.length > wanted.length {
            let offered = part.length;
            part.restart()?;
            return Err(DownloadError::Length {
                url: wanted.url.clone(),
                offered,
                wanted: wanted.length,
            });
        }
        (means.progress)(part.length);
        let bytes = u64::try_from(count).unwrap_or(u64::MAX);
        let wait = means.bucket.spend(bytes, means.clock.now().mono);
        if !wait.is_zero() {
            answer.excuse(wait);
            means.stop.wait(wait);
        }
    }
    if part.length < wanted.length {
        let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        return Err(FetchError::Cut { url: wanted.url.clone(), source }.into());
    }
    Ok(())
}

/// The unfinished file, and the digest of what it holds so far.
struct Part {
    file: File,
    path: Utf8PathBuf,
    length: u64,
    hasher: Hasher,
}

impl Part {
    /// Opens what an earlier life left, or a new file. More bytes than wanted can't fit.
    fn open(path: &Utf8Path, wanted: u64) -> Result<Self, DownloadError> {
        let flags = OFlags::RDWR | OFlags::CREATE;
        let Some(mut file) = open_regular(path, flags)? else {
            return Err(disk("open", path)(std::io::ErrorKind::NotFound.into()));
        };
        let (hasher, length) = hash_up_to(&mut file, path, wanted.saturating_add(1))?;
        let mut part = Self { file, path: path.to_owned(), length, hasher };
        if length > wanted {
            part.restart()?;
        }
        Ok(part)
    }

    fn restart(&mut self) -> Result<(), DownloadError> {
        self.file.set_len(0).map_err(disk("truncate", &self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(disk("rewind", &self.path))?;
        self.length = 0;
        self.hasher = Hasher::default();
        Ok(())
    }

    fn append(&mut self, piece: &[u8]) -> Result<(), DownloadError> {
        self.file.write_all(piece).map_err(disk("write", &self.path))?;
        self.hasher.update(piece);
        self.length = self.length.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn publish(self, incoming: &Utf8Path, whole: &Utf8Path) -> Result<(), DownloadError> {
        self.file.sync_all().map_err(disk("sync", &self.path))?;
        std::fs::rename(&self.path, whole).map_err(disk("rename", &self.path))?;
        File::open(incoming).and_then(|dir| dir.sync_all()).map_err(disk("sync", incoming))
    }
}

/// Opens a regular file without following links; `None` when nothing is there.
fn open_regular(path: &Utf8Path, flags: OFlags) -> Result<Option<File>, DownloadError> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match rustix::fs::open(path.as_std_path(), flags, Mode::RUSR | Mode::WUSR) {
        Ok(fd) => {
            let file = File::from(fd);
            let meta = file.metadata().map_err(disk("inspect", path))?;
            if meta.is_file() {
                return Ok(Some(file));
            }
            Err(disk("use", path)(std::io::Error::other("it is not a regular file: remove it")))
        }
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(disk("open", path)(error.into())),
    }
}

/// Digests a file from its beginning, up to `most` bytes; it stands behind them afterwards.
fn hash_up_to(file: &mut File, path: &Utf8Path, most: u64) -> Result<(Hasher, u64), DownloadError> {
    let (mut hasher, mut length, mut piece) = (Hasher::default(), 0_u64, vec![0; 64 * 1024]);
    while length < most {
        let count = file.read(&mut piece).map_err(disk("read", path))?;
        if count == 0 {
            break;
        }
        hasher.update(&piece[..count]);
        length = length.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
    Ok((hasher, length))
}

fn disk(act: &'static str, path: &Utf8Path) -> impl FnOnce(std::io::Error) -> DownloadError {
    let path = path.to_owned();
    move |source| {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        if matches!(source.kind(), StorageFull | QuotaExceeded) {
            DownloadError::DiskFull { path }
        } else {
            DownloadError::Disk { act, path, source }
        }
    }
}

#[cfg(test)]
mod tests;
