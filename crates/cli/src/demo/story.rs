//! What a newcomer reads: chapters, remarks and ticks, 80 columns wide, with times.

use std::io::{self, Write};
use std::time::Duration;

use crate::real_world::Clock;

/// The width that lines are broken at.
const WIDTH: usize = 80;
/// Where remarks begin.
const INDENT: &str = "       ";

/// The narrator. It also keeps count of what was checked.
#[derive(Debug)]
pub(super) struct Story {
    clock: Clock,
    chapters: u32,
    checks: u32,
    failures: Vec<String>,
}

impl Story {
    pub(super) fn begin(clock: Clock) -> Self {
        Self { clock, chapters: 0, checks: 0, failures: Vec::new() }
    }

    /// Begins a chapter.
    pub(super) fn chapter(&mut self, title: &str) {
        self.chapters += 1;
        say("");
        say(&format!("{}. {title}", self.chapters));
    }

    /// Says what was checked by looking, and what came of it.
    pub(super) fn check(&mut self, what: &str, found: Result<String, String>) {
        self.checks += 1;
        let is_well = found.is_ok();
        let (mark, detail) = match found {
            Ok(detail) => ("ok", detail),
            Err(detail) => ("NO", detail),
        };
        let text = if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") };
        let mut lines = broken(&text, WIDTH - INDENT.len() - 5).into_iter();
        say(&format!("{} {mark}   {}", self.time(), lines.next().unwrap_or_default()));
        for line in lines {
            say(&format!("{INDENT}     {line}"));
        }
        if !is_well {
            self.failures.push(text);
        }
    }

    /// How many checks there were.
    pub(super) fn checks(&self) -> u32 {
        self.checks
    }

    /// What was not as it should be.
    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Time since the story began.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.now().mono
    }

    fn time(&self) -> String {
        format!("{:>5.1}s", self.elapsed().as_secs_f64())
    }
}

/// Says something, broken into lines.
pub(super) fn tell(text: &str) {
    for line in broken(text, WIDTH - INDENT.len()) {
        say(&format!("{INDENT}{line}"));
    }
}

/// Shows a command that a person could type.
pub(super) fn command(text: &str) {
    say(&format!("{INDENT}$ {text}"));
}

/// Prints a line at once. A reader that went away ends nothing: the demo still cleans up.
pub(super) fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _gone = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// `text` in lines of at most `width` columns; longer words stand alone.
fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { continue };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_words() {
        assert_eq!(broken("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(broken("aaaaaaaa b", 5), ["aaaaaaaa", "b"]);
        assert_eq!(broken("", 5), [""]);
    }
}
