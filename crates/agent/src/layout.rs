//! Where things lie under a host's root (DESIGN 5.1), and nothing more.

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::{ComponentName, Digest, ReleaseId, RunId};

/// A host's root directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: Utf8PathBuf,
}

impl Layout {
    /// The layout under `root`, an absolute path.
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

    /// Repository metadata, floors and ledger: what never reverts.
    pub fn trust(&self) -> Utf8PathBuf {
        self.root.join("trust")
    }

    /// Downloads and what is unpacked from them.
    pub fn incoming(&self) -> Utf8PathBuf {
        self.root.join("incoming")
    }

    /// An unpacked package that is not installed yet.
    pub fn unpacked(&self, digest: &Digest) -> Utf8PathBuf {
        self.incoming().join(digest.to_string())
    }

    /// All components.
    pub fn components(&self) -> Utf8PathBuf {
        self.root.join("components")
    }

    /// One component.
    pub fn component(&self, name: &ComponentName) -> Utf8PathBuf {
        self.components().join(name.as_str())
    }

    /// A component's slots generations.
    pub fn slots(&self, name: &ComponentName) -> Utf8PathBuf {
        self.component(name).join("slots")
    }

    /// An installed package.
    pub fn release(&self, name: &ComponentName, release: &ReleaseId) -> Utf8PathBuf {
        self.component(name).join("releases").join(release.directory())
    }

    /// A component's upgrade runs.
    pub fn runs(&self, name: &ComponentName) -> Utf8PathBuf {
        self.component(name).join("runs")
    }

    /// One upgrade run.
    pub fn run(&self, name: &ComponentName, run: &RunId) -> Utf8PathBuf {
        self.runs(name).join(run.to_string())
    }

    /// Held by whoever updates the component.
    pub fn update_lock(&self, name: &ComponentName) -> Utf8PathBuf {
        self.component(name).join("update.lock")
    }

    /// What became of the agent's attempts to update the component.
    pub fn attempts(&self, name: &ComponentName) -> Utf8PathBuf {
        self.component(name).join("attempts.json")
    }
}
