//! Orders: giving, watching and cancelling them. An order is refused when it is made, with the
//! reason, if the control plane can already know that the host would refuse it.

use axum::response::Response;
use handover_model::api::{ClearQuarantineRequest, OrderInfo, OrderRequest, OrderState};
use handover_model::wire::Action;
use handover_model::{ComponentName, OrderId};
use handover_store::agents::Agent;
use handover_store::orders::{self, Filter, Order};
use handover_store::{StoreError, Tx, audit};
use http::StatusCode;
use serde_json::json;

use super::body::{Body, OrNothing};
use super::call::{AgentRef, Call, Segments, bad_field, check_words, listed, path_part};
use super::library::Shelf;
use super::place::{self, Wish};
use super::{answer, once};
use crate::problem::Code;
use crate::{Problem, news};

/// How a component moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Forward,
    Back,
}

/// `GET /orders`.
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    let mut query = call.query();
    let slice = query.slice()?;
    let state: Option<OrderState> = query.parsed("state")?;
    let component: Option<ComponentName> = query.parsed("component")?;
    let is_open: Option<bool> = query.parsed("open")?;
    let agent = query.one("agent")?.map(|text| AgentRef::parse(&text)).transpose()?;
    query.done()?;
    let page = call
        .state
        .store
        .read(move |tx| -> Result<_, Problem> {
            let agent = agent.as_ref().map(|agent| agent.find(tx)).transpose()?;
            let filter = Filter {
                agent: agent.map(|agent| agent.key),
                state,
                component: component.clone(),
                is_open: is_open.unwrap_or(false),
            };
            let page = orders::list(tx, &filter, slice.after.as_deref(), slice.limit);
            let page = page.map_err(listed)?;
            let items = page.items.into_iter().map(info).collect::<Vec<_>>();
            Ok(handover_model::api::Page { items, next: page.next })
        })
        .await?;
    answer::json(&page)
}

/// `GET /orders/{order}`.
pub(super) async fn show(call: Call, Segments([order]): Segments<1>) -> Result<Response, Problem> {
    let id: OrderId = path_part("order", &order)?;
    call.query().done()?;
    let shown = call.state.store.read(move |tx| whole(tx, id)).await?;
    answer::json(&shown)
}

/// `POST /agents/{agent}/update`.
pub(super) async fn update(
    call: Call,
    Segments([agent]): Segments<1>,
    body: Body<OrderRequest>,
) -> Result<Response, Problem> {
    give(call, &agent, Move::Forward, body).await
}

/// `POST /agents/{agent}/rollback`.
pub(super) async fn rollback(
    call: Call,
    Segments([agent]): Segments<1>,
    body: Body<OrderRequest>,
) -> Result<Response, Problem> {
    give(call, &agent, Move::Back, body).await
}

async fn give(
    call: Call,
    agent: &str,
    movement: Move,
    Body { value: request, digest }: Body<OrderRequest>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let agent = AgentRef::parse(agent)?;
    check_words("reason", request.reason.as_deref(), 500)?;
    let expires = place::expiry(request.expires_in, call.now)?;
    let (shelf, id, who, now) = scene(&call).await?;
    let done = once::act(&call, digest, StatusCode::CREATED, move |tx| {
        let agent = agent.find(tx)?;
        let component = component_of(tx, &agent, request.component.as_ref())?;
        let to = request.to.clone();
        let action = match movement {
            Move::Forward => Action::Update { component, to },
            Move::Back => Action::Rollback { component, to },
        };
        let wish = Wish {
            id,
            action,
            expect: request.expect.clone(),
            reason: request.reason.clone(),
            supersede: request.supersede,
            expires,
            who: who.clone(),
        };
        place::place(tx, &agent, &wish, &shelf, now).map(info)
    })
    .await?;
    super::changed(&call, &done.body);
    Ok(answer::text(done.status, done.body))
}

/// `POST /agents/{agent}/quarantine/clear`.
pub(super) async fn clear_quarantine(
    call: Call,
    Segments([agent]): Segments<1>,
    Body { value: request, digest }: Body<ClearQuarantineRequest>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let agent = AgentRef::parse(&agent)?;
    check_words("reason", request.reason.as_deref(), 500)?;
    let expires = place::expiry(None, call.now)?;
    let (shelf, id, who, now) = scene(&call).await?;
    let done = once::act(&call, digest, StatusCode::CREATED, move |tx| {
        let agent = agent.find(tx)?;
        let (component, version) = (request.component.clone(), request.version.clone());
        let wish = Wish {
            id,
            action: Action::ClearQuarantine { component, version },
            expect: None,
            reason: request.reason.clone(),
            supersede: false,
            expires,
            who: who.clone(),
        };
        place::place(tx, &agent, &wish, &shelf, now).map(info)
    })
    .await?;
    super::changed(&call, &done.body);
    Ok(answer::text(done.status, done.body))
}

