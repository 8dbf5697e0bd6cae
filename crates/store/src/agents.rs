//! Agents: who they are, how they stand, and lists of them.

mod list;
mod presence;
mod state;
mod subjects;

use handover_model::api::{AgentState, ComponentSummary};
use handover_model::{
    AgentId, AgentName, Digest, Labels, Millis, Platform, SessionId, Timestamp, TokenId, Version,
};
use serde_json::Value as Json;

pub use list::{Filter, list, list_fitting};
pub use presence::{Resident, Silent, heard_since, residents, silent_since};
pub use state::{component_version, count_by_state, inventory, put_state};
pub use subjects::{Subject, subject, subjects, subjects_of};

use crate::touch::AgentKey;
use crate::value::json;
use crate::{Row, StoreError, Tx, params};

/// An agent as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// Its row, for check-ins.
    pub key: AgentKey,
    /// Its id.
    pub id: AgentId,
    /// Its name, unique among those that are not retired.
    pub name: AgentName,
    /// How it stands.
    pub state: AgentState,
    /// Why, where that needs words.
    pub note: Option<String>,
    /// The public half of its report key, as in key files.
    pub public_key: Json,
    /// SHA-256 of the public key, as the server computes it: a returning host is known by it.
    pub key_digest: Digest,
    /// SHA-256 of its bearer secret.
    pub secret: Digest,
    /// SHA-256 of the secret before, valid until the new one is used.
    pub secret_before: Option<Digest>,
    /// Its machine.
    pub machine: Digest,
    /// The life of its process that was heard last.
    pub session: Option<SessionId>,
    /// The one before.
    pub session_before: Option<SessionId>,
    /// Its platform.
    pub platform: Platform,
    /// The version of the agent itself.
    pub agent_version: Version,
    /// What people and its token say of it.
    pub labels: Labels,
    /// What it says of itself.
    pub facts: Labels,
    /// The kernel's boot id of the newest state report.
    pub boot: Option<String>,
    /// Its components, as reported last.
    pub components: Vec<ComponentSummary>,
    /// Retired by itself after this long a silence.
    pub ephemeral_after: Option<Millis>,
    /// The token that it enrolled with.
    pub token: Option<TokenId>,
    /// The number of its last order.
    pub sequence: u64,
    /// Its reports up to this number are kept.
    pub acknowledged: u64,
    /// The digest of its newest state report.
    pub state_digest: Option<Digest>,
    /// The number of its newest state report.
    pub state_number: Option<u64>,
    /// When the host wrote that, by its own clock.
    pub reported_at: Option<Timestamp>,
    /// Counts changes by people and of its standing; the `ETag` is made of it.
    pub generation: u64,
    /// When it enrolled.
    pub enrolled_at: Timestamp,
    /// When its row changed last, check-ins apart.
    pub changed_at: Timestamp,
    /// When it was retired.
    pub retired_at: Option<Timestamp>,
    /// When it was heard last; `None`: never since it enrolled.
    pub last_seen: Option<Timestamp>,
    /// How many orders for it are open.
    pub open_orders: u32,
}

/// An agent that enrols.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAgent {
    /// Its id, minted by the server.
    pub id: AgentId,
    /// Its name.
    pub name: AgentName,
    /// As [`Agent::public_key`].
    pub public_key: Json,
    /// As [`Agent::key_digest`].
    pub key_digest: Digest,
    /// As [`Agent::secret`].
    pub secret: Digest,
    /// Its machine.
    pub machine: Digest,
    /// The life of its process.
    pub session: SessionId,
    /// Its platform.
    pub platform: Platform,
    /// The version of the agent itself.
    pub agent_version: Version,
    /// The labels that its token bound.
    pub labels: Labels,
    /// As [`Agent::ephemeral_after`].
    pub ephemeral_after: Option<Millis>,
    /// The token.
    pub token: Option<TokenId>,
}

const COLUMNS: &str = "a.key, a.id, a.name, a.state, a.note, a.public_key, a.key_digest, \
    a.secret, a.secret_before, a.machine, a.session, a.session_before, a.platform, \
    a.agent_version, a.labels, a.facts, a.boot, a.components, a.ephemeral_ms, a.token, \
    a.sequence, a.acknowledged, a.state_digest, a.state_number, a.reported_at, a.generation, \
    a.created_at, a.changed_at, a.retired_at, \
    (SELECT p.last_seen FROM presence p WHERE p.agent = a.key AND p.last_seen > 0), \
    (SELECT count(*) FROM orders o WHERE o.agent = a.key AND o.ended_at IS NULL)";

