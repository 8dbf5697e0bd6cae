//! What holds a rollout, what its gate sees, and why it halted.

use serde::{Deserialize, Serialize};

use super::MemberOutcome;
use crate::{AgentId, AgentName, Platform, Timestamp, Version};

/// Something that holds a rollout back, and who or what can lift it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hold {
    /// What kind of hold.
    pub code: HoldCode,
    /// In a sentence.
    pub text: String,
    /// Who or what can lift it.
    pub lifted_by: HoldLifter,
    /// When it ends by itself, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The wave that it is about, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<u32>,
    /// Hosts that it is about, the first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentName>,
}

/// What kind of hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum HoldCode {
    /// Somebody stopped the whole fleet.
    FleetStopped,
    /// A gate stopped it.
    Halted,
    /// A person stopped it.
    Paused,
    /// Its time has not come.
    Scheduled,
    /// The wave waits for a person.
    Approval,
    /// Members that no wave took wait for a person.
    CatchAll,
    /// No window is open.
    Window,
    /// Hosts of this step have no outcome yet.
    Ramp,
    /// So few hosts are there that nothing can be learnt.
    Away,
    /// Hosts that were touched are silent.
    Silent,
    /// The evidence says to go no faster.
    Evidence,
    /// Too few hosts of the wave are done.
    SuccessShare,
    /// The wave is watched.
    Soak,
    /// An external check has not passed.
    Check,
    /// As many hosts as allowed are under way.
    Limit,
    /// Hosts do not run what is required.
    Requirement,
    /// Attempts wait to be made again.
    Retry,
    /// Another rollout that is more urgent goes first on these hosts.
    Priority,
    /// The release can't be handed out: revoked, or gone.
    Release,
}

/// Who or what can lift a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum HoldLifter {
    /// It ends with time.
    Time,
    /// Hosts, by coming back or by an outcome.
    Hosts,
    /// A person who approves, resumes or decides.
    Person,
    /// Somebody outside who answers.
    Outside,
}

/// What the gate sees (docs/gates.md). Each `e` is a likelihood ratio; the sum that halts is
/// `halt_at`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EvidenceInfo {
    /// Exposed hosts that count.
    pub exposed: u32,
    /// Explicit failures among them.
    pub failures: u32,
    /// Silent ones among them, at most one per site and wave.
    pub silent: u32,
    /// The failure rate of a good day, upper bound, in percent.
    pub baseline: f64,
    /// The silence rate of untouched hosts, upper bound, in percent.
    pub silence_baseline: f64,
    /// Explicit failures.
    pub e_explicit: f64,
    /// The mean over strata.
    pub e_stratum: f64,
    /// Silence.
    pub e_silent: f64,
    /// The weighted sum.
    pub combined: f64,
    /// What halts.
    pub halt_at: f64,
    /// The stratum that stands out most, and its `e`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_stratum: Option<StratumInfo>,
}

/// One stratum: hosts of one platform that come from one version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StratumInfo {
    /// Its platform.
    pub platform: Platform,
    /// The version that its hosts come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Version>,
    /// Members.
    pub members: u32,
    /// Its evidence.
    pub e: f64,
}

/// Why a rollout halted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HaltInfo {
    /// Which gate: `evidence`, `failures_share`, `failures_at_most`, `check`, `decay`.
    pub gate: String,
    /// In a sentence.
    pub text: String,
    /// When.
    pub at: Timestamp,
    /// The wave, counted from 0.
    pub wave: u32,
    /// The hosts that decided it, at most 100.
    pub deciding: Vec<Deciding>,
}

/// A host that decided a halt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Deciding {
    /// Its id.
    pub agent: AgentId,
    /// Its name.
    pub name: AgentName,
    /// How it stands.
    pub outcome: MemberOutcome,
    /// The stable code that it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Its words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Something to look at after commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Alert {
    /// `decay` or `silence`.
    pub code: String,
    /// In a sentence.
    pub text: String,
    /// When.
    pub at: Timestamp,
}
