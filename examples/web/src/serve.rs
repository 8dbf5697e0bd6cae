//! The service: accept, answer, and on SIGTERM finish what was begun.
//!
//! The signal makes a pipe readable, and nobody ever reads it: everything that waits also waits
//! on the pipe, so that a stop is noticed at once and by all.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use crate::behaviour::{Behaviour, Health};
use crate::http::{self, Parsed, Request};
use crate::launched;
use crate::store::Store;

/// How often counted visits reach the disk.
const SAVE_EVERY: Duration = Duration::from_millis(100);
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(30);
/// How long a connection that was accepted just before a stop may take to send its request.
const LAST_CHANCE: Duration = Duration::from_millis(500);
/// How long what was begun may take to finish.
const DRAIN: Duration = Duration::from_secs(8);

/// What every connection shares.
struct Service {
    behaviour: Behaviour,
    store: Mutex<Store>,
    stop: OwnedFd,
}

/// Serves until SIGTERM.
pub(crate) fn run(behaviour: &Behaviour, state: &Path, listen: Option<&str>) -> anyhow::Result<()> {
    let (stop, stopper) = rustix::pipe::pipe().context("could not make a pipe")?;
    if behaviour.ignore_stop {
        let never = Arc::new(std::sync::atomic::AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGTERM, never)?;
    } else {
        signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, stopper)?;
    }
    let store = Store::open(state, behaviour.schema)?;
    if behaviour.crash_on_notes && !store.notes.is_empty() {
        std::process::abort();
    }
    let service =
        Arc::new(Service { behaviour: behaviour.clone(), store: Mutex::new(store), stop });
    let listener = listener(listen)?;
    if behaviour.slow_start_ms > 0 {
        wait(service.stop.as_fd(), None, Duration::from_millis(behaviour.slow_start_ms))?;
    }
    crash_later(behaviour, state.to_owned());
    let saver = save_now_and_then(Arc::clone(&service));
    launched::notify("READY=1\n").context("could not say that we are ready")?;

    let (working, finished) = mpsc::channel::<()>();
    accept_until_stopped(&listener, &service, &working)?;
    drop((listener, working));
    // Every connection holds a sender; this returns when the last one is gone.
    if finished.recv_timeout(DRAIN) == Err(RecvTimeoutError::Timeout) {
        anyhow::bail!("connections were still busy after {DRAIN:?}");
    }
    drop(saver);
    service.store().save().context("could not save the state")
}

/// The socket that was handed to us, or one of our own.
fn listener(listen: Option<&str>) -> anyhow::Result<TcpListener> {
    let listener = match (launched::inherited_listener(), listen) {
        (Some(listener), _) => listener,
        (None, Some(address)) => {
            TcpListener::bind(address).with_context(|| format!("could not listen on {address}"))?
        }
        (None, None) => anyhow::bail!("no socket was handed on: say --listen HOST:PORT"),
    };
    listener.set_nonblocking(true).context("could not make the socket non-blocking")?;
    Ok(listener)
}

