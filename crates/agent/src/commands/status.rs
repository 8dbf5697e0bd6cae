//! `status` and `component list`: what a look at this host says.

use std::fmt::Write as _;

use handover_model::{ComponentName, Slots};
use serde::Serialize;

use super::control;
use super::print::{Printer, field};
use crate::agent::Agent;
use crate::failure::{Exit, Failure, chain};
use crate::news::News;
use crate::runs::open_runs;
use crate::voice::plain;

/// The whole host.
#[derive(Serialize)]
pub(super) struct HostStatus {
    pub(super) agent: String,
    pub(super) root: String,
    pub(super) repository: String,
    pub(super) news: News,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) control: Option<control::ControlStatus>,
    pub(super) components: Vec<ComponentStatus>,
}

/// One component, as it is.
#[derive(Serialize)]
pub(super) struct ComponentStatus {
    pub(super) component: String,
    /// `running`, `running-other`, `stopped`, `not-installed` or `unreadable`.
    pub(super) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trial: Option<TrialStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) returns_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) process: Option<ProcessStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) launcher: Option<u32>,
    pub(super) previous: Vec<String>,
    pub(super) quarantine: Vec<QuarantineStatus>,
    pub(super) runs: Vec<RunStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

#[derive(Serialize)]
pub(super) struct TrialStatus {
    version: String,
    boots_left: u32,
    window: String,
    elapsed: String,
}

#[derive(Serialize)]
pub(super) struct ProcessStatus {
    pid: u32,
    version: String,
    executable_digest: String,
    /// Whether the running executable is the one that the slot names.
    proved: bool,
    ready: bool,
    age_seconds: u64,
}

#[derive(Serialize)]
pub(super) struct QuarantineStatus {
    version: String,
    reason: String,
    at: String,
}

#[derive(Serialize)]
pub(super) struct RunStatus {
    run: String,
    to: String,
    result: Option<handover_model::RunResult>,
    watched_by: Option<u32>,
}

/// `status`.
pub(super) fn status(agent: &Agent, printer: Printer) -> Result<Exit, Failure> {
    let seen = look(agent)?;
    let damaged = seen.components.iter().any(|component| component.error.is_some());
    printer.data(&seen, words)?;
    Ok(if damaged { Exit::Damaged } else { Exit::Done })
}

/// `component list`.
pub(super) fn list(agent: &Agent, printer: Printer) -> Result<Exit, Failure> {
    let seen = look(agent)?;
    printer.data(&seen.components, |components| {
        let mut text = String::new();
        for component in components {
            let current = component.current.as_deref().unwrap_or("-");
            let pin = component.pin.as_deref().map_or(String::new(), |pin| format!("  pin {pin}"));
            let name = &component.component;
            // Writing to a string can't fail.
            let _ = writeln!(text, "{name:<24} {current:<16} {}{pin}", component.state);
        }
        text
    })
}

/// Looks at everything.
pub(super) fn look(agent: &Agent) -> Result<HostStatus, Failure> {
    let policy = agent.policy()?;
    let mut names: Vec<ComponentName> =
        policy.components.iter().map(|component| component.name.clone()).collect();
    names.extend(agent.home.present()?);
    names.sort();
    names.dedup();
    let components = names.iter().map(|name| {
        let mut seen = look_at(agent, name);
        let listed = policy.components.iter().find(|component| component.name == *name);
        seen.pin = listed.and_then(|component| component.pin.as_ref()).map(ToString::to_string);
        seen
    });
    Ok(HostStatus {
        components: components.collect(),
        agent: policy.agent.to_string(),
        root: agent.home.root().to_string(),
        repository: policy.repository.metadata.clone(),
        news: News::load(agent)?,
        control: control::look(agent),
    })
}

/// Looks at one component. What can't be read is part of the answer.
pub(super) fn look_at(agent: &Agent, name: &ComponentName) -> ComponentStatus {
    let slots = match agent.home.slots(name) {
        Ok(slots) => slots,
        Err(error) => {
            let mut seen = empty(name, "unreadable");
            seen.error = Some(chain(&error));
            return seen;
        }
    };
    let mut seen = of_slots(name, &slots);
    match agent.running(name) {
        Ok(running) => {
            seen.launcher = running.launcher;
            seen.process = running.child.map(|child| {
                let slot = slots
                    .current
                    .iter()
                    .chain(slots.trial.iter().map(|trial| &trial.slot))
                    .find(|slot| slot.release == child.release);
                ProcessStatus {
                    pid: child.pid,
                    version: child.release.version.to_string(),
                    executable_digest: child.executable_digest.to_string(),
                    proved: slot.is_some_and(|slot| {
                        slot.recipe.executable_digest == child.executable_digest
                    }),
                    ready: child.ready,
                    age_seconds: child.age.as_secs(),
                }
            });
        }
        Err(error) => seen.error = Some(chain(&error)),
    }
    seen.state = match (&seen.current, &seen.process) {
        (_, Some(process)) if process.proved => "running",
        (_, Some(_)) => "running-other",
        (Some(_), None) => "stopped",
        (None, None) => "not-installed",
    };
    match open_runs(&agent.home, name) {
        Ok(open) => {
            seen.runs = open
                .iter()
                .map(|open| RunStatus {
                    run: open.run.to_string(),
                    to: open.to.version.to_string(),
                    result: open.result,
                    watched_by: open.holder,
                })
                .collect();
        }
        Err(error) => seen.error = Some(chain(&error)),
    }
    seen
}

