//! The clock: the only place of this crate that reads it.

use std::time::{Duration, Instant};

/// What `act` returned, and how long it took.
#[expect(clippy::disallowed_methods, reason = "measuring is what this crate is for")]
pub(crate) fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = act();
    (done, began.elapsed())
}

/// Whether `look` was content before `patience` was over. It is asked once a millisecond.
#[expect(clippy::disallowed_methods, reason = "measuring is what this crate is for")]
pub(crate) fn wait_until(patience: Duration, mut look: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !look() {
        if began.elapsed() > patience {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    true
}
