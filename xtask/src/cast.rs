//! The releases and the repository that lanes play with: made with the `handover` command line, as
//! a person would, from variations of the sample service.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};

use crate::command;
use crate::dist::put;

/// A repository with its keys.
pub(crate) struct Cast {
    dir: Utf8PathBuf,
    programs: Utf8PathBuf,
}

impl Cast {
    /// Makes keys and an empty repository in `dir`, which is emptied first. `programs` holds the
    /// built executables.
    ///
    /// # Errors
    /// When the command line fails.
    pub(crate) fn begin(
        dir: &Utf8Path,
        programs: &Utf8Path,
        components: &[&str],
    ) -> anyhow::Result<Self> {
        if dir.exists() {
            fs::remove_dir_all(dir).with_context(|| format!("remove {dir}"))?;
        }
        fs::create_dir_all(dir).with_context(|| format!("make {dir}"))?;
        let cast = Self { dir: dir.to_owned(), programs: programs.to_owned() };
        let (root, release, repository) =
            (dir.join("root.pem"), dir.join("release.pem"), cast.repository());
        for key in [&root, &release] {
            cast.handover(&["repo", "new-key", key.as_str(), "--no-passphrase"])?;
        }
        let (root_public, release_public) = (dir.join("root.pub"), dir.join("release.pub"));
        let repository = repository.as_str();
        cast.handover(&["repo", "init", repository, "--root-key", root_public.as_str()])?;
        for component in components {
            let key = release_public.as_str();
            cast.handover(&[
                "repo",
                "add-key",
                repository,
                "--component",
                component,
                "--key",
                key,
            ])?;
        }
        cast.sign_and_publish(&root)?;
        Ok(cast)
    }

    /// The repository's directory, private parts included.
    fn repository(&self) -> Utf8PathBuf {
        self.dir.join("repository")
    }

    /// Signs whatever waits for a signature, and publishes it.
    fn sign_and_publish(&self, key: &Utf8Path) -> anyhow::Result<()> {
        let repository = self.repository();
        let staging = repository.join("staging");
        for entry in staging.read_dir_utf8().with_context(|| format!("list {staging}"))? {
            let document = entry?.into_path();
            if !document.as_str().ends_with(".tosign.json") {
                continue;
            }
            self.handover(&["release", "sign", document.as_str(), "--key", key.as_str()])?;
        }
        self.handover(&["release", "publish", repository.as_str()])
    }

    /// What a file server serves.
    pub(crate) fn public(&self) -> Utf8PathBuf {
        self.repository().join("public")
    }

    /// Builds, signs and publishes what lies in `source`: `release.yaml` and `payload/`.
    ///
    /// # Errors
    /// When the command line fails.
    pub(crate) fn publish(&self, source: &Utf8Path) -> anyhow::Result<()> {
        let (manifest, payload) = (source.join("release.yaml"), source.join("payload"));
        let built = source.join("built");
        self.handover(&[
            "release",
            "build",
            manifest.as_str(),
            "--platform",
            handover_model::Platform::of_this_build().as_str(),
            "--payload",
            payload.as_str(),
            "--out",
            built.as_str(),
        ])?;
        let repository = self.repository();
        for entry in built.read_dir_utf8().with_context(|| format!("list {built}"))? {
            let package = entry?.into_path();
            if !package.as_str().ends_with(".tar.zst") {
                continue;
            }
            self.handover(&["release", "stage", "--repo", repository.as_str(), package.as_str()])?;
        }
        self.sign_and_publish(&self.dir.join("release.pem"))
    }

    /// Copies the repository as it is now.
    ///
    /// # Errors
    /// When the copy fails.
    pub(crate) fn keep(&self, to: &Utf8Path) -> anyhow::Result<()> {
        command::output(Command::new("cp").arg("-a").arg(self.public()).arg(to))?;
        Ok(())
    }

    fn handover(&self, arguments: &[&str]) -> anyhow::Result<()> {
        command::output(Command::new(self.programs.join("handover")).args(arguments))?;
        Ok(())
    }
}

/// A variation of the sample service.
pub(crate) struct Web<'a> {
    /// Its version.
    pub(crate) version: &'a str,
    /// Its place in the order of production.
    pub(crate) sequence: u32,
    /// The schema of its state: 1 or 2.
    pub(crate) schema: u32,
    /// More of `behaviour.json`, beginning with a comma where not empty.
    pub(crate) behaviour: &'a str,
    /// More of `release.yaml`: whole lines of the top level.
    pub(crate) more: &'a str,
    /// How long its trial may last, such as `5s`.
    pub(crate) window: &'a str,
    /// How long it has to have been running, such as `300ms`.
    pub(crate) stable_for: &'a str,
}

impl Web<'_> {
    /// Lays the release out in `to`, ready for [`Cast::publish`].
    ///
    /// # Errors
    /// When a file can't be written.
    pub(crate) fn lay_out(&self, to: &Utf8Path, executable: &Utf8Path) -> anyhow::Result<()> {
        let bin = to.join("payload/bin");
        fs::create_dir_all(&bin).with_context(|| format!("make {bin}"))?;
        put(&to.join("release.yaml"), &self.manifest(), 0o644)?;
        let Self { version, schema, behaviour, .. } = self;
        let text = format!(r#"{{ "version": "{version}", "schema": {schema}{behaviour} }}"#);
        put(&to.join("payload/behaviour.json"), &text, 0o644)?;
        // The executables of two real versions differ; these differ by a line at the end.
        let mut bytes = fs::read(executable).with_context(|| format!("read {executable}"))?;
        bytes.extend_from_slice(format!("\nversion {version}\n").as_bytes());
        let web = bin.join("web");
        fs::File::create(&web)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &bytes))
            .with_context(|| format!("write {web}"))?;
        fs::set_permissions(&web, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("set the mode of {web}"))
    }

    fn manifest(&self) -> String {
        let Self { version, sequence, schema, more, window, stable_for, .. } = self;
        let migrations = if *schema == 2 {
            "\n  migrations:\n    - from: 1\n      up: [bin/web, migrate, up, --state, \"${state}\"]\
             \n      down: [bin/web, migrate, down, --state, \"${state}\"]"
        } else {
            ""
        };
        format!(
            r#"format: 1
component: web
version: {version}
sequence: {sequence}
upgrades_from: "<{version}"
state:
  schema: {schema}{migrations}
service:
  executable: bin/web
  arguments: [serve, --package, "${{slot}}", --state, "${{state}}"]
  readiness: notify
  stop: {{ signal: TERM, grace: 5s }}
  sockets:
    - {{ name: http, listen: "127.0.0.1:8080" }}
  self_test: [bin/web, self-test, --package, "${{slot}}"]
health:
  stable_for: {stable_for}
  every: 100ms
  successes: 2
  failures: 3
  checks:
    - name: healthz
      http: {{ url: "http://127.0.0.1:8080/healthz" }}
trial: {{ window: {window}, boots: 3 }}
{more}"#
        )
    }
}
