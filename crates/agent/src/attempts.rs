//! What became of this agent's attempts to install a release: so that one which can't be
//! installed is tried again ever more rarely, and given up after a while.
//!
//! A release that failed its trial is in quarantine, in the slots; this is about those that
//! never came so far: a refusing or hanging entrypoint, a server that has no package.

use std::time::Duration;

use camino::Utf8Path;
use handover_hoststeps::{HostError, disk};
use handover_model::{ReleaseId, Timestamp, open_framed, seal_framed};
use serde::{Deserialize, Serialize};

/// The newest format of the file that this program reads and the one that it writes.
const FORMAT: u32 = 1;
const KIND: &str = "attempts";
/// After this many attempts in a row, only a person starts another.
pub const MOST_ATTEMPTS: u32 = 5;

/// `components/<name>/attempts.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempts {
    /// The release that failed last; another one starts afresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
    /// When a person last allowed another try: what failed before counts no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared_at: Option<Timestamp>,
}

/// A release that this agent could not install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// Which.
    pub release: ReleaseId,
    /// How often in a row.
    pub count: u32,
    /// Why, for people.
    pub reason: String,
    /// When, last.
    pub at: Timestamp,
    /// How many of them say nothing of the release: a server, a network or a disk failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hindered: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Whether a release may be tried now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Yes.
    Now,
    /// Not before then.
    Later(Timestamp),
    /// Not by itself.
    GivenUp,
}

impl Attempts {
    /// Reads the file; nothing failed where there is none.
    ///
    /// # Errors
    /// [`HostError`].
    pub fn load(path: &Utf8Path) -> Result<Self, HostError> {
        match disk::read(path)? {
            None => Ok(Self::default()),
            Some(bytes) => open_framed(KIND, FORMAT, &bytes)
                .map_err(|source| HostError::Damaged { path: path.to_owned(), source }),
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`HostError`].
    pub fn save(&self, path: &Utf8Path) -> Result<(), HostError> {
        let bytes = seal_framed(KIND, FORMAT, self)
            .map_err(|source| HostError::Damaged { path: path.to_owned(), source })?;
        disk::write(path, &bytes, 0o644)
    }

    /// The same with one more failure of `release`.
    #[must_use]
    pub fn after(&self, release: &ReleaseId, reason: String, now: Timestamp) -> Self {
        let before = self.failed.as_ref().filter(|failed| failed.release == *release);
        let count = before.map_or(0, |failed| failed.count).saturating_add(1);
        let hindered = before.map_or(0, |failed| failed.hindered);
        let failed = Failed { release: release.clone(), count, reason, at: now, hindered };
        Self { failed: Some(failed), ..self.clone() }
    }

    /// The same with one more failure that says nothing of `release`: it is tried more rarely for
    /// it, and never given up. Else whoever keeps a package back for two hours keeps it back for
    /// ever.
    #[must_use]
    pub fn after_hindrance(&self, release: &ReleaseId, reason: String, now: Timestamp) -> Self {
        let mut next = self.after(release, reason, now);
        if let Some(failed) = &mut next.failed {
            failed.hindered = failed.hindered.saturating_add(1);
        }
        next
    }

    /// The same once `release` is committed: what failed before it came through explains nothing
    /// any more. `None` where it did not fail.
    #[must_use]
    pub fn committed(&self, release: &ReleaseId, now: Timestamp) -> Option<Self> {
        let failed = self.failed.as_ref().is_some_and(|failed| failed.release == *release);
        failed.then(|| Self::cleared(now))
    }

    /// Nothing failed, as far as anybody still holds against it.
    pub fn cleared(now: Timestamp) -> Self {
        Self { failed: None, cleared_at: Some(now) }
    }

    /// Whether a failure of `release` at `at` is not counted yet.
    pub fn misses(&self, release: &ReleaseId, at: Timestamp) -> bool {
        let counted = self.failed.as_ref().filter(|failed| failed.release == *release);
        self.cleared_at.is_none_or(|cleared| at > cleared)
            && counted.is_none_or(|failed| at > failed.at)
    }

    /// Whether `release` may be tried at `now`: after 1, 4, 16 and 64 minutes, then no more; where
    /// it was only hindered, every 64 minutes from then on.
    pub fn turn(&self, release: &ReleaseId, now: Timestamp) -> Turn {
        let Some(failed) = self.failed.as_ref().filter(|failed| failed.release == *release) else {
            return Turn::Now;
        };
        if failed.count.saturating_sub(failed.hindered) >= MOST_ATTEMPTS {
            return Turn::GivenUp;
        }
        let wait = Duration::from_mins(1)
            * 4_u32.pow(failed.count.saturating_sub(1).min(MOST_ATTEMPTS - 2));
        let until = failed.at.after(wait);
        // A clock that was set back must not make the wait longer than it ever was.
        if now >= until || now < failed.at { Turn::Now } else { Turn::Later(until) }
    }
}

#[cfg(test)]
mod tests {
    use handover_model::{Digest, Version};

    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + minutes * 60_000_000)
    }

    #[test]
    fn a_failing_release_is_tried_ever_more_rarely_and_then_given_up() {
        let bad = ReleaseId { version: Version::new(1, 3, 0), digest: Digest::of(b"bad") };
        let other = ReleaseId { version: Version::new(1, 4, 0), digest: Digest::of(b"other") };
        let mut attempts = Attempts::default();
        for wait in [1, 4, 16, 64] {
            attempts = attempts.after(&bad, "it hangs".into(), at(0));
            assert_eq!(attempts.turn(&bad, at(wait - 1)), Turn::Later(at(wait)));
            assert_eq!(attempts.turn(&bad, at(wait)), Turn::Now);
            assert_eq!(attempts.turn(&bad, at(-1)), Turn::Now, "the clock was set back");
            assert_eq!(attempts.turn(&other, at(0)), Turn::Now);
        }
        attempts = attempts.after(&bad, "it hangs".into(), at(0));
        assert_eq!(attempts.turn(&bad, at(1_000_000)), Turn::GivenUp);
        assert_eq!(attempts.after(&other, "x".into(), at(0)).turn(&bad, at(0)), Turn::Now);
    }

    #[test]
    fn a_release_that_came_through_has_not_failed() {
        let late = ReleaseId { version: Version::new(1, 3, 0), digest: Digest::of(b"late") };
        let other = ReleaseId { version: Version::new(1, 4, 0), digest: Digest::of(b"other") };
        let attempts = Attempts::default().after(&late, "no network".into(), at(0));
        assert_eq!(attempts.committed(&other, at(1)), None);
        let cleared = attempts.committed(&late, at(1)).unwrap();
        assert_eq!(cleared.failed, None);
        assert!(!cleared.misses(&late, at(0)), "its runs' outcomes are not counted again");
    }

    #[test]
    fn a_release_that_was_only_hindered_is_never_given_up() {
        let late = ReleaseId { version: Version::new(1, 3, 0), digest: Digest::of(b"late") };
        let mut attempts = Attempts::default();
        for _ in 0..20 {
            attempts = attempts.after_hindrance(&late, "the server is down".into(), at(0));
        }
        assert_eq!(attempts.turn(&late, at(63)), Turn::Later(at(64)));
        assert_eq!(attempts.turn(&late, at(64)), Turn::Now);
        for _ in 0..MOST_ATTEMPTS {
            assert_ne!(attempts.turn(&late, at(64)), Turn::GivenUp);
            attempts = attempts.after(&late, "it hangs".into(), at(0));
        }
        assert_eq!(attempts.turn(&late, at(64)), Turn::GivenUp);
    }
}
