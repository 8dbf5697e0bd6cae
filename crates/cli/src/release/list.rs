//! What is published.

use std::collections::BTreeMap;

use camino::Utf8Path;
use handover_engine::graph::{From, Graph, Offer, View, render};
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
    let offers: Vec<Offer> = load(&shelf, component)?
        .into_iter()
        .map(|package| Offer { facts: package.facts, digest: package.sha256 })
        .collect();
    let graph = Graph::new(&offers, &View::default());
    let edges: BTreeMap<String, Vec<String>> = graph
        .nodes()
        .map(|to| {
            let before = graph.nodes().filter(|from| follows(&graph, &from.facts, &to.facts));
            let before = before.map(|from| from.facts.version.to_string()).collect();
            (to.facts.version.to_string(), before)
        })
        .collect();
    let text = render(&graph, None, handover_engine::graph::Format::Text).unwrap_or_default();
    out.result(&edges, |_| text);
    Ok(())
}

fn follows(graph: &Graph<'_>, from: &ReleaseFacts, to: &ReleaseFacts) -> bool {
    let start = From { version: from.version.clone(), sequence: from.sequence };
    from.version != to.version && graph.why_no_edge(&start, to).is_none()
}
