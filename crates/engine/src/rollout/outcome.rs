//! What an order's state means for the rollout that it belongs to: the one place where it is
//! decided.

use handover_model::Timestamp;
use handover_model::api::{Counts, OrderState, RolloutState};
use serde::{Deserialize, Serialize};

/// How an attempt on a member ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was taken back before it began: the rollout paused, or the control plane was restored.
    /// It is made again at once when its turn comes, and costs no attempt.
    Recalled,
    /// It did not come off for a reason that passes; it may be tried again.
    Passing,
    /// The host runs the release already; no order was needed.
    Satisfied,
    /// It was cancelled, voided, superseded, or the host retired.
    Withdrawn,
    /// The host did not begin, for a reason of its own.
    Refused,
    /// Proved to run the release.
    Done,
    /// Failed, or tried and taken back.
    Failed,
}

/// How an order stands for its rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// The host has not acknowledged it.
    Untaken,
    /// The host acknowledged it; no outcome yet.
    Exposed,
    /// It ended.
    Ended(Outcome),
}

/// The code of orders that a rollout cancelled because it paused: they are made again later, and
/// the pause is nothing that the host did.
pub const PAUSED: &str = "rollout.paused";

/// The code of orders that a restored database voided: what became of them is not known, so that
/// the host is asked again.
pub const RESTORED: &str = "restored";

/// What an order's state and stored code mean. `accepted`: whether the host was ever known to have
/// it, which a state of `cancelling` alone does not say.
pub fn standing_of(state: OrderState, code: Option<&str>, accepted: bool) -> Standing {
    match state {
        OrderState::Pending | OrderState::HandedOut => Standing::Untaken,
        OrderState::Cancelling if !accepted => Standing::Untaken,
        OrderState::Accepted | OrderState::Cancelling | OrderState::Running => Standing::Exposed,
        OrderState::Done => Standing::Ended(Outcome::Done),
        OrderState::Failed | OrderState::Reverted => Standing::Ended(Outcome::Failed),
        OrderState::Refused => Standing::Ended(refused(code)),
        OrderState::Expired => Standing::Ended(Outcome::Passing),
        OrderState::Cancelled if code == Some(PAUSED) => Standing::Ended(Outcome::Recalled),
        OrderState::Voided if code == Some(RESTORED) => Standing::Ended(Outcome::Recalled),
        OrderState::Cancelled | OrderState::Superseded | OrderState::Voided => {
            Standing::Ended(Outcome::Withdrawn)
        }
    }
}

/// Whether a rollout of kind revert that is over took back everybody that it was to: nobody
/// refused, failed, fell silent or never came.
pub fn took_everybody_back(state: RolloutState, counts: &Counts) -> bool {
    let settled = counts.done + counts.satisfied + counts.withdrawn;
    state == RolloutState::Done && settled == counts.members
}

/// From when an acknowledged order's deadline counts: the host must not be taken for late while it
/// waits, as ordered, for the instant at which it may activate.
pub fn exposed_from(accepted_at: Timestamp, activate_at: Option<Timestamp>) -> Timestamp {
    activate_at.map_or(accepted_at, |activate| accepted_at.max(activate))
}

/// A host that did not begin: whether what kept it passes by itself.
fn refused(code: Option<&str>) -> Outcome {
    let passes = code.is_some_and(|code| {
        PASSING.contains(&code) || PASSING_KINDS.iter().any(|kind| code.starts_with(kind))
    });
    if passes { Outcome::Passing } else { Outcome::Refused }
}

/// Codes of refusals that pass: another update ran, the state had moved on, a clock was off, the
/// host's own window was closed, another component comes first.
const PASSING: [&str; 9] = [
    "busy",
    "changed-meanwhile",
    "clock-off",
    "order.expired",
    "order.unexpected",
    "stopped",
    "trial-pending",
    "waiting-for",
    "window-closed",
];

/// The same, whole families: what did not arrive.
const PASSING_KINDS: [&str; 2] = ["download.", "fetch."];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_final_state_ends_the_attempt_and_no_other_does() {
        for state in OrderState::ALL {
            let ended = matches!(standing_of(state, None, true), Standing::Ended(_));
            assert_eq!(ended, state.is_final(), "{state}");
        }
    }

    #[test]
    fn an_order_that_nobody_acknowledged_exposes_nobody() {
        assert_eq!(standing_of(OrderState::HandedOut, None, false), Standing::Untaken);
        assert_eq!(standing_of(OrderState::Cancelling, None, false), Standing::Untaken);
        assert_eq!(standing_of(OrderState::Cancelling, None, true), Standing::Exposed);
        assert_eq!(standing_of(OrderState::Accepted, None, true), Standing::Exposed);
    }

    #[test]
    fn only_what_passes_by_itself_is_tried_again() {
        let refused = |code| standing_of(OrderState::Refused, Some(code), true);
        assert_eq!(refused("busy"), Standing::Ended(Outcome::Passing));
        assert_eq!(refused("download.stalled"), Standing::Ended(Outcome::Passing));
        assert_eq!(refused("pinned"), Standing::Ended(Outcome::Refused));
        assert_eq!(refused("quarantined"), Standing::Ended(Outcome::Refused));
        let cancelled = |code| standing_of(OrderState::Cancelled, code, true);
        assert_eq!(cancelled(Some(PAUSED)), Standing::Ended(Outcome::Recalled));
        assert_eq!(cancelled(None), Standing::Ended(Outcome::Withdrawn));
        let voided = |code| standing_of(OrderState::Voided, Some(code), true);
        assert_eq!(voided(RESTORED), Standing::Ended(Outcome::Recalled));
        assert_eq!(voided("agent.retired"), Standing::Ended(Outcome::Withdrawn));
        let failed = standing_of(OrderState::Failed, Some("busy"), true);
        assert_eq!(failed, Standing::Ended(Outcome::Failed));
    }

    #[test]
    fn a_revert_that_somebody_refused_took_not_everybody_back() {
        let all = Counts { members: 3, done: 2, satisfied: 1, ..Counts::default() };
        assert!(took_everybody_back(RolloutState::Done, &all));
        assert!(!took_everybody_back(RolloutState::Aborted, &all));
        let refused = Counts { done: 1, refused: 1, ..all };
        assert!(!took_everybody_back(RolloutState::Done, &refused));
        let away = Counts { done: 1, away: 1, ..all };
        assert!(!took_everybody_back(RolloutState::Done, &away));
    }

    #[test]
    fn a_host_that_waits_for_its_window_is_not_late() {
        let at = Timestamp::from_micros;
        assert_eq!(exposed_from(at(5), None), at(5));
        assert_eq!(exposed_from(at(5), Some(at(9))), at(9));
        assert_eq!(exposed_from(at(9), Some(at(5))), at(9));
    }
}
