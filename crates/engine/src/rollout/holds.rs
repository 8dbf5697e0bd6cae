//! Everything that can hold a rollout, in words, with who or what can lift it.

use handover_model::Timestamp;
use handover_model::api::{Hold, HoldCode, HoldLifter};

/// A hold, and the positions of the members that it is about, the first few; whoever knows their
/// names puts them into [`Hold::agents`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The hold.
    pub hold: Hold,
    /// The members, ascending, at most [`Held::MOST_NAMED`].
    pub positions: Vec<u32>,
}

impl Held {
    /// How many members a hold names at most.
    pub const MOST_NAMED: usize = 20;

    pub(super) fn new(code: HoldCode, lifted_by: HoldLifter, text: String) -> Self {
        let hold = Hold { code, text, lifted_by, until: None, wave: None, agents: Vec::new() };
        Self { hold, positions: Vec::new() }
    }

    pub(super) fn until(mut self, until: Option<Timestamp>) -> Self {
        self.hold.until = until;
        self
    }

    pub(super) fn wave(mut self, wave: u32) -> Self {
        self.hold.wave = Some(wave);
        self
    }

    pub(super) fn positions(mut self, positions: Vec<u32>) -> Self {
        self.positions = positions;
        self
    }
}
