//! The crate map as data: who may depend on whom, and what pure crates may not touch.
//!
//! Invariant: purity is a property of the build. What `model`, `trust` and `engine` can reach
//! through normal dependencies holds no runtime, database or HTTP; their own source names no
//! files, sockets, processes, clock or system dice.

mod licences;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, ensure};
use camino::Utf8Path;
use serde::Deserialize;

use crate::repository::{self, TextFile};
use crate::source;

/// One row of the map.
struct Row {
    /// The package's name.
    package: &'static str,
    /// Packages of the workspace that it may depend on.
    may: &'static [&'static str],
}

/// The pure packages: decisions without IO.
const PURE: [&str; 3] = ["handover-model", "handover-trust", "handover-engine"];

/// ARCHITECTURE.md shows the same table to people. A crate is added by ADR.
const MAP: &[Row] = &[
    Row { package: "handover-model", may: &[] },
    Row { package: "handover-trust", may: &["handover-model"] },
    Row { package: "handover-engine", may: &["handover-model", "handover-trust"] },
    Row { package: "handover-hoststeps", may: &["handover-model", "handover-engine"] },
    Row {
        package: "handover-steps",
        may: &["handover-model", "handover-engine", "handover-hoststeps"],
    },
    Row { package: "handover-store", may: &["handover-model"] },
    Row {
        package: "handover-server",
        may: &["handover-model", "handover-trust", "handover-engine", "handover-store"],
    },
    Row {
        package: "handover-client",
        may: &["handover-model", "handover-trust", "handover-hoststeps"],
    },
    Row {
        package: "handover-agent",
        may: &[
            "handover-model",
            "handover-trust",
            "handover-engine",
            "handover-hoststeps",
            "handover-client",
        ],
    },
    Row {
        package: "handover-cli",
        may: &[
            "handover-model",
            "handover-trust",
            "handover-engine",
            "handover-hoststeps",
            "handover-client",
            "handover-steps",
            "handover-store",
            "handover-server",
            "handover-client",
        ],
    },
    Row {
        package: "handover-testkit",
        may: &["handover-model", "handover-trust", "handover-engine", "handover-hoststeps"],
    },
    Row {
        package: "handover-simulate",
        may: &[
            "handover-model",
            "handover-trust",
            "handover-engine",
            "handover-hoststeps",
            "handover-client",
            "handover-agent",
            "handover-store",
            "handover-server",
        ],
    },
    Row {
        package: "handover-bench",
        may: &[
            "handover-model",
            "handover-trust",
            "handover-engine",
            "handover-hoststeps",
            "handover-client",
            "handover-agent",
            "handover-store",
            "handover-server",
            "handover-testkit",
        ],
    },
    Row { package: "handover-sample-web", may: &[] },
    Row {
        package: "xtask",
        may: &[
            "handover-model",
            "handover-trust",
            "handover-engine",
            "handover-hoststeps",
            "handover-client",
            "handover-agent",
            "handover-testkit",
        ],
    },
];

/// What tests may use in addition.
const DEV: [&str; 1] = ["handover-testkit"];

/// Runtimes, databases and HTTP: nothing that a pure crate may reach.
const IMPURE_CRATES: [&str; 35] = [
    "actix-web",
    "async-std",
    "attohttpc",
    "aws-sdk-s3",
    "axum",
    "curl",
    "diesel",
    "h2",
    "hyper",
    "hyper-util",
    "isahc",
    "kube",
    "libsqlite3-sys",
    "mio",
    "minreq",
    "mysql",
    "postgres",
    "quinn",
    "redis",
    "reqwest",
    "rouille",
    "rusqlite",
    "rustls",
    "smol",
    "socket2",
    "sqlx",
    "sqlx-core",
    "tiny_http",
    "tokio",
    "tokio-postgres",
    "tonic",
    "tower",
    "tungstenite",
    "ureq",
    "warp",
];

/// Two-part paths that pure source may not name.
const IMPURE_PATHS: [(&str, &str); 18] = [
    ("std", "fs"),
    ("std", "net"),
    ("std", "process"),
    ("env", "var"),
    ("env", "vars"),
    ("env", "args"),
    ("std", "thread"),
    ("io", "stdin"),
    ("Instant", "now"),
    ("SystemTime", "now"),
    ("Timestamp", "now"),
    ("Zoned", "now"),
    ("Uuid", "new_v4"),
    ("Uuid", "now_v7"),
    ("SystemRandom", "new"),
    ("rand", "rng"),
    ("rand", "thread_rng"),
    ("rand", "random"),
];

/// Names that pure source may not say at all: the system's dice.
const IMPURE_NAMES: [&str; 5] = ["OsRng", "SysRng", "from_entropy", "from_os_rng", "getrandom"];

/// The parts of `cargo metadata` that are looked at.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    #[serde(default)]
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Debug, Deserialize)]
struct EdgeKind {
    /// `dev`, `build`, or absent for a normal dependency.
    kind: Option<String>,
}

impl Edge {
    fn is_normal(&self) -> bool {
        self.dep_kinds.iter().any(|kind| kind.kind.is_none())
    }

