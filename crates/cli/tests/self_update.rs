//! `handover self-update` from a signed repository on a plain file server.

#![expect(clippy::unwrap_used, reason = "tests")]

mod real_server {
    pub(super) mod files;
    pub(super) mod publisher;
}

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use real_server::files::FileServer;
use real_server::publisher::Publisher;

/// A publisher, a file server, and a copy of `handover` that may replace itself.
struct Scene {
    directory: tempfile::TempDir,
    publisher: Publisher,
    url: String,
}

impl Scene {
    fn set() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let publisher = Publisher::set_up(directory.path(), "handover-cli");
        let url = FileServer::start(publisher.public()).url();
        std::fs::create_dir(directory.path().join("bin")).unwrap();
        let scene = Self { directory, publisher, url };
        std::fs::copy(env!("CARGO_BIN_EXE_handover"), scene.program()).unwrap();
        scene
    }

    fn program(&self) -> PathBuf {
        self.directory.path().join("bin/handover")
    }

    /// Publishes a program that says that it is `says`.
    fn release(&self, version: &str, sequence: u64, says: &str) {
        let payload = self.directory.path().join(format!("payload-{version}"));
        std::fs::create_dir_all(payload.join("bin")).unwrap();
        let program = payload.join("bin/handover");
        put(&program, &format!("#!/bin/sh\necho handover {says}\n"));
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let manifest = format!(
            "format: 1\ncomponent: handover-cli\nversion: {version}\nsequence: {sequence}\n\
             upgrades_from: \"<{version}\"\nservice:\n  executable: bin/handover\n"
        );
        self.publisher.release(&manifest, &payload);
    }

    /// Takes a version back.
    fn revoke(&self, version: &str) {
        let document = "repository/staging/component-handover-cli.tosign.json";
        let revoke = ["release", "revoke", "--repo", "repository", "handover-cli", version];
        for words in [
            &[&revoke[..], &["--reason", "a test"]].concat()[..],
            &["release", "sign", document, "--key", "release.pem"],
            &["release", "publish", "repository"],
        ] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_handover"));
            let output = command.args(words).current_dir(self.directory.path()).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }

    fn run(&self, program: &Path, words: &[&str]) -> Output {
        let root = self.publisher.first_root();
        Command::new(program)
            .args(["--output", "json", "self-update", "--repository", &self.url, "--trusted-root"])
            .arg(root)
            .args(words)
            .env("HOME", self.directory.path())
            .env_remove("XDG_CONFIG_HOME")
            .output()
            .unwrap()
    }

    /// Runs it; the exit code and the JSON.
    fn told(&self, words: &[&str]) -> (Option<i32>, serde_json::Value) {
        let output = self.run(&self.program(), words);
        let told = serde_json::from_slice(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        (output.status.code(), told.unwrap_or_else(|error| panic!("{error}: {err}")))
    }

    fn is_a_script(&self) -> bool {
        std::fs::read(self.program()).unwrap().starts_with(b"#!")
    }
}

fn put(path: &Path, text: &str) {
    #[expect(clippy::disallowed_methods, reason = "a test's input, not a host's file")]
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_newer_version_takes_the_program_s_place_and_the_old_one_is_kept() {
    let scene = Scene::set();
    scene.release("9.1.0", 1, "9.1.0");
    let (code, told) = scene.told(&["--check"]);
    assert_eq!(
        (code, told["next"].as_str(), told["updated"].as_bool()),
        (Some(0), Some("9.1.0"), Some(false))
    );
    assert!(!scene.is_a_script());

    let (code, told) = scene.told(&[]);
    assert_eq!((code, told["updated"].as_bool()), (Some(0), Some(true)), "{told}");
    assert!(scene.is_a_script());
    let previous = scene.program().with_file_name("handover.previous");
    let old = std::fs::metadata(env!("CARGO_BIN_EXE_handover")).unwrap().len();
    assert_eq!(previous.metadata().unwrap().len(), old);
    let left: Vec<_> = std::fs::read_dir(previous.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 2, "something was left beside them: {left:?}");
}

#[test]
fn what_was_once_installed_is_never_followed_by_something_older() {
    let scene = Scene::set();
    scene.release("9.2.0", 2, "9.2.0");
    assert_eq!(scene.told(&[]).0, Some(0));
    // The old program again, and a repository whose newest usable version is older than the floor.
    std::fs::remove_file(scene.program()).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_handover"), scene.program()).unwrap();
    scene.revoke("9.2.0");
    scene.release("9.1.0", 3, "9.1.0");
    let (code, told) = scene.told(&[]);
    assert_eq!((code, told["updated"].as_bool()), (Some(0), Some(false)), "{told}");
    assert!(!scene.is_a_script());
}

#[test]
fn a_program_that_fails_its_own_test_changes_nothing() {
    let scene = Scene::set();
    scene.release("9.1.0", 1, "8.0.0");
    let (code, told) = scene.told(&[]);
    assert_eq!((code, told["error"].as_str()), (Some(4), Some("self-update.self-test")));
    assert!(!scene.is_a_script());
    // It raised no floor: a good one of the same version may follow.
    scene.release("9.1.1", 2, "9.1.1");
    assert_eq!(scene.told(&[]).0, Some(0));
}

#[test]
fn bytes_that_are_not_the_signed_ones_are_refused() {
    let scene = Scene::set();
    scene.release("9.1.0", 1, "9.1.0");
    let targets = scene.publisher.public().join("targets/handover-cli/9.1.0");
    let package = std::fs::read_dir(targets).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&package).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    #[expect(clippy::disallowed_methods, reason = "what an attacker would do")]
    std::fs::write(&package, bytes).unwrap();
    let (code, told) = scene.told(&[]);
    assert_eq!((code, told["error"].as_str()), (Some(3), Some("download.digest")), "{told}");
    assert!(!scene.is_a_script());
}

#[test]
fn without_a_root_to_trust_nothing_is_fetched() {
    let scene = Scene::set();
    let output = Command::new(scene.program())
        .args(["self-update", "--repository", &scene.url])
        .env("HOME", scene.directory.path())
        .env_remove("XDG_CONFIG_HOME")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--trusted-root"));
}
