//! Words that do not belong: paths of one person's machine, registry hosts, unexplained TODOs.

use camino::{Utf8Component, Utf8Path};

use crate::repository::TextFile;
use crate::source::{self, Kind};

/// Where systems keep things: a path that starts so may be meant for any machine.
const EVERYWHERE: [&str; 20] = [
    "bin", "boot", "dev", "etc", "home", "lib", "lib64", "media", "mnt", "opt", "proc", "root",
    "run", "sbin", "srv", "sys", "tmp", "usr", "var", "nix",
];

/// Hosts of package registries; addresses come from each machine's own configuration.
const REGISTRY_HOSTS: [&str; 6] = [
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("crates.io", "-index"),
    concat!("registry.", "npmjs.org"),
    concat!("files.", "pythonhosted.org"),
    concat!("proxy.", "golang.org"),
];

/// What may not be said here because it is true of one machine only: where this checkout lies,
/// its first directory if that is nobody else's, the home directories of people and their caches.
pub(crate) fn machine_words(root: &Utf8Path) -> Vec<String> {
    let mut words = vec![concat!("/root", "/.").to_owned(), concat!("/home", "/").to_owned()];
    let first = root.components().find_map(|component| match component {
        Utf8Component::Normal(name) => Some(name),
        Utf8Component::Prefix(_)
        | Utf8Component::RootDir
        | Utf8Component::CurDir
        | Utf8Component::ParentDir => None,
    });
    match first {
        Some(name) if !EVERYWHERE.contains(&name) => words.push(format!("/{name}/")),
        Some(_) | None => words.push(format!("{root}/")),
    }
    words
}

/// Files that say a word of `machine_words` or name a registry's host.
pub(crate) fn check_words(files: &[TextFile], machine_words: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.path.file_name() != Some("Cargo.lock")) {
        for (at, line) in file.text.lines().enumerate() {
            let place = || format!("{}:{}", file.path, at + 1);
            for word in machine_words.iter().filter(|word| says_path(line, word)) {
                problems.push(format!("{}: a path of one machine: {word}", place()));
            }
            for host in REGISTRY_HOSTS.iter().filter(|host| line.contains(**host)) {
                problems.push(format!("{}: a registry's host: {host}", place()));
            }
        }
    }
    problems
}

/// Whether `line` says `path` as the start of an absolute path, not as the middle of another.
fn says_path(line: &str, path: &str) -> bool {
    line.match_indices(path)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.}/$".contains(c)))
}

/// Comments that put work off without saying why: the form is `TODO(why): what`.
pub(crate) fn check_todos(files: &[TextFile]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.path.extension() == Some("rs")) {
        for token in source::tokens(&file.text).iter().filter(|t| t.kind == Kind::Comment) {
            for word in ["TODO", "FIXME", "XXX"] {
                if token.text.match_indices(word).any(|(at, _)| is_bare(token.text, at, word)) {
                    let path = &file.path;
                    problems.push(format!("{path}:{}: {word} without a reason", token.line));
                }
            }
        }
    }
    problems
}

/// Whether the marker at `at` stands as a word of its own and carries no reason in parentheses.
fn is_bare(text: &str, at: usize, word: &str) -> bool {
    let after = &text[at + word.len()..];
    let is_word = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '`')
        && !after.starts_with(|c: char| c.is_alphanumeric() || c == '`');
    let reason = after.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    is_word && reason.is_none_or(|(why, _)| why.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn a_path_of_the_checkouts_own_machine_fails() {
        let words = machine_words("/elsewhere/me/handover".into());
        let bad = file("README.md", "run `/elsewhere/you/x`");
        assert_eq!(check_words(&[bad], &words).len(), 1);
        let good = file("README.md", "run target/elsewhere/x, ${a}/elsewhere/x or /var/lib/x");
        assert!(check_words(&[good], &words).is_empty());
    }

    #[test]
    fn a_checkout_in_a_common_place_forbids_only_itself() {
        let words = machine_words("/tmp/handover".into());
        assert!(check_words(&[file("a", "/tmp/other")], &words).is_empty());
        assert_eq!(check_words(&[file("a", "cd /tmp/handover/x")], &words).len(), 1);
    }

    #[test]
    fn homes_and_registry_hosts_fail_but_in_the_lockfile() {
        let text = format!(
            "{}x\n{}ann/\n{}\n",
            concat!("/root", "/."),
            concat!("/home", "/"),
            REGISTRY_HOSTS[0]
        );
        let words = machine_words("/srv/handover".into());
        assert_eq!(check_words(&[file("a.toml", &text)], &words).len(), 3);
        assert!(check_words(&[file("Cargo.lock", &text)], &words).is_empty());
    }

    #[test]
    fn a_marker_needs_a_reason() {
        let mark = concat!("TO", "DO");
        for (text, count) in [
            (format!("// {mark}: later"), 1),
            (format!("// {mark}(): later"), 1),
            (format!("/* {mark} */"), 1),
            (format!("// {mark}(needs kernel 6.9): later"), 0),
            (format!("let a = \"{mark}\";"), 0),
        ] {
            assert_eq!(check_todos(&[file("a.rs", &text)]).len(), count, "{text}");
        }
    }
}
