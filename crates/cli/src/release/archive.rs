//! A payload directory as a reproducible archive: entries sorted, times and owners zero, modes
//! 0644 or 0755, so that the same input gives the same bytes.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use handover_model::{Digest, Hasher, Platform};
use indicatif::ProgressBar;

use super::{ReleaseError, elf};

/// What lies at one path of a package.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A file's bytes.
    Bytes(Vec<u8>),
    /// A file of the payload.
    File(Utf8PathBuf),
    /// A symbolic link inside the package.
    Link(Utf8PathBuf),
}

/// One entry.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) path: Utf8PathBuf,
    pub(super) content: Content,
    pub(super) executable: bool,
    pub(super) size: u64,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) length: u64,
    pub(super) digest: Digest,
}

/// Everything below a payload directory, sorted by path.
pub(super) fn read_payload(
    root: &Utf8Path,
    platform: &Platform,
) -> Result<Vec<Entry>, ReleaseError> {
    let mut entries = Vec::new();
    collect(root, Utf8Path::new(""), platform, &mut entries)?;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    for pair in entries.windows(2) {
        let [a, b] = pair else { continue };
        if a.path.as_str().eq_ignore_ascii_case(b.path.as_str()) {
            return Err(refused(
                root.join(&b.path),
                format!("it differs from {} in case alone; rename one", a.path),
            ));
        }
    }
    Ok(entries)
}

fn collect(
    root: &Utf8Path,
    below: &Utf8Path,
    platform: &Platform,
    entries: &mut Vec<Entry>,
) -> Result<(), ReleaseError> {
    let directory = root.join(below);
    let list = directory.read_dir_utf8().map_err(ReleaseError::io("list", &directory))?;
    for entry in list {
        let entry = entry.map_err(ReleaseError::io("list", &directory))?;
        let (full, path) = (entry.path(), below.join(entry.file_name()));
        let meta = full.symlink_metadata().map_err(ReleaseError::io("look at", full))?;
        let mode = meta.permissions().mode();
        if path.as_str() == "handover" {
            return Err(refused(
                full.to_owned(),
                "that name is kept for Handover's own files; rename it".to_owned(),
            ));
        }
        if meta.is_symlink() {
            let target = full.read_link_utf8().map_err(ReleaseError::io("read link", full))?;
            check_link(full, &path, &target)?;
            entries.push(Entry {
                path,
                content: Content::Link(target),
                executable: false,
                size: 0,
            });
        } else if meta.is_dir() {
            collect(root, &path, platform, entries)?;
        } else if !meta.is_file() {
            return Err(refused(
                full.to_owned(),
                "it is neither file, directory nor link; take it out".to_owned(),
            ));
        } else if mode & 0o6000 != 0 {
            return Err(refused(
                full.to_owned(),
                "it has a set-uid or set-gid bit; `chmod ug-s` it".to_owned(),
            ));
        } else {
            let executable = mode & 0o111 != 0;
            check_platform(full, executable, platform)?;
            entries.push(Entry {
                path,
                content: Content::File(full.to_owned()),
                executable,
                size: meta.len(),
            });
        }
    }
    Ok(())
}

fn refused(path: Utf8PathBuf, what: String) -> ReleaseError {
    ReleaseError::Payload { path, what }
}

/// A link may lead to another place of the package alone.
fn check_link(full: &Utf8Path, path: &Utf8Path, target: &Utf8Path) -> Result<(), ReleaseError> {
    let mut depth = path.components().count().saturating_sub(1);
    let mut inside = !target.as_str().is_empty();
    for part in target.components() {
        match part {
            Utf8Component::Normal(_) => depth = depth.saturating_add(1),
            Utf8Component::CurDir => {}
            Utf8Component::ParentDir if depth > 0 => depth = depth.saturating_sub(1),
            Utf8Component::ParentDir | Utf8Component::RootDir | Utf8Component::Prefix(_) => {
                inside = false;
            }
        }
    }
    if inside {
        return Ok(());
    }
    Err(refused(
        full.to_owned(),
        format!("it links to {target}, out of the package; copy the file in"),
    ))
}

pub(super) fn check_platform(
    full: &Utf8Path,
    executable: bool,
    platform: &Platform,
) -> Result<(), ReleaseError> {
    if !executable {
        return Ok(());
    }
    let mut head = Vec::new();
    let file = File::open(full).map_err(ReleaseError::io("open", full))?;
    file.take(20).read_to_end(&mut head).map_err(ReleaseError::io("read", full))?;
    match elf::mismatch(&head, platform) {
        Some(what) => Err(refused(full.to_owned(), what)),
        None => Ok(()),
    }
}

/// Writes the archive of `entries` into `goal`, in the order given.
pub(super) fn write(
    entries: &[Entry],
    goal: &mut File,
    bar: &ProgressBar,
) -> std::io::Result<Written> {
    let counted = Counted { inner: BufWriter::new(goal), hasher: Hasher::default(), length: 0 };
    let mut encoder = zstd::stream::write::Encoder::new(counted, 12)?;
    encoder.include_checksum(true)?;
    // 8 MiB, what RFC 8878 asks every decoder to support.
    encoder.window_log(23)?;
    let mut archive = tar::Builder::new(encoder);
    for entry in entries {
        append(&mut archive, entry, bar)?;
    }
    let mut counted = archive.into_inner()?.finish()?;
    counted.flush()?;
    Ok(Written { length: counted.length, digest: counted.hasher.finish() })
}

fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    entry: &Entry,
    bar: &ProgressBar,
) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(if entry.executable { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(entry.size);
    match &entry.content {
        Content::Bytes(bytes) => {
            header.set_entry_type(tar::EntryType::Regular);
            archive.append_data(&mut header, &entry.path, bytes.as_slice())
        }
        Content::File(path) => {
            header.set_entry_type(tar::EntryType::Regular);
            let file = bar.wrap_read(File::open(path)?.take(entry.size));
            archive.append_data(&mut header, &entry.path, file)
        }
        Content::Link(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            archive.append_link(&mut header, &entry.path, target)
        }
    }
}

/// Counts and digests what passes.
struct Counted<W> {
    inner: W,
    hasher: Hasher,
    length: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        let taken = self.inner.write(piece)?;
        self.hasher.update(piece.get(..taken).unwrap_or_default());
        self.length = self.length.saturating_add(u64::try_from(taken).unwrap_or(u64::MAX));
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
