//! What must hold of rollouts, by a tiny model of its own: the database's rows before and after,
//! what people did, and what really happened on the hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use handover_engine::rollout::plan::Plan;
use handover_model::api::{RolloutKind, RolloutState, Strategy};
use handover_model::{ReleaseId, Timestamp};
use handover_store::rollouts::{self, Rollout, RolloutKey};
use handover_store::{StoreError, Tx};

use super::Broken;
use crate::host::Host;
use crate::plane::Plane;
use crate::shelf::Shelf;

/// Who was heard so lately is there, whatever the server's patience.
const PRESENT: Duration = Duration::from_mins(2);

/// How a rollout stands, as far as every exchange needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stand {
    key: RolloutKey,
    state: RolloutState,
    released: u32,
    orders: u64,
    /// The highest position that has an order; -1: none.
    top: i64,
}

/// An order of a rollout.
#[derive(Debug, Clone)]
struct MemberOrder {
    position: u32,
    agent: i64,
    state: String,
    began: Option<Timestamp>,
    ended: Option<Timestamp>,
    heard: Option<Timestamp>,
}

/// What people did, and how far each rollout was when it was looked at last.
#[derive(Debug, Default)]
pub(crate) struct Rollouts {
    released: BTreeMap<RolloutKey, u32>,
    /// Somebody approved waves of it, perhaps.
    pub(crate) approved: BTreeMap<String, BTreeSet<u32>>,
    /// Whether the whole fleet is stopped, for sure.
    pub(crate) stopped: bool,
    /// Whether it may be: somebody asked for it, and perhaps nobody heard the answer.
    pub(crate) may_be_stopped: bool,
}

/// Every rollout, in one look.
pub(crate) fn stands(plane: &Plane) -> Option<Vec<Stand>> {
    plane.read(|tx| -> Result<Vec<Stand>, StoreError> {
        let rows = tx.query(
            "SELECT r.key, r.state, r.released, \
             (SELECT count(*) FROM orders o WHERE o.rollout = r.key), \
             (SELECT coalesce(max(o.position), -1) FROM orders o WHERE o.rollout = r.key) \
             FROM rollouts r ORDER BY r.key LIMIT 100",
            &[],
        )?;
        rows.iter()
            .map(|row| {
                Ok(Stand {
                    key: RolloutKey::from_i64(row.get(0)?),
                    state: row.parse(1)?,
                    released: row.get(2)?,
                    orders: row.get(3)?,
                    top: row.get(4)?,
                })
            })
            .collect()
    })
}

/// Every rollout's whole row.
pub(crate) fn all(plane: &Plane) -> Option<Vec<Rollout>> {
    plane.read(|tx| -> Result<Vec<Rollout>, StoreError> {
        let rows = tx.query("SELECT key FROM rollouts ORDER BY key LIMIT 100", &[])?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            found.extend(rollouts::by_key(tx, RolloutKey::from_i64(row.get(0)?))?);
        }
        Ok(found)
    })
}

fn orders_of(tx: &mut Tx<'_>, key: RolloutKey) -> Result<Vec<MemberOrder>, StoreError> {
    let rows = tx.query(
        "SELECT position, agent, state, coalesce(accepted_at, handed_out_at), ended_at, \
         (SELECT p.last_seen FROM presence p WHERE p.agent = orders.agent) FROM orders \
         WHERE rollout = $1 ORDER BY position, key LIMIT 100000",
        &[handover_store::Value::Int(key.as_i64())],
    )?;
    rows.iter()
        .map(|row| {
            Ok(MemberOrder {
                position: row.get(0)?,
                agent: row.get(1)?,
                state: row.get(2)?,
                began: row.get(3)?,
                ended: row.get(4)?,
                heard: row.get(5)?,
            })
        })
        .collect()
}

