use proptest::prelude::*;

use super::*;

fn zones() -> TimeZoneDatabase {
    TimeZoneDatabase::bundled()
}

fn window(days: &[&str], start: &str, minutes: u64, zone: &str) -> Window {
    Window {
        days: days.iter().map(|day| (*day).to_owned()).collect(),
        start: start.to_owned(),
        length: Millis(minutes * 60_000),
        zone: zone.to_owned(),
    }
}

fn schedule(windows: &[Window]) -> Schedule {
    Schedule::parse(windows, &zones()).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn no_window_at_all_is_always_open() {
    assert!(schedule(&[]).is_open(at("2026-03-29T01:30:00Z")));
}

#[test]
fn a_window_across_midnight_belongs_to_the_day_on_which_it_opens() {
    let nights = schedule(&[window(&["fri"], "23:00", 120, "Europe/Berlin")]);
    assert!(nights.is_open(at("2026-01-03T00:59:59+01:00")), "saturday, before one");
    assert!(!nights.is_open(at("2026-01-03T01:00:00+01:00")));
    assert!(!nights.is_open(at("2026-01-02T00:30:00+01:00")), "friday, before it opened");
    assert_eq!(
        nights.opens_at(at("2026-01-03T01:00:00+01:00")),
        Some(at("2026-01-09T23:00:00+01:00"))
    );
}

#[test]
fn a_start_that_the_clocks_skip_opens_when_they_jump() {
    let skipped = schedule(&[window(&[], "02:30", 30, "Europe/Berlin")]);
    assert!(!skipped.is_open(at("2026-03-29T00:59:59Z")));
    assert!(skipped.is_open(at("2026-03-29T01:00:00Z")));
    assert!(!skipped.is_open(at("2026-03-29T01:30:00Z")));
}

#[test]
fn a_start_that_the_clocks_repeat_opens_once() {
    let repeated = schedule(&[window(&[], "02:30", 30, "Europe/Berlin")]);
    assert!(repeated.is_open(at("2026-10-25T00:30:00Z")));
    assert!(!repeated.is_open(at("2026-10-25T01:30:00Z")), "the second 02:30");
}

#[test]
fn what_is_wrong_is_named() {
    let said = |window: Window| Schedule::parse(&[window], &zones()).unwrap_err().to_string();
    assert!(said(window(&["monday"], "02:00", 1, "UTC")).contains("\"monday\""));
    for start in ["2:00", "24:00", "02:60", "0200", "02:00:00", "", "+2:00"] {
        assert!(said(window(&[], start, 1, "UTC")).contains("time of day"), "{start}");
    }
    assert!(said(window(&[], "02:00", 0, "UTC")).contains("0s"));
    assert!(said(window(&[], "02:00", 24 * 60 + 1, "UTC")).contains("24h 1m"));
    assert!(said(window(&[], "02:00", 1, "Europe/Atlantis")).contains("tzdata"));
}

/// Whether the window is open, by walking minute by minute and asking the local clock alone.
struct Walk {
    open: Vec<bool>,
}

impl Walk {
    fn over(window: &Window, from: Timestamp, minutes: usize) -> Self {
        let zone = zones().get(&window.zone).unwrap();
        let (hour, minute) = window.start.split_once(':').unwrap();
        let start = Time::new(hour.parse().unwrap(), minute.parse().unwrap(), 0, 0).unwrap();
        let days: Vec<_> = window.days.iter().map(|day| parse_day(day).unwrap()).collect();
        let length = usize::try_from(window.length.0 / 60_000).unwrap();
        let lead = 3 * 24 * 60; // so that what opened before `from` is seen opening
        let begin = from.as_micros() - 60_000_000 * i64::try_from(lead).unwrap();
        let (mut open, mut until, mut reached) = (Vec::new(), 0, None);
        for step in 0..lead + minutes {
            let micros = begin + 60_000_000 * i64::try_from(step).unwrap();
            let local = zone.to_datetime(Timestamp::from_micros(micros).as_jiff());
            // The latest day whose start the local clock has reached, ever: clocks may go back.
            let mut day = local.date();
            if local.time() < start {
                day = day.yesterday().unwrap();
            }
            let newest = reached.is_none_or(|before| day > before);
            // Days that the clocks skip whole begin together with the one after them.
            let since = reached.map_or(day, |before: Date| before.tomorrow().unwrap());
            let opens = std::iter::successors(Some(since), |day| day.tomorrow().ok())
                .take_while(|each| *each <= day)
                .any(|each| days.is_empty() || days.contains(&each.weekday()));
            if newest {
                if reached.is_some() && opens {
                    until = step + length;
                }
                reached = Some(day);
            }
            open.push(step < until);
        }
        Self { open: open.split_off(lead) }
    }
}

#[test]
fn windows_that_touch_close_together_and_a_whole_week_never_does() {
    let night = [window(&[], "22:00", 120, "UTC"), window(&[], "00:00", 60, "UTC")];
    let schedule = schedule(&night);
    let closes = schedule.closes_at(at("2026-05-01T23:00:00Z"));
    assert_eq!(closes, Some(at("2026-05-02T01:00:00Z")));
    assert_eq!(schedule.closes_at(at("2026-05-01T12:00:00Z")), None, "none is open");
    let always = self::schedule(&[window(&[], "00:00", 24 * 60, "UTC")]);
    assert_eq!(always.closes_at(at("2026-05-01T12:00:00Z")), None);
    assert_eq!(Schedule::default().closes_at(at("2026-05-01T12:00:00Z")), None);
    // The clocks go back at 03:00: three hours of elapsed time end at 04:00 and not at 05:00.
    let berlin = self::schedule(&[window(&[], "02:00", 180, "Europe/Berlin")]);
    let closes = berlin.closes_at(at("2026-10-25T00:30:00Z"));
    assert_eq!(closes, Some(at("2026-10-25T03:00:00Z")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn windows_agree_with_a_walk_minute_by_minute(
        around in prop::sample::select(vec![
            ("Europe/Berlin", "2026-03-28T12:00:00Z"),
            ("Europe/Berlin", "2026-10-24T12:00:00Z"),
            ("America/New_York", "2026-03-07T20:00:00Z"),
            ("America/New_York", "2026-10-31T20:00:00Z"),
            ("Australia/Lord_Howe", "2026-04-04T06:00:00Z"),
            ("Australia/Lord_Howe", "2026-10-03T06:00:00Z"),
            ("America/Havana", "2026-03-07T20:00:00Z"),
            ("Pacific/Apia", "2011-12-29T12:00:00Z"),
            ("Asia/Kathmandu", "2026-05-01T00:00:00Z"),
            ("UTC", "2026-05-01T00:00:00Z"),
        ]),
        days in prop::collection::vec(
            prop::sample::select(vec!["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), 0..4),
        start in 0_u32..24 * 60,
        minutes in 1_u64..=24 * 60,
    ) {
        let (zone, from) = around;
        let start = format!("{:02}:{:02}", start / 60, start % 60);
        let window = window(&days, &start, minutes, zone);
        let (from, length) = (at(from), 2 * 24 * 60);
        let walked = Walk::over(&window, from, length);
        let schedule = schedule(&[window]);
        let mut next = None;
        for step in (0..length).rev() {
            let now = Timestamp::from_micros(
                from.as_micros() + 60_000_000 * i64::try_from(step).unwrap());
            prop_assert_eq!(schedule.is_open(now), walked.open[step], "at {}", now);
            if walked.open[step] {
                next = Some(now);
                prop_assert_eq!(schedule.opens_at(now), Some(now));
            } else if next.is_some() {
                prop_assert_eq!(schedule.opens_at(now), next, "at {}", now);
            }
        }
    }
}
