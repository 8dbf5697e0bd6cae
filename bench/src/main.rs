//! `make bench`: measures the budgets and writes docs/benchmarks.md.
//!
//! Load generator and bare peer run as processes of their own, so that the processor time of what
//! is measured is its own: this executable, started again as `load` or `bare`.
#![expect(clippy::print_stdout, reason = "the table goes to whoever typed it, too")]

mod arguments;
mod bare;
mod chain;
mod control;
mod fleet;
mod gates;
mod library;
mod load;
mod planning;
mod process;
mod real_world;
mod site;
mod table;
mod updates;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use arguments::{Arguments, Role};
use table::Group;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    match arguments.role {
        Role::Load => load::main(),
        Role::Bare => bare::main(),
        Role::Measure => measure(&arguments),
    }
}

fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("bench lies in the root")?;
    let is_wanted = |group: &Group| arguments.only.is_none_or(|only| only == *group);
    let wanted: Vec<Group> = Group::ALL.into_iter().filter(is_wanted).collect();
    let programs = match &arguments.programs {
        Some(built) => std::path::absolute(built)?,
        None if wanted.iter().any(|group| group.runs_programs()) => build(root)?,
        None => PathBuf::new(),
    };
    let page = root.join("docs/benchmarks.md");
    let mut sections = table::Page::read(&page)?;
    for group in wanted {
        let rows = match group {
            Group::Host => updates::measure(&programs)?,
            Group::Chain => chain::measure()?,
            Group::Control => control::measure(&programs, arguments.scale)?,
            Group::Gates => gates::measure(arguments.scale)?,
            Group::Planning => planning::measure(arguments.scale)?,
            Group::Rollout => control::measure_rollout(&programs, arguments.scale)?,
        };
        sections.put(group, &rows);
    }
    let text = sections.text();
    println!("{text}");
    if !cfg!(debug_assertions) && arguments.scale == 1 {
        site::put(&page, text.as_bytes(), 0o644)?;
    } else {
        println!("Built for debugging, or at less than full size: nothing was written down.");
    }
    Ok(())
}

/// Builds everything as it is shipped; returns where it lies.
fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let is_release = !cfg!(debug_assertions);
    let mut commands = vec![vec!["build", "--package", "handover-sample-web"]];
    if is_release {
        commands[0].push("--release");
        commands.push(vec!["xtask", "dist", "--programs-only"]);
    } else {
        commands.push(vec!["build", "--package", "handover-cli", "--package", "handover-agent"]);
    }
    for arguments in commands {
        let status = Command::new("cargo").args(&arguments).current_dir(root).status();
        let built = status.context("could not run cargo")?;
        ensure!(built.success(), "cargo {}: {built}", arguments.join(" "));
    }
    let here = std::env::current_exe()?;
    Ok(here.parent().context("this program lies in a directory")?.to_owned())
}
