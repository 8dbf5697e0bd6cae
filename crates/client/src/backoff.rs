//! How long to wait before trying again.

use std::time::Duration;

use crate::dice::Dice;

/// The first wait.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait of our own choosing.
const LONGEST: Duration = Duration::from_mins(1);
/// The longest wait that a server may ask for: more, and a hostile one could silence a host.
const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// The wait before attempt number `attempt` (the first repetition is 1): doubling from half a
/// second to a minute, of which a random half is cut, and never less than what the server asked
/// for with `Retry-After` (bounded by an hour).
pub fn plan_wait(attempt: u32, asked: Option<Duration>, dice: &mut Dice) -> Duration {
    let doubled = FIRST.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1).min(16)));
    let full = u64::try_from(doubled.min(LONGEST).as_millis()).unwrap_or(u64::MAX);
    let own = Duration::from_millis(dice.between(full / 2, full));
    let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
    if asked.is_zero() {
        own
    } else {
        // Everybody was told the same moment: come a little after it, each at a time of its own.
        asked.saturating_add(own)
    }
}

/// The first wait for a control plane that is gone, at most.
const FIRST_AWAY: Duration = Duration::from_secs(5);
/// The longest wait for a control plane, of our own choosing or at its asking: a host that was
/// told to stay away must still notice when things are well again.
const LONGEST_AWAY: Duration = Duration::from_mins(10);

/// The wait before attempt number `attempt` (from 1) to reach a control plane again: anything
/// between nothing and a bound that doubles from five seconds to ten minutes, so that a fleet
/// that lost it in one moment comes back spread out; after a `Retry-After`, that time and then
/// as spread out, ten minutes at most before the spreading.
pub fn plan_return(attempt: u32, asked: Option<Duration>, dice: &mut Dice) -> Duration {
    let doubled =
        FIRST_AWAY.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1).min(16)));
    let full = u64::try_from(doubled.min(LONGEST_AWAY).as_millis()).unwrap_or(u64::MAX);
    let spread = Duration::from_millis(dice.between(full / 50, full));
    asked.unwrap_or_default().min(LONGEST_AWAY).saturating_add(spread)
}

/// `length`, give or take a tenth.
pub fn jitter(length: Duration, dice: &mut Dice) -> Duration {
    let full = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(
        dice.between(full.saturating_sub(full / 10), full.saturating_add(full / 10)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_between_half_and_full() {
        let mut dice = Dice::new(1);
        for (attempt, full) in [(1, 500), (2, 1000), (3, 2000), (20, 60_000), (u32::MAX, 60_000)] {
            for _ in 0..100 {
                let wait = plan_wait(attempt, None, &mut dice).as_millis();
                assert!((full / 2..=full).contains(&wait), "attempt {attempt}: {wait} ms");
            }
        }
    }

    #[test]
    fn retry_after_is_respected_up_to_an_hour() {
        let mut dice = Dice::new(1);
        let asked = Duration::from_secs(30);
        assert!(plan_wait(1, Some(asked), &mut dice) >= asked);
        let endless = Duration::from_secs(1_000_000);
        assert!(plan_wait(1, Some(endless), &mut dice) < Duration::from_secs(3700));
    }

    #[test]
    fn a_fleet_returns_spread_out_and_within_ten_minutes() {
        let mut dice = Dice::new(3);
        let waits: Vec<_> = (0..1000).map(|_| plan_return(1, None, &mut dice)).collect();
        let early = waits.iter().filter(|wait| **wait < FIRST_AWAY / 2).count();
        assert!((400..600).contains(&early), "{early} of 1000 in the first half");
        for attempt in [1, 5, 20, u32::MAX] {
            assert!(plan_return(attempt, None, &mut dice) <= LONGEST_AWAY);
            let asked = Some(Duration::from_hours(9));
            let wait = plan_return(attempt, asked, &mut dice);
            assert!(wait >= LONGEST_AWAY && wait <= 2 * LONGEST_AWAY, "{wait:?}");
        }
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        let mut dice = Dice::new(2);
        for _ in 0..1000 {
            let got = jitter(Duration::from_mins(1), &mut dice).as_millis();
            assert!((54_000..=66_000).contains(&got), "{got}");
        }
    }
}
