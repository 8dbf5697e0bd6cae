//! A client that asks all the time and remembers what it was told.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a client saw.
#[derive(Debug, Default)]
pub(crate) struct SeenByClients {
    pub(crate) answered: u64,
    pub(crate) refused: u64,
    pub(crate) wrong: Vec<String>,
    pub(crate) longest_gap: Duration,
}

pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<SeenByClients>,
}

impl Clients {
    pub(crate) fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || ask_until(port, &told));
        Self { stop, thread }
    }

    pub(crate) fn finish(self) -> SeenByClients {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[expect(clippy::disallowed_methods, reason = "measures how long nobody answered")]
fn ask_until(port: u16, stop: &AtomicBool) -> SeenByClients {
    let mut seen = SeenByClients::default();
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match get(port) {
            Ok(answer) if answer.contains("served by handover") => {
                seen.answered += 1;
                seen.longest_gap = seen.longest_gap.max(last.elapsed());
                last = Instant::now();
            }
            Ok(answer) => seen.wrong.push(answer),
            Err(_) => seen.refused += 1,
        }
    }
    seen
}

/// One GET of `/`, whole.
///
/// # Errors
/// When nobody listens, or the connection broke before an answer came.
pub(crate) fn get(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}
