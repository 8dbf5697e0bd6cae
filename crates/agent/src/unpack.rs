//! Unpacking: a package becomes a directory, or nothing does.
//!
//! Everything is written into `incoming/<digest>.unpack-aside/`, made durable, and only then
//! renamed to `incoming/<digest>/`. The archive's digest was proved before, so what is refused
//! here was signed by somebody who should not have, or is a mistake of the release's author. No
//! link is ever followed: an entry is created only below directories that this unpacking made.
//!
//! Deliberately not here: hard links, sparse files and extended attributes. Packages do not
//! need them, so they are refused rather than understood.

mod entries;
mod error;
mod names;

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufReader, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::{Digest, MANIFEST_FORMAT, Manifest, ReleaseFacts};

use entries::{Found, FoundKind, walk};
use names::Tree;

pub use error::{UnpackError, Unsafe};

/// The manifest's place in every package.
pub const MANIFEST: &str = "handover/release.json";
/// The entrypoint's place in every package.
pub const ENTRYPOINT: &str = "handover/upgrade";

/// The largest zstd window that is accepted: 8 MiB, what RFC 8878, section 3.1.1.1.2, asks
/// every decoder to support, and all that levels up to 19 use.
const WINDOW_LOG: u32 = 23;
/// What an archive may carry beside contents: header, padding and long names of each entry.
const OVERHEAD_PER_ENTRY: u64 = 12 * 1024;
/// The end marker and the padding of the last record.
const OVERHEAD: u64 = 64 * 1024;

/// A package that became a directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Unpacked {
    /// The directory.
    pub path: Utf8PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// Every regular file in it and its digest.
    pub files: BTreeMap<Utf8PathBuf, Digest>,
}

/// Unpacks the archive at `package` into `incoming/<digest>/`. What lay there before is replaced.
///
/// # Errors
/// Any [`UnpackError`]; nothing lies at the goal then.
pub fn unpack(
    package: &Utf8Path,
    incoming: &Utf8Path,
    digest: &Digest,
    facts: &ReleaseFacts,
) -> Result<Unpacked, UnpackError> {
    let goal = incoming.join(digest.to_string());
    let aside = incoming.join(format!("{digest}.unpack-aside"));
    remove(&aside)?;
    make_dir(&aside, 0o700)?;
    let outcome = unpack_into(package, &aside, facts);
    let (manifest, files) = match outcome {
        Ok(unpacked) => unpacked,
        Err(error) => {
            remove(&aside)?;
            return Err(error);
        }
    };
    remove(&goal)?;
    std::fs::rename(&aside, &goal).map_err(disk("rename", &aside))?;
    sync(incoming)?;
    Ok(Unpacked { path: goal, manifest, files })
}

fn unpack_into(
    package: &Utf8Path,
    aside: &Utf8Path,
    facts: &ReleaseFacts,
) -> Result<(Manifest, BTreeMap<Utf8PathBuf, Digest>), UnpackError> {
    let archive = File::open(package).map_err(disk("open", package))?;
    let mut tree = Tree::default();
    let mut files = BTreeMap::new();
    let mut room = facts.unpacked_bytes;
    let most = facts
        .unpacked_bytes
        .saturating_add(facts.entries.saturating_mul(OVERHEAD_PER_ENTRY))
        .saturating_add(OVERHEAD);
    let mut count = 0_u64;
    let rest = walk(decoder(archive)?, most, |found, content| {
        count = count.saturating_add(1);
        if count > facts.entries {
            return Err(UnpackError::TooManyEntries { declared: facts.entries });
        }
        place(aside, &mut tree, &mut files, &mut room, found, content)
    })?;
    no_trailing(rest)?;
    tree.check_links().map_err(|(path, reason)| UnpackError::Unsafe { path, reason })?;
    let manifest = check_manifest(aside, &files, facts)?;
    make_durable(aside, &tree, &files)?;
    let files = files.into_iter().map(|(path, (digest, _size))| (path, digest)).collect();
    Ok((manifest, files))
}

type Decoder = zstd::stream::read::Decoder<'static, BufReader<File>>;

fn decoder(archive: File) -> Result<Decoder, UnpackError> {
    let broken = |source| UnpackError::Archive { source };
    let mut decoder = zstd::stream::read::Decoder::new(archive).map_err(broken)?.single_frame();
    decoder.window_log_max(WINDOW_LOG).map_err(broken)?;
    Ok(decoder)
}

/// After the archive's end marker only padding may come, and after the zstd frame nothing.
fn no_trailing(mut rest: std::io::Take<Decoder>) -> Result<(), UnpackError> {
    let mut piece = [0; 8192];
    loop {
        let count = rest.read(&mut piece).map_err(|source| UnpackError::Archive { source })?;
        if piece[..count].iter().any(|byte| *byte != 0) {
            return Err(UnpackError::Trailing);
        }
        if count == 0 {
            break;
        }
    }
    if rest.limit() == 0 {
        return Err(UnpackError::Trailing);
    }
    let mut behind = rest.into_inner().finish();
    match behind.read(&mut piece).map_err(|source| UnpackError::Archive { source })? {
        0 => Ok(()),
        _ => Err(UnpackError::Trailing),
    }
}

