//! Making an order: what forbids it already, whose place it takes, and what is written.

use handover_engine::explain::{Beforehand, Refusal};
use handover_model::api::{AgentState, OrderState};
use handover_model::wire::{Action, ComponentState, Expect, HostState, Report, ReportBody};
use handover_model::{ComponentName, Millis, OrderId, Timestamp};
use handover_store::agents::Agent;
use handover_store::orders::{self, NewOrder, Order};
use handover_store::{AgentKey, StoreError, Tx, pins, reports};
use serde::Deserialize as _;

use super::call::bad_field;
use super::library::Shelf;
use crate::Problem;
use crate::problem::Code;

/// How long an agent may take to begin, when nobody says.
const A_DAY: Millis = Millis(24 * 3_600_000);
/// The longest that it may be given.
const LONGEST: Millis = Millis(30 * 24 * 3_600_000);

/// What somebody wants of one agent.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) id: OrderId,
    pub(super) action: Action,
    pub(super) expect: Option<Expect>,
    pub(super) reason: Option<String>,
    pub(super) supersede: bool,
    pub(super) expires: Timestamp,
    pub(super) who: String,
}

/// When an order is void.
pub(super) fn expiry(wanted: Option<Millis>, now: Timestamp) -> Result<Timestamp, Problem> {
    let length = wanted.unwrap_or(A_DAY);
    if length < Millis(1000) || length > LONGEST {
        return Err(bad_field("expires_in", format!("it goes from 1s to {LONGEST}")));
    }
    Ok(now.after(length.duration()))
}

/// Makes the order, or says why not.
pub(super) fn place(
    tx: &mut Tx<'_>,
    agent: &Agent,
    wish: &Wish,
    shelf: &Shelf,
    now: Timestamp,
) -> Result<Order, Problem> {
    check_member(agent)?;
    let superseded = rivals(tx, agent, wish)?;
    check_host(tx, agent, wish, shelf, now)?;
    let new = NewOrder {
        id: wish.id,
        agent: agent.key,
        action: wish.action.clone(),
        expect: wish.expect.clone(),
        reason: wish.reason.clone(),
        by: wish.who.clone(),
        expires: wish.expires,
        member: None,
        activate_at: None,
    };
    orders::insert(tx, &new, now)?;
    for mut rival in superseded {
        rival.state = OrderState::Superseded;
        rival.superseded_by = Some(wish.id);
        rival.code = Some("superseded".to_owned());
        rival.outcome = Some(format!("order {} by {} took its place", wish.id, wish.who));
        orders::save(tx, &rival, now)?;
        crate::news::order(tx, now, &rival)?;
    }
    let made = orders::get(tx, wish.id)?.ok_or_else(|| {
        Problem::new(Code::Internal, "an order that was just made is not there; try again")
    })?;
    super::orders::record_new(tx, &made)?;
    Ok(made)
}

/// Whether the agent takes orders at all.
pub(super) fn check_member(agent: &Agent) -> Result<(), Problem> {
    let name = &agent.name;
    match agent.state {
        AgentState::Present | AgentState::Away => Ok(()),
        AgentState::Retired => Err(Problem::new(
            Code::AgentRetired,
            format!("{name} was retired; enrol the host again, with a new token"),
        )),
        AgentState::Cloned => Err(Problem::new(
            Code::AgentCloned,
            format!(
                "two machines use the identity of {name}, so that it gets no orders: run \
                 `handover-agent enroll --again` on one of them"
            ),
        )),
    }
}

/// Open orders whose place the new one takes.
///
/// # Errors
/// One is in the way.
fn rivals(tx: &mut Tx<'_>, agent: &Agent, wish: &Wish) -> Result<Vec<Order>, Problem> {
    let mut superseded = Vec::new();
    for order in orders::open_of(tx, agent.key)? {
        let same = order.action.component() == wish.action.component();
        if !same || !is_rival(&order.action, &wish.action) {
            continue;
        }
        let gives_way = order.state == OrderState::Pending;
        if gives_way && (wish.supersede || !moves(&wish.action)) {
            superseded.push(order);
            continue;
        }
        if !moves(&wish.action) {
            // A later pin goes after an earlier one that is on its way.
            continue;
        }
        let way_out = if gives_way {
            "cancel it, or say that the new one supersedes it"
        } else {
            "it is with the agent already: cancel it first, or wait for its end"
        };
        let detail = format!(
            "order {} for the same component of {} is open ({}): {way_out}",
            order.id, agent.name, order.state
        );
        return Err(Problem::new(Code::OrderOpen, detail));
    }
    Ok(superseded)
}

