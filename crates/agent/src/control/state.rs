//! How this host stands, by a fresh look: what state reports say, proof of what runs included.

use std::collections::BTreeMap;

use handover_engine::choose::Choice;
use handover_engine::slots::guard_runs;
use handover_model::wire::{ComponentState, HostState, Outlook as Ahead, Proof, QuarantinedState};
use handover_model::{ComponentName, ComponentPolicy, HostPolicy, Labels, Mode, Slots, Timestamp};

use super::enrolment::own_version;
use crate::accepted::Accepted;
use crate::agent::Agent;
use crate::failure::{Failure, chain};
use crate::news::News;
use crate::outlook::Outlook;
use crate::repository::{Source, refresh};
use crate::voice::plain;

/// The longest reason that a report carries, in characters.
const REASON: usize = 500;
/// How long an outlook is good while nothing that it rests on changed: windows open.
const OUTLOOK_LIFE: std::time::Duration = std::time::Duration::from_mins(5);

/// What the last look at the outlook found, and what it rested on.
#[derive(Default)]
pub struct Outlooks {
    rested_on: Option<(Stamp, Timestamp)>,
    found: BTreeMap<ComponentName, Ahead>,
}

/// What an outlook rests on, as cheap to compare as can be.
type Stamp = (HostPolicy, BTreeMap<ComponentName, u64>, Option<std::time::SystemTime>);

/// Looks at the whole host.
///
/// # Errors
/// [`Failure`] when the policy or the directory of components can't be read; what is wrong with
/// one component is left out of it.
pub fn look(agent: &Agent, outlooks: &mut Outlooks) -> Result<HostState, Failure> {
    let policy = agent.policy()?;
    let mut names: Vec<_> = policy.components.iter().map(|each| each.name.clone()).collect();
    names.extend(agent.home.present()?);
    names.sort();
    names.dedup();
    let (boot, facts) = (boot_id(), facts());
    let mut all = BTreeMap::new();
    for name in names {
        match agent.home.slots(&name) {
            Ok(slots) => {
                all.insert(name, slots);
            }
            Err(error) => {
                tracing::warn!(component = %name, error = %chain(&error), "not reported");
            }
        }
    }
    outlooks.look(agent, &policy, &all);
    let components = all.iter().map(|(name, slots)| {
        let listed = policy.components.iter().find(|each| each.name == *name);
        let mut state = of_slots(agent, name, slots, &boot);
        of_policy(&mut state, listed);
        state.outlook = outlooks.found.get(name).cloned();
        state
    });
    Ok(HostState {
        name: policy.agent.clone(),
        platform: agent.platform.clone(),
        agent_version: own_version(),
        components: components.collect(),
        boot,
        facts,
    })
}

fn of_slots(agent: &Agent, name: &ComponentName, slots: &Slots, boot: &str) -> ComponentState {
    let floors = Accepted::of(&agent.home).floors().ok();
    ComponentState {
        component: name.clone(),
        current: slots.current.as_ref().map(|slot| slot.release.clone()),
        sequence: slots.current.as_ref().map(|slot| slot.sequence),
        proof: prove(agent, name, slots, boot),
        trial: slots.trial.as_ref().map(|trial| trial.slot.release.clone()),
        previous: slots.previous.iter().map(|slot| slot.release.clone()).collect(),
        quarantine: slots
            .quarantine
            .iter()
            .map(|entry| QuarantinedState {
                release: entry.release.clone(),
                reason: plain(&entry.reason, REASON),
                at: entry.at,
            })
            .collect(),
        mode: Mode::Manual,
        channel: "stable".to_owned(),
        pin: None,
        control_pin: None,
        floor: floors.and_then(|floors| floors.of(name).map(|floor| floor.version.clone())),
        outlook: None,
    }
}

fn of_policy(state: &mut ComponentState, listed: Option<&ComponentPolicy>) {
    let Some(policy) = listed else { return };
    state.mode = policy.mode;
    state.channel.clone_from(&policy.channel);
    state.pin.clone_from(&policy.pin);
    state.control_pin.clone_from(&policy.control_pin);
}

