//! `handover-launch`: the parent of a component's process (DESIGN 5.2).
//!
//! It knows the slots file and nothing else. What to do is decided in `engine::launch`; this is
//! the hand that does it. No threads, no configuration, no network of its own.
//!
//! Invariants:
//! - nothing of a stopped slot lives when the next one starts, and nothing of a component lives
//!   without a launcher;
//! - a listening socket stays open as long as any slot that may run names it;
//! - a slots file that can't be read stops the launcher at its start and never reads as "none".

use std::io::Write as _;

use camino::Utf8Path;
use handover_hoststeps::HostError;
use handover_hoststeps::disk::{self, Lock};
use handover_model::{ComponentName, LAUNCHER_PROTOCOL};

mod args;
mod child;
mod exec_stage;
mod fds;
mod inbox;
mod notify;
mod processes;
mod record;
mod self_test;
mod shell;
mod signals;
mod sockets;
mod users;

use args::Wanted;
use shell::Shell;

pub use notify::{Said, parse_notification};

/// Why a launcher can't do its work.
#[derive(Debug, thiserror::Error)]
enum LaunchError {
    /// The system refused something that every launcher needs.
    #[error("could not {act}")]
    Prepare { act: &'static str, source: std::io::Error },
    /// A file can't be read or written.
    #[error(transparent)]
    Host(HostError),
    /// Another launcher of the component is alive.
    #[error("component {component} has a launcher already: process {holder}")]
    Busy { component: ComponentName, holder: String },
}

impl LaunchError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Host(error) if shell::is_damage(error) => 6,
            Self::Prepare { .. } | Self::Host(_) => 1,
            Self::Busy { .. } => 7,
        }
    }
}

/// Does what the arguments say; the exit code is the answer.
pub fn main(arguments: impl IntoIterator<Item = String>) -> u8 {
    match args::parse(arguments) {
        Ok(Wanted::ExecStage) => exec_stage::run(),
        Ok(Wanted::Help) => print(args::HELP),
        Ok(Wanted::Version) => print(&format!(
            "handover-launch {} (launcher protocol {LAUNCHER_PROTOCOL})\n",
            env!("CARGO_PKG_VERSION")
        )),
        Ok(Wanted::SelfTest) => match self_test::run() {
            Ok(()) => print("the launcher can do its work here\n"),
            Err(why) => fail(&format!("the launcher can't do its work here: {why}"), 1),
        },
        Ok(Wanted::Launch(root, component)) => match launch(&root, &component) {
            Ok(()) => 0,
            Err(error) => fail(&record::chain(&error), error.exit_code()),
        },
        Err(why) => fail(&why, 2),
    }
}

fn launch(root: &Utf8Path, component: &ComponentName) -> Result<(), LaunchError> {
    let home = root.join("components").join(component.as_str());
    disk::make_dir(&home).map_err(LaunchError::Host)?;
    let path = home.join("launcher.lock");
    let Some(_lock) = Lock::try_take(&path).map_err(LaunchError::Host)? else {
        let holder = Lock::holder(&path).ok().flatten();
        let holder = holder.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
        return Err(LaunchError::Busy { component: component.clone(), holder });
    };
    Shell::new(root, component)?.run()
}

fn print(text: &str) -> u8 {
    u8::from(std::io::stdout().write_all(text.as_bytes()).is_err())
}

fn fail(why: &str, code: u8) -> u8 {
    // Where nobody listens the exit code must do.
    let _ = writeln!(std::io::stderr(), "handover-launch: {why}");
    code
}
