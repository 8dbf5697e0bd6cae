//! How a command speaks to people: lines and progress bars on standard error, and only to a
//! terminal; data goes to standard output, elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use handover_model::{Progress, Stage};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Whom a command speaks to.
#[derive(Debug, Clone)]
pub struct Voice {
    terminal: bool,
    talks: bool,
}

impl Voice {
    /// Speaks on standard error: lines always, bars when it is a terminal.
    pub fn talking() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), talks: true }
    }

    /// Says nothing: for a service, whose words are its log.
    pub fn silent() -> Self {
        Self { terminal: false, talks: false }
    }

    /// Says one line.
    pub fn say(&self, line: &str) {
        if self.talks {
            // Where nobody listens any more the command goes on all the same.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// A bar of `length` bytes, shown once it has been there for a while.
    pub fn bar(&self, what: String, length: u64) -> Bar {
        if !self.terminal || !self.talks {
            return Bar(None);
        }
        let bar =
            ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr_with_hz(8));
        if let Ok(style) = ProgressStyle::with_template(
            "{msg:24!} [{bar:20}] {bytes:>10}/{total_bytes:10} {eta:>4}",
        ) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Bar(Some(bar))
    }

    /// A line of progress from an entrypoint.
    pub fn relay(&self, progress: &Progress) {
        let stage = stage_name(progress.stage);
        tracing::info!(stage, step = progress.step, detail = progress.detail, "upgrade step");
        let percent = progress.percent.map_or_else(String::new, |percent| format!(" {percent}%"));
        self.say(&format!("  {stage}{percent}  {}", plain(&progress.detail, 60)));
    }
}

/// A progress bar that may not be there.
pub struct Bar(Option<ProgressBar>);

impl Bar {
    /// Moves it.
    pub fn set(&self, position: u64) {
        if let Some(bar) = &self.0
            && bar.elapsed() > Duration::from_millis(300)
        {
            bar.set_position(position);
        }
    }

    /// Takes it away.
    pub fn done(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}

/// The stage's name as operators see it.
pub fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::UpdateDownload => "update_download",
        Stage::UpdateVerify => "update_verify",
        Stage::UpdateInstall => "update_install",
        Stage::UpdateHealthcheck => "update_healthcheck",
        Stage::UpdateRollback => "update_rollback",
    }
}

/// Text of others, safe for a terminal: no control characters, bounded.
pub fn plain(text: &str, most: usize) -> String {
    let clean: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most + 1).collect();
    if clean.chars().count() > most {
        clean.chars().take(most.saturating_sub(1)).chain(['…']).collect()
    } else {
        clean
    }
}
