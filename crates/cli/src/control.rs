//! The commands that speak to a control plane.

mod agents;
mod api;
mod audit;
mod authority;
mod contexts;
mod error;
mod follow;
mod give;
mod groups;
mod insight;
mod live;
mod orders;
mod releases;
mod rollouts;
mod routes;
mod select;
mod session;
mod stop;
mod stream;
mod tokens;
mod watch;
mod webhooks;
mod words;

use std::process::ExitCode;

use clap::Subcommand;

use crate::output::Out;
use api::Api;
use contexts::Place;

pub(crate) use api::{options as client_options, roots_of};
pub(crate) use contexts::parse_name;
pub(crate) use error::ControlError;
pub(crate) use releases::{Question, answer, publish};
pub(crate) use routes::SERVER;

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Log in to a control plane with a token; later commands speak to it.
    ///
    /// The server's certificate must rest on the authorities that the token names, whatever
    /// certificates this machine trusts otherwise. The context is named after the server's host
    /// unless --context says otherwise.
    Login(session::LoginArgs),
    /// Forget the current control plane, or the one that --context names.
    Logout,
    /// Show who one is to the control plane, and what one may.
    Whoami,
    /// List, choose or forget control planes.
    #[command(subcommand)]
    Context(session::ContextCommand),
    /// Look at agents, label, pin and retire them, and give them orders.
    #[command(subcommand)]
    Agent(agents::AgentCommand),
    /// Move a fleet to a release, wave by wave: plan, start, watch, approve, stop, take back.
    #[command(subcommand)]
    Rollout(rollouts::RolloutCommand),
    /// Try out selections of agents.
    #[command(subcommand)]
    Selection(select::SelectionCommand),
    /// Save selections of agents under names.
    #[command(subcommand)]
    Group(groups::GroupCommand),
    /// Tell other programs what happens: signed calls to their addresses.
    #[command(subcommand)]
    Webhook(webhooks::WebhookCommand),
    /// Stop every update of the whole fleet, or let them go on. Reverts go on.
    #[command(subcommand)]
    Stop(stop::StopCommand),
    /// Look at orders, and take them back in time.
    #[command(subcommand)]
    Order(orders::OrderCommand),
    /// Watch what happens, as it happens.
    Watch(watch::WatchArgs),
    /// Make, list and revoke the tokens that enrol hosts.
    #[command(subcommand)]
    Token(tokens::TokenCommand),
    /// Make, list and revoke the tokens that call the API.
    #[command(subcommand)]
    ApiToken(tokens::ApiTokenCommand),
    /// Show which versions run where.
    Inventory {
        /// One component alone.
        component: Option<handover_model::ComponentName>,
    },
    /// See who changed what, and prove that nobody rewrote it.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
}

/// What every command here works with.
pub(crate) struct Desk<'a> {
    /// Where results go.
    pub(crate) out: &'a Out,
    /// The context that was asked for by name.
    pub(crate) context: Option<String>,
}

impl Desk<'_> {
    /// The control plane to speak to, and its context's name.
    pub(crate) fn open(&self) -> Result<(String, Api), ControlError> {
        let (name, context) = Place::find()?.load()?.pick(self.context.as_deref())?;
        Ok((name, Api::new(context)?))
    }
}

impl Desk<'_> {
    /// Where files of a person's `handover` lie.
    pub(crate) fn files() -> Result<camino::Utf8PathBuf, ControlError> {
        Ok(Place::find()?.directory().to_owned())
    }
}

/// Runs one.
pub(crate) fn run(command: Command, desk: &Desk<'_>) -> Result<ExitCode, ControlError> {
    match command {
        Command::Login(args) => session::login(args, desk)?,
        Command::Logout => session::logout(desk)?,
        Command::Whoami => session::whoami(desk)?,
        Command::Context(command) => session::context(command, desk)?,
        Command::Agent(command) => return agents::run(command, desk),
        Command::Rollout(command) => return rollouts::run(command, desk),
        Command::Selection(command) => select::run(&command, desk)?,
        Command::Group(command) => groups::run(command, desk)?,
        Command::Webhook(command) => webhooks::run(command, desk)?,
        Command::Stop(command) => stop::run(command, desk)?,
        Command::Order(command) => return orders::run(command, desk),
        Command::Watch(args) => return watch::watch(&args, desk),
        Command::Token(command) => tokens::enrolment(command, desk)?,
        Command::ApiToken(command) => tokens::api(command, desk)?,
        Command::Inventory { component } => insight::inventory(component.as_ref(), desk)?,
        Command::Audit(command) => audit::run(command, desk)?,
    }
    Ok(ExitCode::SUCCESS)
}
