//! The documents: ADRs are numbered, links lead somewhere, cited tests exist.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use crate::repository::TextFile;
use crate::source;

/// Files under `docs/adr` that are not `NNNN-title.md`, share a number, or leave one out.
pub(crate) fn check_adrs(files: &[TextFile]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut numbers: BTreeMap<u32, &Utf8Path> = BTreeMap::new();
    for file in files.iter().filter(|file| file.path.starts_with("docs/adr")) {
        let number = file
            .path
            .file_stem()
            .filter(|_| file.path.extension() == Some("md"))
            .and_then(|name| name.split_once('-'))
            .filter(|(number, _)| number.len() == 4)
            .and_then(|(number, _)| number.parse::<u32>().ok());
        match number {
            None => problems.push(format!("{} is not named NNNN-title.md", file.path)),
            Some(number) => {
                if let Some(other) = numbers.insert(number, &file.path) {
                    problems.push(format!("{} has the number of {other}", file.path));
                }
            }
        }
    }
    for (expected, (number, path)) in (1..).zip(&numbers) {
        if expected != *number {
            problems.push(format!("{path} should be number {expected:04}"));
            break;
        }
    }
    problems
}

/// Links in Markdown files to files or headings that are not there.
pub(crate) fn check_links(files: &[TextFile]) -> Vec<String> {
    let known: BTreeMap<&Utf8Path, &TextFile> =
        files.iter().map(|file| (file.path.as_path(), file)).collect();
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.path.extension() == Some("md")) {
        for (line, link) in links(&file.text) {
            let outside = link.contains("://") || link.starts_with("mailto:");
            if !outside && !leads_somewhere(&known, file, link) {
                problems.push(format!("{}:{line}: the link {link} leads nowhere", file.path));
            }
        }
    }
    problems
}

/// Targets of `[text](target)` outside code blocks, with their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (at, line) in text.lines().enumerate() {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        for (start, _) in line.match_indices("](") {
            let rest = &line[start + 2..];
            if let Some((target, _)) = rest.split_once(')') {
                found.push((at + 1, target));
            }
        }
    }
    found
}

fn leads_somewhere(known: &BTreeMap<&Utf8Path, &TextFile>, from: &TextFile, link: &str) -> bool {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(p, a)| (p, Some(a)));
    let target = if path.is_empty() {
        from.path.clone()
    } else {
        normal(&from.path.parent().unwrap_or("".into()).join(path))
    };
    let is_directory = known.keys().any(|file| *file != target && file.starts_with(&target));
    match (known.get(target.as_path()), anchor) {
        (None, _) => is_directory,
        (Some(_), None) => true,
        (Some(file), Some(anchor)) => headings(&file.text).contains(anchor),
    }
}

/// `a/b/../c` as `a/c`.
fn normal(path: &Utf8Path) -> Utf8PathBuf {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.as_str().split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/").into()
}

/// The anchors that headings get: lower case, words joined by hyphens, marks dropped.
fn headings(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

/// Tests that `docs/promises.md` cites and that are nowhere.
pub(crate) fn check_promises(files: &[TextFile]) -> Vec<String> {
    let Some(promises) = files.iter().find(|file| file.path == "docs/promises.md") else {
        return Vec::new();
    };
    let tests: BTreeSet<&str> = files
        .iter()
        .filter(|file| file.path.extension() == Some("rs"))
        .flat_map(|file| source::test_names(&file.text))
        .collect();
    let mut problems = Vec::new();
    for (at, line) in promises.text.lines().enumerate() {
        for name in cited_tests(line) {
            if !tests.contains(name) {
                problems.push(format!("{}:{}: no test is called {name}", promises.path, at + 1));
            }
        }
    }
    problems
}

/// Names in backquotes that read like a test's: a sentence of at least three words joined by
/// underscores, perhaps behind a module path.
fn cited_tests(line: &str) -> impl Iterator<Item = &str> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.rsplit("::").next())
        .filter(|name| name.matches('_').count() >= 2)
        .filter(|name| {
            name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn adrs_are_numbered_without_gaps_or_doubles() {
        let good = [file("docs/adr/0001-a.md", ""), file("docs/adr/0002-b.md", "")];
        assert!(check_adrs(&good).is_empty());
        for bad in ["docs/adr/2-b.md", "docs/adr/b.md", "docs/adr/0001-b.md", "docs/adr/0003-b.md"]
        {
            assert_eq!(
                check_adrs(&[file("docs/adr/0001-a.md", ""), file(bad, "")]).len(),
                1,
                "{bad}"
            );
        }
    }

    #[test]
    fn a_link_must_lead_to_a_file_a_directory_or_a_heading() {
        let others = [
            file("README.md", "# How to `go on`"),
            file("docs/a.md", ""),
            file("examples/web/x.rs", ""),
        ];
        for (link, count) in [
            ("a.md", 0),
            ("../README.md", 0),
            ("../README.md#how-to-go-on", 0),
            ("../examples/web", 0),
            ("https://example.com/x", 0),
            ("b.md", 1),
            ("../README.md#how-not-to", 1),
            ("../examples/we", 1),
        ] {
            let from = file("docs/from.md", &format!("[x]({link})"));
            let all: Vec<_> = others.iter().cloned().chain([from]).collect();
            assert_eq!(check_links(&all).len(), count, "{link}");
        }
        assert!(check_links(&[file("a.md", "```text\n[x](nowhere)\n```")]).is_empty());
    }

    #[test]
    fn a_promise_must_not_cite_a_test_that_is_not_there() {
        let code =
            file("crates/a/src/b.rs", "#[test] fn silence_always_reverts() {} fn not_a_test() {}");
        for (cited, count) in [
            ("`silence_always_reverts`", 0),
            ("`a::b::silence_always_reverts`", 0),
            ("`boots_left` and silence_never_reverts", 0),
            ("`silence_never_reverts`", 1),
            ("`b::not_a_test`", 1),
        ] {
            let promises = file("docs/promises.md", cited);
            assert_eq!(check_promises(&[code.clone(), promises]).len(), count, "{cited}");
        }
    }
}
