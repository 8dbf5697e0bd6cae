//! What happened, line by line: the trace that must be the same for the same seed.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use handover_model::{Digest, Hasher};

/// How many lines are kept for a story that is told at its end.
const KEPT: usize = 400;

/// The trace of one fleet.
#[derive(Debug)]
pub struct Story {
    hasher: Hasher,
    kept: VecDeque<String>,
    lines: u64,
    is_loud: bool,
}

impl Story {
    /// A story; a loud one is told while it happens.
    pub fn new(is_loud: bool) -> Self {
        Self { hasher: Hasher::default(), kept: VecDeque::new(), lines: 0, is_loud }
    }

    /// Something happened.
    pub fn tell(&mut self, at: Duration, who: &dyn fmt::Display, what: fmt::Arguments<'_>) {
        let line = format!("{:>12.3} {who}: {what}\n", at.as_secs_f64());
        self.hasher.update(line.as_bytes());
        self.lines = self.lines.saturating_add(1);
        if self.is_loud {
            say(&line);
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
    }

    /// How many lines there are.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The digest of every line.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// The last lines.
    pub fn tail(&self) -> String {
        self.kept.iter().map(String::as_str).collect()
    }
}

fn say(line: &str) {
    use std::io::Write as _;
    // Where nobody listens any more the story goes on all the same.
    let _ = std::io::stdout().write_all(line.as_bytes());
}
