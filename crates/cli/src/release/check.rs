//! Reading `release.yaml` and saying everything that is wrong with it.

mod rules;

use camino::Utf8Path;
use handover_model::Manifest;
use serde::Serialize;

use super::{ReleaseError, locate};
use crate::output::Out;
use crate::repo::Shelf;
use crate::secret;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    /// The field, such as `state.migrations[1].down`.
    pub(crate) field: String,
    /// The line it stands on, counted from 1, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) way_out: String,
}

/// Explains a description.
pub(super) fn check(
    file: &Utf8Path,
    repository: Option<&Utf8Path>,
    out: &Out,
) -> Result<(), ReleaseError> {
    let manifest = load_manifest(file)?;
    if let Some(directory) = repository {
        let shelf = Shelf::open(directory)?;
        let role = handover_trust::author::TargetsDoc::role_of(&manifest.component);
        if shelf.published.roles.contains_key(&role) {
            let problems =
                rules::against(&manifest, &shelf.published.component(&manifest.component)?);
            refuse(file, problems)?;
        }
    }
    if manifest.return_within.is_none() {
        out.say("note: without `return_within` a host can return during trial alone");
    }
    let shown = serde_json::json!({ "component": manifest.component, "version": manifest.version, "problems": [] });
    out.result(&shown, |_| {
        format!("{file}: {} {} is well described", manifest.component, manifest.version)
    });
    Ok(())
}

/// Reads a description and refuses one that contradicts itself.
pub(super) fn load_manifest(file: &Utf8Path) -> Result<Manifest, ReleaseError> {
    let bytes = secret::read(file)?;
    let malformed =
        |at: String, what: String| ReleaseError::Malformed { path: file.to_owned(), at, what };
    let text = std::str::from_utf8(&bytes)
        .map_err(|source| malformed(String::new(), format!("it is not UTF-8: {source}")))?;
    let manifest: Manifest = serde_saphyr::from_str(text).map_err(|error| {
        let at = error.location().map_or_else(String::new, |location| {
            format!(":{}:{}", location.line(), location.column())
        });
        malformed(at, first_line(&error.to_string()))
    })?;
    let mut problems = rules::within(&manifest);
    for problem in &mut problems {
        problem.line = locate::line_of(text, &problem.field);
    }
    refuse(file, problems)?;
    Ok(manifest)
}

pub(super) fn refuse(file: &Utf8Path, problems: Vec<Problem>) -> Result<(), ReleaseError> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(ReleaseError::Problems { path: file.to_owned(), problems })
}

/// The parser's own message goes on with an excerpt of the file; its first line is the reason.
fn first_line(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("it does not parse");
    line.trim().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests;
