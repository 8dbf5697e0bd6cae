//! What the controller is told: events of members, and what a decision looks at.

use handover_model::api::CheckVerdict;
use handover_model::{Millis, Timestamp};

use crate::rollout::gate::Counts;
use crate::rollout::outcome::Outcome;
use crate::window::Schedule;

/// What is known of one member; `position` is its place in the roster. Told twice it changes
/// nothing, and in whichever order events of orders come, the end is the same: of two attempts the
/// later one counts, of one attempt its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It asked for its order and got it. If it neither acknowledges it nor is heard of until its
    /// deadline, it counts as exposed and silent: a release that takes a host off the network at
    /// once must not look like a host that was away.
    HandedOut {
        /// Which member.
        position: u32,
        /// Which attempt, from 1.
        attempt: u32,
        /// From when its deadline counts: [`exposed_from`](crate::rollout::outcome::exposed_from)
        /// of the hand-out.
        from: Timestamp,
    },
    /// It acknowledged its order.
    Exposed {
        /// Which member.
        position: u32,
        /// Which attempt, from 1.
        attempt: u32,
        /// From when its deadline counts: [`exposed_from`](crate::rollout::outcome::exposed_from).
        from: Timestamp,
    },
    /// An attempt ended.
    Ended {
        /// Which member.
        position: u32,
        /// Which attempt, from 1; 0 where no order was needed.
        attempt: u32,
        /// How.
        outcome: Outcome,
        /// When.
        at: Timestamp,
    },
    /// It went back to another release by itself after it had proved this one.
    Decayed {
        /// Which member.
        position: u32,
    },
    /// It is there, or not. Only what is new need be told.
    Presence {
        /// Which member.
        position: u32,
        /// Whether it is there.
        presence: Presence,
        /// When that was seen.
        at: Timestamp,
    },
}

/// Whether a member is there to take its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    /// Not heard of.
    Away,
    /// There, and something of its own keeps it from taking the order: a requirement, another
    /// rollout that goes first. It is not waited for, like one that is away.
    Blocked,
    /// There.
    Present,
}

/// What the shell knows of a member at the moment of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemberFact {
    /// When it checked in last.
    pub last_seen: Option<Timestamp>,
    /// It runs what the rollout would bring it to: it needs no order.
    pub satisfied: bool,
    /// Something of its own keeps it from taking an order: see [`Presence::Blocked`].
    pub blocked: bool,
}

/// Whether hosts may be touched now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowFact {
    /// Whether one is open; always, where the rollout has none.
    pub open: bool,
    /// When the next one opens, where none is open; absent: never.
    pub opens_at: Option<Timestamp>,
    /// When the open one, or the next one, closes; absent: never.
    pub closes_at: Option<Timestamp>,
}

impl WindowFact {
    /// No windows: always open.
    pub const ALWAYS: Self = Self { open: true, opens_at: None, closes_at: None };

    /// How a schedule stands.
    pub fn of(schedule: &Schedule, now: Timestamp) -> Self {
        let open = schedule.is_open(now);
        let opens_at = if open { None } else { schedule.opens_at(now) };
        let from = if open { Some(now) } else { opens_at };
        Self { open, opens_at, closes_at: from.and_then(|from| schedule.closes_at(from)) }
    }
}

/// The newest answer of an external check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckFact<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it said; absent: nothing yet.
    pub verdict: Option<CheckVerdict>,
    /// Why.
    pub reason: Option<&'a str>,
    /// When it said so.
    pub at: Option<Timestamp>,
}

/// What a decision looks at, beside the events so far.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// How long a silence makes a host away.
    pub patience: Millis,
    /// A member by its position. Asked for members that are released, become overdue, or are
    /// compared with: never for all of them at once.
    pub member: &'a dyn Fn(u32) -> MemberFact,
    /// The newest answers of the external checks.
    pub checks: &'a [CheckFact<'a>],
    /// Why the whole fleet is stopped, if it is; never for a revert, which goes on.
    pub fleet_stopped: Option<&'a str>,
    /// Whether hosts may be touched now.
    pub window: WindowFact,
    /// Why the release can't be handed out, if it can't: revoked, or gone. Never for a revert.
    pub release: Result<(), &'a str>,
    /// Silence after commit, only looked at while a rollout that is done is watched: of hosts that
    /// the rollout did not touch, how many are silent; zeros where that is not known, and then no
    /// silence is evidence. The hosts that are done are counted here when theirs are zeros.
    pub committed: Watched,
}

/// Silence among hosts that committed, and among others of the same period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watched {
    /// Hosts that are done: silent ones among all.
    pub done: Counts,
    /// Hosts that the rollout did not touch: silent ones among all.
    pub others: Counts,
}
