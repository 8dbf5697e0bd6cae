//! What is known of one member, in eight bytes, and what it amounts to.

use crate::rollout::outcome::Outcome;

/// One member. Of two events the one of the later attempt counts, of one attempt the furthest
/// phase: so the order in which they come does not matter, nor how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    /// From when the deadline of its open order counts, in ticks.
    pub(super) from: u32,
    pub(super) attempt: u8,
    pub(super) phase: Phase,
    flags: u8,
    /// Attempts that were recalled and so cost nothing: one bit each, in turns of eight.
    recalled: u8,
}

/// How far the newest attempt is, by what orders say. The order is that of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Waiting,
    Handed,
    Exposed,
    Passing,
    Satisfied,
    Withdrawn,
    Refused,
    Done,
    Failed,
}

/// A yes or no about a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Present = 1,
    Blocked = 2,
    LeftOut = 4,
    Decayed = 8,
    AcceptedFailure = 16,
    AcceptedSilence = 32,
    /// Its deadline passed, and it was not heard of since.
    Silent = 64,
    /// Its deadline passed while it talks.
    Late = 128,
}

/// What a member counts as: each member is in exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    Waiting,
    Away,
    Blocked,
    /// There, and its order was not taken yet.
    Released,
    /// Handed out, not acknowledged.
    Handed,
    /// There, between two attempts.
    Retrying,
    Running,
    Done,
    Failed,
    Late,
    Decayed,
    Silent,
    Refused,
    Withdrawn,
    Satisfied,
    LeftOut,
}

impl Cell {
    pub(super) const COUNT: usize = 16;

    /// Whether the member is there, and has no outcome yet.
    pub(super) fn waits_for_outcome(self) -> bool {
        matches!(self, Self::Running | Self::Handed | Self::Released | Self::Retrying)
    }
}

/// What a member weighs in the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Nothing,
    /// Exposed, and nothing against the release so far.
    Exposed,
    Failed,
    /// Failed after it was done.
    Decayed,
    Silent,
}

impl Weight {
    pub(super) fn is_exposed(self) -> bool {
        self != Self::Nothing
    }

    /// An explicit failure.
    pub(super) fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Decayed)
    }
}

impl From<Outcome> for Phase {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Recalled | Outcome::Passing => Self::Passing,
            Outcome::Satisfied => Self::Satisfied,
            Outcome::Withdrawn => Self::Withdrawn,
            Outcome::Refused => Self::Refused,
            Outcome::Done => Self::Done,
            Outcome::Failed => Self::Failed,
        }
    }
}

impl Seat {
    pub(super) const EMPTY: Self =
        Self { from: 0, attempt: 0, phase: Phase::Waiting, flags: 0, recalled: 0 };

    pub(super) fn has(self, mark: Mark) -> bool {
        self.flags & bit(mark) != 0
    }

    pub(super) fn set(&mut self, mark: Mark, on: bool) {
        if on { self.flags |= bit(mark) } else { self.flags &= !bit(mark) }
    }

    /// Takes in what an order says of an attempt.
    pub(super) fn advance(&mut self, attempt: u8, phase: Phase, from: u32) {
        if (attempt, phase) > (self.attempt, self.phase) {
            (self.attempt, self.phase, self.from) = (attempt, phase, from);
            self.set(Mark::Silent, false);
            self.set(Mark::Late, false);
        } else if (attempt, phase) == (self.attempt, self.phase) {
            self.from = self.from.min(from);
        }
    }

    /// Notes that an attempt was recalled.
    pub(super) fn recall(&mut self, attempt: u8) {
        self.recalled |= 1_u8.rotate_left(u32::from(attempt.saturating_sub(1)));
    }

    /// How many attempts were spent.
    fn spent(self) -> u8 {
        let recalled = u8::try_from(self.recalled.count_ones()).unwrap_or(0);
        self.attempt.saturating_sub(recalled)
    }

    /// Whether an order is open, so that its deadline counts.
    pub(super) fn is_open(self) -> bool {
        matches!(self.phase, Phase::Handed | Phase::Exposed)
    }

    /// Whether its deadline was judged already.
    pub(super) fn is_judged(self) -> bool {
        self.has(Mark::Silent) || self.has(Mark::Late)
    }

