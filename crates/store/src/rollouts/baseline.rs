//! How updates went lately: what a rollout's failures are compared with.

use handover_model::api::OrderState;

use crate::{StoreError, Tx, params};

/// Updates that ended alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub state: OrderState,
    /// The stable code, where it did not go as ordered.
    pub code: Option<String>,
    /// How many.
    pub count: u32,
}

/// The last `limit` updates that hosts had begun and that ended, counted by how.
///
/// # Errors
/// [`StoreError`].
pub fn ended_updates(tx: &mut Tx<'_>, limit: u32) -> Result<Vec<Ended>, StoreError> {
    // Documents of ours are written with their tag first.
    let rows = tx.query(
        "SELECT state, code, count(*) FROM (SELECT state, code FROM orders \
         WHERE ended_at IS NOT NULL AND state IN ('done', 'failed', 'reverted') \
         AND action LIKE '{\"do\":\"update\"%' ORDER BY ended_at DESC LIMIT $1) AS latest \
         GROUP BY state, code",
        params![limit],
    )?;
    rows.iter()
        .map(|row| Ok(Ended { state: row.parse(0)?, code: row.get(1)?, count: row.get(2)? }))
        .collect()
}
