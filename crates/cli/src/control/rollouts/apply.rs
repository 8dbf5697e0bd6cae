//! A rollout as a file says it: read, compared with what there is, and made so.

use std::io::Read as _;

use camino::Utf8Path;
use handover_client::call::Method;
use handover_engine::rollout::check::check_spec;
use handover_model::api::{RolloutInfo, RolloutSpec};
use serde::Serialize;

use super::super::api::Api;
use super::super::{ControlError, Desk, give, routes, select};
use super::diff::{Difference, between, canonical, lines};
use crate::output::Chain;
use crate::real_world::now;

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
    parse(file, &text)
}

fn parse(file: &Utf8Path, text: &str) -> Result<RolloutSpec, ControlError> {
    let spec = serde_saphyr::from_str(text).map_err(|error| ControlError::Usage {
        what: format!("{file} is not a rollout: {error}; `handover rollout schema` has the form"),
    })?;
    checked(canonical(spec)?)
}

/// A rollout that can work at all; the server checks it against the fleet as well.
pub(super) fn checked(spec: RolloutSpec) -> Result<RolloutSpec, ControlError> {
    match check_spec(&spec, now(), jiff::tz::db()) {
        Ok(()) => Ok(spec),
        Err(error) => {
            let said = Chain(&error).to_string();
            let named = said.starts_with(error.field());
            let what = if named { said } else { format!("{}: {said}", error.field()) };
            Err(ControlError::Usage { what })
        }
    }
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

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;

    fn checkout() -> Utf8PathBuf {
        Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn every_example_is_a_rollout() {
        let directory = checkout().join("examples/rollouts");
        let mut count = 0;
        for file in directory.read_dir_utf8().expect("the examples") {
            let path = file.expect("a file").into_path();
            let spec = read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            let text = std::fs::read_to_string(&path).expect("an example");
            assert!(text.contains("$schema=../../docs/rollout.schema.json"), "{path}");
            let page = std::fs::read_to_string(checkout().join("docs/rollouts.md"));
            let name = path.file_name().expect("a name");
            assert!(page.expect("the page").contains(name), "docs/rollouts.md on {name}");
            assert_eq!(spec.all, name == "everybody-now.yaml");
            count += 1;
        }
        assert_eq!(count, 6);
    }

    #[test]
    fn the_page_s_rollout_is_one() {
        let page = std::fs::read_to_string(checkout().join("docs/rollouts.md")).expect("the page");
        let blocks: Vec<_> = page.split("```yaml\n").skip(1).collect();
        for block in &blocks {
            let text = block.split("```").next().unwrap_or_default();
            let spec: RolloutSpec = serde_saphyr::from_str(text).expect("a rollout");
            canonical(spec).expect("selections");
        }
        assert_eq!(blocks.len(), 1);
    }

    #[test]
    fn a_file_that_is_no_rollout_says_where_and_how_to_go_on() {
        let path = Utf8Path::new("a.yaml");
        let says = |text: &str| parse(path, text).expect_err(text).to_string();
        let bare = "name: a\ncomponent: web\nto: 1.5.0\nselect: all\n";
        let told = says(&format!("{bare}percent: [1, 2]\n"));
        assert!(told.contains("percent") && told.contains("rollout schema"), "{told}");
        let told = says(&bare.replace("all", "label.site == ost"));
        assert!(told.contains("column 12") && told.contains('^'), "{told}");
        let told = says(&format!("{bare}strategy: {{ kind: staged, percent: [50, 20, 100] }}\n"));
        assert!(told.starts_with("strategy.percent: ") && told.contains("ascending"), "{told}");
        let told = says("name: a\n");
        assert!(told.contains("component"), "{told}");
        let absent = read(Utf8Path::new("/nowhere/a.yaml")).expect_err("no file");
        assert_eq!(absent.exit_code(), 5);
    }

    #[test]
    fn json_is_read_as_well() {
        let text = r#"{"name": "a", "component": "web", "to": "1.5.0", "select": "name=web-1",
            "strategy": {"kind": "immediate"}}"#;
        let spec = parse(Utf8Path::new("a.json"), text).expect("a rollout");
        assert_eq!(spec.select, "name = web-1");
    }
}
