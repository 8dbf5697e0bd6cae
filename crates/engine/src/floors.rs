//! What a host has accepted for good: the lowest version of each component that it still takes,
//! the orders that it executed or refused, and the permits that it spent (DESIGN 5.5). These live
//! under `trust/`, belong to no component's state and never revert.
//!
//! Invariants: a floor never falls; a permit is spent at most once; a damaged file is an error,
//! never "none".

use std::collections::BTreeMap;

use handover_model::{
    AgentName, ComponentName, ErrorClass, FramedError, OrderId, Permit, RunId, Slots, Timestamp,
    Version, open_framed, seal_framed,
};
use handover_trust::Verified;
use serde::{Deserialize, Serialize};

use crate::slots::guard_runs;

/// The newest format of both files that this program reads and the one that it writes.
pub const FLOORS_FORMAT: u32 = 1;
/// The kind of `trust/floors.json`.
pub const FLOORS_KIND: &str = "floors";
/// The kind of `trust/ledger.json`.
pub const LEDGER_KIND: &str = "ledger";
/// How many orders the ledger remembers; the oldest go first. Spent permits are kept for ever.
pub const LEDGER_ORDERS: usize = 1000;

/// `trust/floors.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floors {
    /// By component.
    #[serde(default)]
    pub components: BTreeMap<ComponentName, Floor>,
}

/// The lowest that a host still accepts of one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// No version below this one.
    pub version: Version,
    /// The highest place in the order of production that was committed.
    pub sequence: u64,
    /// When it was raised last.
    pub raised_at: Timestamp,
}

/// `trust/ledger.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Orders, oldest first.
    #[serde(default)]
    pub orders: Vec<LedgerEntry>,
    /// Permits that were used, oldest first.
    #[serde(default)]
    pub permits: Vec<SpentPermit>,
}

/// What became of one order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerEntry {
    /// The order.
    pub order: OrderId,
    /// The component.
    pub component: ComponentName,
    /// When.
    pub at: Timestamp,
    /// What was done with it.
    pub deed: Deed,
}

/// What was done with an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Deed {
    /// It was begun, as this run.
    Executed {
        /// The run.
        run: RunId,
    },
    /// It was refused.
    Refused {
        /// A stable code.
        code: String,
        /// Why, for people.
        reason: String,
    },
}

/// A permit that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpentPermit {
    /// Its id.
    pub permit: OrderId,
    /// The component.
    pub component: ComponentName,
    /// The version that it allowed.
    pub to: Version,
    /// When it was spent.
    pub at: Timestamp,
}

/// Why the floor, the ledger or a permit forbids something.
#[derive(Debug, thiserror::Error)]
pub enum FloorError {
    /// `trust/floors.json` can't be used.
    #[error(
        "the version floors of this host are damaged; `handover-agent doctor` says how to go on"
    )]
    OpenFloors {
        /// What is wrong.
        source: FramedError,
    },
    /// `trust/ledger.json` can't be used.
    #[error("the ledger of this host is damaged; `handover-agent doctor` says how to go on")]
    OpenLedger {
        /// What is wrong.
        source: FramedError,
    },
    /// The permit is for another component.
    #[error("permit {permit} is for component {found}, not {wanted}")]
    OtherComponent {
        /// The permit.
        permit: OrderId,
        /// The component at hand.
        wanted: ComponentName,
        /// The permit's.
        found: ComponentName,
    },
    /// The permit is for other agents.
    #[error("permit {permit} does not name this agent, {agent}")]
    OtherAgent {
        /// The permit.
        permit: OrderId,
        /// This agent.
        agent: AgentName,
    },
    /// The permit is for another version.
    #[error("permit {permit} allows version {allowed}, not {wanted}")]
    OtherVersion {
        /// The permit.
        permit: OrderId,
        /// What it allows.
        allowed: Version,
        /// What was asked.
        wanted: Version,
    },
    /// The permit is void.
    #[error("permit {permit} expired at {expired_at}; ask for a new one")]
    Expired {
        /// The permit.
        permit: OrderId,
        /// When.
        expired_at: Timestamp,
    },
    /// The permit was used before.
    #[error("permit {permit} was spent at {at}; ask for a new one")]
    Spent {
        /// The permit.
        permit: OrderId,
        /// When.
        at: Timestamp,
    },
}

impl FloorError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::OpenFloors { .. }
            | Self::OpenLedger { .. }
            | Self::OtherComponent { .. }
            | Self::OtherAgent { .. }
            | Self::OtherVersion { .. }
            | Self::Expired { .. }
            | Self::Spent { .. } => ErrorClass::Permanent,
        }
    }
}

