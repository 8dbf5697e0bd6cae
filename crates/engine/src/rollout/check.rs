//! What is refused before anything is created: a specification that can't work, and a change of
//! one that can't be changed any more. Whether agents can get to the release is asked of their
//! hosts' reports, by [`Beforehand`](crate::explain::Beforehand).

use std::collections::BTreeSet;
use std::time::Duration;

use handover_model::api::{
    CheckHow, CheckSpec, GateSpec, RolloutSpec, RolloutState, Strategy, WaveSpec,
};
use handover_model::{ErrorClass, Millis, Timestamp};
use jiff::tz::TimeZoneDatabase;

use super::controller::Progress;
use crate::window::{Schedule, WindowError};

/// The most waves of a rollout.
pub const MOST_WAVES: usize = 50;
/// The most limits, requirements and checks of a rollout, of each kind.
pub const MOST_RULES: usize = 16;
/// The most windows.
pub const MOST_WINDOWS: usize = 50;

/// The shortest and the longest deadline of a host.
const DEADLINE: (Millis, Millis) = (Millis(10_000), Millis(7 * 24 * 3_600_000));
/// The longest time for which a release is watched, soaked, or backed off from.
const LONGEST: Millis = Millis(30 * 24 * 3_600_000);
/// How often an external check may be asked.
const EVERY: (Millis, Millis) = (Millis(1_000), Millis(24 * 3_600_000));
/// How far ahead a window is looked for: it has to open within a year.
const A_YEAR: Duration = Duration::from_hours(366 * 24);
/// The lowest and highest baseline that may be named, in percent.
const BASELINE: (f64, f64) = (0.1, 90.0);

/// A specification that can't work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Percentages that don't nest.
    #[error("{why}; write ascending percentages that end with 100, such as 5, 25, 100")]
    Percent {
        /// What is wrong with them.
        why: String,
    },
    /// A window that is none.
    #[error(transparent)]
    Window {
        /// What is wrong with it.
        #[from]
        source: WindowError,
    },
    /// Windows of which none opens within a year.
    #[error("none of the windows opens within a year; give one that does, or none at all")]
    NeverOpens,
    /// A value that is out of its bounds, or does not fit the others.
    #[error("{field}: {why}")]
    Value {
        /// Which.
        field: String,
        /// What is wrong, and what would do.
        why: String,
    },
}

impl SpecError {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Percent { .. } => "rollout.percent",
            Self::Window { .. } | Self::NeverOpens => "rollout.window",
            Self::Value { .. } => "rollout.spec",
        }
    }

    /// The field that is at fault.
    pub fn field(&self) -> &str {
        match self {
            Self::Percent { .. } => "strategy.percent",
            Self::Window { .. } | Self::NeverOpens => "windows",
            Self::Value { field, .. } => field,
        }
    }

    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }
}

/// Whether a specification can work at all.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_spec(
    spec: &RolloutSpec,
    now: Timestamp,
    zones: &TimeZoneDatabase,
) -> Result<(), SpecError> {
    check_strategy(&spec.strategy)?;
    check_gate(&spec.gate)?;
    check_windows(spec, now, zones)?;
    check_rules(spec)?;
    within("priority", Millis(spec.priority.into()), (Millis(0), Millis(100)))
        .map_err(|_shown_as_time| value("priority", "it goes from 0 to 100"))?;
    within("deadline", spec.deadline, DEADLINE)?;
    within("after.watch", spec.after.watch, (Millis(0), LONGEST))?;
    within("retries.backoff", spec.retries.backoff, (Millis(0), LONGEST))?;
    if !(1..=10).contains(&spec.retries.attempts) {
        return Err(value("retries.attempts", "it goes from 1 to 10"));
    }
    let mut names = BTreeSet::new();
    for (number, check) in spec.checks.iter().enumerate() {
        let field = format!("checks[{number}]");
        check_check(&field, check)?;
        if !names.insert(check.name.as_str()) {
            return Err(value(format!("{field}.name"), "another check has that name"));
        }
    }
    Ok(())
}

fn value(field: impl Into<String>, why: impl Into<String>) -> SpecError {
    SpecError::Value { field: field.into(), why: why.into() }
}

fn within(field: &str, found: Millis, (least, most): (Millis, Millis)) -> Result<(), SpecError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(value(field, format!("it goes from {least} to {most}, and {found} is not in there")))
}

