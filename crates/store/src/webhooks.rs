//! Webhooks, and what is to be delivered to them: rows in the transaction of what they tell of,
//! sent afterwards, at least once (STYLE section 10).
//!
//! Invariant: a delivery's id follows from its webhook and its event, so that every attempt, and
//! every run of a retried transaction, has the same.

use handover_model::api::{DeliveryInfo, WebhookInfo};
use handover_model::{DeliveryId, Digest, IdGen, Timestamp, WebhookId};
use serde_json::json;

use crate::events::NewEvent;
use crate::{Row, StoreError, Tx, params};

/// The most webhooks that there may be: each event of theirs writes a row for each.
pub const MOST: usize = 32;
/// Deliveries of one webhook that wait at most; the oldest give way.
pub const MOST_WAITING: u32 = 10_000;
/// Deliveries of one webhook that are kept for looking at after they were taken or given up.
pub const KEPT: u32 = 100;
/// How many deliveries a webhook's particulars show.
const SHOWN: u32 = 10;

/// What the kinds of events begin with that webhooks can be told of.
pub const KINDS: [&str; 2] = ["rollout.", "fleet."];

/// The database's key of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebhookKey(i64);

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Where to.
    pub url: String,
    /// Kinds of events, or what they begin with; empty: all that begin with `rollout.`.
    pub kinds: Vec<String>,
    /// What it is for.
    pub note: Option<String>,
    /// Who made it.
    pub by: String,
    /// When.
    pub created_at: Timestamp,
}

/// A delivery that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The database's key.
    key: i64,
    /// Its id, the same on every attempt.
    pub id: DeliveryId,
    /// The kind of the event.
    pub kind: String,
    /// When the event was.
    pub at: Timestamp,
    /// The body, byte for byte.
    pub body: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempted {
    /// It was taken.
    Delivered,
    /// It was not, and is tried again.
    Again {
        /// When.
        at: Timestamp,
        /// Why it was not.
        error: String,
    },
    /// It was not, and is not tried again.
    GivenUp {
        /// Why it was not.
        error: String,
    },
}

impl Webhook {
    /// Whether it is to be told of events of that kind. Of single hosts, of which a rollout may
    /// have a hundred thousand, it is told only where the kind is named whole.
    pub fn wants(&self, kind: &str, is_of_host: bool) -> bool {
        let begins = |wanted: &str| wanted.ends_with('.') && kind.starts_with(wanted);
        let fits = |wanted: &str| kind == wanted || (!is_of_host && begins(wanted));
        if self.kinds.is_empty() {
            return fits(KINDS[0]);
        }
        self.kinds.iter().any(|wanted| fits(wanted))
    }
}

