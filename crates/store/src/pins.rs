//! The control plane's pins: what an agent may run of a component, beside the host's own.

use handover_model::{ComponentName, OrderId, Pin, Timestamp};

use crate::touch::AgentKey;
use crate::value::json;
use crate::{Row, StoreError, Tx, params};

/// A pin as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPin {
    /// The component.
    pub component: ComponentName,
    /// What it may run; `None` while a pin that was taken away may still be on the host.
    pub pin: Option<Pin>,
    /// Why.
    pub reason: Option<String>,
    /// Who set it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// The order that tells the host.
    pub order: Option<OrderId>,
    /// Whether the host has it like this.
    pub in_force: bool,
    /// Counts changes; 0 in one that is new.
    pub generation: u64,
}

/// An agent's pins, by component.
///
/// # Errors
/// [`StoreError`].
pub fn of_agent(tx: &mut Tx<'_>, agent: AgentKey) -> Result<Vec<StoredPin>, StoreError> {
    let rows = tx.query(
        "SELECT component, pin, reason, changed_by, changed_at, order_id, in_force, generation \
         FROM pins WHERE agent = $1 ORDER BY component",
        params![agent.0],
    )?;
    rows.iter().map(read).collect()
}

/// One pin.
///
/// # Errors
/// [`StoreError`].
pub fn get(
    tx: &mut Tx<'_>,
    agent: AgentKey,
    component: &ComponentName,
) -> Result<Option<StoredPin>, StoreError> {
    let row = tx.query_opt(
        "SELECT component, pin, reason, changed_by, changed_at, order_id, in_force, generation \
         FROM pins WHERE agent = $1 AND component = $2",
        params![agent.0, component.as_str()],
    )?;
    row.as_ref().map(read).transpose()
}

/// Stores a pin if its generation is still what was read (0: there was none); returns the new
/// one.
///
/// # Errors
/// [`StoreError::Stale`] when somebody else was faster.
pub fn save(tx: &mut Tx<'_>, agent: AgentKey, pin: &StoredPin) -> Result<u64, StoreError> {
    let found = get(tx, agent, &pin.component)?.map_or(0, |found| found.generation);
    if found != pin.generation {
        let (id, expected) = (pin.component.to_string(), pin.generation);
        return Err(StoreError::Stale { what: "pin", id, expected, found });
    }
    tx.execute(
        "INSERT INTO pins (agent, component, pin, reason, changed_by, changed_at, order_id, \
         in_force, generation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         ON CONFLICT (agent, component) DO UPDATE SET pin = excluded.pin, \
         reason = excluded.reason, changed_by = excluded.changed_by, \
         changed_at = excluded.changed_at, order_id = excluded.order_id, \
         in_force = excluded.in_force, generation = excluded.generation",
        params![
            agent.0,
            pin.component.as_str(),
            pin.pin.as_ref().map(json),
            pin.reason.as_ref(),
            &pin.by,
            pin.at,
            pin.order.map(|id| id.to_string()),
            pin.in_force,
            found + 1
        ],
    )?;
    Ok(found + 1)
}

/// Notes whether the host has a pin as it is stored. That is no change of the pin: its generation
/// stays.
///
/// # Errors
/// [`StoreError`].
pub fn set_in_force(
    tx: &mut Tx<'_>,
    agent: AgentKey,
    component: &ComponentName,
    in_force: bool,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE pins SET in_force = $3 WHERE agent = $1 AND component = $2",
        params![agent.0, component.as_str(), in_force],
    )?;
    Ok(())
}

/// Forgets a pin that is neither wanted nor on the host any more.
///
/// # Errors
/// [`StoreError`].
pub fn remove(
    tx: &mut Tx<'_>,
    agent: AgentKey,
    component: &ComponentName,
) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM pins WHERE agent = $1 AND component = $2",
        params![agent.0, component.as_str()],
    )?;
    Ok(())
}

fn read(row: &Row) -> Result<StoredPin, StoreError> {
    Ok(StoredPin {
        component: row.parse(0)?,
        pin: row.json_opt(1)?,
        reason: row.get(2)?,
        by: row.get(3)?,
        at: row.get(4)?,
        order: row.parse_opt(5)?,
        in_force: row.get(6)?,
        generation: row.get(7)?,
    })
}