/// Enrols an agent at `now`.
///
/// # Errors
/// [`StoreError::Constraint`] when a living agent has its name.
pub fn insert(tx: &mut Tx<'_>, new: &NewAgent, now: Timestamp) -> Result<AgentKey, StoreError> {
    let row = tx.query_one(
        "INSERT INTO agents (id, name, state, public_key, key_digest, secret, machine, session, \
         platform, agent_version, labels, facts, components, ephemeral_ms, token, sequence, \
         acknowledged, generation, created_at, changed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '{}', '[]', $12, $13, 0, 0, 1, \
         $14, $14) RETURNING key",
        params![
            new.id.to_string(),
            new.name.as_str(),
            state_name(AgentState::Present),
            new.public_key.to_string(),
            &new.key_digest,
            &new.secret,
            &new.machine,
            new.session.to_string(),
            new.platform.as_str(),
            new.agent_version.to_string(),
            json(&new.labels),
            new.ephemeral_after.map(|after| after.0),
            new.token.map(|id| id.to_string()),
            now
        ],
    )?;
    let key = AgentKey(row.get(0)?);
    tx.execute("INSERT INTO presence (agent, last_seen) VALUES ($1, $2)", params![key.0, now])?;
    write_labels(tx, key, new.name.as_str(), &new.labels)?;
    Ok(key)
}

/// One agent by its id.
///
/// # Errors
/// [`StoreError`].
pub fn get(tx: &mut Tx<'_>, id: AgentId) -> Result<Option<Agent>, StoreError> {
    one(tx, "a.id = $1", params![id.to_string()])
}

/// One agent by its row.
///
/// # Errors
/// [`StoreError`].
pub fn by_key(tx: &mut Tx<'_>, key: AgentKey) -> Result<Option<Agent>, StoreError> {
    one(tx, "a.key = $1", params![key.0])
}

/// The agent of that name that is not retired.
///
/// # Errors
/// [`StoreError`].
pub fn by_name(tx: &mut Tx<'_>, name: &AgentName) -> Result<Option<Agent>, StoreError> {
    one(tx, "a.name = $1 AND a.retired_at IS NULL", params![name.as_str()])
}

/// The newest agent with that public key, retired or not: a host that comes back.
///
/// # Errors
/// [`StoreError`].
pub fn by_public_key(tx: &mut Tx<'_>, digest: &Digest) -> Result<Option<Agent>, StoreError> {
    one(tx, "a.key_digest = $1 ORDER BY a.key DESC LIMIT 1", params![digest])
}

/// Stores what may change of an agent, unless somebody else changed it since it was read, and
/// counts its generation up. What check-ins and reports change ([`Agent::last_seen`],
/// [`Agent::components`], …) is not written here.
///
/// # Errors
/// [`StoreError::Stale`] when somebody did; [`StoreError::Constraint`] when its name is taken.
pub fn save(tx: &mut Tx<'_>, agent: &Agent, now: Timestamp) -> Result<u64, StoreError> {
    let found = tx.query_opt(
        "SELECT generation, labels, name FROM agents WHERE key = $1",
        params![agent.key.0],
    )?;
    let absent = || StoreError::Absent { what: "agent", id: agent.id.to_string() };
    let row = found.ok_or_else(absent)?;
    let generation: u64 = row.get(0)?;
    if generation != agent.generation {
        return Err(StoreError::Stale {
            what: "agent",
            id: agent.id.to_string(),
            expected: agent.generation,
            found: generation,
        });
    }
    tx.execute(
        "UPDATE agents SET name = $2, state = $3, note = $4, public_key = $5, key_digest = $6, \
         secret = $7, secret_before = $8, machine = $9, session = $10, session_before = $11, \
         platform = $12, agent_version = $13, labels = $14, ephemeral_ms = $15, token = $16, \
         generation = $17, changed_at = $18, retired_at = $19 WHERE key = $1",
        params![
            agent.key.0,
            agent.name.as_str(),
            state_name(agent.state),
            agent.note.as_ref(),
            agent.public_key.to_string(),
            &agent.key_digest,
            &agent.secret,
            agent.secret_before.as_ref(),
            &agent.machine,
            agent.session.map(|id| id.to_string()),
            agent.session_before.map(|id| id.to_string()),
            agent.platform.as_str(),
            agent.agent_version.to_string(),
            json(&agent.labels),
            agent.ephemeral_after.map(|after| after.0),
            agent.token.map(|id| id.to_string()),
            generation + 1,
            now,
            agent.retired_at
        ],
    )?;
    let is_renamed = row.get::<String>(2)? != agent.name.as_str();
    if is_renamed || row.json::<Labels>(1)? != agent.labels {
        write_labels(tx, agent.key, agent.name.as_str(), &agent.labels)?;
    }
    if is_renamed {
        tx.execute(
            "UPDATE agent_components SET name = $2 WHERE agent = $1",
            params![agent.key.0, agent.name.as_str()],
        )?;
    }
    Ok(generation + 1)
}

/// Replaces the secret: the one until now stays valid until [`forget_secret_before`].
///
/// # Errors
/// [`StoreError`].
pub fn renew_secret(tx: &mut Tx<'_>, key: AgentKey, secret: &Digest) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE agents SET secret_before = secret, secret = $2 WHERE key = $1",
        params![key.0, secret],
    )?;
    Ok(())
}

