//! The fleet-wide stop: while it stands, no update is handed out for the first time.

use handover_model::api::StopInfo;
use handover_model::{AgentId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{StoreError, Tx, params, settings};

/// The setting's name.
const KEY: &str = "fleet.stop";

/// A stop that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Who stopped the fleet.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Option<String>,
}

/// What was said last, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    stopped: bool,
    by: String,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The stop that stands, if one does: for the transaction that would hand out an update.
///
/// # Errors
/// [`StoreError`].
pub fn stop(tx: &mut Tx<'_>) -> Result<Option<Stop>, StoreError> {
    let said: Option<(Said, u64)> = settings::get(tx, KEY)?;
    Ok(said.filter(|(said, _)| said.stopped).map(|(said, _)| Stop {
        by: said.by,
        at: said.at,
        reason: said.reason,
    }))
}

/// What was said last, and by whom; generation 0 when nobody ever said anything.
///
/// # Errors
/// [`StoreError`].
pub fn info(tx: &mut Tx<'_>) -> Result<StopInfo, StoreError> {
    let said: Option<(Said, u64)> = settings::get(tx, KEY)?;
    Ok(said.map_or_else(
        || StopInfo { stopped: false, by: None, at: None, reason: None, generation: 0 },
        |(said, generation)| StopInfo {
            stopped: said.stopped,
            by: Some(said.by),
            at: Some(said.at),
            reason: said.reason,
            generation,
        },
    ))
}

/// Stops the fleet, or lets it go on, if the generation is still `seen`.
///
/// # Errors
/// [`StoreError::Stale`] when somebody else was faster.
pub fn set_stop(
    tx: &mut Tx<'_>,
    stopped: bool,
    stop: &Stop,
    seen: u64,
) -> Result<StopInfo, StoreError> {
    let Stop { by, at, reason } = stop.clone();
    let said = Said { stopped, by, at, reason };
    settings::set(tx, KEY, &said, seen, stop.at)?;
    info(tx)
}

/// Orders that nobody has come for, after a key, at most `limit`: each one's key and agent.
///
/// # Errors
/// [`StoreError`].
pub fn waiting(tx: &mut Tx<'_>, after: i64, limit: u32) -> Result<Vec<(i64, AgentId)>, StoreError> {
    let rows = tx.query(
        "SELECT o.key, a.id FROM orders o JOIN agents a ON a.key = o.agent \
         WHERE o.state = 'pending' AND o.key > $1 ORDER BY o.key LIMIT $2",
        params![after, limit],
    )?;
    rows.iter().map(|row| Ok((row.get(0)?, row.parse(1)?))).collect()
}
