//! Minimum progress: a server that drips one byte at a time is as silent as one that sends none.

use std::time::Duration;

/// Counts bytes over stretches of time.
#[derive(Debug, Clone)]
pub struct Pace {
    stretch: Duration,
    least: u64,
    began: Duration,
    bytes: u64,
    excused: Duration,
}

impl Pace {
    /// At least `least` bytes in each `stretch`; `now` is monotonic.
    pub fn new(stretch: Duration, least: u64, now: Duration) -> Self {
        Self { stretch, least, began: now, bytes: 0, excused: Duration::ZERO }
    }

    /// Takes in `bytes` that arrived; false when the stretch that ends now brought too few.
    pub fn saw(&mut self, bytes: u64, now: Duration) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        if now.saturating_sub(self.began) < self.stretch.saturating_add(self.excused) {
            return true;
        }
        let enough = self.bytes >= self.least;
        *self = Self::new(self.stretch, self.least, now);
        enough
    }

    /// Leaves out time that we ourselves waited.
    pub fn excuse(&mut self, waited: Duration) {
        self.excused = self.excused.saturating_add(waited);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drips_are_noticed_and_our_own_waits_are_not_blamed() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(10 * second, 100, Duration::ZERO);
        assert!(pace.saw(100, 10 * second));
        assert!(pace.saw(1, 15 * second));
        assert!(!pace.saw(1, 20 * second));
        pace.excuse(30 * second);
        assert!(pace.saw(1, 50 * second));
        assert!(!pace.saw(1, 60 * second));
    }
}
