//! A server for tests that does what it is told, on a real socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;

/// One request's answer: gets the request's head and the connection, and may do anything.
pub(crate) type Answerer = Box<dyn FnMut(&str, &mut TcpStream) + Send>;

/// A server on a loopback port; ends when dropped.
pub(crate) struct Hostile {
    pub(crate) base: String,
    address: std::net::SocketAddr,
    heads: mpsc::Receiver<String>,
    thread: Option<JoinHandle<()>>,
}

impl Hostile {
    pub(crate) fn serve(mut answer: Answerer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, heads) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let head = read_head(&stream);
                if head.starts_with("QUIT") {
                    return;
                }
                if !head.is_empty() {
                    answer(&head, &mut stream);
                    let _ = tell.send(head);
                }
            }
        });
        Self { base: format!("http://{address}"), address, heads, thread: Some(thread) }
    }

    /// The head of the next request, once its answer is over.
    pub(crate) fn next_head(&self, patience: std::time::Duration) -> String {
        self.heads.recv_timeout(patience).expect("a request came")
    }

    /// The heads of the requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.try_iter().collect()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        if let Ok(mut stream) = TcpStream::connect(self.address) {
            let _ = stream.write_all(b"QUIT\r\n\r\n");
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read_head(stream: &TcpStream) -> String {
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => return head,
            Ok(_) if line == "\r\n" => return head,
            Ok(_) => head.push_str(&line),
        }
    }
}

/// The offset that a request asks for with `Range`.
pub(crate) fn asked_offset(head: &str) -> Option<usize> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("range:"))?;
    line.split_once("bytes=")?.1.trim_end_matches('-').trim().parse().ok()
}

/// Writes until the client hangs up.
pub(crate) fn pour(stream: &mut TcpStream, piece: &[u8]) {
    while stream.write_all(piece).is_ok() {}
}

/// Waits until the client hangs up, saying nothing.
pub(crate) fn sit(stream: &mut TcpStream) {
    let mut rest = String::new();
    let _ = std::io::Read::read_to_string(stream, &mut rest);
}
