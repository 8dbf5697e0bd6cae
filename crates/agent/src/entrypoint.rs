//! Running a package's entrypoint, by the contract (DESIGN 5.3): start it, relay what it says,
//! end it when it takes too long, and never take its word for what happened.
//!
//! Its standard output is a file and not a pipe, and it runs in a session of its own: when the
//! agent itself is what is being swapped, this process ends in the middle, and the entrypoint
//! must neither get its signals nor write into a broken pipe.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::{ErrorClass, ExitCode, Progress};
use rustix::process::{Pid, Signal};

use crate::real_world::{Clock, Stop};

/// Stands in the environment of an entrypoint and of the watcher that it leaves behind: the
/// launcher ends what its child started, but not these, or an agent could not be swapped by what
/// it runs.
pub const OUTLIVES: &str = "HANDOVER_OUTLIVES_ITS_STARTER=1";
/// How often a running entrypoint is looked at.
const GLANCE: Duration = Duration::from_millis(10);
/// An entrypoint that says more than this is out of its mind.
const MOST_OUTPUT: u64 = 16 * 1024 * 1024;
/// The longest line that is relayed.
const LONGEST_LINE: usize = 64 * 1024;

/// An entrypoint's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrypoint {
    /// This program's own executable, whose hidden `stage` command makes the session.
    pub stage: Utf8PathBuf,
    /// The entrypoint.
    pub program: Utf8PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where its standard output goes; replaced.
    pub output: Utf8PathBuf,
    /// How long it may take until it answers.
    pub patience: Duration,
}

/// How it ended, as far as exit codes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// It ended by itself.
    Ended(ExitCode),
    /// It was silent past its deadline and was ended, with all of its session.
    Silent,
    /// It said more than anybody reads and was ended.
    Babbled,
    /// This process was asked to stop; the entrypoint goes on without it.
    LeftAlone,
}

/// An entrypoint that could not be run or watched.
#[derive(Debug, thiserror::Error)]
#[error("could not {act} {path}")]
pub struct EntrypointError {
    /// What was tried.
    pub act: &'static str,
    /// On what.
    pub path: Utf8PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

impl EntrypointError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Retry
    }
}

/// Runs an entrypoint to its end, relaying each line of progress.
///
/// # Errors
/// [`EntrypointError`] when it can't be started or its output can't be read.
pub fn run_entrypoint(
    entrypoint: &Entrypoint,
    clock: &dyn Clock,
    stop: &Stop,
    relay: &mut dyn FnMut(&Progress),
) -> Result<Answered, EntrypointError> {
    let failed = |act: &'static str, path: &Utf8Path| {
        let path = path.to_owned();
        move |source| EntrypointError { act, path, source }
    };
    let output = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&entrypoint.output)
        .map_err(failed("open", &entrypoint.output))?;
    let errors = output.try_clone().map_err(failed("open", &entrypoint.output))?;
    let deadline = clock.now().mono.saturating_add(entrypoint.patience);
    let mut child = Command::new(&entrypoint.stage)
        .arg("stage")
        .arg(&entrypoint.program)
        .args(&entrypoint.arguments)
        .current_dir(entrypoint.program.parent().unwrap_or(Utf8Path::new("/")))
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| passed_on(name)))
        .envs(OUTLIVES.split_once('='))
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(failed("run", &entrypoint.program))?;
    let mut lines = Lines::open(&entrypoint.output).map_err(failed("open", &entrypoint.output))?;
    loop {
        let ended = child.try_wait().map_err(failed("wait for", &entrypoint.program))?;
        lines.relay(relay).map_err(failed("read", &entrypoint.output))?;
        if let Some(status) = ended {
            return Ok(Answered::Ended(ExitCode::of(status.code())));
        }
        if lines.seen > MOST_OUTPUT {
            end(&mut child);
            return Ok(Answered::Babbled);
        }
        if clock.now().mono >= deadline {
            end(&mut child);
            return Ok(Answered::Silent);
        }
        if stop.wait(GLANCE) {
            return Ok(Answered::LeftAlone);
        }
    }
}

/// Replaces this process by `program` in a session of its own: the hidden `stage` command.
/// Returns only if that failed.
pub fn stage(program: &str, arguments: &[String]) -> std::io::Error {
    // Not a group leader yet, so this can't fail for that: whoever started us left us in its group.
    if let Err(errno) = rustix::process::setsid() {
        return errno.into();
    }
    Command::new(program).args(arguments).exec()
}

fn passed_on(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy();
    ["PATH", "HOME", "TZ", "LANG", "TMPDIR", "INVOCATION_ID", "RUST_LOG"].contains(&name.as_ref())
        || name.starts_with("XDG_RUNTIME")
        || name.starts_with("DBUS_")
}

/// Ends the whole group: what a hanging entrypoint started must not act later.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        && let Err(errno) = rustix::process::kill_process_group(group, Signal::KILL)
        && errno != rustix::io::Errno::SRCH
    {
        tracing::warn!(pid = child.id(), error = %errno, "could not end an entrypoint");
    }
    // Where the session did not come to be, the process alone is there to end.
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        tracing::warn!(pid = child.id(), %error, "could not wait for an entrypoint");
    }
}

/// Whole lines of a growing file.
struct Lines {
    file: File,
    rest: Vec<u8>,
    seen: u64,
}

impl Lines {
    fn open(path: &Utf8Path) -> std::io::Result<Self> {
        Ok(Self { file: File::open(path)?, rest: Vec::new(), seen: 0 })
    }

    /// Relays what came since the last time. What is no progress is for the log alone.
    fn relay(&mut self, relay: &mut dyn FnMut(&Progress)) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(self.seen))?;
        let mut piece = Vec::new();
        (&self.file).take(MOST_OUTPUT).read_to_end(&mut piece)?;
        self.seen = self.seen.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        self.rest.extend_from_slice(&piece);
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        // Taken out at once: line by line would cost the square of what was said.
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if let Ok(progress) = serde_json::from_slice::<Progress>(line) {
                relay(&progress);
            } else {
                let said = String::from_utf8_lossy(&line[..line.len().min(500)]);
                tracing::debug!(line = %said.trim_end(), "the entrypoint said");
            }
        }
        if self.rest.len() > LONGEST_LINE {
            self.rest.clear();
        }
        Ok(())
    }
}

/// The last lines of an entrypoint's output that are no progress: what it complained about.
pub fn last_words(output: &Utf8Path) -> Option<String> {
    let mut file = File::open(output).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(4096))).ok()?;
    let mut bytes = Vec::new();
    file.take(4096).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let words: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('{'))
        .map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>())
        .collect();
    let kept = words.len().saturating_sub(3);
    if words.is_empty() { None } else { Some(words[kept..].join("; ")) }
}
