//! Targets, components, snapshot and timestamp.

use std::collections::BTreeMap;

use handover_model::{ComponentName, Digest, ReleaseFacts, Version};
use serde::{Deserialize, Serialize};

use super::{AuthorError, Expiry, SPEC_VERSION, check_threshold, find_id, pick};
use crate::catalog::{role_of, target_path};
use crate::keys::{Keys, PublicKey};

/// Digests of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashesDoc {
    /// SHA-256.
    pub sha256: Digest,
}

/// How one metadata file pins another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaDoc {
    /// Its version.
    pub version: u64,
    /// Its length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Its digests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashes: Option<HashesDoc>,
}

/// A target (TUF 1.0.34, 4.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetDoc {
    /// Its length in bytes.
    pub length: u64,
    /// Its digests.
    pub hashes: HashesDoc,
    /// `{"handover": ReleaseFacts}` for packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<serde_json::Value>,
}

/// A delegation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegatedRoleDoc {
    /// `component-<name>`.
    pub name: String,
    /// Key ids.
    pub keyids: Vec<String>,
    /// How many of them must sign.
    pub threshold: u32,
    /// Always true here: nobody else speaks of a component's paths.
    pub terminating: bool,
    /// `<name>/*/*`.
    pub paths: Vec<String>,
}

/// All delegations.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DelegationsDoc {
    /// All delegated roles' keys.
    pub keys: Keys,
    /// The roles.
    pub roles: Vec<DelegatedRoleDoc>,
}

/// The top-level targets role, or a component's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetsDoc {
    /// `targets`.
    #[serde(rename = "_type")]
    pub type_: String,
    /// [`SPEC_VERSION`].
    pub spec_version: String,
    /// Counted from 1.
    pub version: u64,
    /// When it must have been replaced.
    pub expires: Expiry,
    /// Targets by path.
    pub targets: BTreeMap<String, TargetDoc>,
    /// Delegations; in the top-level role alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegations: Option<DelegationsDoc>,
}

/// Which version of every targets role belongs together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotDoc {
    /// `snapshot`.
    #[serde(rename = "_type")]
    pub type_: String,
    /// [`SPEC_VERSION`].
    pub spec_version: String,
    /// Counted from 1.
    pub version: u64,
    /// When it must have been replaced.
    pub expires: Expiry,
    /// Pins by file name. A file that was ever listed stays listed (TUF 1.0.34, 5.5.5).
    pub meta: BTreeMap<String, MetaDoc>,
}

/// Which snapshot is current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimestampDoc {
    /// `timestamp`.
    #[serde(rename = "_type")]
    pub type_: String,
    /// [`SPEC_VERSION`].
    pub spec_version: String,
    /// Counted from 1.
    pub version: u64,
    /// When it must have been replaced.
    pub expires: Expiry,
    /// The snapshot's pin.
    pub meta: BTreeMap<String, MetaDoc>,
}

impl SnapshotDoc {
    /// A snapshot.
    pub fn new(version: u64, expires: Expiry, meta: BTreeMap<String, MetaDoc>) -> Self {
        let (type_, spec_version) = ("snapshot".to_owned(), SPEC_VERSION.to_owned());
        Self { type_, spec_version, version, expires, meta }
    }
}

impl TimestampDoc {
    /// A timestamp for one snapshot.
    pub fn new(version: u64, expires: Expiry, snapshot: MetaDoc) -> Self {
        let (type_, spec_version) = ("timestamp".to_owned(), SPEC_VERSION.to_owned());
        let meta = BTreeMap::from([("snapshot.json".to_owned(), snapshot)]);
        Self { type_, spec_version, version, expires, meta }
    }
}

impl TargetsDoc {
    /// A role that says nothing yet.
    pub fn empty(version: u64, expires: Expiry) -> Self {
        Self {
            type_: "targets".to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            version,
            expires,
            targets: BTreeMap::new(),
            delegations: None,
        }
    }

    /// The same, one version up.
    #[must_use]
    pub fn next(&self, expires: Expiry) -> Self {
        Self { version: self.version.saturating_add(1), expires, ..self.clone() }
    }

    /// The delegated role's name of a component.
    pub fn role_of(component: &ComponentName) -> String {
        role_of(component)
    }

    /// The path of a package in the repository.
    pub fn path_of(facts: &ReleaseFacts) -> String {
        target_path(&facts.component, &facts.version, &facts.platform)
    }

    /// Adds and removes keys of a component's role, which is made if it is not there.
    ///
    /// # Errors
    /// [`AuthorError::Threshold`] and [`AuthorError::NoSuchKey`].
    pub fn change_component(
        &mut self,
        component: &ComponentName,
        add: &[PublicKey],
        remove: &[String],
        threshold: Option<u32>,
    ) -> Result<(), AuthorError> {
        let name = role_of(component);
        let mut keys = self.keys_of(component);
        for prefix in remove {
            let ids: Vec<_> = keys.keys().cloned().collect();
            keys.remove(&find_id(&name, &ids, prefix)?);
        }
        keys.extend(add.iter().map(|key| (key.id(), key.clone())));
        let threshold = threshold.unwrap_or_else(|| self.threshold_of(component).max(1));
        check_threshold(&name, threshold, keys.len())?;
        let delegations = self.delegations.get_or_insert_default();
        delegations.roles.retain(|role| role.name != name);
        delegations.roles.push(DelegatedRoleDoc {
            name,
            keyids: keys.keys().cloned().collect(),
            threshold,
            terminating: true,
            paths: vec![format!("{component}/*/*")],
        });
        delegations.roles.sort_by(|a, b| a.name.cmp(&b.name));
        delegations.keys.extend(keys);
        delegations.drop_unused();
        Ok(())
    }

