//! Members that came for their order and could not have it yet: whom to wake when that may have
//! changed. Cost follows what happens, since nobody is woken for what did not.

use std::collections::{BTreeMap, BTreeSet};

use handover_model::Timestamp;
use handover_model::api::HoldCode;

/// Why a member waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// What holds it.
    pub(crate) code: HoldCode,
    /// In a sentence.
    pub(crate) text: String,
    /// When that ends by itself.
    pub(crate) until: Option<Timestamp>,
}

/// Who waits, and since which turn.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    by_position: BTreeMap<u32, (u64, Waiting)>,
    /// Those held by a limit, the longest first.
    queue: BTreeMap<u64, u32>,
    by_time: BTreeSet<(Timestamp, u32)>,
    drawn: u64,
    /// When those were woken last of whose turn nobody may tell.
    nudged_at: Option<Timestamp>,
    woken: Woken,
}

/// How often members were woken: whoever comes with an older number than there is by the time its
/// wait is noted may have missed its wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Woken {
    limits: u64,
    others: u64,
}

/// How often some of those that a limit keeps are woken although nobody tells: the ones that were
/// woken before may have gone. The same for those that wait for a release to be offered again.
const NUDGE: std::time::Duration = std::time::Duration::from_secs(10);
/// How many of them.
const NUDGED: usize = 16;

impl Waits {
    /// Notes one who waits.
    pub(crate) fn insert(&mut self, position: u32, waiting: Waiting) {
        self.remove(position);
        self.drawn += 1;
        if waiting.code == HoldCode::Limit {
            self.queue.insert(self.drawn, position);
        }
        if let Some(until) = waiting.until {
            self.by_time.insert((until, position));
        }
        self.by_position.insert(position, (self.drawn, waiting));
    }

    /// One who waits no more; whether it did.
    pub(crate) fn remove(&mut self, position: u32) -> bool {
        let Some((number, waiting)) = self.by_position.remove(&position) else { return false };
        self.queue.remove(&number);
        if let Some(until) = waiting.until {
            self.by_time.remove(&(until, position));
        }
        true
    }

    /// Why one waits.
    pub(crate) fn code_of(&self, position: u32) -> Option<HoldCode> {
        self.by_position.get(&position).map(|(_, waiting)| waiting.code)
    }

    /// Why one waits, in a sentence.
    pub(crate) fn why(&self, position: u32) -> Option<&Waiting> {
        self.by_position.get(&position).map(|(_, waiting)| waiting)
    }

    /// Takes out those whose time has come.
    pub(crate) fn due(&mut self, now: Timestamp) -> Vec<u32> {
        let after = self.by_time.split_off(&(now, u32::MAX));
        let due: Vec<u32> = std::mem::replace(&mut self.by_time, after)
            .into_iter()
            .map(|(_, place)| place)
            .collect();
        for position in &due {
            self.remove(*position);
        }
        due
    }