fn check_strategy(strategy: &Strategy) -> Result<(), SpecError> {
    match strategy {
        Strategy::Immediate {} => Ok(()),
        Strategy::Staged { percent, .. } => check_percent(percent),
        Strategy::Waves { waves, .. } => check_waves(waves),
    }
}

fn check_percent(percent: &[f64]) -> Result<(), SpecError> {
    let wrong = |why: String| Err(SpecError::Percent { why });
    if percent.is_empty() || percent.len() > MOST_WAVES {
        return wrong(format!(
            "there are {} percentages, and 1 to {MOST_WAVES} fit",
            percent.len()
        ));
    }
    let mut before = 0.0;
    for share in percent {
        if !share.is_finite() || *share <= 0.0 || *share > 100.0 {
            return wrong(format!("{share} is no percentage above 0 and up to 100"));
        }
        if *share <= before {
            return wrong(format!("{share} comes after {before} and does not hold it"));
        }
        before = *share;
    }
    if before < 100.0 {
        return wrong(format!("the last one is {before}, so that some hosts would never come"));
    }
    Ok(())
}

fn check_waves(waves: &[WaveSpec]) -> Result<(), SpecError> {
    if waves.is_empty() || waves.len() > MOST_WAVES {
        return Err(value("strategy.waves", format!("there are 1 to {MOST_WAVES} of them")));
    }
    let mut names = BTreeSet::new();
    for (number, wave) in waves.iter().enumerate() {
        let field = format!("strategy.waves[{number}]");
        let is_plain = !wave.name.trim().is_empty()
            && wave.name.chars().count() <= 40
            && !wave.name.chars().any(char::is_control);
        if !is_plain {
            return Err(value(format!("{field}.name"), "1 to 40 characters that can be shown"));
        }
        if !names.insert(wave.name.as_str()) {
            let why = format!("another wave is called {:?}", wave.name);
            return Err(value(format!("{field}.name"), why));
        }
        if let Some(soak) = wave.soak {
            within(&format!("{field}.soak"), soak, (Millis(0), LONGEST))?;
        }
    }
    Ok(())
}

fn check_gate(gate: &GateSpec) -> Result<(), SpecError> {
    let share = |field: &str, found: Option<f64>, (least, most): (f64, f64)| match found {
        Some(found) if !found.is_finite() || found < least || found > most => {
            let why =
                format!("it goes from {least} to {most} percent, and {found} is not in there");
            Err(value(field, why))
        }
        Some(_) | None => Ok(()),
    };
    if gate.first == 0 {
        return Err(value("gate.first", "a ramp begins with at least 1 host"));
    }
    share("gate.failures_share", gate.failures_share, (0.0, 100.0))?;
    share("gate.success_share", gate.success_share, (0.0, 100.0))?;
    share("gate.baseline", gate.baseline, BASELINE)?;
    within("gate.soak", gate.soak, (Millis(0), LONGEST))
}

fn check_windows(
    spec: &RolloutSpec,
    now: Timestamp,
    zones: &TimeZoneDatabase,
) -> Result<(), SpecError> {
    if spec.windows.len() > MOST_WINDOWS {
        return Err(value("windows", format!("there are at most {MOST_WINDOWS}")));
    }
    if spec.windows.is_empty() && spec.early_download {
        let why = "without windows hosts activate at once; give windows, or leave it out";
        return Err(value("early_download", why));
    }
    let schedule = Schedule::parse(&spec.windows, zones)?;
    let from = spec.start_at.map_or(now, |start| start.max(now));
    match schedule.opens_at(from) {
        Some(opens) if opens <= from.after(A_YEAR) => Ok(()),
        Some(_) | None => Err(SpecError::NeverOpens),
    }
}

