//! Labels: what people and tokens say of an agent, for selecting it.

use std::collections::BTreeMap;
use std::collections::btree_map::Iter;

use serde::{Deserialize, Deserializer, Serialize};

/// How many labels an agent may have.
const MOST: usize = 32;
/// How long a key may be, in bytes.
const LONGEST_KEY: usize = 63;
/// How long a value may be, in bytes.
const LONGEST_VALUE: usize = 128;

/// Keys with values: at most 32; keys of 1 to 63 lower-case letters, digits, `.`, `_`, `-` and
/// `/`, starting with a letter; values of 0 to 128 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Labels(BTreeMap<String, String>);

/// A label that can't be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The key.
    #[error(
        "{key:?} can't be a label's key: use 1 to 63 lower-case letters, digits, `.`, `_`, `-` \
         and `/`, starting with a letter"
    )]
    Key {
        /// What was offered, cut to 80 characters.
        key: String,
    },
    /// The value.
    #[error(
        "the value of label {key} can't be used: at most 128 bytes, no control or formatting \
         characters"
    )]
    Value {
        /// Whose value.
        key: String,
    },
    /// Not `key=value`.
    #[error("{text:?} is not a label: write key=value")]
    NoPair {
        /// What was offered, cut to 80 characters.
        text: String,
    },
    /// Too many.
    #[error("an agent may have 32 labels, not {count}")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

impl Labels {
    /// Checks every key and value.
    ///
    /// # Errors
    /// The first [`LabelError`].
    pub fn new(pairs: BTreeMap<String, String>) -> Result<Self, LabelError> {
        if pairs.len() > MOST {
            return Err(LabelError::TooMany { count: pairs.len() });
        }
        for (key, value) in &pairs {
            check(key, value)?;
        }
        Ok(Self(pairs))
    }

    /// Reads `key=value` texts, as people type them.
    ///
    /// # Errors
    /// The first [`LabelError`].
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, LabelError> {
        let mut pairs = BTreeMap::new();
        for text in texts {
            let (key, value) =
                text.split_once('=').ok_or_else(|| LabelError::NoPair { text: cut(text) })?;
            pairs.insert(key.to_owned(), value.to_owned());
        }
        Self::new(pairs)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Every label, by key.
    pub fn iter(&self) -> Iter<'_, String, String> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These labels with `over` laid over them.
    ///
    /// # Errors
    /// [`LabelError::TooMany`].
    pub fn overlaid(&self, over: &Self) -> Result<Self, LabelError> {
        let mut pairs = self.0.clone();
        pairs.extend(over.0.clone());
        Self::new(pairs)
    }

    /// These labels without one key.
    #[must_use]
    pub fn without(&self, key: &str) -> Self {
        let mut pairs = self.0.clone();
        pairs.remove(key);
        Self(pairs)
    }
}

fn check(key: &str, value: &str) -> Result<(), LabelError> {
    let fits = (1..=LONGEST_KEY).contains(&key.len())
        && key.starts_with(|c: char| c.is_ascii_lowercase())
        && key.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b'/')
        });
    if !fits {
        return Err(LabelError::Key { key: cut(key) });
    }
    if value.len() > LONGEST_VALUE || value.chars().any(is_treacherous) {
        return Err(LabelError::Value { key: key.to_owned() });
    }
    Ok(())
}

/// Control characters, and those that change how text around them reads (Unicode TR 36).
fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a String, &'a String);
    type IntoIter = Iter<'a, String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(BTreeMap::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_could_mislead_a_reader_are_refused() {
        for bad in ["", "A=1", "1a=1", "a", "a b=1", "a=\u{202e}x", "a=\n", "a=\u{200b}"] {
            assert!(Labels::parse([bad]).is_err(), "{bad:?}");
        }
        assert!(Labels::parse([format!("a={}", "x".repeat(129)).as_str()]).is_err());
        let many: Vec<_> = (0..33).map(|n| format!("k{n}=v")).collect();
        assert!(Labels::parse(many.iter().map(String::as_str)).is_err());
    }

    #[test]
    fn labels_read_back_as_they_were_written() {
        let labels = Labels::parse(["site=ost", "tier/db=Primär <1>"]).expect("good labels");
        let json = serde_json::to_string(&labels).expect("labels are text");
        assert_eq!(serde_json::from_str::<Labels>(&json).ok(), Some(labels.clone()));
        assert_eq!(labels.get("site"), Some("ost"));
        assert_eq!(labels.without("site").get("site"), None);
    }
}
