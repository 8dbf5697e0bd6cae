//! What people and programs read: tables, JSON or YAML on standard output, remarks, progress and
//! errors on standard error. No colours: whatever is piped, logged or read aloud is the same text.

mod table;

use std::fmt;
use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

pub(crate) use table::{fields, size, table, width};

/// How lists and reports are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For both.
    Yaml,
}

/// The way out.
#[derive(Debug)]
pub(crate) struct Out {
    format: Format,
    quiet: bool,
}

impl Out {
    pub(crate) fn new(format: Format, quiet: bool) -> Self {
        Self { format, quiet }
    }

    /// A remark for people; silent with `--quiet`.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }

    /// A result: JSON, or what `table` makes of it.
    pub(crate) fn result<T: Serialize>(&self, value: &T, table: impl FnOnce(&T) -> String) {
        let text = match self.format {
            Format::Json => serde_json::to_string_pretty(value)
                .unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}")),
            Format::Yaml => yaml(value),
            Format::Table => lines_of(&table(value)),
        };
        // A reader that went away is no error of ours.
        let _gone = writeln!(std::io::stdout(), "{}", text.trim_end());
    }

    /// One of many results that come as they happen: a line of JSON, a YAML document, or a line
    /// of text. Says whether somebody still reads.
    pub(crate) fn record<T: Serialize>(&self, value: &T, line: impl FnOnce(&T) -> String) -> bool {
        let text = match self.format {
            Format::Json => serde_json::to_string(value)
                .unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}")),
            Format::Yaml => format!("---\n{}", yaml(value).trim_end()),
            Format::Table => lines_of(&line(value)),
        };
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{text}").and_then(|()| stdout.flush()).is_ok()
    }

    /// Whether programs read the results.
    pub(crate) fn is_for_programs(&self) -> bool {
        self.format != Format::Table
    }

    /// Whether a person sees the results as they come.
    pub(crate) fn is_live(&self) -> bool {
        !self.is_for_programs() && std::io::stdout().is_terminal()
    }

    /// Why a command failed, never silent; programs get it as docs/exit-codes.md says.
    pub(crate) fn failure(&self, name: &str, exit: u8, text: &str) {
        let told = serde_json::json!({ "error": name, "exit": exit, "message": text });
        let told = match self.format {
            Format::Table => None,
            Format::Json => Some(told.to_string()),
            Format::Yaml => Some(yaml(&told)),
        };
        if let Some(told) = told {
            let _gone = writeln!(std::io::stdout(), "{}", told.trim_end());
        }
        say(&format!("error: {text}"));
    }

    /// A bar over `bytes`; draws nothing without a terminal, with `--quiet`, or for less than a
    /// second's work.
    pub(crate) fn bar(&self, what: &'static str, bytes: u64) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() || bytes < 8 << 20 {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {eta}");
        let bar = ProgressBar::new(bytes).with_message(what);
        match style {
            Ok(style) => bar.with_style(style),
            Err(_template) => bar,
        }
    }
}

/// Asks a question that a person at a terminal answers with yes or no.
pub(crate) fn ask(question: &str) -> Option<bool> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    let _gone = write!(std::io::stderr(), "{} [y/N] ", plain(question));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok()?;
    Some(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// A remark that is never silent, for where no [`Out`] is at hand.
pub(crate) fn remark(text: &str) {
    say(text);
}

/// A warning, never silent.
pub(crate) fn warn(text: &str) {
    say(&format!("warning: {text}"));
}

/// What is said may quote documents and programs of others, in errors above all.
fn say(text: &str) {
    for line in text.split('\n') {
        let _gone = writeln!(std::io::stderr(), "{}", plain(line));
    }
}

/// Text of others on one line of its own, for a terminal: what would move the cursor, colour,
/// hide, break or turn around text (control characters; Unicode's line breaks, joiners, directions
/// and fillers) is written as `\u{…}`. So nobody's text can pass for ours.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        let unseen = matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
        if c.is_control() || unseen {
            plain.extend(c.escape_unicode());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// An error with its causes, on one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}

fn yaml<T: Serialize>(value: &T) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|error| format!("error: {error:?}\n"))
}

/// A text of ours that may hold texts of others: each line made safe on its own.
fn lines_of(text: &str) -> String {
    text.trim_end().split('\n').map(plain).collect::<Vec<_>>().join("\n")
}
