//! Rollouts: what was asked for, the plan that was drawn of it, how far it is, and its members.
//!
//! Invariant: how far a rollout is stands in one row, which changes by compare and swap. Whoever
//! hands out an order of it reads that row in the transaction of the order.

mod baseline;
mod members;

use handover_model::api::{Counts, Page, RolloutKind, RolloutSpec, RolloutState};
use handover_model::{ComponentName, RolloutId, RolloutName, Timestamp};

pub use baseline::{Ended, ended_updates};
pub use members::{
    Decay, MemberOrder, RosterMember, append_members, decays, in_flight, insert_decay, members,
    open_orders, order_of_member, orders_of, version_before,
};

use crate::page::{number, page, rows_for};
use crate::schema::Dialect;
use crate::value::json;
use crate::{Row, StoreError, Tx, Value, params};

/// A rollout's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RolloutKey(pub(crate) i64);

impl RolloutKey {
    /// As it stands in the database.
    pub fn as_i64(self) -> i64 {
        self.0
    }

    /// One that was taken out of the database before.
    pub fn from_i64(key: i64) -> Self {
        Self(key)
    }
}

/// A rollout as it is stored. Read, changed by a pure function, and [`save`]d.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// Its row.
    pub key: RolloutKey,
    /// Its id.
    pub id: RolloutId,
    /// Its name, unique among those that are not over.
    pub name: RolloutName,
    /// Which way it goes.
    pub kind: RolloutKind,
    /// What was asked for.
    pub spec: RolloutSpec,
    /// How it stands.
    pub state: RolloutState,
    /// How many members, along the roster, may get their order.
    pub released: u32,
    /// How many members there are.
    pub members: u32,
    /// The plan, JSON; `None` before it was drawn.
    pub plan: Option<String>,
    /// The controller's record, JSON.
    pub progress: String,
    /// What members say, counted: a copy for lists; orders are the source.
    pub counts: Counts,
    /// The rollout that takes it back.
    pub reverted_by: Option<RolloutId>,
    /// The rollout that took its place.
    pub superseded_by: Option<RolloutId>,
    /// Who made it.
    pub by: String,
    /// When.
    pub created_at: Timestamp,
    /// Not before.
    pub start_at: Option<Timestamp>,
    /// When its first wave began.
    pub started_at: Option<Timestamp>,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// Until when the release's health goes on being watched.
    pub watch_until: Option<Timestamp>,
    /// Counts changes.
    pub generation: u64,
}

/// A rollout that somebody makes.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRollout {
    /// Its id, minted by the server.
    pub id: RolloutId,
    /// Which way it goes.
    pub kind: RolloutKind,
    /// What is asked for; its name and component too.
    pub spec: RolloutSpec,
    /// The controller's first record, JSON.
    pub progress: String,
    /// Who makes it.
    pub by: String,
}

/// What a hand-out has to know of a rollout, read in its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// How it stands.
    pub state: RolloutState,
    /// How many members, along the roster, may get their order.
    pub released: u32,
    /// What was asked for, JSON.
    pub spec: String,
    /// Counts changes.
    pub generation: u64,
    /// Members left out, ascending.
    pub left_out: Vec<u32>,
}

/// The part of a controller's record that a hand-out looks at.
#[derive(serde::Deserialize)]
struct LeftOut {
    #[serde(default)]
    left_out: Vec<u32>,
}

/// Which rollouts. All that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In one state.
    pub state: Option<RolloutState>,
    /// About one component.
    pub component: Option<ComponentName>,
    /// Only those that are not over.
    pub is_open: bool,
}

const SELECT: &str = "SELECT key, id, name, kind, spec, state, released, members, plan, progress, \
    counts, reverted_by, superseded_by, created_by, created_at, start_at, started_at, changed_at, \
    ended_at, watch_until, generation FROM rollouts";

/// Writes down a rollout, as `scheduled`.
///
/// # Errors
/// [`StoreError::Constraint`] when one that is not over has its name.
pub fn insert(tx: &mut Tx<'_>, new: &NewRollout, now: Timestamp) -> Result<RolloutKey, StoreError> {
    let (of, wave) = match &new.kind {
        RolloutKind::Update => (None, None),
        RolloutKind::Revert { of, wave } => (Some(of.to_string()), *wave),
    };
    let row = tx.query_one(
        "INSERT INTO rollouts (id, name, kind, component, spec, state, priority, released, \
         members, progress, counts, of_rollout, of_wave, created_by, created_at, start_at, \
         changed_at, generation) \
         VALUES ($1, $2, $3, $4, $5, 'scheduled', $6, 0, 0, $7, $8, $9, $10, $11, $12, $13, $12, \
         1) RETURNING key",
        params![
            new.id.to_string(),
            new.spec.name.as_str(),
            json(&new.kind),
            new.spec.component.as_str(),
            json(&new.spec),
            u32::from(new.spec.priority),
            &new.progress,
            json(&Counts::default()),
            of,
            wave,
            &new.by,
            now,
            new.spec.start_at
        ],
    )?;
    Ok(RolloutKey(row.get(0)?))
}

