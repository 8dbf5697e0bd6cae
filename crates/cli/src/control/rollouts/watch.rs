//! A rollout, watched until it is over: drawn anew on a terminal, a line for each change elsewhere.
//!
//! The rollout is asked for every second: what is shown is small and always whole, so nothing is
//! lost when a connection is, and a fleet's many events cost a watcher nothing.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use handover_client::real_world::Stop;
use handover_model::Millis;
use handover_model::api::{RolloutInfo, RolloutState, WaveInfo, WaveState};

use super::super::api::Api;
use super::super::watch::clock_time;
use super::super::{ControlError, Desk, routes};
use super::view::{self, word};
use crate::output::{plain, remark, size};
use crate::real_world::now;

/// How one watches.
#[derive(Debug, clap::Args)]
pub(crate) struct How {
    /// How often to look.
    #[arg(long, value_name = "LENGTH", default_value = "1s")]
    every: Millis,
    /// End with 1 when a gate halts it, in place of waiting for a person.
    #[arg(long)]
    until_halt: bool,
}

impl Default for How {
    fn default() -> Self {
        Self { every: Millis(1000), until_halt: false }
    }
}

/// Watches until it is over, or interrupted.
pub(super) fn watch(
    api: &Api,
    first: RolloutInfo,
    how: &How,
    desk: &Desk<'_>,
) -> Result<ExitCode, ControlError> {
    let path = routes::one(routes::ROLLOUTS, first.id);
    let mut screen = Screen::start(&first, desk)?;
    let mut stands = first;
    loop {
        if !screen.show(&stands, desk) {
            // Whoever read is gone, as with `| head`.
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(code) = over(&stands, how) {
            return Ok(ExitCode::from(code));
        }
        Stop::never().wait(how.every.duration().clamp(LEAST, MOST));
        stands = api.get("look at the rollout", &path)?;
    }
}

/// The shortest and the longest that one may wait between looks.
const LEAST: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_mins(1);

/// The exit code, once nothing more becomes of it (docs/exit-codes.md).
fn over(stands: &RolloutInfo, how: &How) -> Option<u8> {
    match stands.state {
        RolloutState::Halted if how.until_halt => Some(1),
        RolloutState::Scheduled
        | RolloutState::Running
        | RolloutState::Paused
        | RolloutState::Halted
        | RolloutState::Reverting => None,
        RolloutState::Done => Some(0),
        RolloutState::Reverted => Some(4),
        RolloutState::Aborted | RolloutState::Superseded => Some(3),
    }
}

/// Where it is shown.
enum Screen {
    /// A terminal: drawn over what was drawn before.
    Terminal { drawn: usize },
    /// A line for each change.
    Lines { before: Option<Box<RolloutInfo>> },
}

impl Screen {
    fn start(first: &RolloutInfo, desk: &Desk<'_>) -> Result<Self, ControlError> {
        let hint =
            format!("the rollout goes on; `handover rollout watch {}` shows it again", first.name);
        say_on_interrupt(hint)
            .map_err(|source| ControlError::ReadToken { origin: "signals".to_owned(), source })?;
        let terminal = desk.out.is_live();
        Ok(if terminal { Self::Terminal { drawn: 0 } } else { Self::Lines { before: None } })
    }

    /// Shows how it stands; says whether somebody still reads.
    fn show(&mut self, stands: &RolloutInfo, desk: &Desk<'_>) -> bool {
        match self {
            Self::Terminal { drawn } => {
                let block = block(stands, size());
                let mut text = String::new();
                if *drawn > 0 {
                    // Up to where the block began, and everything below it away.
                    text = format!("\u{1b}[{drawn}A\u{1b}[J");
                }
                *drawn = block.len();
                for line in block {
                    text.push_str(&line);
                    text.push('\n');
                }
                let mut stdout = std::io::stdout();
                stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
            }
            Self::Lines { before } => {
                let news = changes(before.as_deref(), stands);
                let reads = if desk.out.is_for_programs() {
                    news.is_empty() || desk.out.record(stands, |_| String::new())
                } else {
                    let at = clock_time(now());
                    news.iter().all(|line| desk.out.record(line, |line| format!("{at}  {line}")))
                };
                *before = Some(Box::new(stands.clone()));
                reads
            }
        }
    }
}

/// Ctrl-C ends the program as usual, and says first that nothing but the watching ends.
fn say_on_interrupt(hint: String) -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
    ])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            remark(&hint);
            let _dies = signal_hook::low_level::emulate_default_handler(signal);
        }
    })?;
    Ok(())
}

/// What is drawn, never more than the terminal holds.
fn block(stands: &RolloutInfo, (columns, rows): (usize, usize)) -> Vec<String> {
    let head = format!("{}  {}  {}", stands.name, view::what(stands), stands.state);
    let text = format!("{head}\n\n{}", view::progress(stands, now(), Some(columns)));
    let most = rows.saturating_sub(1).max(1);
    text.lines().flat_map(|line| wrapped(&plain(line), columns.max(1))).take(most).collect()
}

