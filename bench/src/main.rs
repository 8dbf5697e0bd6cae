//! `make bench`: measures the budgets and writes docs/benchmarks.md.
#![expect(clippy::print_stdout, reason = "the table goes to whoever typed it, too")]

mod chain;
mod real_world;
mod site;
mod table;
mod updates;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("bench lies in the root")?;
    let is_release = !cfg!(debug_assertions);
    let built = Command::new("cargo")
        .arg("build")
        .args(is_release.then_some("--release"))
        .args(["--package", "handover-cli", "--package", "handover-agent"])
        .args(["--package", "handover-sample-web"])
        .current_dir(root)
        .status()
        .context("could not run cargo")?;
    ensure!(built.success(), "the programs to measure could not be built");
    let here = std::env::current_exe()?;
    let programs = here.parent().context("this program lies in a directory")?;
    let mut rows = updates::measure(programs)?;
    rows.extend(chain::measure()?);
    let page = table::page(&rows);
    println!("{page}");
    if is_release {
        site::put(&root.join("docs/benchmarks.md"), page.as_bytes(), 0o644)?;
    } else {
        println!("Built for debugging: nothing was written down.");
    }
    Ok(())
}