/// Whether `other` has something to say, and whether we should stop, after waiting `atmost` for
/// either.
fn wait(
    stop: BorrowedFd<'_>,
    other: Option<BorrowedFd<'_>>,
    atmost: Duration,
) -> io::Result<(bool, bool)> {
    let timeout = Timespec::try_from(atmost).map_err(io::Error::other)?;
    let mut waited: Vec<PollFd<'_>> = [Some(stop), other]
        .into_iter()
        .flatten()
        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .collect();
    match poll(&mut waited, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready = |at: usize| waited.get(at).is_some_and(|fd| !fd.revents().is_empty());
    Ok((ready(1), ready(0)))
}

/// Accepts until the stop. What waits in the socket's backlog is left to the next version, which
/// is handed the same socket.
fn accept_until_stopped(
    listener: &TcpListener,
    service: &Arc<Service>,
    working: &Sender<()>,
) -> anyhow::Result<()> {
    loop {
        let (_, stop) = wait(service.stop.as_fd(), Some(listener.as_fd()), IDLE)?;
        if stop {
            return Ok(());
        }
        match listener.accept() {
            Ok((stream, _peer)) => {
                let (service, working) = (Arc::clone(service), working.clone());
                thread::spawn(move || {
                    // A connection that breaks concerns nobody but its client.
                    drop(converse(&stream, &service));
                    drop(working);
                });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("could not accept a connection"),
        }
    }
}

/// Answers requests on one connection until either side has had enough.
fn converse(mut stream: &TcpStream, service: &Service) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut bytes, mut answered) = (Vec::new(), false);
    loop {
        match http::parse(&bytes) {
            Parsed::Request(request, used) => {
                bytes.drain(..used);
                let (_, stop) = wait(service.stop.as_fd(), None, Duration::ZERO)?;
                let keep = request.keep && !stop;
                stream.write_all(&service.answer(&request, keep))?;
                if !keep {
                    return Ok(());
                }
                answered = true;
            }
            Parsed::Malformed => {
                return stream.write_all(&http::answer("400 Bad Request", "{}", false));
            }
            Parsed::Unfinished => {
                let (readable, stop) = wait(service.stop.as_fd(), Some(stream.as_fd()), IDLE)?;
                let idle = answered && bytes.is_empty();
                if !readable && (!stop || idle) {
                    return Ok(());
                }
                // Stopping, but a request was begun, or is surely on its way.
                stream.set_read_timeout(Some(LAST_CHANCE))?;
                let mut chunk = [0; 2048];
                match stream.read(&mut chunk)? {
                    0 => return Ok(()),
                    len => bytes.extend_from_slice(&chunk[..len]),
                }
            }
        }
    }
}

impl Service {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request, keep: bool) -> Vec<u8> {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/") => {
                let mut store = self.store();
                store.visits += 1;
                let body = json!({
                    "version": self.behaviour.version,
                    "pid": std::process::id(),
                    "schema": store.schema(),
                    "visits": store.visits,
                    "notes": store.notes,
                });
                http::answer("200 OK", &body.to_string(), keep)
            }
            ("GET", "/healthz") => {
                let body = json!({ "version": self.behaviour.version }).to_string();
                match self.behaviour.health {
                    Health::Well => http::answer("200 OK", &body, keep),
                    Health::Ill => http::answer("503 Service Unavailable", &body, keep),
                }
            }
            ("PUT", "/note") => {
                let mut store = self.store();
                store.notes.push(String::from_utf8_lossy(&request.body).into_owned());
                match store.save() {
                    Ok(()) => http::answer("200 OK", "{}", keep),
                    Err(error) => {
                        let body = json!({ "error": error.to_string() }).to_string();
                        http::answer("507 Insufficient Storage", &body, keep)
                    }
                }
            }
            _ => http::answer("404 Not Found", "{}", keep),
        }
    }
}

/// Saves counted visits in the background, until the returned sender is dropped.
fn save_now_and_then(service: Arc<Service>) -> Sender<()> {
    let (guard, gone) = mpsc::channel();
    thread::spawn(move || {
        let mut saved = 0;
        while gone.recv_timeout(SAVE_EVERY) == Err(RecvTimeoutError::Timeout) {
            let store = service.store();
            // A disk that is full now may not be the next time; the count is still in memory.
            if store.visits != saved && store.save().is_ok() {
                saved = store.visits;
            }
        }
    });
    guard
}

/// Crashes after a while, if that is how this version behaves.
fn crash_later(behaviour: &Behaviour, state: PathBuf) {
    let again = behaviour.crash_again_after_ms.filter(|_| Store::has_crashed(&state));
    let Some(after) = again.or(behaviour.crash_after_ms) else { return };
    let (never, timer) = mpsc::channel::<()>();
    thread::spawn(move || {
        if timer.recv_timeout(Duration::from_millis(after)) == Err(RecvTimeoutError::Timeout) {
            drop((Store::note_crash(&state), never));
            std::process::abort();
        }
    });
}
