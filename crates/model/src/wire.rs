//! What agents and the control plane say to each other: protocol version 1, JSON over HTTPS
//! (`docs/agent-protocol.md`).
//!
//! Fields are only ever added; a reader ignores those that it does not know. Whatever must not be
//! invented on the way (orders, reports, keys) travels as a [`SignedDoc`]; nothing in one is
//! believed before `handover_trust` has checked it.

mod enrolment;
mod orders;
mod reports;
mod sync;
mod tokens;

pub use enrolment::{CA_FORMAT, ChannelCa, EnrolAnswer, EnrolProof, EnrolRequest};
pub use orders::{Action, AgentOrder, Cancel, Expect, Place};
pub use reports::{
    ComponentState, HostState, OrderReport, OrderStage, Outlook, Proof, QuarantinedState, Report,
    ReportBody,
};
pub use sync::{Notice, SyncAnswer, SyncRequest};
pub use tokens::{EnrolToken, LoginToken, TokenError};

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The protocol version that this build speaks. The control plane accepts this one and the two
/// before it.
pub const PROTOCOL: u32 = 1;
/// The header of every agent request that says which version it speaks.
pub const PROTOCOL_HEADER: &str = "handover-protocol";
/// The longest that a sync request may ask to be held open, in milliseconds.
pub const LONGEST_WAIT: u64 = 55_000;
/// The largest body of an agent's request, in bytes.
pub const LARGEST_REQUEST: usize = 256 * 1024;
/// The most signed reports in one request.
pub const MOST_REPORTS: usize = 64;

/// A signed document on its way: `{"signatures": […], "signed": {…}}`. Proved by nobody yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SignedDoc(pub serde_json::Value);

/// What is kept of a secret (a token's, an agent's) and what proofs name: SHA-256 of its text, as
/// it travels.
pub fn secret_digest(secret: &str) -> Digest {
    Digest::of(secret.as_bytes())
}

/// What an agent says of its machine: SHA-256 over a fixed prefix and the content of
/// `/etc/machine-id`, which itself is nobody else's business (machine-id(5)).
pub fn machine_digest(machine_id: &str) -> Digest {
    Digest::of(format!("handover machine\n{}", machine_id.trim()).as_bytes())
}
