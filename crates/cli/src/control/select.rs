//! Selections as people type them: checked here first, so that a slip is shown where it is; and
//! `handover selection`, which tries them out.

use handover_engine::selection::{Selection, SelectionError};
use handover_model::api::{SelectionPreview, SelectionRequest};

use super::api::Api;
use super::{ControlError, Desk, routes};
use crate::output::fields;

/// What `selection` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum SelectionCommand {
    /// Show how many agents a selection matches now, and which words of it nobody has.
    #[command(
        after_help = "Example: handover selection preview 'label.site = ost and web < 2.0.0'"
    )]
    Preview {
        /// The selection (docs/selections.md).
        #[arg(value_parser = parse_argument)]
        selection: Selection,
    },
}

/// Runs one.
pub(super) fn run(command: &SelectionCommand, desk: &Desk<'_>) -> Result<(), ControlError> {
    let SelectionCommand::Preview { selection } = command;
    let (_, api) = desk.open()?;
    let found = preview(&api, selection)?;
    desk.out.result(&found, describe);
    for unknown in &found.unknown {
        crate::output::warn(unknown);
    }
    Ok(())
}

fn describe(found: &SelectionPreview) -> String {
    let names: Vec<_> = found.first.iter().map(ToString::to_string).collect();
    let more = usize::try_from(found.matched).is_ok_and(|matched| matched > names.len());
    let mut pairs = vec![
        ("selection", found.select.clone()),
        (
            "matches",
            format!("{} of {} agents, {} of them away", found.matched, found.of, found.away),
        ),
    ];
    if !names.is_empty() {
        pairs.push(("first", format!("{}{}", names.join(", "), if more { ", …" } else { "" })));
    }
    fields(&pairs)
}

/// Reads a selection; what is wrong is pointed at.
pub(super) fn parse(text: &str) -> Result<Selection, ControlError> {
    Selection::parse(text).map_err(|error| ControlError::Usage { what: pointed_at(text, &error) })
}

/// The same, as what `clap` takes.
pub(super) fn parse_argument(text: &str) -> Result<Selection, String> {
    Selection::parse(text).map_err(|error| pointed_at(text, &error))
}

/// What a selection matches now.
pub(super) fn preview(api: &Api, selection: &Selection) -> Result<SelectionPreview, ControlError> {
    let request = SelectionRequest { select: selection.to_string() };
    api.post("look what the selection matches", routes::SELECTION_PREVIEW, &request)
}

/// Makes sure that a selection which matches every agent is meant to: `all` says so, or a person
/// who is asked. Answers whether every agent is meant.
pub(super) fn settle(api: &Api, selection: &Selection, all: bool) -> Result<bool, ControlError> {
    if all {
        return Ok(true);
    }
    let found = preview(api, selection)?;
    // One agent of one is as meant as it can be.
    let everything = selection.is_everything() || found.matched > 1 && found.matched == found.of;
    if !everything {
        return Ok(false);
    }
    let question =
        format!("`{selection}` matches every agent there is, {}. Is that meant?", found.matched);
    match crate::output::ask(&question) {
        Some(true) => Ok(true),
        Some(false) => Err(ControlError::Declined { what: "nothing was changed".to_owned() }),
        None => Err(ControlError::Usage {
            what: format!("{question} There is no terminal to ask at: say --all"),
        }),
    }
}

/// The message, the text, and a mark under the column.
fn pointed_at(text: &str, error: &SelectionError) -> String {
    let short = text.chars().count() <= 200 && !text.contains('\n');
    match error.column() {
        Some(column) if short => format!("{error}\n  {text}\n  {:>column$}", '^'),
        Some(_) | None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_pointed_at() {
        let told = parse("label.site == ost").expect_err("two signs").to_string();
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines[1..], ["  label.site == ost", "             ^"]);
        assert!(lines[0].contains("write `=`"), "{told}");
        assert!(!parse("").expect_err("empty").to_string().contains('^'));
    }
}
