//! What a control plane can know about a host beforehand, from the host's last report: whether an
//! order would be refused there, what could be ordered, and why the host stands where it stands
//! (DESIGN promise 7).
//!
//! Invariant: the host decides. What is refused here would be refused there by the same
//! [`crate::choose`]; what passes here may still be refused there, because the report is old.

use handover_model::api::{
    Explanation, HoldCode, HoldLifter, Layer, LayerKind, OrderInfo, OrderState, RolloutState,
};
use handover_model::wire::Action;
use handover_model::{AgentId, AgentName, ComponentName, Pin, RolloutName, Timestamp, Version};

mod beforehand;
mod layers;
mod lifts;

pub use beforehand::{Beforehand, Refusal};

/// Everything that is known of one component of one agent.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The agent.
    pub agent: AgentId,
    /// Its name.
    pub name: &'a AgentName,
    /// Whether it belongs here.
    pub membership: Membership<'a>,
    /// When it checked in last.
    pub last_seen: Option<Timestamp>,
    /// Whether that is longer ago than it should be.
    pub away: bool,
    /// The component.
    pub component: &'a ComponentName,
    /// The component's part in the last report, the rest of it, and what is offered.
    pub beforehand: Beforehand<'a>,
    /// When the host wrote that report.
    pub reported_at: Option<Timestamp>,
    /// The stop of the whole fleet, if one stands.
    pub stop: Option<&'a FleetStop>,
    /// Rollouts of the component that the agent is a member of and that are not over.
    pub rollouts: &'a [InRollout],
    /// Orders about the component, the newest first: the open ones and the last that ended.
    pub orders: &'a [OrderInfo],
}

/// An agent's place in a rollout that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InRollout {
    /// The rollout.
    pub name: RolloutName,
    /// Where it brings its members; absent for one that takes them back.
    pub to: Option<Version>,
    /// How it stands.
    pub state: RolloutState,
    /// The name of the agent's wave.
    pub wave: String,
    /// Whether the agent may have its order.
    pub released: bool,
    /// What holds the agent, or the rollout, back: the first that does, in words.
    pub held: Option<(HoldCode, String)>,
    /// Who has to do something about that.
    pub by: HoldLifter,
}

/// A stop of the whole fleet: while it stands, no update is handed out for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetStop {
    /// Who stopped it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, if that was said.
    pub reason: Option<String>,
}

/// Whether an agent belongs to the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership<'a> {
    /// It does.
    Member,
    /// Its identity is used twice.
    Cloned,
    /// It was retired, for this reason if one was given.
    Retired(Option<&'a str>),
}

/// Says why the component stands where it stands.
pub fn explain(known: &Known<'_>) -> Explanation {
    let current = known.beforehand.current();
    let wanted = wanted(known);
    let layers = layers::all(known, wanted.as_ref());
    let (code, sentence) = verdict(known, current, wanted.as_ref(), &layers);
    Explanation {
        agent: known.agent,
        name: known.name.clone(),
        component: known.component.clone(),
        current: current.cloned(),
        wanted,
        code,
        sentence,
        layers,
        reported_at: known.reported_at,
    }
}

/// The version that the component could be expected at: what an open order names, else where a
/// rollout brings it, else the newest
/// of its channel that is not revoked, else what was ordered last and not taken back by a person,
/// else what it has.
fn wanted(known: &Known<'_>) -> Option<Version> {
    let open = known.orders.iter().filter(|order| !order.state.is_final()).find_map(ordered);
    let rolled = || known.rollouts.iter().find_map(|rollout| rollout.to.clone());
    let newest = || known.beforehand.newest_offered();
    let last = || {
        let last = known.orders.iter().find(|order| moves(order))?;
        let was_tried = last.state == OrderState::Done || went_wrong(last.state);
        ordered(last).filter(|_| was_tried)
    };
    open.or_else(rolled)
        .or_else(newest)
        .or_else(last)
        .or_else(|| known.beforehand.current().cloned())
}

/// The version that an order names.
fn ordered(order: &OrderInfo) -> Option<Version> {
    match &order.action {
        Action::Update { to, .. } | Action::Rollback { to, .. } => to.clone(),
        Action::Pin { .. }
        | Action::Unpin { .. }
        | Action::ClearQuarantine { .. }
        | Action::Retire
        | Action::Unknown => None,
    }
}

fn verdict(
    known: &Known<'_>,
    current: Option<&Version>,
    wanted: Option<&Version>,
    layers: &[Layer],
) -> (String, String) {
    let (name, component) = (known.name, known.component);
    let holds = layers.iter().find(|layer| layer.holds);
    let stands = match current {
        Some(version) => format!("{component} on {name} is at {version}"),
        None if known.reported_at.is_some() => format!("{component} is not installed on {name}"),
        None => format!("nobody knows what {component} on {name} is at"),
    };
    if let (Some(current), Some(wanted)) = (current, wanted)
        && current == wanted
    {
        return settled(&stands, holds);
    }
    match (wanted, holds) {
        (Some(wanted), Some(layer)) => {
            let not = if current.is_some() { "and not at" } else { "and should be at" };
            (layer.code.clone(), format!("{stands} {not} {wanted} because {}", layer.sentence))
        }
        (None, Some(layer)) => (layer.code.clone(), format!("{stands} because {}", layer.sentence)),
        (Some(wanted), None) => {
            let moves = layers.iter().find(|layer| layer.layer == LayerKind::Order);
            let how = moves.map_or_else(
                || "nothing holds it back: the host moves by itself when it looks next".to_owned(),
                |layer| layer.sentence.clone(),
            );
            ("moves".to_owned(), format!("{stands} and moves to {wanted}: {how}"))
        }
        (None, None) => ("up-to-date".to_owned(), format!("{stands}, and nothing is offered")),
    }
}

/// It is where it should be; what is wrong with it all the same comes along.
fn settled(stands: &str, holds: Option<&Layer>) -> (String, String) {
    match holds {
        None => ("up-to-date".to_owned(), format!("{stands}, as it should be")),
        Some(layer) => (
            layer.code.clone(),
            format!("{stands}, as it should be, as far as anyone knows: {}", layer.sentence),
        ),
    }
}

/// Whether an order is one that moves the component.
fn moves(order: &OrderInfo) -> bool {
    matches!(order.action, Action::Update { .. } | Action::Rollback { .. })
}

/// Whether the order's end says that it did not happen.
fn went_wrong(state: OrderState) -> bool {
    match state {
        OrderState::Failed | OrderState::Reverted | OrderState::Refused | OrderState::Expired => {
            true
        }
        OrderState::Pending
        | OrderState::HandedOut
        | OrderState::Accepted
        | OrderState::Cancelling
        | OrderState::Running
        | OrderState::Done
        | OrderState::Cancelled
        | OrderState::Superseded
        | OrderState::Voided => false,
    }
}

/// The control plane's pin, where there is one.
fn excludes<'p>(pin: Option<&'p Pin>, version: &Version) -> Option<&'p Pin> {
    pin.filter(|pin| !pin.allows(version))
}

#[cfg(test)]
mod tests;