/// Stores a new webhook; `false` when there are [`MOST`] already.
///
/// # Errors
/// [`StoreError`].
pub fn insert(tx: &mut Tx<'_>, webhook: &Webhook) -> Result<bool, StoreError> {
    if living(tx)?.len() >= MOST {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO webhooks (id, url, kinds, note, created_by, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
        params![
            webhook.id.to_string(),
            &webhook.url,
            crate::value::json(&webhook.kinds),
            webhook.note.as_ref(),
            &webhook.by,
            webhook.created_at
        ],
    )?;
    Ok(true)
}

/// Every webhook that was not removed, oldest first; at most [`MOST`].
///
/// # Errors
/// [`StoreError`].
pub fn living(tx: &mut Tx<'_>) -> Result<Vec<(WebhookKey, Webhook)>, StoreError> {
    let rows = tx.query(
        "SELECT key, id, url, kinds, note, created_by, created_at FROM webhooks \
         WHERE removed_at IS NULL ORDER BY key LIMIT $1",
        params![MOST],
    )?;
    rows.iter().map(read).collect()
}

/// One webhook that was not removed.
///
/// # Errors
/// [`StoreError`].
pub fn get(tx: &mut Tx<'_>, id: WebhookId) -> Result<Option<(WebhookKey, Webhook)>, StoreError> {
    Ok(living(tx)?.into_iter().find(|(_, webhook)| webhook.id == id))
}

/// Removes a webhook, and what waits for it; `false` when it is not there.
///
/// # Errors
/// [`StoreError`].
pub fn remove(tx: &mut Tx<'_>, id: WebhookId, now: Timestamp) -> Result<bool, StoreError> {
    let Some((key, _)) = get(tx, id)? else { return Ok(false) };
    tx.execute("UPDATE webhooks SET removed_at = $2 WHERE key = $1", params![key.0, now])?;
    tx.execute("DELETE FROM deliveries WHERE webhook = $1", params![key.0])?;
    Ok(true)
}

/// A webhook with its newest deliveries.
///
/// # Errors
/// [`StoreError`].
pub fn info(tx: &mut Tx<'_>, key: WebhookKey, webhook: Webhook) -> Result<WebhookInfo, StoreError> {
    let waiting = tx
        .query_one(
            "SELECT count(*) FROM deliveries WHERE webhook = $1 AND next_at IS NOT NULL",
            params![key.0],
        )?
        .get(0)?;
    let rows = tx.query(
        "SELECT id, kind, at, attempts, delivered_at, next_at, error FROM deliveries \
         WHERE webhook = $1 ORDER BY key DESC LIMIT $2",
        params![key.0, SHOWN],
    )?;
    let shown = |row: &Row| {
        Ok(DeliveryInfo {
            id: row.parse(0)?,
            kind: row.get(1)?,
            at: row.get(2)?,
            attempts: row.get(3)?,
            delivered_at: row.get(4)?,
            next_at: row.get(5)?,
            error: row.get(6)?,
        })
    };
    Ok(WebhookInfo {
        id: webhook.id,
        url: webhook.url,
        kinds: webhook.kinds,
        note: webhook.note,
        by: webhook.by,
        created_at: webhook.created_at,
        waiting,
        deliveries: rows.iter().map(shown).collect::<Result<_, StoreError>>()?,
    })
}

/// Whether webhooks can be told of events of that kind.
pub(crate) fn is_told(kind: &str) -> bool {
    KINDS.iter().any(|told| kind.starts_with(told))
}

/// Writes an event's deliveries; `event_key` is the event's own.
pub(crate) fn tell(tx: &mut Tx<'_>, event: &NewEvent, event_key: i64) -> Result<(), StoreError> {
    for (key, webhook) in living(tx)? {
        if !webhook.wants(event.kind, event.agent.is_some()) {
            continue;
        }
        let id = delivery_id(webhook.id, event_key, event.at);
        let mut body = json!({
            "id": id, "webhook": webhook.id, "kind": event.kind, "at": event.at,
            "data": event.data,
        });
        let about = [("rollout", json!(event.rollout)), ("agent", json!(event.agent))];
        if let Some(body) = body.as_object_mut() {
            let known = about.into_iter().filter(|(_, id)| !id.is_null());
            body.extend(known.map(|(name, id)| (name.to_owned(), id)));
        }
        tx.execute(
            "INSERT INTO deliveries (id, webhook, kind, at, body, attempts, next_at) \
             VALUES ($1, $2, $3, $4, $5, 0, $4)",
            params![id.to_string(), key.0, event.kind, event.at, body.to_string()],
        )?;
    }
    Ok(())
}

/// When the next delivery is due, if one waits.
///
/// # Errors
/// [`StoreError`].
pub fn next_due(tx: &mut Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    tx.query_one("SELECT min(next_at) FROM deliveries WHERE next_at IS NOT NULL", &[])?.get(0)
}

/// Deliveries of a webhook that are due at `now`, oldest first.
///
/// # Errors
/// [`StoreError`].
pub fn due(
    tx: &mut Tx<'_>,
    webhook: WebhookKey,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Due>, StoreError> {
    let rows = tx.query(
        "SELECT key, id, kind, at, body, attempts FROM deliveries \
         WHERE webhook = $1 AND next_at <= $2 ORDER BY key LIMIT $3",
        params![webhook.0, now, limit],
    )?;
    let due = |row: &Row| {
        Ok(Due {
            key: row.get(0)?,
            id: row.parse(1)?,
            kind: row.get(2)?,
            at: row.get(3)?,
            body: row.get(4)?,
            attempts: row.get(5)?,
        })
    };
    rows.iter().map(due).collect()
}

/// Writes what an attempt came to. A delivery that was removed meanwhile stays so.
///
/// # Errors
/// [`StoreError`].
pub fn attempted(
    tx: &mut Tx<'_>,
    due: &Due,
    came_to: &Attempted,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (delivered_at, next_at, error) = match came_to {
        Attempted::Delivered => (Some(now), None, None),
        Attempted::Again { at, error } => (None, Some(*at), Some(error)),
        Attempted::GivenUp { error } => (None, None, Some(error)),
    };
    tx.execute(
        "UPDATE deliveries SET attempts = attempts + 1, delivered_at = $2, next_at = $3, \
         error = $4 WHERE key = $1",
        params![due.key, delivered_at, next_at, error],
    )?;
    Ok(())
}

/// Forgets deliveries of a webhook beyond [`KEPT`] that are over, and beyond [`MOST_WAITING`]
/// that wait, the oldest first; returns how many of those that waited.
///
/// # Errors
/// [`StoreError`].
pub fn prune(tx: &mut Tx<'_>, webhook: WebhookKey) -> Result<u64, StoreError> {
    forget(tx, webhook, "IS NULL", KEPT)?;
    forget(tx, webhook, "IS NOT NULL", MOST_WAITING)
}

fn forget(
    tx: &mut Tx<'_>,
    webhook: WebhookKey,
    condition: &str,
    kept: u32,
) -> Result<u64, StoreError> {
    let of = format!("webhook = $1 AND next_at {condition}");
    let sql = format!(
        "DELETE FROM deliveries WHERE {of} AND key <= (SELECT key FROM deliveries WHERE {of} \
         ORDER BY key DESC LIMIT 1 OFFSET $2)"
    );
    tx.execute(&sql, params![webhook.0, kept])
}

fn delivery_id(webhook: WebhookId, event_key: i64, at: Timestamp) -> DeliveryId {
    let of = format!("handover-delivery {webhook} {event_key} {}", at.as_micros());
    DeliveryId::mint(&mut IdGen::new(*Digest::of(of.as_bytes()).as_bytes()), at)
}

fn read(row: &Row) -> Result<(WebhookKey, Webhook), StoreError> {
    let webhook = Webhook {
        id: row.parse(1)?,
        url: row.get(2)?,
        kinds: row.json(3)?,
        note: row.get(4)?,
        by: row.get(5)?,
        created_at: row.get(6)?,
    };
    Ok((WebhookKey(row.get(0)?), webhook))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(kinds: &[&str]) -> Webhook {
        Webhook {
            id: "webhook_018bcfe5687b7fffbfffffffffffffff".parse().unwrap(),
            url: "https://example.com/".to_owned(),
            kinds: kinds.iter().map(|&kind| kind.to_owned()).collect(),
            note: None,
            by: "ann".to_owned(),
            created_at: Timestamp::from_micros(0),
        }
    }

    #[test]
    fn a_webhook_wants_its_kinds_whole_or_by_what_they_begin_with() {
        let some = webhook(&["rollout.halted", "fleet."]);
        let wants = |hook: &Webhook, kind: &str| hook.wants(kind, false);
        assert!(wants(&some, "rollout.halted") && wants(&some, "fleet.stopped"));
        assert!(!wants(&some, "rollout.halted_again") && !wants(&some, "rollout.done"));
        let usual = webhook(&[]);
        assert!(wants(&usual, "rollout.done") && !wants(&usual, "fleet.stopped"));
    }

    #[test]
    fn a_webhook_is_told_of_single_hosts_only_where_it_asks_for_that() {
        assert!(!webhook(&[]).wants("rollout.decayed", true));
        assert!(!webhook(&["rollout."]).wants("rollout.decayed", true));
        assert!(webhook(&["rollout.decayed"]).wants("rollout.decayed", true));
    }

    #[test]
    fn a_delivery_of_another_event_or_webhook_has_another_id() {
        let (one, at) = (webhook(&[]).id, Timestamp::from_micros(7));
        let id = delivery_id(one, 1, at);
        assert_eq!(id, delivery_id(one, 1, at));
        assert_ne!(id, delivery_id(one, 2, at));
        assert_ne!(id, delivery_id(one, 1, Timestamp::from_micros(8)));
    }
}
