//! What a launcher or service manager passes to a process: listening sockets, and an address to
//! say "ready" to. Both conventions are systemd's: `sd_listen_fds(3)`, `sd_notify(3)`.

use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The first descriptor that is passed on.
const FIRST_DESCRIPTOR: i32 = 3;

/// The listening socket that was passed to this very process, if one was.
pub(crate) fn inherited_listener() -> Option<TcpListener> {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let meant_for_us = number("LISTEN_PID") == Some(std::process::id());
    if !meant_for_us || number("LISTEN_FDS")? == 0 {
        return None;
    }
    #[expect(unsafe_code, reason = "a descriptor that was inherited has no other way in")]
    // SAFETY: LISTEN_PID names us, so whoever started us opened descriptor 3 for us alone; this
    // runs once, before anything else could own it.
    let socket = unsafe { OwnedFd::from_raw_fd(FIRST_DESCRIPTOR) };
    Some(TcpListener::from(socket))
}

/// Sends `state` (such as `READY=1`) to whoever wants to know. Nobody wanting to is no error.
pub(crate) fn notify(state: &str) -> io::Result<()> {
    let Ok(address) = std::env::var("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&address)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}
