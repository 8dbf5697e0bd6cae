//! Printing: data to standard output as text or JSON, failures to standard error.

use std::io::Write as _;

use serde::Serialize;

use crate::cli::OutputFormat;
use crate::failure::{Exit, Failure};

/// Prints in the format that was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printer {
    format: OutputFormat,
}

#[derive(Serialize)]
struct FailureJson<'a> {
    error: &'a str,
    exit: u8,
    message: &'a str,
}

impl Printer {
    pub(super) fn new(format: OutputFormat) -> Self {
        Self { format }
    }

    /// Prints `data`, or the text that `words` makes of it.
    pub(super) fn data<T: Serialize>(
        self,
        data: &T,
        words: impl FnOnce(&T) -> String,
    ) -> Result<Exit, Failure> {
        let text = match self.format {
            OutputFormat::Text => words(data),
            OutputFormat::Json => serde_json::to_string_pretty(data)
                .map_err(|source| Failure::Stream { act: "write JSON", source: source.into() })?,
        };
        self.raw(format!("{}\n", text.trim_end()).as_bytes())
    }

    /// Prints bytes as they are.
    #[expect(clippy::unused_self, reason = "printing goes through the printer")]
    pub(super) fn raw(self, bytes: &[u8]) -> Result<Exit, Failure> {
        let mut out = std::io::stdout();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Ok(()) => Ok(Exit::Done),
            // `handover-agent status | head` is no failure.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Done),
            Err(source) => Err(Failure::Stream { act: "write to standard output", source }),
        }
    }

    /// Prints a failure.
    pub(super) fn failure(self, code: &str, exit: Exit, message: &str) {
        let text = match self.format {
            OutputFormat::Text => wrap(&format!("handover-agent: {message} [{code}]"), 0),
            OutputFormat::Json => {
                let body = FailureJson { error: code, exit: exit.code(), message };
                serde_json::to_string_pretty(&body).unwrap_or_else(|_| message.to_owned())
            }
        };
        // Where nobody listens the exit code must do.
        let _ = match self.format {
            OutputFormat::Text => writeln!(std::io::stderr(), "{text}"),
            OutputFormat::Json => writeln!(std::io::stdout(), "{text}"),
        };
    }
}

/// Breaks text into lines of at most 80 columns; lines after the first are indented by `indent`.
pub(super) fn wrap(text: &str, indent: usize) -> String {
    let (mut out, mut column) = (String::new(), 0);
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > 80 {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

/// `label` padded to a column, then wrapped text behind it.
pub(super) fn field(label: &str, text: &str) -> String {
    const COLUMN: usize = 14;
    let lines = wrap(&format!("{} {text}", "x".repeat(COLUMN - 1)), COLUMN);
    let body = lines.get(COLUMN - 1..).unwrap_or_default();
    format!("  {label:<width$}{}\n", body.trim_start_matches(' '), width = COLUMN - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_fits_eighty_columns() {
        let long = "a reason that goes on and on ".repeat(20);
        for text in [wrap(&long, 4), field("reason", &long)] {
            assert!(text.lines().count() > 3);
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{line:?}");
            }
        }
        assert_eq!(field("agent", "host-1"), "  agent       host-1\n");
    }
}
