//! Blocking step kinds and the blocking shell: files, services, exec, slots.
//!
//! Invariant: a step reaches the machine only through [`Host`], so that every call of every step
//! can be failed and crashed by a test.

#![forbid(unsafe_code)]

pub mod disk;
mod host;
pub mod kinds;
mod real;
mod real_world;
pub mod shell;
mod step;

pub use host::{
    CheckAnswer, CommandSpec, Entry, EntryKind, Host, HostError, Launched, Output, Published,
    Running,
};
pub use real::{RealHost, User, user_named};
pub use real_world::RealClock;
pub use step::{Kinds, Step, chain};
