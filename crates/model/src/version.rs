//! Versions and ranges of them (Semantic Versioning 2.0.0).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A release's version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(semver::Version);

/// A text that is neither a version nor a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Not a version.
    #[error("{text:?} is not a version such as 1.4.0 or 2.0.0-rc.1")]
    Version {
        /// What was offered, cut to 80 characters.
        text: String,
    },
    /// Not a range.
    #[error("{text:?} is not a range of versions such as `>=1.2.0, <2.0.0`")]
    Range {
        /// What was offered, cut to 80 characters.
        text: String,
    },
}

impl Version {
    /// A plain `major.minor.patch`.
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self(semver::Version::new(major, minor, patch))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Build metadata is refused: versions that differ in it alone have no order.
        semver::Version::parse(text)
            .ok()
            .filter(|version| version.build.is_empty() && text.len() <= 64)
            .map(Self)
            .ok_or_else(|| VersionError::Version { text: text.chars().take(80).collect() })
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A range of versions. Unlike Cargo's, a pre-release lies in the range when its numbers do:
/// `>=1.0.0, <2.0.0` holds `1.5.0-rc.1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange(semver::VersionReq);

impl VersionRange {
    /// Whether `version` lies in the range.
    pub fn holds(&self, version: &Version) -> bool {
        let mut plain = version.0.clone();
        self.0.matches(&version.0) || {
            plain.pre = semver::Prerelease::EMPTY;
            !version.0.pre.is_empty() && self.0.matches(&plain)
        }
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for VersionRange {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        semver::VersionReq::parse(text)
            .map(Self)
            .map_err(|_source| VersionError::Range { text: text.chars().take(80).collect() })
    }
}

impl Serialize for VersionRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for VersionRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
