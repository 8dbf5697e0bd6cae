//! How hosts stand, from their newest state reports.

use std::collections::BTreeMap;

use handover_model::api::{
    AgentState, ComponentSummary, Inventory, InventoryComponent, InventoryVersion,
};
use handover_model::wire::HostState;
use handover_model::{ComponentName, Digest, Timestamp, Version};

use super::state_of;
use crate::touch::AgentKey;
use crate::value::json;
use crate::{StoreError, Tx, params};

/// Stores how a host stands by report `number`, which the host wrote `at`. The report's own bytes
/// go to [`crate::reports::keep`].
///
/// # Errors
/// [`StoreError::Absent`] when there is no such agent.
pub fn put_state(
    tx: &mut Tx<'_>,
    key: AgentKey,
    number: u64,
    digest: &Digest,
    state: &HostState,
    at: Timestamp,
) -> Result<(), StoreError> {
    let components: Vec<ComponentSummary> = state.components.iter().map(summary).collect();
    let row = tx.query_opt(
        "UPDATE agents SET platform = $2, agent_version = $3, facts = $4, boot = $5, \
         components = $6, state_digest = $7, state_number = $8, reported_at = $9 \
         WHERE key = $1 RETURNING name",
        params![
            key.0,
            state.platform.as_str(),
            state.agent_version.to_string(),
            json(&state.facts),
            &state.boot,
            json(&components),
            digest,
            number,
            at
        ],
    )?;
    let absent = || StoreError::Absent { what: "agent", id: key.0.to_string() };
    let name: String = row.ok_or_else(absent)?.get(0)?;
    tx.execute("DELETE FROM agent_components WHERE agent = $1", params![key.0])?;
    tx.execute("DELETE FROM agent_quarantine WHERE agent = $1", params![key.0])?;
    for one in &components {
        tx.execute(
            "INSERT INTO agent_components (agent, component, version, is_proved, trial, name) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (agent, component) DO NOTHING",
            params![
                key.0,
                one.component.as_str(),
                one.current.as_ref().map(Version::to_string),
                one.proved,
                one.trial.as_ref().map(Version::to_string),
                &name
            ],
        )?;
    }
    for one in &state.components {
        for bad in &one.quarantine {
            tx.execute(
                "INSERT INTO agent_quarantine (agent, component, version) VALUES ($1, $2, $3) \
                 ON CONFLICT (agent, component, version) DO NOTHING",
                params![key.0, one.component.as_str(), bad.release.version.to_string()],
            )?;
        }
    }
    Ok(())
}

/// The committed version of a component on an agent, as reported last.
///
/// # Errors
/// [`StoreError`].
pub fn component_version(
    tx: &mut Tx<'_>,
    key: AgentKey,
    component: &ComponentName,
) -> Result<Option<Version>, StoreError> {
    let row = tx.query_opt(
        "SELECT version FROM agent_components WHERE agent = $1 AND component = $2",
        params![key.0, component.as_str()],
    )?;
    row.map_or(Ok(None), |row| row.parse_opt(0))
}

/// How many agents stand how.
///
/// # Errors
/// [`StoreError`].
pub fn count_by_state(tx: &mut Tx<'_>) -> Result<BTreeMap<AgentState, u32>, StoreError> {
    let rows = tx.query("SELECT state, count(*) FROM agents GROUP BY state", &[])?;
    rows.iter().map(|row| Ok((state_of(row, 0)?, row.get(1)?))).collect()
}

/// Which versions run where, over all agents that are not retired, as of `now`.
///
/// # Errors
/// [`StoreError`].
pub fn inventory(tx: &mut Tx<'_>, now: Timestamp) -> Result<Inventory, StoreError> {
    let counts = tx.query_one(
        "SELECT count(*), count(*) - count(state_digest) FROM agents WHERE retired_at IS NULL",
        &[],
    )?;
    let mut found: BTreeMap<ComponentName, BTreeMap<Option<Version>, InventoryVersion>> =
        BTreeMap::new();
    let mut add = |component, version: Option<Version>, count: &dyn Fn(&mut InventoryVersion)| {
        let empty = InventoryVersion {
            version: version.clone(),
            agents: 0,
            proved: 0,
            on_trial: 0,
            quarantined: 0,
        };
        count(found.entry(component).or_default().entry(version).or_insert(empty));
    };
    let committed = "SELECT c.component, c.version, c.is_proved, count(*) FROM agent_components c \
        GROUP BY c.component, c.version, c.is_proved";
    for row in tx.query(committed, &[])? {
        let (is_proved, count): (bool, u32) = (row.get(2)?, row.get(3)?);
        add(row.parse(0)?, row.parse_opt(1)?, &|version| {
            version.agents += count;
            version.proved += if is_proved { count } else { 0 };
        });
    }
    let trials = "SELECT component, trial, count(*) FROM agent_components \
        WHERE trial IS NOT NULL GROUP BY component, trial";
    for row in tx.query(trials, &[])? {
        let count: u32 = row.get(2)?;
        add(row.parse(0)?, row.parse_opt(1)?, &|version| version.on_trial += count);
    }
    let quarantined = "SELECT component, version, count(*) FROM agent_quarantine \
        GROUP BY component, version";
    for row in tx.query(quarantined, &[])? {
        let count: u32 = row.get(2)?;
        add(row.parse(0)?, row.parse_opt(1)?, &|version| version.quarantined += count);
    }
    let components = found.into_iter().map(|(component, versions)| InventoryComponent {
        component,
        versions: versions.into_values().rev().collect(),
    });
    let components = components.collect();
    Ok(Inventory { at: now, agents: counts.get(0)?, unreported: counts.get(1)?, components })
}

fn summary(state: &handover_model::wire::ComponentState) -> ComponentSummary {
    let current = state.current.as_ref();
    let is_proved = |proof: &handover_model::wire::Proof| {
        proof.proved && current.is_some_and(|current| proof.release == *current)
    };
    ComponentSummary {
        component: state.component.clone(),
        current: current.map(|release| release.version.clone()),
        proved: state.proof.as_ref().is_some_and(is_proved),
        trial: state.trial.as_ref().map(|release| release.version.clone()),
        outlook: state.outlook.as_ref().map(|outlook| outlook.code.clone()),
    }
}
