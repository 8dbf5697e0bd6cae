//! The monotonic clock, dice for jitter and threads: the only place of this crate that reads them.

use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

/// A moment from which time is counted; it never jumps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts counting.
    #[expect(clippy::disallowed_methods, reason = "this is the crate's one reader of the clock")]
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// What has passed.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Waits for between half of `length` and all of it, so that those who lost together don't meet
/// again. Only threads of this crate, which nobody else wakes, call it.
pub(crate) fn pause_about(length: Duration) {
    // Each RandomState is keyed by the system's dice.
    let dice = std::collections::hash_map::RandomState::new().build_hasher().finish();
    let share = u32::try_from(dice % 512).unwrap_or(0);
    let watch = Stopwatch::start();
    let length = length / 2 + length / 2 * share / 512;
    while let Some(left) = length.checked_sub(watch.elapsed()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}
