//! `handover agent`: looking at agents and changing what is known of them. Orders to them are
//! given in [`super::give`].

use handover_client::call::Method;
use handover_engine::selection::Selection;
use handover_model::api::{
    AgentDetail, AgentState, AgentSummary, ComponentSummary, LabelsChange, OrderInfo, PinInfo,
    PinRequest, RetireRequest,
};
use handover_model::{ComponentName, Labels, Pin};

use super::api::Api;
use super::give::{OrderArgs, Which};
use super::{ControlError, Desk, follow, give, insight, routes, select, words};
use crate::output::{fields, table};
use crate::real_world::now;

/// What `agent` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum AgentCommand {
    /// List agents.
    #[command(
        after_help = "Examples:\n  handover agent list --label site=ost --component web\n  handover \
                            agent list --select 'web < 2.0.0 and seen < 1h'"
    )]
    List(ListArgs),
    /// Show one agent: its components, pins and open orders.
    Show {
        /// The agent, by name or id.
        agent: String,
    },
    /// Say in a sentence why an agent's components are, or aren't, at a version, and who can
    /// change that.
    Explain {
        /// The agent, by name or id.
        agent: String,
        /// One component alone.
        component: Option<ComponentName>,
        /// Also show everything that has a say, whether it holds or not.
        #[arg(long)]
        all: bool,
    },
    /// Show what an agent could be updated to, and what keeps it from the rest.
    Updates {
        /// The agent, by name or id.
        agent: String,
    },
    /// Move a component to a version, and watch it happen.
    ///
    /// Exits with 0 when the agent has proved that the version runs, 4 when it was tried and taken
    /// back, 3 when it was refused or never begun, 1 when it failed.
    #[command(
        after_help = "Examples:\n  handover agent update web-1 --to 1.1.0\n  handover agent \
                            update --label site=ost --component web --to 1.1.0 --yes"
    )]
    Update {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Go back to a release that is kept on the host: the last good one, or the one that --to
    /// names. Exits as `update` does.
    Rollback {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Let releases that failed on a host be tried again.
    ClearQuarantine {
        /// The agent, by name or id.
        agent: String,
        /// The component.
        component: ComponentName,
        /// Only this version.
        #[arg(long)]
        version: Option<handover_model::Version>,
        #[command(flatten)]
        said: Said,
        /// Do not wait until the host has done it.
        #[arg(long)]
        no_wait: bool,
    },
    /// Allow an agent only some versions of a component. The host's own pin goes on counting.
    #[command(after_help = "Example: handover agent pin web-1 web '>=1.0.0, <2.0.0'")]
    Pin {
        /// The agent, by name or id.
        agent: String,
        /// The component.
        component: ComponentName,
        /// A version, or a range such as `>=1.2.0, <2.0.0`.
        pin: Pin,
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        only: OnlyIf,
    },
    /// Take the control plane's pin away; the host's own stays.
    Unpin {
        /// The agent, by name or id.
        agent: String,
        /// The component.
        component: ComponentName,
        #[command(flatten)]
        only: OnlyIf,
    },
    /// Give an agent labels, or take them away.
    #[command(after_help = "Example: handover agent label web-1 site=ost tier=front --remove old")]
    Label {
        /// The agent, by name or id.
        agent: String,
        /// Labels to set, as key=value.
        labels: Vec<String>,
        /// Keys to take away.
        #[arg(long, value_name = "KEY")]
        remove: Vec<String>,
        #[command(flatten)]
        only: OnlyIf,
    },
    /// Send an agent away for good: its credentials become void, and its name is free again. The
    /// host goes on by its own policy.
    Retire {
        /// The agent, by name or id.
        agent: String,
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        only: OnlyIf,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Show what happened to an agent, the newest last.
    Timeline {
        /// The agent, by name or id.
        agent: String,
        /// How many events at most.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
}

/// What `list` shows.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only agents with this label, as key=value; repeat it for several.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Only agents that have this component.
    #[arg(long)]
    component: Option<ComponentName>,
    /// Only agents that stand so.
    #[arg(long, value_enum)]
    state: Option<Standing>,
    /// Only agents that this selection means (docs/selections.md).
    #[arg(long, value_name = "SELECTION", value_parser = select::parse_argument)]
    select: Option<Selection>,
    /// How many at most.
    #[arg(long)]
    limit: Option<usize>,
}

/// How an agent may stand, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Standing {
    /// It checks in.
    Present,
    /// It has not checked in for longer than it should.
    Away,
    /// Two machines use its identity.
    Cloned,
    /// It left, or was sent away.
    Retired,
}

/// Why something is done.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Said {
    /// Why, for whoever looks later.
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

/// Compare and swap, by hand.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct OnlyIf {
    /// Only if nobody changed it since: the generation that one saw.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) generation: Option<u64>,
}

