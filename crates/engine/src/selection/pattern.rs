//! Texts in which `*` stands for any run of characters.

use std::fmt;

/// A text, perhaps with wildcards. Printed as selections write it: bare where it can be, quoted
/// where it must be, with `\*` for an asterisk that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// What stands between the wildcards: one part is a plain text. Inner ones are not empty.
    parts: Vec<String>,
}

impl Pattern {
    /// A text that is meant as it stands.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { parts: vec![text.into()] }
    }

    /// A text from its characters; `None` is a wildcard.
    pub(super) fn of(letters: impl IntoIterator<Item = Option<char>>) -> Self {
        let mut parts = vec![String::new()];
        for letter in letters {
            match (letter, parts.as_mut_slice()) {
                (Some(letter), [.., last]) => last.push(letter),
                // Two wildcards beside each other are one.
                (None, [_, .., last]) if last.is_empty() => {}
                (None, _) | (Some(_), []) => parts.push(String::new()),
            }
        }
        Self { parts }
    }

    /// The text, if there is no wildcard in it.
    pub fn as_plain(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Whether every text fits.
    pub fn fits_all(&self) -> bool {
        self.parts.len() > 1 && self.parts.iter().all(String::is_empty)
    }

    /// Whether a text fits.
    pub fn fits(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.parts.first().is_some_and(|only| only == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        for part in middle {
            let Some((_, after)) = rest.split_once(part.as_str()) else { return false };
            rest = after;
        }
        rest.ends_with(last.as_str())
    }

    /// The text with wildcards as `*`, for messages and for what has no use for asterisks.
    pub(super) fn raw(&self) -> String {
        self.parts.join("*")
    }

    /// Always in quotes.
    pub(super) fn quoted(&self) -> String {
        let mut text = String::from("\"");
        for (at, part) in self.parts.iter().enumerate() {
            if at > 0 {
                text.push('*');
            }
            for letter in part.chars() {
                if matches!(letter, '"' | '\\' | '*') {
                    text.push('\\');
                }
                text.push(letter);
            }
        }
        text.push('"');
        text
    }
}

/// Whether a character may stand outside quotes.
pub(super) fn is_bare(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '.' | '_' | '-' | '/' | '+' | ':' | '@' | '*')
}

/// Words that a value outside quotes may not be, so that a forgotten value is noticed.
pub(super) const NO_VALUES: [&str; 5] = ["and", "or", "not", "in", "has"];

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raw = self.raw();
        let literal_star = self.parts.iter().any(|part| part.contains('*'));
        let bare = !raw.is_empty()
            && !literal_star
            && raw.chars().all(is_bare)
            && !NO_VALUES.contains(&raw.as_str());
        if bare { f.write_str(&raw) } else { f.write_str(&self.quoted()) }
    }
}
