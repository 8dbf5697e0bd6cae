//! A control plane with a repository, and hosts that enrol there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::desk::Desk;
use super::server::Server;

/// A server that somebody is logged in to.
pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) desk: Desk,
}

impl Site {
    /// A new server, and a person who has used its first token.
    pub(crate) fn new() -> Self {
        let desk = Desk::new();
        let server = Server::start(&desk.home().join("server"));
        desk.well(&["login", &server.token, "--context", "site"]);
        Self { server, desk }
    }

    /// The same with a repository for `web`, whose releases are signed by one key.
    pub(crate) fn with_repository() -> Self {
        let site = Self::new();
        let desk = &site.desk;
        desk.well(&["repo", "new-key", "root.pem", "--no-passphrase"]);
        desk.well(&["repo", "new-key", "release.pem", "--no-passphrase"]);
        desk.well(&["repo", "init", "repository", "--root-key", "root.pub"]);
        desk.well(&[
            "repo",
            "add-key",
            "repository",
            "--component",
            "web",
            "--key",
            "release.pub",
            "--threshold",
            "1",
        ]);
        let staged = |role: &str| format!("repository/staging/{role}.tosign.json");
        let (root, targets) = (staged("root"), staged("targets"));
        desk.well(&["release", "sign", &root, &targets, "--key", "root.pem"]);
        desk.well(&["release", "publish", "repository", "--server"]);
        site
    }

    /// Builds, signs and publishes a version of the sample service.
    pub(crate) fn release(&self, version: &str) {
        let desk = &self.desk;
        let directory = desk.home().join(format!("web-{version}"));
        let assemble = checkout().join("examples/web/assemble");
        let done = Command::new(assemble)
            .arg(version)
            .arg(program("handover-sample-web"))
            .arg(&directory)
            .status()
            .unwrap();
        assert!(done.success());
        let manifest = directory.join("release.yaml");
        let payload = directory.join("payload");
        let platform = format!("linux-{}", std::env::consts::ARCH);
        desk.well(&[
            "release",
            "build",
            manifest.to_str().unwrap(),
            "--platform",
            &platform,
            "--payload",
            payload.to_str().unwrap(),
            "--out",
            "packages",
        ]);
        let package = format!("packages/web-{version}-{platform}.tar.zst");
        desk.well(&["release", "stage", "--repo", "repository", &package]);
        let document = "repository/staging/component-web.tosign.json";
        desk.well(&["release", "sign", document, "--key", "release.pem"]);
        desk.well(&["release", "publish", "repository", "--server"]);
    }

    /// Enrols a host; its agent does not run.
    pub(crate) fn enrol(&self, name: &str) -> PathBuf {
        let token = self.desk.well(&["token", "create"]);
        let root = self.desk.home().join("hosts").join(name);
        let enrolled = Command::new(program("handover-agent"))
            .arg("--root")
            .arg(&root)
            .args(["enroll", token.trim(), "--name", name])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            enrolled.status.success(),
            "enroll: {}{}",
            String::from_utf8_lossy(&enrolled.stdout),
            String::from_utf8_lossy(&enrolled.stderr)
        );
        root
    }
}

/// A program of this workspace, built beside `handover`.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_handover")).with_file_name(name);
    assert!(path.exists(), "{} is missing: cargo build --workspace --bins", path.display());
    path
}

/// The repository's checkout.
pub(crate) fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}
