//! Publishing: what waits and is signed moves into place, proved first by being its own client.

use std::collections::BTreeSet;

use camino::Utf8Path;
use handover_hoststeps::disk;
use handover_trust::Envelope;
use handover_trust::author::{Published, RootDoc, TargetDoc, TargetsDoc};
use handover_trust::keys::Keys;

use super::{RepoError, Shelf};
use crate::output::Out;
use crate::real_world::now;

/// Publishes everything that waits, or nothing.
pub(crate) fn publish(directory: &Utf8Path, out: &Out) -> Result<(), RepoError> {
    let shelf = Shelf::open(directory)?;
    let roles = shelf.staged_roles()?;
    if roles.is_empty() {
        out.say("nothing waits to be published");
        return Ok(());
    }
    let missing = missing_signatures(&shelf)?;
    if !missing.is_empty() {
        return Err(RepoError::Unsigned { missing });
    }
    let (before, after) = (shelf.published.clone(), shelf.coming_root()?);
    let old_root = before.root().ok();
    let roots: Vec<&RootDoc> = old_root.iter().chain([&after]).collect();
    let keys = shelf.online_keys()?;
    let online = shelf.online(&keys, &roots, now())?;

    let bridge = bridge_over_online_keys(&before, old_root.as_ref(), &after, |published| {
        published.renew(&online)
    })?;
    let mut coming = bridge.clone().unwrap_or(before);
    for role in &roles {
        let Some(envelope) = shelf.staged(role)? else { continue };
        let bytes = envelope.to_bytes()?;
        if role == "root" {
            coming.put_root(bytes)?;
        } else {
            coming.roles.insert(role.clone(), bytes);
        }
    }
    coming.renew(&online)?;
    coming.prove(now())?;

    move_packages(&shelf, &coming, out)?;
    if let Some(bridge) = bridge {
        shelf.write_metadata(&bridge)?;
    }
    shelf.write_metadata(&coming)?;
    for role in &roles {
        shelf.unstage(role)?;
    }
    out.say(&format!("published {} to {}", roles.join(", "), shelf.public()));
    Ok(())
}

/// Signs snapshot and timestamp anew.
pub(super) fn refresh(directory: &Utf8Path, out: &Out) -> Result<(), RepoError> {
    let shelf = Shelf::open(directory)?;
    let root = shelf.published.root()?;
    let keys = shelf.online_keys()?;
    let online = shelf.online(&keys, &[&root], now())?;
    let mut coming = shelf.published.clone();
    let left = coming.snapshot()?.expires.0.since(now());
    if left < shelf.lifetimes.snapshot.duration() / 2 {
        coming.renew(&online)?;
    } else {
        coming.renew_timestamp(&online)?;
    }
    coming.prove(now())?;
    shelf.write_metadata(&coming)?;
    out.say(&format!("fresh until {}", coming.timestamp()?.expires.0));
    Ok(())
}

/// When online keys change, what is published is first signed by old and new keys together, so
/// that a reader who meets the new root before the new timestamp is served, and the other way
/// round.
fn bridge_over_online_keys(
    before: &Published,
    old: Option<&RootDoc>,
    new: &RootDoc,
    renew: impl Fn(&mut Published) -> Result<(), handover_trust::VerifyError>,
) -> Result<Option<Published>, RepoError> {
    let changed = |role: &str| old.is_some_and(|old| old.keys_of(role) != new.keys_of(role));
    if before.timestamp.is_none() || !(changed("snapshot") || changed("timestamp")) {
        return Ok(None);
    }
    let mut bridge = before.clone();
    renew(&mut bridge)?;
    Ok(Some(bridge))
}

/// What each waiting document still lacks, a line each; empty when everything can be published.
pub(crate) fn missing_signatures(shelf: &Shelf) -> Result<Vec<String>, RepoError> {
    let mut missing = Vec::new();
    for role in shelf.staged_roles()? {
        let Some(envelope) = shelf.staged(&role)? else { continue };
        for (whose, keys, threshold) in signers_of(shelf, &role)? {
            missing.extend(lacking(&role, whose, &envelope, &keys, threshold)?);
        }
    }
    Ok(missing)
}