impl Rollouts {
    /// After an exchange: whether what was handed out was allowed.
    pub(crate) fn handed_out(
        &self,
        plane: &Plane,
        before: &[Stand],
        after: &[Stand],
        hosts: &[Host],
    ) -> Result<(), Broken> {
        for stand in after {
            if stand.top >= i64::from(stand.released) {
                return Err(Broken(format!(
                    "position {} has an order, and {} are released",
                    stand.top, stand.released
                )));
            }
            let was = before.iter().find(|was| was.key == stand.key);
            if was.is_none_or(|was| was.orders == stand.orders) {
                continue;
            }
            let state = was.map_or(stand.state, |was| was.state);
            if state != RolloutState::Running {
                return Err(Broken(format!("an order is handed out of a rollout that is {state}")));
            }
            let Some(row) = row_of(plane, stand.key) else { continue };
            if self.stopped && row.kind == RolloutKind::Update {
                let text = "an update is handed out though the whole fleet is stopped";
                return Err(Broken(text.to_owned()));
            }
            check_limits(plane, &row, hosts)?;
        }
        Ok(())
    }

    /// After a turn of the server: whether what was released was allowed.
    pub(crate) fn turned(&mut self, plane: &Plane, now: Timestamp) -> Result<Vec<String>, Broken> {
        let mut told = Vec::new();
        for stand in stands(plane).unwrap_or_default() {
            let before = self.released.insert(stand.key, stand.released).unwrap_or(0);
            if stand.released < before {
                return Err(Broken(format!(
                    "released shrinks from {before} to {}",
                    stand.released
                )));
            }
            if stand.released > before {
                told.push(format!("releases {before}..{}", stand.released));
                self.check_rise(plane, stand.key, before, stand.released, now)?;
            }
        }
        Ok(told)
    }

    fn check_rise(
        &self,
        plane: &Plane,
        key: RolloutKey,
        before: u32,
        after: u32,
        now: Timestamp,
    ) -> Result<(), Broken> {
        let Some(row) = row_of(plane, key) else { return Ok(()) };
        let Some(orders) = plane.read(move |tx| orders_of(tx, key)) else { return Ok(()) };
        let is_stepwise = !matches!(row.spec.strategy, Strategy::Immediate {});
        let deadline = row.spec.deadline.duration();
        let settled = settled_at(orders.iter().filter(|order| order.position < before));
        for order in orders.iter().filter(|order| order.position < before && is_stepwise) {
            if is_straggler(order, settled) {
                continue;
            }
            let in_time = order.began.is_some_and(|began| now < began.after(deadline));
            // To advance, one that fell silent counts as silent at once (DESIGN 7).
            let is_there = order.heard.is_some_and(|heard| now < heard.after(PRESENT));
            if order.ended.is_none() && in_time && is_there {
                return Err(Broken(format!(
                    "{} of {} are released while position {} is under way ({})",
                    after, row.members, order.position, order.state
                )));
            }
        }
        let plan = row.plan.as_deref().and_then(|plan| serde_json::from_str::<Plan>(plan).ok());
        let Some(plan) = plan else { return Ok(()) };
        let mut start = 0;
        for (number, wave) in (0_u32..).zip(&plan.waves) {
            // One without members begins and ends unseen.
            let begins = before <= start && after > start && wave.end > start;
            if begins && wave.approval && !self.was_approved(row.name.as_str(), number) {
                return Err(Broken(format!("wave {number} begins and nobody approved it")));
            }
            if begins && number > 0 {
                check_wave_before(&row, &plan, number, &orders, now)?;
            }
            start = wave.end;
        }
        Ok(())
    }

    fn was_approved(&self, name: &str, wave: u32) -> bool {
        self.approved.get(name).is_some_and(|waves| waves.contains(&wave))
    }

