//! A process, mount and network namespace of our own for everything that the lane starts.
//!
//! The lane runs itself again as the first process of new namespaces. Whatever ends either of the
//! two, Ctrl-C and `kill -9` included, the kernel then ends every process in there and drops its
//! mounts and links: there is nothing to clean up and nothing to leave behind.

use std::process::{Command, ExitStatus};

use anyhow::Context as _;

/// Runs this program again with `arguments`, inside.
///
/// # Errors
/// When `setpriv` or `unshare` can't be started.
pub(crate) fn run_inside(arguments: &[&str]) -> anyhow::Result<ExitStatus> {
    let me = std::env::current_exe().context("find our own executable")?;
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--fork", "--pid", "--kill-child=KILL"])
        .args(["--mount", "--mount-proc", "--net", "--propagation", "private"])
        .arg(me)
        .args(arguments)
        .status()
        .context("start setpriv and unshare (package util-linux)")
}
