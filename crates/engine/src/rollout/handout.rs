//! Whether one host may have its order now: asked inside the transaction that would make it, of
//! what that transaction reads. There is no controller here, only the rollout's row, the
//! specification, and what is known of the host.

use std::time::Duration;

use handover_model::api::OrderState;
use handover_model::api::{HoldCode, HoldLifter, RolloutKind, RolloutSpec, RolloutState};
use handover_model::wire::Action;
use handover_model::{ComponentName, RolloutName, Timestamp, Version};

use super::controller::WindowFact;
use super::holds::Held;
use super::outcome::{Outcome, Standing, standing_of};

/// What is known when a host comes.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// How the rollout stands.
    pub state: RolloutState,
    /// Which way it goes.
    pub kind: &'a RolloutKind,
    /// What was asked for.
    pub spec: &'a RolloutSpec,
    /// How many members may get their order.
    pub released: u32,
    /// The host's place in the roster.
    pub position: u32,
    /// Whether a person left it out.
    pub left_out: bool,
    /// The component as the host reported it; absent: none committed.
    pub current: Option<&'a Version>,
    /// For a revert: what the host ran before the rollout that is taken back; absent: whatever was
    /// good last.
    pub back_to: Option<&'a Version>,
    /// Its orders of this rollout, the oldest first.
    pub attempts: &'a [Attempt<'a>],
    /// Whether any order for the component is open on this host, whoever gave it.
    pub open_order: bool,
    /// A rollout that is more urgent and has something for this host now.
    pub more_urgent: Option<&'a RolloutName>,
    /// For each limit of the specification, in order: how many open orders of this rollout count
    /// against it for this host.
    pub in_flight: &'a [u32],
    /// The committed versions of the host's components.
    pub components: &'a [(&'a ComponentName, &'a Version)],
    /// Whether hosts may be touched now.
    pub window: WindowFact,
    /// Why the whole fleet is stopped, if it is. Reverts go on.
    pub fleet_stopped: Option<&'a str>,
    /// Why the release can't be handed out, if it can't.
    pub release: Result<(), &'a str>,
    /// The time.
    pub now: Timestamp,
}

/// An earlier order of the same rollout for the same host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// How it stands.
    pub state: OrderState,
    /// Its stored code.
    pub code: Option<&'a str>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// An order to be made, signed and handed out now.
#[derive(Debug, Clone, PartialEq)]
pub struct HandOut {
    /// What to do.
    pub action: Action,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// When it is void unless begun.
    pub expires: Timestamp,
    /// When the host may begin to change anything, where that is not at once: until then it
    /// downloads and verifies.
    pub activate: Option<Timestamp>,
}

/// Why there is no order for the host now.
#[derive(Debug, Clone, PartialEq)]
pub enum Withheld {
    /// Its turn has not come.
    NotReleased,
    /// The rollout hands out nothing any more.
    Over,
    /// A person left it out.
    LeftOut,
    /// It had its order, and that ended like this.
    Settled(Outcome),
    /// It runs what the order would bring it to: tell the controller, with
    /// [`Outcome::Satisfied`].
    Satisfied,
    /// Its order is open.
    Open,
    /// Something holds it.
    Held(Box<Held>),
}

/// Whether the host may have its order now.
///
/// # Errors
/// [`Withheld`]: why not, and for how long where that is known.
pub fn may_hand_out(ask: &Ask<'_>) -> Result<HandOut, Withheld> {
    check_rollout(ask)?;
    let attempt = next_attempt(ask)?;
    if ask.open_order {
        return Err(Withheld::Open);
    }
    if is_satisfied(ask) {
        return Err(Withheld::Satisfied);
    }
    check_host(ask)?;
    check_limits(ask)?;
    let (activate, expires) = times(ask)?;
    Ok(HandOut { action: action(ask), attempt, expires, activate })
}

