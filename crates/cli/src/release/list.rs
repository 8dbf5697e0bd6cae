//! What is published.

use std::collections::BTreeMap;

use camino::Utf8Path;
use handover_model::{ComponentName, Digest, ReleaseFacts, Version};
use handover_trust::author::TargetsDoc;
use serde::Serialize;

use super::ReleaseError;
use crate::output::{Out, table};
use crate::repo::Shelf;

#[derive(Debug, Serialize)]
struct Listed {
    path: String,
    length: u64,
    sha256: Digest,
    openpgp: bool,
    facts: ReleaseFacts,
}

fn load(shelf: &Shelf, component: &ComponentName) -> Result<Vec<Listed>, ReleaseError> {
    if !shelf.published.roles.contains_key(&TargetsDoc::role_of(component)) {
        return Err(ReleaseError::NotPublished { subject: component.to_string() });
    }
    let document = shelf.published.component(component)?;
    let mut listed: Vec<_> = document
        .releases()
        .filter_map(|(path, facts)| {
            let target = document.targets.get(path)?;
            Some(Listed {
                path: path.clone(),
                length: target.length,
                sha256: target.hashes.sha256,
                openpgp: document.targets.contains_key(&format!("{path}.asc")),
                facts,
            })
        })
        .collect();
    listed.sort_by(|a, b| (a.facts.sequence, &a.path).cmp(&(b.facts.sequence, &b.path)));
    Ok(listed)
}

/// Lists all, or one component's.
pub(super) fn list(
    repository: &Utf8Path,
    component: Option<&ComponentName>,
    out: &Out,
) -> Result<(), ReleaseError> {
    let shelf = Shelf::open(repository)?;
    let mut listed = Vec::new();
    match component {
        Some(component) => listed.extend(load(&shelf, component)?),
        None => {
            for component in shelf.published.targets()?.components() {
                if shelf.published.roles.contains_key(&TargetsDoc::role_of(&component)) {
                    listed.extend(load(&shelf, &component)?);
                }
            }
        }
    }
    out.result(&listed, |listed| {
        let head = ["COMPONENT", "VERSION", "PLATFORM", "SEQUENCE", "CHANNEL", "BYTES", "STATE"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(listed.iter().map(|package| {
            let facts = &package.facts;
            vec![
                facts.component.to_string(),
                facts.version.to_string(),
                facts.platform.to_string(),
                facts.sequence.to_string(),
                facts.channel.clone(),
                package.length.to_string(),
                facts.revoked.as_ref().map_or_else(String::new, |why| format!("revoked: {why}")),
            ]
        }));
        table(&rows)
    });
    Ok(())
}

/// Shows one release on all its platforms.
pub(super) fn show(
    repository: &Utf8Path,
    component: &ComponentName,
    version: &Version,
    out: &Out,
) -> Result<(), ReleaseError> {
    let shelf = Shelf::open(repository)?;
    let mut listed = load(&shelf, component)?;
    listed.retain(|package| package.facts.version == *version);
    if listed.is_empty() {
        return Err(ReleaseError::NotPublished { subject: format!("{component} {version}") });
    }
    out.result(&listed, |listed| listed.iter().map(describe).collect::<Vec<_>>().join("\n\n"));
    Ok(())
}

fn describe(package: &Listed) -> String {
    let facts = &package.facts;
    let also: Vec<_> = facts.also_from.iter().map(ToString::to_string).collect();
    let returns = facts
        .return_within
        .map_or_else(|| "during trial alone".to_owned(), |length| format!("within {length}"));
    let mut lines = vec![
        format!("{}", package.path),
        format!("  sequence      {}", facts.sequence),
        format!("  channel       {}", facts.channel),
        format!("  upgrades from {}", facts.upgrades_from),
        format!(
            "  also from     {}",
            if also.is_empty() { "-".to_owned() } else { also.join(", ") }
        ),
        format!("  floor         {}", if facts.floor { "yes" } else { "no" }),
        format!("  returns       {returns}"),
        format!("  package       {} bytes, sha256 {}", package.length, package.sha256),
        format!("  unpacked      {} bytes, {} entries", facts.unpacked_bytes, facts.entries),
        format!("  OpenPGP       {}", if package.openpgp { "signed" } else { "-" }),
    ];
    lines.extend(facts.notes.as_ref().map(|notes| format!("  notes         {notes}")));
    lines.extend(facts.revoked.as_ref().map(|why| format!("  REVOKED       {why}")));
    lines.join("\n")
}

/// Shows which release takes over from which.
pub(super) fn graph(
    repository: &Utf8Path,
    component: &ComponentName,
    out: &Out,
) -> Result<(), ReleaseError> {
    let shelf = Shelf::open(repository)?;
    let mut releases = BTreeMap::new();
    for package in load(&shelf, component)? {
        releases.entry(package.facts.version.clone()).or_insert(package.facts);
    }
    let edges: BTreeMap<_, Vec<_>> = releases
        .iter()
        .map(|(version, to)| {
            let from = releases.values().filter(|from| takes_over(to, from));
            (version.clone(), from.map(|from| from.version.clone()).collect())
        })
        .collect();
    out.result(&edges, |edges| {
        let mut rows = vec![["RELEASE", "SEQUENCE", "TAKES OVER FROM"].map(str::to_owned).to_vec()];
        for (version, from) in edges {
            let facts = releases.get(version);
            let mark = facts.map_or("", |facts| match (facts.floor, &facts.revoked) {
                (_, Some(_)) => " (revoked)",
                (true, None) => " (floor)",
                (false, None) => "",
            });
            let sequence = facts.map_or(0, |facts| facts.sequence);
            let from: Vec<_> = from.iter().map(ToString::to_string).collect();
            let from =
                if from.is_empty() { "nothing published".to_owned() } else { from.join(", ") };
            rows.push(vec![format!("{version}{mark}"), sequence.to_string(), from]);
        }
        table(&rows)
    });
    Ok(())
}

/// DESIGN 5.5: B takes over from A when its range holds A and it was produced later, or when it
/// names A.
fn takes_over(to: &ReleaseFacts, from: &ReleaseFacts) -> bool {
    let later = to.upgrades_from.holds(&from.version) && to.sequence > from.sequence;
    to.version != from.version && (later || to.also_from.contains(&from.version))
}
