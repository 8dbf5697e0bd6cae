//! What each command does: straight-line use of the modules below, and printing.

mod ask;
mod control;
mod doctor;
mod enroll;
mod explain;
mod init;
mod print;
mod status;

use std::io::Write as _;

use camino::Utf8Path;
use clap::{CommandFactory as _, Parser as _};
use handover_hoststeps::disk;

use crate::agent::Agent;
use crate::cli::{Cli, Command, ComponentCommand, LogFormat, QuarantineCommand};
use crate::failure::{Exit, Failure, chain};
use crate::home::Home;
use crate::real_world::Stop;
use crate::voice::Voice;

use print::Printer;

/// Runs the command line and returns the exit code.
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // Where nobody listens the exit code must do.
            let _ = error.print();
            return code.code();
        }
    };
    if let Command::Stage { command } = &cli.command {
        let Some((program, arguments)) = command.split_first() else {
            return Exit::Usage.code();
        };
        let error = crate::entrypoint::stage(program, arguments);
        let _ = writeln!(std::io::stderr(), "could not run {program}: {error}");
        return 127;
    }
    start_log(&cli);
    match run(&cli) {
        Ok(exit) => exit.code(),
        Err(failure) => {
            let printer = Printer::new(cli.output);
            printer.failure(&failure.code(), failure.exit(), &chain(&failure));
            failure.exit().code()
        }
    }
}

/// A service logs what changed; a command tells it by its own words. `RUST_LOG` is a level alone:
/// filters by module would bring a regular expression engine, 380 kB of program.
fn start_log(cli: &Cli) {
    use tracing_subscriber::filter::LevelFilter;
    let usual = if matches!(cli.command, Command::Follow { .. }) {
        LevelFilter::INFO
    } else {
        LevelFilter::ERROR
    };
    let asked = std::env::var("RUST_LOG").ok().and_then(|text| text.parse().ok());
    let log = tracing_subscriber::fmt()
        .with_max_level(asked.unwrap_or(usual))
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    match cli.log {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

fn run(cli: &Cli) -> Result<Exit, Failure> {
    let root = absolute(&cli.root)?;
    let home = Home::new(root);
    let printer = Printer::new(cli.output);
    let following = matches!(cli.command, Command::Follow { .. });
    let voice = if following { Voice::silent() } else { Voice::talking() };
    let stop = Stop::on_signals()
        .map_err(|source| Failure::Stream { act: "listen for signals", source })?;
    let mut agent = Agent::real(home, stop, voice)?;
    match &cli.command {
        Command::Init { repository, targets, trusted_root, name, component } => {
            let wish = init::Wish {
                repository,
                targets: targets.as_deref(),
                trusted_root,
                name,
                components: component,
            };
            init::init(&mut agent, &wish, printer)
        }
        Command::Enroll { token, token_file, name, trusted_root, server, again } => {
            let wish = enroll::Wish {
                token: token.as_deref(),
                token_file: token_file.as_deref(),
                name: name.as_ref(),
                trusted_root: trusted_root.as_deref(),
                server: server.as_deref(),
                again: *again,
            };
            enroll::enroll(&mut agent, &wish, printer)
        }
        Command::Follow { once: false } => crate::follow::follow(&mut agent).map(|()| Exit::Done),
        Command::Follow { once: true } => ask::once(&mut agent, printer),
        Command::Check => ask::check(&agent, printer),
        Command::Update { name, to, permit } => {
            ask::update(&mut agent, printer, name, to.as_ref(), permit.as_deref())
        }
        Command::Rollback { name, to, permit } => {
            ask::rollback(&agent, printer, name, to.as_ref(), permit.as_deref())
        }
        Command::Status => status::status(&agent, printer),
        Command::Explain { name } => explain::explain(&agent, printer, name),
        Command::Doctor { mend } => doctor::doctor(&agent, printer, *mend),
        Command::Pin { name, pin } => ask::pin(&agent, printer, name, Some(pin)),
        Command::Unpin { name } => ask::pin(&agent, printer, name, None),
        Command::Component { command: ComponentCommand::Apply { name, version } } => {
            ask::apply(&mut agent, printer, name, version)
        }
        Command::Component { command: ComponentCommand::List } => status::list(&agent, printer),
        Command::Quarantine { command: QuarantineCommand::Clear { name, version } } => {
            ask::clear(&agent, printer, name, version.as_ref())
        }
        Command::Completions { shell } => {
            let mut out = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "handover-agent", &mut out);
            printer.raw(&out)
        }
        Command::Man => {
            let mut out = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut out)
                .map_err(|source| Failure::Stream { act: "write the manual page", source })?;
            printer.raw(&out)
        }
        Command::Stage { .. } => Ok(Exit::Usage),
    }
}

/// The root as an absolute path without links or `..`: recipes and orders name it, and two
/// spellings of it would be two hosts.
fn absolute(root: &Utf8Path) -> Result<camino::Utf8PathBuf, Failure> {
    let found = match root.canonicalize_utf8() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => camino::absolute_utf8(root),
        other => other,
    };
    found.map_err(|source| Failure::Stream { act: "find the root's absolute path", source })
}

/// A file that a person named, of at most the size that files here may have.
fn read_named(path: &Utf8Path) -> Result<Vec<u8>, Failure> {
    disk::read(path)?.ok_or_else(|| Failure::NotFound { what: format!("{path} does not exist") })
}
