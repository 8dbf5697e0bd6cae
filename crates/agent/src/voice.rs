//! How a command speaks to people: lines and progress bars on standard error, and only to a
//! terminal; data goes to standard output, elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use handover_model::{Progress, Stage};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Whom a command speaks to.
#[derive(Clone)]
pub struct Voice {
    terminal: bool,
    talks: bool,
    ear: Option<Ear>,
}

/// Hears progress beside people.
pub type Ear = Arc<dyn Fn(&Progress) + Send + Sync>;

impl Voice {
    /// Speaks on standard error: lines always, bars when it is a terminal.
    pub fn talking() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), talks: true, ear: None }
    }

    /// Says nothing: for a service, whose words are its log.
    pub fn silent() -> Self {
        Self { terminal: false, talks: false, ear: None }
    }

    /// A silent voice whose progress goes to `ear`.
    pub fn heard_by(ear: Ear) -> Self {
        Self { ear: Some(ear), ..Self::silent() }
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
        if let Some(ear) = &self.ear {
            let heard = Heard { ear: Arc::clone(ear), what, length, told: AtomicU64::new(0) };
            return Bar(None, Some(heard));
        }
        if !self.terminal || !self.talks {
            return Bar(None, None);
        }
        let bar =
            ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr_with_hz(8));
        if let Ok(style) = ProgressStyle::with_template(
            "{msg:24!} [{bar:20}] {bytes:>10}/{total_bytes:10} {eta:>4}",
        ) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Bar(Some(bar), None)
    }

    /// A line of progress from an entrypoint.
    pub fn relay(&self, progress: &Progress) {
        let stage = stage_name(progress.stage);
        if let Some(ear) = &self.ear {
            ear(progress);
        }
        tracing::info!(stage, step = progress.step, detail = progress.detail, "upgrade step");
        let percent = progress.percent.map_or_else(String::new, |percent| format!(" {percent}%"));
        self.say(&format!("  {stage}{percent}  {}", plain(&progress.detail, 60)));
    }
}

/// A progress bar that may not be there.
pub struct Bar(Option<ProgressBar>, Option<Heard>);

/// A bar that is heard instead of seen, in tenths.
struct Heard {
    ear: Ear,
    what: String,
    length: u64,
    told: AtomicU64,
}

impl Heard {
    fn set(&self, position: u64) {
        let tenth = position.saturating_mul(10) / self.length.max(1);
        if self.told.fetch_max(tenth + 1, Ordering::Relaxed) <= tenth {
            (self.ear)(&Progress {
                stage: Stage::UpdateDownload,
                step: "download".to_owned(),
                percent: u8::try_from(tenth.saturating_mul(10)).ok(),
                detail: self.what.clone(),
            });
        }
    }
}

impl Bar {
    /// Moves it.
    pub fn set(&self, position: u64) {
        if let Some(heard) = &self.1 {
            heard.set(position);
        }
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
