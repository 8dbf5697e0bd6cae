//! The clocks: the only place of this crate that reads them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use handover_model::Timestamp;

/// What `act` returned, and how long it took.
pub(crate) fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let watch = Stopwatch::start();
    let done = act();
    (done, watch.elapsed())
}

/// Whether `look` was content before `patience` was over. It is asked once a millisecond.
pub(crate) fn wait_until(patience: Duration, mut look: impl FnMut() -> bool) -> bool {
    let watch = Stopwatch::start();
    while !look() {
        if watch.elapsed() > patience {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    true
}

/// Measures from its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "measuring is what this crate is for")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// The wall clock, which all processes of the machine share.
#[expect(clippy::disallowed_methods, reason = "measuring is what this crate is for")]
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
