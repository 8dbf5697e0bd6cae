//! What a host may believe, and how that is published: repository metadata by the TUF
//! specification 1.0.34 behind our own types, durable version floors, permits, and the small
//! signer that authors it all.
//!
//! Invariants: nothing here reads a clock, a file, dice or the network; `now`, bytes and seeds come
//! in as values. [`Verified`] is made in this crate alone, and only after every check that its
//! content needs.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod author;
mod catalog;
pub mod control;
mod envelope;
mod error;
mod floors;
pub mod keys;
mod permit;
mod repository;
mod target;
mod verified;

pub use catalog::{
    Catalog, ComponentReleases, Package, ReleaseKeys, Sidecar, Skipped, TargetFacts,
};
pub use envelope::{Envelope, Signature};
pub use error::VerifyError;
pub use floors::{FLOORS_FORMAT, Seen, VersionFloors};
pub use permit::verify_permit;
pub use repository::{Answer, Goal, Limits, Memory, Poll, Refresh, Refreshed, Save, Want};
pub use target::TargetCheck;
pub use verified::Verified;
