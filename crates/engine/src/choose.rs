//! What a host does next about one component, and why (DESIGN 5.5, 5.6, promise 7).
//!
//! Nobody asks: the highest permitted version of the channel that can be reached, when policy,
//! windows and the other components allow. A person asks: the same at once, or a version by name;
//! a person overrides manual mode, windows and quarantine, and nothing else. The control plane
//! orders: manual mode and windows alone; its pin counts beside the host's own.

use std::collections::BTreeMap;

use handover_model::{
    AgentName, ComponentName, ComponentPolicy, Millis, Mode, OrderId, Permit, Pin, Platform,
    Quarantined, ReleaseId, Slot, Slots, Timestamp, Version,
};
use handover_trust::{Skipped, Verified};

use crate::floors::{Floors, Ledger};
use crate::graph::{From, Graph, LeftOut, Offer, View};
use crate::window::Schedule;

mod reason;
mod rollback;
mod too_new;

pub use reason::{Reason, Waiting};
pub use rollback::{RollBack, choose_rollback};

/// What is known of the host and of one component on it.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The agent's name, for permits.
    pub agent: &'a AgentName,
    /// The host's platform.
    pub platform: &'a Platform,
    /// What the host's policy says of the component.
    pub policy: &'a ComponentPolicy,
    /// The policy's windows, checked.
    pub windows: &'a Schedule,
    /// The component's slots.
    pub slots: &'a Slots,
    /// The host's floors.
    pub floors: &'a Floors,
    /// The host's ledger.
    pub ledger: &'a Ledger,
    /// The launcher protocol that the component's launcher speaks.
    pub launcher: u32,
    /// Every other component of the policy, and where it stands.
    pub others: &'a BTreeMap<ComponentName, Standing>,
    /// How far the host's clock is off, where that is too far to trust expiry dates.
    pub clock_off: Option<Millis>,
    /// The time.
    pub now: Timestamp,
}

/// Where another component of this host stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Up to date and committed.
    Settled,
    /// An update of it is due.
    Behind {
        /// To which version.
        next: Version,
    },
    /// An update of it is under way.
    Moving,
    /// It is held back, for this reason.
    Held(Box<Reason>),
    /// Nothing of it was ever committed.
    NotInstalled,
}

/// Who wants something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<'a> {
    /// Nobody: the host looks by itself.
    Nobody,
    /// A person wants what is newest.
    Newest,
    /// A person wants this version.
    For(&'a Version),
    /// The control plane orders this version. It lifts no quarantine: that is an order of its own.
    Ordered(&'a Version),
}

/// What to do, and everything that a person should know beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub choice: Choice,
    /// Why the rest was passed over, the highest version first; alarms before all else.
    pub notes: Vec<Reason>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Nothing: the wanted release runs.
    UpToDate,
    /// Install `next`, the first stop of `path`.
    Update {
        /// Every stop, the last one the target.
        path: Vec<ReleaseId>,
        /// The first stop.
        next: Box<Offer>,
        /// The permit to spend first.
        permit: Option<OrderId>,
        /// The quarantine entry to clear first, since a person asked for that very version.
        lifts_quarantine: Option<ReleaseId>,
    },
    /// Nothing, for a reason.
    Hold(Reason),
}

/// Decides about one component. `offers` is all that the repository offers of it, and `skipped`
/// what it offers to newer programs than this one; `permits` are those that the host has been
/// given, verified.
pub fn choose(
    facts: &Facts<'_>,
    offers: &[Offer],
    skipped: &[Skipped],
    permits: &[Verified<Permit>],
    asked: Asked<'_>,
) -> Decision {
    let permits: Vec<&Permit> = permits.iter().map(|permit| &**permit).collect();
    choose_with(facts, offers, skipped, &permits, asked)
}

