//! Permits for going back further than a release's own `return_within` allows (DESIGN 5.5).

use serde::{Deserialize, Serialize};

use crate::{AgentName, ComponentName, OrderId, Timestamp, Version};

/// The signed part of a permit. Signatures of a threshold of the component's release keys stand
/// beside it; each host spends it at most once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permit {
    /// Always `handover-permit`, so that no other signed document can be taken for one.
    #[serde(rename = "_type")]
    pub type_: String,
    /// Its id: what the host's ledger remembers as spent.
    pub id: OrderId,
    /// The component.
    pub component: ComponentName,
    /// The agents that it is for, by name; never empty, never "all".
    pub agents: Vec<AgentName>,
    /// The version to go to.
    pub to: Version,
    /// Why, for people and the journal.
    pub reason: String,
    /// When it is void.
    pub expires: Timestamp,
}

impl Permit {
    /// The value of `_type`.
    pub const TYPE: &'static str = "handover-permit";
}
