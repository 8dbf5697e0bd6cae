//! One run: an update with at most one fault in it, what a service manager would do about it, and
//! whether the host came back whole.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use camino::Utf8Path;
use handover_model::{OUTCOME_FORMAT, Outcome, RunResult, open_framed};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::keeper::{Kept, keep};
use super::points::{Fault, Point, Role};
use super::stage::{REPOSITORY, SETTLE, Stage, words};
use crate::{command, served, wait};

/// Which fault to inject, as `ROLE:NTH:FAULT` on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    /// Whose call.
    pub(super) role: Role,
    /// Which of them, from 1.
    pub(super) nth: u32,
    /// What happens there.
    pub(super) fault: Fault,
}

/// What a run tells whoever started it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Told {
    /// Every call that was seen.
    pub(super) points: Vec<Point>,
    /// The version that served when everything had settled.
    pub(super) settled: String,
    /// How often the launcher had to be started.
    pub(super) starts: u32,
}

/// Plays a run on `stage`, whose directory is empty. `share` holds repositories and the root to
/// begin with.
///
/// # Errors
/// When the host does not come back whole: what was expected and what was seen.
pub(super) fn play(
    stage: &Stage,
    share: &Utf8Path,
    target: Option<Target>,
) -> anyhow::Result<Told> {
    offer(stage, share, 2)?;
    served::serve(&stage.dir.join("repository"), REPOSITORY)?;
    command::output(Command::new("cp").arg("-a").arg(share.join("root")).arg(stage.root()))?;
    let launcher = keep_launcher(stage, target)?;
    wait::until("version 1.0.0 to serve", SETTLE, || is(stage.served()?, "1.0.0"))?;
    let before = note(stage)?;

    let ended = traced(stage, target, &stage.agent(&["update", "web"]))?;
    // What a service manager would start again: it picks up what was cut, and goes on.
    let again = stage.ask_agent(&["follow", "--once"])?;
    let settled = stage.settle().with_context(|| {
        format!("the agent ended with {ended:?}, then {:?}: {}", again.code, again.err)
    })?;
    ensure!(["1.0.0", "1.1.0"].contains(&settled.as_str()), "{settled} serves");
    runs_have_ended(stage)?;
    status_tells_the_truth(stage, &settled)?;
    stage.nothing_is_half_there()?;
    ensure!(note(stage)? == before, "the service's state changed: {} was {before}", note(stage)?);

    offer(stage, share, 3)?;
    next_update(stage)?;
    let after = stage.settle().context("after the next update")?;
    ensure!(after == "1.2.0", "after the next update {after} serves");
    stage.nothing_is_half_there().context("after the next update")?;
    ensure!(note(stage)? == before, "the service's state changed with the next update");
    Ok(Told { points: points(stage)?, settled, starts: launcher.starts() })
}

/// A good release after the fault has to arrive at the first attempt; at the second, where the
/// fault (a launcher lives longer than an update) struck only during this one.
fn next_update(stage: &Stage) -> anyhow::Result<()> {
    let struck = || points(stage).map(|points| points.iter().any(|point| point.fault.is_some()));
    let before = struck()?;
    let mut asked = stage.ask_agent(&["update", "web"])?;
    if asked.code != Some(0) && !before && struck()? {
        stage.settle().context("after a fault in the next update")?;
        asked = stage.ask_agent(&["update", "web"])?;
    }
    ensure!(asked.code == Some(0), "the next update failed: {}{}", asked.out, asked.err);
    Ok(())
}

/// Makes the repository as it was after its `n`th publication the one that is served.
pub(super) fn offer(stage: &Stage, share: &Utf8Path, n: u32) -> anyhow::Result<()> {
    let (aside, link) = (stage.dir.join("repository.new"), stage.dir.join("repository"));
    symlink(share.join(format!("repository-{n}")), &aside).context("link a repository")?;
    fs::rename(&aside, &link).context("offer a repository")
}

/// Starts the launcher and keeps it running, its first start traced where the fault is its own.
fn keep_launcher(stage: &Stage, target: Option<Target>) -> anyhow::Result<Kept> {
    let traced = match target {
        Some(Target { role: Role::Launcher, .. }) | None => {
            Some(tracer(stage, target, None, &stage.launcher())?)
        }
        Some(Target { role: Role::Agent | Role::Entrypoint | Role::Watcher, .. }) => None,
    };
    keep(Role::Launcher, traced.as_deref(), stage.launcher(), &stage.log(Role::Launcher))
}

