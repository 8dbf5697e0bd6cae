//! Debian hosts with systemd, in containers: boot, run, cut the power, boot again.
//!
//! All of it happens in a process, mount and network namespace of our own (see
//! [`super::namespace`]), so that nothing can outlive the lane: hosts, mounts and links vanish
//! with its first process, whatever ends it. A host's disk is an overlay in memory over the cached
//! root file system, so that a booted host costs half a second and no disk. Power cuts lose what
//! processes held, not what they had written: flushing is another test's business.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use camino::{Utf8Path, Utf8PathBuf};

use super::containers::Containers;
use super::fleet::Fleet;
use crate::command;
use crate::dist::put;
use crate::wait;

/// The address under which hosts reach the lane's own servers.
pub(crate) const OUR_ADDRESS: &str = "192.0.2.1";
const BRIDGE: &str = "handover0";

/// Where hosts come from.
pub(crate) struct Rig {
    base: Utf8PathBuf,
    work: Utf8PathBuf,
    share: Utf8PathBuf,
}

impl Rig {
    /// Prepares memory for disks in `work`, and a bridge. `share` is what every host sees under
    /// `/srv/share`, read-only.
    ///
    /// # Errors
    /// When a mount or a link can't be made.
    pub(crate) fn new(base: &Utf8Path, work: &Utf8Path, share: &Utf8Path) -> anyhow::Result<Self> {
        command::output(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", "mode=755", "handover-hosts"])
                .arg(work),
        )?;
        for line in [
            "ip link set lo up".to_owned(),
            // With an address of its own: else it changes as hosts come and go.
            format!("ip link add {BRIDGE} address 02:00:00:00:00:01 type bridge"),
            format!("ip address add {OUR_ADDRESS}/24 dev {BRIDGE}"),
            format!("ip link set {BRIDGE} up"),
        ] {
            command::output(&mut command::words(&line))?;
        }
        Ok(Self { base: base.to_owned(), work: work.to_owned(), share: share.to_owned() })
    }

    /// A new host with an empty disk of its own, booted. `number` picks its address.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn boot(&self, name: &str, number: u8) -> anyhow::Result<Host> {
        let disk = self.work.join(name);
        for part in ["upper", "work", "root"] {
            let part = disk.join(part);
            fs::create_dir_all(&part).with_context(|| format!("make {part}"))?;
        }
        let options = format!("lowerdir={},upperdir={disk}/upper,workdir={disk}/work", self.base);
        command::output(
            Command::new("mount")
                .args(["-t", "overlay", "-o", &options, "overlay"])
                .arg(disk.join("root")),
        )?;
        // An installer would have written it.
        let hosts = format!("127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {name}\n");
        put(&disk.join("root/etc/hosts"), &hosts, 0o644)?;
        let mut host = Host {
            name: name.to_owned(),
            address: format!("192.0.2.{}", number + 10),
            disk,
            share: self.share.clone(),
            power: None,
        };
        host.power_on()?;
        Ok(host)
    }

    /// A control plane's host and `agents` hosts, booted; `number` picks the first address.
    ///
    /// # Errors
    /// When one does not come up.
    pub(super) fn join(&self, name: &str, number: u8, agents: u8) -> anyhow::Result<Fleet> {
        let server = self.boot(&format!("{name}s"), number)?;
        let hosts = (1..=agents).map(|one| self.boot(&format!("{name}a{one}"), number + one));
        Ok(Fleet { server, hosts: hosts.collect::<anyhow::Result<_>>()? })
    }

    /// A place to build images and run containers in, beside the hosts.
    ///
    /// # Errors
    /// When it can't be prepared.
    pub(crate) fn containers(&self, name: &str) -> anyhow::Result<Containers> {
        Containers::new(&self.work.join(name), &self.share)
    }
}

/// A host, which may be up or down.
pub(crate) struct Host {
    name: String,
    address: String,
    disk: Utf8PathBuf,
    share: Utf8PathBuf,
    power: Option<Power>,
}

/// The processes of a host that is up.
struct Power {
    nspawn: Child,
    /// The container's first process, by its id out here.
    init: u32,
}

/// How a command on a host ended.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    /// Its exit code; absent when a signal or the power cut ended it.
    pub(crate) code: Option<i32>,
    /// What it wrote to standard output.
    pub(crate) out: String,
    /// What it wrote to standard error.
    pub(crate) err: String,
}

impl Host {
    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Takes the host off the network.
    ///
    /// # Errors
    /// When its link can't be changed.
    pub(crate) fn unplug(&self) -> anyhow::Result<()> {
        self.link("down")
    }

    /// Puts the host back onto the network.
    ///
    /// # Errors
    /// When its link can't be changed.
    pub(crate) fn plug_in(&self) -> anyhow::Result<()> {
        self.link("up")
    }

    fn link(&self, state: &str) -> anyhow::Result<()> {
        // Our end of the pair that systemd-nspawn made.
        let line = format!("ip link set vb-{} {state}", self.name);
        command::output(&mut command::words(&line)).map(drop)
    }

    /// A path of the host's, as seen from here.
    pub(crate) fn path(&self, inside: &str) -> Utf8PathBuf {
        self.disk.join("root").join(inside.trim_start_matches('/'))
    }

