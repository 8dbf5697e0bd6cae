//! The control plane of the demo: a server that is a process like any other, and an operator who
//! types `handover`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::host::free_port;
use super::processes::{Daemon, Ended, run};
use super::publisher::text;
use crate::real_world::Clock;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(20);
/// How a login token begins.
const LOGIN: &str = "hol1_";

/// The control plane, and the operator's desk.
#[derive(Debug)]
pub(super) struct Control {
    handover: PathBuf,
    /// Where the server keeps everything.
    data: PathBuf,
    /// Where the operator's contexts lie.
    desk: PathBuf,
    log: PathBuf,
    address: SocketAddr,
    repository: PathBuf,
    server: Option<Daemon>,
}

impl Control {
    /// Starts a server on an empty directory and logs the operator in.
    pub(super) fn start(
        handover: &Path,
        directory: &Path,
        repository: &Path,
    ) -> anyhow::Result<Self> {
        let mut control = Self {
            handover: handover.to_owned(),
            data: directory.join("control-plane"),
            desk: directory.join("operator"),
            log: directory.join("logs/control-plane.log"),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)),
            repository: repository.to_owned(),
            server: None,
        };
        control.switch_on()?;
        let token = control.first_token()?;
        let logged_in = run(
            &control.handover,
            &["login"],
            &[("HANDOVER_LOGIN_TOKEN", &token), ("XDG_CONFIG_HOME", text(&control.desk)?)],
        )?;
        ensure!(logged_in.status.success(), "login: {}{}", logged_in.out, logged_in.err);
        Ok(control)
    }

    /// The token that the server shows once, at its first start.
    fn first_token(&self) -> anyhow::Result<String> {
        let clock = Clock::start();
        loop {
            let said = fs::read_to_string(&self.log).context("the server's log")?;
            let whole = said.lines().filter(|_| said.ends_with('\n'));
            let token = whole.flat_map(str::split_whitespace).find(|word| word.starts_with(LOGIN));
            if let Some(token) = token {
                return Ok(token.to_owned());
            }
            ensure!(clock.now().mono < PATIENCE, "the server showed no login token");
            std::thread::park_timeout(GLANCE);
        }
    }

    /// Starts the server, and waits until it answers.
    pub(super) fn switch_on(&mut self) -> anyhow::Result<()> {
        let (data, address) = (text(&self.data)?, self.address.to_string());
        let repository = text(&self.repository)?;
        let words = [
            ["server", "--data", data, "--listen", &address],
            ["--name", "127.0.0.1", "--repository", repository, "--every=1s"],
        ];
        // With these two, who is silent for five seconds is missed.
        let words = [&words.concat()[..], &["--longest-poll=2s"]].concat();
        let mut server = Daemon::start("the control plane", &self.handover, &words, &self.log)?;
        let clock = Clock::start();
        while TcpStream::connect_timeout(&self.address, GLANCE).is_err() {
            ensure!(server.is_alive(), "the control plane ended; see {}", self.log.display());
            ensure!(clock.now().mono < PATIENCE, "the control plane does not answer");
            std::thread::park_timeout(GLANCE);
        }
        self.server = Some(server);
        Ok(())
    }

    /// Kills the server: it can't put anything in order first.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        self.server.take().context("the control plane does not run")?.kill()
    }

    /// Where it listens.
    pub(super) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Where the operator's contexts lie, for whoever wants to type more.
    pub(super) fn desk(&self) -> &Path {
        &self.desk
    }

    /// What the operator types.
    pub(super) fn command(&self, words: &[&str]) -> anyhow::Result<Ended> {
        run(&self.handover, words, &[("XDG_CONFIG_HOME", text(&self.desk)?)])
    }

    /// The same, for an answer as JSON.
    pub(super) fn json(&self, words: &[&str]) -> anyhow::Result<Value> {
        let all = [words, &["--output", "json"]].concat();
        let ended = self.command(&all)?;
        ensure!(ended.status.success(), "handover {}: {}", words.join(" "), ended.err.trim());
        ended.json()
    }

    /// Tokens, each for one host at `site`.
    pub(super) fn tokens(&self, site: &str, count: usize) -> anyhow::Result<Vec<String>> {
        let (label, count) = (format!("site={site}"), count.to_string());
        let ended = self.command(&["token", "create", "--bind", &label, "--count", &count])?;
        ensure!(ended.status.success(), "token create: {}{}", ended.out, ended.err);
        Ok(ended.out.split_whitespace().map(str::to_owned).collect())
    }

    /// Orders an update of `component` on `hosts` and waits for its end; the exit code says how
    /// it went.
    pub(super) fn update(
        &self,
        hosts: &[&str],
        component: &str,
        to: &str,
        more: &[&str],
    ) -> anyhow::Result<Ended> {
        let mut words = vec!["agent", "update"];
        words.extend(hosts);
        words.extend(["--component", component, "--to", to, "--yes"]);
        words.extend(more);
        self.command(&words)
    }

    /// How the orders for a version stand: how many there are in each state.
    pub(super) fn orders_to(&self, version: &str) -> anyhow::Result<Vec<String>> {
        let answer = self.json(&["order", "list"])?;
        let Some(orders) = answer.as_array() else { bail!("no list of orders: {answer}") };
        let wanted = orders.iter().filter(|order| order["action"]["to"] == version);
        let states = wanted.map(|order| order["state"].as_str().unwrap_or("?").to_owned());
        Ok(states.collect())
    }
}
