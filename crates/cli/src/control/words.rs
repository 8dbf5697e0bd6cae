//! Words for people: how long ago, what an order is to do, which names are near.

use std::time::Duration;

pub(crate) use handover_engine::selection::nearest;
use handover_model::api::{AgentState, OrderInfo, TokenState};
use handover_model::wire::Action;
use handover_model::{Labels, Millis, Stage, Timestamp};

/// `5s ago`, `3h ago`: the largest unit alone.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", coarse(now.since(at)))
}

/// `in 3h`, or that it is over.
pub(crate) fn until(at: Timestamp, now: Timestamp) -> String {
    let left = at.since(now);
    if left.is_zero() { "over".to_owned() } else { format!("in {}", coarse(left)) }
}

fn coarse(length: Duration) -> String {
    let seconds = length.as_secs();
    for (unit, size) in [("d", 86_400), ("h", 3600), ("m", 60)] {
        if seconds >= size {
            return format!("{}{unit}", seconds / size);
        }
    }
    format!("{seconds}s")
}

/// `site=ost,tier=db`.
pub(crate) fn labels(labels: &Labels) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// What an order is to do.
pub(crate) fn action(action: &Action) -> String {
    let version = |to: &Option<handover_model::Version>, none: &str| {
        to.as_ref().map_or_else(|| none.to_owned(), |to| format!(" to {to}"))
    };
    match action {
        Action::Update { component, to } => {
            format!("update {component}{}", version(to, " to the newest"))
        }
        Action::Rollback { component, to } => format!("roll back {component}{}", version(to, "")),
        Action::Pin { component, pin } => format!("pin {component} to {pin}"),
        Action::Unpin { component } => format!("unpin {component}"),
        Action::ClearQuarantine { component, version } => match version {
            Some(version) => format!("try {component} {version} again"),
            None => format!("try {component}'s failed releases again"),
        },
        Action::Retire => "retire".to_owned(),
        Action::Unknown => "something that this version does not know".to_owned(),
    }
}

/// What became of an order, in words, where there are any.
pub(crate) fn outcome(order: &OrderInfo) -> String {
    let words = match (&order.outcome, &order.release) {
        (Some(outcome), _) => outcome.clone(),
        (None, Some(release)) => release.version.to_string(),
        (None, None) => String::new(),
    };
    match &order.code {
        Some(code) if words.is_empty() => code.clone(),
        Some(code) => format!("{words} ({code})"),
        None => words,
    }
}

/// A stage's name, as the contract writes it.
pub(crate) fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::UpdateDownload => "update_download",
        Stage::UpdateVerify => "update_verify",
        Stage::UpdateInstall => "update_install",
        Stage::UpdateHealthcheck => "update_healthcheck",
        Stage::UpdateRollback => "update_rollback",
    }
}

/// How an agent stands, in a word.
pub(crate) fn agent_state(state: AgentState) -> &'static str {
    match state {
        AgentState::Present => "present",
        AgentState::Away => "away",
        AgentState::Cloned => "cloned",
        AgentState::Retired => "retired",
    }
}

/// How a token stands, in a word.
pub(crate) fn token_state(state: TokenState) -> &'static str {
    match state {
        TokenState::Open => "open",
        TokenState::Used => "used",
        TokenState::Expired => "expired",
        TokenState::Revoked => "revoked",
    }
}

/// A length of time as one types it, for help and messages.
pub(crate) fn length(length: Option<Millis>) -> String {
    length.map_or_else(|| "-".to_owned(), |length| length.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_by_their_largest_unit() {
        let now = Timestamp::from_micros(1_000_000_000_000);
        assert_eq!(ago(Timestamp::from_micros(999_000_000_000), now), "16m ago");
        assert_eq!(until(now, now), "over");
        assert_eq!(until(now.after(Duration::from_hours(50)), now), "in 2d");
    }
}
