//! The exec stage: the launcher runs itself once more, in the child, to give the child its
//! session, user, descriptors and environment, and then becomes the component. So nothing has to
//! happen between fork and exec, where almost nothing is allowed.
//!
//! What it shall do comes as JSON on standard input. What goes wrong is written to the descriptor
//! `complaints`, which closes by itself when the component starts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use camino::Utf8PathBuf;
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::Signal;
use rustix::thread::{Gid, Uid};
use serde::{Deserialize, Serialize};

use super::{fds, users};

/// The argument that makes the launcher be the exec stage.
pub(super) const ARGUMENT: &str = "--exec-stage";

/// The exit code of an exec stage that could not become the component.
pub(super) const FAILED: u8 = 126;

/// The first descriptor of a component's sockets (`sd_listen_fds(3)`).
const FIRST: RawFd = 3;

/// What the exec stage shall do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    /// The launcher's process id: the stage gives up if that is not its parent any more.
    pub(super) launcher: i32,
    /// Absolute path.
    pub(super) executable: Utf8PathBuf,
    /// Without the program's own name.
    pub(super) arguments: Vec<String>,
    /// The whole environment but `LISTEN_*`.
    pub(super) environment: BTreeMap<String, String>,
    /// Working directory.
    pub(super) directory: Utf8PathBuf,
    /// Absent: stay who we are.
    pub(super) user: Option<String>,
    /// Inherited descriptors of the listening sockets, and their names.
    pub(super) sockets: Vec<(RawFd, String)>,
    /// The inherited descriptor for complaints.
    pub(super) complaints: RawFd,
}

/// Becomes the component. Returns only when that failed; the reason has been written then.
pub(super) fn run() -> u8 {
    let inherited = match fds::adopt_all() {
        Ok(inherited) => inherited,
        Err(error) => return complain(None, &format!("could not list descriptors: {error}")),
    };
    let mut text = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut text);
    let orders: Orders = match read.map(|_len| serde_json::from_slice(&text)) {
        Ok(Ok(orders)) => orders,
        Ok(Err(error)) => return complain(None, &format!("the orders don't parse: {error}")),
        Err(error) => return complain(None, &format!("could not read the orders: {error}")),
    };
    let complaints = inherited.get(&orders.complaints).and_then(|fd| raise(fd).ok());
    match become_component(&orders, inherited) {
        Ok(never) => match never {},
        Err(why) => complain(complaints, &why),
    }
}

enum Never {}

fn become_component(orders: &Orders, inherited: BTreeMap<RawFd, OwnedFd>) -> Result<Never, String> {
    rustix::process::setsid().map_err(|errno| format!("could not begin a session: {errno}"))?;
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    let null =
        File::open("/dev/null").map_err(|error| format!("could not open /dev/null: {error}"))?;
    rustix::stdio::dup2_stdin(&null)
        .map_err(|errno| format!("could not put /dev/null on standard input: {errno}"))?;
    drop(null);
    // These stay open over the exec and are owned by the component from then on.
    let sockets = place_sockets(&orders.sockets, inherited)?;
    drop_privileges(orders.user.as_deref())?;
    die_with_launcher(orders.launcher)?;
    let mut command = Command::new(&orders.executable);
    command
        .args(&orders.arguments)
        .env_clear()
        .envs(&orders.environment)
        .current_dir(&orders.directory);
    if !sockets.is_empty() {
        let names: Vec<_> = orders.sockets.iter().map(|(_fd, name)| name.as_str()).collect();
        command
            .env("LISTEN_PID", std::process::id().to_string())
            .env("LISTEN_FDS", sockets.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"));
    }
    let error = command.exec();
    Err(format!("could not run {} in {}: {error}", orders.executable, orders.directory))
}

/// Moves the listening sockets to 3, 4, … and closes every other inherited descriptor.
fn place_sockets(
    wanted: &[(RawFd, String)],
    inherited: BTreeMap<RawFd, OwnedFd>,
) -> Result<Vec<OwnedFd>, String> {
    let mut raised = Vec::new();
    for (number, name) in wanted {
        let fd = inherited.get(number).ok_or_else(|| format!("socket {name:?} did not arrive"))?;
        raised.push(raise(fd).map_err(|errno| format!("could not hand on {name:?}: {errno}"))?);
    }
    drop(inherited);
    let mut placed = Vec::new();
    for (target, socket) in (FIRST..).zip(&raised) {
        // The lowest free number from `target` on, and all that were below were just closed.
        let fd = fcntl_dupfd_cloexec(socket, target)
            .and_then(|fd| fcntl_setfd(&fd, FdFlags::empty()).map(|()| fd))
            .map_err(|errno| format!("could not hand on a socket: {errno}"))?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&fd);
        if number != target {
            return Err(format!("a socket landed on descriptor {number} instead of {target}"));
        }
        placed.push(fd);
    }
    Ok(placed)
}

/// A copy with a number that no socket will need, closed by exec.
fn raise<Fd: AsFd>(fd: Fd) -> rustix::io::Result<OwnedFd> {
    const OUT_OF_THE_WAY: RawFd = 512;
    fcntl_dupfd_cloexec(fd, OUT_OF_THE_WAY)
}

fn drop_privileges(user: Option<&str>) -> Result<(), String> {
    if let Some(user) = user {
        let who = users::look_up(user).map_err(|error| error.to_string())?;
        let ours = rustix::process::geteuid();
        if ours.is_root() {
            let groups: Vec<_> = who.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
            rustix::thread::set_thread_groups(&groups)
                .and_then(|()| {
                    let gid = Gid::from_raw(who.gid);
                    rustix::thread::set_thread_res_gid(gid, gid, gid)
                })
                .and_then(|()| {
                    let uid = Uid::from_raw(who.uid);
                    rustix::thread::set_thread_res_uid(uid, uid, uid)
                })
                .map_err(|errno| format!("could not become user {user}: {errno}"))?;
        } else if ours.as_raw() != who.uid {
            return Err(format!(
                "could not become user {user}: the launcher runs as user {} and only root can \
                 change that",
                ours.as_raw()
            ));
        }
    }
    rustix::thread::set_no_new_privs(true)
        .map_err(|errno| format!("could not give up new privileges: {errno}"))
}

/// A launcher that was killed must not leave a component behind that nobody stops. After the
/// change of user, which clears the setting (prctl(2)).
fn die_with_launcher(launcher: i32) -> Result<(), String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| format!("could not tie the child to its launcher: {errno}"))?;
    let parent = rustix::process::getppid().map(rustix::process::Pid::as_raw_pid);
    if parent == Some(launcher) { Ok(()) } else { Err("the launcher is gone".to_owned()) }
}

fn complain(to: Option<OwnedFd>, why: &str) -> u8 {
    // Where nobody listens there is nothing left to do but to exit.
    let _ = match to {
        Some(to) => File::from(to).write_all(why.as_bytes()),
        None => std::io::stderr().write_all(format!("handover-launch: {why}\n").as_bytes()),
    };
    FAILED
}
