//! Placeholders: `${slot}`, `${state}`, `${config}`, `${root}`, `${version}`, `${param.NAME}`.

use std::collections::BTreeMap;

use handover_model::ErrorClass;
use serde::{Deserialize, Serialize};

/// What each placeholder stands for on this host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Places(BTreeMap<String, String>);

/// A text whose placeholders can't be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// Nothing of that name.
    #[error("${{{name}}} stands for nothing here; known are {known} (write $${{ for a plain ${{)")]
    Unknown {
        /// What stood between the braces.
        name: String,
        /// What may stand there.
        known: String,
    },
    /// A `${` without its end.
    #[error("a placeholder is never closed: {text:?}")]
    Open {
        /// The text from there on, cut to 40 characters.
        text: String,
    },
}

impl FillError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unknown { .. } | Self::Open { .. } => ErrorClass::Permanent,
        }
    }
}

impl Places {
    /// Lets `${name}` stand for `value`.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// `text` with every placeholder filled in, once: what is filled in is not looked at again, so
    /// that a host's value can't bring placeholders of its own. `$${` becomes `${`.
    ///
    /// # Errors
    /// When a placeholder is unknown or never closed.
    pub fn fill(&self, text: &str) -> Result<String, FillError> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            if let Some(kept) = before.strip_suffix('$') {
                out.push_str(kept);
                out.push_str("${");
                rest = from.strip_prefix("${").unwrap_or(from);
                continue;
            }
            out.push_str(before);
            let open = || FillError::Open { text: from.chars().take(40).collect() };
            let inner = from.strip_prefix("${").ok_or_else(open)?;
            let (name, after) = inner.split_once('}').ok_or_else(open)?;
            let value = self.0.get(name).ok_or_else(|| self.unknown(name))?;
            out.push_str(value);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Every text of a list, filled in.
    ///
    /// # Errors
    /// As [`Places::fill`].
    pub fn fill_all(&self, texts: &[String]) -> Result<Vec<String>, FillError> {
        texts.iter().map(|text| self.fill(text)).collect()
    }

    fn unknown(&self, name: &str) -> FillError {
        let known = self.0.keys().map(|name| format!("${{{name}}}")).collect::<Vec<_>>().join(", ");
        FillError::Unknown { name: name.chars().take(80).collect(), known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places::default().with("slot", "/s").with("param.port", "80${slot}")
    }

    #[test]
    fn placeholders_are_filled_once_and_escapes_kept() {
        let filled = places().fill("a ${slot}/x ${param.port} $${slot} $5 $").unwrap();
        assert_eq!(filled, "a /s/x 80${slot} ${slot} $5 $");
    }

    #[test]
    fn an_unknown_placeholder_is_named_with_those_that_are_known() {
        let error = places().fill("${stat}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "${stat} stands for nothing here; known are ${param.port}, ${slot} (write $${ for a \
             plain ${)"
        );
    }

    #[test]
    fn an_open_placeholder_is_refused() {
        assert_eq!(places().fill("x${slot"), Err(FillError::Open { text: "${slot".to_owned() }));
    }
}
