//! Who can lift what.

use handover_model::api::{LayerKind, Lift, Lifter};
use handover_model::{AgentName, ComponentName};

use super::Refusal;
use crate::choose::Reason;

/// Which layer a refusal belongs to, and who can lift it.
pub(super) fn of(
    refusal: &Refusal,
    name: &AgentName,
    component: &ComponentName,
) -> (LayerKind, Option<Lift>) {
    match refusal {
        Refusal::ControlPinned { .. } => (
            LayerKind::ControlPin,
            lift(Lifter::Operator, format!("`handover agent unpin {name} {component}`")),
        ),
        Refusal::Quarantined { version, .. } => (
            LayerKind::Quarantine,
            lift(
                Lifter::Operator,
                format!("`handover agent clear-quarantine {name} {component} {version}`"),
            ),
        ),
        Refusal::AlreadyThere { .. } => (LayerKind::Release, None),
        Refusal::Host(reason) => of_reason(reason, name, component),
    }
}

fn of_reason(
    reason: &Reason,
    name: &AgentName,
    component: &ComponentName,
) -> (LayerKind, Option<Lift>) {
    match reason {
        Reason::Pinned { .. } => (
            LayerKind::HostPin,
            lift(Lifter::HostOwner, format!("`handover-agent unpin {component}` on {name}")),
        ),
        Reason::PinnedByControl { .. } => (
            LayerKind::ControlPin,
            lift(Lifter::Operator, format!("`handover agent unpin {name} {component}`")),
        ),
        Reason::Quarantined { version, .. } => (
            LayerKind::Quarantine,
            lift(
                Lifter::Operator,
                format!("`handover agent clear-quarantine {name} {component} {version}`"),
            ),
        ),
        Reason::TrialPending { .. } => {
            (LayerKind::Trial, lift(Lifter::Time, "the trial ends by itself".to_owned()))
        }
        Reason::NotOffered { .. }
        | Reason::PlatformMissing { .. }
        | Reason::ChannelEmpty { .. }
        | Reason::NoSuchRelease { .. } => {
            (LayerKind::Release, lift(Lifter::Publisher, "publish a release that fits".to_owned()))
        }
        Reason::TooNew { .. } | Reason::LauncherTooOld { .. } => (
            LayerKind::Release,
            lift(Lifter::Operator, format!("`handover agent update {name} handover-agent`")),
        ),
        Reason::RunningRevoked { .. } => (
            LayerKind::Release,
            lift(Lifter::Operator, format!("`handover agent update {name} {component}`")),
        ),
        Reason::Revoked { .. } => (
            LayerKind::Release,
            lift(Lifter::Keyholders, "they sign a release that takes its place".to_owned()),
        ),
        Reason::NoPath { .. } => (
            LayerKind::Path,
            lift(Lifter::Publisher, "publish the release that is missing between".to_owned()),
        ),
        Reason::BelowFloor { .. } | Reason::NeedsPermit { .. } => {
            (LayerKind::Path, lift(Lifter::Keyholders, format!("they sign a permit for {name}")))
        }
        Reason::KeptHere { version, .. } => (
            LayerKind::Path,
            lift(
                Lifter::Operator,
                format!("`handover agent rollback {name} {component} --to {version}`"),
            ),
        ),
        Reason::NothingKept { .. } | Reason::NotKept { .. } => (LayerKind::Path, None),
        Reason::ClockOff { .. } => {
            (LayerKind::Policy, lift(Lifter::HostOwner, format!("set the clock of {name} right")))
        }
        Reason::WaitingFor { .. } => (LayerKind::Policy, None),
        Reason::Manual { .. } => (
            LayerKind::Policy,
            lift(Lifter::Operator, format!("`handover agent update {name} {component}`")),
        ),
        Reason::WindowClosed { .. } => (
            LayerKind::Policy,
            lift(Lifter::Time, "the window opens, or an operator orders the update".to_owned()),
        ),
    }
}

/// Who can lift what a host says of itself, by its code.
pub(super) fn of_outlook(code: &str, name: &AgentName, component: &ComponentName) -> Option<Lift> {
    match code {
        "manual" | "window-closed" => {
            lift(Lifter::Operator, format!("`handover agent update {name} {component}`"))
        }
        "pinned" => {
            lift(Lifter::HostOwner, format!("`handover-agent unpin {component}` on {name}"))
        }
        "clock-off" => lift(Lifter::HostOwner, format!("set the clock of {name} right")),
        _ => None,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every caller wants an option")]
pub(super) fn lift(who: Lifter, how: String) -> Option<Lift> {
    Some(Lift { who, how })
}
