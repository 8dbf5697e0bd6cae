//! Users by name, from `/etc/passwd` alone: no directory service is asked, so that an upgrade
//! never waits for a network.

use camino::Utf8Path;

use crate::{HostError, disk};

/// A user of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// The user's own group.
    pub gid: u32,
}

/// The user called `name`, or whose id `name` is.
///
/// # Errors
/// [`HostError::Surprise`] when there is none.
pub fn user_named(name: &str) -> Result<User, HostError> {
    let path = Utf8Path::new("/etc/passwd");
    let bytes = disk::read(path)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (login, _password) = (fields.next()?, fields.next()?);
        let user = User { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? };
        (login == name || user.uid.to_string() == name).then_some(user)
    });
    found.ok_or_else(|| {
        let what = format!("no user {name:?}: create it, or name another one in the release");
        HostError::Surprise { path: path.to_owned(), what }
    })
}
