//! The audit trail: who changed what, each row chained to the one before, so that a row that was
//! changed, taken away or put in later shows; and checkpoints, which live outside the database, so
//! that its owner can't rewrite all of it unseen.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Digest, Hasher, Timestamp};

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditRow {
    /// Its number, counting up without gaps from 1.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who: `token_… (name)`, `agent_…`, `server`.
    pub who: String,
    /// What: `order.create`, `agent.labels`, ….
    pub what: String,
    /// To what: an id.
    pub subject: String,
    /// What was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub before: Option<Value>,
    /// What is there since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub after: Option<Value>,
    /// The hash of the row before; of nothing, for the first.
    pub prev: Digest,
    /// [`AuditRow::chained`].
    pub hash: Digest,
}

/// The chain's head at some time, signed by the server's checkpoint key and kept outside the
/// database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Checkpoint {
    /// Always [`Checkpoint::TYPE`].
    #[serde(rename = "_type")]
    pub type_: String,
    /// When it was made.
    pub at: Timestamp,
    /// The life of the database.
    pub epoch: u64,
    /// The last row that it covers.
    pub seq: u64,
    /// That row's hash.
    pub hash: Digest,
}

impl Checkpoint {
    /// The value of `_type`.
    pub const TYPE: &'static str = "handover-audit-checkpoint";
}

/// Where a trail does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditBreak {
    /// A number is missing or comes twice.
    #[error("row {found} follows where row {wanted} should be: rows were taken away or put in")]
    Gap {
        /// The number that should come.
        wanted: u64,
        /// The one that comes.
        found: u64,
    },
    /// It does not name the row before.
    #[error("row {seq} does not follow from row {}: one of them was changed", .seq.saturating_sub(1))]
    Unchained {
        /// The row.
        seq: u64,
    },
    /// Its hash is not that of its content.
    #[error("row {seq} is not what was written: its content does not have its hash")]
    Changed {
        /// The row.
        seq: u64,
    },
    /// A checkpoint saw another row.
    #[error(
        "row {seq} is not the one that the checkpoint of {at} saw: the trail was rewritten after \
         it was made"
    )]
    Rewritten {
        /// The row.
        seq: u64,
        /// The checkpoint's time.
        at: Timestamp,
    },
    /// A checkpoint saw more than there is.
    #[error("the checkpoint of {at} saw row {seq}, and the trail ends with row {last}")]
    CutOff {
        /// The last row that it saw.
        seq: u64,
        /// The checkpoint's time.
        at: Timestamp,
        /// The last row that there is.
        last: u64,
    },
}

impl AuditRow {
    /// What the first row names as the one before.
    pub fn beginning() -> Digest {
        Digest::of(b"")
    }

    /// The row's hash: SHA-256 over the hash of the row before and every field, each with its
    /// length before it.
    pub fn chained(&self) -> Digest {
        let mut hasher = Hasher::default();
        let mut field = |bytes: &[u8]| {
            hasher.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(bytes);
        };
        field(self.prev.as_bytes());
        field(&self.seq.to_be_bytes());
        field(&self.at.as_micros().to_be_bytes());
        field(self.who.as_bytes());
        field(self.what.as_bytes());
        field(self.subject.as_bytes());
        field(canonical(self.before.as_ref()).as_bytes());
        field(canonical(self.after.as_ref()).as_bytes());
        hasher.finish()
    }

    /// The same row, numbered and chained after one that had `prev`.
    #[must_use]
    pub fn after_row(mut self, seq: u64, prev: Digest) -> Self {
        (self.seq, self.prev) = (seq, prev);
        self.hash = self.chained();
        self
    }
}

