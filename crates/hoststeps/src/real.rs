//! The machine itself.

use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::{CheckKind, ComponentName, Digest, Layout, Slots};

use crate::disk::{self, SlotsStore};
use crate::{
    CheckAnswer, CommandSpec, Entry, EntryKind, Host, HostError, Output, Published, Running,
};

mod check;
mod exec;
mod running;
mod users;

pub use users::{User, user_named};

/// The machine, with the root that holds its components.
#[derive(Debug)]
pub struct RealHost {
    root: Utf8PathBuf,
    executables: running::Executables,
}

impl RealHost {
    /// The machine with its root at `root`, an absolute path.
    pub fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self { root: root.into(), executables: running::Executables::default() }
    }

    fn layout(&self, component: &ComponentName) -> Layout {
        Layout::new(self.root.clone(), component.clone())
    }

    fn store(&self, component: &ComponentName) -> SlotsStore {
        SlotsStore::new(self.layout(component).slots())
    }
}

impl Host for RealHost {
    fn read(&self, path: &Utf8Path) -> Result<Option<Vec<u8>>, HostError> {
        disk::read(path)
    }

    fn stat(&self, path: &Utf8Path) -> Result<Option<Entry>, HostError> {
        Ok(disk::metadata(path)?.map(|meta| entry_of(path, &meta)))
    }

    fn list(&self, path: &Utf8Path) -> Result<Option<Vec<Entry>>, HostError> {
        let failed = |act| move |source| HostError::Io { act, path: path.to_owned(), source };
        let entries = match path.read_dir_utf8() {
            Ok(entries) => entries,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("list")(source)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("list"))?;
            // Gone since it was listed: as good as never seen.
            found.extend(self.stat(entry.path())?);
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Some(found))
    }

    fn digest(&self, path: &Utf8Path) -> Result<Option<Digest>, HostError> {
        disk::digest_tree(path)
    }

    fn free_bytes(&self, path: &Utf8Path) -> Result<u64, HostError> {
        let there = path.ancestors().find(|path| path.exists()).unwrap_or(Utf8Path::new("/"));
        let stat = rustix::fs::statvfs(there.as_std_path()).map_err(|errno| HostError::Io {
            act: "ask for the free space of",
            path: there.to_owned(),
            source: errno.into(),
        })?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn make_dir(&mut self, path: &Utf8Path) -> Result<(), HostError> {
        disk::make_dir(path)
    }

    fn make_private_dir(&mut self, path: &Utf8Path) -> Result<(), HostError> {
        disk::make_dir_mode(path, 0o750)
    }

    fn write(&mut self, path: &Utf8Path, bytes: &[u8], mode: u32) -> Result<(), HostError> {
        disk::write(path, bytes, mode)
    }

    fn rename(&mut self, from: &Utf8Path, to: &Utf8Path) -> Result<(), HostError> {
        disk::rename(from, to)
    }

    fn copy_tree(&mut self, from: &Utf8Path, to: &Utf8Path) -> Result<(), HostError> {
        disk::copy_tree(from, to)
    }

    fn remove(&mut self, path: &Utf8Path) -> Result<(), HostError> {
        disk::remove_tree(path)
    }

    fn chown_tree(&mut self, path: &Utf8Path, user: &str) -> Result<(), HostError> {
        let user = user_named(user)?;
        disk::chown_tree(path, user.uid, user.gid)
    }

    fn exec(&mut self, command: &CommandSpec) -> Result<Output, HostError> {
        exec::run(command)
    }

    fn slots(&self, component: &ComponentName) -> Result<Slots, HostError> {
        self.store(component).load()
    }

    fn publish_slots(
        &mut self,
        component: &ComponentName,
        slots: &Slots,
    ) -> Result<Published, HostError> {
        self.store(component).publish(slots)
    }

    fn running(&self, component: &ComponentName) -> Result<Running, HostError> {
        self.executables.running(&self.layout(component))
    }

    fn check(&self, check: &CheckKind, directory: &Utf8Path) -> Result<CheckAnswer, HostError> {
        Ok(check::perform(check, directory))
    }
}

fn entry_of(path: &Utf8Path, meta: &std::fs::Metadata) -> Entry {
    let kind = if meta.is_file() {
        EntryKind::File
    } else if meta.is_dir() {
        EntryKind::Directory
    } else if meta.is_symlink() {
        EntryKind::Link
    } else {
        EntryKind::Other
    };
    Entry {
        name: path.file_name().unwrap_or_default().to_owned(),
        kind,
        len: if meta.is_dir() { 0 } else { meta.len() },
        mode: meta.mode() & 0o7777,
    }
}

#[cfg(test)]
mod tests;
