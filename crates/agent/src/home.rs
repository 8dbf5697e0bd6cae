//! Where things that belong to no component lie under a host's root (DESIGN 5.1).

use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::HostError;
use handover_hoststeps::disk::SlotsStore;
use handover_model::{ComponentName, Layout, Slots};

use crate::repository::TrustStore;

/// A host's root directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: Utf8PathBuf,
}

impl Home {
    /// The host's files under `root`, an absolute path.
    pub fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The root itself.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// What the host follows, written by people.
    pub fn policy(&self) -> Utf8PathBuf {
        self.root.join("policy.yaml")
    }

    /// What people chose with commands: pins and added components.
    pub fn choices(&self) -> Utf8PathBuf {
        self.root.join("choices.json")
    }

    /// The launcher that the service manager starts.
    pub fn launcher(&self) -> Utf8PathBuf {
        self.root.join("bin/handover-launch")
    }

    /// What never reverts: repository metadata, floors and ledger.
    pub fn trust(&self) -> TrustStore {
        TrustStore::new(self.root.join("trust"))
    }

    /// Downloads and what is unpacked from them.
    pub fn incoming(&self) -> Utf8PathBuf {
        self.root.join("incoming")
    }

    /// All components.
    pub fn components(&self) -> Utf8PathBuf {
        self.root.join("components")
    }

    /// One component's paths.
    pub fn component(&self, name: &ComponentName) -> Layout {
        Layout::new(self.root.clone(), name.clone())
    }

    /// Held by whoever in this crate updates the component, from download to the entrypoint's
    /// answer.
    pub fn update_lock(&self, name: &ComponentName) -> Utf8PathBuf {
        self.component(name).directory().join("update.lock")
    }

    /// What became of the agent's attempts to update the component.
    pub fn attempts(&self, name: &ComponentName) -> Utf8PathBuf {
        self.component(name).directory().join("attempts.json")
    }

    /// The component's slots as they are now.
    ///
    /// # Errors
    /// [`HostError`]; a damaged file is never taken for none.
    pub fn slots(&self, name: &ComponentName) -> Result<Slots, HostError> {
        SlotsStore::new(self.component(name).slots()).load()
    }

    /// The components that have a directory here, by name.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn present(&self) -> Result<Vec<ComponentName>, HostError> {
        let dir = self.components();
        let failed = |source| HostError::Io { act: "list", path: dir.clone(), source };
        let entries = match dir.read_dir_utf8() {
            Ok(entries) => entries,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed(source)),
        };
        let mut names = Vec::new();
        for entry in entries {
            // A foreign file is doctor's business, not ours.
            names.extend(entry.map_err(failed)?.file_name().parse::<ComponentName>().ok());
        }
        names.sort();
        Ok(names)
    }
}
