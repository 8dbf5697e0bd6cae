//! A person at a terminal: `handover` with a home of its own.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// A home directory to type commands from.
pub(crate) struct Desk {
    home: tempfile::TempDir,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A command, ready to run.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_handover"));
        command
            .args(words)
            .current_dir(self.home())
            .env("HOME", self.home())
            .env("XDG_CONFIG_HOME", self.home().join("config"))
            .env_remove("HANDOVER_CONTEXT")
            .env_remove("HANDOVER_LOGIN_TOKEN")
            .env_remove("COLUMNS")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        let output = self.command(words).output().unwrap();
        Ended {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that must succeed; returns what it printed.
    pub(crate) fn well(&self, words: &[&str]) -> String {
        let ended = self.run(words);
        assert_eq!(ended.code, 0, "handover {}: {}{}", words.join(" "), ended.out, ended.err);
        ended.out
    }

    /// The same, as JSON.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let mut all = vec!["--output", "json"];
        all.extend(words);
        let out = self.well(&all);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{words:?}: {error}: {out}"))
    }

    /// Runs a command that must end with `code`; returns what it said of why.
    pub(crate) fn refused(&self, code: i32, words: &[&str]) -> String {
        let ended = self.run(words);
        assert_eq!(ended.code, code, "handover {}: {}{}", words.join(" "), ended.out, ended.err);
        assert!(ended.err.contains("error: "), "{}", ended.err);
        ended.err
    }
}