/// The new secret was used: the one before is void.
///
/// # Errors
/// [`StoreError`].
pub fn forget_secret_before(tx: &mut Tx<'_>, key: AgentKey) -> Result<(), StoreError> {
    tx.execute("UPDATE agents SET secret_before = NULL WHERE key = $1", params![key.0])?;
    Ok(())
}

/// Another life of the agent's process was heard.
///
/// # Errors
/// [`StoreError`].
pub fn set_session(
    tx: &mut Tx<'_>,
    key: AgentKey,
    session: SessionId,
    machine: &Digest,
    agent_version: &Version,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE agents SET session_before = session, session = $2, machine = $3, \
         agent_version = $4 WHERE key = $1",
        params![key.0, session.to_string(), machine, agent_version.to_string()],
    )?;
    Ok(())
}

/// Changes how an agent stands, whatever its generation, and why.
///
/// # Errors
/// [`StoreError`].
pub fn set_standing(
    tx: &mut Tx<'_>,
    key: AgentKey,
    state: AgentState,
    note: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let retired_at = (state == AgentState::Retired).then_some(now);
    tx.execute(
        "UPDATE agents SET state = $2, note = $3, changed_at = $4, retired_at = $5, \
         generation = generation + 1 WHERE key = $1",
        params![key.0, state_name(state), note, now, retired_at],
    )?;
    Ok(())
}

/// Draws the number of the agent's next order.
///
/// # Errors
/// [`StoreError::Absent`] when there is no such agent.
pub fn next_sequence(tx: &mut Tx<'_>, key: AgentKey) -> Result<u64, StoreError> {
    let row = tx.query_opt(
        "UPDATE agents SET sequence = sequence + 1 WHERE key = $1 RETURNING sequence",
        params![key.0],
    )?;
    row.ok_or(StoreError::Absent { what: "agent", id: key.0.to_string() })?.get(0)
}

/// The agent's reports up to `number` are kept; never goes back.
///
/// # Errors
/// [`StoreError`].
pub fn acknowledge(tx: &mut Tx<'_>, key: AgentKey, number: u64) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE agents SET acknowledged = $2 WHERE key = $1 AND acknowledged < $2",
        params![key.0, number],
    )?;
    Ok(())
}

fn one(
    tx: &mut Tx<'_>,
    condition: &str,
    values: &[crate::Value<'_>],
) -> Result<Option<Agent>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM agents a WHERE {condition}");
    tx.query_opt(&sql, values)?.as_ref().map(read).transpose()
}

fn write_labels(
    tx: &mut Tx<'_>,
    key: AgentKey,
    name: &str,
    labels: &Labels,
) -> Result<(), StoreError> {
    tx.execute("DELETE FROM agent_labels WHERE agent = $1", params![key.0])?;
    for (label, value) in labels {
        tx.execute(
            "INSERT INTO agent_labels (agent, label, value, name) VALUES ($1, $2, $3, $4)",
            params![key.0, label, value, name],
        )?;
    }
    Ok(())
}

/// The state's name, as in documents.
pub(crate) fn state_name(state: AgentState) -> &'static str {
    match state {
        AgentState::Present => "present",
        AgentState::Away => "away",
        AgentState::Cloned => "cloned",
        AgentState::Retired => "retired",
    }
}

/// The state of that name.
pub(crate) fn state_of(row: &Row, column: usize) -> Result<AgentState, StoreError> {
    let name: String = row.get(column)?;
    [AgentState::Present, AgentState::Away, AgentState::Cloned, AgentState::Retired]
        .into_iter()
        .find(|state| state_name(*state) == name)
        .ok_or_else(|| row.corrupt(column, "a state of agents"))
}

fn read(row: &Row) -> Result<Agent, StoreError> {
    Ok(Agent {
        key: AgentKey(row.get(0)?),
        id: row.parse(1)?,
        name: row.parse(2)?,
        state: state_of(row, 3)?,
        note: row.get(4)?,
        public_key: row.json(5)?,
        key_digest: row.get(6)?,
        secret: row.get(7)?,
        secret_before: row.get(8)?,
        machine: row.get(9)?,
        session: row.parse_opt(10)?,
        session_before: row.parse_opt(11)?,
        platform: row.parse(12)?,
        agent_version: row.parse(13)?,
        labels: row.json(14)?,
        facts: row.json(15)?,
        boot: row.get(16)?,
        components: row.json(17)?,
        ephemeral_after: row.get::<Option<u64>>(18)?.map(Millis),
        token: row.parse_opt(19)?,
        sequence: row.get(20)?,
        acknowledged: row.get(21)?,
        state_digest: row.get(22)?,
        state_number: row.get(23)?,
        reported_at: row.get(24)?,
        generation: row.get(25)?,
        enrolled_at: row.get(26)?,
        changed_at: row.get(27)?,
        retired_at: row.get(28)?,
        last_seen: row.get(29)?,
        open_orders: row.get(30)?,
    })
}
