//! Rollouts: who comes when, and what the evidence so far permits (DESIGN 7).
//!
//! A rollout is data plus a pure controller. [`roster`] draws, once, in which order its members
//! come; the order is stored and never changes. From then on its progress is one number: how many
//! members, counted along that order, may get their order. [`controller`] raises that number as
//! events come in, and says what holds it; [`handout`] decides for one host, when it comes,
//! whether it may have its order now; [`check`] refuses what can't work before anything is
//! created; [`play`] runs the same controller against a simulated fleet.
//!
//! Invariants: exposed ≤ released; released never shrinks; nothing here knows a clock, a die or a
//! database; whoever is handed the same rows decides the same.

pub mod check;
pub mod controller;
pub mod gate;
pub mod handout;
pub mod holds;
pub mod outcome;
pub mod plan;
pub mod play;
pub mod roster;
