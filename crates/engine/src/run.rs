//! The runner's core: which step is looked at, applied or reverted next, decided without IO
//! (ENGINE.md). Shells perform the [`Effect`]s that it hands out, in the order polled, and feed
//! the [`Report`]s back.
//!
//! Invariant: proven state changes only by folding a journal record, live and in replay alike.
//! Not here: what a step does (a kind's business), files, clocks, threads.

mod core;
mod inputs;
mod plan;
mod state;
mod summary;
mod words;

pub use core::Core;
pub use inputs::resolve;
pub use plan::{KindRef, Party, Plan, PlanError, Role, Spec, StepId};
pub use summary::{Ended, StepState, StepSummary, Summary, summarize};
pub use words::{
    Act, Effect, Fault, Fence, Hold, Input, Intent, Job, Refused, Report, Seen, Standing,
};
