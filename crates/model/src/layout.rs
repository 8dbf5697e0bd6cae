//! Where everything lies under a host's root (DESIGN 5.1). Names alone: nothing is looked at.

use camino::{Utf8Path, Utf8PathBuf};

use crate::{ComponentName, Digest, ReleaseId, RunId};

/// The paths of one component under one root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: Utf8PathBuf,
    component: ComponentName,
}

impl Layout {
    /// The paths of `component` under `root`.
    pub fn new(root: impl Into<Utf8PathBuf>, component: ComponentName) -> Self {
        Self { root: root.into(), component }
    }

    /// The host's root.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// The component.
    pub fn component(&self) -> &ComponentName {
        &self.component
    }

    /// The component's directory, `components/<name>`: what `${root}` stands for.
    pub fn directory(&self) -> Utf8PathBuf {
        self.root.join("components").join(self.component.as_str())
    }

    /// The slots' generations.
    pub fn slots(&self) -> Utf8PathBuf {
        self.directory().join("slots")
    }

    /// The installed releases.
    pub fn releases(&self) -> Utf8PathBuf {
        self.directory().join("releases")
    }

    /// One installed release.
    pub fn release(&self, release: &ReleaseId) -> Utf8PathBuf {
        self.releases().join(release.directory())
    }

    /// The state directories, `<schema>.<n>`.
    pub fn states(&self) -> Utf8PathBuf {
        self.directory().join("state")
    }

    /// One state directory.
    pub fn state(&self, schema: u32, number: u32) -> Utf8PathBuf {
        self.states().join(format!("{schema}.{number}"))
    }

    /// The configuration directories, `<n>`.
    pub fn configs(&self) -> Utf8PathBuf {
        self.directory().join("config")
    }

    /// One configuration directory.
    pub fn config(&self, number: u32) -> Utf8PathBuf {
        self.configs().join(number.to_string())
    }

    /// The runs of upgrades.
    pub fn runs(&self) -> Utf8PathBuf {
        self.directory().join("runs")
    }

    /// One run: `journal.jsonl`, `blobs/`, `order.json`, `lock`, `outcome.json`.
    pub fn run(&self, run: RunId) -> Utf8PathBuf {
        self.runs().join(run.to_string())
    }

    /// Held by whoever works on an upgrade of this component that is not committed yet.
    pub fn upgrade_lock(&self) -> Utf8PathBuf {
        self.directory().join("upgrade.lock")
    }

    /// Held by the launcher for as long as it lives.
    pub fn launcher_lock(&self) -> Utf8PathBuf {
        self.directory().join("launcher.lock")
    }

    /// The launcher's own record, see [`crate::LaunchRecord`].
    pub fn launches(&self) -> Utf8PathBuf {
        self.directory().join("launches.jsonl")
    }

    /// Where a package is unpacked before it is installed.
    pub fn incoming(&self, digest: &Digest) -> Utf8PathBuf {
        self.root.join("incoming").join(digest.to_string())
    }

    /// The launcher's executable.
    pub fn launcher(&self) -> Utf8PathBuf {
        self.root.join("bin/handover-launch")
    }
}
