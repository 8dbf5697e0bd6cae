//! The launcher's descendants: reaping them, and killing what a stopped slot left behind.
//!
//! The launcher is a child subreaper (prctl(2)): whatever loses its parent below it becomes its
//! own child. So killing one's own children, and again those that thereby become one's own, until
//! there are none, ends everything that a slot ever started, without looking for anybody and
//! without hitting a process id that was given to somebody else meanwhile.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use handover_engine::launch::Exit;
use rustix::event::{Timespec, poll};
use rustix::io::Errno;

use crate::entrypoint::OUTLIVES;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, kill_process, kill_process_group, wait,
};

fn how_it_ended(status: WaitStatus) -> Option<Exit> {
    status.exit_status().map(Exit::Code).or_else(|| status.terminating_signal().map(Exit::Signal))
}

/// Reaps one descendant that has ended, if there is one.
pub(super) fn reap() -> Option<(Pid, Exit)> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                if let Some(ended) = how_it_ended(status) {
                    return Some((pid, ended));
                }
            }
            Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

/// The process ids of our own children, those that ended and were not reaped among them, but for
/// what outlives its starter.
pub(super) fn children() -> Vec<Pid> {
    let me = std::process::id();
    let text = std::fs::read_to_string(format!("/proc/self/task/{me}/children"));
    let pids: Vec<i32> = match text {
        Ok(text) => text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
        // Kernels without CONFIG_PROC_CHILDREN.
        Err(_) => everybody().filter(|pid| parent_of(*pid) == Some(me)).collect(),
    };
    pids.into_iter().filter(|pid| !outlives(*pid)).filter_map(Pid::from_raw).collect()
}

/// Whether a process must go on when what started it ends: an entrypoint or a watcher, which the
/// agent started and which is about to swap that very agent. They carry [`OUTLIVES`] in the
/// environment that they were started with, and run as ourselves: what a component of another
/// user writes there counts for nothing.
fn outlives(pid: i32) -> bool {
    let process = format!("/proc/{pid}");
    let ours = std::fs::metadata(&process)
        .is_ok_and(|found| found.uid() == rustix::process::geteuid().as_raw());
    let marked = || {
        std::fs::read(format!("{process}/environ")).is_ok_and(|environment| {
            environment.split(|byte| *byte == 0).any(|entry| entry == OUTLIVES.as_bytes())
        })
    };
    ours && marked()
}

/// What a sweep found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Swept {
    /// How `main` ended, if it was reaped during the sweep.
    pub(super) main: Option<Exit>,
    /// What did not die: it hangs inside the kernel.
    pub(super) stuck: Option<Pid>,
}

/// Kills the process group of `main`, and everything else below us, and reaps it all.
pub(super) fn sweep(main: Pid) -> Swept {
    // Dying takes the kernel microseconds; five seconds are for a disk that hangs.
    const ROUNDS: u64 = 100;
    let mut swept = Swept { main: None, stuck: None };
    // A group that is gone is what we want. While `main` is not reaped the id is still its own.
    let _ = kill_process_group(main, Signal::KILL);
    for round in 0..ROUNDS {
        while let Some((pid, ended)) = reap() {
            if pid == main {
                swept.main = Some(ended);
            }
        }
        let left = children();
        swept.stuck = left.first().copied();
        if left.is_empty() {
            break;
        }
        for pid in left {
            // Our own child, not reaped yet: its id can't be another process's.
            let _ = kill_process(pid, Signal::KILL);
        }
        pause(Duration::from_millis(round.min(100)));
    }
    swept
}

/// Says when and in which life of the machine a process began, so that a reused process id is told
/// apart: boot id and start time in clock ticks.
pub(super) fn birth_of(pid: i32) -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("{}/{}", boot.trim(), stat_field(pid, 19)?))
}

/// The name of a process, for people.
pub(super) fn name_of(pid: Pid) -> String {
    let name = std::fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_pid()));
    name.map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

/// The session that a process belongs to.
pub(super) fn session_of(pid: i32) -> Option<i32> {
    stat_field(pid, 3)?.parse().ok()
}