/// Whether both are about where the component is, or both about its pin.
fn is_rival(one: &Action, other: &Action) -> bool {
    (moves(one) && moves(other)) || (pins_it(one) && pins_it(other))
}

fn moves(action: &Action) -> bool {
    matches!(action, Action::Update { .. } | Action::Rollback { .. })
}

fn pins_it(action: &Action) -> bool {
    matches!(action, Action::Pin { .. } | Action::Unpin { .. })
}

/// What the host would refuse, as far as its last report shows.
fn check_host(
    tx: &mut Tx<'_>,
    agent: &Agent,
    wish: &Wish,
    shelf: &Shelf,
    now: Timestamp,
) -> Result<(), Problem> {
    let Some(component) = wish.action.component() else { return Ok(()) };
    let reported = host_state(tx, agent.key)?;
    let state = reported.as_ref().and_then(|(host, _)| component_in(host, component));
    if let (Some(expect), true) = (&wish.expect, reported.is_some()) {
        check_expect(agent, component, state, expect)?;
    }
    let pin = pins::get(tx, agent.key, component)?.and_then(|pin| pin.pin);
    let offers = shelf.offers(component);
    let beforehand = Beforehand {
        agent: &agent.name,
        component,
        platform: &agent.platform,
        state,
        reported: reported.is_some(),
        control_pin: pin.as_ref(),
        offers: offers.as_deref(),
        skipped: shelf.skipped(component),
        now,
    };
    let checked = match &wish.action {
        Action::Update { to, .. } => beforehand.check_update(to.as_ref()).map(drop),
        Action::Rollback { to, .. } => beforehand.check_rollback(to.as_ref()).map(drop),
        Action::ClearQuarantine { .. } => {
            return check_quarantined(agent, state, reported.is_some(), wish);
        }
        Action::Pin { .. } | Action::Unpin { .. } | Action::Retire | Action::Unknown => Ok(()),
    };
    checked.map_err(|refusal| refused(agent, component, &refusal))
}

fn refused(agent: &Agent, component: &ComponentName, refusal: &Refusal) -> Problem {
    let detail = format!("{} would refuse it for {component}: {refusal}", agent.name);
    Problem::new(Code::of_refusal(refusal.code()), detail)
}

fn check_expect(
    agent: &Agent,
    component: &ComponentName,
    state: Option<&ComponentState>,
    expect: &Expect,
) -> Result<(), Problem> {
    let found = state.and_then(|state| state.current.as_ref()).map(|release| &release.version);
    if found == expect.current.as_ref() {
        return Ok(());
    }
    let shown = |version: Option<&handover_model::Version>| {
        version.map_or_else(|| "not installed".to_owned(), ToString::to_string)
    };
    let detail = format!(
        "{component} on {} is {} and not {}, as was expected; look again",
        agent.name,
        shown(found),
        shown(expect.current.as_ref())
    );
    Err(Problem::new(Code::OrderExpect, detail).field("body.expect.current", "it is another"))
}

fn check_quarantined(
    agent: &Agent,
    state: Option<&ComponentState>,
    is_reported: bool,
    wish: &Wish,
) -> Result<(), Problem> {
    let Action::ClearQuarantine { component, version } = &wish.action else { return Ok(()) };
    let entries = state.map_or(&[][..], |state| state.quarantine.as_slice());
    let fits = |entry: &handover_model::wire::QuarantinedState| {
        version.as_ref().is_none_or(|version| entry.release.version == *version)
    };
    if !is_reported || entries.iter().any(fits) {
        return Ok(());
    }
    let what = version.as_ref().map_or_else(|| "nothing".to_owned(), |v| format!("no {v}"));
    let detail = format!("{what} of {component} is in quarantine on {}", agent.name);
    Err(Problem::new(Code::OrderNotQuarantined, detail))
}

/// What the host reported last, and when it wrote that.
pub(crate) fn host_state(
    tx: &mut Tx<'_>,
    agent: AgentKey,
) -> Result<Option<(HostState, Timestamp)>, StoreError> {
    let Some(stored) = reports::newest_state(tx, agent)? else { return Ok(None) };
    Ok(report_of(&stored).and_then(|report| match report.body {
        ReportBody::State(state) => Some((*state, report.at)),
        ReportBody::Order(_) => None,
    }))
}

/// What a report says; it was proved when it was taken.
pub(super) fn report_of(stored: &reports::Stored) -> Option<Report> {
    Report::deserialize(stored.document.0.get("signed")?).ok()
}

/// A component's part in a report.
pub(crate) fn component_in<'h>(
    host: &'h HostState,
    component: &ComponentName,
) -> Option<&'h ComponentState> {
    host.components.iter().find(|state| state.component == *component)
}
