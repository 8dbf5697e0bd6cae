//! The real clock, the system's dice and signals: the only place of this crate that reads them.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use handover_model::{Now, Timestamp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Where time comes from. Tests bring their own.
pub trait Clock: Send + Sync {
    /// Both clocks, read together.
    fn now(&self) -> Now;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct RealClock {
    born: Instant,
}

impl RealClock {
    /// Monotonic time counts from here.
    #[expect(clippy::disallowed_methods, reason = "this is the shell's one reader of the clock")]
    pub fn start() -> Self {
        Self { born: Instant::now() }
    }
}

impl Clock for RealClock {
    #[expect(clippy::disallowed_methods, reason = "this is the shell's one reader of the clock")]
    fn now(&self) -> Now {
        Now { wall: Timestamp::from(jiff::Timestamp::now()), mono: self.born.elapsed() }
    }
}

/// A seed from the system's random source.
///
/// # Errors
/// When `/dev/urandom` can't be read.
pub fn draw_seed() -> std::io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}

/// A request to end, made by SIGTERM or SIGINT, that every wait notices at once.
#[derive(Debug, Clone)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    wake: Option<Arc<UnixStream>>,
}

impl Stop {
    /// Ends this process's waits on SIGTERM and SIGINT; a second one kills as usual.
    ///
    /// # Errors
    /// When the system refuses a handler or a socket pair.
    pub fn on_signals() -> std::io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let (ours, theirs) = UnixStream::pair()?;
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&flag))?;
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
            signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)?;
        }
        Ok(Self { flag, wake: Some(Arc::new(ours)) })
    }

    /// Never asked to stop; waits last as long as they say.
    pub fn never() -> Self {
        Self { flag: Arc::new(AtomicBool::new(false)), wake: None }
    }

    /// Whether the end was asked for.
    pub fn is_asked(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }

    /// Waits for `length`, or until the end is asked for; says whether it was.
    pub fn wait(&self, length: Duration) -> bool {
        let Some(wake) = &self.wake else {
            let _ = poll(&mut [], Timespec::try_from(length).ok().as_ref());
            return false;
        };
        let mut fds = [PollFd::new(wake.as_ref(), PollFlags::IN)];
        if !self.is_asked() {
            // An interrupted wait is a short one: callers wait for a condition, in a loop.
            let _ = poll(&mut fds, Timespec::try_from(length).ok().as_ref());
        }
        self.is_asked()
    }
}
