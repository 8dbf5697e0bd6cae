//! Clients that request without pause and remember every answer that was not as it should be.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::real_world::Clock;

/// How long one request may take: longer than any swap.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client rests between two requests.
const REST: Duration = Duration::from_millis(2);

/// What the sample service says of itself.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Answer {
    /// The version that answered.
    pub(super) version: String,
    /// Its process.
    pub(super) pid: u32,
    /// The schema of its state.
    pub(super) schema: u32,
    /// How many visits it has counted, over all versions.
    pub(super) visits: u64,
    /// Notes that were left with it.
    pub(super) notes: Vec<String>,
}

/// One request on a connection of its own; the status and the body.
pub(super) fn request(
    port: u16,
    method: &str,
    path: &str,
    body: &str,
) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut short"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("the answer is not HTTP"))?;
    Ok((status, body.to_owned()))
}

/// Asks the service on `port` who it is.
pub(super) fn ask(port: u16) -> anyhow::Result<Answer> {
    let (status, body) = request(port, "GET", "/", "").with_context(|| format!("port {port}"))?;
    ensure!(status == 200, "port {port} answered {status}");
    serde_json::from_str(&body).with_context(|| format!("port {port} answered {body}"))
}

/// What the clients saw since they were asked last.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Requests that were answered 200.
    pub(super) answered: u64,
    /// Requests that were not, with the first few reasons.
    pub(super) failed: u64,
    /// Reasons, with how often each.
    pub(super) reasons: BTreeMap<String, u64>,
    /// The longest that any request took.
    pub(super) slowest: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
    troubles: Mutex<Tally>,
}

/// Client threads, one for each port. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Starts requesting.
    pub(super) fn start(ports: &[u16], clock: Clock) -> Self {
        let shared = Arc::new(Shared::default());
        let threads = ports
            .iter()
            .map(|port| {
                let (shared, port) = (Arc::clone(&shared), *port);
                thread::spawn(move || request_without_pause(&shared, port, clock))
            })
            .collect();
        Self { shared, threads }
    }

    /// What was seen since the last call.
    pub(super) fn take(&self) -> Tally {
        let mut troubles = self.shared.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = std::mem::take(&mut *troubles);
        Tally { answered: self.shared.answered.swap(0, Ordering::SeqCst), ..tally }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A client that panicked has nothing to clean up.
            drop(thread.join());
        }
    }
}

fn request_without_pause(shared: &Shared, port: u16, clock: Clock) {
    while !shared.stop.load(Ordering::SeqCst) {
        let began = clock.now().mono;
        let outcome = request(port, "GET", "/", "");
        let took = clock.now().mono.saturating_sub(began);
        let mut troubles = shared.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.slowest = troubles.slowest.max(took);
        let reason = match outcome {
            Ok((200, _)) => {
                shared.answered.fetch_add(1, Ordering::SeqCst);
                None
            }
            Ok((status, _)) => Some(format!("status {status}")),
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = reason {
            troubles.failed += 1;
            *troubles.reasons.entry(reason).or_default() += 1;
        }
        drop(troubles);
        thread::park_timeout(REST);
    }
}