/// A line in pieces of at most so many columns, between words where that goes.
fn wrapped(line: &str, columns: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest: Vec<char> = line.chars().collect();
    while rest.len() > columns {
        let gap = rest.iter().take(columns + 1).rposition(|letter| *letter == ' ');
        let end = gap.filter(|gap| *gap > 0).unwrap_or(columns);
        let after = rest.split_off(end);
        pieces.push(rest.into_iter().collect());
        rest = after.into_iter().skip_while(|letter| *letter == ' ').collect();
    }
    pieces.push(rest.into_iter().collect());
    pieces
}

/// What is new since it was looked at before, a line each.
fn changes(before: Option<&RolloutInfo>, stands: &RolloutInfo) -> Vec<String> {
    let mut news = Vec::new();
    if before.is_none_or(|before| before.state != stands.state) {
        let what = view::what(stands);
        news.push(format!("{} ({what}) is {}", stands.name, stands.state));
    }
    for (at, wave) in stands.waves.iter().enumerate() {
        let old = before.and_then(|before| before.waves.get(at));
        news.extend(wave_news(at + 1, old, wave));
    }
    let told = |wanted: &RolloutInfo, code, wave| {
        wanted.holds.iter().any(|hold| hold.code == code && hold.wave == wave)
    };
    for hold in &stands.holds {
        if before.is_none_or(|before| !told(before, hold.code, hold.wave)) {
            news.push(view::hold(hold));
        }
    }
    for hold in before.iter().flat_map(|before| &before.holds) {
        if !told(stands, hold.code, hold.wave) {
            news.push(format!("no longer held: {}", word(&hold.code)));
        }
    }
    let halted = stands.halt.iter().filter(|halt| {
        before.and_then(|before| before.halt.as_ref()).is_none_or(|old| old.at != halt.at)
    });
    news.extend(halted.flat_map(view::halt));
    let alerts = before.map_or(0, |before| before.alerts.len());
    news.extend(
        stands.alerts.iter().skip(alerts).map(|one| format!("alert: {}: {}", one.code, one.text)),
    );
    news
}

fn wave_news(number: usize, old: Option<&WaveInfo>, wave: &WaveInfo) -> Option<String> {
    let quiet = wave.state == WaveState::Waiting && wave.counts.released == 0;
    if old.map_or(quiet, |old| old.state == wave.state && old.counts == wave.counts) {
        return None;
    }
    let state = word(&wave.state);
    Some(format!("wave {number} ({}): {state}, {}", wave.name, view::counted(&wave.counts)))
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::rollout;
    use super::*;

    #[test]
    fn the_first_look_tells_how_it_stands() {
        let lines = changes(None, &rollout());
        assert_eq!(lines[0], "web-15 (web → 1.5.0) is running");
        assert_eq!(lines[1], "wave 1 (5 %): through, 50 of 50 released, 49 done, 1 away");
        assert!(lines[3].starts_with("held: ramp"), "{lines:?}");
    }

    #[test]
    fn later_looks_tell_what_is_new_and_nothing_else() {
        let before = rollout();
        assert_eq!(changes(Some(&before), &before), [""; 0]);
        let mut after = before.clone();
        after.waves[1].counts.done += 1;
        after.holds.clear();
        after.state = RolloutState::Paused;
        assert_eq!(
            changes(Some(&before), &after),
            [
                "web-15 (web → 1.5.0) is paused",
                "wave 2 (100 %): running, 10 of 950 released, 3 running, 7 done, 1 away",
                "no longer held: ramp",
            ]
        );
    }

    #[test]
    fn what_is_drawn_fits_the_terminal_and_moves_nothing_else() {
        let mut rollout = rollout();
        rollout.holds[0].text = "a \u{1b}[2J long text ".repeat(20);
        for (columns, rows) in [(20, 5), (80, 24), (1, 1)] {
            let block = block(&rollout, (columns, rows));
            assert!(block.len() < rows.max(2), "{columns}x{rows}: {}", block.len());
            assert!(block.iter().all(|line| line.chars().count() <= columns));
            assert!(!block.concat().contains('\u{1b}'));
        }
    }

    #[test]
    fn long_lines_go_on_below() {
        assert_eq!(wrapped("a hold of two words", 8), ["a hold", "of two", "words"]);
        assert_eq!(wrapped("unbreakable", 4), ["unbr", "eaka", "ble"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn the_exit_code_says_how_it_ended() {
        let ends = |state, until_halt| {
            let stands = RolloutInfo { state, ..rollout() };
            over(&stands, &How { until_halt, ..How::default() })
        };
        assert_eq!(ends(RolloutState::Done, false), Some(0));
        assert_eq!(ends(RolloutState::Reverted, false), Some(4));
        assert_eq!(ends(RolloutState::Aborted, false), Some(3));
        assert_eq!(ends(RolloutState::Halted, false), None);
        assert_eq!(ends(RolloutState::Halted, true), Some(1));
        assert_eq!(ends(RolloutState::Reverting, false), None);
    }
}
