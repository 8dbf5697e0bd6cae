//! Running other programs from chores: a failure names the command and shows what it said.

use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Runs a program to its end and returns what it printed.
///
/// # Errors
/// When it can't be started or fails; the message holds what it printed.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = format!("{command:?}");
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("start {name}"))?;
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    if !done.status.success() {
        let err = String::from_utf8_lossy(&done.stderr);
        bail!("{name}: {}\n{}{}", done.status, out, err);
    }
    Ok(out)
}

/// Runs a program to its end, its output going where ours goes.
///
/// # Errors
/// When it can't be started or fails.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = format!("{command:?}");
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("start {name}"))?;
    if !status.success() {
        bail!("{name}: {status}");
    }
    Ok(())
}

/// A command from words split at spaces, for fixed command lines.
pub(crate) fn words(line: &str) -> Command {
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}
