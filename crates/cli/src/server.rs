//! `handover server`: arguments in, a [`Config`] out; the rest is `handover_server`.

use std::net;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand};
use handover_hoststeps::disk;
use handover_model::Millis;
use handover_server::{Config, LogFormat, Repository, Rotated, Rotation, Running, StartError};

use crate::output::{Chain, Out};

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
    /// Make another key sign orders; agents learn of it, signed by the one before.
    RotateOrderKey(RotateArgs),
    /// Let the standby authority issue the server's certificate, and make a new standby. The
    /// certificate moves once every agent that is there has followed.
    RotateCa(RotateArgs),
}

#[derive(Debug, Args)]
struct RotateArgs {
    /// The data directory.
    #[arg(long, default_value = "/var/lib/handover-server", env = "HANDOVER_SERVER_DATA")]
    data: Utf8PathBuf,
    /// As for `run`.
    #[arg(long, env = "HANDOVER_SERVER_DATABASE", hide_env_values = true)]
    database: Option<String>,
    /// Don't wait for agents: those that are away and missed the rotation before, too, are lost.
    #[arg(long)]
    now: bool,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The data directory; made, with keys and database, when it is empty.
    #[arg(long, default_value = "/var/lib/handover-server", env = "HANDOVER_SERVER_DATA")]
    data: Utf8PathBuf,
    /// Where to listen.
    #[arg(long, default_value = "0.0.0.0:8443", env = "HANDOVER_SERVER_LISTEN")]
    listen: net::SocketAddr,
    /// A host name or address by which agents and people reach this server; may be repeated. The
    /// first one stands in tokens.
    #[arg(long = "name", env = "HANDOVER_SERVER_NAMES", value_delimiter = ',')]
    names: Vec<String>,
    /// The base address for tokens, when it is not https://NAME:PORT.
    #[arg(long, value_name = "URL", env = "HANDOVER_SERVER_PUBLIC_URL")]
    public_url: Option<String>,
    /// `sqlite:FILE` or `postgres://USER@HOST/NAME`; in the data directory when absent.
    #[arg(long, env = "HANDOVER_SERVER_DATABASE", hide_env_values = true)]
    database: Option<String>,
    /// The repository: a directory that this server serves, or the address of a file server.
    #[arg(long, value_name = "DIR|URL", env = "HANDOVER_SERVER_REPOSITORY")]
    repository: Option<String>,
    /// How often agents come when nothing waits for them.
    #[arg(long, default_value = "1m")]
    every: Millis,
    /// How long an agent's question may wait for an answer, at most 55s; one that waits is missed
    /// only later.
    #[arg(long, default_value = "55s")]
    longest_poll: Millis,
    /// Where a first start writes the login token that it makes, mode 0600, instead of printing it.
    #[arg(long, value_name = "FILE", env = "HANDOVER_SERVER_FIRST_TOKEN")]
    first_token: Option<Utf8PathBuf>,
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
        Some(Command::RotateOrderKey(args)) => return rotate(args, Rotation::OrderKey, out),
        Some(Command::RotateCa(args)) => return rotate(args, Rotation::ChannelCa, out),
        None => args.run,
    };
    handover_server::start_log(match run.log {
        Log::Text => LogFormat::Text,
        Log::Json => LogFormat::Json,
    });
    let (data, first_token) = (run.data.clone(), run.first_token.clone());
    handover_server::run(run.into_config(), |running| {
        greet(running, &data, first_token.as_deref(), out);
        ready(out);
    })?;
    Ok(ExitCode::SUCCESS)
}

fn rotate(args: RotateArgs, what: Rotation, out: &Out) -> Result<ExitCode, StartError> {
    let mut config = Config::new(args.data, net::SocketAddr::from(([127, 0, 0, 1], 0)));
    config.database = args.database;
    let said = match handover_server::rotate(&config, what, args.now)? {
        Rotated::Done => "rotated; agents hear of it when the server runs",
        Rotated::Told => "the server was told; its log says when it is done",
    };
    out.say(said);
    Ok(ExitCode::SUCCESS)
}

impl RunArgs {
    fn into_config(self) -> Config {
        let mut config = Config::new(self.data, self.listen);
        config.names = self.names;
        config.public_url = self.public_url;
        config.database = self.database;
        config.next = self.every;
        config.limits.wait = self.longest_poll.duration();
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

fn greet(running: &Running, data: &Utf8Path, first_token: Option<&Utf8Path>, out: &Out) {
    out.say(&format!("listening on {}", running.address));
    out.say(&format!("data directory {data}"));
    let Some(token) = &running.first_login else { return };
    if let Some(path) = first_token {
        match disk::write(path, format!("{token}\n").as_bytes(), 0o600) {
            Ok(()) => return out.say(&format!("the first login token is in {path}")),
            // It is nowhere else, and lost it would be worse than shown.
            Err(error) => out.say(&Chain(&error).to_string()),
        }
    }
    out.say("\nThis token is shown once. In another terminal:\n");
    out.say(&format!("  handover login {token}"));
    out.say("  handover token create\n");
}

/// Tells a service manager that waits for it that the server listens (`sd_notify(3)`).
fn ready(out: &Out) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let name = name.to_string_lossy();
    let address = match name.strip_prefix('@') {
        Some(hidden) => SocketAddr::from_abstract_name(hidden),
        None => SocketAddr::from_pathname(name.as_ref()),
    };
    let sent =
        address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address));
    if let Err(error) = sent {
        out.say(&format!("could not tell the service manager that the server is ready: {error}"));
    }
}
