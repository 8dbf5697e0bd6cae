//! What a program on this side of the wire needs: bounded HTTP, the repository as it is known
//! here, resumable downloads, and how long to wait before trying again. Blocking, without a
//! runtime, so that the agent stays small (ADR 10).
//!
//! Invariant: nothing that comes over the wire is believed here. Signatures and digests are
//! judged in `trust`; this crate bounds what is read and keeps what was proved.

pub mod backoff;
pub mod bandwidth;
pub mod call;
pub mod dice;
pub mod download;
pub mod fetch;
pub mod real_world;
pub mod repository;
pub mod sse;
