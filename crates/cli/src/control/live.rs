//! Lines as things happen, and on a terminal one more below them that moves.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::Duration;

use super::ControlError;
use crate::output::{Out, plain};

/// What is shown while one waits.
pub(super) struct Live<'a> {
    out: &'a Out,
    bar: ProgressBar,
}

impl<'a> Live<'a> {
    /// Begins. Ctrl-C ends the program as usual, and says `hint` first.
    pub(super) fn start(out: &'a Out, hint: &str) -> Result<Self, ControlError> {
        let bar = if out.is_live() && std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(120));
            match ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
                Ok(style) => bar.with_style(style),
                Err(_template) => bar,
            }
        } else {
            ProgressBar::hidden()
        };
        say_on_interrupt(bar.clone(), hint.to_owned())
            .map_err(|source| ControlError::ReadToken { origin: "signals".to_owned(), source })?;
        Ok(Self { out, bar })
    }

    /// A line that stays, for people. Programs get the end of it all.
    pub(super) fn line(&self, text: &str) {
        if self.out.is_for_programs() {
            return;
        }
        self.bar.suspend(|| self.out.record(&text, |text| (*text).to_owned()));
    }

    /// The line that moves.
    pub(super) fn tell(&self, text: &str) {
        self.bar.set_message(plain(text));
    }

    /// Takes the moving line away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Leaves the terminal as it was and says that nothing but the watching ends.
fn say_on_interrupt(bar: ProgressBar, hint: String) -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
    ])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            bar.finish_and_clear();
            crate::output::remark(&hint);
            let _dies = signal_hook::low_level::emulate_default_handler(signal);
        }
    })?;
    Ok(())
}
