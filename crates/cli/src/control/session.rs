//! Who one is, and where: login, logout, whoami, contexts.

use std::io::IsTerminal as _;

use camino::Utf8PathBuf;
use handover_client::fetch::{Fetcher, Roots};
use handover_client::real_world::RealClock;
use handover_model::api::{ApiTokenInfo, Permission, ServerInfo};
use handover_model::wire::{ChannelCa, LoginToken};
use handover_model::{Timestamp, Version};
use serde::Serialize;

use super::api::{Api, options};
use super::contexts::{Context, Place, Secret, parse_name};
use super::routes::{SERVER, WHOAMI};
use super::{ControlError, Desk, authority};
use crate::output::{fields, table};

/// The variable that may hold a login token.
const VARIABLE: &str = "HANDOVER_LOGIN_TOKEN";
/// The most bytes of a CA document.
const LARGEST_CA: u64 = 64 * 1024;

/// What `login` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct LoginArgs {
    /// The token that `handover server` or `handover api-token create` printed, beginning with
    /// hol1_. Other users of this machine can see arguments: rather use the variable
    /// `HANDOVER_LOGIN_TOKEN`, --token-file, or type it when asked.
    token: Option<String>,
    /// A file whose first line is the token.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<Utf8PathBuf>,
}

/// What `context` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ContextCommand {
    /// List the control planes that one is logged in to.
    List,
    /// Choose the one that commands speak to from now on.
    Use {
        /// Its name.
        #[arg(value_parser = parse_name)]
        name: String,
    },
    /// Forget one, with its secret. The token itself stays valid: `api-token revoke` ends it.
    Remove {
        /// Its name.
        #[arg(value_parser = parse_name)]
        name: String,
    },
}

/// `whoami`, and what `login` says.
#[derive(Debug, Serialize)]
struct WhoAmI {
    context: String,
    address: String,
    token: ApiTokenInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Version>,
}

/// A context, without its secret.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    current: bool,
    addresses: Vec<String>,
    pinned: bool,
}

/// Adds a context.
pub(super) fn login(args: LoginArgs, desk: &Desk<'_>) -> Result<(), ControlError> {
    let token = LoginToken::parse(read_token(args)?.reveal())?;
    let certificates = fetch_authority(&token)?;
    let mut context = Context {
        addresses: token.urls,
        secret: Secret::new(token.secret),
        certificates,
        trusted_root: None,
    };
    let api = Api::new(context.clone())?;
    let me: ApiTokenInfo = api.get("log in", WHOAMI)?;
    // Who may not see the server's particulars can still log in.
    let server = api.get::<ServerInfo>("ask what the server is", SERVER).ok();
    context.trusted_root = server.as_ref().and_then(|server| server.repository.root);
    let name = match desk.context.clone() {
        Some(name) => name,
        None => name_of(&context),
    };
    let place = Place::find()?;
    let other_root = place.change(|contexts| {
        // The root is believed on the first day alone: a server that was taken over must not bring
        // another one with the next login.
        let held = contexts.root_of(&name);
        let other =
            held.is_some() && context.trusted_root.is_some() && held != context.trusted_root;
        context.trusted_root = held.or(context.trusted_root);
        contexts.put(&name, context);
        Ok(other)
    })?;
    if other_root {
        crate::output::warn(&format!(
            "the server names another repository root than at the first login of context {name}; \
             the first one stays trusted. If the repository was really made anew, run `handover \
             logout --context {name}` and log in again"
        ));
    }
    desk.out.say(&format!("logged in to {} as context {name}", api.address()));
    show(
        &WhoAmI {
            context: name,
            address: api.address().to_owned(),
            token: me,
            server: server.map(|server| server.version),
        },
        desk,
    );
    Ok(())
}

/// Forgets the current context, or the named one.
pub(super) fn logout(desk: &Desk<'_>) -> Result<(), ControlError> {
    let place = Place::find()?;
    let name = place.change(|contexts| {
        let (name, _) = contexts.pick(desk.context.as_deref())?;
        contexts.remove(&name)?;
        Ok(name)
    })?;
    desk.out.say(&format!(
        "forgot context {name}; its token stays valid until it expires or is revoked with \
         `handover api-token revoke`"
    ));
    Ok(())
}

/// Says who one is, as the server sees it.
pub(super) fn whoami(desk: &Desk<'_>) -> Result<(), ControlError> {
    let (name, api) = desk.open()?;
    let token = api.get("ask who we are", WHOAMI)?;
    let server = api.get::<ServerInfo>("ask what the server is", SERVER).ok();
    let address = api.address().to_owned();
    show(&WhoAmI { context: name, address, token, server: server.map(|one| one.version) }, desk);
    Ok(())
}

