//! The first `release.yaml`.

use camino::Utf8Path;
use handover_hoststeps::disk;
use handover_model::{ComponentName, Version};

use super::ReleaseError;
use crate::output::Out;
use crate::repo::RepoError;

const TEXT: &str = include_str!("template.yaml");

/// Writes it, never over another file.
pub(super) fn write(
    component: &ComponentName,
    version: &Version,
    file: &Utf8Path,
    out: &Out,
) -> Result<(), ReleaseError> {
    let text = text(component, version);
    if !disk::write_new(file, text.as_bytes(), 0o644)? {
        return Err(RepoError::Exists { path: file.to_owned() }.into());
    }
    out.say(&format!("{file}: edit it, then `handover release check {file}`"));
    Ok(())
}

pub(super) fn text(component: &ComponentName, version: &Version) -> String {
    TEXT.replace("@COMPONENT@", component.as_str()).replace("@VERSION@", &version.to_string())
}
