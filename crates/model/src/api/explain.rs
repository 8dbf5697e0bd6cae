//! Why a host is, or isn't, at a version (DESIGN promise 7).

use serde::{Deserialize, Serialize};

use crate::{AgentId, AgentName, ComponentName, Timestamp, Version};

/// Why one component of one agent stands where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Explanation {
    /// The agent.
    pub agent: AgentId,
    /// Its name.
    pub name: AgentName,
    /// The component.
    pub component: ComponentName,
    /// The committed version, as the host reported it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Version>,
    /// The version that it could be expected at: the one that was ordered, else the newest one of
    /// its channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Version>,
    /// The code of the first layer that holds, or `up-to-date`, or `moves`.
    pub code: String,
    /// All of it in one sentence.
    pub sentence: String,
    /// Everything that bears on it, in the order in which it is asked.
    pub layers: Vec<Layer>,
    /// When the host wrote the report that this follows from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<Timestamp>,
}

/// What has a say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LayerKind {
    /// Whether the agent belongs here: retired, cloned.
    Membership,
    /// Whether it checks in.
    Presence,
    /// What it has reported.
    Report,
    /// Whether somebody stopped the whole fleet.
    Fleet,
    /// A rollout that the host is a member of.
    Rollout,
    /// An order for the component.
    Order,
    /// What the repository offers.
    Release,
    /// The way from version to version: graph, floors, permits.
    Path,
    /// The host's own pin.
    HostPin,
    /// The control plane's pin.
    ControlPin,
    /// Releases that failed on the host.
    Quarantine,
    /// The host's own policy: mode, windows, the order of components.
    Policy,
    /// A trial under way.
    Trial,
    /// Whether the running process was seen to be what it should be.
    Proof,
}

/// One thing that bears on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Layer {
    /// What speaks.
    pub layer: LayerKind,
    /// A stable code.
    pub code: String,
    /// What it says.
    pub sentence: String,
    /// Whether it holds the component back.
    pub holds: bool,
    /// Who can lift it, and how; absent where nothing is to be lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lift: Option<Lift>,
}

/// How a hold is lifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Lift {
    /// Who can.
    pub who: Lifter,
    /// How, as a sentence or a command.
    pub how: String,
}

/// Who can lift a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Lifter {
    /// Someone who may give orders here.
    Operator,
    /// Someone on the host itself.
    HostOwner,
    /// Those who hold the component's release keys.
    Keyholders,
    /// Whoever publishes releases.
    Publisher,
    /// Nobody needs to: time does.
    Time,
}
