//! Commands by which a person asks for something to change, or what would.

use std::fmt::Write as _;

use camino::Utf8Path;
use handover_engine::choose::Choice;
use handover_model::{ComponentName, Pin, Version};
use serde::Serialize;

use super::print::{Printer, wrap};
use super::read_named;
use crate::agent::Agent;
use crate::asked::{clear_failed, unknown_component, update_as_asked};
use crate::failure::{Exit, Failure, chain};
use crate::follow::{Moved, refresh_now, round};
use crate::install::Landed;
use crate::news::News;
use crate::outlook::{Ahead, Outlook};
use crate::policy::{Choices, change_choices};
use crate::repository::{Known, code_of};
use crate::rollback::{Back, Outcome, Who, observe, roll_back};

#[derive(Serialize)]
pub(super) struct Step {
    component: String,
    to: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Step {
    fn of(moved: &Moved) -> Self {
        let (outcome, reason) = match &moved.landed {
            Landed::Committed => ("committed", None),
            Landed::OnTrial(_) => ("on-trial", None),
            Landed::Refused(why) => ("refused", Some(why.clone())),
            Landed::Reverted(why) => ("reverted", Some(why.clone())),
            Landed::Unknown(why) => ("unknown", Some(why.clone())),
            Landed::LeftAlone => ("left-alone", None),
        };
        let to = moved.to.version.to_string();
        Self { component: moved.component.to_string(), to, outcome, reason }
    }
}

fn print_steps(printer: Printer, steps: &[Moved]) -> Result<Exit, Failure> {
    print_list(printer, &steps.iter().map(Step::of).collect::<Vec<_>>())
}

fn print_list(printer: Printer, steps: &[Step]) -> Result<Exit, Failure> {
    printer.data(&steps, |steps| {
        if steps.is_empty() {
            return "nothing to do; `handover-agent check` says why".to_owned();
        }
        let lines = steps.iter().map(|step| {
            let why = step.reason.as_deref().map_or_else(String::new, |why| format!(": {why}"));
            wrap(&format!("{} {}: {}{why}", step.component, step.to, step.outcome), 4)
        });
        lines.collect::<Vec<_>>().join("\n")
    })
}

/// `follow --once`.
pub(super) fn once(agent: &mut Agent, printer: Printer) -> Result<Exit, Failure> {
    let policy = agent.policy()?;
    let moved = round(agent, &policy)?;
    print_steps(printer, &moved)?;
    let worst = moved.iter().map(|moved| match moved.landed {
        Landed::Committed | Landed::OnTrial(_) | Landed::LeftAlone => Exit::Done,
        Landed::Reverted(_) => Exit::Reverted,
        Landed::Refused(_) => Exit::Refused,
        Landed::Unknown(_) => Exit::Failed,
    });
    Ok(worst.into_iter().find(|exit| *exit != Exit::Done).unwrap_or(Exit::Done))
}

#[derive(Serialize)]
struct Checked {
    component: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    choice: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    path: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    notes: Vec<String>,
}

impl Checked {
    fn of(ahead: &Ahead) -> Self {
        let mut checked = Self {
            component: ahead.policy.name.to_string(),
            current: ahead.slots.current.as_ref().map(|slot| slot.release.version.to_string()),
            choice: "up-to-date",
            next: None,
            path: Vec::new(),
            code: None,
            reason: None,
            notes: ahead.decision.notes.iter().map(ToString::to_string).collect(),
        };
        match &ahead.decision.choice {
            Choice::UpToDate => {}
            Choice::Update { path, next, .. } => {
                checked.choice = "update";
                checked.next = Some(next.facts.version.to_string());
                checked.path = path.iter().map(|release| release.version.to_string()).collect();
            }
            Choice::Hold(reason) => {
                checked.choice = "hold";
                checked.code = Some(reason.code().to_owned());
                checked.reason = Some(reason.to_string());
            }
        }
        checked
    }

