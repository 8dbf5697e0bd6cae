//! The bandwidth limit: a token bucket on a clock that is passed in.

use std::time::Duration;

/// Lets `rate` bytes a second through on average, and a tenth of a second's worth at once.
#[derive(Debug, Clone)]
pub struct Bucket {
    rate: Option<u64>,
    /// Bytes that may pass at once, in billionths, so that slow rates lose nothing to rounding.
    level: u128,
    seen: Duration,
}

/// One byte, in the unit of [`Bucket::level`].
const BYTE: u128 = 1_000_000_000;

impl Bucket {
    /// A bucket of `rate` bytes a second; no limit when absent. `now` is monotonic.
    pub fn new(rate: Option<u64>, now: Duration) -> Self {
        Self { rate: rate.map(|rate| rate.max(1)), level: 0, seen: now }
    }

    /// How many bytes to ask for at most in one read, so that no read overshoots by much.
    pub fn slice(&self, wanted: usize) -> usize {
        match self.rate {
            None => wanted,
            Some(rate) => {
                usize::try_from((rate / 10).max(1)).unwrap_or(usize::MAX).min(wanted).max(1)
            }
        }
    }

    /// Takes `bytes` that have just passed and says how long to wait before the next.
    pub fn spend(&mut self, bytes: u64, now: Duration) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let rate = u128::from(rate);
        let most = (rate / 10).max(1) * BYTE;
        self.level = (self.level + now.saturating_sub(self.seen).as_nanos() * rate).min(most);
        self.seen = now;
        let cost = u128::from(bytes) * BYTE;
        if cost <= self.level {
            self.level -= cost;
            return Duration::ZERO;
        }
        let wait = (cost - self.level).div_ceil(rate);
        // What is waited for is spent already: the clock of the bucket stands at the wait's end.
        self.level = 0;
        let wait = Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX));
        self.seen = now.saturating_add(wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_limit_never_waits() {
        let mut bucket = Bucket::new(None, Duration::ZERO);
        assert_eq!(bucket.spend(u64::MAX, Duration::ZERO), Duration::ZERO);
        assert_eq!(bucket.slice(65_536), 65_536);
    }

    #[test]
    fn a_second_of_bytes_takes_a_second() {
        let mut bucket = Bucket::new(Some(1000), Duration::ZERO);
        assert_eq!(bucket.spend(1000, Duration::ZERO), Duration::from_secs(1));
        assert_eq!(bucket.slice(65_536), 100);
    }

    proptest! {
        /// Whatever the pieces and pauses, no more passes than rate × time and one burst.
        #[test]
        fn the_limit_holds_over_any_history(
            rate in 1_u64..10_000_000,
            pieces in proptest::collection::vec((0_u64..100_000, 0_u64..500_000_000), 1..60),
        ) {
            let (mut now, mut passed) = (Duration::ZERO, 0_u64);
            let mut bucket = Bucket::new(Some(rate), now);
            for (bytes, pause) in pieces {
                let bytes = u64::try_from(bucket.slice(usize::try_from(bytes).unwrap())).unwrap();
                passed += bytes;
                now += bucket.spend(bytes, now);
                let most = u128::from(rate) * now.as_nanos() / BYTE + u128::from(rate / 10) + 1;
                prop_assert!(u128::from(passed) <= most, "{passed} > {most} at {now:?}");
                now += Duration::from_nanos(pause);
            }
        }
    }
}
