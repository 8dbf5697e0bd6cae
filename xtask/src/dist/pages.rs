//! Man pages and shell completions, which the programs print themselves.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::Context as _;
use camino::Utf8Path;

use super::deb::{compress, put};
use super::files_below;
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
    let section = share.join("man/man1");
    fs::create_dir_all(&section).with_context(|| format!("make {section}"))?;
    if name == "handover" {
        // Many commands, many pages.
        command::output(Command::new(program).arg("man").arg(&section))
            .with_context(|| format!("ask {program} for its manual pages"))?;
    } else {
        let page = command::output(Command::new(program).arg("man"))
            .with_context(|| format!("ask {program} for its manual page"))?;
        put(&section.join(format!("{name}.1")), &page, 0o644)?;
    }
    for page in files_below(&section)? {
        fs::set_permissions(&page, fs::Permissions::from_mode(0o644))
            .with_context(|| format!("set the mode of {page}"))?;
        compress(&page)?;
    }
    Ok(())
}
