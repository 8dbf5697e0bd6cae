//! `--self-test`: everything that starting a component needs, tried on this machine, so that a new
//! launcher that can't work here never takes the old one's place.

use std::time::Duration;

use handover_engine::launch::Exit;
use handover_model::{
    Digest, Readiness, Recipe, SLOTS_FORMAT, Slots, SocketSpec, StopSpec, open_framed, seal_framed,
};
use rustix::event::{Timespec, poll};

use super::child::Child;
use super::inbox::Inbox;
use super::notify::Notify;
use super::processes;
use super::signals::Signals;
use super::sockets::Sockets;

/// How long the trial start may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tries everything; changes nothing on disk.
///
/// # Errors
/// What does not work, in words.
pub(super) fn run() -> Result<(), String> {
    let slots = Slots { generation: 1, ..Slots::default() };
    let bytes = seal_framed("slots", SLOTS_FORMAT, &slots).map_err(|error| error.to_string())?;
    let back: Slots =
        open_framed("slots", SLOTS_FORMAT, &bytes).map_err(|error| error.to_string())?;
    if back != slots {
        return Err("slots don't read back as they were written".to_owned());
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|errno| format!("could not become a reaper: {errno}"))?;
    let _signals = Signals::catch().map_err(|error| format!("could not catch signals: {error}"))?;
    let _inbox = Inbox::watch("/".into())
        .map_err(|error| format!("could not watch a directory: {error}"))?;
    let notify =
        Notify::open().map_err(|error| format!("could not open a notification socket: {error}"))?;
    let mut sockets = Sockets::default();
    let wanted = [SocketSpec { name: "test".to_owned(), listen: "127.0.0.1:0".to_owned() }];
    sockets.open(&wanted).map_err(|error| super::record::chain(&error))?;
    start_ourselves(&notify, &sockets.of(&wanted))
}

fn start_ourselves(
    notify: &Notify,
    sockets: &[(&str, std::os::fd::BorrowedFd<'_>)],
) -> Result<(), String> {
    let executable = std::env::current_exe()
        .ok()
        .and_then(|path| camino::Utf8PathBuf::from_path_buf(path).ok())
        .ok_or("could not find the launcher's own executable")?;
    let recipe = Recipe {
        launcher: 1,
        executable,
        executable_digest: Digest::of(b""),
        arguments: vec!["--version".to_owned()],
        environment: std::collections::BTreeMap::new(),
        directory: "/".into(),
        user: None,
        stop: StopSpec::default(),
        readiness: Readiness::None,
        sockets: Vec::new(),
    };
    let child = Child::start(&recipe, sockets, notify.address(), Duration::ZERO)
        .map_err(|error| format!("could not start a process: {error}"))?;
    for _ in 0..PATIENCE.as_millis() / 10 {
        match processes::reap() {
            Some((pid, Exit::Code(0))) if pid == child.pid => return Ok(()),
            Some((pid, exit)) if pid == child.pid => {
                return Err(format!("a process that was started for a test: {exit}"));
            }
            Some(_) | None => {}
        }
        let _ = poll(&mut [], Timespec::try_from(Duration::from_millis(10)).ok().as_ref());
    }
    processes::sweep(child.pid);
    Err(format!("a process that was started for a test did not end within {PATIENCE:?}"))
}