/// Kills what an earlier launcher, itself killed, left of the session that `main`, born at
/// `birth`, led, and waits until they are gone, so that what they held, ports above all, is free
/// for what starts next. Returns how many processes that were.
pub(super) fn kill_orphans(main: i32, birth: &str) -> usize {
    // An id is not given away while a session of that id lives. So either the leader is still the
    // one that was recorded, or it is gone and the session is still its own.
    let leader = birth_of(main);
    let same_boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .is_ok_and(|boot| birth.split('/').next() == Some(boot.trim()));
    if !same_boot || leader.is_some_and(|found| found != birth) {
        return 0;
    }
    let ours = |pid: &i32| *pid == main || session_of(*pid) == Some(main);
    let orphans: Vec<_> = everybody().filter(ours).filter_map(Pid::from_raw).collect();
    let killed: Vec<_> = orphans
        .into_iter()
        .filter_map(|pid| Some((pid, birth_of(pid.as_raw_pid())?)))
        .filter(|(pid, _)| kill_process(*pid, Signal::KILL).is_ok())
        .collect();
    // As in a sweep: five seconds are for a disk that hangs, and then the start shows what is held.
    for round in 0..100 {
        if killed.iter().all(|(pid, birth)| is_gone(pid.as_raw_pid(), birth)) {
            break;
        }
        pause(Duration::from_millis(round));
    }
    killed.len()
}

/// Whether a process has given back everything: it is no more, its id is another's, or only its
/// exit status waits to be reaped, by whom else it belongs to.
fn is_gone(pid: i32, birth: &str) -> bool {
    birth_of(pid).is_none_or(|found| found != birth)
        || stat_field(pid, 0).is_none_or(|state| state == "Z" || state == "X")
}

fn everybody() -> impl Iterator<Item = i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn parent_of(pid: i32) -> Option<u32> {
    stat_field(pid, 1)?.parse().ok()
}

/// A field of `/proc/PID/stat`, counted from the state, which is 0: the name before it may hold
/// anything (`proc_pid_stat(5)`).
fn stat_field(pid: i32, at: usize) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = &text[text.rfind(')')? + 1..];
    rest.split_ascii_whitespace().nth(at).map(str::to_owned)
}

/// Waits between two looks; a signal may cut it short.
fn pause(length: Duration) {
    let _ = poll(&mut [], Timespec::try_from(length).ok().as_ref());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_birth_is_known_and_does_not_change() {
        let me = i32::try_from(std::process::id()).unwrap();
        let birth = birth_of(me).unwrap();
        assert_eq!(birth_of(me), Some(birth.clone()));
        assert!(birth.split('/').nth(1).unwrap().parse::<u64>().unwrap() > 0);
        assert!(session_of(me).is_some());
        assert_eq!(
            parent_of(me),
            rustix::process::getppid().map(|p| p.as_raw_pid().unsigned_abs())
        );
    }

    #[test]
    fn what_an_orphan_held_is_free_when_it_was_killed() {
        use std::io::Read as _;
        use std::os::unix::process::CommandExt as _;

        // `setsid` makes the shell's child the leader of a session; the shell itself is gone then.
        let mut shell = std::process::Command::new("/bin/sh")
            .args(["-c", "setsid sh -c 'echo $$; exec sleep 1000' & wait"])
            .stdout(std::process::Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut said = [0; 16];
        let length = shell.stdout.as_mut().unwrap().read(&mut said).unwrap();
        let orphan: i32 = String::from_utf8_lossy(&said[..length]).trim().parse().unwrap();
        let birth = birth_of(orphan).unwrap();
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert_eq!(kill_orphans(orphan, &birth), 1);
        assert!(is_gone(orphan, &birth));
    }

    #[test]
    fn a_process_that_was_born_at_another_time_is_not_an_orphan_of_ours() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert_eq!(kill_orphans(me, "another-boot/1"), 0);
        let boot = birth_of(me).unwrap();
        let boot = boot.split('/').next().unwrap();
        assert_eq!(kill_orphans(me, &format!("{boot}/1")), 0);
    }
}
