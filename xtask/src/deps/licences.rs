//! What `deny.toml` says of crates that are not ours: their licences, which are banned, and where
//! they come from. `cargo deny` reads the same file; this reads as much of it as needs no tool to
//! be installed.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Metadata, Package};

/// The part of `deny.toml` that is checked here.
#[derive(Debug, Deserialize)]
pub(super) struct Rules {
    licenses: Licences,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
struct Licences {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Banned>,
}

#[derive(Debug, Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    unknown_registry: String,
    unknown_git: String,
}

/// Reads `deny.toml`.
pub(super) fn parse(text: &str) -> anyhow::Result<Rules> {
    Ok(toml::from_str(text)?)
}

/// Every package of `built` (name and version) must obey.
pub(super) fn check(
    metadata: &Metadata,
    built: &BTreeSet<(String, String)>,
    rules: &Rules,
) -> Vec<String> {
    let mut problems = Vec::new();
    let is_built = |p: &&Package| built.contains(&(p.name.clone(), p.version.clone()));
    for package in metadata.packages.iter().filter(is_built) {
        let name = &package.name;
        if let Some(banned) = rules.bans.deny.iter().find(|banned| banned.name == *name) {
            problems.push(format!("{name} is banned: {}", banned.reason));
        }
        if metadata.workspace_members.contains(&package.id) {
            continue;
        }
        match &package.license {
            Some(licence) if allows(&rules.licenses.allow, licence) => {}
            Some(licence) => problems.push(format!("{name}: licence {licence} is not allowed")),
            None => problems.push(format!("{name} names no licence")),
        }
        problems.extend(foreign_source(package, &rules.sources));
    }
    problems
}

/// Crates come from the one registry that Cargo knows by itself.
fn foreign_source(package: &Package, rules: &Sources) -> Option<String> {
    let denied = |rule: &str| rule == "deny";
    let source = package.source.as_deref().unwrap_or("a path outside the workspace");
    let foreign = match source.split_once('+') {
        Some(("registry" | "sparse", url)) => {
            denied(&rules.unknown_registry) && !url.contains(concat!("crates.io", "-index"))
        }
        Some(_) | None => denied(&rules.unknown_git),
    };
    foreign.then(|| format!("{} comes from {source}", package.name))
}

/// Whether the SPDX expression can be satisfied with allowed licences alone. `/` is an old way to
/// write OR.
fn allows(allowed: &[String], expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let answer = any_of(allowed, &mut rest);
    answer && rest.is_empty()
}

/// `a OR b`: either will do.
fn any_of(allowed: &[String], rest: &mut &[&str]) -> bool {
    let mut answer = all_of(allowed, rest);
    while take(rest, "OR") {
        answer |= all_of(allowed, rest);
    }
    answer
}

/// `a AND b`: both are needed, and AND binds closer than OR (SPDX 2.3, annex D).
fn all_of(allowed: &[String], rest: &mut &[&str]) -> bool {
    let mut answer = one(allowed, rest);
    while take(rest, "AND") {
        answer &= one(allowed, rest);
    }
    answer
}

/// One licence, perhaps with an exception, or an expression in parentheses.
fn one(allowed: &[String], rest: &mut &[&str]) -> bool {
    if take(rest, "(") {
        let answer = any_of(allowed, rest);
        return take(rest, ")") && answer;
    }
    let Some((licence, after)) = rest.split_first() else { return false };
    *rest = after;
    if !take(rest, "WITH") {
        return allowed.iter().any(|one| one == licence);
    }
    let Some((exception, after)) = rest.split_first() else { return false };
    *rest = after;
    let whole = format!("{licence} WITH {exception}");
    allowed.iter().any(|one| *one == whole || one == licence)
}

fn take(rest: &mut &[&str], word: &str) -> bool {
    match rest.split_first() {
        Some((first, after)) if *first == word => {
            *rest = after;
            true
        }
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RULES: &str = r#"
        [licenses]
        allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"]
        [bans]
        deny = [{ crate = "ring", reason = "one backend" }]
        [sources]
        unknown-registry = "deny"
        unknown-git = "deny"
    "#;

    fn problems(name: &str, license: Option<&str>, source: &str) -> usize {
        let metadata = serde_json::from_value(json!({
            "packages": [{"id": "x", "name": name, "version": "1.0.0",
                          "license": license, "source": source}],
            "workspace_members": [],
            "resolve": {"nodes": []},
        }));
        let built = super::super::built_packages(&format!("{name} v1.0.0 (proc-macro)\n"));
        check(&metadata.unwrap(), &built, &parse(RULES).unwrap()).len()
    }

    #[test]
    fn an_expression_is_allowed_only_if_it_can_be_satisfied() {
        let allowed: Vec<String> = parse(RULES).unwrap().licenses.allow;
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "GPL-3.0 AND MIT OR Apache-2.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(allows(&allowed, good), "{good}");
        }
        for bad in
            ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT MIT", "MIT AND", "GPL-3.0 WITH MIT"]
        {
            assert!(!allows(&allowed, bad), "{bad}");
        }
    }

    #[test]
    fn a_banned_crate_an_unknown_licence_and_a_foreign_source_fail() {
        let home = concat!("registry+https://github.com/rust-lang/crates.io", "-index");
        assert_eq!(problems("a", Some("MIT"), home), 0);
        assert_eq!(problems("ring", Some("MIT"), home), 1);
        assert_eq!(problems("a", Some("GPL-3.0"), home), 1);
        assert_eq!(problems("a", None, home), 1);
        assert_eq!(problems("a", Some("MIT"), "registry+https://example.com/index"), 1);
        assert_eq!(problems("a", Some("MIT"), "git+https://example.com/a"), 1);
    }
}