impl OnlyIf {
    /// The entity tag that the server makes of a generation.
    pub(crate) fn tag(self) -> Option<String> {
        self.generation.map(|number| format!("\"g{number}\""))
    }
}

impl Standing {
    fn state(self) -> AgentState {
        match self {
            Self::Present => AgentState::Present,
            Self::Away => AgentState::Away,
            Self::Cloned => AgentState::Cloned,
            Self::Retired => AgentState::Retired,
        }
    }
}

/// Runs one.
pub(super) fn run(
    command: AgentCommand,
    desk: &Desk<'_>,
) -> Result<std::process::ExitCode, ControlError> {
    let (_, api) = desk.open()?;
    match command {
        AgentCommand::List(args) => list(&api, &args, desk)?,
        AgentCommand::Show { agent } => show(&api, &agent, desk)?,
        AgentCommand::Explain { agent, component, all } => {
            insight::explain(&api, &agent, component.as_ref(), all, desk)?;
        }
        AgentCommand::Updates { agent } => insight::updates(&api, &agent, desk)?,
        AgentCommand::Update { which, order } => {
            return give::give(&api, "update", &which, &order, desk);
        }
        AgentCommand::Rollback { which, order } => {
            return give::give(&api, "rollback", &which, &order, desk);
        }
        AgentCommand::ClearQuarantine { agent, component, version, said, no_wait } => {
            let request = handover_model::api::ClearQuarantineRequest {
                component,
                version,
                reason: said.reason,
            };
            let agent = find(&api, &agent)?.agent.id;
            let path = routes::of_agent(agent, "quarantine/clear");
            let order: OrderInfo = api.post("order it", &path, &request)?;
            return follow::follow(&api, vec![order], !no_wait, desk);
        }
        AgentCommand::Pin { agent, component, pin, said, only } => {
            let agent = find(&api, &agent)?;
            let request = PinRequest { pin, reason: said.reason };
            let path = pin_path(&agent, &component);
            let tag = only.tag();
            let made: PinInfo =
                api.change("pin it", (Method::Put, &path), Some(&request), tag.as_deref())?;
            desk.out.result(&made, |made| {
                let name = &agent.agent.name;
                format!("{name} may run {component} {} only{}", request.pin, told_by(made))
            });
        }
        AgentCommand::Unpin { agent, component, only } => {
            let agent = find(&api, &agent)?;
            let path = pin_path(&agent, &component);
            let tag = only.tag();
            let made: PinInfo =
                api.change("unpin it", (Method::Delete, &path), None::<&()>, tag.as_deref())?;
            desk.out.result(&made, |made| {
                let name = &agent.agent.name;
                format!("no longer pinned here: {component} on {name}{}", told_by(made))
            });
        }
        AgentCommand::Label { agent, labels, remove, only } => {
            label(&api, &agent, &labels, remove, only, desk)?;
        }
        AgentCommand::Retire { agent, said, only, yes } => {
            retire(&api, &agent, said, only, yes, desk)?;
        }
        AgentCommand::Timeline { agent, limit } => insight::timeline(&api, &agent, limit, desk)?,
    }
    Ok(std::process::ExitCode::SUCCESS)
}

