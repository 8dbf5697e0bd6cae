//! The repository as files: its root, what belongs to it, and their text.

use std::process::Command;

use anyhow::{Context, ensure};
use camino::{Utf8Path, Utf8PathBuf};

/// A text file of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextFile {
    /// Its path from the root.
    pub(crate) path: Utf8PathBuf,
    /// Its content.
    pub(crate) text: String,
}

/// The root of the checkout that this program was built from.
pub(crate) fn root() -> anyhow::Result<Utf8PathBuf> {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Utf8Path::to_owned)
        .context("xtask lies directly under the repository's root")
}

/// Every text file that belongs to the repository or is about to: what git tracks, and what it
/// neither tracks nor ignores. Files that are not UTF-8 are left out.
pub(crate) fn text_files(root: &Utf8Path) -> anyhow::Result<Vec<TextFile>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("could not run git, which knows the files of this repository")?;
    ensure!(output.status.success(), "git ls-files failed in {root}; is it a git checkout?");
    let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let mut files = Vec::new();
    for name in names.split_terminator('\0') {
        // A tracked file may have been deleted and not committed yet: it no longer belongs.
        let Ok(bytes) = std::fs::read(root.join(name)) else { continue };
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(TextFile { path: name.into(), text });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup_by(|a, b| a.path == b.path);
    Ok(files)
}
