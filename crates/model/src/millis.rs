//! Lengths of time as people write them and as documents carry them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time in whole milliseconds. Written by people as `1h 30m`, `10s`, `250ms`;
/// carried in documents the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

/// A text that is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a length of time such as `250ms`, `10s` or `1h 30m`")]
pub struct MillisError {
    /// What was offered, cut to 80 characters.
    pub text: String,
}

impl Millis {
    /// As a standard duration.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// Cut from a standard duration.
    pub fn of(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut rest, mut first) = (self.0, true);
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            let count = rest / size;
            rest %= size;
            if count > 0 {
                write!(f, "{}{count}{unit}", if first { "" } else { " " })?;
                first = false;
            }
        }
        if first { f.write_str("0s") } else { Ok(()) }
    }
}

impl FromStr for Millis {
    type Err = MillisError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|length| u64::try_from(length.as_millis()).ok())
            .map(Self)
            .ok_or_else(|| MillisError { text: text.chars().take(80).collect() })
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_parses_back() {
        for ms in [0, 1, 999, 1000, 61_001, 3_600_000, 90_061_007] {
            assert_eq!(Millis(ms).to_string().parse(), Ok(Millis(ms)), "{ms}");
        }
        assert!("-1s".parse::<Millis>().is_err());
        assert!("10".parse::<Millis>().is_err());
    }
}
