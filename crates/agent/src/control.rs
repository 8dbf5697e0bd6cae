//! The control plane's side of an agent: enrolment, the channel over which both talk, orders and
//! reports (`docs/agent-protocol.md`).
//!
//! Invariant: the control plane decides when, never what. Whatever an order asks for goes through
//! the same verification, pins, floors and ledger as what a person asks for on the host itself.
//! Without it, or with one that lies or stalls, the host goes on by its own policy.

pub mod channel;
pub mod core;
pub mod desk;
pub mod enrolment;
pub mod identity;
pub mod perform;
pub mod side;
pub mod standing;
pub mod state;
mod sync;
