//! The control plane's side of `status` and `explain`: who it is, since when it answers or why it
//! is silent, and what became of its orders.

use std::fmt::Write as _;

use handover_engine::orders::{Stand, Taken};
use handover_hoststeps::disk;
use handover_model::ComponentName;
use handover_model::wire::{Action, OrderStage};
use serde::Serialize;

use super::print::field;
use crate::agent::Agent;
use crate::control::desk::load_ledger;
use crate::control::identity::{ControlFiles, Identity};
use crate::control::standing::Standing;
use crate::failure::chain;
use crate::voice::plain;

/// How many orders that ended are shown.
const SHOWN: usize = 5;

/// The host and its control plane.
#[derive(Serialize)]
pub(super) struct ControlStatus {
    /// `connected`, `silent`, `starting`, `stopped`, `left` or `unreadable`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(flatten)]
    standing: Standing,
    /// How many reports wait to be sent.
    waiting: usize,
    orders: Vec<OrderSeen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// An order and what became of it.
#[derive(Serialize)]
pub(super) struct OrderSeen {
    order: String,
    what: String,
    /// `accepted`, `running`, or how it ended.
    state: String,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What is known; `None` where the host never enrolled.
pub(super) fn look(agent: &Agent) -> Option<ControlStatus> {
    let files = ControlFiles::of(&agent.home);
    let identity = match files.identity() {
        Ok(identity) => identity?,
        Err(error) => return Some(unreadable(chain(&error))),
    };
    let standing = Standing::load(agent);
    let ledger = load_ledger(&agent.home);
    let listed = files.path("outbox").read_dir_utf8();
    let error = ledger.as_ref().err().map(|error| chain(error));
    Some(ControlStatus {
        state: state_of(&files, &identity, &standing),
        agent: Some(identity.agent.to_string()),
        server: identity.urls.first().cloned(),
        standing,
        waiting: listed.map_or(0, |entries| entries.filter_map(Result::ok).count()),
        orders: ledger.map(|ledger| shown(&ledger.taken, |_| true)).unwrap_or_default(),
        error,
    })
}

/// The orders about one component.
pub(super) fn orders_of(agent: &Agent, component: &ComponentName) -> Vec<OrderSeen> {
    let ledger = load_ledger(&agent.home);
    let about = |taken: &Taken| taken.order.action.component() == Some(component);
    ledger.map(|ledger| shown(&ledger.taken, about)).unwrap_or_default()
}

fn unreadable(error: String) -> ControlStatus {
    ControlStatus {
        state: "unreadable",
        agent: None,
        server: None,
        standing: Standing::default(),
        waiting: 0,
        orders: Vec::new(),
        error: Some(error),
    }
}

fn state_of(files: &ControlFiles, identity: &Identity, standing: &Standing) -> &'static str {
    if identity.left_at.is_some() {
        return "left";
    }
    // What was kept says nothing of now when nobody keeps it.
    match disk::Lock::holder(&files.path("lock")) {
        Ok(Some(_)) => {}
        Ok(None) | Err(_) => return "stopped",
    }
    match (&standing.silent, standing.connected_since) {
        (Some(_), _) => "silent",
        (None, Some(_)) => "connected",
        (None, None) => "starting",
    }
}

/// Open orders and the last few that ended, newest first.
fn shown(taken: &[Taken], about: impl Fn(&Taken) -> bool) -> Vec<OrderSeen> {
    let mut ended = 0;
    let wanted = taken.iter().rev().filter(|taken| about(taken)).filter(|taken| {
        ended += usize::from(taken.has_ended());
        !taken.has_ended() || ended <= SHOWN
    });
    wanted.map(seen).collect()
}

fn seen(taken: &Taken) -> OrderSeen {
    let (state, at, code, reason) = match &taken.stand {
        Stand::Accepted => ("accepted", taken.at, None, None),
        Stand::Running { since, .. } => ("running", *since, None, None),
        Stand::Ended(ending) => {
            (name_of(ending.stage), ending.at, ending.code.clone(), ending.reason.clone())
        }
    };
    OrderSeen {
        order: taken.order.id.to_string(),
        what: words_of(&taken.order.action),
        state: state.to_owned(),
        at: at.to_string(),
        code,
        reason,
    }
}

fn name_of(stage: OrderStage) -> &'static str {
    match stage {
        OrderStage::Accepted => "accepted",
        OrderStage::Running => "running",
        OrderStage::Done => "done",
        OrderStage::Failed => "failed",
        OrderStage::Reverted => "reverted",
        OrderStage::Refused => "refused",
        OrderStage::Cancelled => "cancelled",
        OrderStage::Expired => "expired",
    }
}

