//! Which release can follow which (DESIGN 5.5).
//!
//! There is an edge A → B when B's `upgrades_from` holds A and B was produced after A, or when B
//! names A in `also_from`; and when the hop crosses no floor. A hop crosses a floor F when F's
//! version lies between the two and F was produced before B: a release that was produced before
//! the floor knows nothing of it. Revoking a floor ends it: it is the keyholders' word that nobody
//! may stop there any more. A floor that is only quarantined here goes on binding.
//!
//! Revoked and quarantined releases, and those below the host's own floor, are no nodes; the
//! planner remembers them, so that it can say what stands in the way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use handover_model::{
    ComponentName, Digest, Platform, Quarantined, ReleaseFacts, ReleaseId, Version,
};
use handover_trust::{Catalog, Verified};

mod render;

pub use render::{Format, render};

/// One package that a repository offers: its signed facts and its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What is signed about it.
    pub facts: ReleaseFacts,
    /// SHA-256 of the package.
    pub digest: Digest,
}

impl Offer {
    /// Which release it is.
    pub fn id(&self) -> ReleaseId {
        ReleaseId { version: self.facts.version.clone(), digest: self.digest }
    }
}

/// Everything that a verified catalog offers of `component`.
pub fn offers(catalog: &Verified<Catalog>, component: &ComponentName) -> Vec<Offer> {
    catalog
        .packages(component)
        .iter()
        .map(|package| Offer { facts: package.facts.clone(), digest: package.target.digest })
        .collect()
}

/// Whose graph it is. The default is everybody's: every platform and channel, nothing refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct View<'a> {
    /// The host's platform.
    pub platform: Option<&'a Platform>,
    /// The channel that is followed.
    pub channel: Option<&'a str>,
    /// What failed on this host.
    pub quarantine: &'a [Quarantined],
    /// The lowest version that this host accepts.
    pub lowest: Option<&'a Version>,
}

/// Where a path begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// The version that is current.
    pub version: Version,
    /// Its place in the order of production.
    pub sequence: u64,
}

/// Why an offered release is no node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftOut {
    /// Its keyholders revoked it, for this reason.
    Revoked(String),
    /// It failed on this host, for this reason.
    Quarantined(String),
    /// It is below the host's floor.
    BelowFloor(Version),
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoked(why) => write!(f, "was revoked: {why}"),
            Self::Quarantined(why) => write!(f, "is in quarantine on this host: {why}"),
            Self::BelowFloor(floor) => write!(f, "is below this host's floor, {floor}"),
        }
    }
}

/// The way from one version to another, its stops in order, the last one the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path<'a> {
    /// At least one.
    pub hops: Vec<&'a Offer>,
}

/// Why there is no way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no way from {from} to {to}: {why}")]
pub struct NoPath {
    /// Where it would begin.
    pub from: Version,
    /// Where it would end.
    pub to: Version,
    /// What is missing.
    pub why: Missing,
}

/// What a way lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Nobody offers the target, for this platform and channel.
    Target,
    /// The target can't be used.
    LeftOut(LeftOut),
    /// The only way leads over a release that can't be used.
    Over(Version, LeftOut),
    /// The nearest that can be reached does not lead on.
    Edge {
        /// The nearest version to the target that can be reached.
        before: Version,
        /// The nearest version to it from which the target can be reached.
        after: Version,
        /// Why the second can't follow the first.
        why: NoEdge,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target => f.write_str("nobody offers it for this platform and channel"),
            Self::LeftOut(why) => write!(f, "it {why}"),
            Self::Over(version, why) => write!(f, "the only way leads over {version}, which {why}"),
            Self::Edge { before, after, why } => {
                write!(f, "{after} can't follow {before}, because {why}")
            }
        }
    }
}

/// Why one release can't follow another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoEdge {
    /// Its `upgrades_from` does not hold the other.
    Range(String),
    /// It was produced before the other and does not name it.
    ProducedBefore {
        /// Its own place in the order of production.
        sequence: u64,
        /// The other's.
        other: u64,
    },
    /// A floor lies between them.
    Floor(Version),
}

