//! What the control plane decides about agents and their orders: pure functions of what it knows
//! and what it hears. The server reads, calls one of these, and writes what it answers, in one
//! transaction.

pub mod clones;
pub mod orders;
pub mod presence;
pub mod rotation;
