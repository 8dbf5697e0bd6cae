//! Commands by which a person asks for something to change, or what would.

use std::fmt::Write as _;
use std::time::Duration;

use camino::Utf8Path;
use handover_engine::choose::{Choice, choose_rollback};
use handover_engine::slots::{clear_quarantine, roll_back_to};
use handover_hoststeps::Running;
use handover_model::{ComponentName, Pin, ReleaseId, Version};
use serde::Serialize;

use super::print::{Printer, wrap};
use super::read_named;
use crate::accepted::Accepted;
use crate::agent::Agent;
use crate::asked::{unknown_component, update_as_asked};
use crate::attempts::Attempts;
use crate::failure::{Exit, Failure, chain};
use crate::follow::{Moved, change_slots, raise_floors, refresh_now, round};
use crate::install::Landed;
use crate::news::News;
use crate::outlook::{Ahead, Outlook};
use crate::policy::Choices;
use crate::repository::{Known, RepositoryError, Source, code_of, refresh};

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
        let mut choices = Choices::load(&agent.home.choices())?;
        choices.added.push(name.clone());
        choices.save(&agent.home.choices())?;
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
    let mut policy = agent.policy()?;
    if policy.components.iter().all(|component| component.name != *name) {
        return Err(unknown_component(&policy, name));
    }
    policy.components.retain(|component| component.name == *name);
    raise_floors(agent)?;
    let _lock = agent.lock(name)?;
    // What was verified last is good enough to know of revocations and keys; with nothing known
    // the host may still go back.
    let known = refresh(
        &agent.home.trust(),
        &Source::Memory,
        std::slice::from_ref(name),
        &agent.stop,
        &agent.clock,
    );
    say_unknown(agent, name, &known);
    let mut permits = Vec::new();
    if let Some(path) = permit {
        let bytes = read_named(path)?;
        let now = agent.now().wall;
        let catalog = &known.as_ref().map_err(offline_permit)?.refreshed.catalog;
        permits.push(handover_trust::verify_permit(&bytes, catalog, name, &policy.agent, now)?);
    }
    let offers = known
        .as_ref()
        .map(|known| handover_engine::graph::offers(&known.refreshed.catalog, name))
        .unwrap_or_default();
    let slots = agent.home.slots(name)?;
    policy.components.iter_mut().for_each(|component| component.after.clear());
    let outlook = Outlook::read(agent, &policy, None)?;
    let others = std::collections::BTreeMap::new();
    let facts = outlook.facts(&policy.components[0], &slots, &others);
    let back = choose_rollback(&facts, &offers, &permits, to)
        .map_err(|reason| Failure::Refused { code: reason.code(), reason: reason.to_string() })?;
    if let Some(signed) = permits.iter().find(|signed| Some(signed.id) == back.permit) {
        let (version, now) = (&back.to.version, agent.now().wall);
        Accepted::of(&agent.home).spend(signed, &policy.agent, name, version, now)?;
    }
    if let Some(release) = &back.lifts_quarantine {
        change_slots(agent, name, |slots| clear_quarantine(slots, release))?;
    }
    let now = agent.now().wall;
    change_slots(agent, name, |slots| roll_back_to(slots, &back.to, "taken back by hand", now))?;
    tracing::info!(component = %name, release = %back.to, "component rolled back");
    if let Some(left) = &slots.current {
        agent.voice.say(&format!(
            "only the slots of {name} went back: what {} wrote outside its slot (unit files, the \
             launcher) stays as it is; look it over",
            left.release.version
        ));
    }
    let (outcome, reason, exit) = observe(agent, name, &back.to);
    let to = back.to.version.to_string();
    print_list(printer, &[Step { component: name.to_string(), to, outcome, reason }])?;
    Ok(exit)
}

/// Says that nothing is known of revocations, when that is so.
fn say_unknown(agent: &Agent, name: &ComponentName, known: &Result<Known, RepositoryError>) {
    let why = match known {
        Ok(known) => known.refused.get(name).map(|error| chain(error)),
        Err(error) => Some(chain(error)),
    };
    if let Some(why) = why {
        agent
            .voice
            .say(&format!("whether a release of {name} was revoked is not known here: {why}"));
    }
}

/// How long a rollback waits for the release to be seen running.
const OBSERVED_WITHIN: Duration = Duration::from_secs(30);
/// How often it looks.
const GLANCE: Duration = Duration::from_millis(100);

/// What the launcher made of a published return, by looking at its process.
fn observe(
    agent: &Agent,
    name: &ComponentName,
    to: &ReleaseId,
) -> (&'static str, Option<String>, Exit) {
    let limit = agent.now().mono.saturating_add(OBSERVED_WITHIN);
    loop {
        let why = match agent.running(name) {
            Ok(Running { launcher: None, .. }) => {
                let why = "no launcher runs; it starts with the next one".to_owned();
                return ("published", Some(why), Exit::Done);
            }
            Ok(Running { child: Some(child), .. }) if child.release == *to && child.ready => {
                return ("running", None, Exit::Done);
            }
            Ok(_) => {
                "its process was not seen ready; `handover-agent status` shows more".to_owned()
            }
            Err(error) => chain(&error),
        };
        if agent.now().mono >= limit || agent.wait(GLANCE) {
            return ("published", Some(why), Exit::Failed);
        }
    }
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
    let mut choices = Choices::load(&agent.home.choices())?;
    let said = match pin {
        Some(pin) => {
            choices.pins.insert(name.clone(), pin.clone());
            format!("{name} is pinned to {pin}")
        }
        None if choices.pins.remove(name).is_some() => format!("{name} is pinned here no more"),
        None if component.pin.is_some() => {
            let reason = format!("the pin of {name} stands in policy.yaml: take it out there");
            return Err(Failure::Refused { code: "pin.in-policy", reason });
        }
        None => format!("{name} has no pin"),
    };
    choices.save(&agent.home.choices())?;
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
    let _lock = agent.lock(name)?;
    let entries = agent.home.slots(name)?.quarantine;
    let chosen: Vec<_> = entries
        .into_iter()
        .map(|entry| entry.release)
        .filter(|release| version.is_none_or(|version| release.version == *version))
        .collect();
    let path = agent.home.attempts(name);
    let attempts = Attempts::load(&path)?;
    let gave_up = attempts
        .failed
        .filter(|failed| version.is_none_or(|version| failed.release.version == *version));
    if chosen.is_empty() && gave_up.is_none() {
        let what = format!("nothing of {name} is in quarantine that fits");
        return Err(Failure::NotFound { what });
    }
    for release in &chosen {
        change_slots(agent, name, |slots| clear_quarantine(slots, release))?;
    }
    {
        Attempts::cleared(agent.now().wall).save(&path)?;
    }
    let mut cleared: Vec<_> = chosen.iter().map(|release| release.version.to_string()).collect();
    cleared.extend(gave_up.map(|failed| failed.release.version.to_string()));
    cleared.dedup();
    printer.data(&cleared, |cleared| format!("{name} {} may be tried again", cleared.join(", ")))
}

/// A permit can be checked only with keys that are known.
fn offline_permit(error: &crate::repository::RepositoryError) -> Failure {
    let reason = format!(
        "the permit can't be checked with what this host knows of the repository: {}; run \
         `handover-agent check` first",
        crate::failure::chain(error)
    );
    Failure::Refused { code: "permit.unknown-keys", reason }
}
