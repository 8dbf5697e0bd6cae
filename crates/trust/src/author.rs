//! The publisher's side: documents of TUF 1.0.34, section 4, made from values. Signing is
//! [`Envelope::sign`](crate::Envelope::sign); proving before publishing is the client's own
//! [`Refresh`](crate::Refresh) over the files that are about to be published.
//!
//! Deliberately not here: files, key prompts, clocks.

mod published;
mod roles;
mod root;

use std::collections::BTreeMap;

use handover_model::{Digest, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use published::{Online, Published};
pub use roles::{
    DelegatedRoleDoc, DelegationsDoc, HashesDoc, MetaDoc, SnapshotDoc, TargetDoc, TargetsDoc,
    TimestampDoc,
};
pub use root::{OnlineKeys, RoleDoc, RootChange, RootDoc};

use crate::keys::Keys;

/// The version of the specification that the documents follow.
pub const SPEC_VERSION: &str = "1.0.34";

/// Why a document can't be made as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorError {
    /// More signatures demanded than there are keys, or none.
    #[error("role {role} can't have threshold {threshold} with {keys} keys")]
    Threshold {
        /// The role.
        role: String,
        /// The threshold asked for.
        threshold: u32,
        /// How many keys there would be.
        keys: usize,
    },
    /// A key to remove that the role does not have.
    #[error("role {role} has no key {key}; `handover repo status` lists them")]
    NoSuchKey {
        /// The role.
        role: String,
        /// The key's id, or its beginning.
        key: String,
    },
    /// A component without a role.
    #[error("component {component} has no role; make one with `handover repo add-key`")]
    NoSuchComponent {
        /// The component.
        component: String,
    },
    /// A release that is not listed.
    #[error("{component} {version} is not published; `handover release list` shows what is")]
    NoSuchRelease {
        /// The component.
        component: String,
        /// The version.
        version: String,
    },
    /// A package that is there already with other content.
    #[error("{path} is already published with other content; give the release a new version")]
    Taken {
        /// The target's path.
        path: String,
    },
    /// A sequence number that does not go up.
    #[error(
        "{path} has sequence {sequence}, but {component} already has {highest}; the next is {next}"
    )]
    Sequence {
        /// The target's path.
        path: String,
        /// The component.
        component: String,
        /// The package's.
        sequence: u64,
        /// The highest published one.
        highest: u64,
        /// The one to use.
        next: u64,
    },
}

impl AuthorError {
    /// What the caller may do next.
    pub fn class(&self) -> handover_model::ErrorClass {
        match self {
            Self::Threshold { .. }
            | Self::NoSuchKey { .. }
            | Self::NoSuchComponent { .. }
            | Self::NoSuchRelease { .. }
            | Self::Taken { .. }
            | Self::Sequence { .. } => handover_model::ErrorClass::Permanent,
        }
    }
}

/// An expiry as the specification writes it: whole seconds, `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry(pub Timestamp);

impl Serialize for Expiry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.as_jiff().strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

impl<'de> Deserialize<'de> for Expiry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Timestamp::deserialize(deserializer).map(Self)
    }
}

/// How a published file is pinned by another.
pub fn pin_of(version: u64, bytes: &[u8]) -> MetaDoc {
    MetaDoc {
        version,
        length: Some(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
        hashes: Some(HashesDoc { sha256: Digest::of(bytes) }),
    }
}

fn check_threshold(role: &str, threshold: u32, keys: usize) -> Result<(), AuthorError> {
    let fits = threshold >= 1 && usize::try_from(threshold).is_ok_and(|needed| needed <= keys);
    if fits {
        Ok(())
    } else {
        Err(AuthorError::Threshold { role: role.to_owned(), threshold, keys })
    }
}

fn pick(all: &Keys, ids: &[String]) -> Keys {
    ids.iter()
        .filter_map(|id| all.get(id).map(|key| (id.clone(), key.clone())))
        .collect::<BTreeMap<_, _>>()
}

/// The one id among `ids` that begins with `prefix`.
fn find_id(role: &str, ids: &[String], prefix: &str) -> Result<String, AuthorError> {
    let mut fitting = ids.iter().filter(|id| id.starts_with(prefix));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) if !prefix.is_empty() => Ok(only.clone()),
        _none_or_many => {
            Err(AuthorError::NoSuchKey { role: role.to_owned(), key: prefix.to_owned() })
        }
    }
}
