//! Images built from `packaging/container/Containerfile`, and containers of them, by podman.
//!
//! No registry is asked: the base is the hosts' own root file system, imported once into a store
//! beside it. Everything else lies in the lane's memory and ends with its namespaces, but for the
//! empty control groups of a lane that was killed.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use camino::{Utf8Path, Utf8PathBuf};

use super::rig::Ran;
use crate::{command, repository, wait};

const BASE: &str = "localhost/handover-base";

/// Where images are built and containers run.
pub(crate) struct Containers {
    place: Utf8PathBuf,
    share: Utf8PathBuf,
    /// Holds the mount namespace that podman works in.
    keeper: Child,
}

/// The store that holds the base, for all lanes to come.
fn base_store(base: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{base}.images"))
}

/// Imports the hosts' root file system as an image, if that has not been done.
///
/// # Errors
/// When podman is missing or fails.
pub(crate) fn ensure_base(base: &Utf8Path) -> anyhow::Result<()> {
    let store = base_store(base);
    if store.exists() {
        return Ok(());
    }
    let making = Utf8PathBuf::from(format!("{store}.{}", std::process::id()));
    let made = command::output(Command::new("sh").args(["-c", IMPORT, "import"]).args([
        base.as_str(),
        making.as_str(),
        BASE,
    ]));
    if let Err(source) = made {
        if making.exists() {
            fs::remove_dir_all(&making).with_context(|| format!("remove {making}"))?;
        }
        return Err(source.context("import the root file system as an image"));
    }
    fs::rename(&making, &store).with_context(|| format!("rename {making} to {store}"))
}

/// In a mount namespace of its own, so that the store's mounts end with it.
const IMPORT: &str = "set -e; mkdir -p \"$2\"; mount -t tmpfs handover-hosts /mnt; tar -C \"$1\" -c \
                      . | podman --root \"$2\" --runroot /mnt/run --tmpdir /mnt/tmp \
                      --storage-driver overlay import --quiet - \"$3\"";

/// podman wants a short name for its memory, and its runtime refuses a machine that has both kinds
/// of control groups mounted.
const KEEP: &str = "mount -t tmpfs handover-hosts /mnt; if mountpoint -q /sys/fs/cgroup/unified; \
                    then umount -l /sys/fs/cgroup/unified; fi; echo ready; exec sleep infinity";

