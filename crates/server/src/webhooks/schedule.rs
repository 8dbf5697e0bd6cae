//! When a delivery is tried again. Pure.

use std::time::Duration;

use handover_model::Timestamp;
use handover_store::webhooks::Attempted;

/// What the first wait is drawn below; doubled for each further one.
const FIRST: Duration = Duration::from_secs(4);
/// What no wait is drawn above.
const LONGEST: Duration = Duration::from_hours(1);
/// How long after its event a delivery is tried.
const KEPT_UP: Duration = Duration::from_hours(24);
/// So many failures of one delivery keep later ones of the same webhook back, so that a receiver
/// that comes back gets them in order; after that it alone waits, so that one that the receiver
/// breaks on does not keep all others.
const IN_ORDER: u32 = 6;

/// One attempt that is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    /// When the event was.
    pub(crate) event_at: Timestamp,
    /// The attempts that were made, this one with them.
    pub(crate) number: u32,
    /// When it was over.
    pub(crate) now: Timestamp,
    /// Anything: full jitter is drawn of it, so that receivers that were away are not hit at once.
    pub(crate) dice: u64,
}

/// What the receiver did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    /// It took it.
    Taken,
    /// It answered that it does not want this one.
    Declined(String),
    /// It is not there, too slow, or not well; perhaps it said when to come again.
    Unwell(String, Option<Duration>),
}

/// What becomes of the delivery, and until when others of the webhook wait.
pub(crate) fn came_to(attempt: Attempt, came: Came) -> (Attempted, Option<Timestamp>) {
    let (error, wanted, is_unwell) = match came {
        Came::Taken => return (Attempted::Delivered, None),
        Came::Declined(error) => (error, None, false),
        Came::Unwell(error, wanted) => (error, wanted, true),
    };
    if attempt.event_at.after(KEPT_UP) <= attempt.now {
        return (Attempted::GivenUp { error: format!("given up after 24 hours: {error}") }, None);
    }
    let wait = wait(attempt.number, attempt.dice).max(wanted.unwrap_or_default().min(LONGEST));
    let at = attempt.now.after(wait);
    let holds = is_unwell && attempt.number <= IN_ORDER;
    (Attempted::Again { at, error }, holds.then_some(at))
}

/// Full jitter: anything from nothing to the ceiling.
fn wait(number: u32, dice: u64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << number.saturating_sub(1).min(16));
    let ceiling = u64::try_from(doubled.min(LONGEST).as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(dice % (ceiling + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Timestamp {
        Timestamp::from_micros(1_000_000_000_000)
    }

    fn attempt(number: u32, after: Duration, dice: u64) -> Attempt {
        Attempt { event_at: event(), number, now: event().after(after), dice }
    }

    fn unwell() -> Came {
        Came::Unwell("status 503".to_owned(), None)
    }

    #[test]
    fn waits_are_drawn_below_a_ceiling_that_doubles_up_to_an_hour() {
        for (number, ceiling) in [(1, 4), (2, 8), (5, 64), (10, 2048), (11, 3600), (500, 3600)] {
            let ceiling = Duration::from_secs(ceiling);
            let waits: Vec<_> = (0..1000_u64)
                .map(|die| wait(number, die.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
                .collect();
            assert!(waits.iter().all(|wait| *wait <= ceiling), "{number}");
            assert!(waits.iter().any(|wait| *wait < ceiling / 10), "{number}");
            assert!(waits.iter().any(|wait| *wait > ceiling * 9 / 10), "{number}");
        }
    }

    #[test]
    fn a_receiver_that_is_not_well_keeps_its_order_for_a_while() {
        let (after, held) = came_to(attempt(1, Duration::ZERO, 7), unwell());
        let Attempted::Again { at, error } = after else { panic!("{after:?}") };
        assert_eq!((held, error.as_str()), (Some(at), "status 503"));
        let (_, held) = came_to(attempt(IN_ORDER + 1, Duration::from_mins(9), 7), unwell());
        assert_eq!(held, None);
        let (after, held) =
            came_to(attempt(1, Duration::ZERO, 7), Came::Declined("status 400".to_owned()));
        assert!(matches!(after, Attempted::Again { .. }));
        assert_eq!(held, None, "one that is not wanted keeps no other back");
    }

    #[test]
    fn a_receiver_that_says_when_is_listened_to_within_reason() {
        let wanted = |length| Came::Unwell("status 429".to_owned(), Some(length));
        let again = |came| match came_to(attempt(1, Duration::ZERO, 0), came).0 {
            Attempted::Again { at, .. } => at,
            Attempted::Delivered | Attempted::GivenUp { .. } => panic!("tried no more"),
        };
        assert_eq!(again(wanted(Duration::from_secs(90))), event().after(Duration::from_secs(90)));
        assert_eq!(again(wanted(Duration::MAX)), event().after(LONGEST));
    }

    #[test]
    fn a_delivery_is_given_up_after_a_day_and_never_untried() {
        let (after, held) = came_to(attempt(1, KEPT_UP, 7), unwell());
        assert!(matches!(after, Attempted::GivenUp { .. }) && held.is_none());
        let just = KEPT_UP.checked_sub(Duration::from_secs(1)).unwrap();
        assert!(matches!(came_to(attempt(90, just, 7), unwell()).0, Attempted::Again { .. }));
        assert_eq!(came_to(attempt(9, KEPT_UP, 7), Came::Taken).0, Attempted::Delivered);
    }
}