/// How long after the `ended`th attempt the next one may be made: doubled each time.
pub fn backoff_after(spec: &RolloutSpec, ended: u32) -> Duration {
    let doubled = 1_u32.checked_shl(ended.saturating_sub(1)).unwrap_or(u32::MAX);
    spec.retries.backoff.duration().saturating_mul(doubled)
}

/// Whether the host runs already what the rollout would bring it to.
pub fn satisfies(
    kind: &RolloutKind,
    spec: &RolloutSpec,
    current: Option<&Version>,
    back_to: Option<&Version>,
) -> bool {
    match kind {
        RolloutKind::Update => current == Some(&spec.to),
        // Without a version to go back to, one that does not run what is taken back is back.
        RolloutKind::Revert { .. } => match back_to {
            Some(_) => current == back_to,
            None => current != Some(&spec.to),
        },
    }
}

fn check_rollout(ask: &Ask<'_>) -> Result<(), Withheld> {
    match ask.state {
        RolloutState::Running => {}
        RolloutState::Scheduled => return Err(Withheld::NotReleased),
        RolloutState::Paused => {
            let text = "a person paused the rollout; resume it to go on";
            return Err(held(HoldCode::Paused, HoldLifter::Person, text.to_owned()));
        }
        RolloutState::Halted => {
            let text = "a gate halted the rollout; look at what decided it, then resume, revert \
                        or abort it";
            return Err(held(HoldCode::Halted, HoldLifter::Person, text.to_owned()));
        }
        RolloutState::Reverting
        | RolloutState::Reverted
        | RolloutState::Done
        | RolloutState::Aborted
        | RolloutState::Superseded => return Err(Withheld::Over),
    }
    if ask.left_out {
        return Err(Withheld::LeftOut);
    }
    if ask.position >= ask.released {
        return Err(Withheld::NotReleased);
    }
    Ok(())
}

/// Which attempt would be made now. Those that were recalled are numbered like the others and
/// count for nothing else.
fn next_attempt(ask: &Ask<'_>) -> Result<u32, Withheld> {
    let made = u32::try_from(ask.attempts.len()).unwrap_or(u32::MAX);
    let Some(last) = ask.attempts.last() else { return Ok(1) };
    let ended = |attempt: &Attempt<'_>| standing_of(attempt.state, attempt.code, true);
    let is_spent = |attempt: &&Attempt<'_>| ended(attempt) != Standing::Ended(Outcome::Recalled);
    let spent = ask.attempts.iter().filter(is_spent).count();
    let spent = u32::try_from(spent).unwrap_or(u32::MAX);
    match ended(last) {
        Standing::Untaken | Standing::Exposed => Err(Withheld::Open),
        Standing::Ended(Outcome::Passing) if spent >= u32::from(ask.spec.retries.attempts) => {
            Err(Withheld::Settled(Outcome::Refused))
        }
        Standing::Ended(Outcome::Passing) => {
            let at = last.ended_at.unwrap_or(ask.now).after(backoff_after(ask.spec, spent));
            if ask.now < at {
                let text = format!(
                    "attempt {spent} of {} did not come off for a passing reason; the next one is \
                     made after {at}",
                    ask.spec.retries.attempts
                );
                return Err(held_until(HoldCode::Retry, HoldLifter::Time, text, Some(at)));
            }
            Ok(made.saturating_add(1))
        }
        Standing::Ended(Outcome::Recalled) => Ok(made.saturating_add(1)),
        Standing::Ended(
            outcome @ (Outcome::Satisfied
            | Outcome::Withdrawn
            | Outcome::Refused
            | Outcome::Done
            | Outcome::Failed),
        ) => Err(Withheld::Settled(outcome)),
    }
}

fn is_satisfied(ask: &Ask<'_>) -> bool {
    satisfies(ask.kind, ask.spec, ask.current, ask.back_to)
}

