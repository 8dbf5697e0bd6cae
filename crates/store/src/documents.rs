//! Numbered documents, each signed by its predecessor's key: order keys, channel authorities.

use handover_model::Timestamp;
use handover_model::wire::SignedDoc;

use crate::{Row, StoreError, Tx, params};

/// What kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The keys that orders are signed with.
    OrderKeys,
    /// The channel's certificate authorities.
    ChannelCa,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::OrderKeys => "order_keys",
            Self::ChannelCa => "channel_ca",
        }
    }
}

/// Stores document `number`, which must be the one after the newest, from 1.
///
/// # Errors
/// [`StoreError::Stale`] when it is not.
pub fn append(
    tx: &mut Tx<'_>,
    kind: Kind,
    number: u64,
    document: &SignedDoc,
    now: Timestamp,
) -> Result<(), StoreError> {
    let newest = newest(tx, kind)?.map_or(0, |(number, _)| number);
    if number != newest + 1 {
        return Err(StoreError::Stale {
            what: "document",
            id: kind.name().to_owned(),
            expected: number.saturating_sub(1),
            found: newest,
        });
    }
    tx.execute(
        "INSERT INTO documents (kind, number, document, created_at) VALUES ($1, $2, $3, $4)",
        params![kind.name(), number, crate::value::json(document), now],
    )?;
    Ok(())
}

/// The newest document and its number.
///
/// # Errors
/// [`StoreError`].
pub fn newest(tx: &mut Tx<'_>, kind: Kind) -> Result<Option<(u64, SignedDoc)>, StoreError> {
    let row = tx.query_opt(
        "SELECT number, document FROM documents WHERE kind = $1 ORDER BY number DESC LIMIT 1",
        params![kind.name()],
    )?;
    row.as_ref().map(read).transpose()
}

/// Documents after number `after`, oldest first; at most 1,000.
///
/// # Errors
/// [`StoreError`].
pub fn after(tx: &mut Tx<'_>, kind: Kind, after: u64) -> Result<Vec<(u64, SignedDoc)>, StoreError> {
    let rows = tx.query(
        "SELECT number, document FROM documents WHERE kind = $1 AND number > $2 \
         ORDER BY number LIMIT 1000",
        params![kind.name(), after],
    )?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<(u64, SignedDoc), StoreError> {
    Ok((row.get(0)?, row.json(1)?))
}
