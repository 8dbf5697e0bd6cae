use handover_model::{AgentId, IdGen, Platform, Version};

use super::*;
use crate::rollout::gate::Baseline;
use crate::rollout::roster::{Candidate, draw};

fn drawn(rest: &str, members: i64) -> (Plan, Roster, RolloutSpec) {
    let rest = if rest.is_empty() { String::new() } else { format!(", {rest}") };
    let text = format!(
        r#"{{"name": "web-2", "component": "web", "to": "2.0.0", "select": "name = x"{rest}}}"#
    );
    let spec: RolloutSpec = serde_json::from_str(&text).unwrap();
    let platform: Platform = "linux-x86_64".parse().unwrap();
    let version: Version = "1.0.0".parse().unwrap();
    let mut ids = IdGen::new([1; 32]);
    let candidates: Vec<Candidate<'_>> = (0..members)
        .map(|key| Candidate {
            key,
            id: AgentId::mint(&mut ids, start()),
            platform: &platform,
            current: Some(&version),
            site: None,
            wave: None,
        })
        .collect();
    let (plan, roster) = draw(&spec, [7; 32], Baseline::named(0.0013).unwrap(), &candidates);
    (plan, roster, spec)
}

fn played(rest: &str, members: i64, failures_percent: f64) -> Play {
    let (plan, roster, spec) = drawn(rest, members);
    let each_takes = Millis(60_000);
    play(&plan, &roster, &spec, &PlayAsk { failures_percent, plays: 40, seed: 5, each_takes })
}

#[test]
fn a_good_release_reaches_everybody_and_a_bad_one_a_handful() {
    let good = played("", 5000, 0.0);
    assert_eq!((good.plays, good.exposed_p50, good.failed_p50), (40, 5000, 0));
    assert!(good.stopped.abs() < f64::EPSILON, "{good:?}");
    let bad = played("", 5000, 10.0);
    assert!(bad.stopped > 99.0, "{bad:?}");
    assert!(bad.exposed_p50 <= 60 && bad.exposed_p95 <= 100, "{bad:?}");
    let broken = played("", 5000, 100.0);
    assert_eq!((broken.exposed_p50, broken.exposed_p95), (10, 10), "{broken:?}");
}

#[test]
fn a_seed_plays_the_same_again() {
    assert_eq!(played("", 500, 3.0), played("", 500, 3.0));
}

#[test]
fn soaks_and_limits_take_their_time_and_approvals_none() {
    let bare = played(r#""strategy": {"kind": "staged", "percent": [10, 100]}"#, 100, 0.0);
    // 10, then 10, 20, 40, 20: five times a minute.
    assert_eq!(bare.takes_p50, Millis(5 * 60_000));
    let approved = played(
        r#""strategy": {"kind": "staged", "percent": [10, 100], "approval": "every"}"#,
        100,
        0.0,
    );
    assert_eq!(approved.takes_p50, bare.takes_p50);
    let soaked = played(
        r#""strategy": {"kind": "staged", "percent": [10, 100]}, "gate": {"soak": "1h"}"#,
        100,
        0.0,
    );
    assert_eq!(soaked.takes_p50, Millis(65 * 60_000));
    let limited = played(
        r#""strategy": {"kind": "staged", "percent": [10, 100]}, "limits": [{"at_most": 10}]"#,
        100,
        0.0,
    );
    assert_eq!(limited.takes_p50, Millis(10 * 60_000));
}

#[test]
fn the_steps_of_a_good_day_are_those_of_the_controller() {
    let (plan, _, spec) = drawn("", 1000);
    let steps = good_day(&plan, &spec);
    assert_eq!(steps[0], [10, 20, 20]);
    assert_eq!(steps[1], [10, 20, 40, 80, 50]);
    assert_eq!(steps[2], [10, 20, 40, 80, 160, 320, 120]);
    let (plan, _, spec) = drawn(r#""strategy": {"kind": "immediate"}"#, 1000);
    assert_eq!(good_day(&plan, &spec), [[1000]]);
    let (plan, _, spec) = drawn("", 0);
    assert_eq!(good_day(&plan, &spec), [[0_u32; 0]; 3]);
}

#[test]
fn a_play_of_nobody_ends() {
    let empty = played("", 0, 10.0);
    assert_eq!((empty.exposed_p50, empty.plays), (0, 40));
}
