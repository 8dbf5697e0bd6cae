//! Problem details (RFC 9457): what a server says when it refuses.

use std::time::Duration;

use handover_model::ErrorClass;
use serde::Deserialize;

/// The most bytes of a problem document that are read.
pub(super) const LONGEST: u64 = 64 * 1024;
/// The most characters of a text in it that are kept.
const LONGEST_TEXT: usize = 1000;

/// A refusal in the server's words, made safe to print.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.words())]
pub struct Problem {
    /// The status code.
    pub status: u16,
    /// A name for programs, stable over releases; `http.STATUS` where the server gave none.
    pub code: String,
    /// What kind of refusal it is, for people.
    pub title: String,
    /// This one in particular, and the way out.
    pub detail: Option<String>,
    /// How long the server asks to stay away.
    pub after: Option<Duration>,
}

#[derive(Deserialize)]
struct Document {
    code: Option<String>,
    title: Option<String>,
    detail: Option<String>,
}

impl Problem {
    /// Reads a document; `None` where it is none.
    pub(super) fn parse(status: u16, body: &[u8], after: Option<Duration>) -> Option<Self> {
        let document: Document = serde_json::from_slice(body).ok()?;
        let code = document.code.map(|code| printable(&code)).filter(|code| !code.is_empty());
        Some(Self {
            status,
            code: code.unwrap_or_else(|| format!("http.{status}")),
            title: document.title.map_or_else(|| format!("HTTP {status}"), |text| printable(&text)),
            detail: document.detail.map(|text| printable(&text)),
            after,
        })
    }

    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self.status {
            408 | 425 | 429 | 500..=599 => ErrorClass::Retry,
            409 | 412 | 428 => ErrorClass::Conflict,
            _ => ErrorClass::Permanent,
        }
    }

    fn words(&self) -> String {
        match &self.detail {
            Some(detail) => format!("{}: {detail}", self.title),
            None => self.title.clone(),
        }
    }
}

/// A stranger's text for a terminal: no control characters, not without end.
fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(LONGEST_TEXT)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_keeps_its_code_and_loses_its_control_characters() {
        let body =
            br#"{"type":"about:blank","code":"token.used","title":"used","detail":"a\u001b[2Jb"}"#;
        let problem = Problem::parse(409, body, None).unwrap();
        assert_eq!(problem.code, "token.used");
        assert_eq!(problem.to_string(), "used: a [2Jb");
        assert_eq!(problem.class(), ErrorClass::Conflict);
    }

    #[test]
    fn an_endless_text_is_cut_and_a_missing_code_is_the_status() {
        let body = serde_json::json!({ "title": "x".repeat(5000) }).to_string();
        let problem = Problem::parse(503, body.as_bytes(), Some(Duration::from_secs(3))).unwrap();
        assert_eq!(problem.title.len(), LONGEST_TEXT);
        assert_eq!((problem.code.as_str(), problem.class()), ("http.503", ErrorClass::Retry));
        assert_eq!(Problem::parse(500, b"<html>", None), None);
    }
}
