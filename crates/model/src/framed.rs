//! The frame that every small file under a host's root carries: a header line with a format
//! number and a checksum, then the body. A reader learns "damaged" or "too new" by name and never
//! takes either for "none" (DESIGN 5.1).

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Digest, ErrorClass};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    kind: String,
    format: u32,
    sha256: Digest,
}

/// Why a framed file can't be used. The caller adds which file it was.
#[derive(Debug, thiserror::Error)]
pub enum FramedError {
    /// The header line is missing or does not parse, or the file is empty.
    #[error("the header line is damaged")]
    Header,
    /// The file is of another kind than the one asked for.
    #[error("the file holds {found:?}, not {wanted:?}")]
    Kind {
        /// What the header says.
        found: String,
        /// What the caller asked for.
        wanted: &'static str,
    },
    /// A newer Handover wrote this file.
    #[error("the file is of format {found}; this program reads up to {newest}")]
    TooNew {
        /// What the header says.
        found: u32,
        /// The newest format that the caller reads.
        newest: u32,
    },
    /// The body is not what was written.
    #[error("the checksum does not match: the file was damaged or edited by hand")]
    Checksum,
    /// The body matches its checksum but does not parse.
    #[error("the body does not parse")]
    Body {
        /// The parser's complaint.
        source: serde_json::Error,
    },
}

impl FramedError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Header
            | Self::Kind { .. }
            | Self::TooNew { .. }
            | Self::Checksum
            | Self::Body { .. } => ErrorClass::Permanent,
        }
    }
}

/// The bytes of a framed file holding `body`.
///
/// # Errors
/// [`FramedError::Body`] when `body` can't be written as JSON (a map with keys that are no text).
pub fn seal_framed<T: Serialize>(
    kind: &'static str,
    format: u32,
    body: &T,
) -> Result<Vec<u8>, FramedError> {
    let text = serde_json::to_string_pretty(body).map_err(|source| FramedError::Body { source })?;
    let header =
        Header { kind: kind.to_owned(), format, sha256: sum(kind, format, text.as_bytes()) };
    let mut out = serde_json::to_string(&header).map_err(|source| FramedError::Body { source })?;
    out.push('\n');
    out.push_str(&text);
    Ok(out.into_bytes())
}

/// Opens a framed file of `kind`, of a format up to `newest`.
///
/// # Errors
/// Any [`FramedError`]; none of them means "absent".
pub fn open_framed<T: DeserializeOwned>(
    kind: &'static str,
    newest: u32,
    bytes: &[u8],
) -> Result<T, FramedError> {
    let cut = bytes.iter().position(|byte| *byte == b'\n').ok_or(FramedError::Header)?;
    let (head, body) = (&bytes[..cut], &bytes[cut + 1..]);
    let header: Header = serde_json::from_slice(head).map_err(|_source| FramedError::Header)?;
    if header.kind != kind {
        return Err(FramedError::Kind { found: header.kind, wanted: kind });
    }
    if sum(kind, header.format, body) != header.sha256 {
        return Err(FramedError::Checksum);
    }
    if header.format > newest {
        return Err(FramedError::TooNew { found: header.format, newest });
    }
    serde_json::from_slice(body).map_err(|source| FramedError::Body { source })
}

/// The checksum covers kind and format too, so that a flipped digit in the header is noticed.
fn sum(kind: &str, format: u32, body: &[u8]) -> Digest {
    let mut hasher = crate::Hasher::default();
    hasher.update(format!("{kind}\n{format}\n").as_bytes());
    hasher.update(body);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_body_opens_to_itself() {
        let sealed = seal_framed("slots", 1, &vec![1, 2, 3]).unwrap();
        assert_eq!(open_framed::<Vec<i32>>("slots", 1, &sealed).unwrap(), [1, 2, 3]);
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_noticed() {
        let sealed = seal_framed("slots", 1, &vec![1, 2, 3]).unwrap();
        for cut in 0..sealed.len() {
            assert!(open_framed::<Vec<i32>>("slots", 1, &sealed[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(open_framed::<Vec<i32>>("slots", 1, &bad).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn a_newer_format_is_named_and_not_called_damage() {
        let sealed = seal_framed("slots", 2, &1).unwrap();
        assert!(matches!(
            open_framed::<i32>("slots", 1, &sealed),
            Err(FramedError::TooNew { found: 2, newest: 1 })
        ));
    }
}
