//! Rate limits: a token bucket for each caller, in memory. The arithmetic is pure.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use handover_model::Digest;

use crate::Problem;
use crate::problem::Code;

/// Callers remembered at once. Past it, full buckets are forgotten, which changes no verdict.
const MOST: usize = 10_000;

/// A token bucket: `per_second` refill it up to `burst`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bucket {
    level: f64,
    at: Duration,
}

/// How a bucket fills.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    pub(crate) burst: f64,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now: Duration) -> Self {
        Self { level: rate.burst, at: now }
    }

    /// Takes one; or says how long to wait for it.
    pub(crate) fn take(&mut self, rate: Rate, now: Duration) -> Result<(), Duration> {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.level = (self.level + passed * rate.per_second).min(rate.burst);
        self.at = now;
        if self.level >= 1.0 {
            self.level -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.level) / rate.per_second))
    }

    fn is_full(&self, rate: Rate, now: Duration) -> bool {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.level + passed * rate.per_second >= rate.burst
    }
}

/// The buckets of API tokens, and the one of all enrolments.
#[derive(Debug)]
pub(crate) struct Limiter {
    callers: Rate,
    enrolments: Rate,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    callers: HashMap<Digest, Bucket>,
    enrolments: Bucket,
    strangers: Bucket,
}

impl Limiter {
    pub(crate) fn new(limits: &crate::config::Limits, now: Duration) -> Self {
        let rate = |per_second: u32, seconds: f64| Rate {
            per_second: f64::from(per_second),
            burst: f64::from(per_second) * seconds,
        };
        let enrolments = rate(limits.enrolments_per_second, 10.0);
        let full = Bucket::full(enrolments, now);
        let buckets = Buckets { callers: HashMap::new(), enrolments: full, strangers: full };
        Self {
            callers: rate(limits.requests_per_second, 4.0),
            enrolments,
            buckets: Mutex::new(buckets),
        }
    }

    /// One request of the token with this digest.
    pub(crate) fn caller(&self, token: Digest, now: Duration) -> Result<(), Problem> {
        let rate = self.callers;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.callers.len() >= MOST {
            buckets.callers.retain(|_token, bucket| !bucket.is_full(rate, now));
        }
        let bucket = buckets.callers.entry(token).or_insert_with(|| Bucket::full(rate, now));
        bucket.take(rate, now).map_err(|wait| limited("this token", wait))
    }

    /// One enrolment.
    pub(crate) fn enrolment(&self, now: Duration) -> Result<(), Problem> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = buckets.enrolments.take(self.enrolments, now);
        taken.map_err(|wait| limited("hosts that enrol", wait))
    }

    /// One request with credentials that nobody knows.
    pub(crate) fn stranger(&self, now: Duration) -> Result<(), Problem> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = buckets.strangers.take(self.enrolments, now);
        taken.map_err(|wait| limited("callers that are not known", wait))
    }
}

/// The answer to one who asks too often.
pub(crate) fn limited(who: &str, wait: Duration) -> Problem {
    let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    Problem::new(
        Code::RateLimited,
        format!("too many requests of {who}; come again in {seconds} s"),
    )
    .retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate_and_says_how_long_to_wait() {
        let rate = Rate { per_second: 2.0, burst: 3.0 };
        let mut bucket = Bucket::full(rate, Duration::ZERO);
        let at = Duration::from_secs(10);
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, at), Ok(()));
        }
        assert_eq!(bucket.take(rate, at), Err(Duration::from_millis(500)));
        assert_eq!(bucket.take(rate, at + Duration::from_millis(500)), Ok(()));
        assert!(bucket.take(rate, at + Duration::from_millis(600)).is_err());
    }

    #[test]
    fn one_callers_flood_is_not_anothers() {
        let limits = crate::config::Limits { requests_per_second: 1, ..Default::default() };
        let limiter = Limiter::new(&limits, Duration::ZERO);
        let (flood, quiet) = (Digest::of(b"flood"), Digest::of(b"quiet"));
        let refused = (0..10).filter(|_| limiter.caller(flood, Duration::ZERO).is_err()).count();
        assert_eq!(refused, 6);
        assert_eq!(limiter.caller(quiet, Duration::ZERO), Ok(()));
    }
}
