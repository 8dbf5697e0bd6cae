//! How this version behaves. A real service has no such file: it is here so that one executable
//! can play a good release, a sick one, and one that crashes an hour later.

use std::fs::File;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

/// `behaviour.json` in the package.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Behaviour {
    /// The version that it says it is.
    pub(crate) version: String,
    /// The schema of the state that it reads and writes: 1 or 2.
    pub(crate) schema: u32,
    /// Whether `/healthz` answers 200 or 503.
    #[serde(default)]
    pub(crate) health: Health,
    /// After how many milliseconds it crashes. Absent: never.
    #[serde(default)]
    pub(crate) crash_after_ms: Option<u64>,
    /// After how many milliseconds it crashes when it crashed before on the same state.
    #[serde(default)]
    pub(crate) crash_again_after_ms: Option<u64>,
    /// Whether it crashes before it serves when its state holds notes: a release that is well
    /// wherever nothing has happened yet.
    #[serde(default)]
    pub(crate) crash_on_notes: bool,
    /// Whether SIGTERM is ignored, so that the launcher has to kill it.
    #[serde(default)]
    pub(crate) ignore_stop: bool,
    /// How long it takes to become ready, in milliseconds.
    #[serde(default)]
    pub(crate) slow_start_ms: u64,
}

/// What the health check finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Health {
    /// All is well.
    #[default]
    Well,
    /// It runs and answers, but not as it should.
    Ill,
}

impl Behaviour {
    /// Reads `behaviour.json` from the unpacked package.
    pub(crate) fn load(package: &Path) -> anyhow::Result<Self> {
        let path = package.join("behaviour.json");
        let file =
            File::open(&path).with_context(|| format!("could not open {}", path.display()))?;
        serde_json::from_reader(file).with_context(|| format!("{} is malformed", path.display()))
    }
}
