//! The only place of this crate that reads the clock.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use handover_model::{Now, Timestamp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::shell::{Clock, Waited};

/// The machine's clocks, counted from when this was made.
#[derive(Debug)]
pub struct RealClock {
    born: Instant,
    stop: Option<OwnedFd>,
}

impl RealClock {
    /// Begins to count. Once `stop` can be read, waits end with [`Waited::Stop`]; it is usually
    /// the end of a pipe that a signal handler writes to.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn new(stop: Option<OwnedFd>) -> Self {
        Self { born: Instant::now(), stop }
    }
}

impl Clock for RealClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> Now {
        Now { wall: Timestamp::from(jiff::Timestamp::now()), mono: self.born.elapsed() }
    }

    fn wait(&mut self, until: Duration) -> Waited {
        loop {
            let left = until.saturating_sub(self.born.elapsed());
            if left.is_zero() {
                return Waited::Elapsed;
            }
            let mut fds: Vec<PollFd<'_>> =
                self.stop.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
            let timeout = Timespec::try_from(left).ok();
            // An interrupted or failed poll is only a shorter wait: the clock decides.
            if poll(&mut fds, timeout.as_ref()).is_ok_and(|ready| ready > 0) {
                return Waited::Stop;
            }
        }
    }
}
