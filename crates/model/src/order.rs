//! What the running version tells the newcomer: all of it (DESIGN 5.3).

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::{ComponentName, Millis, OrderId, ReleaseId, RunId, Timestamp};

/// The contract version that this build speaks; entrypoints serve this one and all before it.
pub const CONTRACT_VERSION: u32 = 1;

/// An order to the entrypoint: which component, under which root, from what, to what, by when.
/// It says nothing about layout. Fields are only ever added; a reader ignores those that it does
/// not know, so that an old agent can drive a new entrypoint and the other way round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The contract version that it is written in.
    pub contract: u32,
    /// Its id; the same order run twice is one upgrade.
    pub id: OrderId,
    /// The run's id, chosen by whoever orders so that it can be found again.
    pub run: RunId,
    /// The component.
    pub component: ComponentName,
    /// The host's root, absolute.
    pub root: Utf8PathBuf,
    /// The release that runs now; absent for a first installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<ReleaseId>,
    /// The release to install.
    pub to: ReleaseId,
    /// Its place in the order of production, from signed metadata.
    pub sequence: u64,
    /// When the order is void.
    pub deadline: Timestamp,
    /// How long `run` may take until it answers, on the monotonic clock.
    pub patience: Millis,
    /// The host's values for the release's parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}
