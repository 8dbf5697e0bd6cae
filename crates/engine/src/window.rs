//! Weekly maintenance windows in local time (DESIGN 5.6).
//!
//! A window opens on each of its days at the first instant at which the local clock shows its
//! start or later, and stays open for its length of elapsed time. So a start that a change of
//! clocks skips opens when the clocks jump, one that a change repeats opens the first time, and
//! the length is never stretched or cut by either.

use std::time::Duration;

use handover_model::{ErrorClass, Millis, Timestamp, Window};
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, ToSpan};

/// The longest that a window may stay open.
pub const LONGEST: Millis = Millis(24 * 3_600_000);

/// Why a window can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// A day that is none.
    #[error("{text:?} is not a day: write mon, tue, wed, thu, fri, sat or sun")]
    Day {
        /// What was written.
        text: String,
    },
    /// A start that is no time of day.
    #[error("{text:?} is not a time of day such as 02:30")]
    Start {
        /// What was written.
        text: String,
    },
    /// A length of nothing, or of more than a day.
    #[error("a window stays open for up to 24h, not for {length}; use several windows")]
    Length {
        /// What was written.
        length: Millis,
    },
    /// A time zone that is not known here.
    #[error(
        "time zone {zone:?} is not known on this host: write an IANA name such as Europe/Berlin, \
         or install the tzdata package if the name is a new one"
    )]
    Zone {
        /// What was written.
        zone: String,
    },
}

impl WindowError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Day { .. } | Self::Start { .. } | Self::Length { .. } | Self::Zone { .. } => {
                ErrorClass::Permanent
            }
        }
    }
}

/// The windows of a component, checked. None at all means that it is always open.
#[derive(Debug, Clone, Default)]
pub struct Schedule {
    windows: Vec<Weekly>,
}

#[derive(Debug, Clone)]
struct Weekly {
    days: Vec<Weekday>,
    start: Time,
    length: Duration,
    zone: TimeZone,
}

impl Schedule {
    /// Checks windows as the policy writes them. `zones` is the shell's: the system's time zones
    /// where it has any, else the ones built in.
    ///
    /// # Errors
    /// The first thing that is wrong with one of them.
    pub fn parse(windows: &[Window], zones: &TimeZoneDatabase) -> Result<Self, WindowError> {
        let windows = windows.iter().map(|window| Weekly::parse(window, zones));
        Ok(Self { windows: windows.collect::<Result<_, _>>()? })
    }

    /// Whether a window is open.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.windows.is_empty() || self.windows.iter().any(|window| window.is_open(now))
    }

    /// When a window is open next: `now` if one is. Never, if time ends before.
    pub fn opens_at(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_open(now) {
            return Some(now);
        }
        self.windows.iter().filter_map(|window| window.opens_after(now)).min()
    }

    /// When what is open closes: windows that overlap or follow one another without a gap count as
    /// one. Absent where nothing is open, or nothing ever closes.
    pub fn closes_at(&self, now: Timestamp) -> Option<Timestamp> {
        let mut closes = None;
        let mut at = now;
        // Windows that cover the whole week follow one another for ever.
        for _ in 0..MOST_IN_A_ROW {
            let next = self.windows.iter().filter_map(|window| window.closes_after(at)).max();
            let Some(next) = next.filter(|next| *next > at) else { return closes };
            (closes, at) = (Some(next), next);
        }
        None
    }
}

/// More windows in a row, without a gap, than a fortnight can have of any use: that never closes.
const MOST_IN_A_ROW: usize = 32;

impl Weekly {
    fn parse(window: &Window, zones: &TimeZoneDatabase) -> Result<Self, WindowError> {
        if window.length == Millis(0) || window.length > LONGEST {
            return Err(WindowError::Length { length: window.length });
        }
        let days = window.days.iter().map(|text| parse_day(text)).collect::<Result<_, _>>()?;
        let zone = if window.zone == "UTC" {
            TimeZone::UTC
        } else {
            let unknown = |_source| WindowError::Zone { zone: window.zone.clone() };
            zones.get(&window.zone).map_err(unknown)?
        };
        Ok(Self {
            days,
            start: parse_start(&window.start)?,
            length: window.length.duration(),
            zone,
        })
    }

    fn is_open(&self, now: Timestamp) -> bool {
        self.openings(now, -2..=1).any(|opened| opened <= now && now < opened.after(self.length))
    }

    /// When the opening that holds `now` ends.
    fn closes_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.openings(now, -2..=1)
            .filter(|opened| *opened <= now)
            .map(|opened| opened.after(self.length))
            .filter(|closes| now < *closes)
            .max()
    }

    fn opens_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.openings(now, -1..=9).find(|opens| *opens > now)
    }

    /// The instants at which the window opens on the local days around `now`, in order.
    fn openings(
        &self,
        now: Timestamp,
        days: std::ops::RangeInclusive<i64>,
    ) -> impl Iterator<Item = Timestamp> {
        let today = self.zone.to_datetime(now.as_jiff()).date();
        days.filter_map(move |offset| self.opening(today.checked_add(offset.days()).ok()?))
    }

    fn opening(&self, day: Date) -> Option<Timestamp> {
        if !self.days.is_empty() && !self.days.contains(&day.weekday()) {
            return None;
        }
        let wanted = self.zone.to_ambiguous_timestamp(day.to_datetime(self.start));
        let instant = match wanted.offset() {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
                wanted.earlier().ok()?
            }
            // The skipped time read with the offset after the jump lies before the jump.
            AmbiguousOffset::Gap { .. } => {
                let before = wanted.earlier().ok()?;
                let before = before.checked_sub(SignedDuration::from_nanos(1)).ok()?;
                self.zone.following(before).next()?.timestamp()
            }
        };
        Some(Timestamp::from(instant))
    }
}

fn parse_day(text: &str) -> Result<Weekday, WindowError> {
    match text {
        "mon" => Ok(Weekday::Monday),
        "tue" => Ok(Weekday::Tuesday),
        "wed" => Ok(Weekday::Wednesday),
        "thu" => Ok(Weekday::Thursday),
        "fri" => Ok(Weekday::Friday),
        "sat" => Ok(Weekday::Saturday),
        "sun" => Ok(Weekday::Sunday),
        other => Err(WindowError::Day { text: other.chars().take(80).collect() }),
    }
}

fn parse_start(text: &str) -> Result<Time, WindowError> {
    let wrong = || WindowError::Start { text: text.chars().take(80).collect() };
    let digits = |part: &str| {
        let fits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| part.parse::<i8>().ok()).flatten()
    };
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    let (hour, minute) = digits(hour).zip(digits(minute)).ok_or_else(wrong)?;
    Time::new(hour, minute, 0, 0).map_err(|_source| wrong())
}

#[cfg(test)]
mod tests;
