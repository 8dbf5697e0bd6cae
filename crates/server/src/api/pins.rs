//! The control plane's pins. Setting one makes the order that tells the host; the host's own pin
//! goes on counting beside it.

use axum::response::Response;
use handover_model::api::{PinInfo, PinRequest};
use handover_model::wire::Action;
use handover_model::{AgentId, ComponentName, Pin};
use handover_store::pins::{self, StoredPin};
use handover_store::{Tx, audit};
use serde_json::json;

use super::body::Body;
use super::call::{AgentRef, Call, Segments, check_generation, check_words, path_part};
use super::place::{self, Wish};
use super::{agents, answer, orders};
use crate::Problem;
use crate::problem::Code;

/// `PUT /agents/{agent}/pins/{component}`.
pub(super) async fn put(
    call: Call,
    Segments([agent, component]): Segments<2>,
    Body { value: request, .. }: Body<PinRequest>,
) -> Result<Response, Problem> {
    check_words("reason", request.reason.as_deref(), 500)?;
    change(call, &agent, &component, Some(request.pin), request.reason).await
}

/// `DELETE /agents/{agent}/pins/{component}`.
pub(super) async fn delete(
    call: Call,
    Segments([agent, component]): Segments<2>,
) -> Result<Response, Problem> {
    change(call, &agent, &component, None, None).await
}

async fn change(
    call: Call,
    agent: &str,
    component: &str,
    pin: Option<Pin>,
    reason: Option<String>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let agent = AgentRef::parse(agent)?;
    let component: ComponentName = path_part("component", component)?;
    let seen = call.if_match()?;
    let expires = place::expiry(Some(handover_model::Millis(30 * 24 * 3_600_000)), call.now)?;
    let (shelf, id, who, now) = orders::scene(&call).await?;
    let (agent_id, info) = call
        .state
        .store
        .write(move |tx| -> Result<(AgentId, PinInfo), Problem> {
            let found = agent.find(tx)?;
            place::check_member(&found)?;
            let before = pins::get(tx, found.key, &component)?;
            let generation = before.as_ref().map_or(0, |before| before.generation);
            check_generation(seen, generation, "the pin")?;
            if pin.is_none() && before.as_ref().is_none_or(|before| before.pin.is_none()) {
                let detail = format!("{} has no pin for {component} here", found.name);
                return Err(Problem::new(Code::NotFound, detail));
            }
            let action = match &pin {
                Some(pin) => Action::Pin { component: component.clone(), pin: pin.clone() },
                None => Action::Unpin { component: component.clone() },
            };
            let wish = Wish {
                id,
                action,
                expect: None,
                reason: reason.clone(),
                supersede: true,
                expires,
                who: who.clone(),
            };
            let order = place::place(tx, &found, &wish, &shelf, now)?;
            let stored = StoredPin {
                component: component.clone(),
                pin: pin.clone(),
                reason: reason.clone(),
                by: who.clone(),
                at: now,
                order: Some(order.id),
                in_force: false,
                generation,
            };
            let generation = pins::save(tx, found.key, &stored)?;
            record(tx, &found, before.as_ref(), &stored)?;
            Ok((found.id, agents::pin_info(StoredPin { generation, ..stored })))
        })
        .await?;
    call.state.orders_changed(agent_id);
    answer::tagged(&info, info.generation)
}

fn record(
    tx: &mut Tx<'_>,
    agent: &handover_store::agents::Agent,
    before: Option<&StoredPin>,
    after: &StoredPin,
) -> Result<(), Problem> {
    let row = audit::NewAudit {
        at: after.at,
        who: after.by.clone(),
        what: if after.pin.is_some() { "agent.pin" } else { "agent.unpin" },
        subject: agent.id.to_string(),
        before: before.map(|pin| json!({ "component": pin.component, "pin": pin.pin })),
        after: Some(json!({
            "component": after.component, "pin": after.pin, "reason": after.reason,
            "order": after.order,
        })),
    };
    audit::insert(tx, &row)?;
    let kind = if after.pin.is_some() { "agent.pinned" } else { "agent.unpinned" };
    let data = json!({ "component": after.component, "pin": after.pin });
    handover_store::events::insert(tx, &agents::event(agent, kind, data, after.at))?;
    Ok(())
}
