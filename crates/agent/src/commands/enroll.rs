//! `enroll`: a host becomes an agent of a control plane, in one command.

use std::io::Read as _;

use camino::Utf8Path;
use handover_model::wire::{EnrolToken, secret_digest};
use handover_model::{AgentName, Mode};
use serde::Serialize;

use super::init::{SELF, SetUp, make};
use super::print::Printer;
use super::read_named;
use crate::agent::Agent;
use crate::control::enrolment::{self, Which};
use crate::control::identity::{ControlFiles, Identity};
use crate::control::standing::Standing;
use crate::failure::{Exit, Failure};

/// What was asked for.
pub(super) struct Wish<'a> {
    pub(super) token: Option<&'a str>,
    pub(super) token_file: Option<&'a Utf8Path>,
    pub(super) name: Option<&'a AgentName>,
    pub(super) trusted_root: Option<&'a Utf8Path>,
    pub(super) server: Option<&'a str>,
    pub(super) again: bool,
}

#[derive(Serialize)]
struct Enrolled {
    agent: String,
    name: String,
    server: String,
    root: String,
    policy: String,
}

/// `enroll`.
pub(super) fn enroll(
    agent: &mut Agent,
    wish: &Wish<'_>,
    printer: Printer,
) -> Result<Exit, Failure> {
    let mut token = read_token(wish)?;
    if let Some(server) = wish.server {
        token.urls = vec![server.to_owned()];
    }
    let digest = secret_digest(&token.secret);
    let files = ControlFiles::of(&agent.home);
    let held = files.identity()?;
    if let Some(identity) = &held
        && identity.token == digest
        && identity.left_at.is_none()
    {
        return say(agent, identity, printer);
    }
    let forgotten = Standing::load(agent).is_forgotten();
    let stays = |held: &Identity| held.left_at.is_none() && !wish.again && !forgotten;
    if let Some(identity) = held.filter(stays) {
        let reason = format!(
            "this host is enrolled already, as {} ({}) at {}; `--again` enrols it anew, as another \
             agent",
            identity.name,
            identity.agent,
            identity.urls.first().map_or("", String::as_str)
        );
        return Err(Failure::Refused { code: "enrolment.enrolled", reason });
    }
    let name = choose_name(agent, wish)?;
    let found = enrolment::find(agent, &token)?;
    let root_json = match wish.trusted_root {
        Some(path) => read_named(path)?,
        None => enrolment::fetch_root(agent, &token, &found)?,
    };
    // The host itself first: what can be refused here must not cost a token.
    let set_up = SetUp {
        metadata: token.metadata.clone(),
        targets: token.targets.clone(),
        root_json: &root_json,
        name: &name,
        components: &[],
        mode: Mode::Manual,
    };
    make(agent, &set_up)?;
    let which = if wish.again { Which::Another } else { Which::Same };
    let begun = enrolment::prepare_key(agent, digest, which)?;
    let identity = enrolment::enrol(agent, &token, &found, &name, &begun)?;
    say(agent, &identity, printer)
}

fn say(agent: &Agent, identity: &Identity, printer: Printer) -> Result<Exit, Failure> {
    let enrolled = Enrolled {
        agent: identity.agent.to_string(),
        name: identity.name.to_string(),
        server: identity.urls.first().cloned().unwrap_or_default(),
        root: agent.home.root().to_string(),
        policy: agent.home.policy().to_string(),
    };
    printer.data(&enrolled, |enrolled| {
        format!(
            "{} is enrolled at {} as {}.\nIf it does not run yet, start it:\n  {} --root {} {SELF}",
            enrolled.name,
            enrolled.server,
            enrolled.agent,
            agent.home.launcher(),
            enrolled.root
        )
    })
}

/// The token, from where other users of the machine can't read it if possible.
fn read_token(wish: &Wish<'_>) -> Result<EnrolToken, Failure> {
    let text = match (wish.token, wish.token_file) {
        (_, Some(path)) if path == "-" => {
            let mut text = String::new();
            std::io::stdin()
                .lock()
                .take(16 * 1024)
                .read_to_string(&mut text)
                .map_err(|source| Failure::Stream { act: "read the token", source })?;
            text
        }
        (_, Some(path)) => String::from_utf8_lossy(&read_named(path)?).into_owned(),
        (Some(text), None) => text.to_owned(),
        (None, None) => {
            let reason = "say which token: as an argument, with --token-file FILE (`-`: standard \
                          input), or in HANDOVER_TOKEN";
            return Err(Failure::Refused { code: "enrolment.token", reason: reason.to_owned() });
        }
    };
    EnrolToken::parse(&text)
        .map_err(|error| Failure::Refused { code: "enrolment.token", reason: error.to_string() })
}

/// The name: of a policy that is there, as asked, or this machine's.
fn choose_name(agent: &Agent, wish: &Wish<'_>) -> Result<AgentName, Failure> {
    if agent.home.policy().exists() {
        let there = agent.policy()?.agent;
        return match wish.name {
            Some(name) if *name != there => {
                let reason = format!(
                    "{} calls this host {there}, not {name}: change it there, or leave --name out",
                    agent.home.policy()
                );
                Err(Failure::Refused { code: "enrolment.name", reason })
            }
            Some(_) | None => Ok(there),
        };
    }
    wish.name.cloned().or_else(enrolment::name_of_host).ok_or_else(|| Failure::Refused {
        code: "enrolment.name",
        reason: "this machine's host name can't be an agent's name: say --name".to_owned(),
    })
}
