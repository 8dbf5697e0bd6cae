//! Giving orders: to one agent, or to each of a selection, one order per agent.

use std::process::ExitCode;

use handover_engine::selection::Selection;
use handover_model::api::{AgentState, AgentSummary, OrderInfo, OrderRequest};
use handover_model::wire::Expect;
use handover_model::{AgentName, ComponentName, Millis, Version};
use serde::Serialize;

use super::api::Api;
use super::{ControlError, Desk, agents, follow, routes, select};

/// Which agents an order is for.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The agents, by name or id.
    #[arg(
        required_unless_present_any = ["all", "labels", "select"],
        conflicts_with_all = ["all", "labels", "select"]
    )]
    agents: Vec<String>,
    /// Every agent that has the component; beside --select: a selection that matches every agent
    /// is meant.
    #[arg(long, requires = "component")]
    all: bool,
    /// Every agent that this selection means (docs/selections.md) and that has the component.
    #[arg(
        long, value_name = "SELECTION", requires = "component", conflicts_with = "labels",
        value_parser = select::parse_argument
    )]
    select: Option<Selection>,
    /// Every agent with this label that has the component, as key=value; repeat it for several.
    #[arg(long = "label", value_name = "KEY=VALUE", requires = "component")]
    labels: Vec<String>,
}

/// What an order says.
#[derive(Debug, clap::Args)]
pub(crate) struct OrderArgs {
    /// The component; may be left out where an agent has only one beside itself.
    #[arg(long, short)]
    component: Option<ComponentName>,
    /// The version.
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,
    /// Only if the component's current version is this one; `none`: only if it is not installed.
    #[arg(long, value_name = "VERSION", value_parser = parse_expect)]
    expect: Option<Expect>,
    /// How long an agent may take to begin; a day unless said otherwise.
    #[arg(long, value_name = "LENGTH")]
    expires: Option<Millis>,
    /// Take the place of an open order that was not begun.
    #[arg(long)]
    supersede: bool,
    /// Why, for whoever looks later.
    #[arg(long)]
    reason: Option<String>,
    /// Return as soon as the order is given.
    #[arg(long)]
    no_wait: bool,
    /// Do not ask, however many agents there are.
    #[arg(long, short)]
    yes: bool,
}

impl Which {
    /// Whether they are listed one by one.
    fn are_named(&self) -> bool {
        !self.all && self.labels.is_empty() && self.select.is_none()
    }
}

/// An order that could not be given.
#[derive(Debug, Serialize)]
struct NotGiven {
    agent: AgentName,
    code: String,
    message: String,
}

fn parse_expect(text: &str) -> Result<Expect, String> {
    if text == "none" {
        return Ok(Expect { current: None });
    }
    let version = text.parse().map_err(|error: handover_model::VersionError| error.to_string())?;
    Ok(Expect { current: Some(version) })
}

/// Gives the order and, unless told otherwise, watches what becomes of it.
pub(super) fn give(
    api: &Api,
    verb: &str,
    which: &Which,
    order: &OrderArgs,
    desk: &Desk<'_>,
) -> Result<ExitCode, ControlError> {
    let chosen = choose(api, which, order, desk)?;
    if chosen.is_empty() {
        let what = "no agent fits; `handover agent list` shows what there is".to_owned();
        return Err(ControlError::Declined { what });
    }
    if chosen.len() > 1 || !which.are_named() {
        let to = order.to.as_ref().map_or_else(String::new, |to| format!(" to {to}"));
        let names: Vec<_> = chosen.iter().take(5).map(|agent| agent.name.to_string()).collect();
        let more = if chosen.len() > names.len() { ", …" } else { "" };
        let count = chosen.len();
        let question = format!("Order {verb}{to} on {count} agents ({}{more})?", names.join(", "));
        confirm(&question, order.yes)?;
    }
    let request = OrderRequest {
        component: order.component.clone(),
        to: order.to.clone(),
        expect: order.expect.clone(),
        expires_in: order.expires,
        supersede: order.supersede,
        reason: order.reason.clone(),
    };
    let only = chosen.len() == 1;
    let (mut given, mut refused) = (Vec::new(), Vec::new());
    for agent in chosen {
        match api.post::<_, OrderInfo>(
            "give the order",
            &routes::of_agent(agent.id, verb),
            &request,
        ) {
            Ok(order) => given.push(order),
            Err(error) if only => return Err(error),
            Err(error @ ControlError::Refused { .. }) => refused.push(NotGiven {
                agent: agent.name,
                code: error.code().to_owned(),
                message: error.to_string(),
            }),
            // What was given stays given, and is named.
            Err(error) => {
                follow::name_given(&given, desk);
                return Err(error);
            }
        }
    }
    for one in &refused {
        crate::output::warn(&format!("{}: {}", one.agent, one.message));
    }
    let code = follow::follow(api, given, !order.no_wait, desk)?;
    Ok(if refused.is_empty() || code != ExitCode::SUCCESS { code } else { ExitCode::from(3) })
}

/// Asks before something large or final, unless `yes`.
pub(super) fn confirm(question: &str, yes: bool) -> Result<(), ControlError> {
    if yes {
        return Ok(());
    }
    match crate::output::ask(question) {
        Some(true) => Ok(()),
        Some(false) => Err(ControlError::Declined { what: "nothing was changed".to_owned() }),
        None => Err(ControlError::Usage {
            what: format!("{question} There is no terminal to ask at: say --yes"),
        }),
    }
}

fn choose(
    api: &Api,
    which: &Which,
    order: &OrderArgs,
    desk: &Desk<'_>,
) -> Result<Vec<AgentSummary>, ControlError> {
    if which.are_named() {
        let found: Result<Vec<_>, _> =
            which.agents.iter().map(|agent| agents::find(api, agent)).collect();
        return Ok(found?.into_iter().map(|detail| detail.agent).collect());
    }
    if let Some(selection) = &which.select {
        select::settle(api, selection, which.all)?;
    }
    let mut all = agents::all(api, &which.labels, which.select.as_ref(), None)?;
    all.retain(|agent| agent.state != AgentState::Retired);
    let before = all.len();
    all.retain(|agent| {
        let has = agent.components.iter().any(|component| {
            order.component.as_ref().is_none_or(|wanted| component.component == *wanted)
        });
        has && agent.state != AgentState::Cloned
    });
    if all.len() < before {
        let left = before - all.len();
        desk.out.say(&format!("{left} agents are left out: cloned, or without the component"));
    }
    Ok(all)
}
