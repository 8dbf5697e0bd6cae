//! Who belongs to a rollout, and what stands of each of them.

use handover_model::api::OrderState;
use handover_model::wire::Expect;
use handover_model::{OrderId, RolloutId, Timestamp, Version};

use super::RolloutKey;
use crate::touch::AgentKey;
use crate::value::json;
use crate::{Row, StoreError, Tx, params};

/// Members in one row.
const CHUNK: u32 = 5_000;

/// One member of a roster, at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RosterMember {
    /// The agent.
    pub agent: AgentKey,
    /// Its stratum.
    pub stratum: u16,
    /// Its site.
    pub site: u32,
}

/// The newest order of a member, for rebuilding what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberOrder {
    /// Its place in lists.
    pub key: i64,
    /// Its id.
    pub id: OrderId,
    /// The agent.
    pub agent: AgentKey,
    /// The member's place.
    pub position: u32,
    /// Counts that member's orders, from 1.
    pub attempt: u32,
    /// How far it is.
    pub state: OrderState,
    /// A stable code, where it did not go as ordered.
    pub code: Option<String>,
    /// The same, in words.
    pub outcome: Option<String>,
    /// When it was handed out first.
    pub handed_out_at: Option<Timestamp>,
    /// When the host acknowledged it first.
    pub accepted_at: Option<Timestamp>,
    /// Not to be activated before.
    pub activate_at: Option<Timestamp>,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// When it came to a final state.
    pub ended_at: Option<Timestamp>,
}

/// A host that went back by itself after it had proved the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decay {
    /// The member's place.
    pub position: u32,
    /// The agent.
    pub agent: AgentKey,
    /// When that was seen.
    pub at: Timestamp,
    /// A stable code.
    pub code: String,
    /// For people.
    pub words: Option<String>,
}

/// Adds members behind the `already` that there are.
///
/// # Errors
/// [`StoreError::Constraint`] when somebody else added some since.
pub fn append_members(
    tx: &mut Tx<'_>,
    rollout: RolloutKey,
    already: u32,
    members: &[RosterMember],
) -> Result<(), StoreError> {
    let (mut place, mut left) = (already, members);
    while !left.is_empty() {
        let (chunk, within) = (place / CHUNK, place % CHUNK);
        let room = usize::try_from(CHUNK - within).unwrap_or(usize::MAX).min(left.len());
        let (now, later) = left.split_at(room);
        let mut numbers = if within == 0 { Vec::new() } else { chunk_of(tx, rollout, chunk)? };
        let found = u32::try_from(numbers.len() / 3).unwrap_or(u32::MAX);
        if found != within {
            let id = format!("members of rollout {}", rollout.0);
            let (expected, found) = (already.into(), (chunk * CHUNK + found).into());
            return Err(StoreError::Stale { what: "roster", id, expected, found });
        }
        for member in now {
            numbers.extend([member.agent.0, member.stratum.into(), member.site.into()]);
        }
        tx.execute(
            "INSERT INTO rollout_members (rollout, chunk, members) VALUES ($1, $2, $3) \
             ON CONFLICT (rollout, chunk) DO UPDATE SET members = excluded.members",
            params![rollout.0, chunk, json(&numbers)],
        )?;
        place += u32::try_from(now.len()).unwrap_or(0);
        left = later;
    }
    Ok(())
}

/// The roster, in order, from the member at `from` on; at most one chunk of it, and nothing when
/// there are no more.
///
/// # Errors
/// [`StoreError`].
pub fn members(
    tx: &mut Tx<'_>,
    rollout: RolloutKey,
    from: u32,
) -> Result<Vec<RosterMember>, StoreError> {
    let numbers = chunk_of(tx, rollout, from / CHUNK)?;
    let skipped = usize::try_from(from % CHUNK).unwrap_or(usize::MAX);
    let member = |numbers: &[i64]| match numbers {
        [agent, stratum, site] => Some(RosterMember {
            agent: AgentKey(*agent),
            stratum: u16::try_from(*stratum).ok()?,
            site: u32::try_from(*site).ok()?,
        }),
        _ => None,
    };
    let found = numbers.chunks(3).skip(skipped).map(member).collect::<Option<Vec<_>>>();
    found.ok_or_else(|| StoreError::CorruptRow {
        sql: "SELECT members FROM rollout_members".to_owned(),
        column: 0,
        expected: "triples of numbers",
        found: format!("chunk {} of rollout {}", from / CHUNK, rollout.0),
    })
}

fn chunk_of(tx: &mut Tx<'_>, rollout: RolloutKey, chunk: u32) -> Result<Vec<i64>, StoreError> {
    let row = tx.query_opt(
        "SELECT members FROM rollout_members WHERE rollout = $1 AND chunk = $2",
        params![rollout.0, chunk],
    )?;
    row.map_or_else(|| Ok(Vec::new()), |row| row.json(0))
}

const ORDER: &str = "SELECT key, id, agent, position, attempt, state, code, outcome, accepted_at, \
    changed_at, ended_at, activate_at, handed_out_at FROM orders WHERE rollout = $1";

