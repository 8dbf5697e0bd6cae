//! Readiness, both ways (`sd_notify(3)`): what the child says, heard on a socket of the launcher's
//! own and only from the child's session; and what the service manager is told.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use rustix::process::Pid;

use super::processes::session_of;

/// The longest message that is read; longer ones are cut, as the service manager does.
const MAX_MESSAGE: usize = 4096;

/// The most messages that are read at a time.
const MOST_MESSAGES: usize = 8;

/// How long the service manager, and with it the boot, waits for a child to be ready. From then on
/// the launcher counts as started, since it is: whether the child ever becomes ready, and what
/// happens if not, the launcher decides by the slots, and it doesn't hurry for a boot.
const PATIENCE: Duration = Duration::from_secs(90);

/// When the service manager is told that the launcher has started, whatever the child says.
#[derive(Debug)]
pub(super) struct Patience(Option<Duration>);

impl Patience {
    /// From `now` on, monotonic.
    pub(super) fn begin(now: Duration) -> Self {
        Self(Some(now.saturating_add(PATIENCE)))
    }

    /// Ends it: the manager was told, or there is nothing to tell any more.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    /// When it is over.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.0
    }

    /// Whether it is over at `now`: once.
    pub(super) fn is_over(&mut self, now: Duration) -> bool {
        self.0.take_if(|until| *until <= now).is_some()
    }
}

/// Both ends.
#[derive(Debug)]
pub(super) struct Notify {
    socket: OwnedFd,
    address: String,
    manager: Option<SocketAddrUnix>,
    watchdog: bool,
}

/// What the child said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// It is ready.
    pub ready: bool,
    /// Its state in words.
    pub status: Option<String>,
    /// It is alive.
    pub alive: bool,
}

impl Notify {
    /// Opens the launcher's socket, and remembers the service manager's from the environment.
    ///
    /// # Errors
    /// When the system refuses a socket.
    pub(super) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        // The kernel draws an abstract name that is free (unix(7), "Autobind").
        rustix::net::bind(&socket, &SocketAddrUnix::new_unnamed())?;
        rustix::net::sockopt::set_socket_passcred(&socket, true)?;
        let bound = SocketAddrUnix::try_from(rustix::net::getsockname(&socket)?)?;
        let name = bound.abstract_name().unwrap_or_default();
        let address = format!("@{}", String::from_utf8_lossy(name));
        let manager = std::env::var("NOTIFY_SOCKET").ok().as_deref().and_then(manager_address);
        let watchdog = std::env::var_os("WATCHDOG_USEC").is_some();
        Ok(Self { socket, address, manager, watchdog })
    }

    /// The value of `NOTIFY_SOCKET` for the child.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// What `child`, or processes of its session, said since the last time, taken together; what
    /// others said is dropped. Whoever never stops talking is heard again later: the launcher has
    /// other things to do, ending a trial among them.
    pub(super) fn hear(&self, child: Option<Pid>) -> Said {
        let mut heard = Said::default();
        for _ in 0..MOST_MESSAGES {
            match self.receive() {
                Ok((sender, text)) => {
                    if child.is_some_and(|child| speaks_for(sender, child)) {
                        let said = parse_notification(&text);
                        heard.ready |= said.ready;
                        heard.alive |= said.alive;
                        heard.status = said.status.or(heard.status);
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        heard
    }

    /// Tells the service manager, if there is one. That it doesn't listen changes nothing here.
    pub(super) fn tell_manager(&self, text: &str) {
        if let Some(manager) = &self.manager {
            let _ = rustix::net::sendto(
                &self.socket,
                text.as_bytes(),
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
                manager,
            );
        }
    }

    /// Tells the service manager's watchdog, if it asked, that all is well.
    pub(super) fn tell_watchdog(&self) {
        if self.watchdog {
            self.tell_manager("WATCHDOG=1");
        }
    }

    fn receive(&self) -> Result<(Option<Pid>, String), Errno> {
        let mut text = [0; MAX_MESSAGE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = rustix::net::recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut text)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let sender = control.drain().find_map(|message| {
            if let RecvAncillaryMessage::ScmCredentials(who) = message {
                Some(who.pid)
            } else {
                None
            }
        });
        let len = got.bytes.min(MAX_MESSAGE);
        Ok((sender, String::from_utf8_lossy(&text[..len]).into_owned()))
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn speaks_for(sender: Option<Pid>, child: Pid) -> bool {
    sender.is_some_and(|sender| {
        sender == child || session_of(sender.as_raw_pid()) == Some(child.as_raw_pid())
    })
}

fn manager_address(text: &str) -> Option<SocketAddrUnix> {
    match text.strip_prefix('@') {
        Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()).ok(),
        None if text.starts_with('/') => SocketAddrUnix::new(text).ok(),
        None => None,
    }
}

/// Reads one message: `NAME=VALUE` lines, of which those that mean nothing here are passed over.
pub fn parse_notification(text: &str) -> Said {
    let mut said = Said::default();
    for line in text.lines() {
        match line.split_once('=') {
            Some(("READY", "1")) => said.ready = true,
            Some(("STATUS", status)) => said.status = Some(status.to_owned()),
            Some(("WATCHDOG", "1")) => said.alive = true,
            Some(_) | None => {}
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(to: &str, text: &str) {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None).unwrap();
        let address = manager_address(to).unwrap();
        rustix::net::sendto(&socket, text.as_bytes(), SendFlags::empty(), &address).unwrap();
    }

    #[test]
    fn what_a_stranger_says_is_not_heard() {
        let notify = Notify::open().unwrap();
        send(notify.address(), "READY=1");
        assert_eq!(notify.hear(Pid::from_raw(1)), Said::default());
        send(notify.address(), "READY=1");
        assert_eq!(notify.hear(None), Said::default());
        send(notify.address(), "READY=1\nSTATUS=well");
        let said = notify.hear(Some(rustix::process::getpid()));
        assert_eq!(said, Said { ready: true, status: Some("well".to_owned()), alive: false });
        assert_eq!(notify.hear(Some(rustix::process::getpid())), Said::default());
    }

    #[test]
    fn whoever_never_stops_talking_does_not_keep_the_launcher() {
        let notify = Notify::open().unwrap();
        // The shortest queue that the kernel gives holds as many (unix(7)).
        for _ in 0..10 {
            send(notify.address(), "READY=1");
        }
        let me = Some(rustix::process::getpid());
        assert!(notify.hear(me).ready);
        assert!(notify.hear(me).ready, "all was heard at once, however much it was");
        assert!(!notify.hear(me).ready);
    }

    #[test]
    fn the_manager_waits_so_long_and_is_told_once() {
        let second = Duration::from_secs(1);
        let mut patience = Patience::begin(second);
        assert!(!patience.is_over(PATIENCE));
        assert!(patience.is_over(PATIENCE + second));
        assert!(!patience.is_over(PATIENCE + second));
        let mut ready = Patience::begin(second);
        ready.end();
        assert!(ready.deadline().is_none() && !ready.is_over(PATIENCE * 2));
    }

    #[test]
    fn lines_that_mean_nothing_to_us_are_passed_over() {
        assert_eq!(parse_notification("READY=0\nMAINPID=1\nrubbish\n"), Said::default());
        assert!(parse_notification("X=1\nWATCHDOG=1").alive);
    }
}
