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

    /// Waits for `length`, until the end is asked for or until `bell` rings, and quiets the bell.
    pub fn wait_or_bell(&self, bell: &Bell, length: Duration) -> Woken {
        if !self.is_asked() {
            let mut fds = vec![PollFd::new(&bell.0, PollFlags::IN)];
            fds.extend(self.wake.as_deref().map(|wake| PollFd::new(wake, PollFlags::IN)));
            // An interrupted wait is a short one: callers wait for a condition, in a loop.
            let _ = poll(&mut fds, Timespec::try_from(length).ok().as_ref());
        }
        let rang = bell.quiet();
        match (self.is_asked(), rang) {
            (true, _) => Woken::Stopped,
            (false, true) => Woken::Rung,
            (false, false) => Woken::InTime,
        }
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

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The end was asked for.
    Stopped,
    /// Another thread has something.
    Rung,
    /// Its time was over.
    InTime,
}

/// Wakes one waiting thread from another.
#[derive(Debug)]
pub struct Bell(std::os::fd::OwnedFd);

impl Bell {
    /// A quiet bell.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
        Ok(Self(rustix::event::eventfd(0, flags)?))
    }

    /// Rings it; ringing twice is ringing once.
    pub fn ring(&self) {
        // Only a counter that is full refuses, and a full one rings.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    fn quiet(&self) -> bool {
        rustix::io::read(&self.0, &mut [0; 8]).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_ends_a_wait_once() {
        let (bell, stop) = (Bell::new().unwrap(), Stop::never());
        bell.ring();
        bell.ring();
        assert_eq!(stop.wait_or_bell(&bell, Duration::from_mins(1)), Woken::Rung);
        assert_eq!(stop.wait_or_bell(&bell, Duration::from_millis(1)), Woken::InTime);
    }
}