impl Containers {
    /// Prepares `place`; `share` holds the packages that images are built from.
    ///
    /// # Errors
    /// When the base was not imported, or a namespace can't be made.
    pub(super) fn new(place: &Utf8Path, share: &Utf8Path) -> anyhow::Result<Self> {
        fs::create_dir_all(place).with_context(|| format!("make {place}"))?;
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", KEEP])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start unshare")?;
        let mut said = String::new();
        if let Some(out) = keeper.stdout.take() {
            std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut said)
                .context("hear from a namespace's keeper")?;
        }
        ensure!(said.trim() == "ready", "no mount namespace for containers");
        Ok(Self { place: place.to_owned(), share: share.to_owned(), keeper })
    }

    fn podman(&self) -> anyhow::Result<Command> {
        let base = super::rootfs::ensure()?;
        let mut command = Command::new("nsenter");
        command
            .args(["--mount", "--target", &self.keeper.id().to_string(), "--", "podman"])
            .arg("--root")
            .arg(self.place.join("store"))
            .args(["--runroot", "/mnt/run", "--tmpdir", "/mnt/tmp"])
            .args(["--storage-driver", "overlay", "--storage-opt"])
            .arg(format!("additionalimagestore={}", base_store(&base)))
            .args(["--cgroup-manager", "cgroupfs", "--events-backend", "none"])
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Builds one target of the Containerfile from the packages of `version`.
    ///
    /// # Errors
    /// When the build fails.
    pub(super) fn build(&self, target: &str, version: &str) -> anyhow::Result<()> {
        let context = self.place.join(format!("dist-{version}"));
        fs::create_dir_all(&context).with_context(|| format!("make {context}"))?;
        let packages = self.share.join("debs");
        let listed = packages.read_dir_utf8().with_context(|| format!("list {packages}"))?;
        for entry in listed {
            let entry = entry?;
            let to = context.join(entry.file_name());
            if entry.file_name().contains(&format!("_{version}_")) && !to.exists() {
                fs::copy(entry.path(), &to).with_context(|| format!("copy {}", entry.path()))?;
            }
        }
        let definition = repository::root()?.join("packaging/container/Containerfile");
        let mut podman = self.podman()?;
        podman
            .args(["build", "--quiet", "--pull=never", "--network=none"])
            .args(["--ulimit", "nofile=1024:4096", "--file", definition.as_str()])
            .args(["--target", target])
            .args(["--build-arg", &format!("BASE={BASE}"), "--tag", &image(target)])
            .arg(&context);
        command::output(&mut podman)?;
        Ok(())
    }

    /// What hosts find under `/srv/share`.
    pub(super) fn share(&self) -> &Utf8Path {
        &self.share
    }

    /// Runs `podman` with arguments split at spaces, to its end.
    ///
    /// # Errors
    /// When it can't be started.
    pub(super) fn run(&self, line: &str) -> anyhow::Result<Ran> {
        let done = self.podman()?.args(line.split_whitespace()).output().context("start podman")?;
        Ok(Ran {
            code: done.status.code(),
            out: String::from_utf8_lossy(&done.stdout).into_owned(),
            err: String::from_utf8_lossy(&done.stderr).into_owned(),
        })
    }

    /// [`Containers::run`] that has to succeed; returns what was printed.
    ///
    /// # Errors
    /// When it fails: the message holds what it said.
    pub(super) fn must(&self, line: &str) -> anyhow::Result<String> {
        let ran = self.run(line)?;
        ensure!(ran.code == Some(0), "podman {line}: {:?}\n{}{}", ran.code, ran.out, ran.err);
        Ok(ran.out)
    }

    /// Starts a container of `target` named `name`; `options` stand before the image, `arguments`
    /// behind it. It sees the lane's own network .
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn start(
        &self,
        (name, target): (&str, &str),
        options: &str,
        arguments: &str,
    ) -> anyhow::Result<()> {
        self.must(&format!(
            "run --detach --name {name} {PLAIN} {options} {} {arguments}",
            image(target)
        ))?;
        Ok(())
    }

    /// What a container has written.
    pub(super) fn logs(&self, name: &str) -> String {
        self.run(&format!("logs {name}")).map(|ran| ran.out + &ran.err).unwrap_or_default()
    }

    /// A directory for a volume.
    ///
    /// # Errors
    /// When it can't be made.
    pub(super) fn volume(&self, name: &str) -> anyhow::Result<Utf8PathBuf> {
        let directory = self.place.join("volumes").join(name);
        fs::create_dir_all(&directory).with_context(|| format!("make {directory}"))?;
        Ok(directory)
    }
}

/// Options of every container.
pub(super) const PLAIN: &str = "--network=host --cgroup-parent=handover-hosts --ulimit nofile=1024:4096 --ulimit \
     nproc=4096:4096";
/// The control group of all of them.
const GROUP: &str = "handover-hosts";

/// What an image is called here.
pub(super) fn image(target: &str) -> String {
    format!("localhost/handover-{target}")
}

impl Drop for Containers {
    fn drop(&mut self) {
        // The lane's namespaces end whatever is left, so a failure here loses nothing.
        // Twice: one whose processes another one joined goes only after that one.
        for _ in 0..2 {
            drop(self.run("rm --all --force --time 0"));
        }
        drop(wait::until("control groups to be empty", Duration::from_secs(2), sweep));
        drop(self.keeper.kill());
        drop(self.keeper.wait());
    }
}

/// Removes the control groups of containers that have ended.
fn sweep() -> Result<(), String> {
    let ours = format!("*/{GROUP}*");
    let find = ["/sys/fs/cgroup", "-depth", "-type", "d", "-path", &ours, "-delete"];
    command::output(Command::new("find").args(find)).map(drop).map_err(|e| format!("{e:#}"))
}