/// Creates one entry. Parents that the archive does not list are made.
fn place(
    aside: &Utf8Path,
    tree: &mut Tree,
    files: &mut BTreeMap<Utf8PathBuf, (Digest, u64)>,
    room: &mut u64,
    found: Found,
    content: &mut dyn Read,
) -> Result<(), UnpackError> {
    let unsafe_at = |reason| UnpackError::Unsafe { path: found.path.clone(), reason };
    let fresh = tree.add(&found.path, &found.kind).map_err(unsafe_at)?;
    for directory in fresh {
        make_dir(&aside.join(directory), 0o755)?;
    }
    let path = aside.join(&found.path);
    match found.kind {
        FoundKind::Directory => {}
        FoundKind::Link(target) => {
            std::os::unix::fs::symlink(&target, &path).map_err(disk("link", &path))?;
        }
        FoundKind::File { size, executable } => {
            *room = room
                .checked_sub(size)
                .ok_or(UnpackError::TooManyBytes { at: found.path.clone() })?;
            let digest = write_file(&path, size, executable, content)?;
            files.insert(found.path, (digest, size));
        }
    }
    Ok(())
}

fn write_file(
    path: &Utf8Path,
    size: u64,
    executable: bool,
    content: &mut dyn Read,
) -> Result<Digest, UnpackError> {
    let mode = if executable { 0o755 } else { 0o644 };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(disk("create", path))?;
    // The umask may have cut the mode.
    file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(disk("chmod", path))?;
    let (mut hasher, mut left) = (handover_model::Hasher::default(), size);
    let mut piece = vec![0; 64 * 1024];
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        let count =
            content.read(&mut piece[..want]).map_err(|source| UnpackError::Archive { source })?;
        if count == 0 {
            let source = std::io::ErrorKind::UnexpectedEof.into();
            return Err(UnpackError::Archive { source });
        }
        file.write_all(&piece[..count]).map_err(disk("write", path))?;
        hasher.update(&piece[..count]);
        left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
    }
    Ok(hasher.finish())
}

fn check_manifest(
    aside: &Utf8Path,
    files: &BTreeMap<Utf8PathBuf, (Digest, u64)>,
    facts: &ReleaseFacts,
) -> Result<Manifest, UnpackError> {
    let (digest, _size) =
        files.get(Utf8Path::new(MANIFEST)).ok_or(UnpackError::Missing { what: MANIFEST })?;
    if *digest != facts.manifest {
        return Err(UnpackError::ManifestDigest { found: *digest, signed: facts.manifest });
    }
    let path = aside.join(MANIFEST);
    let bytes = std::fs::read(&path).map_err(disk("read", &path))?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|source| UnpackError::Manifest { source })?;
    if manifest.format > MANIFEST_FORMAT {
        return Err(UnpackError::ManifestTooNew { found: manifest.format });
    }
    // Revocation and notes may be signed later than the package.
    let mut said =
        manifest.facts(facts.platform.clone(), facts.manifest, facts.unpacked_bytes, facts.entries);
    said.revoked.clone_from(&facts.revoked);
    said.notes.clone_from(&facts.notes);
    if said != *facts {
        return Err(UnpackError::Disagree);
    }
    let entrypoint = aside.join(ENTRYPOINT);
    let is_program = files.contains_key(Utf8Path::new(ENTRYPOINT))
        && std::fs::metadata(&entrypoint).is_ok_and(|meta| meta.permissions().mode() & 0o100 != 0);
    if is_program { Ok(manifest) } else { Err(UnpackError::Missing { what: ENTRYPOINT }) }
}

/// Every file, then every directory from the deepest up.
fn make_durable(
    aside: &Utf8Path,
    tree: &Tree,
    files: &BTreeMap<Utf8PathBuf, (Digest, u64)>,
) -> Result<(), UnpackError> {
    for path in files.keys() {
        sync(&aside.join(path))?;
    }
    for directory in tree.directories().rev() {
        sync(&aside.join(directory))?;
    }
    sync(aside)
}

fn sync(path: &Utf8Path) -> Result<(), UnpackError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(disk("sync", path))
}

fn make_dir(path: &Utf8Path, mode: u32) -> Result<(), UnpackError> {
    DirBuilder::new().mode(mode).create(path).map_err(disk("create", path))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(disk("chmod", path))
}

fn remove(path: &Utf8Path) -> Result<(), UnpackError> {
    let gone = match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    gone.map_err(disk("remove", path))
}

fn disk(act: &'static str, path: &Utf8Path) -> impl FnOnce(std::io::Error) -> UnpackError {
    let path = path.to_owned();
    move |source| {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        if matches!(source.kind(), StorageFull | QuotaExceeded) {
            UnpackError::DiskFull { path }
        } else {
            UnpackError::Disk { act, path, source }
        }
    }
}

#[cfg(test)]
mod tests;