/// Proves a whole trail, from its first row on, against its checkpoints, whose signatures the
/// caller has checked. Returns the number and hash of the last row.
///
/// # Errors
/// The first [`AuditBreak`].
pub fn verify_audit<'a>(
    rows: impl IntoIterator<Item = &'a AuditRow>,
    checkpoints: &[Checkpoint],
) -> Result<(u64, Digest), AuditBreak> {
    let (mut last, mut prev) = (0, AuditRow::beginning());
    for row in rows {
        let wanted = last + 1;
        if row.seq != wanted {
            return Err(AuditBreak::Gap { wanted, found: row.seq });
        }
        if row.prev != prev {
            return Err(AuditBreak::Unchained { seq: row.seq });
        }
        if row.chained() != row.hash {
            return Err(AuditBreak::Changed { seq: row.seq });
        }
        let seen = checkpoints.iter().find(|seen| seen.seq == row.seq && seen.hash != row.hash);
        if let Some(seen) = seen {
            return Err(AuditBreak::Rewritten { seq: row.seq, at: seen.at });
        }
        (last, prev) = (row.seq, row.hash);
    }
    match checkpoints.iter().find(|seen| seen.seq > last) {
        Some(seen) => Err(AuditBreak::CutOff { seq: seen.seq, at: seen.at, last }),
        None => Ok((last, prev)),
    }
}

/// JSON with sorted keys and nothing between, whatever order the parser keeps.
fn canonical(value: Option<&Value>) -> String {
    let mut text = String::new();
    if let Some(value) = value {
        write_canonical(value, &mut text);
    }
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<_> = fields.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (place, (key, field)) in keys.into_iter().enumerate() {
                text.push_str(if place == 0 { "" } else { "," });
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write_canonical(field, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                text.push_str(if place == 0 { "" } else { "," });
                write_canonical(item, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn trail() -> Vec<AuditRow> {
        let mut prev = AuditRow::beginning();
        (1..=5)
            .map(|seq| {
                let row = AuditRow {
                    seq: 0,
                    at: Timestamp::from_micros(1_700_000_000_000_000),
                    who: "token_1 (ops)".to_owned(),
                    what: "agent.labels".to_owned(),
                    subject: format!("agent_{seq}"),
                    before: None,
                    after: Some(json!({"b": [seq, null], "a": "ä\n"})),
                    prev,
                    hash: prev,
                }
                .after_row(seq, prev);
                prev = row.hash;
                row
            })
            .collect()
    }

    fn checkpoint(row: &AuditRow) -> Checkpoint {
        let type_ = Checkpoint::TYPE.to_owned();
        Checkpoint { type_, at: row.at, epoch: 1, seq: row.seq, hash: row.hash }
    }

    #[test]
    fn a_trail_that_nobody_touched_holds_after_a_trip_as_json() {
        let json = serde_json::to_string(&trail()).expect("rows are JSON");
        let rows: Vec<AuditRow> = serde_json::from_str(&json).expect("and back");
        let seen = [checkpoint(&rows[2])];
        assert_eq!(verify_audit(&rows, &seen), Ok((5, rows[4].hash)));
    }

    #[test]
    fn a_changed_row_shows_even_when_its_own_hash_was_mended() {
        let mut rows = trail();
        rows[1].who = "token_2".to_owned();
        assert_eq!(verify_audit(&rows, &[]), Err(AuditBreak::Changed { seq: 2 }));
        rows[1].hash = rows[1].chained();
        assert_eq!(verify_audit(&rows, &[]), Err(AuditBreak::Unchained { seq: 3 }));
    }

    #[test]
    fn a_row_that_was_taken_away_shows() {
        let mut rows = trail();
        rows.remove(2);
        assert_eq!(verify_audit(&rows, &[]), Err(AuditBreak::Gap { wanted: 3, found: 4 }));
    }

    #[test]
    fn a_trail_that_was_rewritten_or_cut_shows_by_its_checkpoints() {
        let rows = trail();
        let seen = [checkpoint(&rows[4])];
        assert!(matches!(verify_audit(&rows[..4], &seen), Err(AuditBreak::CutOff { .. })));
        let mut prev = AuditRow::beginning();
        let mut forged = rows;
        for row in &mut forged {
            row.who = "nobody".to_owned();
            *row = row.clone().after_row(row.seq, prev);
            prev = row.hash;
        }
        assert!(matches!(verify_audit(&forged, &seen), Err(AuditBreak::Rewritten { seq: 5, .. })));
        assert!(verify_audit(&forged, &[]).is_ok(), "the chain alone can't know");
    }
}