/// `POST /orders/{order}/cancel`. What nobody has begun is not begun any more; what runs, runs.
pub(super) async fn cancel(
    call: Call,
    Segments([order]): Segments<1>,
    body: OrNothing<super::NoFields>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let id: OrderId = path_part("order", &order)?;
    let super::NoFields {} = body.value;
    let (who, now) = (call.principal.who(), call.now);
    let done = once::act(&call, body.digest, StatusCode::OK, move |tx| {
        let mut order = orders::get(tx, id)?.ok_or_else(|| absent(id))?;
        let before = order.state;
        let Some(after) = after_cancel(&order)? else { return whole(tx, id) };
        order.state = after;
        if after == OrderState::Cancelled {
            order.code = Some("cancelled".to_owned());
            order.outcome = Some(format!("cancelled by {who} before the agent had it"));
        }
        orders::save(tx, &order, now)?;
        let change = audit::NewAudit {
            at: now,
            who: who.clone(),
            what: "order.cancel",
            subject: id.to_string(),
            before: Some(json!({ "state": before })),
            after: Some(json!({ "state": after })),
        };
        audit::insert(tx, &change)?;
        news::order(tx, now, &order)?;
        whole(tx, id)
    })
    .await?;
    super::changed(&call, &done.body);
    Ok(answer::text(done.status, done.body))
}

/// What a cancel makes of an order; `None`: it is cancelled, or about to be, already.
fn after_cancel(order: &Order) -> Result<Option<OrderState>, Problem> {
    match order.state {
        OrderState::Pending => Ok(Some(OrderState::Cancelled)),
        OrderState::HandedOut | OrderState::Accepted => Ok(Some(OrderState::Cancelling)),
        OrderState::Cancelling | OrderState::Cancelled => Ok(None),
        OrderState::Running => Err(Problem::new(
            Code::OrderRunning,
            format!(
                "order {} runs and can't be cancelled any more; if its release is not well, it \
                 goes back by itself",
                order.id
            ),
        )),
        OrderState::Done
        | OrderState::Failed
        | OrderState::Reverted
        | OrderState::Refused
        | OrderState::Expired
        | OrderState::Superseded
        | OrderState::Voided => Err(Problem::new(
            Code::OrderEnded,
            format!("order {} has ended already: {}", order.id, order.state),
        )),
    }
}

/// What giving an order rests on: what is offered, an id, who asks, and when.
pub(super) async fn scene(
    call: &Call,
) -> Result<(std::sync::Arc<Shelf>, OrderId, String, handover_model::Timestamp), Problem> {
    let shelf = call.state.library.shelf(&call.state).await;
    Ok((shelf, call.state.mint(OrderId::mint), call.principal.who(), call.now))
}

/// The component that an order is about. It may be left out when there is only one beside the
/// agent itself.
fn component_of(
    tx: &mut Tx<'_>,
    agent: &Agent,
    named: Option<&ComponentName>,
) -> Result<ComponentName, Problem> {
    if let Some(component) = named {
        return Ok(component.clone());
    }
    let state = place::host_state(tx, agent.key)?;
    let reported = state.iter().flat_map(|(host, _)| &host.components);
    let mut others = reported
        .map(|component| &component.component)
        .filter(|component| component.as_str() != "handover-agent");
    match (others.next(), others.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => Err(bad_field("component", format!("{} reported none: name one", agent.name))),
        (Some(_), Some(_)) => {
            Err(bad_field("component", format!("{} has several: name one", agent.name)))
        }
    }
}

/// An order with its history.
fn whole(tx: &mut Tx<'_>, id: OrderId) -> Result<OrderInfo, Problem> {
    let order = orders::get(tx, id)?.ok_or_else(|| absent(id))?;
    let history = orders::history(tx, id)?;
    Ok(OrderInfo { history, ..info(order) })
}

fn absent(id: OrderId) -> Problem {
    Problem::new(Code::NotFound, format!("there is no order {id}; `handover order list` has all"))
}

/// An order, as the API shows it.
pub(super) fn info(order: Order) -> OrderInfo {
    OrderInfo {
        id: order.id,
        agent: order.agent_id,
        agent_name: order.agent_name,
        action: order.action,
        state: order.state,
        place: order.place,
        expect: order.expect,
        reason: order.reason,
        by: order.by,
        created_at: order.created_at,
        expires: order.expires,
        changed_at: order.changed_at,
        code: order.code,
        outcome: order.outcome,
        release: order.release,
        progress: order.progress,
        superseded_by: order.superseded_by,
        history: Vec::new(),
    }
}

/// Writes the audit row and the event of a new order.
pub(super) fn record_new(tx: &mut Tx<'_>, order: &Order) -> Result<(), StoreError> {
    let after = json!({
        "agent": order.agent_id,
        "action": order.action,
        "expect": order.expect,
        "expires": order.expires,
        "reason": order.reason,
    });
    let change = audit::NewAudit {
        at: order.created_at,
        who: order.by.clone(),
        what: "order.create",
        subject: order.id.to_string(),
        before: None,
        after: Some(after),
    };
    audit::insert(tx, &change)?;
    news::order(tx, order.created_at, order)
}
