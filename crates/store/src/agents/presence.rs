//! Who was heard when, and what the server keeps of every agent in memory.

use handover_model::api::AgentState;
use handover_model::{AgentId, Digest, Millis, SessionId, Timestamp};

use super::state_of;
use crate::touch::AgentKey;
use crate::{StoreError, Tx, params};

/// What is kept of a living agent in memory, so that a check-in reads nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Resident {
    /// Its row.
    pub key: AgentKey,
    /// Its id.
    pub id: AgentId,
    /// How it stands.
    pub state: AgentState,
    /// SHA-256 of its bearer secret.
    pub secret: Digest,
    /// SHA-256 of the secret before, while that is valid.
    pub secret_before: Option<Digest>,
    /// Its machine.
    pub machine: Digest,
    /// The life of its process that was heard last.
    pub session: Option<SessionId>,
    /// The one before.
    pub session_before: Option<SessionId>,
    /// Its reports up to this number are kept.
    pub acknowledged: u64,
    /// The digest of its newest state report.
    pub state_digest: Option<Digest>,
    /// When it was heard last.
    pub last_seen: Timestamp,
    /// Whether an order for it is open.
    pub has_open_orders: bool,
}

/// Living agents with rows after `after`, in their order: all of them, page by page, at start.
///
/// # Errors
/// [`StoreError`].
pub fn residents(
    tx: &mut Tx<'_>,
    after: AgentKey,
    limit: u32,
) -> Result<Vec<Resident>, StoreError> {
    let rows = tx.query(
        "SELECT a.key, a.id, a.state, a.secret, a.secret_before, a.machine, a.session, \
         a.session_before, a.acknowledged, a.state_digest, p.last_seen, \
         (SELECT count(*) FROM orders o WHERE o.agent = a.key AND o.ended_at IS NULL) \
         FROM agents a JOIN presence p ON p.agent = a.key \
         WHERE a.key > $1 AND a.retired_at IS NULL ORDER BY a.key LIMIT $2",
        params![after.0, limit],
    )?;
    rows.iter()
        .map(|row| {
            Ok(Resident {
                key: AgentKey(row.get(0)?),
                id: row.parse(1)?,
                state: state_of(row, 2)?,
                secret: row.get(3)?,
                secret_before: row.get(4)?,
                machine: row.get(5)?,
                session: row.parse_opt(6)?,
                session_before: row.parse_opt(7)?,
                acknowledged: row.get(8)?,
                state_digest: row.get(9)?,
                last_seen: row.get(10)?,
                has_open_orders: row.get::<u64>(11)? > 0,
            })
        })
        .collect()
}

/// Agents with rows after `after` that were heard at `since` or later, and when. Walks through all
/// of them, page by page; a page shorter than `limit` is the last one.
///
/// # Errors
/// [`StoreError`].
pub fn heard_since(
    tx: &mut Tx<'_>,
    since: Timestamp,
    after: AgentKey,
    limit: u32,
) -> Result<Vec<(AgentKey, Timestamp)>, StoreError> {
    let rows = tx.query(
        "SELECT agent, last_seen FROM presence WHERE agent > $1 AND last_seen >= $2 \
         ORDER BY agent LIMIT $3",
        params![after.0, since, limit],
    )?;
    rows.iter().map(|row| Ok((AgentKey(row.get(0)?), row.get(1)?))).collect()
}

/// A living agent that was not heard for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silent {
    /// Its row.
    pub key: AgentKey,
    /// Its id.
    pub id: AgentId,
    /// How it stands until now.
    pub state: AgentState,
    /// When it was heard last.
    pub last_seen: Timestamp,
    /// Retired by itself after this long a silence.
    pub ephemeral_after: Option<Millis>,
}

/// Living agents with rows after `after` that were heard last before `since`. Walks through all of them, page by page; a page
/// shorter than `limit` is the last one.
///
/// # Errors
/// [`StoreError`].
pub fn silent_since(
    tx: &mut Tx<'_>,
    since: Timestamp,
    after: AgentKey,
    limit: u32,
) -> Result<Vec<Silent>, StoreError> {
    let rows = tx.query(
        "SELECT a.key, a.id, a.state, p.last_seen, a.ephemeral_ms FROM presence p \
         JOIN agents a ON a.key = p.agent \
         WHERE p.agent > $1 AND p.last_seen < $2 AND a.retired_at IS NULL \
         ORDER BY p.agent LIMIT $3",
        params![after.0, since, limit],
    )?;
    rows.iter()
        .map(|row| {
            Ok(Silent {
                key: AgentKey(row.get(0)?),
                id: row.parse(1)?,
                state: state_of(row, 2)?,
                last_seen: row.get(3)?,
                ephemeral_after: row.get::<Option<u64>>(4)?.map(Millis),
            })
        })
        .collect()
}