fn choose_with(
    facts: &Facts<'_>,
    offers: &[Offer],
    skipped: &[Skipped],
    permits: &[&Permit],
    asked: Asked<'_>,
) -> Decision {
    let mut notes = Vec::new();
    let running = facts.slots.current.as_ref();
    let revoked = running.and_then(|slot| revocation(slot, offers));
    notes.extend(revoked.clone());
    notes.extend(too_new::notes(facts, skipped));
    let choice = match blocked(facts, offers) {
        Some(reason) => Choice::Hold(reason),
        None => pick(facts, offers, permits, asked, &mut notes),
    };
    let choice = too_new::or_too_new(choice, facts, skipped, asked);
    let choice = match choice {
        // Nothing newer is no comfort to a host that runs what its makers withdrew.
        Choice::UpToDate => revoked.map_or(Choice::UpToDate, Choice::Hold),
        Choice::Update { path, next, permit, lifts_quarantine } => {
            match held_back(facts, &next, asked) {
                Some(reason) => Choice::Hold(reason),
                None => Choice::Update { path, next, permit, lifts_quarantine },
            }
        }
        Choice::Hold(reason) => Choice::Hold(reason),
    };
    if let Choice::Hold(reason) = &choice {
        notes.retain(|note| note != reason);
    }
    Decision { choice, notes }
}

/// What forbids even to think about a target.
fn blocked(facts: &Facts<'_>, offers: &[Offer]) -> Option<Reason> {
    let component = || facts.policy.name.clone();
    if let Some(trial) = &facts.slots.trial {
        return Some(Reason::TrialPending { release: trial.slot.release.clone() });
    }
    if let Some(off) = facts.clock_off {
        return Some(Reason::ClockOff { off });
    }
    if offers.is_empty() {
        return Some(Reason::NotOffered { component: component() });
    }
    let fits: Vec<_> =
        offers.iter().filter(|offer| offer.facts.platform.runs_on(facts.platform)).collect();
    if fits.is_empty() {
        let there = names(offers.iter().map(|offer| offer.facts.platform.to_string()));
        let platform = facts.platform.clone();
        return Some(Reason::PlatformMissing { component: component(), platform, there });
    }
    let channel = &facts.policy.channel;
    if fits.iter().all(|offer| offer.facts.channel != *channel) {
        let there = names(fits.iter().map(|offer| offer.facts.channel.clone()));
        let channel = channel.clone();
        return Some(Reason::ChannelEmpty { component: component(), channel, there });
    }
    None
}

/// What holds back a target that could be installed.
fn held_back(facts: &Facts<'_>, next: &Offer, asked: Asked<'_>) -> Option<Reason> {
    let waits = facts.policy.after.iter().find_map(|other| {
        let waiting = match facts.others.get(other) {
            Some(Standing::Settled) => return None,
            Some(Standing::Behind { next }) => Waiting::Behind(next.clone()),
            Some(Standing::Moving) => Waiting::Moving,
            Some(Standing::Held(why)) => Waiting::Held(why.clone()),
            Some(Standing::NotInstalled) => Waiting::NotInstalled,
            None => Waiting::NotFollowed,
        };
        Some(Reason::WaitingFor { component: other.clone(), waiting })
    });
    if waits.is_some() {
        return waits;
    }
    match asked {
        Asked::Nobody if facts.policy.mode == Mode::Manual => Some(Reason::Manual {
            component: facts.policy.name.clone(),
            version: next.facts.version.clone(),
        }),
        Asked::Nobody if !facts.windows.is_open(facts.now) => {
            Some(Reason::WindowClosed { until: facts.windows.opens_at(facts.now) })
        }
        Asked::Nobody | Asked::Newest | Asked::For(_) | Asked::Ordered(_) => None,
    }
}

fn pick(
    facts: &Facts<'_>,
    offers: &[Offer],
    permits: &[&Permit],
    asked: Asked<'_>,
    notes: &mut Vec<Reason>,
) -> Choice {
    match asked {
        Asked::Nobody | Asked::Newest => pick_newest(facts, offers, notes),
        Asked::For(version) => pick_version(facts, offers, permits, version, Lifts::Quarantine),
        Asked::Ordered(version) => pick_version(facts, offers, permits, version, Lifts::Nothing),
    }
}

/// What asking for a version by name overrides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lifts {
    Quarantine,
    Nothing,
}

