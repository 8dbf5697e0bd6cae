//! Platforms that packages are built for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An operating system and processor, such as `linux-x86_64`; `any` fits every host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform(String);

/// A text that is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a platform: use `any` or one of {}", Platform::KNOWN.join(", "))]
pub struct PlatformError {
    /// What was offered, cut to 80 characters.
    pub text: String,
}

impl Platform {
    /// The platforms that releases may name.
    pub const KNOWN: [&'static str; 5] =
        ["linux-x86_64", "linux-aarch64", "linux-armv7", "linux-riscv64", "any"];

    /// The platform that this program was built for.
    pub fn of_this_build() -> Self {
        let cpu = match std::env::consts::ARCH {
            "arm" => "armv7",
            other => other,
        };
        Self(format!("{}-{cpu}", std::env::consts::OS))
    }

    /// Whether a package for `self` runs on `host`.
    pub fn runs_on(&self, host: &Self) -> bool {
        self.0 == "any" || self == host
    }

    /// The platform as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if Self::KNOWN.contains(&text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PlatformError { text: text.chars().take(80).collect() })
        }
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
