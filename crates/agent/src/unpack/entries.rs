//! Reads a tar archive entry by entry (POSIX ustar, GNU long names, pax local headers) and says
//! what each is, or why it is refused.

use std::borrow::Cow;
use std::io::{Read, Take};

use camino::Utf8PathBuf;
use tar::{Archive, Entry, EntryType, PaxExtensions};

use super::error::{UnpackError, Unsafe};
use super::names::parse_path;

/// The largest extension header that is read.
const LONGEST_EXTENSION: u64 = 8 * 1024;

/// One entry, checked as far as it can be alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: Utf8PathBuf,
    pub(super) kind: FoundKind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FoundKind {
    Directory,
    Link(Utf8PathBuf),
    File { size: u64, executable: bool },
}

/// Names from extension headers, which count for the next entry.
#[derive(Debug, Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

type Visit<'a> = dyn FnMut(Found, &mut dyn Read) -> Result<(), UnpackError> + 'a;

/// Shows each entry of the archive in `source`, of which at most `most` bytes are read, to
/// `visit`; returns the source behind the archive's end marker.
pub(super) fn walk<R: Read>(
    source: R,
    most: u64,
    mut visit: impl FnMut(Found, &mut dyn Read) -> Result<(), UnpackError>,
) -> Result<Take<R>, UnpackError> {
    let mut archive = Archive::new(source.take(most));
    let mut extension = Extension::default();
    // Raw: the library would otherwise read extension headers of any size into memory.
    let entries = archive.entries().map_err(|source| UnpackError::Archive { source })?.raw(true);
    for entry in entries {
        let mut entry = entry.map_err(|source| UnpackError::Archive { source })?;
        take_in(&mut entry, &mut extension, &mut visit)?;
    }
    Ok(archive.into_inner())
}

fn take_in<R: Read>(
    entry: &mut Entry<'_, R>,
    extension: &mut Extension,
    visit: &mut Visit<'_>,
) -> Result<(), UnpackError> {
    let kind = entry.header().entry_type();
    if kind.is_gnu_longname() {
        extension.path = Some(long_text(entry)?);
        return Ok(());
    }
    if kind.is_gnu_longlink() {
        extension.link = Some(long_text(entry)?);
        return Ok(());
    }
    if kind.is_pax_local_extensions() {
        return take_pax(&extension_bytes(entry)?, extension);
    }
    let extension = std::mem::take(extension);
    let raw_path = extension.path.unwrap_or_else(|| entry.header().path_bytes().into_owned());
    let refuse = |reason| UnpackError::Unsafe { path: lossy(&raw_path), reason };
    let path = parse_path(&raw_path).map_err(refuse)?;
    let broken = |source| UnpackError::Archive { source };
    let mode = entry.header().mode().map_err(broken)?;
    if mode & 0o7000 != 0 {
        return Err(refuse(Unsafe::SetId));
    }
    let size = entry.header().entry_size().map_err(broken)?;
    if extension.size.is_some_and(|said| said != size) {
        return Err(UnpackError::Archive { source: std::io::Error::other("contradictory sizes") });
    }
    if path.as_str().is_empty() {
        return if kind.is_dir() { Ok(()) } else { Err(refuse(Unsafe::Name)) };
    }
    let kind = kind_of(kind, mode, size, || {
        extension.link.or_else(|| entry.header().link_name_bytes().map(Cow::into_owned))
    })
    .map_err(refuse)?;
    visit(Found { path, kind }, entry)
}

fn kind_of(
    kind: EntryType,
    mode: u32,
    size: u64,
    target: impl FnOnce() -> Option<Vec<u8>>,
) -> Result<FoundKind, Unsafe> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not understood is refused")]
    match kind {
        EntryType::Regular => Ok(FoundKind::File { size, executable: mode & 0o111 != 0 }),
        EntryType::Directory if size == 0 => Ok(FoundKind::Directory),
        EntryType::Symlink if size == 0 => {
            let target = target().unwrap_or_default();
            let text = String::from_utf8(target).map_err(|_source| Unsafe::Name)?;
            if text.is_empty() || text.len() > 1024 || text.chars().any(char::is_control) {
                return Err(Unsafe::Name);
            }
            Ok(FoundKind::Link(text.into()))
        }
        EntryType::Link => Err(Unsafe::HardLink),
        _ => Err(Unsafe::Special),
    }
}

/// GNU long names end with a zero byte.
fn long_text<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, UnpackError> {
    let mut bytes = extension_bytes(entry)?;
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

fn extension_bytes<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>, UnpackError> {
    let broken = |source| UnpackError::Archive { source };
    if entry.header().entry_size().map_err(broken)? > LONGEST_EXTENSION {
        return Err(broken(std::io::Error::other("an extension header of more than 8 KiB")));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(broken)?;
    Ok(bytes)
}

/// pax (POSIX.1-2017, pax, "Extended Header"): names and sizes count, times and owners do not,
/// anything else could change what the entry means and is refused.
fn take_pax(bytes: &[u8], extension: &mut Extension) -> Result<(), UnpackError> {
    let broken = |text: &str| UnpackError::Archive { source: std::io::Error::other(text) };
    for pair in PaxExtensions::new(bytes) {
        let pair = pair.map_err(|source| UnpackError::Archive { source })?;
        match pair.key() {
            Ok("path") => extension.path = Some(pair.value_bytes().to_vec()),
            Ok("linkpath") => extension.link = Some(pair.value_bytes().to_vec()),
            Ok("size") => {
                let size = pair.value().ok().and_then(|text| text.parse().ok());
                extension.size = Some(size.ok_or_else(|| broken("a size that is no number"))?);
            }
            Ok("mtime" | "atime" | "ctime" | "uid" | "gid" | "uname" | "gname" | "comment") => {}
            Ok(_) | Err(_) => return Err(broken("an unknown pax header")),
        }
    }
    Ok(())
}

fn lossy(bytes: &[u8]) -> Utf8PathBuf {
    String::from_utf8_lossy(bytes).chars().take(200).collect::<String>().into()
}
