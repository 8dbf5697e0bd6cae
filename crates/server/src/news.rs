//! Events and rows of the audit trail, as every part of the server writes them: in the
//! transaction of what they tell of.

use handover_model::api::{AgentState, OrderState};
use handover_model::{AgentId, Timestamp};
use handover_store::agents::Agent;
use handover_store::audit::NewAudit;
use handover_store::events::NewEvent;
use handover_store::orders::Order;
use handover_store::{StoreError, Tx};
use serde_json::{Value, json};

/// Tells of an agent.
pub(crate) fn agent(
    tx: &mut Tx<'_>,
    at: Timestamp,
    kind: &'static str,
    agent: &Agent,
    mut data: Value,
) -> Result<(), StoreError> {
    if let Some(data) = data.as_object_mut() {
        data.insert("name".to_owned(), json!(agent.name));
    }
    about(tx, at, kind, agent.id, data)
}

/// Tells of an agent that is known by its id.
pub(crate) fn about(
    tx: &mut Tx<'_>,
    at: Timestamp,
    kind: &'static str,
    agent: AgentId,
    data: Value,
) -> Result<(), StoreError> {
    let event = NewEvent { at, kind, agent: Some(agent), order: None, rollout: None, data };
    handover_store::events::insert(tx, &event)
}

/// Tells of an order, by its state.
pub(crate) fn order(tx: &mut Tx<'_>, at: Timestamp, order: &Order) -> Result<(), StoreError> {
    let event = NewEvent {
        at,
        kind: kind_of(order.state),
        agent: Some(order.agent_id),
        order: Some(order.id),
        rollout: order.rollout.map(|(id, _)| id),
        data: json!({
            "action": order.action,
            "code": order.code,
            "outcome": order.outcome,
            "release": order.release,
            "progress": order.progress,
            "by": order.by,
            "position": order.rollout.map(|(_, member)| member.position),
            "attempt": order.rollout.map(|(_, member)| member.attempt),
            "handed_out_at": order.handed_out_at,
            "accepted_at": order.accepted_at,
            "activate_at": order.activate_at,
        }),
    };
    handover_store::events::insert(tx, &event)
}

/// Notes how an agent stood before and stands now, and who did it.
pub(crate) fn audit(
    tx: &mut Tx<'_>,
    at: Timestamp,
    who: &str,
    what: &'static str,
    subject: AgentId,
    (before, after): (Option<AgentState>, Option<AgentState>),
) -> Result<(), StoreError> {
    let state = |state: Option<AgentState>| state.map(|state| json!({ "state": state }));
    let change = NewAudit {
        at,
        who: who.to_owned(),
        what,
        subject: subject.to_string(),
        before: state(before),
        after: state(after),
    };
    handover_store::audit::insert(tx, &change)
}

/// The kind of the event that tells of an order's state.
pub(crate) fn kind_of(state: OrderState) -> &'static str {
    match state {
        OrderState::Pending => "order.pending",
        OrderState::HandedOut => "order.handed_out",
        OrderState::Accepted => "order.accepted",
        OrderState::Cancelling => "order.cancelling",
        OrderState::Running => "order.running",
        OrderState::Done => "order.done",
        OrderState::Failed => "order.failed",
        OrderState::Reverted => "order.reverted",
        OrderState::Refused => "order.refused",
        OrderState::Cancelled => "order.cancelled",
        OrderState::Expired => "order.expired",
        OrderState::Superseded => "order.superseded",
        OrderState::Voided => "order.voided",
    }
}