impl Floors {
    /// Opens the file's bytes.
    ///
    /// # Errors
    /// [`FloorError::OpenFloors`] for whatever is not a floors file.
    pub fn open(bytes: &[u8]) -> Result<Self, FloorError> {
        open_framed(FLOORS_KIND, FLOORS_FORMAT, bytes)
            .map_err(|source| FloorError::OpenFloors { source })
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// None in practice: every key is text.
    pub fn seal(&self) -> Result<Vec<u8>, FloorError> {
        seal_framed(FLOORS_KIND, FLOORS_FORMAT, self)
            .map_err(|source| FloorError::OpenFloors { source })
    }

    /// The floor of a component, if anything of it was ever committed for good.
    pub fn of(&self, component: &ComponentName) -> Option<&Floor> {
        self.components.get(component)
    }

    /// Whether the host still accepts `version` of `component` without a permit.
    pub fn accepts(&self, component: &ComponentName, version: &Version) -> bool {
        self.of(component).is_none_or(|floor| *version >= floor.version)
    }

    /// The floors after what `slots` shows, if that raises one: the current release counts once
    /// it has no guard, or one whose time is over. To be published before anything relies on it,
    /// and safe to repeat; it never lowers anything.
    pub fn raised(&self, component: &ComponentName, slots: &Slots, now: Timestamp) -> Option<Self> {
        let current = slots.current.as_ref().filter(|slot| !guard_runs(slot))?;
        let (version, sequence) = (&current.release.version, current.sequence);
        let floor = match self.of(component) {
            None => Floor { version: version.clone(), sequence, raised_at: now },
            Some(old) if *version > old.version || sequence > old.sequence => Floor {
                version: version.max(&old.version).clone(),
                sequence: sequence.max(old.sequence),
                raised_at: now,
            },
            Some(_) => return None,
        };
        let mut next = self.clone();
        next.components.insert(component.clone(), floor);
        Some(next)
    }
}

impl Ledger {
    /// Opens the file's bytes.
    ///
    /// # Errors
    /// [`FloorError::OpenLedger`] for whatever is not a ledger file.
    pub fn open(bytes: &[u8]) -> Result<Self, FloorError> {
        open_framed(LEDGER_KIND, FLOORS_FORMAT, bytes)
            .map_err(|source| FloorError::OpenLedger { source })
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// None in practice: the document holds nothing that JSON can't.
    pub fn seal(&self) -> Result<Vec<u8>, FloorError> {
        seal_framed(LEDGER_KIND, FLOORS_FORMAT, self)
            .map_err(|source| FloorError::OpenLedger { source })
    }

    /// The ledger with one more order; an order that is there already keeps its first deed.
    #[must_use]
    pub fn with(&self, entry: LedgerEntry) -> Self {
        let mut next = self.clone();
        if self.deed(entry.order).is_none() {
            next.orders.push(entry);
            let surplus = next.orders.len().saturating_sub(LEDGER_ORDERS);
            next.orders.drain(..surplus);
        }
        next
    }

    /// What was done with an order, if it is remembered.
    pub fn deed(&self, order: OrderId) -> Option<&Deed> {
        self.orders.iter().find(|entry| entry.order == order).map(|entry| &entry.deed)
    }

    /// Whether `permit` lets this agent take `component` to `to`, now and for the first time.
    ///
    /// # Errors
    /// The first thing that forbids it.
    pub fn check_permit(
        &self,
        permit: &Verified<Permit>,
        agent: &AgentName,
        component: &ComponentName,
        to: &Version,
        now: Timestamp,
    ) -> Result<(), FloorError> {
        self.check(permit, agent, component, to, now)
    }

    /// The ledger with the permit spent. It is published before the run that needs it begins: a
    /// permit whose run failed is spent all the same.
    ///
    /// # Errors
    /// As [`Self::check_permit`].
    pub fn spend_permit(
        &self,
        permit: &Verified<Permit>,
        agent: &AgentName,
        component: &ComponentName,
        to: &Version,
        now: Timestamp,
    ) -> Result<Self, FloorError> {
        self.check(permit, agent, component, to, now)?;
        Ok(self.spent(permit, now))
    }

    pub(crate) fn check(
        &self,
        permit: &Permit,
        agent: &AgentName,
        component: &ComponentName,
        to: &Version,
        now: Timestamp,
    ) -> Result<(), FloorError> {
        let id = permit.id;
        if permit.component != *component {
            let (wanted, found) = (component.clone(), permit.component.clone());
            return Err(FloorError::OtherComponent { permit: id, wanted, found });
        }
        if !permit.agents.contains(agent) {
            return Err(FloorError::OtherAgent { permit: id, agent: agent.clone() });
        }
        if permit.to != *to {
            let (allowed, wanted) = (permit.to.clone(), to.clone());
            return Err(FloorError::OtherVersion { permit: id, allowed, wanted });
        }
        if permit.expires <= now {
            return Err(FloorError::Expired { permit: id, expired_at: permit.expires });
        }
        match self.permits.iter().find(|spent| spent.permit == id) {
            Some(spent) => Err(FloorError::Spent { permit: id, at: spent.at }),
            None => Ok(()),
        }
    }

    pub(crate) fn spent(&self, permit: &Permit, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.permits.push(SpentPermit {
            permit: permit.id,
            component: permit.component.clone(),
            to: permit.to.clone(),
            at: now,
        });
        next
    }
}

#[cfg(test)]
mod tests;