fn check_rules(spec: &RolloutSpec) -> Result<(), SpecError> {
    let counts = [
        ("limits", spec.limits.len()),
        ("requires", spec.requires.len()),
        ("checks", spec.checks.len()),
    ];
    for (field, count) in counts {
        if count > MOST_RULES {
            return Err(value(field, format!("there are {count}, and at most {MOST_RULES} fit")));
        }
    }
    for (number, limit) in spec.limits.iter().enumerate() {
        if limit.at_most == 0 {
            let why = "a limit of 0 lets nobody begin; pause the rollout, or abort it";
            return Err(value(format!("limits[{number}].at_most"), why));
        }
        if let Some(label) = &limit.per {
            check_label(&format!("limits[{number}].per"), label)?;
        }
    }
    for (number, wanted) in spec.requires.iter().enumerate() {
        if wanted.component == spec.component {
            let why = format!(
                "{} can't wait for itself; releases say by `upgrades_from` what they can follow",
                spec.component
            );
            return Err(value(format!("requires[{number}].component"), why));
        }
    }
    check_label("site_label", &spec.site_label)
}

fn check_label(field: &str, label: &str) -> Result<(), SpecError> {
    let fits = (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
    if fits { Ok(()) } else { Err(value(field, format!("{label:?} can't be a label's key"))) }
}

fn check_check(field: &str, check: &CheckSpec) -> Result<(), SpecError> {
    let fits = (1..=40).contains(&check.name.len())
        && check.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !fits {
        let why = "1 to 40 lower-case letters, digits and hyphens";
        return Err(value(format!("{field}.name"), why));
    }
    within(&format!("{field}.fresh"), check.fresh, (Millis(1_000), LONGEST))?;
    let CheckHow::Poll { url, every } = &check.how else { return Ok(()) };
    within(&format!("{field}.how.poll.every"), *every, EVERY)?;
    if check.fresh < *every {
        let why = format!("answers come every {every}, and would be too old after {}", check.fresh);
        return Err(value(format!("{field}.fresh"), why));
    }
    if is_safe_url(url) {
        return Ok(());
    }
    let why = "it is an https address without credentials, or http on loopback";
    Err(value(format!("{field}.how.poll.url"), why))
}

/// Whether an address may be asked: `https`, or `http` where nobody can listen in.
fn is_safe_url(url: &str) -> bool {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", ""));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let is_plain = url.len() <= 2000
        && url.bytes().all(|byte| byte.is_ascii_graphic())
        && !authority.is_empty()
        && !authority.contains('@');
    let host = authority.strip_prefix('[').map_or_else(
        || authority.split(':').next().unwrap_or(""),
        |v6| v6.split(']').next().unwrap_or(""),
    );
    let is_loopback = host == "localhost"
        || host.parse::<core::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    is_plain && (scheme == "https" || (scheme == "http" && is_loopback))
}

/// A change that comes too late.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The rollout is over.
    #[error("it is {state}, and nothing of it changes any more; make another one")]
    Over {
        /// How it stands.
        state: RolloutState,
    },
    /// What can't change.
    #[error("{field} can't change once a rollout is made; {hint}")]
    Fixed {
        /// Which.
        field: &'static str,
        /// The way out.
        hint: &'static str,
    },
}

impl ChangeError {
    /// The field that is at fault.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Over { .. } => "name",
            Self::Fixed { field, .. } => field,
        }
    }

    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Conflict
    }
}

/// Whether a rollout may go on by `new`: thresholds, windows, limits, retries, checks and what
/// follows a halt may change while it runs; whom it moves, to what and in which order may not.
///
/// # Errors
/// The first thing that may not.
pub fn check_change(
    old: &RolloutSpec,
    new: &RolloutSpec,
    progress: &Progress,
) -> Result<(), ChangeError> {
    if progress.state.is_over() {
        return Err(ChangeError::Over { state: progress.state });
    }
    let another = "abort it and make another one, or let one take its place with `supersede`";
    let has_begun = progress.state != RolloutState::Scheduled;
    let fixed = [
        ("name", old.name != new.name),
        ("component", old.component != new.component),
        ("to", old.to != new.to),
        ("select", old.select != new.select),
        ("membership", old.membership != new.membership),
        ("strategy", old.strategy != new.strategy),
        ("site_label", old.site_label != new.site_label),
        ("gate.baseline", old.gate.baseline != new.gate.baseline),
        ("leave_out_unable", old.leave_out_unable != new.leave_out_unable),
    ];
    if let Some((field, _)) = fixed.into_iter().find(|(_, differs)| *differs) {
        return Err(ChangeError::Fixed { field, hint: another });
    }
    if has_begun && old.start_at != new.start_at {
        let hint = "it has started already; pause it to hold it back";
        return Err(ChangeError::Fixed { field: "start_at", hint });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