impl fmt::Display for NoEdge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) => {
                write!(f, "its upgrades_from is {range} and its also_from doesn't name it")
            }
            Self::ProducedBefore { sequence, other } => write!(
                f,
                "it was produced before it (number {sequence}, not after {other}) and so knows \
                 nothing of it, and its also_from doesn't name it"
            ),
            Self::Floor(floor) => {
                write!(f, "floor {floor} lies between them and must be stopped at")
            }
        }
    }
}

/// The releases of one component that a host may use.
#[derive(Debug, Clone)]
pub struct Graph<'a> {
    nodes: BTreeMap<&'a Version, &'a Offer>,
    left_out: BTreeMap<&'a Version, (&'a Offer, LeftOut)>,
    floors: Vec<&'a ReleaseFacts>,
}

impl<'a> Graph<'a> {
    /// The graph of `offers`, all of one component, as `view` sees it.
    pub fn new(offers: &'a [Offer], view: &View<'_>) -> Self {
        let mut fitting: BTreeMap<&Version, &Offer> = BTreeMap::new();
        for offer in offers {
            let facts = &offer.facts;
            let runs = view.platform.is_none_or(|host| facts.platform.runs_on(host));
            if !runs || view.channel.is_some_and(|channel| facts.channel != channel) {
                continue;
            }
            // The exact platform's package before the one for any; else the first by name.
            let rank = |offer: &Offer| {
                (
                    view.platform.is_some_and(|host| offer.facts.platform != *host),
                    offer.facts.platform.clone(),
                )
            };
            let slot = fitting.entry(&facts.version).or_insert(offer);
            if rank(offer) < rank(slot) {
                *slot = offer;
            }
        }
        let mut graph = Self { nodes: BTreeMap::new(), left_out: BTreeMap::new(), floors: vec![] };
        for (version, offer) in fitting {
            if offer.facts.floor && offer.facts.revoked.is_none() {
                graph.floors.push(&offer.facts);
            }
            match left_out(offer, view) {
                None => drop(graph.nodes.insert(version, offer)),
                Some(why) => drop(graph.left_out.insert(version, (offer, why))),
            }
        }
        graph
    }

