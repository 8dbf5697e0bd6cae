//! A publisher's desk: keyholders, a repository, and the real command.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A directory with keys and a repository in it.
pub(crate) struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    /// Keys of `holders` and nothing else.
    pub(crate) fn new(holders: &[&str]) -> Self {
        let desk = Self { directory: tempfile::tempdir().unwrap() };
        for holder in holders {
            let key = format!("keys/{holder}.pem");
            desk.run(&["repo", "new-key", &key, "--owner", holder, "--no-passphrase"]);
        }
        desk
    }

    /// A published repository: two root keys of alice and bob, component `web` of carol and dave.
    pub(crate) fn with_repository(more_holders: &[&str]) -> Self {
        let mut holders = vec!["alice", "bob", "carol", "dave"];
        holders.extend(more_holders);
        let desk = Self::new(&holders);
        let (alice, bob) = ("keys/alice.pub", "keys/bob.pub");
        desk.run(&[
            "repo",
            "init",
            "repo",
            "--root-key",
            alice,
            "--root-key",
            bob,
            "--threshold",
            "2",
        ]);
        let (carol, dave) = ("keys/carol.pub", "keys/dave.pub");
        desk.run(&[
            "repo",
            "add-key",
            "repo",
            "--component",
            "web",
            "--key",
            carol,
            "--key",
            dave,
            "--threshold",
            "2",
        ]);
        desk.sign(&["alice", "bob"], &["root", "targets"]);
        desk.run(&["release", "publish", "repo"]);
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs `handover` here.
    pub(crate) fn try_run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_handover"));
        command.args(arguments).current_dir(self.directory.path());
        command.env_remove("HANDOVER_PASSPHRASE").stdin(std::process::Stdio::null());
        command.output().unwrap()
    }

    /// Runs it and expects success; says what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let done = self.try_run(arguments);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "handover {}: {said}", arguments.join(" "));
        String::from_utf8(done.stdout).unwrap()
    }

    /// Runs it and expects this exit code; says what it complained of.
    pub(crate) fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let done = self.try_run(arguments);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(code), "handover {}: {said}", arguments.join(" "));
        said
    }

    /// Each holder signs each staged document.
    pub(crate) fn sign(&self, holders: &[&str], roles: &[&str]) {
        for holder in holders {
            let key = format!("keys/{holder}.pem");
            let mut arguments = vec!["release", "sign", "--key", &key];
            let files: Vec<_> =
                roles.iter().map(|role| format!("repo/staging/{role}.tosign.json")).collect();
            arguments.extend(files.iter().map(String::as_str));
            self.run(&arguments);
        }
    }

    /// Writes a file, with its parents.
    pub(crate) fn write(&self, name: &str, text: &str, executable: bool) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), text.as_bytes())
            .unwrap();
        let mode = if executable { 0o755 } else { 0o644 };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Describes and builds a release of `web`; says where the package is.
    pub(crate) fn build(&self, version: &str, sequence: u64, into: &str) -> String {
        self.write("release.yaml", &description(version, sequence), false);
        self.write("payload/bin/web", &format!("#!/bin/sh\necho {version}\n"), true);
        self.write("upgrade", "#!/bin/sh\nexit 0\n", true);
        self.run(&[
            "release",
            "build",
            "release.yaml",
            "--platform",
            "any",
            "--payload",
            "payload",
            "--entrypoint",
            "upgrade",
            "--out",
            into,
        ]);
        format!("{into}/web-{version}-any.tar.zst")
    }

    /// Builds, stages, signs and publishes a release of `web`.
    pub(crate) fn release(&self, version: &str, sequence: u64, signers: &[&str]) {
        let package = self.build(version, sequence, "out");
        self.run(&["release", "stage", "--repo", "repo", &package]);
        self.sign(signers, &["component-web"]);
        self.run(&["release", "publish", "repo"]);
    }

    /// Every file below a directory with its bytes.
    pub(crate) fn tree(&self, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
        fn collect(at: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in std::fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    collect(&path, files);
                } else {
                    files.push((path.clone(), std::fs::read(&path).unwrap()));
                }
            }
        }
        let mut files = Vec::new();
        collect(&self.path(name), &mut files);
        files.sort();
        files
    }
}

fn description(version: &str, sequence: u64) -> String {
    format!(
        "format: 1\ncomponent: web\nversion: {version}\nsequence: {sequence}\n\
         upgrades_from: \"<{version}\"\nreturn_within: 1h\nservice:\n  executable: bin/web\n"
    )
}
