//! The only place where chores read the clock or pause.

use std::time::{Duration, Instant};

/// A moment after which waiting is pointless.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// The moment `after` from now.
    #[expect(clippy::disallowed_methods, reason = "the chores' one clock")]
    pub(crate) fn after(after: Duration) -> Self {
        Self(Instant::now() + after)
    }

    /// Whether it has passed.
    #[expect(clippy::disallowed_methods, reason = "the chores' one clock")]
    pub(crate) fn passed(self) -> bool {
        Instant::now() >= self.0
    }
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "the chores' one clock")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// What has passed.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Lets a little time pass between two looks at the same condition.
#[expect(clippy::disallowed_methods, reason = "between two looks only")]
pub(crate) fn between_looks() {
    std::thread::sleep(Duration::from_millis(20));
}

/// Lets time pass where passing is what is meant, such as a service manager's rest.
#[expect(clippy::disallowed_methods, reason = "a service manager rests between two starts")]
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}
