//! Fakes with faults: an in-memory machine with a file tree, slots and the real launcher core, on
//! virtual time; and the harness that runs a plan under every fault.
//!
//! Tests that use it with `hoststeps` stand in `tests/`, not beside the code: there `hoststeps`
//! is the same crate as the one that this crate was built with.

mod faults;
mod harness;
mod host;
mod invariants;
mod launcher;
mod machine;
mod postgres;
mod tree;

pub use faults::{Fault, Faults, How, Tail};
pub use harness::{Depth, World, every_fault_of, every_full_disk_of, run_until_it_rests};
pub use host::{FakeClock, FakeHost, FakeLog};
pub use launcher::Behaviour;
pub use machine::{Call, Machine, Program};
pub use postgres::Postgres;
pub use tree::{Node, Tree};
