//! `handover`: everything that a person types.

mod control;
mod demo;
mod output;
mod real_world;
mod release;
mod repo;
mod secret;
mod self_update;
mod server;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::output::{Chain, Out};

/// Publishes signed releases, and moves hosts to them through a control plane.
#[derive(Debug, Parser)]
#[command(name = "handover", version, about)]
struct Cli {
    /// How lists and reports are printed.
    #[arg(long, global = true, value_enum, default_value_t)]
    output: output::Format,
    /// No progress, no remarks: results and errors alone.
    #[arg(long, short, global = true)]
    quiet: bool,
    /// The control plane to speak to, by its context's name, in place of the current one.
    #[arg(
        long, global = true, value_name = "NAME", env = "HANDOVER_CONTEXT",
        value_parser = control::parse_name
    )]
    context: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep a repository: keys, roots, expiry.
    #[command(subcommand)]
    Repo(repo::Command),
    /// Make, sign, publish and inspect releases.
    #[command(subcommand)]
    Release(release::Command),
    #[command(flatten)]
    Control(control::Command),
    /// Run a control plane, and keep it.
    Server(server::ServerArgs),
    /// Update this program, through the same signed repository and checks as hosts.
    SelfUpdate(self_update::SelfUpdateArgs),
    /// Show it all on this machine: five hosts, good and bad releases, attackers.
    Demo(demo::DemoArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory.
    Man {
        /// The directory, made if it is not there.
        directory: camino::Utf8PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = Out::new(cli.output, cli.quiet);
    let desk = control::Desk { out: &out, context: cli.context };
    let done = match cli.command {
        Command::Repo(command) => run_repo(command, &desk),
        Command::Release(command) => run_release(command, &desk),
        Command::Control(command) => control::run(command, &desk).map_err(Failure::from),
        Command::SelfUpdate(args) => match self_update::run(&args, &desk) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => Err(error.into()),
        },
        Command::Server(args) => server::run(args, &out).map_err(Failure::from),
        Command::Demo(args) => return demo::run(&args),
        Command::Completions { shell } => completions(shell).map_err(Failure::from),
        Command::Man { directory } => manual(&directory).map_err(Failure::from),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            out.failure(&failure.name, failure.code, &Chain(failure.error.as_ref()).to_string());
            ExitCode::from(failure.code)
        }
    }
}

fn run_repo(command: repo::Command, desk: &control::Desk<'_>) -> Result<ExitCode, Failure> {
    let upload = command.upload();
    let done = repo::run(command, desk.out)?;
    if let Some(directory) = upload {
        control::publish(&directory, desk)?;
    }
    Ok(done)
}

fn run_release(command: release::Command, desk: &control::Desk<'_>) -> Result<ExitCode, Failure> {
    match release::run(command, desk.out)? {
        release::Next::Nothing => {}
        release::Next::Ask(question) => control::answer(question, desk)?,
        release::Next::Upload(directory) => control::publish(&directory, desk)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// An error on its way out, with the exit code that docs/exit-codes.md gives it.
struct Failure {
    error: anyhow::Error,
    code: u8,
    name: String,
}

impl From<repo::RepoError> for Failure {
    fn from(error: repo::RepoError) -> Self {
        Self { code: error.exit_code(), name: error.code().to_owned(), error: error.into() }
    }
}

impl From<handover_server::StartError> for Failure {
    fn from(error: handover_server::StartError) -> Self {
        Self { code: error.exit_code(), name: error.code().to_owned(), error: error.into() }
    }
}

impl From<release::ReleaseError> for Failure {
    fn from(error: release::ReleaseError) -> Self {
        Self { code: error.exit_code(), name: error.code().to_owned(), error: error.into() }
    }
}

impl From<control::ControlError> for Failure {
    fn from(error: control::ControlError) -> Self {
        Self { code: error.exit_code(), name: error.code().to_owned(), error: error.into() }
    }
}

impl From<self_update::SelfUpdateError> for Failure {
    fn from(error: self_update::SelfUpdateError) -> Self {
        Self { code: error.exit_code(), name: error.code(), error: error.into() }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { error, code: 1, name: "failed".to_owned() }
    }
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "handover", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

fn manual(directory: &camino::Utf8Path) -> anyhow::Result<ExitCode> {
    handover_hoststeps::disk::make_dir(directory)?;
    clap_mangen::generate_to(Cli::command(), directory)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_table_of_commands_is_sound() {
        super::Cli::command().debug_assert();
    }
}