    /// Boots from the disk as it is and waits until the host has reached `multi-user.target`.
    ///
    /// # Errors
    /// When it does not within half a minute; what its console said is part of the message.
    pub(crate) fn power_on(&mut self) -> anyhow::Result<()> {
        ensure!(self.power.is_none(), "{} is up already", self.name);
        let console = self.disk.join("console");
        let to = File::create(&console).with_context(|| format!("make {console}"))?;
        let also = to.try_clone().context("duplicate the console")?;
        let nspawn = Command::new("systemd-nspawn")
            .args(["--quiet", "--register=no", "--keep-unit", "--boot", "--link-journal=no"])
            .args(["--console=pipe", "--resolv-conf=off", "--timezone=off"])
            .arg(format!("--network-bridge={BRIDGE}"))
            .arg(format!("--machine={}", self.name))
            .arg(format!("--bind-ro={}:/srv/share", self.share))
            .arg("--directory")
            .arg(self.disk.join("root"))
            .stdin(Stdio::null())
            .stdout(to)
            .stderr(also)
            .spawn()
            .context("start systemd-nspawn")?;
        self.power = Some(Power { nspawn, init: 0 });
        self.wait_for_boot()
            .with_context(|| fs::read_to_string(&console).unwrap_or_default())
            .with_context(|| format!("boot {}", self.name))
    }

    fn wait_for_boot(&mut self) -> anyhow::Result<()> {
        let limit = Duration::from_secs(30);
        let nspawn = self.power.as_ref().map_or(0, |power| power.nspawn.id());
        wait::until("multi-user.target", limit, || {
            // On its way up nspawn has another child for a moment, so look again each time.
            let children = format!("/proc/{nspawn}/task/{nspawn}/children");
            let children = fs::read_to_string(children).map_err(|e| e.to_string())?;
            let init = children.trim().parse().map_err(|_source| format!("{children:?}"))?;
            if let Some(power) = &mut self.power {
                power.init = init;
            }
            let ran =
                self.run("systemctl is-active multi-user.target").map_err(|e| e.to_string())?;
            if ran.out.trim() == "active" { Ok(()) } else { Err(ran.out + &ran.err) }
        })?;
        self.must(&format!(
            "ip address add {}/24 dev host0 && ip link set host0 up && ip link set lo up",
            self.address
        ))?;
        Ok(())
    }

    /// Runs a shell script as root on the host, to its end.
    ///
    /// # Errors
    /// When the host is down.
    pub(crate) fn run(&self, script: &str) -> anyhow::Result<Ran> {
        let done = self.enter(script)?.output().context("start nsenter")?;
        Ok(Ran {
            code: done.status.code(),
            out: String::from_utf8_lossy(&done.stdout).into_owned(),
            err: String::from_utf8_lossy(&done.stderr).into_owned(),
        })
    }

    /// Starts a shell script as root on the host and does not wait for it.
    ///
    /// # Errors
    /// When the host is down.
    pub(crate) fn start(&self, script: &str) -> anyhow::Result<Child> {
        self.enter(script)?
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start nsenter")
    }

    fn enter(&self, script: &str) -> anyhow::Result<Command> {
        let power = self.power.as_ref().with_context(|| format!("{} is down", self.name))?;
        let mut command = Command::new("nsenter");
        command
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--target"])
            .arg(power.init.to_string())
            .args([
                "--",
                "/usr/bin/env",
                "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG=C.UTF-8",
            ])
            .args(["HOME=/root", "DEBIAN_FRONTEND=noninteractive", "/bin/sh", "-c", script])
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a shell script that has to succeed; returns what it printed.
    ///
    /// # Errors
    /// When it fails: the message holds what it said.
    pub(crate) fn must(&self, script: &str) -> anyhow::Result<String> {
        let ran = self.run(script)?;
        ensure!(
            ran.code == Some(0),
            "{}: `{script}` ended with {:?}\n{}{}",
            self.name,
            ran.code,
            ran.out,
            ran.err
        );
        Ok(ran.out)
    }

    /// The end of what our units said.
    pub(crate) fn journal(&self) -> String {
        self.run("journalctl --no-pager --lines=40 --output=cat --unit=handover*")
            .map(|ran| format!("{}:\n{}", self.name, ran.out))
            .unwrap_or_default()
    }

    /// Cuts the power: every process of the host is gone at once, without a word.
    ///
    /// # Errors
    /// When the host is down already, or something survives.
    pub(crate) fn cut_power(&mut self) -> anyhow::Result<()> {
        let mut power = self.power.take().with_context(|| format!("{} is down", self.name))?;
        // The death of a process namespace's first process is the death of all in it.
        command::output(Command::new("kill").args(["-KILL", &power.init.to_string()]))?;
        power.nspawn.wait().context("wait for systemd-nspawn")?;
        Ok(())
    }

    /// Shuts the host down in good order.
    ///
    /// # Errors
    /// When it does not go down within a minute.
    pub(crate) fn shut_down(&mut self) -> anyhow::Result<()> {
        self.run("systemctl poweroff")?;
        let mut power = self.power.take().with_context(|| format!("{} is down", self.name))?;
        wait::until("the host to go down", Duration::from_mins(1), || {
            match power.nspawn.try_wait() {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err("still up".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.power.is_some() && self.cut_power().is_err() {
            // The namespace's end takes what is left.
            self.power = None;
        }
    }
}
