//! What a server is started with.

use std::net::SocketAddr;
use std::time::Duration;

use camino::Utf8PathBuf;
use handover_model::Millis;
use handover_model::wire::LONGEST_WAIT;

/// What a server is started with. [`Config::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data directory; made, with everything in it, when it is empty.
    pub data: Utf8PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Names and addresses by which agents and people reach the server: they stand in its
    /// certificate, and the first one in the tokens that it makes.
    pub names: Vec<String>,
    /// The base address that stands in tokens, when it is not `https://<first name>:<port>`.
    pub public_url: Option<String>,
    /// `sqlite:FILE` or `postgres://…`; absent: `handover.db` in the data directory.
    pub database: Option<String>,
    /// Where agents find the repository; absent: in the data directory, served by this server.
    pub repository: Option<Repository>,
    /// How often agents come when nothing waits for them, give or take a tenth.
    pub next: Millis,
    /// What the server allows at once.
    pub limits: Limits,
}

/// Where a repository is, when it is not in the data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repository {
    /// A directory with `metadata/` and `targets/`.
    Directory(Utf8PathBuf),
    /// A static file server's base address; agents are sent there.
    Url(String),
}

/// What the server allows at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// How long the head of a request, or a TLS handshake, may take.
    pub head: Duration,
    /// How long the body of an ordinary request may take.
    pub body: Duration,
    /// How long an ordinary request may take altogether; streams and long polls apart.
    pub request: Duration,
    /// How long a long poll may be held open; no longer than the protocol's own limit. An agent
    /// that is held says nothing meanwhile: the longer, the later it is missed.
    pub wait: Duration,
    /// How long a connection may stay open without a request.
    pub idle: Duration,
    /// Requests per second of one API token, with a burst of four times as many.
    pub requests_per_second: u32,
    /// Requests in ten seconds of one agent; a healthy one needs two.
    pub agent_requests_per_10s: u32,
    /// Enrolments per second over all; with a burst of ten times as many.
    pub enrolments_per_second: u32,
    /// Packages being downloaded at once; each takes an open file and some 256 KiB.
    pub downloads: usize,
    /// The body of an ordinary request, in bytes.
    pub body_bytes: usize,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object per line.
    Json,
}

impl Config {
    /// A server on `data`, listening on `listen`, otherwise as the defaults are.
    pub fn new(data: Utf8PathBuf, listen: SocketAddr) -> Self {
        Self {
            data,
            listen,
            names: Vec::new(),
            public_url: None,
            database: None,
            repository: None,
            next: Millis(60_000),
            limits: Limits::default(),
        }
    }

    /// After how long a silence an agent counts as away.
    pub fn away_after(&self) -> Millis {
        let held = Millis::of(self.limits.wait).min(Millis(LONGEST_WAIT));
        handover_engine::control::presence::away_after(self.next, held)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100_000,
            head: Duration::from_secs(10),
            body: Duration::from_secs(15),
            request: Duration::from_secs(30),
            wait: Duration::from_millis(LONGEST_WAIT),
            idle: Duration::from_mins(10),
            requests_per_second: 50,
            agent_requests_per_10s: 100,
            enrolments_per_second: 50,
            downloads: 512,
            body_bytes: 1 << 20,
        }
    }
}
