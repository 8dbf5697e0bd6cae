//! Where faults can be injected: which process, at which of its system calls.

use std::fmt;

use camino::Utf8Path;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The processes of an update, told apart by what they execute.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// `handover-agent`.
    Agent,
    /// The package's `handover/upgrade`, up to its answer.
    Entrypoint,
    /// The package's `handover/upgrade`, watching.
    Watcher,
    /// `handover-launch`.
    Launcher,
}

impl Role {
    /// The role of a process that executes `arguments`, the program's own path being the first;
    /// `None` for processes that are no part of the product, and for the component itself.
    pub(crate) fn of(arguments: &[String]) -> Option<Self> {
        let program = Utf8Path::new(arguments.first()?).file_name()?;
        let word = |wanted: &str| arguments.iter().skip(1).any(|argument| argument == wanted);
        match program {
            "handover-agent" => Some(Self::Agent),
            "handover-launch" if !word("--exec-stage") => Some(Self::Launcher),
            "upgrade" | "handover-upgrade" if word("watch") => Some(Self::Watcher),
            "upgrade" | "handover-upgrade" if word("run") || word("resume") => {
                Some(Self::Entrypoint)
            }
            _ => None,
        }
    }
}

/// What is done to the process at the chosen call.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// It is killed before the call has any effect.
    Kill,
    /// It is killed when the call has had its effect, before it learns of it.
    KillAfter,
    /// The call fails with "no space left on device" and has no effect.
    Enospc,
    /// The call fails with "input/output error" and has no effect.
    Eio,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "killed before",
            Self::KillAfter => "killed after",
            Self::Enospc => "ENOSPC at",
            Self::Eio => "EIO at",
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent => "agent",
            Self::Entrypoint => "entrypoint",
            Self::Watcher => "watcher",
            Self::Launcher => "launcher",
        })
    }
}

/// One call that makes something durable, as the tracer writes it down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Whose call.
    pub(crate) role: Role,
    /// Its number among the role's calls, from 1.
    pub(crate) nth: u32,
    /// The system call's name.
    pub(crate) call: String,
    /// The file that is meant, as far as the tracer could see.
    pub(crate) path: String,
    /// The fault that was injected here, if one was.
    pub(crate) fault: Option<Fault>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(line: &str) -> Option<Role> {
        Role::of(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_launchers_child_is_not_the_launcher() {
        assert_eq!(role("/x/bin/handover-launch --root /r web"), Some(Role::Launcher));
        assert_eq!(role("/x/bin/handover-launch --exec-stage"), None);
    }

    #[test]
    fn the_entrypoint_and_its_watcher_are_told_apart() {
        let run = "/r/incoming/ab/handover/upgrade run --contract 1 --order o.json";
        assert_eq!(role(run), Some(Role::Entrypoint));
        assert_eq!(role("/r/releases/1/handover/upgrade watch --run x"), Some(Role::Watcher));
        assert_eq!(role("/r/releases/1/handover/upgrade --version"), None);
    }
}
