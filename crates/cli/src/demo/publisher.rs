//! The publisher's side: keys that are held apart, a repository, and releases made, signed and
//! published with the `handover` command alone.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use handover_model::Platform;

use super::processes::{Ended, run};

/// Who holds a root key. Each has a directory of their own, which stands for a machine.
pub(super) const ROOT_HOLDERS: [&str; 3] = ["ann", "ben", "cleo"];
/// Who holds a release key.
pub(super) const RELEASE_HOLDERS: [&str; 3] = ["dora", "emil", "fay"];
/// What goes into a package beside what `release.yaml` says.
#[derive(Debug, Clone)]
pub(super) struct Content {
    /// The text of `release.yaml`.
    pub(super) manifest: String,
    /// Path inside the package, content, mode.
    pub(super) files: Vec<(&'static str, Vec<u8>, u32)>,
    /// An entrypoint of its own, in place of the stock one.
    pub(super) entrypoint: Option<&'static str>,
}

/// The publisher.
#[derive(Debug)]
pub(super) struct Publisher {
    handover: PathBuf,
    directory: PathBuf,
}

impl Publisher {
    /// A publisher who works with `handover` under `directory`.
    pub(super) fn new(handover: &Path, directory: &Path) -> Self {
        Self { handover: handover.to_owned(), directory: directory.to_owned() }
    }

    /// The repository's directory.
    pub(super) fn repository(&self) -> PathBuf {
        self.directory.join("repository")
    }

    /// What the file server serves.
    pub(super) fn public(&self) -> PathBuf {
        self.repository().join("public")
    }

    /// The first root, which reaches hosts by another way than the file server.
    pub(super) fn first_root(&self) -> PathBuf {
        self.public().join("metadata/1.root.json")
    }

    /// Runs `handover` with arguments; it must succeed.
    pub(super) fn handover(&self, arguments: &[&str]) -> anyhow::Result<Ended> {
        let ended = run(&self.handover, arguments, &[])?;
        ensure!(
            ended.status.success(),
            "handover {}: {}\n{}{}",
            arguments.join(" "),
            ended.status,
            ended.out,
            ended.err
        );
        Ok(ended)
    }

    /// Every holder makes a key pair on a machine of their own.
    pub(super) fn make_keys(&self) -> anyhow::Result<()> {
        let failed: Vec<anyhow::Error> = std::thread::scope(|scope| {
            let holders = ROOT_HOLDERS.into_iter().chain(RELEASE_HOLDERS);
            let threads: Vec<_> =
                holders.map(|holder| scope.spawn(move || self.make_key(holder))).collect();
            threads
                .into_iter()
                .filter_map(|thread| match thread.join() {
                    Ok(made) => made.err(),
                    Err(_panic) => Some(anyhow::anyhow!("making a key panicked")),
                })
                .collect()
        });
        failed.into_iter().next().map_or(Ok(()), Err)
    }

    fn make_key(&self, holder: &str) -> anyhow::Result<()> {
        let machine = self.machine(holder);
        fs::create_dir_all(&machine)
            .with_context(|| format!("could not make {}", machine.display()))?;
        let key = self.key(holder);
        // Without the option the holder is asked for a passphrase, here and at each signature.
        self.handover(&["repo", "new-key", text(&key)?, "--owner", holder, "--no-passphrase"])?;
        Ok(())
    }

    /// Makes the repository; two of three root holders sign its root.
    pub(super) fn make_repository(&self) -> anyhow::Result<()> {
        let repository = self.repository();
        let public = ROOT_HOLDERS.map(|holder| self.public_key(holder));
        let mut words = vec!["repo", "init", text(&repository)?, "--threshold", "2"];
        for key in &public {
            words.extend(["--root-key", text(key)?]);
        }
        self.handover(&words)?;
        self.sign_all("root", &ROOT_HOLDERS[..2])?;
        self.sign_all("targets", &ROOT_HOLDERS[..2])?;
        self.publish()
    }

    /// Says that two of three release holders must sign `component`.
    pub(super) fn add_component(&self, component: &str) -> anyhow::Result<()> {
        let repository = self.repository();
        let public = RELEASE_HOLDERS.map(|holder| self.public_key(holder));
        let mut words = vec!["repo", "add-key", text(&repository)?, "--component", component];
        words.extend(["--threshold", "2"]);
        for key in &public {
            words.extend(["--key", text(key)?]);
        }
        self.handover(&words)?;
        Ok(())
    }

