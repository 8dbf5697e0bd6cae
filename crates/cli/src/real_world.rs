//! The real clock, the system's dice and this process's signals: the only place of this crate that
//! reads them.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use handover_model::{Now, Timestamp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The machine's clocks; monotonic time counts from when it was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    born: Instant,
}

impl Clock {
    /// Starts counting.
    #[expect(clippy::disallowed_methods, reason = "this crate's one reader of the clock")]
    pub(crate) fn start() -> Self {
        Self { born: Instant::now() }
    }

    /// Both clocks, read together.
    #[expect(clippy::disallowed_methods, reason = "this crate's one reader of the clock")]
    pub(crate) fn now(&self) -> Now {
        Now { wall: Timestamp::from(jiff::Timestamp::now()), mono: self.born.elapsed() }
    }
}

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "this crate's one reader of the clock")]
pub(crate) fn now() -> Timestamp {
    jiff::Timestamp::now().into()
}

/// Bytes that nobody can guess.
///
/// # Errors
/// When the system has no `/dev/urandom`.
pub(crate) fn random<const N: usize>() -> io::Result<zeroize::Zeroizing<[u8; N]>> {
    let mut bytes = zeroize::Zeroizing::new([0; N]);
    std::fs::File::open("/dev/urandom")?.read_exact(bytes.as_mut_slice())?;
    Ok(bytes)
}

/// A request to end, made by SIGTERM or SIGINT. Every wait notices it at once.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    /// Readable once the end was asked for; nobody reads it, so that it stays so.
    asked: Arc<UnixStream>,
}

impl Stop {
    /// From now on SIGTERM and SIGINT ask, and no longer kill.
    pub(crate) fn on_signals() -> io::Result<Self> {
        let (asked, signalled) = UnixStream::pair()?;
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::low_level::pipe::register(signal, signalled.try_clone()?)?;
        }
        Ok(Self { asked: Arc::new(asked) })
    }

    /// Waits for `length`, or until the end is asked for; says whether it was.
    pub(crate) fn wait(&self, length: Duration) -> bool {
        let mut waited = [PollFd::new(self.asked.as_ref(), PollFlags::IN)];
        // A length that is too long for the system, and a wait that a signal cuts short, are both
        // fine: callers wait for a condition, in a loop.
        let timeout = Timespec::try_from(length).ok();
        let _cut_short = poll(&mut waited, timeout.as_ref());
        !waited[0].revents().is_empty()
    }
}
