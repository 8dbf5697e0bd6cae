//! Users and groups by name, from `/etc/passwd` and `/etc/group`. Nothing else is asked: a
//! launcher that waits for a directory service in the network can't start at boot.

use std::fmt;

/// Whom a component runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// User id.
    pub(super) uid: u32,
    /// Primary group.
    pub(super) gid: u32,
    /// All groups, the primary one among them.
    pub(super) groups: Vec<u32>,
}

/// Why a user can't be had.
#[derive(Debug)]
pub(super) enum UserError {
    /// No line of `/etc/passwd` names it.
    Unknown(String),
    /// A file can't be read.
    Read(&'static str, std::io::Error),
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(user) => {
                write!(
                    f,
                    "there is no user {user:?} in /etc/passwd: create it, or change the recipe"
                )
            }
            Self::Read(path, error) => write!(f, "could not read {path}: {error}"),
        }
    }
}

/// Looks `user` up.
///
/// # Errors
/// When it is not listed or the files can't be read.
pub(super) fn look_up(user: &str) -> Result<Identity, UserError> {
    let read = |path| std::fs::read_to_string(path).map_err(|error| UserError::Read(path, error));
    find(user, &read("/etc/passwd")?, &read("/etc/group")?)
        .ok_or_else(|| UserError::Unknown(user.to_owned()))
}

fn find(user: &str, passwd: &str, group: &str) -> Option<Identity> {
    let fields = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&user))?;
    let uid = fields.get(2)?.parse().ok()?;
    let gid = fields.get(3)?.parse().ok()?;
    let mut groups = vec![gid];
    for line in group.lines() {
        let fields: Vec<_> = line.split(':').collect();
        let (Some(number), Some(members)) = (fields.get(2), fields.get(3)) else { continue };
        if let Ok(number) = number.parse()
            && members.split(',').any(|member| member == user)
            && !groups.contains(&number)
        {
            groups.push(number);
        }
    }
    Some(Identity { uid, gid, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_its_primary_group_and_those_that_list_it() {
        let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:990:991::/:/usr/sbin/nologin\n";
        let group = "root:x:0:\nweb:x:991:\nssl:x:99:other,web\nother:x:98:webby\n";
        let found = find("web", passwd, group).unwrap();
        assert_eq!(found, Identity { uid: 990, gid: 991, groups: vec![991, 99] });
        assert_eq!(find("we", passwd, group), None);
        assert_eq!(find("", "broken\n", ""), None);
    }
}
