//! What the verified repository offers, and where it runs.

use std::collections::BTreeMap;

use axum::response::Response;
use handover_engine::graph::{Format, From as Start, Graph, View, offers, render};
use handover_model::api::{
    ComponentReleases, Edge, Inventory, Page, ReleaseDetail, ReleaseGraph, ReleaseInfo,
};
use handover_model::{ComponentName, Version};
use handover_store::agents;
use handover_trust::{Catalog, Package};

use super::answer;
use super::call::{Call, Segments, path_part};
use super::library::Shelf;
use crate::Problem;
use crate::problem::Code;

/// `GET /releases`.
pub(super) async fn list(call: Call) -> Result<Response, Problem> {
    call.query().done()?;
    let shelf = call.state.library.shelf(&call.state).await;
    let inventory = inventory(&call).await?;
    let components = shelf.catalog.iter().flat_map(|catalog| &catalog.components);
    let items = components.map(|(component, releases)| {
        let mut newest: BTreeMap<String, Version> = BTreeMap::new();
        let mut versions = std::collections::BTreeSet::new();
        for package in &releases.packages {
            let facts = &package.facts;
            versions.insert(&facts.version);
            if facts.revoked.is_none() {
                let slot = newest.entry(facts.channel.clone());
                let slot = slot.or_insert_with(|| facts.version.clone());
                *slot = slot.clone().max(facts.version.clone());
            }
        }
        ComponentReleases {
            component: component.clone(),
            newest,
            versions: count(versions.len()),
            agents: running(&inventory, component, None),
        }
    });
    answer::json(&Page::whole(items.collect()))
}

/// `GET /releases/{component}`.
pub(super) async fn show(
    call: Call,
    Segments([component]): Segments<1>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let component: ComponentName = path_part("component", &component)?;
    let shelf = call.state.library.shelf(&call.state).await;
    let catalog = catalog_with(&shelf, &component)?;
    let inventory = inventory(&call).await?;
    let (threshold, keys) = shelf.signers.get(&component).cloned().unwrap_or_default();
    let mut releases: Vec<ReleaseInfo> = catalog
        .packages(&component)
        .iter()
        .map(|package| release(package, &inventory, &component))
        .collect();
    releases.sort_by(|a, b| b.version.cmp(&a.version).then_with(|| a.platform.cmp(&b.platform)));
    let skipped = shelf.skipped(&component).iter();
    let skipped = skipped.map(|one| (one.path.clone(), one.why.clone())).collect();
    answer::json(&ReleaseDetail { component, threshold, keys, releases, skipped })
}

/// `GET /releases/{component}/graph`.
pub(super) async fn graph(
    call: Call,
    Segments([component]): Segments<1>,
) -> Result<Response, Problem> {
    call.query().done()?;
    let component: ComponentName = path_part("component", &component)?;
    let shelf = call.state.library.shelf(&call.state).await;
    catalog_with(&shelf, &component)?;
    let catalog = shelf.catalog.as_ref();
    let all = catalog.map(|catalog| offers(catalog, &component)).unwrap_or_default();
    let graph = Graph::new(&all, &View::default());
    let dot = render(&graph, None, Format::Dot).map_err(|error| Problem::internal(&error))?;
    let mut edges = Vec::new();
    for from in graph.nodes() {
        let start = Start { version: from.facts.version.clone(), sequence: from.facts.sequence };
        for to in graph.nodes().filter(|to| to.facts.version > start.version) {
            if graph.why_no_edge(&start, &to.facts).is_none() {
                edges.push(Edge { from: start.version.clone(), to: to.facts.version.clone() });
            }
        }
    }
    let floors = graph.nodes().filter(|offer| offer.facts.floor);
    let revoked = graph.left_out().map(|(offer, why)| {
        (offer.facts.version.to_string(), offer.facts.revoked.clone().unwrap_or(why.to_string()))
    });
    answer::json(&ReleaseGraph {
        versions: graph.nodes().map(|offer| offer.facts.version.clone()).collect(),
        edges,
        floors: floors.map(|offer| offer.facts.version.clone()).collect(),
        revoked: revoked.collect(),
        dot,
        component,
    })
}

fn catalog_with<'s>(shelf: &'s Shelf, component: &ComponentName) -> Result<&'s Catalog, Problem> {
    let catalog = shelf.catalog.as_deref();
    let offered = catalog.filter(|catalog| catalog.components.contains_key(component));
    offered.ok_or_else(|| {
        let detail = match &shelf.problem {
            Some(problem) => format!("{component} can't be looked up: {problem}"),
            None => {
                format!("the repository offers no {component}; `handover release list` has all")
            }
        };
        Problem::new(Code::NotFound, detail)
    })
}

fn release(package: &Package, inventory: &Inventory, component: &ComponentName) -> ReleaseInfo {
    let facts = &package.facts;
    ReleaseInfo {
        version: facts.version.clone(),
        sequence: facts.sequence,
        platform: facts.platform.clone(),
        channel: facts.channel.clone(),
        path: package.target.path.clone(),
        digest: package.target.digest,
        length: package.target.length,
        upgrades_from: facts.upgrades_from.clone(),
        also_from: facts.also_from.clone(),
        floor: facts.floor,
        return_within: facts.return_within,
        revoked: facts.revoked.clone(),
        notes: facts.notes.clone(),
        agents: running(inventory, component, Some(&facts.version)),
    }
}

async fn inventory(call: &Call) -> Result<Inventory, Problem> {
    let now = call.now;
    call.state.store.read(move |tx| agents::inventory(tx, now).map_err(Problem::from)).await
}

/// How many agents have committed the version; without one: any version.
fn running(inventory: &Inventory, component: &ComponentName, version: Option<&Version>) -> u32 {
    let found = inventory.components.iter().find(|one| one.component == *component);
    let versions = found.into_iter().flat_map(|one| &one.versions);
    versions
        .filter(|one| match version {
            None => one.version.is_some(),
            Some(_) => one.version.as_ref() == version,
        })
        .map(|one| one.agents)
        .sum()
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