/// What runs, read from the process itself; nothing where no process can be seen.
fn prove(agent: &Agent, name: &ComponentName, slots: &Slots, boot: &str) -> Option<Proof> {
    let child = agent.running(name).ok()?.child?;
    let slot = slots
        .current
        .iter()
        .chain(slots.trial.iter().map(|trial| &trial.slot))
        .chain(&slots.previous)
        .find(|slot| slot.release == child.release);
    Some(Proof {
        proved: slot.is_some_and(|slot| slot.recipe.executable_digest == child.executable_digest),
        release: child.release,
        executable: child.executable_digest,
        pid: child.pid,
        ready: child.ready,
        boot: boot.to_owned(),
    })
}

impl Outlooks {
    /// Looks ahead again if anything that it rests on changed. What can't be said is left out.
    fn look(&mut self, agent: &Agent, policy: &HostPolicy, all: &BTreeMap<ComponentName, Slots>) {
        let now = agent.now().wall;
        let generations =
            all.iter().map(|(name, slots)| (name.clone(), slots.generation)).collect();
        let timestamp = agent.home.root().join("trust/metadata/timestamp.json");
        let touched = std::fs::metadata(timestamp).and_then(|meta| meta.modified()).ok();
        let stamp = (policy.clone(), generations, touched);
        if let Some((before, at)) = &self.rested_on
            && *before == stamp
            && now.since(*at) < OUTLOOK_LIFE
        {
            return;
        }
        self.rested_on = Some((stamp, now));
        self.found = look_ahead(agent, policy).unwrap_or_else(|error| {
            tracing::debug!(error = %chain(&error), "no outlook");
            BTreeMap::new()
        });
    }
}

fn look_ahead(
    agent: &Agent,
    policy: &HostPolicy,
) -> Result<BTreeMap<ComponentName, Ahead>, Failure> {
    let names: Vec<_> = policy.components.iter().map(|each| each.name.clone()).collect();
    let store = agent.home.trust();
    let known = refresh(&store, &Source::Memory, &names, &agent.stop, &agent.clock)?;
    let outlook = Outlook::read(agent, policy, News::load(agent)?.clock_off)?;
    let all = outlook.ahead(agent, &known.refreshed.catalog, None, None)?;
    let said = all.into_iter().map(|ahead| {
        let (code, sentence, to) = match &ahead.decision.choice {
            Choice::UpToDate => ("up-to-date".to_owned(), "it is up to date".to_owned(), None),
            Choice::Update { next, .. } => {
                let to = next.facts.version.clone();
                ("moves".to_owned(), format!("it moves to {to}"), Some(to))
            }
            Choice::Hold(reason) => {
                (reason.code().to_owned(), plain(&reason.to_string(), REASON), None)
            }
        };
        (ahead.policy.name, Ahead { code, sentence, to })
    });
    Ok(said.collect())
}

/// The kernel's boot id (random(4)).
fn boot_id() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.map_or_else(|_| String::new(), |text| text.trim().to_owned())
}

/// What the host says of itself; what can't be said is left out.
fn facts() -> Labels {
    let system = rustix::system::uname();
    let text = |value: &std::ffi::CStr| plain(&value.to_string_lossy(), 100);
    let mut pairs = BTreeMap::from([
        ("hostname".to_owned(), text(system.nodename())),
        ("kernel".to_owned(), text(system.release())),
    ]);
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    if let Some(name) = name {
        pairs.insert("os".to_owned(), plain(name.trim_matches('"'), 100));
    }
    pairs.retain(|key, value| Labels::new(BTreeMap::from([(key.clone(), value.clone())])).is_ok());
    Labels::new(pairs).unwrap_or_default()
}
/// Whether the launcher of some component may go back by itself: a trial or a guard runs. What
/// can't be read changes nothing here; the state report says so.
pub(super) fn is_unsettled(agent: &Agent) -> bool {
    let names = agent.home.present().unwrap_or_default();
    names
        .iter()
        .filter_map(|name| agent.home.slots(name).ok())
        .any(|slots| slots.trial.is_some() || slots.current.as_ref().is_some_and(guard_runs))
}