    /// What the server believes is done is done.
    pub(crate) fn believed(
        plane: &Plane,
        hosts: &[Host],
        committed: &[BTreeSet<ReleaseId>],
        shelf: &Shelf,
    ) -> Result<(), Broken> {
        for row in all(plane).unwrap_or_default() {
            let Some(target) = shelf.offer(&row.spec.to) else { continue };
            if row.kind != RolloutKind::Update {
                continue;
            }
            let target = target.id();
            let came = committed.iter().filter(|releases| releases.contains(&target)).count();
            let believed = usize::try_from(row.counts.done).unwrap_or(usize::MAX);
            if believed > came {
                return Err(Broken(format!(
                    "{believed} hosts count as done, and {came} of {} ever committed {target}",
                    hosts.len()
                )));
            }
            if row.counts.exposed > row.released {
                return Err(Broken(format!(
                    "{} are exposed and {} released",
                    row.counts.exposed, row.released
                )));
            }
            let key = row.key;
            let orders = plane.read(move |tx| orders_of(tx, key)).unwrap_or_default();
            for order in orders.iter().filter(|order| order.state == "done") {
                let host = host_of(order.agent);
                if !committed.get(host).is_some_and(|releases| releases.contains(&target)) {
                    return Err(Broken(format!(
                        "host-{host} counts as done and never committed {target}"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// The wave before `number` must be through: not too many failures, and watched long enough.
fn check_wave_before(
    row: &Rollout,
    plan: &Plan,
    number: u32,
    orders: &[MemberOrder],
    now: Timestamp,
) -> Result<(), Broken> {
    let index = usize::try_from(number).unwrap_or(0);
    let wave = &plan.waves[index - 1];
    let start = index.checked_sub(2).map_or(0, |before| plan.waves[before].end);
    let of_wave = || orders.iter().filter(|order| (start..wave.end).contains(&order.position));
    let soak = wave.soak.unwrap_or(row.spec.gate.soak).duration();
    let last = settled_at(of_wave());
    let last = last.filter(|last| *last < end_of_time());
    if last.is_some_and(|last| now < last.after(soak)) {
        return Err(Broken(format!("wave {number} begins before the one before it was watched")));
    }
    let mut newest = BTreeMap::new();
    for order in of_wave() {
        newest.insert(order.position, order.state.as_str());
    }
    let failed = newest.values().filter(|state| matches!(**state, "failed" | "reverted")).count();
    let released = wave.end.saturating_sub(start);
    let share = row.spec.gate.failures_share.unwrap_or(100.0);
    let failed = u32::try_from(failed).unwrap_or(u32::MAX);
    if f64::from(failed) * 100.0 > share * f64::from(released) {
        return Err(Broken(format!(
            "wave {number} begins though {failed} of {released} failed in the one before"
        )));
    }
    Ok(())
}

/// When the last one of those had ended that began while others were under way. A host that was
/// away and comes back later is waited for by nobody.
fn settled_at<'o>(orders: impl Iterator<Item = &'o MemberOrder>) -> Option<Timestamp> {
    let mut all: Vec<_> = orders.filter(|order| order.began.is_some()).collect();
    all.sort_by_key(|order| order.began);
    let mut settled = None;
    for order in all {
        if is_straggler(order, settled) {
            break;
        }
        settled = settled.max(Some(order.ended.unwrap_or_else(end_of_time)));
    }
    settled
}

fn is_straggler(order: &MemberOrder, settled: Option<Timestamp>) -> bool {
    settled.is_some_and(|settled| order.began.is_none_or(|began| began > settled))
}

fn check_limits(plane: &Plane, row: &Rollout, hosts: &[Host]) -> Result<(), Broken> {
    let key = row.key;
    let orders = plane.read(move |tx| orders_of(tx, key)).unwrap_or_default();
    let open: Vec<_> = orders.iter().filter(|order| order.ended.is_none()).collect();
    for limit in &row.spec.limits {
        let mut groups: BTreeMap<Option<usize>, u32> = BTreeMap::new();
        for order in &open {
            let site = limit.per.as_ref().map(|_label| hosts[host_of(order.agent)].site);
            *groups.entry(site).or_default() += 1;
        }
        if let Some((group, count)) = groups.into_iter().find(|(_, count)| *count > limit.at_most) {
            return Err(Broken(format!(
                "{count} hosts are under way at once (site {group:?}), and {} may be",
                limit.at_most
            )));
        }
    }
    Ok(())
}

fn row_of(plane: &Plane, key: RolloutKey) -> Option<Rollout> {
    plane.read(move |tx| rollouts::by_key(tx, key)).flatten()
}

/// Hosts are enrolled in their order, into an empty table.
fn host_of(agent: i64) -> usize {
    usize::try_from(agent - 1).unwrap_or(usize::MAX)
}

/// Later than anything.
fn end_of_time() -> Timestamp {
    Timestamp::from_micros(i64::MAX)
}

/// The time of the world.
pub(crate) fn wall(at: Duration) -> Timestamp {
    crate::shelf::beginning().after(at)
}
