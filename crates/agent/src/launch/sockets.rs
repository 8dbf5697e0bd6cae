//! The listening sockets that the launcher holds over every swap.
//!
//! Invariant: a socket is opened once and stays open while any slot that may run names its
//! address, so that a client that connects during a swap waits in its queue and is never refused.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use handover_model::SocketSpec;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen};

/// How many connections may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Why a listening socket can't be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    /// The text is no address.
    #[error(
        "socket {name:?}: {listen:?} is not an address such as 127.0.0.1:8080, [::1]:8080 or \
         unix:/run/name.sock"
    )]
    Address { name: String, listen: String },
    /// Somebody else listens there.
    #[error(
        "socket {name:?}: {listen} is in use by another program; stop it or change the address"
    )]
    InUse { name: String, listen: String },
    /// The system refused.
    #[error("socket {name:?}: could not listen on {listen}")]
    Listen { name: String, listen: String, source: std::io::Error },
}

/// Every listening socket that is held, by its address.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    held: BTreeMap<String, OwnedFd>,
}

impl Sockets {
    /// Opens those of `wanted` that are not held yet. All or none.
    ///
    /// # Errors
    /// [`SocketError`] for the first that can't be had; those opened before it are closed again.
    pub(super) fn open(&mut self, wanted: &[SocketSpec]) -> Result<(), SocketError> {
        let mut opened = Vec::new();
        for spec in wanted.iter().filter(|spec| !self.held.contains_key(&spec.listen)) {
            match open_one(spec) {
                Ok(socket) => opened.push((spec.listen.clone(), socket)),
                Err(error) => {
                    for (address, _socket) in opened {
                        unlink(&address);
                    }
                    return Err(error);
                }
            }
        }
        self.held.extend(opened);
        Ok(())
    }

    /// Closes every socket whose address is none of `named`.
    pub(super) fn keep(&mut self, named: &[&SocketSpec]) {
        self.held.retain(|address, _socket| {
            let kept = named.iter().any(|spec| spec.listen == *address);
            if !kept {
                unlink(address);
            }
            kept
        });
    }

    /// The held sockets of `wanted`, in its order; those that are not held are left out.
    pub(super) fn of<'a>(&'a self, wanted: &'a [SocketSpec]) -> Vec<(&'a str, BorrowedFd<'a>)> {
        wanted
            .iter()
            .filter_map(|spec| {
                self.held.get(&spec.listen).map(|socket| (spec.name.as_str(), socket.as_fd()))
            })
            .collect()
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.keep(&[]);
    }
}

enum Address<'a> {
    Tcp(SocketAddr),
    Unix(&'a str),
}

fn parse(listen: &str) -> Option<Address<'_>> {
    if let Some(path) = listen.strip_prefix("unix:") {
        return path.starts_with('/').then_some(Address::Unix(path));
    }
    let numbers = listen.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    numbers.as_deref().unwrap_or(listen).parse().ok().map(Address::Tcp)
}

fn open_one(spec: &SocketSpec) -> Result<OwnedFd, SocketError> {
    let (name, listen) = (spec.name.clone(), spec.listen.clone());
    let opened = match parse(&spec.listen) {
        None => return Err(SocketError::Address { name, listen }),
        Some(Address::Tcp(address)) => open_tcp(address),
        Some(Address::Unix(path)) => open_unix(path),
    };
    opened.map_err(|errno| match errno {
        Errno::ADDRINUSE => SocketError::InUse { name, listen },
        other => SocketError::Listen { name, listen, source: other.into() },
    })
}

fn open_tcp(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Connections of an earlier life in TIME_WAIT must not block the address.
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn open_unix(path: &str) -> Result<OwnedFd, Errno> {
    let address = SocketAddrUnix::new(path)?;
    let make = || {
        rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
    };
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        // A socket that nobody listens on any more was left by a launcher that was killed.
        match connect(make()?, &address) {
            Err(Errno::CONNREFUSED) => unlink_path(path),
            Ok(()) | Err(_) => return Err(Errno::ADDRINUSE),
        }
    }
    let socket = make()?;
    bind(&socket, &address)?;
    // Who may connect is decided by the directory, as with systemd's sockets.
    let opened = let_all_connect(path);
    listen(&socket, BACKLOG)?;
    opened?;
    Ok(socket)
}

/// The directory may be the component's own: what lies there may not be our socket any more.
fn let_all_connect(path: &str) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) != FileType::Socket {
        return Err(Errno::NOTSOCK);
    }
    // A descriptor of this sort can't be changed itself, only what it names.
    rustix::fs::chmod(format!("/proc/self/fd/{}", found.as_raw_fd()), Mode::from_raw_mode(0o666))
}

fn unlink(address: &str) {
    if let Some(path) = address.strip_prefix("unix:") {
        unlink_path(path);
    }
}

/// What can't be removed is found to be stale at the next start.
fn unlink_path(path: &str) {
    let _ = std::fs::remove_file(Path::new(path));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, listen: &str) -> SocketSpec {
        SocketSpec { name: name.to_owned(), listen: listen.to_owned() }
    }

    #[test]
    fn a_port_in_use_is_named_and_nothing_stays_open() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("s");
        let unix = spec("control", &format!("unix:{}", path.display()));
        let mut sockets = Sockets::default();
        let error = sockets.open(&[unix.clone(), spec("web", &address)]).unwrap_err();
        assert!(matches!(error, SocketError::InUse { .. }), "{error}");
        assert!(error.to_string().contains(&address), "{error}");
        assert!(!path.exists());
        drop(taken);
        sockets.open(&[unix, spec("web", &address)]).unwrap();
        assert!(path.exists());
    }

    #[test]
    fn a_socket_that_is_held_stays_the_same_one() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = [spec("web", &free.local_addr().unwrap().to_string())];
        drop(free);
        let mut sockets = Sockets::default();
        sockets.open(&wanted).unwrap();
        let before = sockets.of(&wanted)[0].1.as_raw_fd();
        sockets.open(&wanted).unwrap();
        assert_eq!(sockets.of(&wanted)[0].1.as_raw_fd(), before);
        sockets.keep(&[]);
        assert!(sockets.of(&wanted).is_empty());
        assert!(std::net::TcpListener::bind(&wanted[0].listen).is_ok());
    }

    #[test]
    fn a_unix_socket_left_by_the_dead_is_replaced_and_one_in_use_is_not() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("s");
        let wanted = [spec("control", &format!("unix:{}", path.display()))];
        let alive = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let mut sockets = Sockets::default();
        assert!(matches!(sockets.open(&wanted), Err(SocketError::InUse { .. })));
        drop(alive);
        sockets.open(&wanted).unwrap();
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn what_took_a_sockets_place_is_not_opened_to_everybody() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().unwrap();
        let (path, victim) = (place.path().join("s"), place.path().join("victim"));
        std::fs::File::create(&victim).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let before = mode(&victim);
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        assert_eq!(let_all_connect(path.to_str().unwrap()), Err(Errno::NOTSOCK));
        assert_eq!(mode(&victim), before);
        std::fs::remove_file(&path).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let_all_connect(path.to_str().unwrap()).unwrap();
        assert_eq!(mode(&path), 0o666);
    }

    #[test]
    fn a_text_that_is_no_address_is_refused() {
        for bad in ["", "8080", "host.example.com:80", "unix:relative", "127.0.0.1", ":80"] {
            let error = Sockets::default().open(&[spec("web", bad)]).unwrap_err();
            assert!(matches!(error, SocketError::Address { .. }), "{bad}: {error}");
        }
    }
}
