//! Going back to a release that is kept on this host: from what is here alone, for a person or
//! for an order.

use std::time::Duration;

use handover_engine::choose::choose_rollback;
use handover_engine::slots::{clear_quarantine, roll_back_to};
use handover_hoststeps::Running;
use handover_model::{ComponentName, ComponentPolicy, HostPolicy, ReleaseId, Version};

use crate::accepted::Accepted;
use crate::agent::Agent;
use crate::asked::unknown_component;
use crate::failure::{Failure, chain};
use crate::follow::{change_slots, raise_floors};
use crate::outlook::Outlook;
use crate::repository::{Known, RepositoryError, Source, refresh};

/// Who wants to go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A person on this host, who may lift a quarantine by naming its version.
    Person,
    /// The control plane, which may not, and which pins bind.
    Order,
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Back<'a> {
    /// The component.
    pub name: &'a ComponentName,
    /// The version; the last good one where absent.
    pub to: Option<&'a Version>,
    /// A permit's file.
    pub permit: Option<&'a [u8]>,
    /// Who asks.
    pub who: Who,
}

/// A return that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WentBack {
    /// The release that is current now.
    pub to: ReleaseId,
    /// The one that was.
    pub left: Option<ReleaseId>,
}

/// Publishes a return. `before` hears the decision while nothing has changed yet, and may refuse.
///
/// # Errors
/// [`Failure`] when it is refused or the disk fails.
pub fn roll_back(
    agent: &Agent,
    mut policy: HostPolicy,
    back: &Back<'_>,
    before: &mut dyn FnMut(&ReleaseId) -> Result<(), Failure>,
) -> Result<WentBack, Failure> {
    let name = back.name;
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
    if let Some(bytes) = back.permit {
        let now = agent.now().wall;
        let catalog = &known.as_ref().map_err(offline_permit)?.refreshed.catalog;
        permits.push(handover_trust::verify_permit(bytes, catalog, name, &policy.agent, now)?);
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
    let chosen = choose_rollback(&facts, &offers, &permits, back.to)
        .map_err(|reason| Failure::Refused { code: reason.code(), reason: reason.to_string() })?;
    if back.who == Who::Order {
        check_order(&policy.components[0], &chosen.to, chosen.lifts_quarantine.as_ref())?;
    }
    before(&chosen.to)?;
    if let Some(signed) = permits.iter().find(|signed| Some(signed.id) == chosen.permit) {
        let (version, now) = (&chosen.to.version, agent.now().wall);
        Accepted::of(&agent.home).spend(signed, &policy.agent, name, version, now)?;
    }
    if let Some(release) = &chosen.lifts_quarantine {
        change_slots(agent, name, |slots| clear_quarantine(slots, release))?;
    }
    let (now, why) = (agent.now().wall, why(back.who));
    change_slots(agent, name, |slots| roll_back_to(slots, &chosen.to, why, now))?;
    tracing::info!(component = %name, release = %chosen.to, "component rolled back");
    Ok(WentBack { to: chosen.to, left: slots.current.map(|slot| slot.release) })
}

fn why(who: Who) -> &'static str {
    match who {
        Who::Person => "taken back by hand",
        Who::Order => "taken back by an order",
    }
}

/// What binds an order and not a person on the host.
fn check_order(
    policy: &ComponentPolicy,
    to: &ReleaseId,
    quarantined: Option<&ReleaseId>,
) -> Result<(), Failure> {
    let version = &to.version;
    let pins = [("pinned", &policy.pin), ("control-pinned", &policy.control_pin)];
    for (code, pin) in pins {
        if let Some(pin) = pin.as_ref().filter(|pin| !pin.allows(version)) {
            let reason = format!("the pin {pin} excludes {version}");
            return Err(Failure::Refused { code, reason });
        }
    }
    if quarantined.is_some() {
        let reason = format!("{version} is in quarantine here; clear that first");
        return Err(Failure::Refused { code: "quarantined", reason });
    }
    Ok(())
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

/// A permit can be checked only with keys that are known.
fn offline_permit(error: &RepositoryError) -> Failure {
    let reason = format!(
        "the permit can't be checked with what this host knows of the repository: {}; run \
         `handover-agent check` first",
        chain(error)
    );
    Failure::Refused { code: "permit.unknown-keys", reason }
}

/// How long a return is waited for until the release is seen running.
const OBSERVED_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked at.
const GLANCE: Duration = Duration::from_millis(100);

/// What was seen of a return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The release runs and is ready.
    Running,
    /// No launcher runs that could start it.
    NoLauncher,
    /// It was not seen to run.
    Unseen,
}

/// What was seen, and why it is not better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// What.
    pub outcome: Outcome,
    /// Why, for people.
    pub reason: Option<String>,
}

/// What the launcher made of a published return, by looking at its process.
pub fn observe(agent: &Agent, name: &ComponentName, to: &ReleaseId) -> Observed {
    let limit = agent.now().mono.saturating_add(OBSERVED_WITHIN);
    loop {
        let why = match agent.running(name) {
            Ok(Running { launcher: None, .. }) => {
                let why = "no launcher runs; it starts with the next one".to_owned();
                return Observed { outcome: Outcome::NoLauncher, reason: Some(why) };
            }
            Ok(Running { child: Some(child), .. }) if child.release == *to && child.ready => {
                return Observed { outcome: Outcome::Running, reason: None };
            }
            Ok(_) => {
                "its process was not seen ready; `handover-agent status` shows more".to_owned()
            }
            Err(error) => chain(&error),
        };
        if agent.now().mono >= limit || agent.wait(GLANCE) {
            return Observed { outcome: Outcome::Unseen, reason: Some(why) };
        }
    }
}
