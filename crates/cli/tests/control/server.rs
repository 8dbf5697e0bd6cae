//! `handover server` as a child process, on a port of its own that it keeps over restarts.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// How long the server may take to start.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server; killed when dropped.
pub(crate) struct Server {
    data: PathBuf,
    pub(crate) port: u16,
    /// What it printed once.
    pub(crate) token: String,
    child: Child,
    said: Receiver<String>,
}

impl Server {
    /// Starts one on an empty data directory.
    pub(crate) fn start(data: &Path) -> Self {
        let (child, said) = spawn(data, 0);
        let mut server = Self { data: data.to_owned(), port: 0, token: String::new(), child, said };
        let address =
            server.wait_for(|line| line.split_once("listening on ").map(|(_, at)| at.to_owned()));
        server.port = address.rsplit(':').next().unwrap().trim().parse().unwrap();
        let token =
            |line: &str| line.split_once("handover login ").map(|(_, rest)| rest.to_owned());
        server.token = server.wait_for(token);
        server
    }

    /// Kills it without a word, as a power cut does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same data and port.
    pub(crate) fn start_again(&mut self) {
        let (child, said) = spawn(&self.data, self.port);
        (self.child, self.said) = (child, said);
        self.wait_for(|line| line.split_once("listening on ").map(|(_, at)| at.to_owned()));
    }

    fn wait_for(&self, wanted: impl Fn(&str) -> Option<String>) -> String {
        let mut lines = Vec::new();
        loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(line) => {
                    if let Some(found) = wanted(&line) {
                        return found.trim().to_owned();
                    }
                    lines.push(line);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("the server never said it:\n{}", lines.join("\n"))
                }
            }
        }
    }
}

fn spawn(data: &Path, port: u16) -> (Child, Receiver<String>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_handover"))
        .args(["server", "--name", "127.0.0.1", "--every", "500ms", "--listen"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("--data")
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (tell, said) = channel();
    let stderr = child.stderr.take().unwrap();
    std::thread::spawn(move || {
        // Read to the end, so that the server never waits for a reader.
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _nobody_listens = tell.send(line);
        }
    });
    (child, said)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}
