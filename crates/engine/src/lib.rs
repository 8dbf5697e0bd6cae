//! Decisions of Handover, pure: what may change, what runs, which version comes next, what may be
//! deleted, when. No clock, no dice, no files.

pub mod choose;
pub mod control;
pub mod explain;
pub mod floors;
pub mod graph;
pub mod journal;
pub mod launch;
pub mod orders;
pub mod retention;
pub mod rollout;
pub mod run;
pub mod selection;
pub mod slots;
pub mod upgrade;
pub mod window;

#[cfg(test)]
mod testing;