fn empty(name: &ComponentName, state: &'static str) -> ComponentStatus {
    ComponentStatus {
        component: name.to_string(),
        state,
        current: None,
        digest: None,
        generation: None,
        trial: None,
        returns_until: None,
        process: None,
        launcher: None,
        previous: Vec::new(),
        quarantine: Vec::new(),
        runs: Vec::new(),
        pin: None,
        error: None,
    }
}

fn of_slots(name: &ComponentName, slots: &Slots) -> ComponentStatus {
    let mut seen = empty(name, "stopped");
    seen.generation = Some(slots.generation);
    if let Some(slot) = &slots.current {
        seen.current = Some(slot.release.version.to_string());
        seen.digest = Some(slot.release.digest.to_string());
        seen.returns_until = slot
            .guard
            .as_ref()
            .filter(|guard| guard.elapsed < guard.within)
            .map(|guard| format!("{} of {}", guard.elapsed, guard.within));
    }
    seen.trial = slots.trial.as_ref().map(|trial| TrialStatus {
        version: trial.slot.release.version.to_string(),
        boots_left: trial.boots_left,
        window: trial.window.to_string(),
        elapsed: trial.elapsed.to_string(),
    });
    seen.previous = slots.previous.iter().map(|slot| slot.release.version.to_string()).collect();
    seen.quarantine = slots
        .quarantine
        .iter()
        .map(|entry| QuarantineStatus {
            version: entry.release.version.to_string(),
            reason: entry.reason.clone(),
            at: entry.at.to_string(),
        })
        .collect();
    seen
}

fn words(host: &HostStatus) -> String {
    let mut text = format!("{}\n", host.agent);
    text.push_str(&field("root", &host.root));
    text.push_str(&field("repository", &host.repository));
    text.push_str(&field("metadata", &news_words(&host.news)));
    if let Some(seen) = &host.control {
        text.push_str(&control::words(seen));
    }
    if host.components.is_empty() {
        text.push_str("\nno components: add some to policy.yaml\n");
    }
    for component in &host.components {
        text.push('\n');
        text.push_str(&component_words(component));
    }
    text
}

/// What came of the last look at the repository.
pub(super) fn news_words(news: &News) -> String {
    let seen = match (news.refreshed_at, news.expires) {
        (Some(at), Some(expires)) => format!("fresh at {at}, valid until {expires}"),
        (Some(at), None) => format!("fresh at {at}"),
        (None, _) => "never fetched".to_owned(),
    };
    match &news.refused {
        Some(refused) => format!(
            "{seen}; the last look failed: {} [{}]",
            plain(&refused.reason, 300),
            refused.code
        ),
        None => seen,
    }
}

/// One component for people.
pub(super) fn component_words(seen: &ComponentStatus) -> String {
    let current = seen.current.as_deref().unwrap_or("");
    let mut text = format!("{} {current} {}\n", seen.component, seen.state).replace("  ", " ");
    let mut add = |label: &str, body: &str| text.push_str(&field(label, body));
    if let Some(process) = &seen.process {
        let proof = if process.proved {
            "its executable is the slot's"
        } else {
            "its executable is NOT the slot's"
        };
        let ready = if process.ready { "ready" } else { "not ready" };
        add(
            "process",
            &format!(
                "{} runs {} for {}s, {ready}, {proof}",
                process.pid, process.version, process.age_seconds
            ),
        );
    }
    match (seen.launcher, &seen.current) {
        (Some(pid), _) => add("launcher", &format!("process {pid}")),
        (None, Some(_)) => add("launcher", "not running"),
        (None, None) => {}
    }
    if let Some(trial) = &seen.trial {
        add(
            "on trial",
            &format!(
                "{}, {} of {}, {} starts left",
                trial.version, trial.elapsed, trial.window, trial.boots_left
            ),
        );
    }
    if let Some(left) = &seen.returns_until {
        add("returnable", left);
    }
    if !seen.previous.is_empty() {
        add("kept", &seen.previous.join(", "));
    }
    for entry in &seen.quarantine {
        add("quarantine", &format!("{}: {}", entry.version, plain(&entry.reason, 300)));
    }
    for run in &seen.runs {
        let watched = run.watched_by.map_or_else(
            || "nobody works on it; the agent resumes it".to_owned(),
            |pid| format!("process {pid} works on it"),
        );
        add("run", &format!("to {}, {watched}", run.to));
    }
    if let Some(pin) = &seen.pin {
        add("pin", pin);
    }
    if let Some(error) = &seen.error {
        add("ERROR", error);
    }
    text
}
