//! The root file system that every host starts from: a small Debian, made once by `debootstrap`
//! and kept outside the repository.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, bail};
use camino::{Utf8Path, Utf8PathBuf};

use crate::command;

/// Changes when what is installed below changes, so that an older cache is not taken for it.
const RECIPE: &str = "1";
const PACKAGES: &str = "systemd,systemd-sysv,dbus,ca-certificates,iproute2,curl,procps";

/// Where root file systems are kept: `HANDOVER_HOSTS_CACHE`, or a directory of ours in the
/// system's cache.
pub(crate) fn cache() -> Utf8PathBuf {
    std::env::var("HANDOVER_HOSTS_CACHE")
        .map_or_else(|_| Utf8PathBuf::from("/var/cache/handover-hosts"), Utf8PathBuf::from)
}

/// The root file system's directory; makes it where it is missing.
///
/// # Errors
/// When `debootstrap` is missing or fails.
pub(crate) fn ensure() -> anyhow::Result<Utf8PathBuf> {
    let suite = suite()?;
    let base = cache().join(format!("{suite}-{RECIPE}"));
    if base.join("usr/lib/systemd/systemd").exists() {
        return Ok(base);
    }
    let making = cache().join(format!("{suite}-{RECIPE}.{}", std::process::id()));
    fs::create_dir_all(&making).with_context(|| format!("make {making}"))?;
    let include = format!("--include={PACKAGES}");
    let made = command::output(
        Command::new("debootstrap").args(["--variant=minbase", &include, &suite]).arg(&making),
    );
    if let Err(source) = made {
        fs::remove_dir_all(&making).with_context(|| format!("remove {making}"))?;
        return Err(source.context(format!("make a root file system of Debian {suite}")));
    }
    tidy_up(&making)?;
    fs::rename(&making, &base).with_context(|| format!("rename {making} to {base}"))?;
    Ok(base)
}

/// The machine's own Debian, so that what was built here runs there.
fn suite() -> anyhow::Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
    };
    match (field("ID").as_deref(), field("VERSION_CODENAME")) {
        (Some("debian"), Some(suite)) => Ok(suite),
        (id, _) => bail!("hosts are made from the machine's own Debian, and this one is {id:?}"),
    }
}

/// What debootstrap leaves that a host does not need, and what would make hosts alike.
fn tidy_up(root: &Utf8Path) -> anyhow::Result<()> {
    for left in ["var/cache/apt/archives", "var/lib/apt/lists"] {
        let left = root.join(left);
        fs::remove_dir_all(&left).with_context(|| format!("remove {left}"))?;
        fs::create_dir_all(left.join("partial")).with_context(|| format!("make {left}"))?;
    }
    let sources = root.join("etc/apt/sources.list");
    fs::remove_file(&sources).with_context(|| format!("remove {sources}"))
}
