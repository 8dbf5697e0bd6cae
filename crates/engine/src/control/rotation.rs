//! When keys and certificates change.

use std::time::Duration;

use handover_model::Timestamp;

/// When a certificate is to be replaced: at half of its life, so that a host whose clock is off
/// or who missed a day never meets an expired one.
pub fn renewal(issued: Timestamp, ends: Timestamp) -> Timestamp {
    issued.after(ends.since(issued) / 2)
}

/// Whether it is time.
pub fn is_due(issued: Timestamp, ends: Timestamp, now: Timestamp) -> bool {
    now >= renewal(issued, ends)
}

/// How far online agents are with a numbered document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Acknowledged {
    /// Agents that are present.
    pub online: u64,
    /// Those of them that hold an older one.
    pub behind: u64,
}

/// Whether an overlap of two order keys may end: every agent that is online has the new one, and
/// the longest order that the old one signed is over.
pub fn may_retire_order_key(
    seen: Acknowledged,
    begun: Timestamp,
    longest_order: Duration,
    now: Timestamp,
) -> bool {
    seen.behind == 0 && now.since(begun) >= longest_order
}

/// Whether the leaf may move to the next authority: every agent that is online trusts it.
pub fn may_switch_authority(seen: Acknowledged) -> bool {
    seen.behind == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_half_its_life() {
        let at = |days: u64| Timestamp::from_micros(0).after(Duration::from_hours(days * 24));
        assert_eq!(renewal(at(10), at(40)), at(25));
        assert!(!is_due(at(10), at(40), at(24)));
        assert!(is_due(at(10), at(40), at(25)));
        assert!(is_due(at(10), at(10), at(10)), "one without a life is due at once");
    }

    #[test]
    fn an_old_key_stays_while_anyone_online_needs_it_or_an_order_of_its_may_be_under_way() {
        let (begun, day) = (Timestamp::from_micros(0), Duration::from_hours(24));
        let all = Acknowledged { online: 5, behind: 0 };
        let some = Acknowledged { online: 5, behind: 1 };
        assert!(!may_retire_order_key(all, begun, day, begun));
        assert!(!may_retire_order_key(some, begun, day, begun.after(day)));
        assert!(may_retire_order_key(all, begun, day, begun.after(day)));
        assert!(!may_switch_authority(some));
        assert!(may_switch_authority(all));
    }
}
