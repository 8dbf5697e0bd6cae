//! Leaving a watcher behind: outside our session and, under systemd, outside our control group,
//! so that whatever ends us does not end it.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::RealClock;
use handover_hoststeps::disk::Lock;
use handover_hoststeps::shell::Clock as _;
use handover_model::{Layout, RunResult};

use super::arguments::Which;
use super::outcome;
use super::verbs::Failed;

/// How long a watcher may take until it has the run open.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a watcher and waits until it has taken over. The caller has let go of the run's locks.
pub(super) fn start_watcher(layout: &Layout, which: &Which) -> Result<(), Failed> {
    let program = own_program()?;
    // A watcher in our own control group is better than none; the launcher's rule is there anyway.
    if !(under_systemd() && start_unit(&program, which).is_ok_and(|started| started)) {
        start_detached(&program, layout, which)?;
    }
    wait_for(layout, which)
}

/// The second half of `watch --detach`: a session of our own, then the watcher in it, as nobody's
/// child once we are gone.
pub(super) fn leave_session(which: &Which) -> Result<(), Failed> {
    // We are no group's leader, since we were forked just now.
    rustix::process::setsid()
        .map_err(|errno| Failed::System { act: "leave the session", source: errno.into() })?;
    let mut command = Command::new(own_program()?);
    command.args(watch_arguments(which)).current_dir("/").stdin(Stdio::null());
    command.spawn().map(drop).map_err(starting)
}

/// Where this very program lies now: its package may have been renamed since it was started.
fn own_program() -> Result<Utf8PathBuf, Failed> {
    let path = std::env::current_exe()
        .map_err(|source| Failed::System { act: "find this program", source })?;
    Utf8PathBuf::from_path_buf(path).map_err(|odd| Failed::System {
        act: "find this program",
        source: std::io::Error::other(format!("{} is not UTF-8", odd.display())),
    })
}

fn start_detached(program: &Utf8Path, layout: &Layout, which: &Which) -> Result<(), Failed> {
    let log = layout.run(which.run).join("watcher.log");
    let log = OpenOptions::new().append(true).create(true).open(log).map_err(starting)?;
    let mut child = Command::new(program)
        .args(watch_arguments(which))
        .arg("--detach")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(log))
        .spawn()
        .map_err(starting)?;
    child.wait().map(drop).map_err(starting)
}

/// `systemd-run` answers once the unit is started; whether it is.
fn start_unit(program: &Utf8Path, which: &Which) -> Result<bool, Failed> {
    let id = std::process::id();
    let unit = format!("--unit=handover-watch-{}-{}-{id}", which.component, which.run);
    let status = Command::new("systemd-run")
        .args(["--collect", "--quiet", &unit])
        .arg(program)
        .args(watch_arguments(which))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(starting)?;
    Ok(status.success())
}

/// Whether the control group that we are in belongs to a service, and dies with it. Asked of the
/// kernel: a launcher hands on almost nothing of its environment, `INVOCATION_ID` neither.
fn under_systemd() -> bool {
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    names_a_service(&cgroups)
        && Utf8Path::new("/run/systemd/system").exists()
        && rustix::process::geteuid().is_root()
}

/// Whether `/proc/PID/cgroup` (cgroups(7)) names a service's control group.
fn names_a_service(cgroups: &str) -> bool {
    cgroups.lines().any(|line| line.split('/').any(|part| part.ends_with(".service")))
}

fn watch_arguments(which: &Which) -> Vec<String> {
    let texts = [
        "watch",
        "--root",
        which.root.as_str(),
        "--component",
        which.component.as_str(),
        "--run",
        &which.run.to_string(),
    ];
    texts.map(str::to_owned).to_vec()
}

fn wait_for(layout: &Layout, which: &Which) -> Result<(), Failed> {
    let mut clock = RealClock::new(None);
    let limit = clock.now().mono.saturating_add(PATIENCE);
    let lock = layout.run(which.run).join("lock");
    loop {
        if Lock::holder(&lock)?.is_some() {
            return Ok(());
        }
        // It may have been so quick that it is gone again.
        let outcome = outcome::load(layout, which.run)?;
        if outcome.is_some_and(|outcome| outcome.result != RunResult::Trial) {
            return Ok(());
        }
        let now = clock.now().mono;
        if now >= limit {
            return Err(Failed::NoWatcher { run: which.run });
        }
        clock.wait(now.saturating_add(Duration::from_millis(1)));
    }
}

fn starting(source: std::io::Error) -> Failed {
    Failed::System { act: "start the watcher", source }
}

#[cfg(test)]
mod tests {
    use super::names_a_service;

    #[test]
    fn what_runs_in_a_service_is_told_from_what_a_person_started() {
        assert!(names_a_service("0::/system.slice/handover-agent.service\n"));
        let instance = "1:name=systemd:/system.slice/system-handover.slice/handover@web.service\n";
        assert!(names_a_service(instance));
        assert!(!names_a_service("0::/user.slice/user-0.slice/session-3.scope\n"));
        assert!(!names_a_service("0::/\n"));
    }
}