fn check_host(ask: &Ask<'_>) -> Result<(), Withheld> {
    let is_update = match ask.kind {
        RolloutKind::Update => true,
        RolloutKind::Revert { .. } => false,
    };
    if let (Some(why), true) = (ask.fleet_stopped, is_update) {
        return Err(held(HoldCode::FleetStopped, HoldLifter::Person, fleet_stopped(why)));
    }
    if let (Err(why), true) = (ask.release, is_update) {
        return Err(held(HoldCode::Release, HoldLifter::Outside, release_gone(ask.spec, why)));
    }
    if let Some(other) = ask.more_urgent {
        let text = format!("rollout {other} is more urgent and goes first on this host");
        return Err(held(HoldCode::Priority, HoldLifter::Hosts, text));
    }
    unmet(ask.spec, ask.components)
        .map_or(Ok(()), |text| Err(held(HoldCode::Requirement, HoldLifter::Hosts, text)))
}

/// What the host lacks of what the specification requires, if anything, in a sentence.
pub fn unmet(spec: &RolloutSpec, components: &[(&ComponentName, &Version)]) -> Option<String> {
    spec.requires.iter().find_map(|wanted| {
        let found = components.iter().find(|(name, _)| **name == wanted.component);
        match found {
            Some((_, version)) if **version >= wanted.at_least => None,
            Some((name, version)) => Some(format!(
                "the host must run {name} {} or higher first, and runs {version}",
                wanted.at_least
            )),
            None => Some(format!(
                "the host must run {} {} or higher first, and runs none",
                wanted.component, wanted.at_least
            )),
        }
    })
}

fn check_limits(ask: &Ask<'_>) -> Result<(), Withheld> {
    for (limit, under_way) in ask.spec.limits.iter().zip(ask.in_flight) {
        if *under_way >= limit.at_most {
            let whom = limit
                .per
                .as_ref()
                .map_or_else(|| "at all".to_owned(), |label| format!("of one {label}"));
            let text = format!(
                "{under_way} hosts {whom} are under way, and {} may be at once",
                limit.at_most
            );
            return Err(held(HoldCode::Limit, HoldLifter::Hosts, text));
        }
    }
    Ok(())
}

/// When the host may begin, and when its order lapses.
fn times(ask: &Ask<'_>) -> Result<(Option<Timestamp>, Timestamp), Withheld> {
    let deadline = ask.spec.deadline.duration();
    if ask.window.open {
        let lapses = ask.now.after(deadline);
        return Ok((None, ask.window.closes_at.map_or(lapses, |closes| lapses.min(closes))));
    }
    match ask.window.opens_at {
        Some(opens) if ask.spec.early_download => {
            let lapses = opens.after(deadline);
            let expires = ask.window.closes_at.map_or(lapses, |closes| lapses.min(closes));
            Ok((Some(opens), expires))
        }
        opens => Err(held_until(HoldCode::Window, HoldLifter::Time, window_closed(opens), opens)),
    }
}

fn action(ask: &Ask<'_>) -> Action {
    let component = ask.spec.component.clone();
    match ask.kind {
        RolloutKind::Update => Action::Update { component, to: Some(ask.spec.to.clone()) },
        RolloutKind::Revert { .. } => Action::Rollback { component, to: ask.back_to.cloned() },
    }
}

pub(super) fn window_closed(opens: Option<Timestamp>) -> String {
    match opens {
        Some(opens) => format!("no window is open until {opens}"),
        None => "no window will ever open; change the rollout's windows".to_owned(),
    }
}

pub(super) fn fleet_stopped(why: &str) -> String {
    format!("the whole fleet is stopped: {why}; lift it with `handover stop off`")
}

pub(super) fn release_gone(spec: &RolloutSpec, why: &str) -> String {
    format!(
        "{} {} can't be handed out: {why}; publish another and supersede this rollout, or \
             abort it",
        spec.component, spec.to
    )
}

fn held(code: HoldCode, by: HoldLifter, text: String) -> Withheld {
    Withheld::Held(Box::new(Held::new(code, by, text)))
}

fn held_until(code: HoldCode, by: HoldLifter, text: String, until: Option<Timestamp>) -> Withheld {
    Withheld::Held(Box::new(Held::new(code, by, text).until(until)))
}

#[cfg(test)]
mod tests;
