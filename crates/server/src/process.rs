//! The server as a process: its runtime, its signals, its log.

use std::io::IsTerminal as _;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{Config, LogFormat, Running, Server, StartError};

/// Runs a server until SIGTERM or SIGINT; `started` hears where it listens.
///
/// # Errors
/// [`StartError`].
pub fn run(config: Config, started: impl FnOnce(&Running)) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| StartError::System { act: "make threads", source })?;
    runtime.block_on(async {
        let ask = |kind| {
            signal(kind).map_err(|source| StartError::System { act: "listen for signals", source })
        };
        let mut terminated = ask(SignalKind::terminate())?;
        let mut interrupted = ask(SignalKind::interrupt())?;
        let running = Server::start(config).await?;
        started(&running);
        tokio::select! {
            _asked = terminated.recv() => {}
            _asked = interrupted.recv() => {}
        }
        running.stop().await;
        Ok(())
    })
}

/// Begins the log, on standard error: `HANDOVER_LOG` filters it as `RUST_LOG` does elsewhere.
pub fn start_log(format: LogFormat) {
    let filter =
        EnvFilter::try_from_env("HANDOVER_LOG").unwrap_or_else(|_unset| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second beginning, as in tests, changes nothing.
    let _begun = match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}