    fn is_only_dev(&self) -> bool {
        self.dep_kinds.iter().all(|kind| kind.kind.as_deref() == Some("dev"))
    }
}

impl Metadata {
    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.packages.iter().find(|package| package.id == id).map_or(id, |p| p.name.as_str())
    }

    fn members(&self) -> impl Iterator<Item = &Node> {
        self.resolve.nodes.iter().filter(|node| self.workspace_members.contains(&node.id))
    }
}

/// Checks the workspace; returns what is wrong with it.
pub(crate) fn check() -> anyhow::Result<Vec<String>> {
    let root = repository::root()?;
    let metadata = cargo(&root, &["metadata", "--format-version", "1", "--locked"])?;
    let metadata: Metadata =
        serde_json::from_str(&metadata).context("cargo metadata printed something else")?;
    let tree = ["tree", "--workspace", "--target=all", "--prefix=none", "--format={p}", "--locked"];
    let built = built_packages(&cargo(&root, &tree)?);
    let rules = std::fs::read_to_string(root.join("deny.toml")).context("deny.toml is missing")?;

    let mut problems = check_edges(&metadata, MAP);
    problems.extend(check_reach(&metadata));
    problems.extend(licences::check(&metadata, &built, &licences::parse(&rules)?));
    problems.extend(check_sources(&repository::text_files(&root)?));
    Ok(problems)
}

fn cargo(root: &Utf8Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(option_env!("CARGO").unwrap_or("cargo"))
        .args(arguments)
        .current_dir(root)
        .output()
        .context("could not run cargo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo {} failed: {said}", arguments.join(" "));
    String::from_utf8(output.stdout).context("cargo printed something that is not UTF-8")
}

/// Name and version of every package in what `cargo tree` printed. The metadata alone would not
/// do: it lists optional packages that no feature asks for.
fn built_packages(tree: &str) -> BTreeSet<(String, String)> {
    tree.lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(" v")?;
            let version = rest.split(' ').next()?;
            Some((name.to_owned(), version.to_owned()))
        })
        .collect()
}

/// Every edge between members must be in the map, and every member too.
fn check_edges(metadata: &Metadata, map: &[Row]) -> Vec<String> {
    let mut problems = Vec::new();
    for node in metadata.members() {
        let from = metadata.name(&node.id);
        let Some(row) = map.iter().find(|row| row.package == from) else {
            problems.push(format!("{from} is not in the map: a crate is added by ADR"));
            continue;
        };
        for edge in node.deps.iter().filter(|e| metadata.workspace_members.contains(&e.pkg)) {
            let to = metadata.name(&edge.pkg);
            let tests_only = edge.is_only_dev() && DEV.contains(&to);
            if !row.may.contains(&to) && !tests_only {
                problems.push(format!(
                    "{from} depends on {to}, which the map does not allow; it may depend on {:?}",
                    row.may
                ));
            }
        }
    }
    problems
}

/// Nothing impure may be reachable from a pure crate by normal dependencies.
fn check_reach(metadata: &Metadata) -> Vec<String> {
    let nodes: BTreeMap<&str, &Node> =
        metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let mut problems = Vec::new();
    for start in metadata.members().filter(|node| PURE.contains(&metadata.name(&node.id))) {
        let mut seen = BTreeSet::from([start.id.as_str()]);
        let mut ways = vec![vec![start.id.as_str()]];
        while let Some(way) = ways.pop() {
            let Some(node) = way.last().and_then(|id| nodes.get(id)) else { continue };
            for edge in node.deps.iter().filter(|edge| edge.is_normal()) {
                if !seen.insert(&edge.pkg) {
                    continue;
                }
                let longer: Vec<_> = way.iter().copied().chain([edge.pkg.as_str()]).collect();
                if IMPURE_CRATES.contains(&metadata.name(&edge.pkg)) {
                    let names: Vec<_> = longer.iter().map(|id| metadata.name(id)).collect();
                    problems.push(format!("a pure crate reaches IO: {}", names.join(" -> ")));
                }
                ways.push(longer);
            }
        }
    }
    problems
}

/// Pure sources outside tests may not name what does IO.
fn check_sources(files: &[TextFile]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| is_pure_source(file)) {
        let tokens = source::tokens(&file.text);
        let code = source::production(&tokens);
        for (left, right, line) in source::two_part_paths(&code) {
            if IMPURE_PATHS.contains(&(left, right)) {
                problems.push(format!("{}:{line}: {left}::{right} in a pure crate", file.path));
            }
        }
        for token in code.iter().filter(|token| IMPURE_NAMES.contains(&token.text)) {
            problems.push(format!("{}:{}: {} in a pure crate", file.path, token.line, token.text));
        }
    }
    problems
}

fn is_pure_source(file: &TextFile) -> bool {
    let path = file.path.as_str();
    let pure = PURE.iter().filter_map(|name| name.strip_prefix("handover-"));
    let inside = pure.into_iter().any(|dir| path.starts_with(&format!("crates/{dir}/src/")));
    let tests = path.ends_with("/tests.rs") || path.contains("/tests/");
    inside && !tests && file.path.extension() == Some("rs")
}

#[cfg(test)]
mod tests;
