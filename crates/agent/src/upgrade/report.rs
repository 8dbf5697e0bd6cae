//! Progress, as JSON lines (DESIGN 5.3). Percentages are counted in steps, never in time.

use std::io::Write;

use camino::Utf8PathBuf;
use handover_engine::run::{Act, Job, Plan, Report, Seen};
use handover_engine::upgrade::steps;
use handover_hoststeps::disk;
use handover_hoststeps::shell::Event;
use handover_model::{Progress, Stage};

/// Where progress goes.
pub(super) enum Listener {
    /// Whoever started us.
    Output,
    /// The run's own record, read by status.
    File(Utf8PathBuf),
}

/// Turns what the shell does into lines.
pub(super) struct Reporter {
    listener: Listener,
    /// Step ids in the plan's order.
    order: Vec<String>,
    last_wait: String,
}

impl Reporter {
    pub(super) fn new(listener: Listener, plan: &Plan) -> Self {
        let order = plan.steps.iter().map(|spec| spec.id.as_str().to_owned()).collect();
        Self { listener, order, last_wait: String::new() }
    }

    /// What the shell says goes on.
    pub(super) fn tell(&mut self, event: Event<'_>) {
        match event {
            Event::Doing { job, .. } => match job.act {
                Act::Apply => self.step(job, 0, "begins"),
                Act::Revert => self.step(job, 0, "is taken back"),
                Act::Look | Act::Save(_) => {}
            },
            Event::Came { job, report: Report::Seen(Seen::After(_)) } if !job.turned => {
                self.step(job, 1, "is done");
            }
            Event::Came { .. } => {}
            Event::Waiting { waits, turned } => {
                let stage = turned.map(|_| Stage::UpdateRollback);
                for (step, why) in waits {
                    let line = format!("{step}: waits for {why}");
                    if line != self.last_wait {
                        let percent = stage.is_none().then(|| self.percent(step.as_str(), 0));
                        let stage = stage.unwrap_or_else(|| stage_of(step.as_str()));
                        self.line(stage, step.as_str(), percent, &format!("waits for {why}"));
                        self.last_wait = line;
                    }
                }
            }
            Event::Turned { why } => self.line(Stage::UpdateRollback, "turn", Some(0), why),
        }
    }

    /// One line.
    pub(super) fn line(&mut self, stage: Stage, step: &str, percent: Option<u8>, detail: &str) {
        let detail: String = detail.chars().filter(|c| *c != '\n').take(2000).collect();
        let progress = Progress { stage, step: step.to_owned(), percent, detail };
        let Ok(text) = serde_json::to_string(&progress) else { return };
        // Nobody listening is no reason to stop an upgrade.
        match &self.listener {
            Listener::Output => {
                let mut out = std::io::stdout().lock();
                let _ = writeln!(out, "{text}").and_then(|()| out.flush());
            }
            Listener::File(path) => {
                let _ = disk::append_line(path, &text);
            }
        }
    }

    fn step(&mut self, job: &Job, done: usize, what: &str) {
        let id = job.step.as_str();
        let detail = format!("{id} {what}");
        if job.turned {
            self.line(Stage::UpdateRollback, id, None, &detail);
        } else {
            let percent = self.percent(id, done);
            self.line(stage_of(id), id, Some(percent), &detail);
        }
    }

    /// How much of the step's stage is done, when `done` of the step itself is.
    fn percent(&self, id: &str, done: usize) -> u8 {
        let stage = stage_of(id);
        let of_stage: Vec<_> = self.order.iter().filter(|other| stage_of(other) == stage).collect();
        let before = of_stage.iter().position(|other| *other == id).unwrap_or(0) + done;
        u8::try_from(before * 100 / of_stage.len().max(1)).unwrap_or(100)
    }
}

fn stage_of(step: &str) -> Stage {
    if step == steps::PREFLIGHT.id {
        return Stage::UpdateVerify;
    }
    let installs = [steps::INSTALL, steps::CONFIG, steps::PAUSE, steps::STATE];
    let installs = installs.iter().chain(&[steps::TRIAL, steps::SWAP]).any(|one| one.id == step);
    if installs { Stage::UpdateInstall } else { Stage::UpdateHealthcheck }
}
