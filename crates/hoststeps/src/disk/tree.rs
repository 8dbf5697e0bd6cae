//! Whole trees: digest, copy, removal, ownership. Links are never followed.
//!
//! Trees may belong to a component's user, who may change them while we, root, are at work. So
//! below a tree's own name nothing is reached by path: each directory is opened without following
//! links, and its entries are reached through that descriptor.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::{Digest, Hasher};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid};

use super::{aside_name, failed, rename, sync_dir, sync_parent};
use crate::HostError;

/// How deep a tree may be; deeper ones are refused rather than followed for ever.
const MAX_DEPTH: usize = 128;

/// A digest over names, kinds, modes and contents of everything below `path`, or of the one file;
/// `None` when nothing is there. Owners and times don't count.
///
/// # Errors
/// [`HostError::Io`]; [`HostError::Surprise`] when the tree is too deep or a name is not UTF-8.
pub fn digest_tree(path: &Utf8Path) -> Result<Option<Digest>, HostError> {
    let Some(meta) = metadata(path)? else { return Ok(None) };
    if meta.is_file() {
        let mut hasher = Hasher::default();
        digest_file(path, &mut hasher)?;
        return Ok(Some(hasher.finish()));
    }
    let mut hasher = Hasher::default();
    walk(path, &mut |entry, at, meta| {
        let name = entry.strip_prefix(path).unwrap_or(entry);
        let kind = kind_letter(meta);
        hasher.update(
            format!("{kind} {:o} {} ", meta.mode() & 0o7777, name.as_str().len()).as_bytes(),
        );
        hasher.update(name.as_str().as_bytes());
        if meta.is_file() {
            hasher.update(format!(" {} ", meta.len()).as_bytes());
            digest_file(at, &mut hasher)?;
        } else if meta.is_symlink() {
            let aim = fs::read_link(at).map_err(|source| failed("read link", entry, source))?;
            hasher.update(aim.as_os_str().as_encoded_bytes());
        }
        hasher.update(b"\n");
        Ok(())
    })?;
    Ok(Some(hasher.finish()))
}

/// Copies a tree or file (modes, owners and links kept, everything fsynced) to a place where
/// nothing may be yet. Cut short, `to` does not exist: the copy is made aside and renamed.
///
/// # Errors
/// [`HostError::Surprise`] when something is at `to`, or `from` holds a device, socket or pipe;
/// [`HostError::Io`].
pub fn copy_tree(from: &Utf8Path, to: &Utf8Path) -> Result<(), HostError> {
    if metadata(to)?.is_some() {
        let what = "something is there already, and nothing may be replaced".to_owned();
        return Err(HostError::Surprise { path: to.to_owned(), what });
    }
    let aside = aside_name(to);
    remove_now(&aside)?;
    let mut top = None;
    let copied = walk(from, &mut |entry, at, meta| {
        let rest = entry.strip_prefix(from).unwrap_or(entry);
        if !rest.as_str().is_empty() {
            copy_one((entry, at), meta, &aside.join(rest))?;
            return keep_owner_and_mode(meta, &aside.join(rest));
        }
        // Ours alone until it is whole: whoever owns what is below can't reach it before.
        top = Some(meta.clone());
        copy_one((entry, at), meta, &aside)
    })
    .and_then(|()| sync_tree(&aside))
    .and_then(|()| top.as_ref().map_or(Ok(()), |meta| keep_owner_and_mode(meta, &aside)))
    .and_then(|()| if aside.is_dir() { sync_dir(&aside) } else { Ok(()) })
    .and_then(|()| rename(&aside, to));
    if copied.is_err() {
        remove_now(&aside)?;
    }
    copied
}

/// Removes a file or a tree if it is there: renamed aside first, so that what is half removed is
/// never found under its old name.
///
/// # Errors
/// [`HostError::Io`].
pub fn remove_tree(path: &Utf8Path) -> Result<(), HostError> {
    if metadata(path)?.is_none() {
        return Ok(());
    }
    let aside = aside_name(path);
    remove_now(&aside)?;
    fs::rename(path, &aside).map_err(|source| failed("remove", path, source))?;
    sync_parent(path)?;
    remove_now(&aside)
}

/// Gives a tree to a user and that user's group.
///
/// # Errors
/// [`HostError::Io`].
pub fn chown_tree(path: &Utf8Path, uid: u32, gid: u32) -> Result<(), HostError> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    walk(path, &mut |entry, at, meta| {
        if meta.uid() == uid.as_raw() && meta.gid() == gid.as_raw() {
            return Ok(());
        }
        rustix::fs::chownat(CWD, at.as_std_path(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed("give away", entry, errno.into()))
    })
}

/// How many bytes the files below `path` hold; 0 when nothing is there.
///
/// # Errors
/// [`HostError::Io`].
pub fn tree_bytes(path: &Utf8Path) -> Result<u64, HostError> {
    if metadata(path)?.is_none() {
        return Ok(0);
    }
    let mut sum = 0u64;
    walk(path, &mut |_entry, _at, meta| {
        // A small file still takes a block.
        sum = sum.saturating_add(meta.len().max(4096));
        Ok(())
    })?;
    Ok(sum)
}

/// Makes everything below `path` durable, its own name excepted.
///
/// # Errors
/// [`HostError::Io`].
pub fn sync_tree(path: &Utf8Path) -> Result<(), HostError> {
    walk(path, &mut |entry, at, meta| {
        if meta.is_dir() {
            sync_dir(at)
        } else if meta.is_file() {
            open_as_it_is(at)
                .and_then(|file| file.sync_all())
                .map_err(|source| failed("fsync", entry, source))
        } else {
            Ok(())
        }
    })
}

