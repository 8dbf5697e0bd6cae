//! The fleet-wide stop: while it stands, no update is handed out for the first time.

use handover_model::api::StopInfo;
use handover_model::{AgentId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::schema::Dialect;
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

/// The stop that stands, if one does, for the transaction that would hand out an update: whoever
/// changes it waits until that transaction is over, or that one is tried again.
///
/// # Errors
/// [`StoreError`].
pub fn stop_held(tx: &mut Tx<'_>) -> Result<Option<Stop>, StoreError> {
    match tx.dialect() {
        // There is one writer.
        Dialect::Sqlite => {}
        Dialect::Postgres => {
            let held = "SELECT generation FROM settings WHERE key = $1 FOR SHARE";
            if tx.query_opt(held, params![KEY])?.is_none() {
                // What is not there can't be held, so it is put there, as if nobody had said it.
                let at = Timestamp::from_micros(0);
                let said = Said { stopped: false, by: String::new(), at, reason: None };
                tx.execute(
                    "INSERT INTO settings (key, value, generation, changed_at) \
                     VALUES ($1, $2, 0, $3) ON CONFLICT (key) DO NOTHING",
                    params![KEY, crate::value::json(&said), at],
                )?;
            }
        }
    }
    stop(tx)
}

/// The stop that stands, if one does.
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
    let said = said.filter(|(_, generation)| *generation > 0);
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
