//! The graph as text and in Graphviz's language, for `handover release graph`.

use std::fmt::Write as _;

use super::{From, Graph, Offer, start_at};

/// How to draw a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One paragraph a release, for a terminal.
    Text,
    /// Graphviz's language.
    Dot,
}

/// Draws `graph`, highest version first. `from`, if given, is marked as the one that runs.
///
/// # Errors
/// None: writing to a string can't fail.
pub fn render(
    graph: &Graph<'_>,
    from: Option<&From>,
    format: Format,
) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    match format {
        Format::Text => text(graph, from, &mut out)?,
        Format::Dot => dot(graph, from, &mut out)?,
    }
    Ok(out)
}

fn text(graph: &Graph<'_>, from: Option<&From>, out: &mut String) -> std::fmt::Result {
    for (offer, revoked) in all(graph) {
        let facts = &offer.facts;
        write!(out, "{}  number {}, {}", facts.version, facts.sequence, facts.channel)?;
        if from.is_some_and(|from| from.version == facts.version) {
            out.push_str(", runs here");
        }
        if facts.floor {
            out.push_str(", floor");
        }
        match facts.return_within {
            Some(within) => write!(out, ", returns within {within}")?,
            None => out.push_str(", returns during its trial alone"),
        }
        out.push('\n');
        if let Some(why) = revoked {
            writeln!(out, "    {why}")?;
        }
        let before = predecessors(graph, offer);
        if before.is_empty() {
            writeln!(out, "    follows none of these (upgrades_from {})", facts.upgrades_from)?;
        } else {
            writeln!(out, "    follows {}", before.join(", "))?;
        }
    }
    Ok(())
}

fn dot(graph: &Graph<'_>, from: Option<&From>, out: &mut String) -> std::fmt::Result {
    out.push_str("digraph releases {\n    rankdir=LR;\n    node [shape=box];\n");
    for (offer, why) in all(graph) {
        let facts = &offer.facts;
        let mut marks = Vec::new();
        if facts.floor {
            marks.push("peripheries=2");
        }
        if why.is_some() {
            marks.push("style=dashed");
        }
        if from.is_some_and(|from| from.version == facts.version) {
            marks.push("penwidth=3");
        }
        let marks = marks.iter().fold(String::new(), |all, mark| all + ", " + mark);
        writeln!(
            out,
            "    \"{0}\" [label=\"{0}\\nnumber {1}\"{marks}];",
            facts.version, facts.sequence
        )?;
    }
    for (offer, _) in all(graph) {
        for before in predecessors(graph, offer) {
            writeln!(out, "    \"{before}\" -> \"{}\";", offer.facts.version)?;
        }
    }
    out.push_str("}\n");
    Ok(())
}

fn all<'a>(graph: &'a Graph<'_>) -> Vec<(&'a Offer, Option<String>)> {
    let barred = graph.left_out().map(|(offer, why)| (offer, Some(format!("it {why}"))));
    let mut all: Vec<_> = graph.nodes().map(|offer| (offer, None)).chain(barred).collect();
    all.sort_by(|(a, _), (b, _)| b.facts.version.cmp(&a.facts.version));
    all
}

fn predecessors(graph: &Graph<'_>, offer: &Offer) -> Vec<String> {
    all(graph)
        .into_iter()
        .filter(|(before, _)| before.facts.version != offer.facts.version)
        .filter(|(before, _)| graph.why_no_edge(&start_at(before), &offer.facts).is_none())
        .map(|(before, _)| before.facts.version.to_string())
        .collect()
}
