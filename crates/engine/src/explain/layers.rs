//! Everything that bears on where a component stands, in the order in which it is asked.

use handover_model::Version;
use handover_model::api::{HoldLifter, Layer, LayerKind, Lift, Lifter, OrderInfo, OrderState};
use handover_model::wire::{Action, ComponentState};

use super::{InRollout, Known, Membership, Refusal, lifts, moves, went_wrong};

pub(super) fn all(known: &Known<'_>, wanted: Option<&Version>) -> Vec<Layer> {
    let mut layers = vec![membership(known), presence(known), report(known)];
    layers.extend(stop(known));
    layers.extend(known.rollouts.iter().filter_map(|rollout| in_rollout(known, rollout)));
    layers.extend(order(known, wanted));
    let state = known.beforehand.state;
    layers.extend(state.and_then(trial));
    layers.extend(pins(known));
    layers.extend(refusal(known, wanted));
    layers.extend(state.and_then(|state| policy(known, state, wanted)));
    layers.extend(state.and_then(proof));
    layers
}

fn membership(known: &Known<'_>) -> Layer {
    let name = known.name;
    match known.membership {
        Membership::Member => says(LayerKind::Membership, "enrolled", "it is enrolled".to_owned()),
        Membership::Cloned => holds(
            LayerKind::Membership,
            "agent-cloned",
            "two machines use its identity, so that it gets no orders".to_owned(),
            lifts::lift(
                Lifter::HostOwner,
                format!(
                    "run `handover-agent enroll --again` on one of them, or `handover agent \
                     retire {name}`"
                ),
            ),
        ),
        Membership::Retired(why) => {
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            holds(
                LayerKind::Membership,
                "agent-retired",
                format!("it was retired{why}"),
                lifts::lift(Lifter::Operator, "enrol the host again, with a new token".to_owned()),
            )
        }
    }
}

fn presence(known: &Known<'_>) -> Layer {
    match (known.last_seen, known.away) {
        (Some(seen), false) => {
            says(LayerKind::Presence, "present", format!("it checked in at {seen}"))
        }
        (Some(seen), true) => holds(
            LayerKind::Presence,
            "agent-away",
            format!("it has not checked in since {seen}"),
            lifts::lift(Lifter::HostOwner, format!("look after {} and its network", known.name)),
        ),
        (None, _) => holds(
            LayerKind::Presence,
            "agent-away",
            "it has never checked in".to_owned(),
            lifts::lift(Lifter::HostOwner, format!("start the agent on {}", known.name)),
        ),
    }
}

fn report(known: &Known<'_>) -> Layer {
    match known.reported_at {
        Some(at) if known.beforehand.state.is_some() => {
            says(LayerKind::Report, "reported", format!("it reported {} at {at}", known.component))
        }
        Some(at) => says(
            LayerKind::Report,
            "not-installed",
            format!("its report of {at} does not name {}", known.component),
        ),
        None => holds(
            LayerKind::Report,
            "unreported",
            "it has not reported what it runs".to_owned(),
            lifts::lift(Lifter::Time, "the first report follows enrolment".to_owned()),
        ),
    }
}

/// A stop holds an update that waits; what is under way goes on.
fn stop(known: &Known<'_>) -> Option<Layer> {
    let stop = known.stop?;
    let why = stop.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    let sentence = format!("{} stopped the whole fleet at {}{why}", stop.by, stop.at);
    let waits = |order: &OrderInfo| {
        order.state == OrderState::Pending && matches!(order.action, Action::Update { .. })
    };
    if !known.orders.iter().any(waits) {
        return Some(says(LayerKind::Fleet, "fleet-stopped", sentence));
    }
    let how = "let it go on with `handover stop off`".to_owned();
    Some(holds(LayerKind::Fleet, "fleet-stopped", sentence, lifts::lift(Lifter::Operator, how)))
}

/// A rollout whose turn has not come for this host, or that something holds back. Once the host
/// has its order, the order speaks.
fn in_rollout(known: &Known<'_>, rollout: &InRollout) -> Option<Layer> {
    if known.orders.iter().any(|order| !order.state.is_final() && moves(order)) {
        return None;
    }
    let InRollout { name, wave, .. } = rollout;
    let whither = rollout
        .to
        .as_ref()
        .map_or_else(|| "takes it back".to_owned(), |to| format!("brings it to {to}"));
    let is_there = rollout.to.is_some() && rollout.to.as_ref() == known.beforehand.current();
    let stands = if rollout.released { "it may have its order" } else { "its turn has not come" };
    let why = rollout.held.as_ref().map_or_else(String::new, |(_, text)| format!(": {text}"));
    let sentence =
        format!("rollout {name} ({}) {whither} in wave {wave:?}, and {stands}{why}", rollout.state);
    if is_there || (rollout.released && rollout.held.is_none()) {
        return Some(says(LayerKind::Rollout, "rollout", sentence));
    }
    let lift = match rollout.by {
        HoldLifter::Time => lifts::lift(Lifter::Time, "wait".to_owned()),
        HoldLifter::Hosts => {
            lifts::lift(Lifter::Time, format!("see `handover rollout show {name}`"))
        }
        HoldLifter::Person | HoldLifter::Outside => {
            lifts::lift(Lifter::Operator, format!("see `handover rollout show {name}`"))
        }
    };
    Some(holds(LayerKind::Rollout, "rollout-waits", sentence, lift))
}

