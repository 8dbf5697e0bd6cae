//! Handing out orders: signed and numbered in the transaction that hands them out first, and the
//! same bytes again until the host says that it has them.

pub(crate) mod rollouts;

use handover_engine::control::orders::{Delivery, Known, deliver};
use handover_model::Timestamp;
use handover_model::api::OrderState;
use handover_model::wire::{Action, AgentOrder, Cancel, Place, SignedDoc};
use handover_store::agents::{self, Agent};
use handover_store::orders::{self, Order};
use handover_store::{StoreError, Tx, fleet};
use handover_trust::control;
use serde_json::Value;

use crate::keys::Ring;
use crate::{Problem, news};

/// The most orders in one answer.
const MOST: usize = 32;

/// What an answer carries.
#[derive(Debug, Default)]
pub(super) struct Handed {
    pub(super) orders: Vec<SignedDoc>,
    pub(super) cancels: Vec<SignedDoc>,
    /// Whether the agent has something to answer, or more waits for it.
    pub(super) is_pending: bool,
}

/// Hands out what waits for an agent.
pub(super) fn hand_out(
    tx: &mut Tx<'_>,
    agent: &Agent,
    ring: &Ring,
    epoch: u64,
    now: Timestamp,
) -> Result<Handed, Problem> {
    let mut handed = Handed::default();
    for mut order in orders::open_of(tx, agent.key)? {
        let delivery = deliver(&known(&order), now);
        if delivery == Delivery::Nothing || is_stopped(tx, &order, delivery)? {
            continue;
        }
        handed.is_pending = true;
        if handed.orders.len() >= MOST {
            break;
        }
        match delivery {
            Delivery::First => {
                let sequence = agents::next_sequence(tx, agent.key)?;
                sign_order(&mut order, Place { epoch, sequence }, ring, now)?;
                order.generation = orders::save(tx, &order, now)?;
                news::order(tx, now, &order)?;
            }
            Delivery::Again => renew(tx, &mut order, ring, now)?,
            Delivery::Nothing => {}
        }
        handed.orders.extend(order.document);
        handed.cancels.extend(order.cancel);
    }
    Ok(handed)
}

/// Whether the stop of the whole fleet keeps an order here: an update that nobody has come for
/// yet. What was handed out is with the host; rollbacks go on.
fn is_stopped(tx: &mut Tx<'_>, order: &Order, delivery: Delivery) -> Result<bool, StoreError> {
    let may_be = delivery == Delivery::First && matches!(order.action, Action::Update { .. });
    Ok(may_be && fleet::stop_held(tx)?.is_some())
}

/// An order, as decisions see it.
pub(crate) fn known(order: &Order) -> Known<'_> {
    Known {
        action: &order.action,
        state: order.state,
        expires: order.expires,
        code: order.code.as_deref(),
        release: order.release.as_ref(),
    }
}

fn sign_order(order: &mut Order, place: Place, ring: &Ring, now: Timestamp) -> Result<(), Problem> {
    let document = AgentOrder {
        type_: AgentOrder::TYPE.to_owned(),
        id: order.id,
        agent: order.agent_id,
        place,
        action: order.action.clone(),
        expect: order.expect.clone(),
        issued: now,
        expires: order.expires,
        reason: order.reason.clone(),
        activate: order.activate_at,
    };
    order.document = Some(sign(&document, ring)?);
    order.place = Some(place);
    order.state = OrderState::HandedOut;
    order.handed_out_at = Some(now);
    Ok(())
}

/// Makes an order that was handed out before ready to be handed out again: signed by a key that
/// is still believed, and with its cancel where it has one.
fn renew(tx: &mut Tx<'_>, order: &mut Order, ring: &Ring, now: Timestamp) -> Result<(), Problem> {
    let mut has_changed = false;
    if let Some(document) = order.document.as_ref().filter(|document| !is_by(document, ring)) {
        order.document = Some(sign_again(document, ring)?);
        has_changed = true;
    }
    if order.state == OrderState::Cancelling {
        let is_held = order.cancel.as_ref().is_some_and(|cancel| is_by(cancel, ring));
        if !is_held {
            let cancel = Cancel {
                type_: Cancel::TYPE.to_owned(),
                agent: order.agent_id,
                order: order.id,
                issued: now,
            };
            order.cancel = Some(sign(&cancel, ring)?);
            has_changed = true;
        }
    }
    if has_changed {
        order.generation = orders::save(tx, order, now)?;
    }
    Ok(())
}

fn sign<T: serde::Serialize>(document: &T, ring: &Ring) -> Result<SignedDoc, Problem> {
    control::sign(document, ring.key()).map_err(|error| Problem::internal(&error))
}

/// The same content under the key that signs now.
fn sign_again(document: &SignedDoc, ring: &Ring) -> Result<SignedDoc, Problem> {
    sign(document.0.get("signed").unwrap_or(&Value::Null), ring)
}

/// Whether the key that signs now, or the one that overlaps with it, signed it.
fn is_by(document: &SignedDoc, ring: &Ring) -> bool {
    let signatures = document.0.get("signatures").and_then(Value::as_array);
    signatures.into_iter().flatten().any(|signature| {
        signature.get("keyid").and_then(Value::as_str).is_some_and(|id| ring.believes(id))
    })
}