/// Runs the agent, traced where the fault is its own or that of something it starts.
fn traced(stage: &Stage, target: Option<Target>, line: &[String]) -> anyhow::Result<Option<i32>> {
    let line = match target {
        Some(Target { role: Role::Launcher, .. }) => line.to_vec(),
        Some(Target { role: Role::Agent | Role::Entrypoint | Role::Watcher, .. }) | None => {
            tracer(stage, target, Some(&stage.ended()), line)?
        }
    };
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(stage.log(Role::Agent))
        .context("open the agent's log")?;
    let also = log.try_clone().context("duplicate the agent's log")?;
    let (program, arguments) = line.split_first().context("a command has a program")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .stdout(log)
        .stderr(also)
        .spawn()
        .context("start the agent")?;
    // The tracer stays until the watcher ends too, which the host's settling does not wait for.
    wait::until("the agent's first command to end", Duration::from_secs(90), || {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => Ok(status.code()),
            None => match fs::read_to_string(stage.ended()) {
                Ok(code) => Ok(code.parse().ok()),
                Err(_not_yet) => Err("still running".to_owned()),
            },
        }
    })
}

/// The command line that runs `line` under the tracer.
fn tracer(
    stage: &Stage,
    target: Option<Target>,
    ended: Option<&Utf8Path>,
    line: &[String],
) -> anyhow::Result<Vec<String>> {
    let me = std::env::current_exe().context("find our own executable")?;
    let me = me.to_str().context("our own path is UTF-8")?;
    let mut traced = words(&[me, "trace", "--log", stage.calls().as_str()]);
    if let Some(ended) = ended {
        traced.extend(words(&["--ended", ended.as_str()]));
    }
    if let Some(Target { role, nth, fault }) = target {
        traced.extend(words(&["--role", &word(&role), "--nth", &nth.to_string()]));
        traced.extend(words(&["--fault", &word(&fault)]));
    }
    traced.push("--".to_owned());
    traced.extend_from_slice(line);
    Ok(traced)
}

fn is(found: String, wanted: &str) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(found) }
}

/// What the service remembers that a visitor left.
fn note(stage: &Stage) -> anyhow::Result<Value> {
    let kept = stage.slots()?.current.and_then(|slot| slot.state).context("it keeps state")?;
    let path = kept.join("store.json");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let value: Value = serde_json::from_str(&text).with_context(|| format!("parse {path}"))?;
    // One note in schema 1, a list of them in schema 2.
    let notes = value["notes"].as_array();
    Ok(notes.map_or_else(|| value["note"].clone(), |all| all.last().cloned().unwrap_or_default()))
}

/// Waits until every run's directory says how the run ended.
fn runs_have_ended(stage: &Stage) -> anyhow::Result<()> {
    let runs = stage.layout()?.runs();
    wait::until("every run to have ended", SETTLE, || {
        for entry in runs.read_dir_utf8().map_err(|error| error.to_string())? {
            let run = entry.map_err(|error| error.to_string())?.into_path();
            let path = run.join("outcome.json");
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(_none) if !run.join("journal.jsonl").exists() => continue,
                Err(error) => return Err(format!("{path}: {error}")),
            };
            let outcome: Outcome = open_framed("outcome", OUTCOME_FORMAT, &bytes)
                .map_err(|error| format!("{path}: {error}"))?;
            // One that is merely guarded gives way to the next.
            if !outcome.result.ended() && outcome.result != RunResult::Guarded {
                return Err(format!("{run} is not at its end: {:?}", outcome.result));
            }
        }
        Ok(())
    })
}

/// `status` has to say what we see by looking ourselves.
fn status_tells_the_truth(stage: &Stage, settled: &str) -> anyhow::Result<()> {
    let asked = stage.ask_agent(&["status", "--output", "json"])?;
    ensure!(asked.code == Some(0), "status failed: {}{}", asked.out, asked.err);
    let status: Value = serde_json::from_str(&asked.out).context("parse the status")?;
    let web = status["components"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["component"] == "web"))
        .with_context(|| format!("status does not name the component: {status}"))?;
    let says = [&web["current"], &web["process"]["version"]];
    ensure!(says.iter().all(|say| *say == settled), "status does not say {settled}: {web}");
    ensure!(web["process"]["proved"] == true, "status has not proved what runs: {web}");
    Ok(())
}

/// The calls that were written down.
fn points(stage: &Stage) -> anyhow::Result<Vec<Point>> {
    let text = match fs::read_to_string(stage.calls()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.context("read the log of calls")?,
    };
    text.lines().map(|line| serde_json::from_str(line).context("parse the log of calls")).collect()
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let [role, nth, fault] = parts[..] else { bail!("{text:?} is not ROLE:NTH:FAULT") };
        Ok(Self {
            role: parse(role)?,
            nth: nth.parse().with_context(|| format!("{nth:?} is no number"))?,
            fault: parse(fault)?,
        })
    }
}

fn parse<T: clap::ValueEnum>(word: &str) -> anyhow::Result<T> {
    T::from_str(word, true).map_err(anyhow::Error::msg)
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", word(&self.role), self.nth, word(&self.fault))
    }
}

/// The word for a value on our own command line.
fn word<T: clap::ValueEnum>(value: &T) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