/// What orders say: the one that is open, else the last one that ended.
fn order(known: &Known<'_>, wanted: Option<&Version>) -> Option<Layer> {
    let open = known.orders.iter().find(|order| !order.state.is_final() && moves(order));
    if let Some(order) = open {
        return Some(open_order(order));
    }
    let last = known.orders.iter().find(|order| moves(order))?;
    let why = last.outcome.as_deref().or(last.code.as_deref()).unwrap_or("no reason was given");
    let code = format!("order-{}", last.state);
    let sentence = format!("order {} of {} ended {}", last.id, last.created_at, last.state);
    if !went_wrong(last.state) || super::ordered(last).as_ref() != wanted {
        return Some(says(LayerKind::Order, &code, sentence));
    }
    let how = format!("mend that, and order again: `handover agent update {}`", known.name);
    let lift = lifts::lift(Lifter::Operator, how);
    Some(holds(LayerKind::Order, &code, format!("{sentence}: {why}"), lift))
}

fn open_order(order: &OrderInfo) -> Layer {
    let (id, by) = (order.id, &order.by);
    let sentence = match order.state {
        OrderState::Pending => format!("order {id} by {by} waits for the agent to come for it"),
        OrderState::HandedOut => format!("order {id} by {by} is on its way to the agent"),
        OrderState::Accepted => format!("the agent has order {id} by {by} and has not begun"),
        OrderState::Cancelling => format!("order {id} by {by} is being cancelled"),
        OrderState::Running => match &order.progress {
            Some(progress) => format!("order {id} by {by} runs: {}", progress.detail),
            None => format!("order {id} by {by} runs"),
        },
        OrderState::Done
        | OrderState::Failed
        | OrderState::Reverted
        | OrderState::Refused
        | OrderState::Cancelled
        | OrderState::Expired
        | OrderState::Superseded
        | OrderState::Voided => format!("order {id} by {by} ended {}", order.state),
    };
    says(LayerKind::Order, &format!("order-{}", order.state), sentence)
}

fn trial(state: &ComponentState) -> Option<Layer> {
    let release = state.trial.as_ref()?;
    let sentence = format!("{} is on trial and not committed yet", release.version);
    let lift = lifts::lift(Lifter::Time, "the trial ends by itself".to_owned());
    Some(holds(LayerKind::Trial, "trial-pending", sentence, lift))
}

/// Pins that are there and in nobody's way are worth knowing too.
fn pins(known: &Known<'_>) -> Vec<Layer> {
    let host = known.beforehand.state.and_then(|state| state.pin.as_ref());
    let host =
        host.map(|pin| says(LayerKind::HostPin, "pinned", format!("the host pins it to {pin}")));
    let control = known.beforehand.control_pin.map(|pin| {
        let sentence = format!("the control plane pins it to {pin}");
        says(LayerKind::ControlPin, "control-pinned", sentence)
    });
    host.into_iter().chain(control).collect()
}

/// Why an order for the wanted version would be refused, if it would.
fn refusal(known: &Known<'_>, wanted: Option<&Version>) -> Option<Layer> {
    let beforehand = &known.beforehand;
    let wanted = wanted.filter(|wanted| beforehand.current() != Some(wanted))?;
    let under_way = known.orders.iter().any(|order| order.state == OrderState::Running);
    let on_trial = beforehand.state.is_some_and(|state| state.trial.is_some());
    if under_way || on_trial || !beforehand.reported {
        return None;
    }
    let refused = match known.orders.iter().find(|order| !order.state.is_final() && moves(order)) {
        Some(order) if order.action.name() == "rollback" => {
            beforehand.check_rollback(Some(wanted)).err()
        }
        Some(_) | None => beforehand.check_update(Some(wanted)).err(),
    }?;
    let (layer, lift) = lifts::of(&refused, known.name, known.component);
    let is_held = !matches!(refused, Refusal::AlreadyThere { .. });
    Some(Layer {
        layer,
        code: refused.code().to_owned(),
        sentence: refused.to_string(),
        holds: is_held,
        lift,
    })
}

/// What the host says that it would do by itself. An open order goes before all of that.
fn policy(known: &Known<'_>, state: &ComponentState, wanted: Option<&Version>) -> Option<Layer> {
    let outlook = state.outlook.as_ref()?;
    let ordered = known.orders.iter().any(|order| !order.state.is_final() && moves(order));
    let settled = matches!(outlook.code.as_str(), "up-to-date" | "moves");
    let there = wanted.is_some() && wanted == known.beforehand.current();
    let lift = lifts::of_outlook(&outlook.code, known.name, known.component);
    Some(Layer {
        layer: LayerKind::Policy,
        code: outlook.code.clone(),
        sentence: outlook.sentence.clone(),
        holds: !settled && !ordered && !there,
        lift: lift.filter(|_| !settled),
    })
}

fn proof(state: &ComponentState) -> Option<Layer> {
    let current = state.current.as_ref()?;
    let proved = state.proof.as_ref().filter(|proof| proof.proved && proof.release == *current);
    if let Some(proof) = proved {
        let sentence = format!("process {} was seen to run {}", proof.pid, current.version);
        return Some(says(LayerKind::Proof, "proved", sentence));
    }
    let seen = match &state.proof {
        None => "no running process of it was seen".to_owned(),
        Some(proof) => format!(
            "process {} was seen to run something else than the committed {}",
            proof.pid, current.version
        ),
    };
    let how = "look at the service on the host: `handover-agent doctor`".to_owned();
    Some(holds(LayerKind::Proof, "not-proved", seen, lifts::lift(Lifter::HostOwner, how)))
}

fn says(layer: LayerKind, code: &str, sentence: String) -> Layer {
    Layer { layer, code: code.to_owned(), sentence, holds: false, lift: None }
}

fn holds(layer: LayerKind, code: &str, sentence: String, lift: Option<Lift>) -> Layer {
    Layer { layer, code: code.to_owned(), sentence, holds: true, lift }
}
