//! Whole fleets on one thread, with virtual time, from a seed: the production gateway, API and
//! reconcilers over the production SQL, the production core of the agent, the production machines
//! of the launcher, of slots, of choice and of orders. What is made here is only what lies between
//! and around them: a network, disks that crash, releases that misbehave, and people.
//!
//! The same seed is the same story to the byte. Each purpose has dice of its own
//! ([`dice::Purpose`]), so that a new draw in one place moves nothing else.
//!
//! [`truth`] holds what is checked, all the time, against what really happened on the hosts.

pub mod dice;
pub mod fleet;
mod host;
mod network;
mod people;
mod plane;
pub mod scenario;
pub mod shelf;
pub mod story;
mod truth;
mod world;

pub use fleet::{Ending, play};
