//! Reports: what an agent has seen, signed by its own key.

use serde::{Deserialize, Serialize};

use super::Place;
use crate::{
    AgentId, AgentName, ComponentName, Digest, Labels, Mode, OrderId, Pin, Platform, Progress,
    ReleaseId, SessionId, Timestamp, Version,
};

/// The signed part of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Always [`Report::TYPE`].
    #[serde(rename = "_type")]
    pub type_: String,
    /// Who reports.
    pub agent: AgentId,
    /// Its number among the agent's reports, from 1, never reused: one that was taken before is
    /// taken again without effect.
    pub number: u64,
    /// The process that wrote it.
    pub session: SessionId,
    /// When, by the host's clock.
    pub at: Timestamp,
    /// What it says.
    #[serde(flatten)]
    pub body: ReportBody,
}

impl Report {
    /// The value of `_type`.
    pub const TYPE: &'static str = "handover-report";
}

/// What a report says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum ReportBody {
    /// How the host stands, by a fresh look.
    State(Box<HostState>),
    /// How one order stands.
    Order(Box<OrderReport>),
}

/// How a host stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostState {
    /// The host's name by its own policy.
    pub name: AgentName,
    /// Its platform.
    pub platform: Platform,
    /// The running agent's version.
    pub agent_version: Version,
    /// The kernel's boot id.
    pub boot: String,
    /// What the host says of itself (`os`, `hostname`, …); never mixed with people's labels.
    #[serde(default)]
    pub facts: Labels,
    /// Every component, by name.
    pub components: Vec<ComponentState>,
}

/// How one component stands on a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ComponentState {
    /// The component.
    pub component: ComponentName,
    /// The committed release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<ReleaseId>,
    /// Its place in the order of production.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// What was seen to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// The release on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<ReleaseId>,
    /// Releases kept for going back, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous: Vec<ReleaseId>,
    /// Releases that failed here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantine: Vec<QuarantinedState>,
    /// Whether the host updates it by itself.
    pub mode: Mode,
    /// The channel that it follows.
    pub channel: String,
    /// The host's own pin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// The control plane's pin, as the host has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_pin: Option<Pin>,
    /// The lowest version that the host still accepts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Version>,
    /// What the host would do next by itself, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlook: Option<Outlook>,
}

/// A release that failed on a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QuarantinedState {
    /// Which.
    pub release: ReleaseId,
    /// Why, for people.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Proof of the running version (DESIGN promise 5): what the agent read from the process itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Proof {
    /// The release whose slot the process was started from.
    pub release: ReleaseId,
    /// SHA-256 of the executable that the process runs, hashed from the running process.
    pub executable: Digest,
    /// Whether that is the executable that the slot's signed manifest names.
    pub proved: bool,
    /// The process.
    pub pid: u32,
    /// Whether it said or showed that it is ready.
    pub ready: bool,
    /// The kernel's boot id when it was looked at.
    pub boot: String,
}

/// What a host would do next about a component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Outlook {
    /// `up-to-date`, `moves`, or the stable code of what holds it back.
    pub code: String,
    /// The same in a sentence.
    pub sentence: String,
    /// The version that it would move to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Version>,
}

/// How one order stands on the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderReport {
    /// The order.
    pub order: OrderId,
    /// Its number.
    #[serde(flatten)]
    pub place: Place,
    /// How it stands.
    pub stage: OrderStage,
    /// A stable code, for what did not go as ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The release that it came to, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// Progress, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// How far an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OrderStage {
    /// Checked, and durably remembered; nothing was begun.
    Accepted,
    /// Under way.
    Running,
    /// Carried out, as the host sees it.
    Done,
    /// Failed; the host may stand anywhere, as the reason says.
    Failed,
    /// Tried, and taken back.
    Reverted,
    /// Not begun, for a reason; nothing changed.
    Refused,
    /// Not begun, since it was cancelled.
    Cancelled,
    /// Not begun in time.
    Expired,
}

impl OrderStage {
    /// Whether nothing more will be said of the order.
    pub fn is_final(self) -> bool {
        match self {
            Self::Accepted | Self::Running => false,
            Self::Done
            | Self::Failed
            | Self::Reverted
            | Self::Refused
            | Self::Cancelled
            | Self::Expired => true,
        }
    }
}