fn words_of(action: &Action) -> String {
    match action {
        Action::Update { component, to: Some(to) } => format!("update {component} to {to}"),
        Action::Update { component, to: None } => format!("update {component}"),
        Action::Rollback { component, to: Some(to) } => format!("roll {component} back to {to}"),
        Action::Rollback { component, to: None } => format!("roll {component} back"),
        Action::Pin { component, pin } => format!("pin {component} to {pin}"),
        Action::Unpin { component } => format!("unpin {component}"),
        Action::ClearQuarantine { component, version: Some(version) } => {
            format!("let {component} {version} be tried again")
        }
        Action::ClearQuarantine { component, version: None } => {
            format!("let {component} be tried again")
        }
        Action::Retire => "leave the control plane".to_owned(),
        Action::Unknown => "something that this agent does not know".to_owned(),
    }
}

/// The lines of `status`.
pub(super) fn words(seen: &ControlStatus) -> String {
    let mut text = String::new();
    let server = seen.server.as_deref().unwrap_or("the control plane");
    text.push_str(&field("control", &standing_words(seen, server)));
    let standing = &seen.standing;
    for notice in &standing.notices {
        text.push_str(&field("NOTICE", &format!("{} [{}]", notice.text, notice.code)));
    }
    if let Some(off) = standing.clock_off {
        let said = format!("its clock is {off} away from this host's: one of them is wrong");
        text.push_str(&field("clock", &said));
    }
    if let Some(why) = &standing.blocked {
        text.push_str(&field("BLOCKED", why));
    }
    for refusal in &standing.refused {
        let line =
            format!("{} at {}: {} [{}]", refusal.what, refusal.at, refusal.reason, refusal.code);
        text.push_str(&field("not believed", &line));
    }
    text.push_str(&order_words(&seen.orders));
    if seen.waiting > 0 {
        text.push_str(&field("reports", &format!("{} wait to be sent", seen.waiting)));
    }
    if let Some(error) = &seen.error {
        text.push_str(&field("ERROR", error));
    }
    text
}

fn standing_words(seen: &ControlStatus, server: &str) -> String {
    let agent = seen.agent.as_deref().unwrap_or("this host");
    let standing = &seen.standing;
    match (seen.state, &standing.silent, standing.connected_since) {
        ("silent", Some(silence), _) => format!(
            "{server} is silent since {}: {} [{}]; tried {} times, next at {}; this host follows \
             its policy",
            silence.since, silence.reason, silence.code, silence.attempts, silence.next
        ),
        ("connected", _, Some(since)) => format!("{server} as {agent}, connected since {since}"),
        ("left", _, _) => {
            format!("this host left {server}; `handover-agent enroll TOKEN` brings it back")
        }
        ("stopped", _, _) => format!("{server} as {agent}; the agent's service does not run here"),
        ("unreadable", _, _) => "what enrolment left here can't be read".to_owned(),
        (_, _, _) => format!("{server} as {agent}, not reached yet"),
    }
}

/// One line for each order.
pub(super) fn order_words(orders: &[OrderSeen]) -> String {
    let mut text = String::new();
    for order in orders {
        let mut line = format!("{}: {} since {}", order.what, order.state, order.at);
        if let Some(reason) = &order.reason {
            let code = order.code.as_deref().unwrap_or("-");
            // Writing to a string can't fail.
            let _ = write!(line, ", {} [{code}]", plain(reason, 300));
        }
        text.push_str(&field("order", &line));
    }
    text
}
