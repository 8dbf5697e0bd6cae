//! Version floors: what this host has accepted, kept apart from the metadata itself, so that
//! damaged or missing metadata can't take a host back (DESIGN 5.1).

use std::collections::{BTreeMap, BTreeSet};

use handover_model::{Digest, open_framed, seal_framed};
use serde::{Deserialize, Serialize};
use sigstore_tuf::Root;

use crate::VerifyError;

/// The newest format of the floors file that this program reads and the one that it writes.
pub const FLOORS_FORMAT: u32 = 1;

/// The framed file's kind.
const KIND: &str = "versions";

/// The highest version of one role that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// The version.
    pub version: u64,
    /// The digest of its signed part in canonical form; absent while only a listing of it was
    /// seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Digest>,
}

/// `trust/versions.json`. The caller makes it durable before it acts on anything newer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionFloors {
    /// The root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Seen>,
    /// The timestamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Seen>,
    /// The snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Seen>,
    /// `targets` and every delegated role, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<String, Seen>,
    /// The timestamp and snapshot keys that the floors below the root were accepted under.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub online_keys: BTreeSet<Digest>,
}

impl VersionFloors {
    /// The floors of a host that has never accepted anything: only for the moment when a root is
    /// put in place for the first time.
    pub fn first() -> Self {
        Self::default()
    }

    /// Opens the file's bytes; `None` when there is no such file.
    ///
    /// # Errors
    /// [`VerifyError::MissingFloors`] and [`VerifyError::DamagedFloors`]; neither means "none".
    pub fn open(bytes: Option<&[u8]>) -> Result<Self, VerifyError> {
        let bytes = bytes.ok_or(VerifyError::MissingFloors)?;
        open_framed(KIND, FLOORS_FORMAT, bytes)
            .map_err(|source| VerifyError::DamagedFloors { source })
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// None in practice: the document holds nothing that JSON can't.
    pub fn seal(&self) -> Result<Vec<u8>, VerifyError> {
        seal_framed(KIND, FLOORS_FORMAT, self)
            .map_err(|source| VerifyError::DamagedFloors { source })
    }

    /// Whether `root` took away a timestamp or snapshot key that these floors stand on: then they
    /// may be an attacker's doing and fall (fast-forward recovery, TUF 1.0.34, 5.3.11). Keys that
    /// were only added leave them: what the old keys signed would still be accepted.
    pub(crate) fn fell_with(&self, root: &Root) -> bool {
        !self.online_keys.is_subset(&online_keys_of(root))
    }

    /// Forgets everything below the root.
    pub(crate) fn forget_online(&mut self) {
        self.timestamp = None;
        self.snapshot = None;
        self.roles.clear();
        self.online_keys.clear();
    }

    /// Notes the keys that what comes next is accepted under.
    pub(crate) fn stand_on(&mut self, root: &Root) {
        self.online_keys = online_keys_of(root);
    }
}

/// Refuses what is below `floor`, or equals its version with other content.
pub(crate) fn check_floor(
    subject: &str,
    floor: Option<&Seen>,
    offered: Seen,
) -> Result<(), VerifyError> {
    let Some(floor) = floor else { return Ok(()) };
    if offered.version < floor.version {
        return Err(VerifyError::Rollback {
            subject: subject.to_owned(),
            offered: offered.version,
            trusted: floor.version,
        });
    }
    let differs = match (floor.signed, offered.signed) {
        (Some(before), Some(now)) => before != now,
        (None, _) | (_, None) => false,
    };
    if differs && offered.version == floor.version {
        return Err(VerifyError::Equivocation {
            subject: subject.to_owned(),
            version: offered.version,
        });
    }
    Ok(())
}

/// Digests of the key material itself: key ids are whatever a root says they are.
pub(crate) fn online_keys_of(root: &Root) -> BTreeSet<Digest> {
    ["timestamp", "snapshot"]
        .into_iter()
        .filter_map(|name| root.role(name).map(|role| (name, role)))
        .flat_map(|(name, role)| {
            role.keyids.iter().filter_map(move |id| {
                let key = root.keys.get(id)?;
                let text = format!("{name}\n{}\n{}", key.scheme, key.keyval.public);
                Some(Digest::of(text.as_bytes()))
            })
        })
        .collect()
}