/// Removes without a rename first; for names that nobody looks at.
pub(crate) fn remove_now(path: &Utf8Path) -> Result<(), HostError> {
    let removed = match metadata(path)? {
        None => return Ok(()),
        Some(meta) if meta.is_dir() => {
            open_up(path, &meta);
            fs::remove_dir_all(path)
        }
        Some(_) => fs::remove_file(path),
    };
    match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", path, source))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(crate) fn metadata(path: &Utf8Path) -> Result<Option<Metadata>, HostError> {
    match path.symlink_metadata() {
        Ok(meta) => Ok(Some(meta)),
        Err(source)
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(source) => Err(failed("stat", path, source)),
    }
}

/// A directory that its owner can't enter can't be emptied either.
fn open_up(path: &Utf8Path, meta: &Metadata) {
    if meta.mode() & 0o700 != 0o700 {
        let opened = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
        if let Err(source) = opened {
            tracing::debug!(path = %path, error = %source, "could not open a directory up");
        }
    }
}

/// What is to be done with an entry: its path for people, where it is reached, and what it is.
pub(super) type Visit<'a> =
    &'a mut dyn FnMut(&Utf8Path, &Utf8Path, &Metadata) -> Result<(), HostError>;

/// Visits `path` and everything below it, parents first, names sorted.
pub(super) fn walk(path: &Utf8Path, visit: Visit<'_>) -> Result<(), HostError> {
    walk_below(path, path, 0, visit)
}

fn walk_below(
    path: &Utf8Path,
    at: &Utf8Path,
    depth: usize,
    visit: Visit<'_>,
) -> Result<(), HostError> {
    if depth > MAX_DEPTH {
        let what = format!("more than {MAX_DEPTH} directories deep");
        return Err(HostError::Surprise { path: path.to_owned(), what });
    }
    let meta = at.symlink_metadata().map_err(|source| failed("stat", path, source))?;
    visit(path, at, &meta)?;
    if !meta.is_dir() {
        return Ok(());
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::open(at.as_std_path(), flags, Mode::empty())
        .map_err(|errno| failed("list", path, errno.into()))?;
    let inside = Utf8PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
    let mut below: Vec<String> = Vec::new();
    for entry in fs::read_dir(&inside).map_err(|source| failed("list", path, source))? {
        let entry = entry.map_err(|source| failed("list", path, source))?;
        let found = entry.file_name().into_string().map_err(|odd| HostError::Surprise {
            path: path.to_owned(),
            what: format!("holds a name that is not UTF-8: {}", odd.display()),
        })?;
        below.push(found);
    }
    below.sort();
    let into = |name: &String| walk_below(&path.join(name), &inside.join(name), depth + 1, visit);
    below.iter().try_for_each(into)
}

/// Opens a regular file to read, but not what a link leads to, and without waiting for a pipe's
/// other end: it may have been changed since it was looked at.
fn open_as_it_is(at: &Utf8Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(at.as_std_path(), flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other("it is no regular file any more"))
}

/// Without owner and mode. `entry` is for people, `from` where it is reached.
fn copy_one(
    (entry, from): (&Utf8Path, &Utf8Path),
    meta: &Metadata,
    to: &Utf8Path,
) -> Result<(), HostError> {
    let act = |act| move |source| failed(act, entry, source);
    match FileType::from_raw_mode(meta.mode()) {
        FileType::Directory => fs::DirBuilder::new().mode(0o700).create(to).map_err(act("copy")),
        FileType::Symlink => {
            let aim = fs::read_link(from).map_err(act("read link"))?;
            std::os::unix::fs::symlink(aim, to).map_err(act("copy"))
        }
        FileType::RegularFile => {
            let mut made = OpenOptions::new();
            made.write(true).create_new(true).mode(0o600);
            // Shares blocks or copies inside the kernel where the file system can.
            open_as_it_is(from)
                .and_then(|mut from| io::copy(&mut from, &mut made.open(to)?))
                .map(drop)
                .map_err(act("copy"))
        }
        FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Err(odd_kind(entry)),
    }
}

fn keep_owner_and_mode(meta: &Metadata, to: &Utf8Path) -> Result<(), HostError> {
    keep_owner(meta, to)?;
    if meta.is_symlink() {
        return Ok(());
    }
    // After the owner: changing an owner clears set-id bits. Directories stay open to us until
    // they are filled, which an owner always is allowed to see to.
    let mode = if meta.is_dir() { meta.mode() | 0o700 } else { meta.mode() };
    rustix::fs::chmod(to.as_std_path(), Mode::from_raw_mode(mode & 0o7777))
        .map_err(|errno| failed("set mode of", to, errno.into()))
}

fn keep_owner(meta: &Metadata, to: &Utf8Path) -> Result<(), HostError> {
    let made = to.symlink_metadata().map_err(|source| failed("stat", to, source))?;
    if (made.uid(), made.gid()) == (meta.uid(), meta.gid()) {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()));
    rustix::fs::chownat(CWD, to.as_std_path(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| failed("give away", to, errno.into()))
}

fn odd_kind(path: &Utf8Path) -> HostError {
    let what =
        "a device, socket or pipe can't be copied: remove it, or make it at start".to_owned();
    HostError::Surprise { path: path.to_owned(), what }
}

fn digest_file(path: &Utf8Path, hasher: &mut Hasher) -> Result<(), HostError> {
    let mut file = open_as_it_is(path).map_err(|source| failed("open", path, source))?;
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => hasher.update(&piece[..count]),
            Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(failed("read", path, source)),
        }
    }
}

fn kind_letter(meta: &Metadata) -> char {
    if meta.is_dir() {
        'd'
    } else if meta.is_symlink() {
        'l'
    } else if meta.is_file() {
        'f'
    } else {
        'o'
    }
}
