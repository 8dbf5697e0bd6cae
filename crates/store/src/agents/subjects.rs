//! What selections ask of agents, page by page over the whole fleet.

use handover_model::api::{AgentState, ComponentSummary};
use handover_model::{AgentId, AgentName, Labels, Platform, Timestamp, Version};

use super::state_of;
use crate::touch::AgentKey;
use crate::{Row, StoreError, Tx, params};

/// A living agent, as selections see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// Its row.
    pub key: AgentKey,
    /// Its id.
    pub id: AgentId,
    /// Its name.
    pub name: AgentName,
    /// How it stands.
    pub state: AgentState,
    /// Its platform.
    pub platform: Platform,
    /// The version of the agent itself.
    pub agent_version: Version,
    /// What people and its token say of it.
    pub labels: Labels,
    /// What it says of itself.
    pub facts: Labels,
    /// Its components, as reported last.
    pub components: Vec<ComponentSummary>,
    /// When it was heard last; `None`: never since it enrolled.
    pub last_seen: Option<Timestamp>,
}

const SELECT: &str = "SELECT a.key, a.id, a.name, a.state, a.platform, a.agent_version, a.labels, \
    a.facts, a.components, (SELECT p.last_seen FROM presence p WHERE p.agent = a.key \
    AND p.last_seen > 0) FROM agents a";

/// Living agents with rows after `after`, in their order: all of them, page by page.
///
/// # Errors
/// [`StoreError`].
pub fn subjects(tx: &mut Tx<'_>, after: AgentKey, limit: u32) -> Result<Vec<Subject>, StoreError> {
    let sql = format!("{SELECT} WHERE a.key > $1 AND a.retired_at IS NULL ORDER BY a.key LIMIT $2");
    tx.query(&sql, params![after.0, limit])?.iter().map(read).collect()
}

/// One living agent.
///
/// # Errors
/// [`StoreError`].
pub fn subject(tx: &mut Tx<'_>, id: AgentId) -> Result<Option<Subject>, StoreError> {
    let sql = format!("{SELECT} WHERE a.id = $1 AND a.retired_at IS NULL");
    tx.query_opt(&sql, params![id.to_string()])?.as_ref().map(read).transpose()
}

/// Living agents of these rows; at most 1,000.
///
/// # Errors
/// [`StoreError`].
pub fn subjects_of(tx: &mut Tx<'_>, keys: &[AgentKey]) -> Result<Vec<Subject>, StoreError> {
    let sql = format!("{SELECT} WHERE a.key = $1 AND a.retired_at IS NULL");
    let mut found = Vec::with_capacity(keys.len());
    for key in keys.iter().take(1_000) {
        if let Some(row) = tx.query_opt(&sql, params![key.0])? {
            found.push(read(&row)?);
        }
    }
    Ok(found)
}

fn read(row: &Row) -> Result<Subject, StoreError> {
    Ok(Subject {
        key: AgentKey(row.get(0)?),
        id: row.parse(1)?,
        name: row.parse(2)?,
        state: state_of(row, 3)?,
        platform: row.parse(4)?,
        agent_version: row.parse(5)?,
        labels: row.json(6)?,
        facts: row.json(7)?,
        components: row.json(8)?,
        last_seen: row.get(9)?,
    })
}
