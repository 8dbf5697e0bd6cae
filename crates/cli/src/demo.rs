//! `handover demo`: the whole of Handover on one machine, as real processes, over loopback,
//! without root or a service manager. It drives `handover` and `handover-agent` as a person would,
//! and believes nothing that it has not looked at, so that it is an acceptance test as well.

mod clients;
mod file_server;
mod processes;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

/// How to show it.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Check every outcome, clean up, and exit 0 or 1 instead of staying up.
    #[arg(long)]
    once: bool,
    /// Where everything lies; a new directory under the system's temporary one where absent.
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

/// Shows it.
pub(crate) fn run(args: &DemoArgs) -> ExitCode {
    let _unused = (args.once, &args.dir);
    story::say("handover demo: its parts are being put together");
    ExitCode::FAILURE
}
