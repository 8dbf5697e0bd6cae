//! Repository chores, run as `cargo xtask <chore>`; each chore is a module of its own.
#![expect(clippy::print_stdout, reason = "a chore's result goes to whoever typed it")]
#![expect(clippy::print_stderr, reason = "complaints go beside the result")]

mod campaign;
mod cast;
mod command;
mod deps;
mod dist;
mod hosts;
mod real_world;
mod repository;
mod served;
mod source;
mod tidy;
mod tuf_client;
mod wait;

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
    /// Build the Debian packages, in `dist/`.
    Dist(dist::Options),
    /// Try the packages on real Debian hosts with systemd, in containers; needs root.
    Hosts(hosts::Options),
    /// Kill an update's processes, or fail their calls, wherever they make something durable.
    Campaign(campaign::Options),
    /// Act as a TUF client, for the public conformance suite.
    TufClient(tuf_client::Options),
    /// Run a program, count the calls that make things durable, and inject a fault at one.
    #[command(hide = true)]
    Trace(campaign::tracer::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    match Chore::parse() {
        Chore::Deps => Ok(verdict("deps", &deps::check()?)),
        Chore::Tidy => Ok(verdict("tidy", &tidy::check()?)),
        Chore::Dist(options) => {
            let made = dist::build(&options)?;
            dist::report(&made, options.profile).map(|()| ExitCode::SUCCESS)
        }
        Chore::Hosts(options) => hosts::run(&options),
        Chore::TufClient(options) => tuf_client::run(&options).map(|()| ExitCode::SUCCESS),
        Chore::Campaign(options) => campaign::run(&options),
        Chore::Trace(options) => campaign::tracer::run(&options),
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
