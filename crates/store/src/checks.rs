//! The newest answer of each external check of a rollout.

use handover_model::api::{CheckAnswer, CheckVerdict, RolloutSpec, RolloutState};
use handover_model::{RolloutId, RolloutName, Timestamp};

use crate::{Row, StoreError, Tx, params};

/// What is known of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// The newest answer; `None` while none that could be taken has come.
    pub verdict: Option<CheckVerdict>,
    /// Why, as the answer said; without a verdict, why there is none.
    pub reason: Option<String>,
    /// As of when the answer holds.
    pub answered_at: Option<Timestamp>,
    /// When the server asked last; of an answer that came by itself, the time in its signature.
    pub asked_at: Option<Timestamp>,
}

/// A rollout, as far as its checks need it.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    key: i64,
    /// Its id.
    pub id: RolloutId,
    /// What was asked for.
    pub spec: RolloutSpec,
    /// How it stands.
    pub state: RolloutState,
}

const SELECT: &str = "SELECT key, id, spec, state FROM rollouts";

/// The answers to a rollout's checks, by name.
///
/// # Errors
/// [`StoreError`].
pub fn of(tx: &mut Tx<'_>, rollout: RolloutId) -> Result<Vec<Check>, StoreError> {
    let rows = tx.query(
        "SELECT name, verdict, reason, answered_at, asked_at FROM rollout_checks \
         WHERE rollout = (SELECT key FROM rollouts WHERE id = $1) ORDER BY name LIMIT 100",
        params![rollout.to_string()],
    )?;
    rows.iter().map(read).collect()
}

/// A rollout by its id.
///
/// # Errors
/// [`StoreError`].
pub fn by_id(tx: &mut Tx<'_>, id: RolloutId) -> Result<Option<Checked>, StoreError> {
    let row = tx.query_opt(&format!("{SELECT} WHERE id = $1"), params![id.to_string()])?;
    row.as_ref().map(checked).transpose()
}

/// The newest rollout of that name.
///
/// # Errors
/// [`StoreError`].
pub fn by_name(tx: &mut Tx<'_>, name: &RolloutName) -> Result<Option<Checked>, StoreError> {
    let row = tx.query_opt(
        &format!("{SELECT} WHERE name = $1 ORDER BY key DESC LIMIT 1"),
        params![name.as_str()],
    )?;
    row.as_ref().map(checked).transpose()
}

/// Rollouts that are not over and have checks, after a key, at most `limit`; with the key to go
/// on from.
///
/// # Errors
/// [`StoreError`].
pub fn live(tx: &mut Tx<'_>, after: i64, limit: u32) -> Result<(Vec<Checked>, i64), StoreError> {
    let rows = tx.query(
        &format!(
            "{SELECT} WHERE key > $1 AND ended_at IS NULL AND spec LIKE '%\"checks\":[%' \
             ORDER BY key LIMIT $2"
        ),
        params![after, limit],
    )?;
    let found = rows.iter().map(checked).collect::<Result<Vec<_>, _>>()?;
    let last = found.last().map_or(after, |rollout| rollout.key);
    Ok((found, last))
}

/// Stores an answer; returns what was known before.
///
/// # Errors
/// [`StoreError`].
pub fn answer(
    tx: &mut Tx<'_>,
    rollout: &Checked,
    name: &str,
    answer: &CheckAnswer,
    (answered_at, asked_at): (Timestamp, Timestamp),
) -> Result<Option<Check>, StoreError> {
    let before = one(tx, rollout, name)?;
    let check = Check {
        name: name.to_owned(),
        verdict: Some(answer.verdict),
        reason: answer.reason.clone(),
        answered_at: Some(answered_at),
        asked_at: Some(asked_at),
    };
    save(tx, rollout, &check)?;
    Ok(before)
}

/// Stores that asking came to nothing. An answer that was `fresh` until now stays.
///
/// # Errors
/// [`StoreError`].
pub fn unanswered(
    tx: &mut Tx<'_>,
    rollout: &Checked,
    name: &str,
    why: &str,
    (now, fresh): (Timestamp, std::time::Duration),
) -> Result<(), StoreError> {
    let before = one(tx, rollout, name)?;
    let kept = before
        .filter(|check| check.answered_at.is_some_and(|answered| now < answered.after(fresh)));
    let check = match kept {
        Some(check) => Check { asked_at: Some(now), ..check },
        None => Check {
            name: name.to_owned(),
            verdict: None,
            reason: Some(why.to_owned()),
            answered_at: None,
            asked_at: Some(now),
        },
    };
    save(tx, rollout, &check)
}

/// What is known of one check.
///
/// # Errors
/// [`StoreError`].
pub fn one(tx: &mut Tx<'_>, rollout: &Checked, name: &str) -> Result<Option<Check>, StoreError> {
    let row = tx.query_opt(
        "SELECT name, verdict, reason, answered_at, asked_at FROM rollout_checks \
         WHERE rollout = $1 AND name = $2",
        params![rollout.key, name],
    )?;
    row.as_ref().map(read).transpose()
}

fn save(tx: &mut Tx<'_>, rollout: &Checked, check: &Check) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO rollout_checks \
         (rollout, name, verdict, reason, answered_at, asked_at, generation) \
         VALUES ($1, $2, $3, $4, $5, $6, 1) ON CONFLICT (rollout, name) DO UPDATE SET \
         verdict = excluded.verdict, reason = excluded.reason, \
         answered_at = excluded.answered_at, asked_at = excluded.asked_at, \
         generation = rollout_checks.generation + 1",
        params![
            rollout.key,
            &check.name,
            check.verdict.as_ref().map(crate::value::json),
            check.reason.as_ref(),
            check.answered_at,
            check.asked_at
        ],
    )?;
    Ok(())
}

fn read(row: &Row) -> Result<Check, StoreError> {
    Ok(Check {
        name: row.get(0)?,
        verdict: row.json_opt(1)?,
        reason: row.get(2)?,
        answered_at: row.get(3)?,
        asked_at: row.get(4)?,
    })
}

fn checked(row: &Row) -> Result<Checked, StoreError> {
    Ok(Checked { key: row.get(0)?, id: row.parse(1)?, spec: row.json(2)?, state: row.parse(3)? })
}
