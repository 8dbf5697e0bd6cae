//! The host policy: what a host follows when it takes its orders from nobody (DESIGN 5.6).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use camino::Utf8PathBuf;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{AgentName, ComponentName, Millis, Version, VersionRange};

/// `policy.yaml` under the host's root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostPolicy {
    /// The host's name in permits and reports.
    pub agent: AgentName,
    /// Where releases come from.
    pub repository: RepositoryPolicy,
    /// How often to look, give or take a tenth.
    #[serde(default = "one_minute")]
    pub poll: Millis,
    /// How long a package's entrypoint may take until it answers. One that is silent for longer is
    /// ended, and the version that runs goes on.
    #[serde(default = "ten_minutes")]
    pub patience: Millis,
    /// At most this many bytes a second are downloaded; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// OpenPGP signatures that are demanded in addition to the repository's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openpgp: Option<OpenPgpDemand>,
    /// The components, in no particular order.
    #[serde(default)]
    pub components: Vec<ComponentPolicy>,
}

fn one_minute() -> Millis {
    Millis(60_000)
}

fn ten_minutes() -> Millis {
    Millis(600_000)
}

/// A signed repository on any static file server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositoryPolicy {
    /// The base address of `N.root.json` and the other metadata.
    pub metadata: String,
    /// The base address of the packages.
    pub targets: String,
}

/// A demand for OpenPGP detached signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenPgpDemand {
    /// A keyring that `gpgv --keyring` takes.
    pub keyring: Utf8PathBuf,
}

/// What a host wants of one component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentPolicy {
    /// Its name.
    pub name: ComponentName,
    /// The channel to follow.
    #[serde(default = "stable")]
    pub channel: String,
    /// Whether updates happen by themselves.
    #[serde(default)]
    pub mode: Mode,
    /// The versions that it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// The versions that the control plane lets it run, beside `pin`: from an order, never from a
    /// policy file.
    #[serde(skip)]
    pub control_pin: Option<Pin>,
    /// Components that must be up to date and settled first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<ComponentName>,
    /// When updates may start; empty: always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// The host's values for the release's parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}

fn stable() -> String {
    "stable".to_owned()
}

/// Whether updates happen by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// As soon as a release is permitted.
    #[default]
    Automatic,
    /// Only when a person asks.
    Manual,
}

/// What versions an agent may run: one, or a range.
#[derive(Debug, Clone, PartialEq)]
pub enum Pin {
    /// Exactly this version.
    Exactly(Version),
    /// Any version of the range.
    Within(VersionRange),
}

/// A text that is neither a version nor a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a pin: write a version (1.4.0) or a range (`>=1.2, <2`)")]
pub struct PinError {
    /// What was offered, cut to 80 characters.
    pub text: String,
}

impl Pin {
    /// Whether the pin allows `version`.
    pub fn allows(&self, version: &Version) -> bool {
        match self {
            Self::Exactly(only) => only == version,
            Self::Within(range) => range.holds(version),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(version) => fmt::Display::fmt(version, f),
            Self::Within(range) => fmt::Display::fmt(range, f),
        }
    }
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(version) = text.parse() {
            return Ok(Self::Exactly(version));
        }
        text.parse()
            .map(Self::Within)
            .map_err(|_source| PinError { text: text.chars().take(80).collect() })
    }
}

impl Serialize for Pin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A weekly maintenance window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Days on which it opens: `mon` to `sun`; empty: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<String>,
    /// When it opens, local time, `HH:MM`.
    pub start: String,
    /// How long it stays open, at most a day.
    #[serde(rename = "for")]
    pub length: Millis,
    /// IANA time zone; `UTC` where absent.
    #[serde(default = "utc")]
    pub zone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}
