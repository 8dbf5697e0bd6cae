//! Waiting for a condition, with a deadline and with words for what was seen last.

use std::time::Duration;

use crate::real_world::{Deadline, between_looks};

/// Looks again and again until `look` answers `Ok`, or `limit` has passed. What `look` saw last is
/// part of the complaint.
///
/// # Errors
/// When the condition did not come true in time.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> anyhow::Result<T> {
    let deadline = Deadline::after(limit);
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(seen) if deadline.passed() => {
                anyhow::bail!("{what}: not within {} s; last seen: {seen}", limit.as_secs())
            }
            Err(_) => between_looks(),
        }
    }
}