/// One rollout by its id.
///
/// # Errors
/// [`StoreError`].
pub fn get(tx: &mut Tx<'_>, id: RolloutId) -> Result<Option<Rollout>, StoreError> {
    one(tx, "id = $1", params![id.to_string()])
}

/// One rollout by its row.
///
/// # Errors
/// [`StoreError`].
pub fn by_key(tx: &mut Tx<'_>, key: RolloutKey) -> Result<Option<Rollout>, StoreError> {
    one(tx, "key = $1", params![key.0])
}

/// The newest rollout of that name: the one that is not over, if there is one.
///
/// # Errors
/// [`StoreError`].
pub fn by_name(tx: &mut Tx<'_>, name: &RolloutName) -> Result<Option<Rollout>, StoreError> {
    one(tx, "name = $1 ORDER BY key DESC LIMIT 1", params![name.as_str()])
}

/// Rollouts that are not over, or whose release is still watched, oldest first; at most 1,000.
///
/// # Errors
/// [`StoreError`].
pub fn live(tx: &mut Tx<'_>) -> Result<Vec<Rollout>, StoreError> {
    let sql = format!(
        "{SELECT} WHERE (ended_at IS NULL OR watch_until IS NOT NULL OR state = 'reverting') \
         ORDER BY key LIMIT 1000"
    );
    tx.query(&sql, &[])?.iter().map(read).collect()
}

/// How a rollout stands.
///
/// # Errors
/// [`StoreError`].
pub fn standing(tx: &mut Tx<'_>, key: RolloutKey) -> Result<Option<Standing>, StoreError> {
    stands(tx, key, STANDING)
}

/// How a rollout stands, for one who hands out: whoever changes that waits until this transaction
/// is over, or this one is tried again. So no order is made after a pause that was answered.
///
/// # Errors
/// [`StoreError`].
pub fn standing_held(tx: &mut Tx<'_>, key: RolloutKey) -> Result<Option<Standing>, StoreError> {
    match tx.dialect() {
        // There is one writer.
        Dialect::Sqlite => stands(tx, key, STANDING),
        Dialect::Postgres => stands(tx, key, STANDING_HELD),
    }
}

const STANDING: &str =
    "SELECT state, released, spec, generation, progress FROM rollouts WHERE key = $1";
const STANDING_HELD: &str =
    "SELECT state, released, spec, generation, progress FROM rollouts WHERE key = $1 FOR SHARE";

fn stands(
    tx: &mut Tx<'_>,
    key: RolloutKey,
    sql: &'static str,
) -> Result<Option<Standing>, StoreError> {
    let row = tx.query_opt(sql, params![key.0])?;
    row.map(|row| {
        Ok(Standing {
            state: row.parse(0)?,
            released: row.get(1)?,
            spec: row.get(2)?,
            generation: row.get(3)?,
            left_out: row.json::<LeftOut>(4)?.left_out,
        })
    })
    .transpose()
}

/// A page of rollouts, newest first, before a place.
///
/// # Errors
/// [`StoreError::Cursor`] for a place that is none.
pub fn list(
    tx: &mut Tx<'_>,
    filter: &Filter,
    before: Option<&str>,
    limit: u32,
) -> Result<Page<Rollout>, StoreError> {
    let mut values: Vec<Value<'_>> = vec![number(before, i64::MAX)?.into(), rows_for(limit).into()];
    let mut sql = format!("{SELECT} WHERE key < $1");
    for (condition, value) in [
        (" AND state = ", filter.state.map(|state| state.name().to_owned())),
        (" AND component = ", filter.component.as_ref().map(ToString::to_string)),
    ] {
        if let Some(value) = value {
            values.push(value.into());
            sql.push_str(condition);
            sql.push('$');
            sql.push_str(&values.len().to_string());
        }
    }
    if filter.is_open {
        sql.push_str(" AND ended_at IS NULL");
    }
    sql.push_str(" ORDER BY key DESC LIMIT $2");
    let rows = tx.query(&sql, &values)?;
    let items = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(page(items, limit, |rollout| rollout.key.0.to_string()))
}

