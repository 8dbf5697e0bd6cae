//! What each installed release's directory held when it was unpacked: how `doctor` tells a
//! modified or foreign file from the package's own.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::{HostError, disk};
use handover_model::{Digest, Hasher, Layout, ReleaseId, open_framed, seal_framed};

const FORMAT: u32 = 1;
const KIND: &str = "contents";

/// Regular files and their digests, by path inside the release.
pub type Contents = BTreeMap<Utf8PathBuf, Digest>;

fn path(layout: &Layout, release: &ReleaseId) -> Utf8PathBuf {
    layout.directory().join("contents").join(format!("{}.json", release.directory()))
}

/// Keeps what `release` was unpacked to, durably.
///
/// # Errors
/// [`HostError`].
pub fn keep(layout: &Layout, release: &ReleaseId, files: &Contents) -> Result<(), HostError> {
    let path = path(layout, release);
    disk::make_dir(&layout.directory().join("contents"))?;
    let bytes = seal_framed(KIND, FORMAT, files)
        .map_err(|source| HostError::Damaged { path: path.clone(), source })?;
    disk::write(&path, &bytes, 0o644)
}

/// What `release` was unpacked to; `None` when nobody kept it.
///
/// # Errors
/// [`HostError`].
pub fn kept(layout: &Layout, release: &ReleaseId) -> Result<Option<Contents>, HostError> {
    let path = path(layout, release);
    disk::read(&path)?
        .map(|bytes| open_framed(KIND, FORMAT, &bytes))
        .transpose()
        .map_err(|source| HostError::Damaged { path, source })
}

/// How a release's directory differs from what was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The package's file is gone.
    Missing(Utf8PathBuf),
    /// The package's file has other content.
    Modified(Utf8PathBuf),
    /// The package has no such file.
    Foreign(Utf8PathBuf),
}

/// Compares a release's directory with what was kept of it. Links are not followed.
///
/// # Errors
/// [`HostError`].
pub fn compare(directory: &Utf8Path, wanted: &Contents) -> Result<Vec<Difference>, HostError> {
    let mut found = Contents::new();
    collect(directory, Utf8Path::new(""), &mut found)?;
    let mut all = Vec::new();
    for (path, digest) in wanted {
        match found.get(path) {
            None => all.push(Difference::Missing(path.clone())),
            Some(there) if there != digest => all.push(Difference::Modified(path.clone())),
            Some(_) => {}
        }
    }
    let foreign = found.keys().filter(|path| !wanted.contains_key(*path));
    all.extend(foreign.map(|path| Difference::Foreign(path.clone())));
    Ok(all)
}

fn collect(base: &Utf8Path, inside: &Utf8Path, found: &mut Contents) -> Result<(), HostError> {
    let directory = base.join(inside);
    let failed = |act| {
        let path = directory.clone();
        move |source| HostError::Io { act, path, source }
    };
    for entry in directory.read_dir_utf8().map_err(failed("list"))? {
        let entry = entry.map_err(failed("list"))?;
        let kind = entry.file_type().map_err(failed("stat"))?;
        let name = inside.join(entry.file_name());
        if kind.is_dir() {
            collect(base, &name, found)?;
        } else if kind.is_file() {
            found.insert(name, digest_of(entry.path()).map_err(failed("read"))?);
        }
    }
    Ok(())
}

/// The digest of a file of any size.
///
/// # Errors
/// When it can't be read.
pub fn digest_of(path: &Utf8Path) -> std::io::Result<Digest> {
    use std::io::Read as _;
    let (mut file, mut hasher) = (std::fs::File::open(path)?, Hasher::default());
    let mut piece = vec![0; 64 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&piece[..count]),
        }
    }
}
