//! The publisher's side, with the `handover` command alone.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One person with one root key and one release key.
pub(crate) struct Publisher {
    directory: PathBuf,
    component: String,
}

impl Publisher {
    pub(crate) fn set_up(directory: &Path, component: &str) -> Self {
        let publisher = Self { directory: directory.to_owned(), component: component.to_owned() };
        publisher.handover(&["repo", "new-key", "root.pem", "--no-passphrase"]);
        publisher.handover(&["repo", "new-key", "release.pem", "--no-passphrase"]);
        publisher.handover(&["repo", "init", "repository", "--root-key", "root.pub"]);
        publisher.sign("root", "root.pem");
        publisher.sign("targets", "root.pem");
        publisher.handover(&["release", "publish", "repository"]);
        publisher.handover(&[
            "repo",
            "add-key",
            "repository",
            "--component",
            component,
            "--key",
            "release.pub",
            "--threshold",
            "1",
        ]);
        publisher.sign("targets", "root.pem");
        publisher
    }

    pub(crate) fn public(&self) -> PathBuf {
        self.directory.join("repository/public")
    }

    pub(crate) fn first_root(&self) -> PathBuf {
        self.public().join("metadata/1.root.json")
    }

    /// Builds, signs and publishes a release of `payload`.
    pub(crate) fn release(&self, manifest: &str, payload: &Path) {
        let description = self.directory.join("release.yaml");
        #[expect(clippy::disallowed_methods, reason = "a test's input, not a host's file")]
        std::fs::write(&description, manifest).unwrap();
        let packages = tempfile::tempdir_in(&self.directory).unwrap();
        let out = packages.path().to_str().unwrap();
        self.handover(&[
            "release",
            "build",
            "release.yaml",
            "--platform",
            "linux-x86_64",
            "--payload",
            payload.to_str().unwrap(),
            "--out",
            out,
        ]);
        let made = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
        let names: Vec<_> = made.map(|path| path.to_str().unwrap().to_owned()).collect();
        let package = names.iter().find(|name| name.ends_with(".tar.zst")).unwrap();
        self.handover(&["release", "stage", "--repo", "repository", package]);
        self.sign(&format!("component-{}", self.component), "release.pem");
        self.handover(&["release", "publish", "repository"]);
    }

    fn sign(&self, role: &str, key: &str) {
        let document = format!("repository/staging/{role}.tosign.json");
        self.handover(&["release", "sign", &document, "--key", key]);
    }

    fn handover(&self, words: &[&str]) {
        let output = Command::new(env!("CARGO_BIN_EXE_handover"))
            .args(words)
            .current_dir(&self.directory)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "handover {}: {}\n{}",
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
