//! Lines, their chain, and reading them back.

use handover_model::{Digest, ErrorClass, Hasher};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Body, Record};

/// Longest line that is read back, in bytes: an image that is larger belongs in the blobs.
const LONGEST_LINE: usize = 64 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    rec: &'a RawValue,
    prev: Digest,
    sum: Digest,
}

/// What a journal was read back to.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    records: Vec<Record>,
    sums: Vec<Digest>,
    good: usize,
    torn: bool,
}

/// Why a journal can't be used. Lines are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A line that is not of the form that we write.
    #[error("line {line} of the journal is not a journal line: the file was damaged or edited")]
    Form {
        /// Its number.
        line: usize,
    },
    /// A line that does not follow the one before it.
    #[error("line {line} of the journal does not follow the line before: lines were lost or moved")]
    Chain {
        /// Its number.
        line: usize,
    },
    /// A line whose sum does not match its record.
    #[error("the sum on line {line} of the journal does not match its record: it was changed")]
    Sum {
        /// Its number.
        line: usize,
    },
    /// A record of a kind that this program doesn't know.
    #[error(
        "line {line} of the journal holds {is:?}, which this program doesn't know: \
             continue the run with the package that began it"
    )]
    Unknown {
        /// Its number.
        line: usize,
        /// What it calls itself.
        is: String,
    },
}

impl JournalError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Form { .. } | Self::Chain { .. } | Self::Sum { .. } | Self::Unknown { .. } => {
                ErrorClass::Permanent
            }
        }
    }
}

/// The line, with its end, that records `record` after `prev`, and the new head.
///
/// # Errors
/// When the record has no JSON form, which a [`Record`] always has.
pub fn write_line(prev: Digest, record: &Record) -> Result<(String, Digest), serde_json::Error> {
    let raw = serde_json::to_string(record)?;
    let sum = sum(prev, raw.as_bytes());
    Ok((format_line(&raw, prev, sum), sum))
}

impl Replay {
    /// A journal that holds nothing yet.
    pub fn empty() -> Self {
        Self { records: Vec::new(), sums: Vec::new(), good: 0, torn: false }
    }

    /// Reads a journal back, checking every line.
    ///
    /// # Errors
    /// Any [`JournalError`]. A torn tail is none: it is left out, and [`Replay::good_len`] says
    /// where the file must be cut before anything is appended.
    pub fn of(bytes: &[u8]) -> Result<Self, JournalError> {
        let mut replay = Self::empty();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            replay.take(&line[..end])?;
            replay.good += line.len();
            rest = after;
        }
        replay.torn = !rest.is_empty();
        Ok(replay)
    }

    fn take(&mut self, text: &[u8]) -> Result<(), JournalError> {
        let line = self.records.len() + 1;
        let form = || JournalError::Form { line };
        if text.len() > LONGEST_LINE {
            return Err(form());
        }
        let parts: Line<'_> = serde_json::from_slice(text).map_err(|_source| form())?;
        let raw = parts.rec.get();
        if parts.prev != self.head() {
            return Err(JournalError::Chain { line });
        }
        if parts.sum != sum(parts.prev, raw.as_bytes()) {
            return Err(JournalError::Sum { line });
        }
        // Only the very bytes that we would have written: no other spelling of the same line.
        let ours = format_line(raw, parts.prev, parts.sum);
        if ours.as_bytes().strip_suffix(b"\n") != Some(text) {
            return Err(form());
        }
        self.records.push(read_record(raw, line)?);
        self.sums.push(parts.sum);
        Ok(())
    }

    /// The records, in order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The sum of the last line; of an empty journal, the sum that the first line follows.
    pub fn head(&self) -> Digest {
        self.sums.last().copied().unwrap_or_else(genesis)
    }

    /// Whether some line of this journal has that sum.
    pub fn passed(&self, head: Digest) -> bool {
        head == genesis() || self.sums.contains(&head)
    }

    /// How many bytes hold whole lines: the file is cut to this before anything is appended.
    pub fn good_len(&self) -> usize {
        self.good
    }

    /// Whether a torn tail was left out.
    pub fn was_torn(&self) -> bool {
        self.torn
    }
}

fn read_record(raw: &str, line: usize) -> Result<Record, JournalError> {
    #[derive(Deserialize)]
    struct Stranger {
        at: handover_model::Timestamp,
        is: String,
        #[serde(default)]
        note: bool,
    }
    if let Ok(record) = serde_json::from_str(raw) {
        return Ok(record);
    }
    let stranger: Stranger =
        serde_json::from_str(raw).map_err(|_source| JournalError::Form { line })?;
    if stranger.note {
        Ok(Record { at: stranger.at, body: Body::Foreign })
    } else {
        Err(JournalError::Unknown { line, is: stranger.is })
    }
}

fn format_line(raw: &str, prev: Digest, sum: Digest) -> String {
    format!("{{\"rec\":{raw},\"prev\":\"{prev}\",\"sum\":\"{sum}\"}}\n")
}

fn sum(prev: Digest, raw: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(prev.as_bytes());
    hasher.update(raw);
    hasher.finish()
}

/// What the first line follows.
fn genesis() -> Digest {
    Digest::of(b"handover journal 1")
}
