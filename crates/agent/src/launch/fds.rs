//! The one place where a bare descriptor number becomes an owned descriptor.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

/// Takes ownership of every descriptor of this process but the standard three. What the caller
/// does not keep is closed when the map is dropped.
///
/// To be called once, at the very start of the exec stage, before anything in this process has
/// opened a descriptor of its own.
///
/// # Errors
/// When `/proc/self/fd` can't be read.
pub(super) fn adopt_all() -> io::Result<BTreeMap<RawFd, OwnedFd>> {
    let mut open = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        if let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            open.push(number);
        }
    }
    // The directory's own descriptor is closed again, so look which numbers still are.
    open.retain(|number: &RawFd| {
        *number > 2 && std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok()
    });
    Ok(open.into_iter().map(|number| (number, adopt(number))).collect())
}

#[expect(unsafe_code, reason = "inherited descriptors arrive as bare numbers")]
fn adopt(number: RawFd) -> OwnedFd {
    // SAFETY: `number` was just seen to be open, it was inherited, this process has one thread and
    // nothing else in it owns the number: `adopt_all` runs before anything is opened.
    unsafe { OwnedFd::from_raw_fd(number) }
}
