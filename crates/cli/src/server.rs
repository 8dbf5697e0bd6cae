//! `handover server`: arguments in, a [`Config`] out; the rest is `handover_server`.

use std::net::SocketAddr;
use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use handover_model::Millis;
use handover_server::{Config, LogFormat, Repository, Running, StartError};

use crate::output::Out;

/// `handover server …`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ServerArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (as without a command).
    Run(RunArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The data directory; made, with keys and database, when it is empty.
    #[arg(long, default_value = "/var/lib/handover-server", env = "HANDOVER_SERVER_DATA")]
    data: Utf8PathBuf,
    /// Where to listen.
    #[arg(long, default_value = "0.0.0.0:8443", env = "HANDOVER_SERVER_LISTEN")]
    listen: SocketAddr,
    /// A host name or address by which agents and people reach this server; may be repeated. The
    /// first one stands in tokens.
    #[arg(long = "name")]
    names: Vec<String>,
    /// The base address for tokens, when it is not https://NAME:PORT.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// `sqlite:FILE` or `postgres://USER@HOST/NAME`; in the data directory when absent.
    #[arg(long, env = "HANDOVER_SERVER_DATABASE", hide_env_values = true)]
    database: Option<String>,
    /// The repository: a directory that this server serves, or the address of a file server.
    #[arg(long, value_name = "DIR|URL")]
    repository: Option<String>,
    /// How often agents come when nothing waits for them.
    #[arg(long, default_value = "1m")]
    every: Millis,
    /// How the log is written.
    #[arg(long, value_enum, default_value_t)]
    log: Log,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Log {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

pub(crate) fn run(args: ServerArgs, out: &Out) -> Result<ExitCode, StartError> {
    let run = match args.command {
        Some(Command::Run(run)) => run,
        None => args.run,
    };
    handover_server::start_log(match run.log {
        Log::Text => LogFormat::Text,
        Log::Json => LogFormat::Json,
    });
    let data = run.data.clone();
    handover_server::run(run.into_config(), |running| greet(running, &data, out))?;
    Ok(ExitCode::SUCCESS)
}

impl RunArgs {
    fn into_config(self) -> Config {
        let mut config = Config::new(self.data, self.listen);
        config.names = self.names;
        config.public_url = self.public_url;
        config.database = self.database;
        config.next = self.every;
        config.repository = self.repository.map(|text| {
            if text.starts_with("https://") || text.starts_with("http://") {
                Repository::Url(text)
            } else {
                Repository::Directory(text.into())
            }
        });
        config
    }
}

fn greet(running: &Running, data: &Utf8PathBuf, out: &Out) {
    out.say(&format!("listening on {}", running.address));
    out.say(&format!("data directory {data}"));
    if let Some(token) = &running.first_login {
        out.say("\nThis token is shown once. In another terminal:\n");
        out.say(&format!("  handover login {token}"));
        out.say("  handover token create\n");
    }
}
