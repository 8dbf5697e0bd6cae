//! The repository's own hygiene: what no compiler checks.

mod docs;
mod words;

use crate::repository::{self, TextFile};
use crate::source;

/// Production lines from which a file is mentioned.
const LONG: usize = 500;
/// Production lines from which a file is refused.
const TOO_LONG: usize = 800;

/// Checks the checkout; returns what is wrong with it. Files that grow long are only printed.
pub(crate) fn check() -> anyhow::Result<Vec<String>> {
    let root = repository::root()?;
    let files = repository::text_files(&root)?;
    let (long, mut problems) = check_sizes(&files);
    for warning in long {
        eprintln!("tidy: warning: {warning}");
    }
    problems.extend(words::check_words(&files, &words::machine_words(&root)));
    problems.extend(words::check_todos(&files));
    problems.extend(docs::check_adrs(&files));
    problems.extend(docs::check_links(&files));
    problems.extend(docs::check_promises(&files));
    Ok(problems)
}

/// Warnings for long files, and problems for those that are too long.
fn check_sizes(files: &[TextFile]) -> (Vec<String>, Vec<String>) {
    let (mut long, mut problems) = (Vec::new(), Vec::new());
    let rust = files.iter().filter(|file| file.path.extension() == Some("rs"));
    for file in rust.filter(|file| !file.path.as_str().contains("/generated/")) {
        let is_test = file.path.as_str().contains("/tests/") || file.path.ends_with("tests.rs");
        let lines = source::production_lines(&file.text);
        if is_test || lines <= LONG {
            continue;
        }
        let what = format!("{} has {lines} production lines; split by {LONG}", file.path);
        if lines > TOO_LONG { problems.push(what) } else { long.push(what) }
    }
    (long, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, count: usize) -> TextFile {
        TextFile { path: path.into(), text: "fn a() {}\n".repeat(count) }
    }

    #[test]
    fn a_file_warns_past_500_lines_and_fails_past_800() {
        for (count, warnings, failures) in [(500, 0, 0), (501, 1, 0), (800, 1, 0), (801, 0, 1)] {
            let (long, problems) = check_sizes(&[lines("crates/a/src/b.rs", count)]);
            assert_eq!((long.len(), problems.len()), (warnings, failures), "{count}");
        }
    }

    #[test]
    fn tests_and_generated_code_may_be_long() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "fn a() {}\n".repeat(900));
        let file = TextFile { text: tests, ..lines("crates/a/src/b.rs", 1) };
        let (long, problems) = check_sizes(&[
            file,
            lines("crates/a/src/generated/b.rs", 900),
            lines("a/tests/b.rs", 900),
        ]);
        assert!(long.is_empty() && problems.is_empty());
    }
}
