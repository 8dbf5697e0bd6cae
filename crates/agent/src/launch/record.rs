//! The launcher's own record: a line of JSON in `launches.jsonl`, and the same in words on standard
//! error, where the service manager's journal takes it up.

use std::io::Write as _;

use camino::Utf8PathBuf;
use handover_hoststeps::disk;
use handover_model::{LaunchEvent, LaunchRecord, Timestamp};

/// Where it is written.
#[derive(Debug)]
pub(super) struct Record {
    path: Utf8PathBuf,
    component: String,
}

impl Record {
    /// The record at `path`, which need not exist yet.
    pub(super) fn new(path: Utf8PathBuf, component: &str) -> Self {
        Self { path, component: component.to_owned() }
    }

    /// Writes `event` down. A disk that takes no more must not stop a component from running, so a
    /// line that can't be kept is only said.
    pub(super) fn write(&self, event: LaunchEvent, at: Timestamp) {
        self.say(&in_words(&event));
        let line = LaunchRecord { at, launcher: std::process::id(), event };
        let kept = serde_json::to_string(&line)
            .map_err(|error| error.to_string())
            .and_then(|line| disk::append_line(&self.path, &line).map_err(|error| chain(&error)));
        if let Err(why) = kept {
            self.say(&format!("the record could not be kept: {why}"));
        }
    }

    /// Says something to people only.
    pub(super) fn say(&self, what: &str) {
        // Where nobody listens there is nothing to be done about it.
        let _ = writeln!(std::io::stderr().lock(), "handover-launch {}: {what}", self.component);
    }
}

/// An error with everything that led to it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn in_words(event: &LaunchEvent) -> String {
    match event {
        LaunchEvent::LauncherStarted => "the launcher began".to_owned(),
        LaunchEvent::Started { pid, release, generation } => {
            format!("started release {release} as process {pid}, by slots generation {generation}")
        }
        LaunchEvent::Ready { pid } => format!("process {pid} is ready"),
        LaunchEvent::Exited { pid, code: Some(code), signal: _ } => {
            format!("process {pid} exited with code {code}")
        }
        LaunchEvent::Exited { pid, code: None, signal: Some(signal) } => {
            format!("process {pid} was ended by signal {signal}")
        }
        LaunchEvent::Exited { pid, code: None, signal: None } => format!("process {pid} ended"),
        LaunchEvent::Swapped { from: Some(from), to } => format!("swapped release {from} for {to}"),
        LaunchEvent::Swapped { from: None, to } => format!("swapped to release {to}"),
        LaunchEvent::Paused { generation } => {
            format!("paused, as slots generation {generation} asks")
        }
        LaunchEvent::Quarantined { release, reason } => {
            format!("release {release} went to quarantine: {reason}")
        }
        LaunchEvent::Returned { release, reason } => {
            format!("returned to release {release}: {reason}")
        }
        LaunchEvent::Refused { reason } => reason.clone(),
    }
}
