//! Programs, run to their end within bounds.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use camino::Utf8Path;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};

use super::user_named;
use crate::real_world::RealClock;
use crate::shell::Clock;
use crate::{CommandSpec, HostError, Output};

/// How much of what a program says is kept.
const TAIL_BYTES: usize = 4096;

/// Where programs are looked for; nothing else is inherited.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn run(spec: &CommandSpec) -> Result<Output, HostError> {
    let failed = |act| {
        let path = spec.program.clone();
        move |source: io::Error| HostError::Io { act, path, source }
    };
    let (reader, writer) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed("make a pipe for")(e.into()))?;
    let child = spawn(spec, writer)?;
    let clock = RealClock::new(None);
    let deadline = clock.now().mono.saturating_add(spec.timeout);
    let mut tail = Vec::new();
    let ended = watch(&child, &reader, &clock, deadline, &mut tail).map_err(failed("watch"))?;
    let (status, timed_out) = end(child, ended).map_err(failed("end"))?;
    drain(reader, &mut tail).map_err(failed("read what was said by"))?;
    let code = if timed_out { None } else { status.code() };
    tracing::debug!(program = %spec.program, code, signal = status.signal(), timed_out, "ran");
    Ok(Output { code, timed_out, tail: String::from_utf8_lossy(&tail).into_owned() })
}

fn spawn(spec: &CommandSpec, writer: OwnedFd) -> Result<Child, HostError> {
    let path = |path: &Utf8Path, act| {
        let path = path.to_owned();
        move |source| HostError::Io { act, path, source }
    };
    let second = writer.try_clone().map_err(path(&spec.program, "make a pipe for"))?;
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| PATH.into()))
        .envs(&spec.environment)
        .current_dir(&spec.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::from(writer))
        .stderr(Stdio::from(second))
        // A group of its own, so that all that it starts can be ended with it.
        .process_group(0);
    if let Some(name) = &spec.user {
        let user = user_named(name)?;
        if rustix::process::geteuid().as_raw() != user.uid {
            // The standard library drops supplementary groups when it changes the user.
            command.uid(user.uid).gid(user.gid);
        }
    }
    command.spawn().map_err(path(&spec.program, "start"))
}

/// Waits for the child's end or the deadline, keeping what it says; whether it ended by itself.
fn watch(
    child: &Child,
    reader: &OwnedFd,
    clock: &RealClock,
    deadline: Duration,
    tail: &mut Vec<u8>,
) -> io::Result<bool> {
    rustix::io::ioctl_fionbio(reader, true)?;
    let pidfd = pidfd_open(pid_of(child)?, PidfdFlags::empty())?;
    let mut open = true;
    loop {
        let left = deadline.saturating_sub(clock.now().mono);
        if left.is_zero() {
            return Ok(false);
        }
        let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
        if open {
            fds.push(PollFd::new(reader, PollFlags::IN));
        }
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        let (gone, said) = (ready(0), ready(1));
        if said {
            open = take(reader, tail)?;
        }
        if gone {
            return Ok(true);
        }
    }
}

/// Ends whatever is left of the group, then reaps the child. The group's id can't be another's as
/// long as the child is not reaped.
fn end(mut child: Child, by_itself: bool) -> io::Result<(ExitStatus, bool)> {
    let pid = pid_of(&child)?;
    match kill_process_group(pid, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH | rustix::io::Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    // The child may run as a user that set its own group: wait for the child itself in any case.
    if !by_itself {
        child.kill()?;
    }
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    Ok((child.wait()?, !by_itself))
}

/// What is in the pipe; whether more may come.
fn take(reader: &OwnedFd, tail: &mut Vec<u8>) -> io::Result<bool> {
    let mut piece = [0; 4096];
    match rustix::io::read(reader, &mut piece) {
        Ok(0) => Ok(false),
        Ok(count) => {
            keep_tail(tail, piece.get(..count).unwrap_or_default());
            Ok(true)
        }
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// What the pipe holds at the end. Something that left the group may still hold its other end, so
/// nothing is waited for.
fn drain(reader: OwnedFd, tail: &mut Vec<u8>) -> io::Result<()> {
    rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK)?;
    let mut file = File::from(reader);
    let mut piece = [0; 4096];
    // A pipe holds 64 KiB unless somebody asked for more.
    for _ in 0..64 {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => keep_tail(tail, piece.get(..count).unwrap_or_default()),
            Err(source) if source.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(source),
        }
    }
    Ok(())
}

fn keep_tail(tail: &mut Vec<u8>, piece: &[u8]) {
    tail.extend_from_slice(piece);
    let surplus = tail.len().saturating_sub(TAIL_BYTES);
    tail.drain(..surplus);
}

fn pid_of(child: &Child) -> io::Result<Pid> {
    let raw = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    raw.ok_or_else(|| io::Error::other("a process id out of range"))
}
