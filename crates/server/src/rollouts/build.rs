//! Opening what is live from its rows: plan, roster, and what the orders of its members say.

use handover_engine::rollout::controller::{Controller, Event, Presence, Progress};
use handover_engine::rollout::outcome::{Outcome, Standing, exposed_from, standing_of};
use handover_engine::rollout::plan::Plan;
use handover_engine::rollout::roster::{Member, Roster};
use handover_model::Timestamp;
use handover_model::api::OrderState;
use handover_store::rollouts::{self, MemberOrder, Rollout, RolloutKey};
use handover_store::{AgentKey, Store, StoreError, Tx};

use super::live::{Brain, Drawn, Live, document};
use crate::AppState;

/// Orders that are read at once.
const PAGE: u32 = 5_000;

/// What the stored plan was drawn from; `None` before it was.
pub(super) fn seed_of(row: &Rollout) -> Result<Option<[u8; 32]>, StoreError> {
    let plan = row.plan.as_deref().map(|text| document::<Plan>(text, "plan")).transpose()?;
    Ok(plan.map(|plan| plan.seed))
}

/// Plan and roster of a rollout, if they were drawn.
pub(crate) async fn drawn_of(store: &Store, row: &Rollout) -> Result<Option<Drawn>, StoreError> {
    let Some(plan) = &row.plan else { return Ok(None) };
    let plan: Plan = document(plan, "plan")?;
    let (key, count) = (row.key, row.members);
    let roster = store.read(move |tx| roster_of(tx, key, count)).await?;
    Ok(Some(Drawn::new(plan, roster)))
}

pub(super) fn roster_of(
    tx: &mut Tx<'_>,
    key: RolloutKey,
    count: u32,
) -> Result<Roster, StoreError> {
    let mut members = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    loop {
        let from = u32::try_from(members.len()).unwrap_or(u32::MAX);
        if from >= count {
            return Ok(Roster { members });
        }
        let page = rollouts::members(tx, key, from)?;
        if page.is_empty() {
            return Err(StoreError::CorruptRow {
                sql: format!("members of rollout {}", key.as_i64()),
                column: 0,
                expected: "as many members as its row says",
                found: format!("{from} of {count}"),
            });
        }
        let page = page.into_iter().map(|one| Member {
            agent: one.agent.as_i64(),
            stratum: one.stratum,
            site: one.site,
        });
        members.extend(page);
    }
}

/// Members that may have an order and have none that ended: at start something may wait for them.
pub(super) async fn unserved(store: &Store, live: &Live) -> Result<Vec<AgentKey>, StoreError> {
    let Some(drawn) = &live.drawn else { return Ok(Vec::new()) };
    let (key, released) = (live.row.key, live.row.released);
    let newest = store
        .read(move |tx| -> Result<_, StoreError> {
            let mut ended = std::collections::HashSet::new();
            walk_orders(tx, key, |order| {
                if is_settled(order) {
                    ended.insert(order.position);
                }
            })?;
            Ok(ended)
        })
        .await?;
    let positions = (0..released).filter(|position| !newest.contains(position));
    Ok(positions.filter_map(|position| drawn.agent(position)).collect())
}

fn is_settled(order: &MemberOrder) -> bool {
    match standing_of(order.state, order.code.as_deref(), order.accepted_at.is_some()) {
        Standing::Untaken
        | Standing::Exposed
        | Standing::Ended(Outcome::Passing | Outcome::Recalled) => false,
        Standing::Ended(
            Outcome::Satisfied
            | Outcome::Withdrawn
            | Outcome::Refused
            | Outcome::Done
            | Outcome::Failed,
        ) => true,
    }
}

/// Every order of a rollout, page by page.
pub(super) fn walk_orders(
    tx: &mut Tx<'_>,
    key: RolloutKey,
    mut see: impl FnMut(&MemberOrder),
) -> Result<(), StoreError> {
    let mut after = (-1, 0);
    loop {
        let page = rollouts::orders_of(tx, key, after, PAGE)?;
        page.iter().for_each(&mut see);
        let full = usize::try_from(PAGE).unwrap_or(usize::MAX);
        let Some(last) = page.last().filter(|_| page.len() == full) else { return Ok(()) };
        after = (i64::from(last.position), last.key);
    }
}

/// What an order says to its rollout's controller.
pub(super) fn event_of(
    (position, attempt): (u32, u32),
    state: OrderState,
    code: Option<&str>,
    times: Times,
) -> Option<Event> {
    let Times { handed_out_at, accepted_at, activate_at, changed_at } = times;
    match standing_of(state, code, accepted_at.is_some()) {
        Standing::Untaken => {
            let from = exposed_from(handed_out_at?, activate_at);
            Some(Event::HandedOut { position, attempt, from })
        }
        Standing::Exposed => {
            let from = exposed_from(accepted_at.unwrap_or(changed_at), activate_at);
            Some(Event::Exposed { position, attempt, from })
        }
        Standing::Ended(outcome) => {
            Some(Event::Ended { position, attempt, outcome, at: changed_at })
        }
    }
}