/// The highest version above the current one that nothing forbids; for a host whose release was
/// revoked, the nearest.
fn pick_newest(facts: &Facts<'_>, offers: &[Offer], notes: &mut Vec<Reason>) -> Choice {
    let graph = graph_of(facts, offers, &facts.slots.quarantine);
    let current = facts.slots.current.as_ref();
    let newer =
        |offer: &Offer| current.is_none_or(|slot| offer.facts.version > slot.release.version);
    let mut refused = Vec::new();
    for (offer, why) in graph.left_out().filter(|(offer, _)| newer(offer)) {
        refused.push((offer.facts.version.clone(), left_out(&offer.facts.version, why)));
    }
    let mut found: Vec<(Vec<&Offer>, &Offer)> = Vec::new();
    for target in graph.nodes().filter(|offer| newer(offer)) {
        match check_target(facts, &graph, target) {
            Ok(path) => found.push((path, target)),
            Err(reason) => refused.push((target.facts.version.clone(), reason)),
        }
    }
    refused.sort_by(|(a, _), (b, _)| b.cmp(a));
    let hurried = current.is_some_and(|slot| revocation(slot, offers).is_some());
    let best = found.into_iter().max_by(|(a, x), (b, y)| {
        let hops = if hurried { b.len().cmp(&a.len()) } else { std::cmp::Ordering::Equal };
        hops.then_with(|| x.facts.version.cmp(&y.facts.version))
    });
    let Some((path, target)) = best else {
        notes.extend(refused.iter().map(|(_, reason)| reason.clone()));
        // A release that its makers withdrew, or one from before, holds nobody back.
        let holds = refused.into_iter().map(|(_, reason)| reason).find(Reason::holds_back);
        return holds.map_or(Choice::UpToDate, Choice::Hold);
    };
    let passed = refused.into_iter().filter(|(version, _)| *version > target.facts.version);
    notes.extend(passed.map(|(_, reason)| reason));
    update(&path, None, None)
}

fn pick_version(
    facts: &Facts<'_>,
    offers: &[Offer],
    permits: &[&Permit],
    wanted: &Version,
    lifts: Lifts,
) -> Choice {
    let current = facts.slots.current.as_ref();
    if current.is_some_and(|slot| slot.release.version == *wanted) {
        return Choice::UpToDate;
    }
    let entries = &facts.slots.quarantine;
    let is_lifted =
        |entry: &&Quarantined| lifts == Lifts::Quarantine && entry.release.version == *wanted;
    let lifted: Option<&Quarantined> = entries.iter().find(is_lifted);
    let rest: Vec<Quarantined> =
        entries.iter().filter(|entry| !is_lifted(entry)).cloned().collect();
    let lifted = lifted.map(|entry| entry.release.clone());
    let back = current.is_some_and(|slot| *wanted < slot.release.version)
        || !floors_now(facts).accepts(&facts.policy.name, wanted);
    if back {
        let kept = facts.slots.previous.iter().any(|kept| kept.release.version == *wanted);
        if kept && permits.is_empty() && floors_now(facts).accepts(&facts.policy.name, wanted) {
            let component = facts.policy.name.clone();
            return Choice::Hold(Reason::KeptHere { component, version: wanted.clone() });
        }
        return pick_downgrade(facts, offers, permits, wanted, lifted);
    }
    let graph = graph_of(facts, offers, &rest);
    let target = graph.node(wanted);
    let checked = match target {
        Some(target) => check_target(facts, &graph, target),
        None => Err(why_not_offered(facts, &graph, wanted)),
    };
    match checked {
        Ok(path) => {
            let lifted = lifted.filter(|id| path.first().is_some_and(|next| next.id() == *id));
            update(&path, None, lifted)
        }
        Err(reason) => Choice::Hold(reason),
    }
}

/// Going back further than the release itself allows: signed leave stands in for the path.
fn pick_downgrade(
    facts: &Facts<'_>,
    offers: &[Offer],
    permits: &[&Permit],
    wanted: &Version,
    lifted: Option<ReleaseId>,
) -> Choice {
    let view =
        View { platform: Some(facts.platform), channel: None, quarantine: &[], lowest: None };
    let graph = Graph::new(offers, &view);
    let Some(target) = graph.node(wanted) else {
        return Choice::Hold(why_not_offered(facts, &graph, wanted));
    };
    let permit = check_pin(facts, wanted)
        .and_then(|()| check_launcher(facts, target))
        .and_then(|()| usable_permit(facts, permits, wanted));
    match permit {
        Ok(permit) => update(&[target], Some(permit), lifted),
        Err(reason) => Choice::Hold(reason),
    }
}

/// The first permit that allows `wanted` here and now.
fn usable_permit(
    facts: &Facts<'_>,
    permits: &[&Permit],
    wanted: &Version,
) -> Result<OrderId, Reason> {
    let (agent, component) = (facts.agent, &facts.policy.name);
    let mut why_not = None;
    for permit in permits.iter().filter(|permit| permit.component == *component) {
        match facts.ledger.check(permit, agent, component, wanted, facts.now) {
            Ok(()) => return Ok(permit.id),
            Err(error) => why_not = Some(error.to_string()),
        }
    }
    Err(Reason::NeedsPermit {
        component: component.clone(),
        version: wanted.clone(),
        floor: floors_now(facts).of(component).map(|floor| Box::new(floor.version.clone())),
        unusable: why_not,
    })
}

