//! The root: which keys speak for what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AuthorError, Expiry, SPEC_VERSION, check_threshold, find_id, pick};
use crate::keys::{Keys, PublicKey};

/// A role's keys and threshold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleDoc {
    /// Key ids.
    pub keyids: Vec<String>,
    /// How many of them must sign.
    pub threshold: u32,
}

/// The root document (TUF 1.0.34, 4.3). Targets is signed by the same offline keys as root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootDoc {
    /// `root`.
    #[serde(rename = "_type")]
    pub type_: String,
    /// [`SPEC_VERSION`].
    pub spec_version: String,
    /// Counted from 1.
    pub version: u64,
    /// When it must have been replaced.
    pub expires: Expiry,
    /// Always true here: file names carry versions and digests.
    pub consistent_snapshot: bool,
    /// All keys.
    pub keys: Keys,
    /// `root`, `targets`, `snapshot`, `timestamp`.
    pub roles: BTreeMap<String, RoleDoc>,
}

/// The keys that a machine uses by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlineKeys {
    /// Signs the snapshot.
    pub snapshot: PublicKey,
    /// Signs the timestamp.
    pub timestamp: PublicKey,
}

/// What changes from one root to the next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RootChange {
    /// Offline keys to add.
    pub add: Vec<PublicKey>,
    /// Offline keys to remove, by id or its beginning.
    pub remove: Vec<String>,
    /// A new threshold.
    pub threshold: Option<u32>,
    /// New online keys, in place of the old.
    pub online: Option<OnlineKeys>,
}

impl RootDoc {
    /// The first root.
    ///
    /// # Errors
    /// [`AuthorError::Threshold`].
    pub fn first(
        offline: &[PublicKey],
        threshold: u32,
        online: &OnlineKeys,
        expires: Expiry,
    ) -> Result<Self, AuthorError> {
        let offline: Keys = offline.iter().map(|key| (key.id(), key.clone())).collect();
        let empty = Self {
            type_: "root".to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            version: 1,
            expires,
            consistent_snapshot: true,
            keys: Keys::new(),
            roles: BTreeMap::new(),
        };
        empty.with(offline, threshold, online)
    }

    /// The next root: one version up, changed.
    ///
    /// # Errors
    /// [`AuthorError::Threshold`] and [`AuthorError::NoSuchKey`].
    pub fn next(&self, change: &RootChange, expires: Expiry) -> Result<Self, AuthorError> {
        let mut offline = self.keys_of("root");
        for prefix in &change.remove {
            let ids: Vec<_> = offline.keys().cloned().collect();
            offline.remove(&find_id("root", &ids, prefix)?);
        }
        offline.extend(change.add.iter().map(|key| (key.id(), key.clone())));
        let threshold = change.threshold.unwrap_or_else(|| self.threshold_of("root"));
        let online = match &change.online {
            Some(online) => online.clone(),
            None => self.online_keys()?,
        };
        let mut next = self.clone();
        next.version = self.version.saturating_add(1);
        next.expires = expires;
        next.with(offline, threshold, &online)
    }

    /// A role's keys.
    pub fn keys_of(&self, role: &str) -> Keys {
        self.roles.get(role).map(|role| pick(&self.keys, &role.keyids)).unwrap_or_default()
    }

    /// A role's threshold; 0 when it has none.
    pub fn threshold_of(&self, role: &str) -> u32 {
        self.roles.get(role).map_or(0, |role| role.threshold)
    }

    fn online_keys(&self) -> Result<OnlineKeys, AuthorError> {
        let one = |role: &str| {
            self.keys_of(role).into_values().next().ok_or_else(|| AuthorError::Threshold {
                role: role.to_owned(),
                threshold: 1,
                keys: 0,
            })
        };
        Ok(OnlineKeys { snapshot: one("snapshot")?, timestamp: one("timestamp")? })
    }

    fn with(
        mut self,
        offline: Keys,
        threshold: u32,
        online: &OnlineKeys,
    ) -> Result<Self, AuthorError> {
        check_threshold("root", threshold, offline.len())?;
        let role = |keys: Vec<String>, threshold| RoleDoc { keyids: keys, threshold };
        let ids: Vec<_> = offline.keys().cloned().collect();
        self.roles = BTreeMap::from([
            ("root".to_owned(), role(ids.clone(), threshold)),
            ("targets".to_owned(), role(ids, threshold)),
            ("snapshot".to_owned(), role(vec![online.snapshot.id()], 1)),
            ("timestamp".to_owned(), role(vec![online.timestamp.id()], 1)),
        ]);
        self.keys = offline;
        for key in [&online.snapshot, &online.timestamp] {
            self.keys.insert(key.id(), key.clone());
        }
        Ok(self)
    }
}
