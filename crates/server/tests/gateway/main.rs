//! Agents and a real server: what the protocol promises (`docs/agent-protocol.md`), and what
//! hostile agents get.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests fail their test"
)]

mod conversations;
mod enrolment;
mod hostile;
mod orders;
mod rig;
mod rollouts;
mod said;
mod time;
