//! Man pages and shell completions, which the programs print themselves.

use std::process::Command;

use anyhow::Context as _;
use camino::Utf8Path;

use super::deb::{compress, put};
use crate::command;

/// Asks `program` for its pages and completions and puts them below `stage`.
///
/// # Errors
/// When the program does not print them.
pub(super) fn install(program: &Utf8Path, name: &str, stage: &Utf8Path) -> anyhow::Result<()> {
    let share = stage.join("usr/share");
    for (shell, path) in [
        ("bash", format!("bash-completion/completions/{name}")),
        ("zsh", format!("zsh/vendor-completions/_{name}")),
        ("fish", format!("fish/vendor_completions.d/{name}.fish")),
    ] {
        let text = command::output(Command::new(program).args(["completions", shell]))
            .with_context(|| format!("ask {program} for its completions"))?;
        put(&share.join(path), &text, 0o644)?;
    }
    let page = command::output(Command::new(program).arg("man"))
        .with_context(|| format!("ask {program} for its man page"))?;
    let path = share.join(format!("man/man1/{name}.1"));
    put(&path, &page, 0o644)?;
    compress(&path)
}
