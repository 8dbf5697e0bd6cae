//! `handover token` (for enrolling hosts) and `handover api-token` (for calling the API).

use std::collections::BTreeSet;

use handover_client::call::Method;
use handover_model::api::{
    ApiTokenCreated, ApiTokenInfo, ApiTokenRequest, Permission, TokenCreated, TokenInfo,
    TokenRequest, TokenState,
};
use handover_model::{AgentName, Millis, TokenId};

use super::agents::{OnlyIf, parse_labels};
use super::{ControlError, Desk, routes, words};
use crate::output::table;
use crate::real_world::now;

/// What `token` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum TokenCommand {
    /// Make enrolment tokens; each enrols one host, once.
    ///
    /// A token is shown this once. Give it to `handover-agent enroll` on the host.
    #[command(after_help = "Examples:\n  handover token create --bind site=ost\n  handover token \
                            create --count 20 --expires 8h > tokens.txt")]
    Create {
        /// Bind the token to a label that the agent then has, as key=value; repeat it for several.
        #[arg(long = "bind", visible_alias = "label", value_name = "KEY=VALUE")]
        bind: Vec<String>,
        /// The only name that the host may enrol under.
        #[arg(long)]
        name: Option<AgentName>,
        /// How long it can be used; an hour unless said otherwise, at most 30 days.
        #[arg(long, value_name = "LENGTH")]
        expires: Option<Millis>,
        /// Retire the agent by itself once it was silent for this long; 24h unless said otherwise.
        #[arg(long, value_name = "LENGTH", num_args = 0..=1, default_missing_value = "24h")]
        ephemeral: Option<Millis>,
        /// What it is for.
        #[arg(long)]
        note: Option<String>,
        /// How many to make.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        count: u32,
    },
    /// List enrolment tokens, without their secrets.
    List {
        /// Only those that can still be used.
        #[arg(long)]
        open: bool,
    },
    /// Make an enrolment token void. The agent that it enrolled stays.
    Revoke {
        /// The token's id.
        token: TokenId,
        #[command(flatten)]
        only: OnlyIf,
    },
}

/// What `api-token` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ApiTokenCommand {
    /// Make a token for a person or a program; `handover login` takes it. It is shown this once.
    #[command(after_help = "Example: handover api-token create ci --may releases:publish \
                            --expires 720h")]
    Create {
        /// Who or what it is for.
        name: String,
        /// What it may: a permission; repeat it for several.
        #[arg(long = "may", value_name = "PERMISSION", required = true)]
        permissions: Vec<Permission>,
        /// How long it can be used; 90 days unless said otherwise.
        #[arg(long, value_name = "LENGTH")]
        expires: Option<Millis>,
    },
    /// List API tokens, without their secrets.
    List,
    /// Make an API token void, at once.
    Revoke {
        /// The token's id.
        token: TokenId,
        #[command(flatten)]
        only: OnlyIf,
    },
}

/// Runs one of `token`.
pub(super) fn enrolment(command: TokenCommand, desk: &Desk<'_>) -> Result<(), ControlError> {
    let (_, api) = desk.open()?;
    match command {
        TokenCommand::Create { bind, name, expires, ephemeral, note, count } => {
            if name.is_some() && count > 1 {
                let what = "--name fits one host; leave it out, or make one token at a time";
                return Err(ControlError::Usage { what: what.to_owned() });
            }
            let request = TokenRequest {
                labels: parse_labels(&bind)?,
                name,
                expires_in: expires,
                ephemeral_after: ephemeral,
                note,
            };
            for _ in 0..count {
                let made: TokenCreated = api.post("make a token", routes::TOKENS, &request)?;
                desk.out.record(&made, |made| made.token.clone());
            }
            Ok(())
        }
        TokenCommand::List { open } => {
            let mut tokens: Vec<TokenInfo> = api.list("list tokens", routes::TOKENS, None)?;
            tokens.retain(|token| !open || token.state == TokenState::Open);
            desk.out.result(&tokens, |tokens| table(&enrolment_rows(tokens)));
            Ok(())
        }
        TokenCommand::Revoke { token, only } => {
            let path = routes::one(routes::TOKENS, token);
            let tag = only.tag();
            let gone: serde_json::Value =
                api.change("revoke it", (Method::Delete, &path), None::<&()>, tag.as_deref())?;
            desk.out.result(&gone, |_| format!("{token} is revoked"));
            Ok(())
        }
    }
}

fn enrolment_rows(tokens: &[TokenInfo]) -> Vec<Vec<String>> {
    let head = ["TOKEN", "STATE", "LABELS", "NAME", "EXPIRES", "EPHEMERAL", "AGENT", "NOTE"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(tokens.iter().map(|token| {
        vec![
            token.id.to_string(),
            words::token_state(token.state).to_owned(),
            words::labels(&token.labels),
            token.name.as_ref().map_or_else(String::new, ToString::to_string),
            words::until(token.expires, now()),
            words::length(token.ephemeral_after),
            token.agent.map_or_else(String::new, |agent| agent.to_string()),
            token.note.clone().unwrap_or_default(),
        ]
    }));
    rows
}

/// Runs one of `api-token`.
pub(super) fn api(command: ApiTokenCommand, desk: &Desk<'_>) -> Result<(), ControlError> {
    let (_, api) = desk.open()?;
    match command {
        ApiTokenCommand::Create { name, permissions, expires } => {
            let permissions: BTreeSet<_> = permissions.into_iter().collect();
            let request = ApiTokenRequest { name, permissions, expires_in: expires };
            let made: ApiTokenCreated = api.post("make a token", routes::API_TOKENS, &request)?;
            desk.out.record(&made, |made| made.token.clone());
            Ok(())
        }
        ApiTokenCommand::List => {
            let tokens: Vec<ApiTokenInfo> = api.list("list tokens", routes::API_TOKENS, None)?;
            desk.out.result(&tokens, |tokens| table(&api_rows(tokens)));
            Ok(())
        }
        ApiTokenCommand::Revoke { token, only } => {
            let path = routes::one(routes::API_TOKENS, token);
            let tag = only.tag();
            let gone: serde_json::Value =
                api.change("revoke it", (Method::Delete, &path), None::<&()>, tag.as_deref())?;
            desk.out.result(&gone, |_| format!("{token} is revoked"));
            Ok(())
        }
    }
}

fn api_rows(tokens: &[ApiTokenInfo]) -> Vec<Vec<String>> {
    let head = ["TOKEN", "NAME", "STATE", "EXPIRES", "MAY"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(tokens.iter().map(|token| {
        let may: Vec<_> = token.permissions.iter().map(Permission::to_string).collect();
        vec![
            token.id.to_string(),
            token.name.clone(),
            words::token_state(token.state).to_owned(),
            token.expires.map_or_else(|| "never".to_owned(), |at| words::until(at, now())),
            may.join(", "),
        ]
    }));
    rows
}