/// Runs one of `context`.
pub(super) fn context(command: ContextCommand, desk: &Desk<'_>) -> Result<(), ControlError> {
    let place = Place::find()?;
    match command {
        ContextCommand::List => list(&place, desk),
        ContextCommand::Use { name } => {
            place.change(|contexts| contexts.choose(&name))?;
            desk.out.say(&format!("commands now speak to {name}"));
            Ok(())
        }
        ContextCommand::Remove { name } => {
            place.change(|contexts| contexts.remove(&name).map(drop))?;
            desk.out.say(&format!("forgot context {name}"));
            Ok(())
        }
    }
}

fn list(place: &Place, desk: &Desk<'_>) -> Result<(), ControlError> {
    let contexts = place.load()?;
    let current = desk.context.clone().or(contexts.current);
    let listed: Vec<_> = contexts
        .known
        .into_iter()
        .map(|(name, context)| Listed {
            current: current.as_ref() == Some(&name),
            pinned: !context.certificates.is_empty(),
            addresses: context.addresses,
            name,
        })
        .collect();
    desk.out.result(&listed, |listed| {
        let mut rows = vec![["", "NAME", "ADDRESS"].map(str::to_owned).to_vec()];
        rows.extend(listed.iter().map(|one| {
            let mark = if one.current { "*" } else { "" };
            vec![mark.to_owned(), one.name.clone(), one.addresses.join(", ")]
        }));
        table(&rows)
    });
    Ok(())
}

fn show(me: &WhoAmI, desk: &Desk<'_>) {
    desk.out.result(me, |me| {
        let may: Vec<_> = me.token.permissions.iter().map(Permission::to_string).collect();
        let until =
            me.token.expires.as_ref().map_or_else(|| "never".to_owned(), Timestamp::to_string);
        let mut pairs = vec![
            ("context", me.context.clone()),
            ("address", me.address.clone()),
            ("token", format!("{} ({})", me.token.name, me.token.id)),
            ("may", may.join(", ")),
            ("expires", until),
        ];
        pairs.extend(me.server.as_ref().map(|version| ("server", format!("handover {version}"))));
        fields(&pairs)
    });
}

/// From the argument, the file, the variable or the terminal, in that order.
fn read_token(args: LoginArgs) -> Result<Secret, ControlError> {
    if let Some(token) = args.token {
        return Ok(Secret::new(token));
    }
    if let Some(path) = args.token_file {
        let failed = |source| ControlError::ReadToken { origin: path.to_string(), source };
        let bytes = zeroize::Zeroizing::new(std::fs::read(&path).map_err(failed)?);
        let text = String::from_utf8_lossy(&bytes);
        return Ok(Secret::new(text.lines().next().unwrap_or_default().to_owned()));
    }
    if let Ok(token) = std::env::var(VARIABLE) {
        return Ok(Secret::new(token));
    }
    if !std::io::stdin().is_terminal() {
        return Err(ControlError::NoToken { variable: VARIABLE });
    }
    rpassword::prompt_password("Token (not shown): ")
        .map(Secret::new)
        .map_err(|source| ControlError::ReadToken { origin: "the terminal".to_owned(), source })
}

/// The CA certificates that the token's pins name; none for a server with a public certificate.
fn fetch_authority(token: &LoginToken) -> Result<Vec<String>, ControlError> {
    if token.pins.is_empty() {
        return Ok(Vec::new());
    }
    let act = "ask the server for its certificates";
    let mut last = ControlError::OtherServer { address: token.urls.join(", ") };
    for base in &token.urls {
        if !base.starts_with("https://") {
            return Err(ControlError::Insecure { address: base.clone() });
        }
        let url = handover_client::repository::join(base, "agent/v1/ca");
        let clock = std::sync::Arc::new(RealClock::start());
        // Nothing is believed but what the pins name, and nothing is told.
        let offered = Fetcher::with(base, &options(Roots::Unchecked), clock)
            .and_then(|fetcher| fetcher.small(&url, LARGEST_CA))
            .map_err(|source| ControlError::call(act, source.into()));
        let bytes = match offered {
            Ok(bytes) => bytes,
            Err(error) => {
                last = error;
                continue;
            }
        };
        let ca: ChannelCa = serde_json::from_slice(&bytes)
            .map_err(|source| ControlError::Answer { act: act.to_owned(), source })?;
        let certificates = authority::pinned(&ca, &token.pins);
        if !certificates.is_empty() {
            return Ok(certificates);
        }
        last = ControlError::OtherServer { address: base.clone() };
    }
    Err(last)
}

/// The name of a context that nobody named: the first address's host.
fn name_of(context: &Context) -> String {
    let address = context.addresses.first().map_or("", String::as_str);
    let host = address.split("//").nth(1).unwrap_or_default();
    let host = host.split(['/', ':']).next().unwrap_or_default();
    parse_name(host).unwrap_or_else(|_unusual| "default".to_owned())
}
