use handover_model::Window;
use serde_json::{Value, json};

use super::*;

fn spec(more: &Value) -> RolloutSpec {
    let mut spec = json!({
        "name": "web-15", "component": "web", "to": "1.5.0", "select": "label.site = a",
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn checked(more: &Value) -> Result<(), SpecError> {
    check_spec(&spec(more), Timestamp::from_micros(1_700_000_000_000_000), &zones())
}

fn zones() -> TimeZoneDatabase {
    TimeZoneDatabase::bundled()
}

fn staged(percent: &Value) -> Result<(), SpecError> {
    checked(&json!({ "strategy": { "kind": "staged", "percent": percent } }))
}

#[test]
fn what_says_only_what_it_must_is_taken() {
    assert_eq!(checked(&json!({})), Ok(()));
    assert_eq!(checked(&json!({ "strategy": { "kind": "immediate" } })), Ok(()));
}

#[test]
fn percentages_that_do_not_nest_are_refused_with_the_pair_that_does_not() {
    assert_eq!(staged(&json!([1, 2.5, 100])), Ok(()));
    for (percent, says) in [
        (json!([]), "there are 0"),
        (json!([25, 5, 100]), "5 comes after 25"),
        (json!([5, 5, 100]), "5 comes after 5"),
        (json!([5, 25]), "the last one is 25"),
        (json!([0, 100]), "0 is no percentage"),
        (json!([-5, 100]), "-5 is no percentage"),
        (json!([5, 101]), "101 is no percentage"),
    ] {
        let error = staged(&percent).unwrap_err();
        assert_eq!((error.code(), error.field()), ("rollout.percent", "strategy.percent"));
        assert!(error.to_string().contains(says), "{percent}: {error}");
        assert!(error.to_string().contains("such as 5, 25, 100"), "{error}");
    }
}

#[test]
fn a_window_that_never_opens_is_refused_and_one_in_any_zone_is_not() {
    let window = |days: &Value, start: &str, zone: &str| {
        checked(
            &json!({ "windows": [{ "days": days, "start": start, "for": "2h", "zone": zone }] }),
        )
    };
    assert_eq!(window(&json!(["sat"]), "02:30", "Europe/Berlin"), Ok(()));
    for (days, start, zone) in [
        (json!(["someday"]), "02:30", "UTC"),
        (json!([]), "25:00", "UTC"),
        (json!([]), "02:00", "Mars/Base"),
    ] {
        let error = window(&days, start, zone).unwrap_err();
        assert_eq!((error.code(), error.field()), ("rollout.window", "windows"), "{error}");
    }
    let end_of_time = Timestamp::from_micros(253_402_207_100_000_000);
    let mut spec =
        spec(&json!({ "windows": [{ "days": ["mon"], "start": "00:00", "for": "1m" }] }));
    spec.start_at = Some(end_of_time);
    let late = check_spec(&spec, end_of_time, &zones());
    assert_eq!(late, Err(SpecError::NeverOpens));
    assert_eq!(
        checked(&json!({ "early_download": true })).unwrap_err().field(),
        "early_download",
        "there is nothing to wait for"
    );
}

#[test]
fn every_bound_is_named_with_its_field() {
    for (more, field) in [
        (json!({ "gate": { "first": 0 } }), "gate.first"),
        (json!({ "gate": { "failures_share": 101.0 } }), "gate.failures_share"),
        (json!({ "gate": { "success_share": -1.0 } }), "gate.success_share"),
        (json!({ "gate": { "baseline": 0.0 } }), "gate.baseline"),
        (json!({ "priority": 101 }), "priority"),
        (json!({ "deadline": "1s" }), "deadline"),
        (json!({ "retries": { "attempts": 0 } }), "retries.attempts"),
        (json!({ "limits": [{ "at_most": 0 }] }), "limits[0].at_most"),
        (json!({ "limits": [{ "at_most": 1, "per": "a b" }] }), "limits[0].per"),
        (
            json!({ "requires": [{ "component": "web", "at_least": "2.0.0" }] }),
            "requires[0].component",
        ),
        (json!({ "site_label": "" }), "site_label"),
        (json!({ "strategy": { "kind": "waves", "waves": [] } }), "strategy.waves"),
        (
            json!({ "strategy": { "kind": "waves", "waves": [
                { "name": "a", "select": "all" }, { "name": "a", "select": "all" }] } }),
            "strategy.waves[1].name",
        ),
        (json!({ "checks": [{ "name": "P", "how": { "webhook": {} } }] }), "checks[0].name"),
        (
            json!({ "checks": [{ "name": "a", "how": { "webhook": {} } },
                               { "name": "a", "how": { "webhook": {} } }] }),
            "checks[1].name",
        ),
        (
            json!({ "checks": [{ "name": "a", "how": { "poll": { "url": "https://x.example.com", "every": "10m" } } }] }),
            "checks[0].fresh",
        ),
    ] {
        let error = checked(&more).unwrap_err();
        assert_eq!((error.code(), error.field()), ("rollout.spec", field), "{more}: {error}");
    }
}

#[test]
fn a_check_is_asked_over_https_or_on_this_machine() {
    let url = |url: &str| {
        checked(&json!({ "checks": [{ "name": "probe", "how": { "poll": { "url": url } } }] }))
    };
    for good in [
        "https://probe.example.com/ok?x=1",
        "http://127.0.0.1:9000/ok",
        "http://[::1]/",
        "http://localhost:1/",
    ] {
        assert_eq!(url(good), Ok(()), "{good}");
    }
    for bad in [
        "http://probe.example.com/",
        "ftp://127.0.0.1/",
        "https://",
        "https://a@b.example.com/",
        "http://127.0.0.1.example.com/",
        "probe",
        "https://a b.example.com/",
        "",
    ] {
        assert_eq!(url(bad).unwrap_err().field(), "checks[0].how.poll.url", "{bad}");
    }
}

#[test]
fn thresholds_may_change_and_members_may_not() {
    let old = spec(&json!({}));
    let mut progress = Progress::new(Timestamp::from_micros(0));
    progress.state = RolloutState::Running;
    let change = |progress: &Progress, change: fn(&mut RolloutSpec)| {
        let mut new = old.clone();
        change(&mut new);
        check_change(&old, &new, progress).map_err(|error| error.field())
    };
    assert_eq!(change(&progress, |new| new.gate.failures_at_most = Some(3)), Ok(()));
    assert_eq!(change(&progress, |new| new.priority = 90), Ok(()));
    let window = Window {
        days: vec![],
        start: "02:00".into(),
        length: Millis(3_600_000),
        zone: "UTC".into(),
    };
    let mut windowed = old.clone();
    windowed.windows = vec![window];
    assert_eq!(check_change(&old, &windowed, &progress), Ok(()));
    assert_eq!(change(&progress, |new| new.to = "1.6.0".parse().unwrap()), Err("to"));
    assert_eq!(change(&progress, |new| new.select = "all".to_owned()), Err("select"));
    assert_eq!(change(&progress, |new| new.strategy = Strategy::Immediate {}), Err("strategy"));
    assert_eq!(
        change(&progress, |new| new.start_at = Some(Timestamp::from_micros(9))),
        Err("start_at")
    );
    let scheduled = Progress::new(Timestamp::from_micros(0));
    assert_eq!(change(&scheduled, |new| new.start_at = Some(Timestamp::from_micros(9))), Ok(()));
    progress.state = RolloutState::Done;
    let over = check_change(&old, &old, &progress).unwrap_err();
    assert!(over.to_string().starts_with("it is done"), "{over}");
}
