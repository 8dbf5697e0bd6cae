//! Where a webhook or a check is: an address that this server may call.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;

/// The longest address, in bytes.
const LONGEST: usize = 2048;

/// An address that this server may call: `https`, or `http` on this machine alone, so that nothing
/// crosses a network in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_tls: bool,
    /// As the `Host` header has it.
    pub(super) authority: String,
    /// The path with the query.
    pub(super) path: String,
}

/// Why an address is none that this server may call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadDestination {
    #[error("it has more than {LONGEST} bytes")]
    TooLong,
    #[error("it is no address such as https://example.com/hook")]
    Unreadable,
    #[error("it begins with neither https:// nor http://")]
    Scheme,
    #[error("http is for this machine (localhost, 127.0.0.1, [::1]) alone: use https")]
    Clear,
    #[error("it carries a user name or a password: deliveries are signed, and need neither")]
    User,
    #[error("it has a part behind #, which is never sent")]
    Fragment,
}

impl FromStr for Destination {
    type Err = BadDestination;

    fn from_str(text: &str) -> Result<Self, BadDestination> {
        if text.len() > LONGEST {
            return Err(BadDestination::TooLong);
        }
        if text.contains('#') {
            return Err(BadDestination::Fragment);
        }
        let uri: Uri = text.parse().map_err(|_source| BadDestination::Unreadable)?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(BadDestination::Scheme),
        };
        let authority = uri.authority().ok_or(BadDestination::Unreadable)?;
        if authority.as_str().contains('@') {
            return Err(BadDestination::User);
        }
        let bare = authority.host();
        let host = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(bare);
        if host.is_empty() || authority.port_u16() == Some(0) {
            return Err(BadDestination::Unreadable);
        }
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let destination = Self {
            host: host.to_ascii_lowercase(),
            port,
            is_tls,
            authority: authority.as_str().to_ascii_lowercase(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        };
        if !is_tls && !destination.is_here() {
            return Err(BadDestination::Clear);
        }
        Ok(destination)
    }
}

impl Destination {
    /// Whether it is on this machine, by its name.
    pub(super) fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// For the log: where to, without what the path and the query may hold.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> BadDestination {
        text.parse::<Destination>().unwrap_err()
    }

    #[test]
    fn an_address_is_taken_apart() {
        let found: Destination = "https://Hooks.example.com/a/b?c=d".parse().unwrap();
        assert_eq!((found.host.as_str(), found.port), ("hooks.example.com", 443));
        assert_eq!(found.path, "/a/b?c=d");
        let found: Destination = "https://[2001:db8::1]:8443".parse().unwrap();
        assert_eq!((found.host.as_str(), found.port), ("2001:db8::1", 8443));
        assert_eq!((found.authority.as_str(), found.path.as_str()), ("[2001:db8::1]:8443", "/"));
    }

    #[test]
    fn nothing_goes_over_a_network_in_the_clear() {
        for here in
            ["http://127.0.0.1:1/x", "http://[::1]:1/", "http://localhost/", "http://127.9.9.9"]
        {
            assert!(here.parse::<Destination>().is_ok(), "{here}");
        }
        for there in ["http://example.com/", "http://192.0.2.1/", "http://localhost.example.com/"] {
            assert_eq!(refused(there), BadDestination::Clear, "{there}");
        }
    }

    #[test]
    fn what_is_no_address_to_call_is_refused_with_the_reason() {
        assert_eq!(refused("ftp://example.com/"), BadDestination::Scheme);
        assert_eq!(refused("example.com"), BadDestination::Scheme);
        assert_eq!(refused("https://ann:pw@example.com/"), BadDestination::User);
        assert_eq!(refused("https://example.com/#x"), BadDestination::Fragment);
        assert_eq!(refused("https://example.com:0/"), BadDestination::Unreadable);
        assert_eq!(refused("https:///x"), BadDestination::Unreadable);
        assert_eq!(refused("https://exa mple.com/"), BadDestination::Unreadable);
        assert_eq!(
            refused(&format!("https://example.com/{}", "x".repeat(2048))),
            BadDestination::TooLong
        );
    }
}
