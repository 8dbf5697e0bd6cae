//! Names and ids, each a type of its own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::{Digest, Timestamp, Version};

/// A text that can't be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} can't be {what}: use 1 to 40 lower-case letters, digits and single hyphens, \
     starting with a letter"
)]
pub struct NameError {
    /// What kind of name was wanted.
    pub what: &'static str,
    /// What was offered, cut to 80 characters.
    pub text: String,
}

fn checked_name(what: &'static str, text: &str) -> Result<String, NameError> {
    let fits = (1..=40).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && !text.contains("--")
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits {
        Ok(text.to_owned())
    } else {
        Err(NameError { what, text: text.chars().take(80).collect() })
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                checked_name($what, text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type! {
    /// The name of a component: a thing on a host that has versions. Safe as a file name.
    ComponentName, "a component's name"
}
name_type! {
    /// The name by which a host's agent is known to people and to permits.
    AgentName, "an agent's name"
}

name_type! {
    /// The name of a rollout, unique among those that are not over; a file is applied by it.
    RolloutName, "a rollout's name"
}
name_type! {
    /// The name of a saved group: a selection that people gave a name.
    GroupName, "a group's name"
}

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id that starts with {prefix}")]
pub struct UnknownId {
    /// The wanted prefix, underscore included.
    pub prefix: &'static str,
    /// What was offered, cut to 80 characters.
    pub text: String,
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Mints one.
            pub fn mint(ids: &mut IdGen, now: Timestamp) -> Self {
                Self(ids.next(now))
            }

            /// Its sixteen bytes, for hashing.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = UnknownId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let bad =
                    || UnknownId { prefix: $prefix, text: text.chars().take(80).collect() };
                let rest = text.strip_prefix($prefix).ok_or_else(bad)?;
                Uuid::try_parse(rest).map(Self).map_err(|_source| bad())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id_type! {
    /// One run of a plan.
    RunId, "run_"
}
id_type! {
    /// One order: signed, or made by a host that follows a repository.
    OrderId, "order_"
}

id_type! {
    /// One agent, for as long as it is enrolled; the control plane gives it.
    AgentId, "agent_"
}
id_type! {
    /// One life of an agent's process, drawn at its start.
    SessionId, "session_"
}
id_type! {
    /// One token: for enrolling a host, or for a person or program that calls the API.
    TokenId, "token_"
}
id_type! {
    /// One event of the control plane.
    EventId, "event_"
}

id_type! {
    /// One rollout.
    RolloutId, "rollout_"
}
id_type! {
    /// One webhook: an address that is told what happens.
    WebhookId, "webhook_"
}
id_type! {
    /// One delivery to a webhook; the same id on every attempt.
    DeliveryId, "delivery_"
}

/// Mints ids (UUID version 7, RFC 9562 section 5.7) from a seed of its own, so that a simulation
/// can replay them.
#[derive(Debug, Clone)]
pub struct IdGen {
    seed: [u8; 32],
    drawn: u64,
}

impl IdGen {
    /// A generator on `seed`. Shells draw the seed from the system, tests print it.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    fn next(&mut self, now: Timestamp) -> Uuid {
        let mut input = [0; 40];
        input[..32].copy_from_slice(&self.seed);
        input[32..].copy_from_slice(&self.drawn.to_be_bytes());
        self.drawn += 1;
        let noise = Digest::of(&input);
        let mut random = [0; 10];
        random.copy_from_slice(&noise.as_bytes()[..10]);
        let millis = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}

/// Which release, exactly: its version, and the digest of its package's manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReleaseId {
    /// The release's version.
    pub version: Version,
    /// SHA-256 of the package archive for this host's platform, as listed in signed metadata.
    pub digest: Digest,
}

impl ReleaseId {
    /// The release's directory under `releases/`: `<version>+<digest8>`.
    pub fn directory(&self) -> String {
        format!("{}+{}", self.version, self.digest.short())
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.version, self.digest.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_leave_its_directory_is_refused() {
        for bad in ["", ".", "..", "a/b", "A", "1a", "a-", "a--b", "ä", &"a".repeat(41), "a\0"] {
            assert!(bad.parse::<ComponentName>().is_err(), "{bad:?}");
        }
        assert!("web-2".parse::<ComponentName>().is_ok());
    }

    #[test]
    fn ids_print_with_their_prefix_and_parse_back() {
        let mut ids = IdGen::new([7; 32]);
        let id = RunId::mint(&mut ids, Timestamp::from_micros(1_000_000));
        assert_eq!(id.to_string().parse::<RunId>(), Ok(id));
        assert!(id.to_string().parse::<OrderId>().is_err());
        assert_ne!(RunId::mint(&mut ids, Timestamp::from_micros(1_000_000)), id);
    }
}
