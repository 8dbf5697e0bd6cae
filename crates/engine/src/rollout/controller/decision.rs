//! What the controller decides.

use handover_model::api::Alert;

use super::progress::Halt;
use crate::rollout::holds::Held;

/// A decision. What is to be stored is [`Controller::progress`](super::Controller::progress): the
/// effects belong into the transaction that writes it, or into none. If it can't be written, the
/// controller is dropped and opened again from what is durable.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// Whether the progress changed and is to be written.
    pub changed: bool,
    /// What follows, in order.
    pub effects: Vec<Effect>,
    /// Everything that holds it, the most decisive first.
    pub holds: Vec<Held>,
}

/// What follows from a decision.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Its time came.
    Started,
    /// Members may get their order: positions `from..to`.
    Released {
        /// The first.
        from: u32,
        /// The one after the last.
        to: u32,
    },
    /// A wave began, counted from 0.
    WaveBegan(u32),
    /// A wave is through.
    WaveThrough(u32),
    /// A wave waits for a person.
    NeedsApproval(u32),
    /// A wave was approved.
    Approved(u32),
    /// A person stopped it.
    Paused,
    /// It goes on.
    Resumed,
    /// A gate stopped it.
    Halted(Halt),
    /// Hosts are to be taken back: a rollout of kind revert is to be made.
    Revert(RevertScope),
    /// Its hosts were taken back.
    Reverted,
    /// Members were left out.
    LeftOut(Vec<u32>),
    /// Every wave is through.
    Done,
    /// A person ended it.
    Aborted,
    /// Another rollout took its place.
    Superseded,
    /// Something to look at.
    Alert(Alert),
}

/// Which hosts are to be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RevertScope {
    /// Those of a wave, counted from 0.
    Wave(u32),
    /// All.
    Rollout,
}
