//! A small HTTP service for the launcher's tests: it takes its listening socket as
//! `sd_listen_fds(3)` says, tells that it is ready as `sd_notify(3)` says, answers each request
//! with its version, and on SIGTERM ends between two requests.
//!
//! Usage: `launcher_child VERSION`

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};

use rustix::event::{PollFd, PollFlags, poll};

fn main() -> anyhow::Result<()> {
    let version = std::env::args().nth(1).unwrap_or_default();
    anyhow::ensure!(
        std::env::var("LISTEN_PID")? == std::process::id().to_string(),
        "LISTEN_PID names another process"
    );
    anyhow::ensure!(std::env::var("LISTEN_FDS")? == "1", "one socket is wanted");
    let listener = inherited();
    let (stop, theirs) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, theirs)?;
    say_ready()?;
    loop {
        let mut fds = [PollFd::new(&stop, PollFlags::IN), PollFd::new(&listener, PollFlags::IN)];
        if poll(&mut fds, None).is_err() {
            continue;
        }
        if !fds[0].revents().is_empty() {
            return Ok(());
        }
        let (mut client, _from) = listener.accept()?;
        let mut request = [0; 1024];
        let _ = client.read(&mut request)?;
        let len = version.len();
        write!(client, "HTTP/1.0 200 OK\r\nContent-Length: {len}\r\n\r\n{version}")?;
    }
}

#[expect(unsafe_code, reason = "inherited descriptors arrive as bare numbers")]
fn inherited() -> TcpListener {
    // SAFETY: the launcher handed descriptor 3 on to this process, and nothing here has opened
    // anything yet.
    TcpListener::from(unsafe { OwnedFd::from_raw_fd(3) })
}

fn say_ready() -> anyhow::Result<()> {
    let Ok(address) = std::env::var("NOTIFY_SOCKET") else { return Ok(()) };
    let name = address.strip_prefix('@').unwrap_or(&address);
    let address = SocketAddr::from_abstract_name(name)?;
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(b"READY=1\nSTATUS=serving", &address)?;
    Ok(())
}
