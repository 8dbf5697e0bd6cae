//! A process, mount and network namespace of our own for everything that the lane starts.
//!
//! The lane runs itself again as the first process of new namespaces. Whatever ends either of the
//! two, Ctrl-C and `kill -9` included, the kernel then ends every process in there and drops its
//! mounts and links: there is nothing to clean up and nothing to leave behind.

use std::process::Command;

use anyhow::Context as _;

/// A command that runs this program again with `arguments`, inside. A shell is the first process
/// there: it reaps what is orphaned, as a service manager's does.
///
/// # Errors
/// When our own executable can't be found.
pub(crate) fn command(arguments: &[&str]) -> anyhow::Result<Command> {
    let me = std::env::current_exe().context("find our own executable")?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare", "--fork", "--pid", "--kill-child=KILL"])
        .args(["--mount", "--mount-proc", "--net", "--propagation", "private"])
        .args(["bash", "-c", "\"$@\"; exit $?", "bash"])
        .arg(me)
        .args(arguments)
        .env_remove("RUST_BACKTRACE");
    Ok(command)
}
