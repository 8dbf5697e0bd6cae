//! Tokens as people carry them: one word that holds addresses, a secret, and what to trust.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::Digest;

/// How an enrolment token begins.
const ENROL: &str = "hoe1_";
/// How a login token begins.
const LOGIN: &str = "hol1_";
/// How long a token may be, in bytes.
const LONGEST: usize = 8192;

/// A text that is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It begins in another way.
    #[error(
        "this is not {wanted} token: those begin with {prefix}; was it cut, or is it another kind?"
    )]
    Kind {
        /// Which kind was wanted, with its article.
        wanted: &'static str,
        /// How it should begin.
        prefix: &'static str,
    },
    /// Its content can't be read.
    #[error("this token is damaged; copy it again, whole")]
    Damaged,
}

/// What enrols a host, once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolToken {
    /// Base addresses of the control plane, the first one tried first.
    #[serde(rename = "u")]
    pub urls: Vec<String>,
    /// The secret, base64url without padding.
    #[serde(rename = "s")]
    pub secret: String,
    /// SHA-256 of the channel CA certificates' DER: the one in use and its standby.
    #[serde(rename = "c")]
    pub pins: Vec<Digest>,
    /// SHA-256 of the repository's first root, as its file is.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Digest>,
    /// The base address of the repository's metadata.
    #[serde(rename = "m")]
    pub metadata: String,
    /// The base address of its packages.
    #[serde(rename = "t")]
    pub targets: String,
}

/// What lets a person or a program call the API.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginToken {
    /// Base addresses of the control plane.
    #[serde(rename = "u")]
    pub urls: Vec<String>,
    /// The secret, base64url without padding.
    #[serde(rename = "s")]
    pub secret: String,
    /// As [`EnrolToken::pins`]; empty when the server shows a publicly trusted certificate.
    #[serde(rename = "c", default)]
    pub pins: Vec<Digest>,
}

impl EnrolToken {
    /// Reads the one word.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        read(ENROL, "an enrolment", text)
    }

    /// The one word. A secret: it is shown once and never logged.
    pub fn reveal(&self) -> String {
        write(ENROL, self)
    }
}

impl LoginToken {
    /// Reads the one word.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        read(LOGIN, "a login", text)
    }

    /// The one word. A secret: it is shown once and never logged.
    pub fn reveal(&self) -> String {
        write(LOGIN, self)
    }
}

fn read<T: DeserializeOwned>(
    prefix: &'static str,
    wanted: &'static str,
    text: &str,
) -> Result<T, TokenError> {
    let text = text.trim();
    let body = text.strip_prefix(prefix).ok_or(TokenError::Kind { wanted, prefix })?;
    if text.len() > LONGEST {
        return Err(TokenError::Damaged);
    }
    let json = BASE64.decode(body).map_err(|_source| TokenError::Damaged)?;
    serde_json::from_slice(&json).map_err(|_source| TokenError::Damaged)
}

fn write<T: Serialize>(prefix: &str, token: &T) -> String {
    // Texts and digests can always be written.
    format!("{prefix}{}", BASE64.encode(serde_json::to_vec(token).unwrap_or_default()))
}

impl fmt::Debug for EnrolToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrolToken({:?}, [secret])", self.urls)
    }
}

impl fmt::Debug for LoginToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoginToken({:?}, [secret])", self.urls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> EnrolToken {
        EnrolToken {
            urls: vec!["https://control.example.com:8443".to_owned()],
            secret: "c2VjcmV0".to_owned(),
            pins: vec![Digest::of(b"ca"), Digest::of(b"standby")],
            root: Some(Digest::of(b"root")),
            metadata: "https://control.example.com:8443/repository/metadata".to_owned(),
            targets: "https://control.example.com:8443/repository/targets".to_owned(),
        }
    }

    #[test]
    fn a_token_reads_back_and_one_of_another_kind_is_told_apart() {
        let text = token().reveal();
        assert_eq!(EnrolToken::parse(&format!(" {text}\n")), Ok(token()));
        assert!(matches!(LoginToken::parse(&text), Err(TokenError::Kind { .. })));
        assert_eq!(EnrolToken::parse(&text[..text.len() - 5]), Err(TokenError::Damaged));
    }

    #[test]
    fn a_token_does_not_show_its_secret_by_accident() {
        assert!(!format!("{:?}", token()).contains("c2VjcmV0"));
    }
}