type Signers = (&'static str, Keys, u32);

/// Whose signatures a waiting document needs.
fn signers_of(shelf: &Shelf, role: &str) -> Result<Vec<Signers>, RepoError> {
    let coming = shelf.coming_root()?;
    if role == "root" {
        let mut all = vec![("new root", coming.keys_of("root"), coming.threshold_of("root"))];
        if !shelf.published.roots.is_empty() {
            let old = shelf.published.root()?;
            all.push(("present root", old.keys_of("root"), old.threshold_of("root")));
        }
        return Ok(all);
    }
    if role == "targets" {
        return Ok(vec![("root", coming.keys_of("targets"), coming.threshold_of("targets"))]);
    }
    let targets = shelf.coming_targets()?;
    let component = role.strip_prefix("component-").and_then(|name| name.parse().ok());
    let known = component.filter(|component| targets.threshold_of(component) > 0);
    let Some(component) = known else {
        let what = format!("{role} has no keys; `handover repo add-key` gives it some");
        return Err(RepoError::Refused { what });
    };
    Ok(vec![("release", targets.keys_of(&component), targets.threshold_of(&component))])
}

fn lacking(
    role: &str,
    whose: &str,
    envelope: &Envelope,
    keys: &Keys,
    threshold: u32,
) -> Result<Option<String>, RepoError> {
    let signed = envelope.signers(keys)?;
    if usize::try_from(threshold).is_ok_and(|threshold| signed.len() >= threshold) {
        return Ok(None);
    }
    let waiting = keys.iter().filter(|(id, _)| !signed.contains(*id)).map(|(id, key)| {
        let short: String = id.chars().take(8).collect();
        key.owner().map_or_else(|| short.clone(), |owner| format!("{owner} ({short})"))
    });
    Ok(Some(format!(
        "  {role}: {} of {threshold} {whose} signatures; may still sign: {}",
        signed.len(),
        waiting.collect::<Vec<_>>().join(", "),
    )))
}

/// Puts every listed package under its public name, checking each byte again on the way.
fn move_packages(shelf: &Shelf, coming: &Published, out: &Out) -> Result<(), RepoError> {
    for (role, bytes) in &coming.roles {
        if role == "targets" {
            continue;
        }
        let document: TargetsDoc = Envelope::parse(bytes)?.document()?;
        for (path, target) in &document.targets {
            move_package(shelf, path, target, out)?;
        }
    }
    let waiting = shelf.waiting();
    if waiting.is_dir() {
        disk::remove_tree(&waiting)?;
    }
    Ok(())
}

fn move_package(shelf: &Shelf, path: &str, target: &TargetDoc, out: &Out) -> Result<(), RepoError> {
    let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
    let goal = shelf.public().join("targets").join(directory);
    let goal = goal.join(format!("{}.{file}", target.hashes.sha256));
    if goal.is_file() {
        return Ok(());
    }
    let from = shelf.waiting().join(path);
    if !from.is_file() {
        let what = format!(
            "{path} is listed, but neither staged nor published; stage it again with \
             `handover release stage`"
        );
        return Err(RepoError::Refused { what });
    }
    if let Some(parent) = goal.parent() {
        disk::make_dir(parent)?;
    }
    let bar = out.bar("checking", target.length);
    let (length, found) = crate::release::digest_file(&from, &bar)?;
    bar.finish_and_clear();
    if (length, found) != (target.length, target.hashes.sha256) {
        let what = format!("{from} changed since it was signed; build and stage it again");
        return Err(RepoError::Refused { what });
    }
    disk::rename(&from, &goal)?;
    Ok(())
}

/// The ids of keys that are in use somewhere, for people.
pub(super) fn short_ids(keys: &Keys) -> BTreeSet<String> {
    keys.iter()
        .map(|(id, key)| {
            let short: String = id.chars().take(8).collect();
            key.owner().map_or_else(|| short.clone(), |owner| format!("{owner}:{short}"))
        })
        .collect()
}