    /// The root holders sign what waits for them.
    pub(super) fn sign_as_root(&self) -> anyhow::Result<()> {
        self.sign_all("targets", &ROOT_HOLDERS[..2])
    }

    /// Lays out and builds a package; returns its path.
    pub(super) fn build(&self, name: &str, content: &Content) -> anyhow::Result<PathBuf> {
        let directory = self.directory.join("build").join(name);
        let payload = directory.join("payload");
        for (path, bytes, mode) in &content.files {
            put(&payload.join(path), bytes, *mode)?;
        }
        let manifest = directory.join("release.yaml");
        put(&manifest, content.manifest.as_bytes(), 0o644)?;
        let platform = Platform::of_this_build();
        let mut words = vec!["release", "build", text(&manifest)?];
        words.extend(["--platform", platform.as_str(), "--payload", text(&payload)?]);
        words.extend(["--out", text(&directory)?]);
        let entrypoint = directory.join("upgrade");
        if let Some(script) = content.entrypoint {
            put(&entrypoint, script.as_bytes(), 0o755)?;
            words.extend(["--entrypoint", text(&entrypoint)?]);
        }
        self.handover(&words)?;
        let made = fs::read_dir(&directory)?.flatten().map(|entry| entry.path());
        made.into_iter()
            .find(|path| path.to_string_lossy().ends_with(".tar.zst"))
            .with_context(|| format!("no package was made in {}", directory.display()))
    }

    /// Lists packages in their component's next document, which then waits for signatures.
    pub(super) fn stage(&self, package: &Path) -> anyhow::Result<()> {
        let repository = self.repository();
        self.handover(&["release", "stage", "--repo", text(&repository)?, text(package)?])?;
        Ok(())
    }

    /// Two of three release holders sign what waits for `component`.
    pub(super) fn sign_release(&self, component: &str) -> anyhow::Result<()> {
        self.sign_all(&format!("component-{component}"), &RELEASE_HOLDERS[..2])
    }

    /// Publishes what waits, if every signature is there.
    pub(super) fn publish(&self) -> anyhow::Result<()> {
        let repository = self.repository();
        self.handover(&["release", "publish", text(&repository)?])?;
        Ok(())
    }

    /// Builds, stages, has signed, and publishes one release.
    pub(super) fn release(
        &self,
        component: &str,
        name: &str,
        content: &Content,
    ) -> anyhow::Result<()> {
        let package = self.build(name, content)?;
        self.stage(&package)?;
        self.sign_release(component)?;
        self.publish()
    }

    /// Publishes the releases of `component` anew, with a later expiry and nothing else.
    pub(super) fn renew(&self, component: &str) -> anyhow::Result<()> {
        let repository = self.repository();
        let words = ["release", "stage", "--repo", text(&repository)?, "--component", component];
        self.handover(&words)?;
        self.sign_release(component)?;
        self.publish()
    }

    /// Has the document of `role` signed by one holder after the other. It travels as a file to
    /// each machine and back: no two keys ever meet.
    fn sign_all(&self, role: &str, holders: &[&str]) -> anyhow::Result<()> {
        let name = format!("{role}.tosign.json");
        let waiting = self.repository().join("staging").join(&name);
        for holder in holders {
            let travelling = self.machine(holder).join(&name);
            fs::copy(&waiting, &travelling)
                .with_context(|| format!("could not carry {name} to {holder}"))?;
            let key = self.key(holder);
            self.handover(&["release", "sign", text(&travelling)?, "--key", text(&key)?])?;
            fs::copy(&travelling, &waiting)
                .with_context(|| format!("could not carry {name} back from {holder}"))?;
        }
        Ok(())
    }

    fn machine(&self, holder: &str) -> PathBuf {
        self.directory.join("keyholders").join(holder)
    }

    fn key(&self, holder: &str) -> PathBuf {
        self.machine(holder).join("key.pem")
    }

    fn public_key(&self, holder: &str) -> PathBuf {
        self.machine(holder).join("key.pub")
    }
}

/// A path as an argument.
pub(super) fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

/// Writes a file and the directories above it.
pub(super) fn put(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.set_permissions(fs::Permissions::from_mode(mode))
    };
    write().with_context(|| format!("could not write {}", path.display()))
}
