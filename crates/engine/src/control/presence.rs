//! Who is there, and who is gone for good.

use std::time::Duration;

use handover_model::api::AgentState;
use handover_model::{Millis, Timestamp};

/// How an agent stands after its silence, given how it stood. A clone stays one and a retired one
/// stays retired, heard or not.
pub fn stands(
    was: AgentState,
    last_seen: Timestamp,
    now: Timestamp,
    away_after: Millis,
) -> AgentState {
    match was {
        AgentState::Cloned | AgentState::Retired => was,
        AgentState::Present | AgentState::Away => {
            if now.since(last_seen) > away_after.duration() {
                AgentState::Away
            } else {
                AgentState::Present
            }
        }
    }
}

/// Whether an ephemeral agent has been silent for so long that it is retired.
pub fn is_gone(ephemeral_after: Option<Millis>, last_seen: Timestamp, now: Timestamp) -> bool {
    ephemeral_after.is_some_and(|after| now.since(last_seen) > after.duration())
}

/// After how long a silence an agent that comes every `interval` counts as away: two syncs may be
/// lost, and the third may be held open for as long as one is held.
pub fn away_after(interval: Millis, longest_wait: Millis) -> Millis {
    let silence = interval.duration().saturating_mul(3).saturating_add(longest_wait.duration());
    Millis::of(silence.max(Duration::from_secs(5)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn silence_makes_an_agent_away_and_a_word_brings_it_back() {
        let after = Millis(10_000);
        assert_eq!(stands(AgentState::Present, at(0), at(10), after), AgentState::Present);
        assert_eq!(stands(AgentState::Present, at(0), at(11), after), AgentState::Away);
        assert_eq!(stands(AgentState::Away, at(11), at(12), after), AgentState::Present);
        assert_eq!(stands(AgentState::Cloned, at(11), at(12), after), AgentState::Cloned);
        assert_eq!(stands(AgentState::Retired, at(0), at(99), after), AgentState::Retired);
    }

    #[test]
    fn a_clock_that_went_back_makes_nobody_away() {
        assert_eq!(stands(AgentState::Present, at(50), at(0), Millis(1)), AgentState::Present);
        assert!(!is_gone(Some(Millis(1)), at(50), at(0)));
    }

    #[test]
    fn only_ephemeral_agents_go_by_themselves() {
        assert!(is_gone(Some(Millis(1000)), at(0), at(2)));
        assert!(!is_gone(Some(Millis(3000)), at(0), at(2)));
        assert!(!is_gone(None, at(0), at(1_000_000)));
    }
}
