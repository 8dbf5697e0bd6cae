//! The slots of one component on disk: one file a generation, changed by compare-and-swap.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::{FramedError, SLOTS_FORMAT, Slots, open_framed, seal_framed};

use super::{clean_asides, failed, make_dir, read, sync_dir, write_new};
use crate::{HostError, Published};

/// How many generations are kept, the newest included.
pub const KEPT_GENERATIONS: u64 = 16;

/// A kept generation's number, and what its file holds.
pub type Generation = (u64, Result<Slots, HostError>);

/// The directory `components/<name>/slots`. Any number of processes may use it at once, under no
/// lock: a generation's file is created only if none of its number exists.
#[derive(Debug, Clone)]
pub struct SlotsStore {
    dir: Utf8PathBuf,
}

impl SlotsStore {
    /// The store in `dir`, which need not exist yet.
    pub fn new(dir: impl Into<Utf8PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory; its changes tell of new generations.
    pub fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    /// Where a generation lies.
    pub fn path(&self, generation: u64) -> Utf8PathBuf {
        self.dir.join(format!("{generation}.json"))
    }

    /// The newest generation; generation 0 and empty when there is none yet.
    ///
    /// # Errors
    /// [`HostError::Damaged`] when the newest is damaged: it is never taken for absent, and an
    /// older one is never taken in its place. [`HostError::Io`].
    pub fn load(&self) -> Result<Slots, HostError> {
        // A generation may be pruned between listing and reading, but only after newer ones were
        // published, so each round sees progress of others.
        loop {
            let Some(newest) = self.generations()?.last().copied() else {
                return Ok(Slots::default());
            };
            if let Some(slots) = self.read(newest)? {
                return Ok(slots);
            }
        }
    }

    /// One generation; `None` when it is not kept any more, or not there yet.
    ///
    /// # Errors
    /// [`HostError::Damaged`]; [`HostError::Io`].
    pub fn read(&self, generation: u64) -> Result<Option<Slots>, HostError> {
        let path = self.path(generation);
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let slots: Slots = open_framed("slots", SLOTS_FORMAT, &bytes)
            .map_err(|source| HostError::Damaged { path: path.clone(), source })?;
        if slots.generation == generation {
            Ok(Some(slots))
        } else {
            let what = format!("holds generation {}: it was renamed by hand", slots.generation);
            Err(HostError::Surprise { path, what })
        }
    }

    /// The numbers of all kept generations, rising.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn generations(&self) -> Result<Vec<u64>, HostError> {
        let entries = match self.dir.read_dir_utf8() {
            Ok(entries) => entries,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed("list", &self.dir, source)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| failed("list", &self.dir, source))?;
            found.extend(number_of(entry.file_name()));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Publishes `slots` under its own generation number if that number is the next one and still
    /// free, then prunes generations beyond [`KEPT_GENERATIONS`].
    ///
    /// # Errors
    /// [`HostError::Io`]. After one, whether the generation was published is unknown: load again.
    pub fn publish(&self, slots: &Slots) -> Result<Published, HostError> {
        make_dir(&self.dir)?;
        let wanted = slots.generation;
        let newest = self.generations()?.last().copied().unwrap_or(0);
        if newest.checked_add(1) != Some(wanted) {
            return Ok(Published::Taken);
        }
        let path = self.path(wanted);
        let bytes = seal_framed("slots", SLOTS_FORMAT, slots)
            .map_err(|source| HostError::Damaged { path: path.clone(), source })?;
        if !write_new(&path, &bytes, 0o644)? {
            return Ok(Published::Taken);
        }
        // Had others published so many generations since we looked that ours was pruned already,
        // the number would have been free a second time. Its predecessor is gone then too; it may
        // also be gone since others went on from ours while this process slept.
        let newest = self.generations()?.last().copied().unwrap_or(0);
        let was_pruned = newest >= wanted.saturating_add(KEPT_GENERATIONS);
        if wanted > 1 && was_pruned && !self.path(wanted - 1).exists() {
            super::tree::remove_now(&path)?;
            return Ok(Published::Taken);
        }
        self.prune(wanted)?;
        Ok(Published::Ours)
    }

    /// Every kept generation, rising, whole or damaged: for whoever mends.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn history(&self) -> Result<Vec<Generation>, HostError> {
        let mut all = Vec::new();
        for generation in self.generations()? {
            match self.read(generation) {
                Ok(Some(slots)) => all.push((generation, Ok(slots))),
                Ok(None) => {}
                Err(error) => all.push((generation, Err(error))),
            }
        }
        Ok(all)
    }

    fn prune(&self, newest: u64) -> Result<(), HostError> {
        let mut pruned = false;
        for old in self.generations()? {
            // Oldest first: a cut leaves no gap.
            if old.saturating_add(KEPT_GENERATIONS) <= newest {
                super::tree::remove_now(&self.path(old))?;
                pruned = true;
            }
        }
        if pruned {
            clean_asides(&self.dir)?;
            sync_dir(&self.dir)?;
        }
        Ok(())
    }
}

impl HostError {
    /// Whether the file is whole but of a format newer than this program reads.
    pub fn is_too_new(&self) -> bool {
        matches!(self, Self::Damaged { source: FramedError::TooNew { .. }, .. })
    }
}

/// Only the exact spelling that we write counts: `07.json` is a foreign file.
fn number_of(name: &str) -> Option<u64> {
    let number: u64 = name.strip_suffix(".json")?.parse().ok()?;
    (format!("{number}.json") == name && number > 0).then_some(number)
}
