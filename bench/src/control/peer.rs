//! The processes beside the server: load generator and bare TLS server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, ensure};

use crate::bare::Listening;
use crate::load::{Job, Outcome, Target, Task};
use crate::site::end;

/// The bare TLS server.
pub(super) struct Peer {
    child: Child,
    target: Target,
}

/// A load generator at work.
pub(super) struct Load {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts one that always answers `answer`.
    pub(super) fn start(answer: &str) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("bare")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut input = child.stdin.take().context("its input is piped")?;
        writeln!(input, "{}", serde_json::to_string(answer)?)?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output is piped")?).read_line(&mut line)?;
        let said: Listening = serde_json::from_str(&line)?;
        Ok(Self { child, target: Target { address: said.address, roots: vec![said.root] } })
    }

    /// Where to send load.
    pub(super) fn target(&self) -> Target {
        self.target.clone()
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

impl Load {
    /// Starts a job.
    pub(super) fn start(target: Target, watched: &[u32], task: Task) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("load")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut input = child.stdin.take().context("its input is piped")?;
        let output = BufReader::new(child.stdout.take().context("its output is piped")?);
        let job = Job { target, watched: watched.to_vec(), task };
        writeln!(input, "{}", serde_json::to_string(&job)?)?;
        Ok(Self { child, input: Some(input), output })
    }

    /// Runs a job to its end.
    pub(super) fn run(target: Target, watched: &[u32], task: Task) -> anyhow::Result<Outcome> {
        Self::start(target, watched, task)?.finish()
    }

    /// The next line that it says.
    pub(super) fn hear<T: serde::de::DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line)?;
        ensure!(read > 0, "the load generator ended: {:?}", self.child.wait()?);
        Ok(serde_json::from_str(&line)?)
    }

    /// Lets it end, and what came of it.
    pub(super) fn finish(mut self) -> anyhow::Result<Outcome> {
        self.input = None;
        let outcome = self.hear()?;
        let ended = self.child.wait()?;
        ensure!(ended.success(), "the load generator: {ended}");
        Ok(outcome)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.input = None;
        if matches!(self.child.try_wait(), Ok(None)) {
            end(&mut self.child);
        }
    }
}
