//! Signals as something to poll for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

/// What the launcher listens for. The end of a child has no flag: it is looked for after every
/// wake.
const FLAGGED: [(i32, Signal); 5] = [
    (SIGTERM, Signal::TERM),
    (SIGINT, Signal::INT),
    (SIGHUP, Signal::HUP),
    (SIGUSR1, Signal::USR1),
    (SIGUSR2, Signal::USR2),
];

/// Signals that arrived.
#[derive(Debug)]
pub(super) struct Signals {
    wake: UnixStream,
    flags: Vec<(Signal, Arc<AtomicBool>)>,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// When the system refuses a handler or a socket pair.
    pub(super) fn catch() -> io::Result<Self> {
        let (wake, theirs) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let mut flags = Vec::new();
        for (number, signal) in FLAGGED {
            let flag = Arc::new(AtomicBool::new(false));
            // In this order, so that whoever is woken finds the flag.
            signal_hook::flag::register(number, Arc::clone(&flag))?;
            signal_hook::low_level::pipe::register(number, theirs.try_clone()?)?;
            flags.push((signal, flag));
        }
        signal_hook::low_level::pipe::register(SIGCHLD, theirs)?;
        Ok(Self { wake, flags })
    }

    /// Those that arrived since the last call.
    pub(super) fn take(&self) -> Vec<Signal> {
        let mut drain = [0; 64];
        while matches!(io::Read::read(&mut &self.wake, &mut drain), Ok(1..)) {}
        let arrived = |(signal, flag): &(Signal, Arc<AtomicBool>)| {
            flag.swap(false, Ordering::SeqCst).then_some(*signal)
        };
        self.flags.iter().filter_map(arrived).collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
