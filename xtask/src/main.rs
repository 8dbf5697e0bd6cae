//! Repository chores, run as `cargo xtask <chore>`; each chore is a module of its own.
#![expect(clippy::print_stdout, reason = "a chore's result goes to whoever typed it")]
#![expect(clippy::print_stderr, reason = "complaints go beside the result")]

mod deps;
mod repository;
mod source;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

/// Repository chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Chore {
    /// Check that crates depend on each other only as the map allows, and that pure crates are pure.
    Deps,
    /// Check file sizes, forbidden words, unexplained TODOs, docs links and cited tests.
    Tidy,
}

fn main() -> anyhow::Result<ExitCode> {
    match Chore::parse() {
        Chore::Deps => Ok(verdict("deps", &deps::check()?)),
        Chore::Tidy => Ok(verdict("tidy", &tidy::check()?)),
    }
}

/// Prints what is wrong and turns it into an exit code.
fn verdict(chore: &str, problems: &[String]) -> ExitCode {
    for problem in problems {
        eprintln!("{chore}: {problem}");
    }
    if problems.is_empty() {
        println!("{chore}: nothing to complain about");
        ExitCode::SUCCESS
    } else {
        eprintln!("{chore}: {} problem(s)", problems.len());
        ExitCode::FAILURE
    }
}