/// When what happened to an order.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "as the columns of the order are called")]
pub(super) struct Times {
    pub(super) handed_out_at: Option<Timestamp>,
    pub(super) accepted_at: Option<Timestamp>,
    pub(super) activate_at: Option<Timestamp>,
    pub(super) changed_at: Timestamp,
}

/// Makes sure that a controller of the rollout is open here; `false` when it has no plan yet, or
/// is not live.
pub(crate) async fn open(state: &AppState, key: RolloutKey) -> Result<bool, StoreError> {
    let _turn = state.rollouts.building.lock().await;
    let ready = state.rollouts.with(key, |live| {
        if live.drawn.is_none() {
            return Some(false);
        }
        if live.controller().is_some() {
            return Some(true);
        }
        live.brain = Brain::Opening(Vec::new());
        None
    });
    match ready {
        None => return Ok(false),
        Some(Some(ready)) => return Ok(ready),
        Some(None) => {}
    }
    let read = state.store.read(move |tx| snapshot(tx, key)).await;
    let opened = state.rollouts.with(key, |live| -> Result<bool, StoreError> {
        let later = match std::mem::replace(&mut live.brain, Brain::Absent) {
            Brain::Opening(later) => later,
            Brain::Absent | Brain::Open(_) => Vec::new(),
        };
        let (row, events) = read?;
        if row.generation > live.row.generation && row.members != live.row.members {
            // Somebody let members in since; its event brings them.
            return Ok(false);
        }
        live.adopt(row);
        let Some(drawn) = &live.drawn else { return Ok(false) };
        let mut controller = open_on(drawn, &live.row)?;
        for event in events.into_iter().chain(presence(state, drawn, live.row.released)) {
            controller.handle(event);
        }
        for event in later {
            controller.handle(event);
        }
        live.brain = Brain::Open(Box::new(controller));
        Ok(true)
    });
    opened.unwrap_or(Ok(false))
}

/// A controller of a rollout that is not kept in memory, for looking at it.
pub(super) async fn open_aside(
    store: &Store,
    row: &Rollout,
) -> Result<Option<(Drawn, Controller)>, StoreError> {
    let Some(drawn) = drawn_of(store, row).await? else { return Ok(None) };
    let key = row.key;
    let (_, events) = store.read(move |tx| snapshot(tx, key)).await?;
    let mut controller = open_on(&drawn, row)?;
    for event in events {
        controller.handle(event);
    }
    Ok(Some((drawn, controller)))
}

pub(super) fn open_on(drawn: &Drawn, row: &Rollout) -> Result<Controller, StoreError> {
    let progress: Progress = document(&row.progress, "progress")?;
    let (plan, roster) = (drawn.plan.clone(), drawn.roster.clone());
    Ok(Controller::open(plan, roster, row.spec.clone(), progress))
}

/// The row, and what its orders say, of one instant.
fn snapshot(tx: &mut Tx<'_>, key: RolloutKey) -> Result<(Rollout, Vec<Event>), StoreError> {
    let absent = || StoreError::Absent { what: "rollout", id: key.as_i64().to_string() };
    let row = rollouts::by_key(tx, key)?.ok_or_else(absent)?;
    Ok((row, events_of(tx, key)?))
}

/// Everything that orders and decays say.
pub(super) fn events_of(tx: &mut Tx<'_>, key: RolloutKey) -> Result<Vec<Event>, StoreError> {
    let mut events = Vec::new();
    walk_orders(tx, key, |order| {
        let times = Times {
            handed_out_at: order.handed_out_at,
            accepted_at: order.accepted_at,
            activate_at: order.activate_at,
            changed_at: order.ended_at.unwrap_or(order.changed_at),
        };
        let member = (order.position, order.attempt);
        events.extend(event_of(member, order.state, order.code.as_deref(), times));
    })?;
    let mut after = None;
    loop {
        let page = rollouts::decays(tx, key, after, PAGE)?;
        let Some(last) = page.last() else { return Ok(events) };
        after = Some(last.position);
        events.extend(page.iter().map(|decay| Event::Decayed { position: decay.position }));
    }
}

/// Tells a controller that was opened for one look who is there.
pub(super) fn tell_presence(state: &AppState, live: &mut Live) {
    let Some(drawn) = live.drawn.clone() else { return };
    let events: Vec<Event> = presence(state, &drawn, live.row.released).collect();
    for event in events {
        live.tell(event);
    }
}

/// Who of the released is there, as far as this replica knows.
fn presence<'d>(
    state: &'d AppState,
    drawn: &'d Drawn,
    released: u32,
) -> impl Iterator<Item = Event> + 'd {
    let now = state.now().wall;
    let patience = super::decide::patience(state);
    (0..released).filter_map(move |position| {
        let agent = drawn.agent(position)?;
        let Some(at) = state.agents.last_seen(agent) else {
            // It is retired: what it had was voided, and what it did not have it never gets.
            let outcome = Outcome::Withdrawn;
            return Some(Event::Ended { position, attempt: 0, outcome, at: now });
        };
        let is_there = now.since(at) < patience.duration();
        let presence = if is_there { Presence::Present } else { Presence::Away };
        Some(Event::Presence { position, presence, at })
    })
}