    /// Takes a component's role away altogether.
    ///
    /// # Errors
    /// [`AuthorError::NoSuchComponent`].
    pub fn remove_component(&mut self, component: &ComponentName) -> Result<(), AuthorError> {
        let name = role_of(component);
        let unknown = || AuthorError::NoSuchComponent { component: component.to_string() };
        let delegations = self.delegations.as_mut().ok_or_else(unknown)?;
        let before = delegations.roles.len();
        delegations.roles.retain(|role| role.name != name);
        if delegations.roles.len() == before {
            return Err(unknown());
        }
        delegations.drop_unused();
        Ok(())
    }

    /// The components that have a role.
    pub fn components(&self) -> Vec<ComponentName> {
        let roles = self.delegations.iter().flat_map(|delegations| &delegations.roles);
        roles
            .filter_map(|role| role.name.strip_prefix("component-").and_then(|n| n.parse().ok()))
            .collect()
    }

    /// A component's keys.
    pub fn keys_of(&self, component: &ComponentName) -> Keys {
        self.delegation(component)
            .map(|(all, role)| pick(&all.keys, &role.keyids))
            .unwrap_or_default()
    }

    /// A component's threshold; 0 when it has no role.
    pub fn threshold_of(&self, component: &ComponentName) -> u32 {
        self.delegation(component).map_or(0, |(_, role)| role.threshold)
    }

    fn delegation(
        &self,
        component: &ComponentName,
    ) -> Option<(&DelegationsDoc, &DelegatedRoleDoc)> {
        let (all, name) = (self.delegations.as_ref()?, role_of(component));
        all.roles.iter().find(|role| role.name == name).map(|role| (all, role))
    }

    /// The highest sequence among the packages listed.
    pub fn highest_sequence(&self) -> u64 {
        self.releases().map(|(_, facts)| facts.sequence).max().unwrap_or(0)
    }

    /// All packages that this program understands, with their facts.
    pub fn releases(&self) -> impl Iterator<Item = (&String, ReleaseFacts)> {
        self.targets.iter().filter_map(|(path, target)| {
            let facts = target.custom.as_ref()?.get("handover")?;
            ReleaseFacts::deserialize(facts).ok().map(|facts| (path, facts))
        })
    }

    /// Lists a package.
    ///
    /// # Errors
    /// [`AuthorError::Taken`] when its path has other content, and [`AuthorError::Sequence`] when
    /// another version has that place in the order of production, or a later one.
    pub fn add_package(
        &mut self,
        facts: &ReleaseFacts,
        length: u64,
        sha256: Digest,
    ) -> Result<(), AuthorError> {
        let path = Self::path_of(facts);
        let others = self.releases().filter(|(_, other)| other.version != facts.version);
        let highest = others.map(|(_, other)| other.sequence).max().unwrap_or(0);
        let known = self
            .releases()
            .any(|(_, other)| other.version == facts.version && other.sequence == facts.sequence);
        if facts.sequence <= highest && !known {
            return Err(AuthorError::Sequence {
                path,
                component: facts.component.to_string(),
                sequence: facts.sequence,
                highest,
                next: highest.saturating_add(1),
            });
        }
        let custom = serde_json::json!({ "handover": facts });
        self.add_file(path, length, sha256, Some(custom))
    }

    /// Lists any file.
    ///
    /// # Errors
    /// [`AuthorError::Taken`].
    pub fn add_file(
        &mut self,
        path: String,
        length: u64,
        sha256: Digest,
        custom: Option<serde_json::Value>,
    ) -> Result<(), AuthorError> {
        let target = TargetDoc { length, hashes: HashesDoc { sha256 }, custom };
        match self.targets.get(&path) {
            Some(there) if there.hashes != target.hashes => Err(AuthorError::Taken { path }),
            Some(_same) => Ok(()), // what is listed stays, with a revocation that it may carry
            None => {
                self.targets.insert(path, target);
                Ok(())
            }
        }
    }

    /// Marks a release as revoked on every platform.
    ///
    /// # Errors
    /// [`AuthorError::NoSuchRelease`].
    pub fn revoke(
        &mut self,
        component: &ComponentName,
        version: &Version,
        reason: &str,
    ) -> Result<(), AuthorError> {
        let listed: Vec<_> = self
            .releases()
            .filter(|(_, facts)| facts.version == *version)
            .map(|(path, facts)| (path.clone(), facts))
            .collect();
        if listed.is_empty() {
            return Err(AuthorError::NoSuchRelease {
                component: component.to_string(),
                version: version.to_string(),
            });
        }
        for (path, mut facts) in listed {
            facts.revoked = Some(reason.to_owned());
            if let Some(target) = self.targets.get_mut(&path) {
                target.custom = Some(serde_json::json!({ "handover": facts }));
            }
        }
        Ok(())
    }
}

impl DelegationsDoc {
    fn drop_unused(&mut self) {
        let roles = &self.roles;
        self.keys.retain(|id, _| roles.iter().any(|role| role.keyids.contains(id)));
    }
}
