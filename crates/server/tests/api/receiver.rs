//! A receiver on loopback that does what it is told to, and keeps what it got.

use std::collections::VecDeque;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_mins(1);

/// What it does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Answers this status, and this body.
    Answers(u16, String),
    /// Sends elsewhere.
    Redirects(String),
    /// Says nothing, ever.
    Hangs,
}

/// A receiver.
pub(crate) struct Receiver {
    pub(crate) url: String,
    got: mpsc::UnboundedReceiver<Got>,
    /// What it does next; once that is all done, it answers 200.
    script: Arc<Mutex<VecDeque<Does>>>,
    serving: tokio::task::JoinHandle<()>,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Receiver {
    pub(crate) async fn new(script: &[Does]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (out, got) = mpsc::unbounded_channel();
        let script = Arc::new(Mutex::new(VecDeque::from(script.to_vec())));
        let does = Arc::clone(&script);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let next = || does.lock().unwrap().pop_front();
                tokio::spawn(serve(stream, next().unwrap_or(answers(200)), out.clone()));
            }
        });
        Self { url, got, script, serving }
    }

    /// From now on, does this first.
    pub(crate) fn does(&self, next: Does) {
        self.script.lock().unwrap().push_back(next);
    }

    /// The next request that comes.
    pub(crate) async fn next(&mut self) -> Got {
        let got = tokio::time::timeout(PATIENCE, self.got.recv()).await;
        got.expect("a request comes").unwrap()
    }

    /// Whether nothing came that was not looked at.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.got.try_recv().is_err()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.next().unwrap_or_else(|| panic!("no {name}: {}", self.head)).1
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether the Python program of docs/webhooks.md says that `secret` signed it.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let program = snippet("python");
        let header = self.header("handover-signature");
        let mut python = Command::new("python3")
            .args(["-c", &program, secret, header])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut python.stdin.take().unwrap(), &self.body).unwrap();
        python.wait().unwrap().success()
    }
}

pub(crate) fn answers(status: u16) -> Does {
    Does::Answers(status, "{}".to_owned())
}

/// The example in docs/webhooks.md that is in this language.
pub(crate) fn snippet(language: &str) -> String {
    let page = include_str!("../../../../docs/webhooks.md");
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

async fn serve(mut stream: TcpStream, does: Does, out: mpsc::UnboundedSender<Got>) {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    };
    let mut got = Got {
        head: String::from_utf8_lossy(&bytes[..end]).into_owned(),
        body: bytes.split_off(end + 4),
    };
    let length: usize = if got.head.contains("content-length") {
        got.header("content-length").parse().unwrap()
    } else {
        0
    };
    while got.body.len() < length {
        if stream.read_buf(&mut got.body).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let _gone = out.send(got);
    let answer = match does {
        Does::Answers(status, body) => {
            format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        }
        Does::Redirects(to) => {
            format!("HTTP/1.1 307 X\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
        }
        Does::Hangs => {
            // Until the other side has had enough.
            let _ended = stream.read_buf(&mut bytes).await;
            return;
        }
    };
    let _sent = stream.write_all(answer.as_bytes()).await;
}
