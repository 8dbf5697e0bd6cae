//! Listing packages in their component's next document.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;

use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::disk;
use handover_model::{ComponentName, Digest, Hasher, Version};
use handover_trust::author::TargetsDoc;
use indicatif::ProgressBar;

use super::ReleaseError;
use super::build::{PackageFacts, facts_path};
use crate::output::Out;
use crate::real_world::now;
use crate::repo::{RepoError, Shelf};
use crate::secret;

/// Stages packages, or one component's document anew.
pub(super) fn stage(
    repository: &Utf8Path,
    packages: &[Utf8PathBuf],
    component: Option<&ComponentName>,
    out: &Out,
) -> Result<(), ReleaseError> {
    if packages.is_empty() && component.is_none() {
        let what = "name packages, or --component to renew its document".to_owned();
        return Err(RepoError::Refused { what }.into());
    }
    let shelf = Shelf::open(repository)?;
    let mut touched: BTreeSet<_> = component.cloned().into_iter().collect();
    for package in packages {
        touched.insert(stage_package(&shelf, package, out)?);
    }
    for component in &touched {
        finish(&shelf, component, &shelf.draft_component(component, now())?, out)?;
    }
    Ok(())
}

/// Stages a revocation.
pub(super) fn revoke(
    repository: &Utf8Path,
    component: &ComponentName,
    version: &Version,
    reason: &str,
    out: &Out,
) -> Result<(), ReleaseError> {
    let shelf = Shelf::open(repository)?;
    let mut draft = shelf.draft_component(component, now())?;
    draft.revoke(component, version, reason)?;
    finish(&shelf, component, &draft, out)
}

fn finish(
    shelf: &Shelf,
    component: &ComponentName,
    draft: &TargetsDoc,
    out: &Out,
) -> Result<(), ReleaseError> {
    let threshold = shelf.coming_targets()?.threshold_of(component);
    if threshold == 0 {
        let component = component.to_string();
        return Err(handover_trust::author::AuthorError::NoSuchComponent { component }.into());
    }
    let path = shelf.stage(&TargetsDoc::role_of(component), draft)?;
    let shown =
        serde_json::json!({ "document": path, "version": draft.version, "threshold": threshold });
    out.result(&shown, |_| {
        format!("{path} (version {}) waits for {threshold} release signature(s)", draft.version)
    });
    Ok(())
}

fn stage_package(
    shelf: &Shelf,
    package: &Utf8Path,
    out: &Out,
) -> Result<ComponentName, ReleaseError> {
    let described = facts_path(package);
    let bytes = secret::read(&described)?;
    let facts: PackageFacts = serde_json::from_slice(&bytes)
        .map_err(|source| RepoError::Damaged { path: described, source })?;
    let bar = out.bar("checking", facts.length);
    let found = digest_file(package, &bar)?;
    bar.finish_and_clear();
    if found != (facts.length, facts.sha256) {
        let what = "it is not the package that its facts file describes; build it again".to_owned();
        return Err(ReleaseError::Payload { path: package.to_owned(), what });
    }
    let component = facts.facts.component.clone();
    let path = TargetsDoc::path_of(&facts.facts);
    let mut draft = shelf.draft_component(&component, now())?;
    draft.add_package(&facts.facts, facts.length, facts.sha256)?;
    copy_aside(shelf, package, &path)?;
    let signature = Utf8PathBuf::from(format!("{package}.asc"));
    if let Some(armour) = disk::read(&signature)? {
        let length = u64::try_from(armour.len()).unwrap_or(u64::MAX);
        draft.add_file(format!("{path}.asc"), length, Digest::of(&armour), None)?;
        copy_aside(shelf, &signature, &format!("{path}.asc"))?;
    }
    shelf.stage(&TargetsDoc::role_of(&component), &draft)?;
    Ok(component)
}

/// Copies a file to where it waits, whole or not at all.
fn copy_aside(shelf: &Shelf, from: &Utf8Path, path: &str) -> Result<(), ReleaseError> {
    let goal = shelf.waiting().join(path);
    let parent = goal.parent().unwrap_or(Utf8Path::new(".")).to_owned();
    disk::make_dir(&parent)?;
    let mut aside = tempfile::Builder::new()
        .prefix(disk::ASIDE_PREFIX)
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(&parent)
        .map_err(ReleaseError::io("write into", &parent))?;
    let mut file = File::open(from).map_err(ReleaseError::io("open", from))?;
    std::io::copy(&mut file, aside.as_file_mut()).map_err(ReleaseError::io("copy", from))?;
    aside.as_file().sync_all().map_err(ReleaseError::io("write", &goal))?;
    aside.persist(&goal).map_err(|error| ReleaseError::io("replace", &goal)(error.error))?;
    disk::sync_parent(&goal)?;
    Ok(())
}

/// A file's length and SHA-256.
pub(crate) fn digest_file(path: &Utf8Path, bar: &ProgressBar) -> Result<(u64, Digest), RepoError> {
    let io = |act| move |source| RepoError::Io { act, path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io("open"))?;
    let (mut hasher, mut length, mut piece) = (Hasher::default(), 0_u64, vec![0; 1 << 16]);
    loop {
        let count = file.read(&mut piece).map_err(io("read"))?;
        if count == 0 {
            return Ok((length, hasher.finish()));
        }
        hasher.update(piece.get(..count).unwrap_or_default());
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        length = length.saturating_add(count);
        bar.inc(count);
    }
}