/// Stores what may change of a rollout, unless somebody else changed it since it was read.
/// Returns the new generation.
///
/// # Errors
/// [`StoreError::Stale`] when somebody did.
pub fn save(tx: &mut Tx<'_>, rollout: &Rollout, now: Timestamp) -> Result<u64, StoreError> {
    let row =
        tx.query_opt("SELECT generation FROM rollouts WHERE key = $1", params![rollout.key.0])?;
    let absent = || StoreError::Absent { what: "rollout", id: rollout.id.to_string() };
    let found: u64 = row.ok_or_else(absent)?.get(0)?;
    if found != rollout.generation {
        let id = rollout.id.to_string();
        let expected = rollout.generation;
        return Err(StoreError::Stale { what: "rollout", id, expected, found });
    }
    tx.execute(
        "UPDATE rollouts SET spec = $2, state = $3, priority = $4, released = $5, members = $6, \
         plan = $7, progress = $8, counts = $9, reverted_by = $10, superseded_by = $11, \
         start_at = $12, started_at = $13, changed_at = $14, ended_at = $15, watch_until = $16, \
         generation = $17 WHERE key = $1",
        params![
            rollout.key.0,
            json(&rollout.spec),
            rollout.state.name(),
            u32::from(rollout.spec.priority),
            rollout.released,
            rollout.members,
            rollout.plan.as_ref(),
            &rollout.progress,
            json(&rollout.counts),
            rollout.reverted_by.map(|id| id.to_string()),
            rollout.superseded_by.map(|id| id.to_string()),
            rollout.start_at,
            rollout.started_at,
            now,
            rollout.ended_at,
            rollout.watch_until,
            found + 1
        ],
    )?;
    Ok(found + 1)
}

/// How many rollouts are in which state.
///
/// # Errors
/// [`StoreError`].
pub fn count_by_state(tx: &mut Tx<'_>) -> Result<Vec<(RolloutState, u32)>, StoreError> {
    let rows = tx.query("SELECT state, count(*) FROM rollouts GROUP BY state", &[])?;
    rows.iter().map(|row| Ok((row.parse(0)?, row.get(1)?))).collect()
}

/// Pauses every rollout that runs, after a restore: what happened since the backup is not known
/// here, so that a person looks first. The controller's record says so too.
pub(crate) fn pause_all(tx: &mut Tx<'_>, now: Timestamp) -> Result<u64, StoreError> {
    let sql = format!("{SELECT} WHERE state = 'running' ORDER BY key LIMIT 1000");
    let running: Vec<Rollout> = tx.query(&sql, &[])?.iter().map(read).collect::<Result<_, _>>()?;
    for mut row in running.iter().cloned() {
        let record = serde_json::from_str(&row.progress).unwrap_or_default();
        if let serde_json::Value::Object(mut record) = record {
            record.insert("state".to_owned(), "paused".into());
            let by = serde_json::json!({
                "by": "server", "at": now, "reason": "restored from a backup",
            });
            record.insert("paused".to_owned(), by);
            row.progress = serde_json::Value::Object(record).to_string();
        }
        row.state = RolloutState::Paused;
        save(tx, &row, now)?;
    }
    Ok(u64::try_from(running.len()).unwrap_or(u64::MAX))
}

fn one(
    tx: &mut Tx<'_>,
    condition: &str,
    values: &[Value<'_>],
) -> Result<Option<Rollout>, StoreError> {
    tx.query_opt(&format!("{SELECT} WHERE {condition}"), values)?.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<Rollout, StoreError> {
    Ok(Rollout {
        key: RolloutKey(row.get(0)?),
        id: row.parse(1)?,
        name: row.parse(2)?,
        kind: row.json(3)?,
        spec: row.json(4)?,
        state: row.parse(5)?,
        released: row.get(6)?,
        members: row.get(7)?,
        plan: row.get(8)?,
        progress: row.get(9)?,
        counts: row.json(10)?,
        reverted_by: row.parse_opt(11)?,
        superseded_by: row.parse_opt(12)?,
        by: row.get(13)?,
        created_at: row.get(14)?,
        start_at: row.get(15)?,
        started_at: row.get(16)?,
        changed_at: row.get(17)?,
        ended_at: row.get(18)?,
        watch_until: row.get(19)?,
        generation: row.get(20)?,
    })
}