/// The way to `target`, if policy, graph and launcher allow it.
fn check_target<'a>(
    facts: &Facts<'_>,
    graph: &Graph<'a>,
    target: &'a Offer,
) -> Result<Vec<&'a Offer>, Reason> {
    check_pin(facts, &target.facts.version)?;
    let path = match &facts.slots.current {
        None => vec![target],
        Some(slot) => {
            let from = From { version: slot.release.version.clone(), sequence: slot.sequence };
            let planned = graph.plan_path(&from, &target.facts.version);
            planned.map_err(|why| Reason::NoPath { why })?.hops
        }
    };
    // The launcher may well be newer by the time of a later stop.
    check_launcher(facts, path.first().copied().unwrap_or(target))?;
    Ok(path)
}

fn check_pin(facts: &Facts<'_>, version: &Version) -> Result<(), Reason> {
    let forbids = |pin: &Option<Pin>| {
        pin.as_ref().filter(|pin| !pin.allows(version)).map(ToString::to_string)
    };
    let version = version.clone();
    if let Some(pin) = forbids(&facts.policy.pin) {
        return Err(Reason::Pinned { version, pin });
    }
    match forbids(&facts.policy.control_pin) {
        Some(pin) => Err(Reason::PinnedByControl { version, pin }),
        None => Ok(()),
    }
}

fn check_launcher(facts: &Facts<'_>, next: &Offer) -> Result<(), Reason> {
    if next.facts.launcher <= facts.launcher {
        return Ok(());
    }
    Err(Reason::LauncherTooOld {
        version: next.facts.version.clone(),
        needs: next.facts.launcher,
        speaks: facts.launcher,
    })
}

fn graph_of<'a>(facts: &Facts<'_>, offers: &'a [Offer], quarantine: &[Quarantined]) -> Graph<'a> {
    let floors = floors_now(facts);
    let view = View {
        platform: Some(facts.platform),
        channel: Some(&facts.policy.channel),
        quarantine,
        lowest: floors.of(&facts.policy.name).map(|floor| &floor.version),
    };
    Graph::new(offers, &view)
}

/// The floors, as they stand even if whoever should have raised them did not run since.
fn floors_now(facts: &Facts<'_>) -> Floors {
    let raised = facts.floors.raised(&facts.policy.name, facts.slots, facts.now);
    raised.unwrap_or_else(|| facts.floors.clone())
}

fn revocation(slot: &Slot, offers: &[Offer]) -> Option<Reason> {
    let offer = offers.iter().find(|offer| offer.id() == slot.release)?;
    let why = offer.facts.revoked.clone()?;
    Some(Reason::RunningRevoked { version: slot.release.version.clone(), why })
}

fn why_not_offered(facts: &Facts<'_>, graph: &Graph<'_>, wanted: &Version) -> Reason {
    match graph.left_out().find(|(offer, _)| offer.facts.version == *wanted) {
        Some((offer, why)) => left_out(&offer.facts.version, why),
        None => Reason::NoSuchRelease {
            component: facts.policy.name.clone(),
            version: wanted.clone(),
            channel: facts.policy.channel.clone(),
            platform: facts.platform.clone(),
        },
    }
}

fn left_out(version: &Version, why: &LeftOut) -> Reason {
    let version = version.clone();
    match why {
        LeftOut::Revoked(why) => Reason::Revoked { version, why: why.clone() },
        LeftOut::Quarantined(why) => Reason::Quarantined { version, why: why.clone() },
        LeftOut::BelowFloor(floor) => Reason::BelowFloor { version, floor: floor.clone() },
    }
}

fn update(path: &[&Offer], permit: Option<OrderId>, lifts: Option<ReleaseId>) -> Choice {
    let Some(next) = path.first() else { return Choice::UpToDate };
    Choice::Update {
        path: path.iter().map(|offer| offer.id()).collect(),
        next: Box::new((*next).clone()),
        permit,
        lifts_quarantine: lifts,
    }
}

fn names(all: impl Iterator<Item = String>) -> String {
    let all: std::collections::BTreeSet<String> = all.collect();
    all.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