/// An agent by its name or id; where there is none, the nearest names are told.
pub(super) fn find(api: &Api, agent: &str) -> Result<AgentDetail, ControlError> {
    let found = api.get("look the agent up", &routes::one(routes::AGENTS, agent));
    match found {
        Err(ControlError::Refused { status: 404, .. }) => {
            let all = all(api, &[], None, Some(5000)).unwrap_or_default();
            let names = all.iter().map(|agent| agent.name.as_str());
            Err(ControlError::Unknown {
                what: "agent",
                name: agent.chars().take(80).collect(),
                nearest: words::nearest(agent, names),
            })
        }
        other => other,
    }
}

/// Agents with all these labels that a selection means.
pub(super) fn all(
    api: &Api,
    labels: &[String],
    select: Option<&Selection>,
    most: Option<usize>,
) -> Result<Vec<AgentSummary>, ControlError> {
    let select = select.map(ToString::to_string);
    api.list("list agents", &routes::query(&with_labels(labels)?, &[("select", select)]), most)
}

fn with_labels(labels: &[String]) -> Result<String, ControlError> {
    let mut path = routes::AGENTS.to_owned();
    for (key, value) in &parse_labels(labels)? {
        path = routes::query(&path, &[("label", Some(format!("{key}={value}")))]);
    }
    Ok(path)
}

/// Labels as typed.
pub(super) fn parse_labels(labels: &[String]) -> Result<Labels, ControlError> {
    Labels::parse(labels.iter().map(String::as_str))
        .map_err(|error| ControlError::Usage { what: error.to_string() })
}

/// The order that takes the word to the host.
fn told_by(pin: &PinInfo) -> String {
    match pin.order {
        Some(order) if !pin.in_force => format!("; {order} tells the host"),
        Some(_) | None => String::new(),
    }
}

fn pin_path(agent: &AgentDetail, component: &ComponentName) -> String {
    routes::one(&routes::of_agent(agent.agent.id, "pins"), component)
}

