//! A repository for servers that are measured or killed: one component in several versions, by one
//! keyholder. Its packages are a few words each: nobody unpacks one here.

use std::fs::{self, File};
use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use camino::Utf8Path;
use handover_model::{ComponentName, Digest, ReleaseFacts, Timestamp};
use handover_trust::Envelope;
use handover_trust::author::{Expiry, Online, OnlineKeys, Published, RootDoc, TargetsDoc};
use handover_trust::keys::SigningKey;
use serde::Serialize;
use serde_json::json;

/// Lays a repository with `versions` of `component` out in `directory`, the first one as the
/// tenth release of its line. A package is its digest's [`package`].
pub(crate) fn lay_out(
    directory: &Utf8Path,
    component: &str,
    versions: &[String],
    now: Timestamp,
) -> anyhow::Result<()> {
    let key = SigningKey::from_seed([1; 32].into())?;
    let name: ComponentName = component.parse()?;
    let expiry = Expiry(now.after(Duration::from_hours(24)));
    let online = OnlineKeys { snapshot: key.public(), timestamp: key.public() };
    let root = RootDoc::first(&[key.public()], 1, &online, expiry)?;
    let mut published = Published::default();
    published.put_root(signed(&root, &key)?)?;
    let mut targets = TargetsDoc::empty(1, expiry);
    targets.change_component(&name, &[key.public()], &[], Some(1))?;
    published.roles.insert("targets".to_owned(), signed(&targets, &key)?);
    let mut offered = TargetsDoc::empty(1, expiry);
    for (sequence, version) in (10_u64..).zip(versions) {
        let bytes = package(component, version);
        let digest = Digest::of(&bytes);
        let facts: ReleaseFacts = serde_json::from_value(json!({
            "format": 1, "component": component, "version": version, "sequence": sequence,
            "platform": "any", "channel": "stable", "upgrades_from": "*", "launcher": 1,
            "manifest": Digest::of(b"manifest"), "unpacked_bytes": 1, "entries": 1,
        }))?;
        offered.add_package(&facts, u64::try_from(bytes.len())?, digest)?;
        let path = TargetsDoc::path_of(&facts);
        let (parent, file) = path.rsplit_once('/').context("a path with directories")?;
        put(directory, &format!("targets/{parent}/{digest}.{file}"), &bytes)?;
    }
    published.roles.insert(TargetsDoc::role_of(&name), signed(&offered, &key)?);
    published.renew(&Online {
        snapshot: vec![&key],
        timestamp: vec![&key],
        snapshot_expires: expiry,
        timestamp_expires: expiry,
    })?;
    for (name, bytes) in published.files()? {
        put(directory, &format!("metadata/{name}"), &bytes)?;
    }
    Ok(())
}

/// The bytes of a package.
pub(crate) fn package(component: &str, version: &str) -> Vec<u8> {
    format!("{component} {version}").into_bytes()
}

fn signed<T: Serialize>(document: &T, key: &SigningKey) -> anyhow::Result<Vec<u8>> {
    let mut envelope = Envelope::unsigned(document)?;
    envelope.sign(key)?;
    Ok(envelope.to_bytes()?)
}

fn put(directory: &Utf8Path, path: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = directory.join(path);
    fs::create_dir_all(path.parent().context("a path has a parent")?)?;
    Ok(File::create(&path)?.write_all(bytes)?)
}