    /// When the first one's time comes.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        let nudge = self.nudged_at.filter(|_| !self.by_position.is_empty());
        super::sooner(self.by_time.first().map(|(at, _)| *at), nudge.map(|at| at.after(NUDGE)))
    }

    /// How often members were woken until now.
    pub(crate) fn woken(&self) -> Woken {
        self.woken
    }

    /// Whether one who was told at `then` that it waits may have missed its wake.
    pub(crate) fn has_missed(&self, code: HoldCode, then: Woken) -> bool {
        if code == HoldCode::Limit {
            self.woken.limits != then.limits
        } else {
            self.woken.others != then.others
        }
    }

    /// How many a limit keeps, why the first of them is kept, and the places of the first `most`.
    pub(crate) fn limited(&self, most: usize) -> Option<(usize, &Waiting, Vec<u32>)> {
        let first = self.queue.values().next()?;
        let mut places: Vec<u32> = self.queue.values().take(most).copied().collect();
        places.sort_unstable();
        Some((self.queue.len(), self.why(*first)?, places))
    }

    /// Takes out some of those of whose turn nobody may tell, once in a while: of those that are
    /// there.
    pub(crate) fn nudged(&mut self, now: Timestamp, is_there: impl Fn(u32) -> bool) -> Vec<u32> {
        let is_due = self.nudged_at.is_none_or(|at| now >= at.after(NUDGE));
        if self.by_position.is_empty() || !is_due {
            return Vec::new();
        }
        self.nudged_at = Some(now);
        let mut woken = self.first_of_limits(NUDGED, &is_there);
        for position in &woken {
            self.remove(*position);
        }
        // Once one of them waits for it no more, the others are woken: it is known to have waited.
        let of_release = self.by_position.iter().filter(|(position, (_, waiting))| {
            waiting.code == HoldCode::Release && is_there(**position)
        });
        woken.extend(of_release.map(|(position, _)| *position).take(NUDGED));
        woken
    }

    /// Takes out those that this kind of hold keeps.
    pub(crate) fn of_code(&mut self, code: HoldCode) -> Vec<u32> {
        self.woken.others += 1;
        let found: Vec<u32> = self
            .by_position
            .iter()
            .filter(|(_, (_, waiting))| waiting.code == code)
            .map(|(position, _)| *position)
            .collect();
        for position in &found {
            self.remove(*position);
        }
        found
    }

    /// Takes out those that a limit keeps and that are there, the longest first, up to `most`.
    /// They go to the queue's end when they come and are kept again.
    pub(crate) fn of_limits(&mut self, most: usize, is_there: impl Fn(u32) -> bool) -> Vec<u32> {
        self.woken.limits += 1;
        let found = self.first_of_limits(most, &is_there);
        for position in &found {
            self.remove(*position);
        }
        found
    }

    fn first_of_limits(&self, most: usize, is_there: &impl Fn(u32) -> bool) -> Vec<u32> {
        let there = self.queue.values().copied().filter(|position| is_there(*position));
        there.take(most).collect()
    }

    /// Takes out everybody.
    pub(crate) fn all(&mut self) -> Vec<u32> {
        let Woken { limits, others } = self.woken;
        let woken = Woken { limits: limits + 1, others: others + 1 };
        let all = std::mem::replace(self, Self { woken, ..Self::default() });
        all.by_position.into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(code: HoldCode, until: Option<i64>) -> Waiting {
        Waiting { code, text: String::new(), until: until.map(Timestamp::from_micros) }
    }

    #[test]
    fn those_whose_time_has_come_are_woken_once() {
        let mut waits = Waits::default();
        waits.insert(7, waiting(HoldCode::Window, Some(10)));
        waits.insert(8, waiting(HoldCode::Window, Some(11)));
        waits.insert(9, waiting(HoldCode::Requirement, None));
        assert_eq!(waits.next(), Some(Timestamp::from_micros(10)));
        assert_eq!(waits.due(Timestamp::from_micros(10)), [7]);
        assert!(waits.due(Timestamp::from_micros(10)).is_empty());
        assert_eq!(waits.code_of(9), Some(HoldCode::Requirement));
        assert_eq!(waits.all(), [8, 9]);
    }

    #[test]
    fn those_of_whose_turn_nobody_tells_are_woken_once_in_a_while() {
        let mut waits = Waits::default();
        waits.insert(1, waiting(HoldCode::Limit, None));
        waits.insert(2, waiting(HoldCode::Window, Some(90_000_000)));
        assert_eq!(waits.nudged(Timestamp::from_micros(0), |_| true), [1]);
        waits.insert(1, waiting(HoldCode::Limit, None));
        assert!(waits.nudged(Timestamp::from_micros(9_000_000), |_| true).is_empty());
        assert_eq!(waits.next(), Some(Timestamp::from_micros(10_000_000)));
        assert_eq!(waits.nudged(Timestamp::from_micros(10_000_000), |_| true), [1]);
    }

    #[test]
    fn a_limit_lets_the_longest_waiting_go_first_and_sends_them_to_the_end() {
        let mut waits = Waits::default();
        for position in [5, 3, 4] {
            waits.insert(position, waiting(HoldCode::Limit, None));
        }
        assert_eq!(waits.of_limits(2, |_| true), [5, 3]);
        waits.insert(5, waiting(HoldCode::Limit, None));
        assert_eq!(waits.of_limits(2, |_| true), [4, 5]);
        assert_eq!(waits.limited(9), None);
    }

    #[test]
    fn hosts_that_are_away_spend_no_wake_and_keep_their_place() {
        let mut waits = Waits::default();
        for position in [5, 3, 4] {
            waits.insert(position, waiting(HoldCode::Limit, None));
        }
        assert_eq!(waits.of_limits(1, |position| position != 5), [3]);
        assert_eq!(waits.nudged(Timestamp::from_micros(0), |position| position != 5), [4]);
        let (count, _, places) = waits.limited(9).unwrap();
        assert_eq!((count, places), (1, vec![5]));
    }

    #[test]
    fn whoever_is_told_to_wait_while_others_are_woken_has_missed_it() {
        let mut waits = Waits::default();
        let then = waits.woken();
        assert!(!waits.has_missed(HoldCode::Limit, then));
        assert!(waits.of_limits(4, |_| true).is_empty());
        assert!(waits.has_missed(HoldCode::Limit, then));
        assert!(!waits.has_missed(HoldCode::FleetStopped, then));
        assert!(waits.of_code(HoldCode::FleetStopped).is_empty());
        assert!(waits.has_missed(HoldCode::FleetStopped, then));
        let then = waits.woken();
        assert!(waits.all().is_empty());
        assert!(waits.has_missed(HoldCode::Limit, then));
        assert!(waits.has_missed(HoldCode::Paused, then));
    }
}