    /// The releases that can be used, lowest version first.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = &'a Offer> + '_ {
        self.nodes.values().copied()
    }

    /// The releases that can't be used, lowest version first, and why.
    pub fn left_out(&self) -> impl DoubleEndedIterator<Item = (&'a Offer, &LeftOut)> + '_ {
        self.left_out.values().map(|(offer, why)| (*offer, why))
    }

    /// The usable release of this version.
    pub fn node(&self, version: &Version) -> Option<&'a Offer> {
        self.nodes.get(version).copied()
    }

    /// Why `to` can't directly follow `from`; `None` when it can.
    pub fn why_no_edge(&self, from: &From, to: &ReleaseFacts) -> Option<NoEdge> {
        if !to.also_from.contains(&from.version) {
            if !to.upgrades_from.holds(&from.version) {
                return Some(NoEdge::Range(to.upgrades_from.to_string()));
            }
            if to.sequence <= from.sequence {
                let (sequence, other) = (to.sequence, from.sequence);
                return Some(NoEdge::ProducedBefore { sequence, other });
            }
        }
        self.floors
            .iter()
            .find(|floor| {
                from.version < floor.version
                    && floor.version < to.version
                    && floor.sequence < to.sequence
            })
            .map(|floor| NoEdge::Floor(floor.version.clone()))
    }

    /// The shortest way from `from` to `to`; among equally short ones the one that stops at the
    /// highest versions first.
    ///
    /// # Errors
    /// [`NoPath`], naming what is missing.
    pub fn plan_path(&self, from: &From, to: &Version) -> Result<Path<'a>, Box<NoPath>> {
        let no = |why| Box::new(NoPath { from: from.version.clone(), to: to.clone(), why });
        let Some(target) = self.node(to) else {
            return Err(no(match self.left_out.get(to) {
                Some((_, why)) => Missing::LeftOut(why.clone()),
                None => Missing::Target,
            }));
        };
        let nodes: Vec<&Offer> = self.nodes().collect();
        if let Some(hops) = self.shortest(from, target, &nodes) {
            return Ok(Path { hops });
        }
        let all: Vec<&Offer> =
            nodes.iter().copied().chain(self.left_out.values().map(|(offer, _)| *offer)).collect();
        if let Some(hops) = self.shortest(from, target, &all) {
            let barred = hops.iter().find_map(|hop| self.left_out.get(&hop.facts.version));
            if let Some((offer, why)) = barred {
                return Err(no(Missing::Over(offer.facts.version.clone(), why.clone())));
            }
        }
        Err(no(self.gap(from, target, &nodes)))
    }

    fn shortest(&self, from: &From, to: &'a Offer, nodes: &[&'a Offer]) -> Option<Vec<&'a Offer>> {
        let distance = self.distances_to(to, nodes);
        let (mut at, mut hops) = (from.clone(), Vec::new());
        let mut left = usize::MAX;
        loop {
            let next = nodes
                .iter()
                .filter(|next| self.why_no_edge(&at, &next.facts).is_none())
                .filter_map(|next| Some((*distance.get(&next.facts.version)?, *next)))
                .filter(|(rest, _)| *rest < left)
                .min_by(|(a, x), (b, y)| {
                    a.cmp(b).then_with(|| y.facts.version.cmp(&x.facts.version))
                });
            let (rest, hop) = next?;
            hops.push(hop);
            if rest == 0 {
                return Some(hops);
            }
            (at, left) = (start_at(hop), rest);
        }
    }

    /// How many more hops it takes from each node to `to`; absent: it can't be reached.
    fn distances_to(&self, to: &'a Offer, nodes: &[&'a Offer]) -> BTreeMap<&'a Version, usize> {
        let mut distance = BTreeMap::from([(&to.facts.version, 0)]);
        let mut rim = vec![to];
        let mut step = 0;
        while !rim.is_empty() {
            step += 1;
            let before: Vec<&Offer> = nodes
                .iter()
                .filter(|node| !distance.contains_key(&node.facts.version))
                .filter(|node| {
                    let at = start_at(node);
                    rim.iter().any(|next| self.why_no_edge(&at, &next.facts).is_none())
                })
                .copied()
                .collect();
            distance.extend(before.iter().map(|node| (&node.facts.version, step)));
            rim = before;
        }
        distance
    }

    /// The nearest that can be reached, and the nearest to it that leads to the target.
    fn gap(&self, from: &From, to: &'a Offer, nodes: &[&'a Offer]) -> Missing {
        let mut reached = vec![from.clone()];
        let mut seen: BTreeSet<&Version> = BTreeSet::new();
        let mut next = 0;
        while let Some(at) = reached.get(next).cloned() {
            for node in nodes {
                if self.why_no_edge(&at, &node.facts).is_none() && seen.insert(&node.facts.version)
                {
                    reached.push(start_at(node));
                }
            }
            next += 1;
        }
        let target = &to.facts.version;
        let before = reached
            .into_iter()
            .filter(|at| at.version <= *target)
            .max_by(|a, b| a.version.cmp(&b.version))
            .unwrap_or_else(|| from.clone());
        let leads = self.distances_to(to, nodes);
        let after = nodes
            .iter()
            .filter(|node| node.facts.version > before.version)
            .find(|node| leads.contains_key(&node.facts.version))
            .unwrap_or(&to);
        match self.why_no_edge(&before, &after.facts) {
            Some(why) => {
                Missing::Edge { before: before.version, after: after.facts.version.clone(), why }
            }
            None => Missing::Target,
        }
    }
}

fn start_at(offer: &Offer) -> From {
    From { version: offer.facts.version.clone(), sequence: offer.facts.sequence }
}

fn left_out(offer: &Offer, view: &View<'_>) -> Option<LeftOut> {
    if let Some(why) = &offer.facts.revoked {
        return Some(LeftOut::Revoked(why.clone()));
    }
    let id = offer.id();
    if let Some(entry) = view.quarantine.iter().find(|entry| entry.release == id) {
        return Some(LeftOut::Quarantined(entry.reason.clone()));
    }
    view.lowest
        .filter(|lowest| offer.facts.version < **lowest)
        .map(|lowest| LeftOut::BelowFloor(lowest.clone()))
}

#[cfg(test)]
mod tests;
