//! Aim 12: verifying the whole chain of signatures, from the first root to a component's releases.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use handover_model::{ComponentName, Digest, ReleaseFacts, Timestamp};
use handover_trust::author::{Expiry, Online, OnlineKeys, Published, RootDoc, TargetsDoc};
use handover_trust::keys::{PublicKey, SigningKey};
use handover_trust::{Answer, Envelope, Goal, Limits, Memory, Poll, Refresh, VersionFloors};
use zeroize::Zeroizing;

use crate::real_world::timed;
use crate::table::{Row, Samples, ms, ratio};

/// How many signatures the chain has: two of root, targets and component, one of the others.
const SIGNATURES: u32 = 8;

/// Measures it, for a repository of one release and of a thousand.
pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let signature = one_signature()?;
    let bare = signature * SIGNATURES;
    let mut rows = Vec::new();
    for (what, releases, aim, limit) in [
        ("verify a release's whole chain", 1, "≤ 0.15 ms", 150),
        ("the same, with 1,000 releases", 1000, "≤ 0.9 ms", 900),
    ] {
        let took = chain(releases)?;
        rows.push(Row {
            what,
            found: ms(took),
            aim,
            is_met: Some(took <= Duration::from_micros(limit)),
            beside: format!(
                "{SIGNATURES} bare Ed25519 verifications: {}; {}",
                ms(bare),
                ratio(took, bare)
            ),
        });
    }
    Ok(rows)
}

fn key(name: &str) -> anyhow::Result<SigningKey> {
    Ok(SigningKey::from_seed(Zeroizing::new(*Digest::of(name.as_bytes()).as_bytes()))?)
}

fn one_signature() -> anyhow::Result<Duration> {
    let key = key("peer")?;
    let (public, text) = (key.public(), [7; 512]);
    let signature = key.sign(&text);
    let mut samples = Samples::default();
    for _ in 0..500 {
        let (is_valid, took) = timed(|| public.has_signed(&text, &signature));
        anyhow::ensure!(is_valid, "a signature does not verify");
        samples.0.push(took);
    }
    Ok(samples.median())
}

fn chain(releases: u64) -> anyhow::Result<Duration> {
    let now: Timestamp = "2030-01-15T00:00:00Z".parse().ok().context("a time")?;
    let files: BTreeMap<_, _> = publish(releases)?.files()?.into_iter().collect();
    let mut samples = Samples::default();
    for _ in 0..100 {
        let (verified, took) = timed(|| verify(&files, now));
        verified?;
        samples.0.push(took);
    }
    Ok(samples.median())
}

/// What a host does that was just set up, all but the fetching.
fn verify(files: &BTreeMap<String, Vec<u8>>, now: Timestamp) -> anyhow::Result<()> {
    let pinned_root = files.get("1.root.json").cloned().context("there is a first root")?;
    let memory = Memory { pinned_root, files: BTreeMap::new(), floors: VersionFloors::first() };
    let goals = vec![Goal::Component("web".parse()?)];
    let mut refresh = Refresh::begin(memory, goals, Limits::default(), now)?;
    loop {
        match refresh.poll() {
            Poll::Fetch(want) => refresh.feed(match files.get(&want.name) {
                Some(bytes) => Answer::Bytes(bytes.clone()),
                None => Answer::NotFound,
            })?,
            Poll::Save(_) => {}
            Poll::Done => return Ok(refresh.finish().map(drop)?),
        }
    }
}

fn publish(releases: u64) -> anyhow::Result<Published> {
    let component: ComponentName = "web".parse()?;
    let far = Expiry("2030-12-31T00:00:00Z".parse().ok().context("a time")?);
    let (snapshot, timestamp) = (key("snapshot")?, key("timestamp")?);
    let online = OnlineKeys { snapshot: snapshot.public(), timestamp: timestamp.public() };
    let root_keys = [key("root-a")?, key("root-b")?, key("root-c")?];
    let release_keys = [key("web-a")?, key("web-b")?, key("web-c")?];
    let root = RootDoc::first(&root_keys.each_ref().map(SigningKey::public), 2, &online, far)?;
    let public: Vec<PublicKey> = release_keys.iter().map(SigningKey::public).collect();
    let mut targets = TargetsDoc::empty(1, far);
    targets.change_component(&component, &public, &[], Some(2))?;
    let mut document = TargetsDoc::empty(1, far);
    for sequence in 1..=releases {
        let version = format!("1.0.{sequence}");
        let digest = Digest::of(version.as_bytes());
        let facts: ReleaseFacts = serde_json::from_value(serde_json::json!({
            "format": 1, "component": "web", "version": version, "sequence": sequence,
            "platform": "linux-x86_64", "channel": "stable", "upgrades_from": "*", "launcher": 1,
            "manifest": digest, "unpacked_bytes": 1000, "entries": 3,
        }))?;
        document.add_package(&facts, 1000, digest)?;
    }
    let mut published = Published::default();
    published.put_root(signed(&root, &root_keys[..2])?)?;
    published.roles.insert("targets".to_owned(), signed(&targets, &root_keys[..2])?);
    let role = TargetsDoc::role_of(&component);
    published.roles.insert(role, signed(&document, &release_keys[..2])?);
    published.renew(&Online {
        snapshot: vec![&snapshot],
        timestamp: vec![&timestamp],
        snapshot_expires: far,
        timestamp_expires: far,
    })?;
    Ok(published)
}

fn signed<T: serde::Serialize>(document: &T, keys: &[SigningKey]) -> anyhow::Result<Vec<u8>> {
    let mut envelope = Envelope::unsigned(document)?;
    for key in keys {
        envelope.sign(key)?;
    }
    Ok(envelope.to_bytes()?)
}
