//! Enrolment: `GET /agent/v1/ca` and `POST /agent/v1/enroll`.

use serde::{Deserialize, Serialize};

use super::SignedDoc;
use crate::{AgentId, AgentName, Digest, Labels, Millis, Platform, SessionId, Version};

/// The format of [`ChannelCa`] documents.
pub const CA_FORMAT: u32 = 1;

/// The channel's certificate authorities: the one in use and its standby. `GET /agent/v1/ca`
/// answers it bare (whoever holds the pins can check it); a newer one comes signed by the order
/// key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelCa {
    /// Always [`ChannelCa::TYPE`].
    #[serde(rename = "_type")]
    pub type_: String,
    /// Counts up with every change, from 1.
    pub number: u64,
    /// Certificates, PEM; the one in use first. At most 4 of at most 8 kB.
    pub certificates: Vec<String>,
}

impl ChannelCa {
    /// The value of `_type`.
    pub const TYPE: &'static str = "handover-channel-ca";
}

/// What a host sends to become an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// The token's secret, base64url without padding.
    pub secret: String,
    /// The name that the host wants to be known by; unique among living agents.
    pub name: AgentName,
    /// The public half of the key that the host made for its reports, as in key files.
    pub public_key: serde_json::Value,
    /// An [`EnrolProof`], signed by that key: the host has the private half.
    pub proof: SignedDoc,
    /// The host's platform.
    pub platform: Platform,
    /// As in [`super::SyncRequest::machine`].
    pub machine: Digest,
    /// The process.
    pub session: SessionId,
    /// The agent's version.
    pub agent_version: Version,
}

/// The signed part of the proof of possession.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolProof {
    /// Always [`EnrolProof::TYPE`].
    #[serde(rename = "_type")]
    pub type_: String,
    /// SHA-256 of the token's secret, which binds the proof to this enrolment.
    pub token: Digest,
    /// The wanted name.
    pub name: AgentName,
    /// The CA pins that the host believes in: a proof for one control plane is none for another.
    pub pins: Vec<Digest>,
}

impl EnrolProof {
    /// The value of `_type`.
    pub const TYPE: &'static str = "handover-enrolment";
}

/// What the host gets. The same token with the same key gets the same agent again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnrolAnswer {
    /// The agent's id from now on.
    pub agent: AgentId,
    /// The secret that authenticates its requests, base64url; the control plane keeps a digest.
    pub secret: String,
    /// Every order key document from the first on, each signed by its predecessor's key and the
    /// first by its own.
    pub order_keys: Vec<SignedDoc>,
    /// The epoch of the control plane's database.
    pub epoch: u64,
    /// The labels that the token bound.
    #[serde(default)]
    pub labels: Labels,
    /// How often to come, give or take a tenth.
    pub next: Millis,
}