    /// What it counts as. `attempts`: how many there may be.
    pub(super) fn cell(self, is_released: bool, attempts: u8) -> Cell {
        if self.has(Mark::LeftOut) {
            return Cell::LeftOut;
        }
        match self.phase {
            Phase::Waiting if !is_released => Cell::Waiting,
            Phase::Waiting => self.unexposed(Cell::Released),
            Phase::Passing if self.spent() >= attempts => Cell::Refused,
            Phase::Passing => self.unexposed(Cell::Retrying),
            Phase::Handed | Phase::Exposed if self.has(Mark::Silent) => Cell::Silent,
            // It talks, and does not take its order: whatever is wrong, it was not exposed.
            Phase::Handed if self.has(Mark::Late) => self.unexposed(Cell::Released),
            Phase::Handed => Cell::Handed,
            Phase::Exposed if self.has(Mark::Late) => Cell::Late,
            Phase::Exposed => Cell::Running,
            Phase::Satisfied => Cell::Satisfied,
            Phase::Withdrawn => Cell::Withdrawn,
            Phase::Refused => Cell::Refused,
            Phase::Done if self.has(Mark::Decayed) => Cell::Decayed,
            Phase::Done => Cell::Done,
            Phase::Failed => Cell::Failed,
        }
    }

    fn unexposed(self, there: Cell) -> Cell {
        if self.has(Mark::Blocked) {
            Cell::Blocked
        } else if self.has(Mark::Present) {
            there
        } else {
            Cell::Away
        }
    }

    /// What it weighs in the gate: what a person left out or accepted weighs nothing.
    pub(super) fn weight(self, attempts: u8) -> Weight {
        let unless = |mark, weight| if self.has(mark) { Weight::Nothing } else { weight };
        match self.cell(true, attempts) {
            Cell::Running | Cell::Done => Weight::Exposed,
            Cell::Failed | Cell::Late => unless(Mark::AcceptedFailure, Weight::Failed),
            Cell::Decayed => unless(Mark::AcceptedFailure, Weight::Decayed),
            Cell::Silent if self.has(Mark::AcceptedFailure) => Weight::Nothing,
            Cell::Silent => unless(Mark::AcceptedSilence, Weight::Silent),
            Cell::Waiting
            | Cell::Away
            | Cell::Blocked
            | Cell::Released
            | Cell::Handed
            | Cell::Retrying
            | Cell::Refused
            | Cell::Withdrawn
            | Cell::Satisfied
            | Cell::LeftOut => Weight::Nothing,
        }
    }
}

#[expect(clippy::as_conversions, reason = "the discriminant of a bit is the bit")]
const fn bit(mark: Mark) -> u8 {
    mark as u8
}

/// How many of each cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally([u32; Cell::COUNT]);

impl Tally {
    pub(super) fn of(&self, cell: Cell) -> u32 {
        self.0.get(index(cell)).copied().unwrap_or(0)
    }

    pub(super) fn sum(&self, cells: &[Cell]) -> u32 {
        cells.iter().map(|cell| self.of(*cell)).sum()
    }

    pub(super) fn add(&mut self, cell: Cell) {
        if let Some(count) = self.0.get_mut(index(cell)) {
            *count += 1;
        }
    }

    pub(super) fn take(&mut self, cell: Cell) {
        if let Some(count) = self.0.get_mut(index(cell)) {
            *count = count.saturating_sub(1);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    /// Hosts that took the release and say how it went.
    pub(super) fn spoke(&self) -> u32 {
        self.sum(&[Cell::Done, Cell::Failed, Cell::Late, Cell::Decayed])
    }

    /// Hosts with an order that is under way.
    pub(super) fn under_way(&self) -> u32 {
        self.sum(&[Cell::Running, Cell::Handed])
    }

    /// Hosts that are there and could take their order.
    pub(super) fn able(&self) -> u32 {
        self.sum(&[Cell::Released, Cell::Retrying])
    }

    /// Released hosts that may yet take an order.
    pub(super) fn unexposed(&self) -> u32 {
        self.sum(&[Cell::Away, Cell::Blocked, Cell::Released, Cell::Retrying])
    }

    /// Explicit failures.
    pub(super) fn failed(&self) -> u32 {
        self.sum(&[Cell::Failed, Cell::Late, Cell::Decayed])
    }

    /// Hosts that acknowledged an order.
    pub(super) fn exposed(&self) -> u32 {
        self.of(Cell::Running) + self.of(Cell::Silent) + self.spoke()
    }
}

#[expect(clippy::as_conversions, reason = "the cells are numbered from 0 and few")]
const fn index(cell: Cell) -> usize {
    cell as usize
}
