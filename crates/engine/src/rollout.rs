//! Rollouts: who comes when, and what the evidence so far permits (DESIGN 7).

pub mod gate;
