//! A rollout as a file says it: read, compared with what there is, and made so.

use std::io::Read as _;

use camino::Utf8Path;
use handover_client::call::Method;
use handover_model::api::{RolloutInfo, RolloutSpec};
use serde::Serialize;

use super::super::api::Api;
use super::super::{ControlError, Desk, give, routes, select};
use super::diff::{Difference, between, canonical, lines};

/// The most bytes of a file.
const LARGEST: u64 = 1024 * 1024;

/// How a file is applied.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// Only look.
    pub(super) dry_run: bool,
    /// A selection that matches every agent is meant.
    pub(super) all: bool,
    /// Nobody is asked.
    pub(super) yes: bool,
}

/// What was done, for programs.
#[derive(Debug, Serialize)]
struct Applied {
    /// `created`, `changed`, `unchanged`, or with `--dry-run` `would_create`, `would_change`.
    action: &'static str,
    differences: Vec<Difference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollout: Option<RolloutInfo>,
}

/// What stands under the file's name.
enum There {
    /// Nothing, or something that is over and was asked for otherwise.
    Nothing,
    /// A rollout, and its entity tag.
    One(Box<RolloutInfo>, Option<String>),
}

/// Reads a rollout from a file, YAML or JSON; selections in their one spelling.
pub(super) fn read(file: &Utf8Path) -> Result<RolloutSpec, ControlError> {
    let text =
        text_of(file).map_err(|source| ControlError::ReadFile { path: file.to_owned(), source })?;
    let spec = serde_saphyr::from_str(&text).map_err(|error| ControlError::Usage {
        what: format!("{file} is not a rollout: {error}; `handover rollout schema` has the form"),
    })?;
    canonical(spec)
}

fn text_of(file: &Utf8Path) -> std::io::Result<String> {
    let mut text = String::new();
    if file == "-" {
        std::io::stdin().take(LARGEST).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(file)?.take(LARGEST).read_to_string(&mut text)?;
    }
    Ok(text)
}

/// Shows how a file differs from what there is.
pub(super) fn diff(api: &Api, file: &Utf8Path, desk: &Desk<'_>) -> Result<(), ControlError> {
    let spec = read(file)?;
    let there = look(api, &spec)?;
    let differences = between(there.spec().transpose()?.as_ref(), &spec);
    match &there {
        There::Nothing => desk.out.say(&format!("there is no rollout {} yet", spec.name)),
        There::One(..) if differences.is_empty() => {
            desk.out.say(&format!("rollout {} is as the file says", spec.name));
        }
        There::One(..) => {}
    }
    desk.out.result(&differences, |differences| lines(differences));
    Ok(())
}

/// Makes a rollout as a file says.
pub(super) fn apply(
    api: &Api,
    file: &Utf8Path,
    how: How,
    desk: &Desk<'_>,
) -> Result<(), ControlError> {
    let mut spec = read(file)?;
    spec.all |= how.all;
    let there = look(api, &spec)?;
    let differences = between(there.spec().transpose()?.as_ref(), &spec);
    let applied = match there {
        There::One(rollout, _) if differences.is_empty() => {
            Applied { action: "unchanged", differences, rollout: Some(*rollout) }
        }
        There::Nothing if how.dry_run => {
            Applied { action: "would_create", differences, rollout: None }
        }
        There::One(rollout, _) if how.dry_run => {
            Applied { action: "would_change", differences, rollout: Some(*rollout) }
        }
        There::Nothing => {
            spec.all = select::settle(api, &select::parse(&spec.select)?, spec.all)?;
            let made = api.post("create the rollout", routes::ROLLOUTS, &spec)?;
            Applied { action: "created", differences, rollout: Some(made) }
        }
        There::One(rollout, tag) => {
            let question = format!(
                "{}\nChange rollout {}, which is {}?",
                lines(&differences),
                rollout.name,
                rollout.state
            );
            give::confirm(&question, how.yes)?;
            spec.all |= rollout.spec.all;
            if differences.iter().any(|one| one.field == "select") {
                spec.all = select::settle(api, &select::parse(&spec.select)?, how.all)?;
            }
            let path = routes::one(routes::ROLLOUTS, rollout.id);
            let act = "change the rollout";
            let made = api.change(act, (Method::Put, &path), Some(&spec), tag.as_deref())?;
            Applied { action: "changed", differences, rollout: Some(made) }
        }
    };
    desk.out.result(&applied, |applied| describe(applied, &spec));
    Ok(())
}

fn describe(applied: &Applied, spec: &RolloutSpec) -> String {
    let name = &spec.name;
    let changes = lines(&applied.differences);
    let state = applied.rollout.as_ref().map_or_else(String::new, |one| one.state.to_string());
    match applied.action {
        "unchanged" => format!("rollout {name} is as the file says, and {state}"),
        "would_create" => format!("{changes}\nrollout {name} would be created"),
        "would_change" => format!("{changes}\nrollout {name} would be changed"),
        done => format!("{changes}\nrollout {name} is {done}, and {state}"),
    }
}

impl There {
    fn spec(&self) -> Option<Result<RolloutSpec, ControlError>> {
        match self {
            Self::Nothing => None,
            Self::One(rollout, _) => Some(canonical(rollout.spec.clone())),
        }
    }
}

/// The rollout of the file's name. One that is over counts where the file says the same: then
/// nothing is to be done. Otherwise its name is free.
fn look(api: &Api, spec: &RolloutSpec) -> Result<There, ControlError> {
    let path = routes::one(routes::ROLLOUTS, &spec.name);
    let found = api.get_tagged::<RolloutInfo>("look the rollout up", &path);
    let (rollout, tag) = match found {
        Err(ControlError::Refused { status: 404, .. }) => return Ok(There::Nothing),
        other => other?,
    };
    let same = between(Some(&canonical(rollout.spec.clone())?), spec).is_empty();
    if rollout.state.is_over() && !same {
        return Ok(There::Nothing);
    }
    Ok(There::One(Box::new(rollout), tag))
}
