//! `handover-upgrade`: the stock entrypoint of a package and its watcher (DESIGN 5.3, 5.4).
//!
//! `run` refuses an order or carries it out up to the trial, then leaves a watcher behind that
//! lives outside its process group and, under systemd, outside its control group. The watcher
//! goes on with the same run and journal: watch, commit, outside files, retention, guard.
//! `resume` picks up what a kill left; `revert` takes a run back because a person says so.
//!
//! Invariants: exit code 3 means that the component noticed nothing; nothing here decides, that is
//! the engine's; whatever cuts this program short, the journal and the launcher's rule suffice.

mod arguments;
mod detach;
mod drive;
mod facts;
mod outcome;
mod report;
mod verbs;

use std::io::Write as _;

pub use arguments::{ArgumentError, Arguments};
pub use facts::FactsError;
pub use verbs::Failed;

/// Runs the program with these arguments, its own name left out; the exit code.
pub fn main(arguments: impl Iterator<Item = String>) -> u8 {
    match Arguments::parse(arguments) {
        Ok(arguments) => verbs::perform(&arguments),
        Err(error) => {
            // There is nobody else to tell when standard error is gone.
            let _ = writeln!(std::io::stderr(), "handover-upgrade: {error}");
            2
        }
    }
}
