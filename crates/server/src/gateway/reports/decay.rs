//! A release that a rollout had brought, proved by the host, and that the host left by itself.

use handover_model::Timestamp;
use handover_model::api::OrderState;
use handover_model::wire::{Action, HostState};
use handover_store::agents::Agent;
use handover_store::events::{self, NewEvent};
use handover_store::rollouts::{self, Decay};
use handover_store::{StoreError, Tx, orders};
use serde_json::json;

use crate::rollouts::Touched;

/// The host went back, and keeps the release in quarantine.
const RETURNED: &str = "returned";
/// The host runs something else, and no order moved it there.
const MOVED: &str = "moved";

/// Looks whether the host's fresh state shows that, and notes it once.
pub(super) fn look(
    tx: &mut Tx<'_>,
    agent: &Agent,
    host: &HostState,
    touched: &Touched,
    now: Timestamp,
) -> Result<(), StoreError> {
    let spec = &touched.spec;
    let found = host.components.iter().find(|one| one.component == spec.component);
    let current = found.and_then(|one| one.current.as_ref()).map(|release| &release.version);
    let is_on_trial = found.is_some_and(|one| one.trial.is_some());
    if current == Some(&spec.to) || is_on_trial {
        return Ok(());
    }
    let own = rollouts::order_of_member(tx, touched.rollout, touched.position)?.pop();
    let Some(own) = own.filter(|own| own.state == OrderState::Done) else { return Ok(()) };
    // Somebody else's order moved it on, or is about to.
    if orders::last_move(tx, agent.key, &spec.component)? != Some(own.id) {
        return Ok(());
    }
    let moves = |action: &Action| {
        matches!(action, Action::Update { .. } | Action::Rollback { .. })
            && action.component() == Some(&spec.component)
    };
    if orders::open_of(tx, agent.key)?.iter().any(|order| moves(&order.action)) {
        return Ok(());
    }
    let bad =
        found.and_then(|one| one.quarantine.iter().find(|entry| entry.release.version == spec.to));
    let stands = current.map_or_else(|| "nothing".to_owned(), ToString::to_string);
    let (code, words) = match bad {
        Some(entry) => (RETURNED, format!("it is back at {stands}: {}", entry.reason)),
        None => (MOVED, format!("it runs {stands}, and no order moved it there")),
    };
    let decay = Decay {
        position: touched.position,
        agent: agent.key,
        at: now,
        code: code.to_owned(),
        words: Some(words.clone()),
    };
    if !rollouts::insert_decay(tx, touched.rollout, &decay)? {
        return Ok(());
    }
    let event = NewEvent {
        at: now,
        kind: "rollout.decayed",
        agent: Some(agent.id),
        order: Some(own.id),
        rollout: Some(touched.id),
        data: json!({
            "position": touched.position,
            "name": agent.name,
            "component": spec.component,
            "to": spec.to,
            "code": code,
            "text": words,
            "generation": touched.generation,
        }),
    };
    events::insert(tx, &event)
}