/// The orders of a rollout after (position, key), in that order: every attempt of a member, the
/// newest one last.
///
/// # Errors
/// [`StoreError`].
pub fn orders_of(
    tx: &mut Tx<'_>,
    rollout: RolloutKey,
    after: (i64, i64),
    limit: u32,
) -> Result<Vec<MemberOrder>, StoreError> {
    let sql = format!("{ORDER} AND (position, key) > ($2, $3) ORDER BY position, key LIMIT $4");
    let rows = tx.query(&sql, params![rollout.0, after.0, after.1, limit])?;
    rows.iter().map(read_order).collect()
}

/// A member's orders, oldest first; at most 100.
///
/// # Errors
/// [`StoreError`].
pub fn order_of_member(
    tx: &mut Tx<'_>,
    rollout: RolloutKey,
    position: u32,
) -> Result<Vec<MemberOrder>, StoreError> {
    let sql = format!("{ORDER} AND position = $2 ORDER BY position, key LIMIT 100");
    tx.query(&sql, params![rollout.0, position])?.iter().map(read_order).collect()
}

/// What an agent ran when a rollout's first order was made for it.
///
/// # Errors
/// [`StoreError`].
pub fn version_before(
    tx: &mut Tx<'_>,
    rollout: RolloutId,
    agent: AgentKey,
) -> Result<Option<Version>, StoreError> {
    let row = tx.query_opt(
        "SELECT expect FROM orders WHERE agent = $1 \
         AND rollout = (SELECT key FROM rollouts WHERE id = $2) ORDER BY key LIMIT 1",
        params![agent.0, rollout.to_string()],
    )?;
    let Some(row) = row else { return Ok(None) };
    Ok(row.json_opt::<Expect>(0)?.and_then(|expect| expect.current))
}

/// How many orders of a rollout are open; of agents with a label's value alone, if one is given.
/// Members in `but` do not count.
///
/// # Errors
/// [`StoreError`].
pub fn in_flight(
    tx: &mut Tx<'_>,
    rollout: RolloutKey,
    label: Option<(&str, &str)>,
    but: &[u32],
) -> Result<u32, StoreError> {
    let mut open =
        "SELECT count(*) FROM orders o WHERE o.rollout = $1 AND o.ended_at IS NULL".to_owned();
    if !but.is_empty() {
        let but: Vec<String> = but.iter().map(u32::to_string).collect();
        open = format!("{open} AND o.position NOT IN ({})", but.join(", "));
    }
    let row = match label {
        None => tx.query_one(&open, params![rollout.0])?,
        Some((label, value)) => tx.query_one(
            &format!(
                "{open} AND EXISTS (SELECT 1 FROM agent_labels l WHERE l.agent = o.agent \
                 AND l.label = $2 AND l.value = $3)"
            ),
            params![rollout.0, label, value],
        )?,
    };
    row.get(0)
}

/// The open orders of a rollout, oldest first; at most 100,000.
///
/// # Errors
/// [`StoreError`].
pub fn open_orders(tx: &mut Tx<'_>, rollout: RolloutKey) -> Result<Vec<OrderId>, StoreError> {
    let rows = tx.query(
        "SELECT id FROM orders WHERE rollout = $1 AND ended_at IS NULL ORDER BY key LIMIT 100000",
        params![rollout.0],
    )?;
    rows.iter().map(|row| row.parse(0)).collect()
}

/// Notes that a member went back by itself; whether that is new.
///
/// # Errors
/// [`StoreError`].
pub fn insert_decay(
    tx: &mut Tx<'_>,
    rollout: RolloutKey,
    decay: &Decay,
) -> Result<bool, StoreError> {
    let added = tx.execute(
        "INSERT INTO rollout_decays (rollout, position, agent, at, code, words) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (rollout, position) DO NOTHING",
        params![
            rollout.0,
            decay.position,
            decay.agent.0,
            decay.at,
            &decay.code,
            decay.words.as_ref()
        ],
    )?;
    Ok(added > 0)
}

/// Members of a rollout that went back by themselves, by place, after one; at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub fn decays(
    tx: &mut Tx<'_>,
    rollout: RolloutKey,
    after: Option<u32>,
    limit: u32,
) -> Result<Vec<Decay>, StoreError> {
    let after = after.map_or(-1, i64::from);
    let rows = tx.query(
        "SELECT position, agent, at, code, words FROM rollout_decays \
         WHERE rollout = $1 AND position > $2 ORDER BY position LIMIT $3",
        params![rollout.0, after, limit],
    )?;
    rows.iter()
        .map(|row| {
            Ok(Decay {
                position: row.get(0)?,
                agent: AgentKey(row.get(1)?),
                at: row.get(2)?,
                code: row.get(3)?,
                words: row.get(4)?,
            })
        })
        .collect()
}

fn read_order(row: &Row) -> Result<MemberOrder, StoreError> {
    Ok(MemberOrder {
        key: row.get(0)?,
        id: row.parse(1)?,
        agent: AgentKey(row.get(2)?),
        position: row.get(3)?,
        attempt: row.get(4)?,
        state: row.parse(5)?,
        code: row.get(6)?,
        outcome: row.get(7)?,
        accepted_at: row.get(8)?,
        changed_at: row.get(9)?,
        ended_at: row.get(10)?,
        activate_at: row.get(11)?,
        handed_out_at: row.get(12)?,
    })
}
