//! The heartbeat, which is also how orders and reports travel: `POST /agent/v1/sync`.

use serde::{Deserialize, Serialize};

use super::{Place, SignedDoc};
use crate::{Digest, Millis, SessionId, Timestamp, Version};

/// What an agent says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyncRequest {
    /// The life of this process.
    pub session: SessionId,
    /// The number of this request in the session, from 1.
    pub number: u64,
    /// SHA-256 over a fixed prefix and the machine's id: two machines with one identity show.
    pub machine: Digest,
    /// The running agent's version.
    pub agent_version: Version,
    /// The digest of the newest state report that was sent; the control plane asks for another
    /// when it knows a different one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Digest>,
    /// The highest place of an order that was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The number of the newest order keys that are held.
    pub order_keys: u64,
    /// The number of the newest channel CA that is held.
    pub ca: u64,
    /// Reports not acknowledged yet, oldest first, at most [`super::MOST_REPORTS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<SignedDoc>,
    /// How long the answer may wait for something to say; at most [`super::LONGEST_WAIT`].
    #[serde(default)]
    pub wait: Millis,
}

/// What the control plane answers, once everything in the request is durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyncAnswer {
    /// The control plane's clock.
    pub at: Timestamp,
    /// Reports up to this number are kept and need not be sent again.
    pub acknowledged: u64,
    /// Orders, by place. One that was handed out before comes again until it is reported on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<SignedDoc>,
    /// Cancels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cancels: Vec<SignedDoc>,
    /// Whether the whole state is wanted.
    #[serde(default)]
    pub want_state: bool,
    /// Newer order keys, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order_keys: Vec<SignedDoc>,
    /// A newer channel CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<SignedDoc>,
    /// What the host should show to people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
    /// When to come again, give or take a tenth.
    pub next: Millis,
}

/// Something for people on the host's side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// A stable code: `agent.cloned`, ….
    pub code: String,
    /// A sentence.
    pub text: String,
}
