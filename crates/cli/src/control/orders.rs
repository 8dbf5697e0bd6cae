//! `handover order`: what was ordered, what became of it, and taking it back in time.

use std::process::ExitCode;

use handover_model::api::{OrderInfo, OrderState};
use handover_model::{OrderId, Timestamp};

use super::api::Api;
use super::{ControlError, Desk, agents, follow, routes, watch, words};
use crate::output::{fields, table};
use crate::real_world::now;

/// What `order` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum OrderCommand {
    /// List orders, the newest first.
    List {
        /// Only those for this agent, by name or id.
        #[arg(long)]
        agent: Option<String>,
        /// Only those that are so far; repeat it for several.
        #[arg(long)]
        state: Vec<OrderState>,
        /// Only those of which more will become.
        #[arg(long, conflicts_with = "state")]
        open: bool,
        /// How many at most.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show one order and how it went.
    Show {
        /// The order.
        order: OrderId,
    },
    /// Take an order back, if the agent has not begun it. Exits with 0 when it was in time, 3
    /// when it was not.
    Cancel {
        /// The order.
        order: OrderId,
        /// Do not wait for the agent's word on whether it was in time.
        #[arg(long)]
        no_wait: bool,
    },
}

/// Runs one.
pub(super) fn run(command: OrderCommand, desk: &Desk<'_>) -> Result<ExitCode, ControlError> {
    let (_, api) = desk.open()?;
    match command {
        OrderCommand::List { agent, state, open, limit } => {
            list(&api, agent.as_deref(), &state, open, limit, desk)?;
        }
        OrderCommand::Show { order } => {
            let order: OrderInfo =
                api.get("look at the order", &routes::one(routes::ORDERS, order))?;
            desk.out.result(&order, describe);
        }
        OrderCommand::Cancel { order, no_wait } => return cancel(&api, order, no_wait, desk),
    }
    Ok(ExitCode::SUCCESS)
}

fn list(
    api: &Api,
    agent: Option<&str>,
    states: &[OrderState],
    open: bool,
    most: usize,
    desk: &Desk<'_>,
) -> Result<(), ControlError> {
    // Looked up for its nearest names, where there is none.
    let agent = agent.map(|agent| agents::find(api, agent)).transpose()?;
    let mut path = routes::query(
        routes::ORDERS,
        &[
            ("agent", agent.map(|agent| agent.agent.id.to_string())),
            ("open", open.then(|| "true".to_owned())),
        ],
    );
    if let [only] = states {
        path = routes::query(&path, &[("state", Some(only.to_string()))]);
    }
    let wanted = |order: &OrderInfo| {
        (!open || !order.state.is_final()) && (states.is_empty() || states.contains(&order.state))
    };
    let everything = (states.len() < 2).then_some(most);
    let mut orders: Vec<OrderInfo> = api.list("list orders", &path, everything)?;
    orders.retain(wanted);
    orders.truncate(most);
    desk.out.result(&orders, |orders| {
        let head = ["ORDER", "AGENT", "STATE", "WHAT", "GIVEN", "OUTCOME"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(orders.iter().map(|order| {
            vec![
                order.id.to_string(),
                order.agent_name.to_string(),
                order.state.to_string(),
                words::action(&order.action),
                words::ago(order.created_at, now()),
                words::outcome(order),
            ]
        }));
        table(&rows)
    });
    Ok(())
}

fn describe(order: &OrderInfo) -> String {
    let mut pairs = vec![
        ("order", order.id.to_string()),
        ("agent", format!("{} ({})", order.agent_name, order.agent)),
        ("what", words::action(&order.action)),
        ("state", order.state.to_string()),
        ("outcome", words::outcome(order)),
        ("why", order.reason.clone().unwrap_or_default()),
        ("given", format!("{} by {}", order.created_at, order.by)),
    ];
    if !order.state.is_final() {
        pairs.push(("void", words::until(order.expires, now())));
    }
    pairs.extend(order.superseded_by.map(|by| ("replaced by", by.to_string())));
    pairs.retain(|(_, value)| !value.is_empty());
    let mut rows = vec![["WHEN", "STATE", ""].map(str::to_owned).to_vec()];
    rows.extend(order.history.iter().map(|step| {
        let text = [step.text.as_deref(), step.code.as_deref()];
        let text: Vec<_> = text.into_iter().flatten().collect();
        vec![clock(step.at), step.state.to_string(), text.join(" ")]
    }));
    format!("{}\n\n{}", fields(&pairs), table(&rows))
}

fn clock(at: Timestamp) -> String {
    watch::clock_time(at)
}

fn cancel(
    api: &Api,
    order: OrderId,
    no_wait: bool,
    desk: &Desk<'_>,
) -> Result<ExitCode, ControlError> {
    let path = format!("{}/cancel", routes::one(routes::ORDERS, order));
    let mut cancelled: OrderInfo = api.post("cancel the order", &path, &serde_json::Map::new())?;
    if !cancelled.state.is_final() && !no_wait {
        desk.out
            .say(&format!("{} may have it already; waiting for its word", cancelled.agent_name));
        let _how_it_ended = follow::follow(api, vec![cancelled], true, desk)?;
        cancelled = api.get("look at the order", &routes::one(routes::ORDERS, order))?;
    } else {
        desk.out.result(&cancelled, |order| format!("{} is {}", order.id, order.state));
    }
    match cancelled.state {
        OrderState::Cancelled => Ok(ExitCode::SUCCESS),
        OrderState::Cancelling if no_wait => Ok(ExitCode::SUCCESS),
        OrderState::Pending
        | OrderState::HandedOut
        | OrderState::Accepted
        | OrderState::Cancelling
        | OrderState::Running
        | OrderState::Done
        | OrderState::Failed
        | OrderState::Reverted
        | OrderState::Refused
        | OrderState::Expired
        | OrderState::Superseded
        | OrderState::Voided => {
            desk.out.say(&format!("too late: the order is {}", cancelled.state));
            Ok(ExitCode::from(3))
        }
    }
}