    fn words(&self) -> String {
        let current = self.current.as_deref().unwrap_or("not installed");
        let mut text = match (&self.reason, self.path.as_slice()) {
            (Some(reason), _) => format!("{} {current}: held, {reason}", self.component),
            (None, []) => format!("{} {current}: up to date", self.component),
            (None, path) => {
                format!("{} {current}: would go to {}", self.component, path.join(", then "))
            }
        };
        text = wrap(&text, 4);
        for note in &self.notes {
            // Writing to a string can't fail.
            let _ = write!(text, "\n{}", wrap(&format!("  - {note}"), 4));
        }
        text
    }
}

/// `check`.
pub(super) fn check(agent: &Agent, printer: Printer) -> Result<Exit, Failure> {
    let policy = agent.policy()?;
    let Known { refreshed, refused } = refresh_now(agent, &policy)?;
    let outlook = Outlook::read(agent, &policy, News::load(agent)?.clock_off)?;
    let all = outlook.ahead(agent, &refreshed.catalog, None, None)?;
    let mut checked: Vec<_> = all.iter().map(Checked::of).collect();
    for (seen, ahead) in checked.iter_mut().zip(&all) {
        if let Some(error) = refused.get(&ahead.policy.name) {
            (seen.choice, seen.code) = ("hold", Some(code_of(error)));
            seen.reason = Some(chain(error));
        }
    }
    printer.data(&checked, |checked| {
        if checked.is_empty() {
            return "the policy lists no components".to_owned();
        }
        checked.iter().map(Checked::words).collect::<Vec<_>>().join("\n")
    })
}

/// `update`.
pub(super) fn update(
    agent: &mut Agent,
    printer: Printer,
    name: &ComponentName,
    to: Option<&Version>,
    permit: Option<&Utf8Path>,
) -> Result<Exit, Failure> {
    let policy = agent.policy()?;
    if policy.components.iter().all(|component| component.name != *name) {
        return Err(unknown_component(&policy, name));
    }
    let permit = permit.map(read_named).transpose()?;
    let moved = update_as_asked(agent, &policy, name, to, permit.as_deref())?;
    if moved.is_empty() {
        let current = agent.home.slots(name)?.current;
        let at = current.map_or_else(String::new, |slot| format!(" at {}", slot.release.version));
        agent.voice.say(&format!("{name} is up to date{at}"));
    }
    print_steps(printer, &moved)
}

/// `component apply`.
pub(super) fn apply(
    agent: &mut Agent,
    printer: Printer,
    name: &ComponentName,
    version: &Version,
) -> Result<Exit, Failure> {
    let policy = agent.policy()?;
    if policy.components.iter().all(|component| component.name != *name) {
        change_choices(&agent.home, |choices| choices.added.push(name.clone()))?;
    }
    update(agent, printer, name, Some(version), None)
}

/// `rollback`: from what is on this host alone.
pub(super) fn rollback(
    agent: &Agent,
    printer: Printer,
    name: &ComponentName,
    to: Option<&Version>,
    permit: Option<&Utf8Path>,
) -> Result<Exit, Failure> {
    let policy = agent.policy()?;
    let permit = permit.map(read_named).transpose()?;
    let back = Back { name, to, permit: permit.as_deref(), who: Who::Person };
    let went = roll_back(agent, policy, &back, &mut |_| Ok(()))?;
    if let Some(left) = &went.left {
        agent.voice.say(&format!(
            "only the slots of {name} went back: what {} wrote outside its slot (unit files, the \
             launcher) stays as it is; look it over",
            left.version
        ));
    }
    let seen = observe(agent, name, &went.to);
    let (outcome, exit) = match seen.outcome {
        Outcome::Running => ("running", Exit::Done),
        Outcome::NoLauncher => ("published", Exit::Done),
        Outcome::Unseen => ("published", Exit::Failed),
    };
    let to = went.to.version.to_string();
    let reason = seen.reason;
    print_list(printer, &[Step { component: name.to_string(), to, outcome, reason }])?;
    Ok(exit)
}

/// `pin` and `unpin`.
pub(super) fn pin(
    agent: &Agent,
    printer: Printer,
    name: &ComponentName,
    pin: Option<&Pin>,
) -> Result<Exit, Failure> {
    let policy = agent.policy()?;
    let Some(component) = policy.components.iter().find(|component| component.name == *name) else {
        return Err(unknown_component(&policy, name));
    };
    let said = match pin {
        Some(pin) => format!("{name} is pinned to {pin}"),
        None if Choices::load(&agent.home.choices())?.pins.contains_key(name) => {
            format!("{name} is pinned here no more")
        }
        None if component.pin.is_some() => {
            let reason = format!("the pin of {name} stands in policy.yaml: take it out there");
            return Err(Failure::Refused { code: "pin.in-policy", reason });
        }
        None => format!("{name} has no pin"),
    };
    let choices = change_choices(&agent.home, |choices| {
        match pin {
            Some(pin) => choices.pins.insert(name.clone(), pin.clone()),
            None => choices.pins.remove(name),
        };
    })?;
    let pins: std::collections::BTreeMap<_, _> =
        choices.pins.iter().map(|(name, pin)| (name.to_string(), pin.to_string())).collect();
    printer.data(&pins, |_| said)
}

/// `quarantine clear`.
pub(super) fn clear(
    agent: &Agent,
    printer: Printer,
    name: &ComponentName,
    version: Option<&Version>,
) -> Result<Exit, Failure> {
    let cleared = clear_failed(agent, name, version)?;
    printer.data(&cleared, |cleared| format!("{name} {} may be tried again", cleared.join(", ")))
}