fn list(api: &Api, args: &ListArgs, desk: &Desk<'_>) -> Result<(), ControlError> {
    let state = args.state.map(|state| words::agent_state(state.state()).to_owned());
    let component = args.component.as_ref().map(ToString::to_string);
    let path = with_labels(&args.labels)?;
    let select = args.select.as_ref().map(ToString::to_string);
    let path =
        routes::query(&path, &[("state", state), ("component", component), ("select", select)]);
    let agents: Vec<AgentSummary> = api.list("list agents", &path, args.limit)?;
    desk.out.result(&agents, |agents| {
        let head = ["NAME", "STATE", "SEEN", "COMPONENTS", "LABELS", "ORDERS"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(agents.iter().map(|agent| {
            let components: Vec<_> = agent.components.iter().map(in_short).collect();
            vec![
                agent.name.to_string(),
                words::agent_state(agent.state).to_owned(),
                agent.last_seen.map_or_else(|| "never".to_owned(), |at| words::ago(at, now())),
                components.join(", "),
                words::labels(&agent.labels),
                if agent.open_orders == 0 { String::new() } else { agent.open_orders.to_string() },
            ]
        }));
        table(&rows)
    });
    Ok(())
}

/// `web 1.0.0`, with what is unusual about it.
fn in_short(component: &ComponentSummary) -> String {
    let current = component.current.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    let trial = component.trial.as_ref().map_or_else(String::new, |trial| format!(" → {trial}"));
    let doubt = if component.proved || component.current.is_none() { "" } else { " (not proved)" };
    format!("{} {current}{trial}{doubt}", component.component)
}

fn show(api: &Api, agent: &str, desk: &Desk<'_>) -> Result<(), ControlError> {
    let detail = find(api, agent)?;
    desk.out.result(&detail, describe);
    Ok(())
}

fn describe(detail: &AgentDetail) -> String {
    let agent = &detail.agent;
    let seen = agent.last_seen.map_or_else(|| "never".to_owned(), |at| words::ago(at, now()));
    let mut pairs = vec![
        ("name", agent.name.to_string()),
        ("id", agent.id.to_string()),
        ("state", format!("{}, seen {seen}", words::agent_state(agent.state))),
        ("platform", agent.platform.to_string()),
        ("agent", agent.agent_version.to_string()),
        ("labels", words::labels(&agent.labels)),
        ("facts", words::labels(&detail.facts)),
        ("generation", detail.generation.to_string()),
    ];
    pairs.extend(detail.note.clone().map(|note| ("note", note)));
    let pins: Vec<_> = detail
        .pins
        .iter()
        .filter_map(|pin| Some(format!("{} {}", pin.component, pin.pin.as_ref()?)))
        .collect();
    if !pins.is_empty() {
        pairs.push(("pins", pins.join("\n")));
    }
    let orders: Vec<_> = detail
        .orders
        .iter()
        .map(|order| format!("{} {}: {}", order.id, order.state, words::action(&order.action)))
        .collect();
    if !orders.is_empty() {
        pairs.push(("orders", orders.join("\n")));
    }
    pairs.retain(|(_, value)| !value.is_empty());
    let head = ["COMPONENT", "CURRENT", "PROVED", "TRIAL", "MODE", "PIN", "OUTLOOK"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(detail.reported.iter().map(|state| {
        let proved = state.proof.as_ref().is_some_and(|proof| proof.proved);
        let pin = state.pin.as_ref().or(state.control_pin.as_ref());
        vec![
            state.component.to_string(),
            state.current.as_ref().map_or_else(|| "-".to_owned(), |id| id.version.to_string()),
            if proved { "yes" } else { "no" }.to_owned(),
            state.trial.as_ref().map_or_else(String::new, |id| id.version.to_string()),
            format!("{:?}", state.mode).to_lowercase(),
            pin.map_or_else(String::new, ToString::to_string),
            state.outlook.as_ref().map_or_else(String::new, |outlook| outlook.sentence.clone()),
        ]
    }));
    format!("{}\n\n{}", fields(&pairs), table(&rows))
}

fn label(
    api: &Api,
    agent: &str,
    labels: &[String],
    remove: Vec<String>,
    only: OnlyIf,
    desk: &Desk<'_>,
) -> Result<(), ControlError> {
    let change = LabelsChange { set: parse_labels(labels)?, remove };
    if change.set.is_empty() && change.remove.is_empty() {
        let what = "say what to change: key=value sets a label, --remove KEY takes one away";
        return Err(ControlError::Usage { what: what.to_owned() });
    }
    let agent = find(api, agent)?;
    let path = routes::one(routes::AGENTS, agent.agent.id);
    let tag = only.tag();
    let after: AgentDetail =
        api.change("change the labels", (Method::Patch, &path), Some(&change), tag.as_deref())?;
    desk.out.result(&after, |after| {
        format!("{}: {}", after.agent.name, words::labels(&after.agent.labels))
    });
    Ok(())
}

fn retire(
    api: &Api,
    agent: &str,
    said: Said,
    only: OnlyIf,
    yes: bool,
    desk: &Desk<'_>,
) -> Result<(), ControlError> {
    let agent = find(api, agent)?;
    let name = agent.agent.name.clone();
    give::confirm(&format!("Retire {name} ({})?", agent.agent.id), yes)?;
    let path = routes::of_agent(agent.agent.id, "retire");
    let request = RetireRequest { reason: said.reason };
    let tag = only.tag();
    let made: AgentDetail = api.post_if("retire it", &path, &request, tag.as_deref())?;
    desk.out.result(&made, |_| format!("{name} is retired"));
    Ok(())
}
