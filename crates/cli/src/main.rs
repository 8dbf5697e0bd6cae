//! `handover`: everything that a person types.

mod demo;
mod real_world;

use std::process::ExitCode;

use clap::Parser;

/// Moves fleets of agents, and what they serve, from one version to the next.
#[derive(Debug, Parser)]
#[command(name = "handover", version)]
enum Command {
    /// Shows it all on this machine: five hosts, good and bad releases, attackers.
    Demo(demo::DemoArgs),
}

fn main() -> ExitCode {
    match Command::parse() {
        Command::Demo(args) => demo::run(&args),
    }
}
