//! Orders: signed intent for one agent.

use serde::{Deserialize, Serialize};

use crate::{AgentId, ComponentName, OrderId, Pin, Timestamp, Version};

/// The signed part of an order.
///
/// An update that is not to begin before [`Self::activate`] is written as `update_at`, not as
/// `update`: an agent that is too old to know of activation would drop that field and begin at
/// once; so it meets an action that it does not know, and refuses it by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct AgentOrder {
    /// Always [`AgentOrder::TYPE`].
    pub type_: String,
    /// Its id. The same order executed twice is one order.
    pub id: OrderId,
    /// The one agent that it is for.
    pub agent: AgentId,
    /// Its number among the agent's orders.
    pub place: Place,
    /// What to do.
    pub action: Action,
    /// What the one who ordered saw; an agent that sees something else refuses.
    pub expect: Option<Expect>,
    /// When it was handed out first.
    pub issued: Timestamp,
    /// When it is void, unless it was begun.
    pub expires: Timestamp,
    /// Why, in the words of the one who ordered.
    pub reason: Option<String>,
    /// When it may begin, of an update: until then the agent brings the package, verifies and
    /// unpacks it, and can still be told to cancel. Absent: at once.
    pub activate: Option<Timestamp>,
}

impl AgentOrder {
    /// The value of `_type`.
    pub const TYPE: &'static str = "handover-order";
    /// The step of the progress that says that all is here and waits for its time.
    pub const STAGED: &'static str = "staged";
}

/// An order as it is signed.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(rename = "_type")]
    type_: String,
    id: OrderId,
    agent: AgentId,
    #[serde(flatten)]
    place: Place,
    action: WrittenAction,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expect: Option<Expect>,
    issued: Timestamp,
    expires: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activate: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenAction {
    Later(Later),
    Any(Action),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Later {
    UpdateAt {
        component: ComponentName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Version>,
    },
}

impl From<AgentOrder> for Written {
    fn from(order: AgentOrder) -> Self {
        let action = match (order.action, order.activate) {
            (Action::Update { component, to }, Some(_)) => {
                WrittenAction::Later(Later::UpdateAt { component, to })
            }
            (action, _) => WrittenAction::Any(action),
        };
        Self {
            type_: order.type_,
            id: order.id,
            agent: order.agent,
            place: order.place,
            action,
            expect: order.expect,
            issued: order.issued,
            expires: order.expires,
            reason: order.reason,
            activate: order.activate,
        }
    }
}

impl From<Written> for AgentOrder {
    fn from(written: Written) -> Self {
        let action = match (written.action, written.activate) {
            (WrittenAction::Later(Later::UpdateAt { component, to }), Some(_)) => {
                Action::Update { component, to }
            }
            // Later than nothing makes no sense, and must not become "at once".
            (WrittenAction::Later(Later::UpdateAt { .. }), None) => Action::Unknown,
            (WrittenAction::Any(action), _) => action,
        };
        Self {
            type_: written.type_,
            id: written.id,
            agent: written.agent,
            place: written.place,
            action,
            expect: written.expect,
            issued: written.issued,
            expires: written.expires,
            reason: written.reason,
            activate: written.activate,
        }
    }
}

/// An order's number: the epoch is raised when the control plane's database is restored, the
/// sequence with every order of the agent. Agents take no order at or below one that they took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Place {
    /// The life of the control plane's database.
    pub epoch: u64,
    /// The order's number within it, from 1.
    pub sequence: u64,
}

/// What an order says to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Action {
    /// Move the component to a version, or to the newest permitted one.
    Update {
        /// The component; one that the host does not have yet is installed.
        component: ComponentName,
        /// The version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Version>,
    },
    /// Go back to a release that is kept on the host.
    Rollback {
        /// The component.
        component: ComponentName,
        /// The version; absent: the last good one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Version>,
    },
    /// Allow only some versions. The host's own pin goes on counting beside it.
    Pin {
        /// The component.
        component: ComponentName,
        /// What it may run.
        pin: Pin,
    },
    /// Take the control plane's pin away; never the host's own.
    Unpin {
        /// The component.
        component: ComponentName,
    },
    /// Let releases that failed on the host be tried again.
    ClearQuarantine {
        /// The component.
        component: ComponentName,
        /// Only this version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<Version>,
    },
    /// Leave the control plane: forget the credentials, go on by the host's own policy.
    Retire,
    /// Something that a newer control plane can say. An agent refuses it and says so.
    #[serde(other)]
    Unknown,
}

impl Action {
    /// The component that it is about, if it is about one.
    pub fn component(&self) -> Option<&ComponentName> {
        match self {
            Self::Update { component, .. }
            | Self::Rollback { component, .. }
            | Self::Pin { component, .. }
            | Self::Unpin { component }
            | Self::ClearQuarantine { component, .. } => Some(component),
            Self::Retire | Self::Unknown => None,
        }
    }

    /// Its name, as in `do`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Update { .. } => "update",
            Self::Rollback { .. } => "rollback",
            Self::Pin { .. } => "pin",
            Self::Unpin { .. } => "unpin",
            Self::ClearQuarantine { .. } => "clear_quarantine",
            Self::Retire => "retire",
            Self::Unknown => "unknown",
        }
    }
}

/// Compare and swap: the state that an order was made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Expect {
    /// The component's current version; `null`: not installed.
    pub current: Option<Version>,
}

/// The signed part of a cancel: the order is not to be begun any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Always [`Cancel::TYPE`].
    #[serde(rename = "_type")]
    pub type_: String,
    /// The agent.
    pub agent: AgentId,
    /// The order.
    pub order: OrderId,
    /// When it was said.
    pub issued: Timestamp,
}

impl Cancel {
    /// The value of `_type`.
    pub const TYPE: &'static str = "handover-cancel";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(activate: Option<Timestamp>) -> AgentOrder {
        let (mut ids, at) = (crate::IdGen::new([1; 32]), Timestamp::from_micros(0));
        AgentOrder {
            type_: AgentOrder::TYPE.to_owned(),
            id: OrderId::mint(&mut ids, at),
            agent: AgentId::mint(&mut ids, at),
            place: Place { epoch: 1, sequence: 1 },
            action: Action::Update { component: "web".parse().unwrap(), to: None },
            expect: None,
            issued: at,
            expires: at,
            reason: None,
            activate,
        }
    }

    #[test]
    fn an_agent_that_knows_no_activation_meets_an_action_that_it_refuses() {
        // What such an agent reads of an order: its action, and no activation.
        #[derive(Deserialize)]
        struct Older {
            action: Action,
        }
        let later = order(Some(Timestamp::from_micros(5)));
        let text = serde_json::to_string(&later).unwrap();
        let older: Older = serde_json::from_str(&text).unwrap();
        assert_eq!(older.action, Action::Unknown);
        assert_eq!(serde_json::from_str::<AgentOrder>(&text).unwrap(), later);
        let text = serde_json::to_string(&order(None)).unwrap();
        let older: Older = serde_json::from_str(&text).unwrap();
        assert_eq!(older.action, order(None).action);
        assert!(!text.contains("activate"), "{text}");
    }

    #[test]
    fn later_without_a_time_is_not_at_once() {
        let mut written = serde_json::to_value(order(Some(Timestamp::from_micros(5)))).unwrap();
        written.as_object_mut().unwrap().remove("activate");
        let read: AgentOrder = serde_json::from_value(written).unwrap();
        assert_eq!(read.action, Action::Unknown);
    }
}
