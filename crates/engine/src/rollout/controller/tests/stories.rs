//! Whole rollouts, told as tables of decisions with their reasons.

use super::*;

/// Compares a world's story with the one on file.
macro_rules! tells {
    ($world:expr, $name:literal) => {
        let (story, file) = ($world.story(), include_str!(concat!("golden/", $name, ".txt")));
        assert!(story == file, "not as told:\n<<<{}\n{story}>>>", $name);
    };
}

#[test]
fn a_good_release_goes_through_three_waves() {
    let mut world = World::new("", 1000);
    world.play(|_| Fate::Succeeds);
    tells!(world, "good");
}

#[test]
fn a_release_that_fails_one_time_in_ten_is_stopped_after_a_handful() {
    let mut world = World::new("", 1000);
    world.play(|position| if position % 10 == 3 { Fate::Fails } else { Fate::Succeeds });
    tells!(world, "one-in-ten");
}

#[test]
fn silent_hosts_are_no_successes() {
    let mut world = World::new(r#""deadline": "5m""#, 1000);
    world.play(|position| if position % 2 == 0 { Fate::FallsSilent } else { Fate::Succeeds });
    world.pass(300);
    world.look();
    world.pass(60);
    world.look();
    tells!(world, "silence");
}

#[test]
fn a_paused_rollout_stands_still_and_an_approval_lets_it_on() {
    let strategy = r#""strategy": {"kind": "staged", "percent": [20, 100], "approval": "between"}"#;
    let mut world = World::new(strategy, 20);
    world.look();
    world.act(&Act::Pause { by: by("ada"), reason: Some(by("lunch")) }).unwrap();
    world.round(|_| Fate::Succeeds);
    world.pass(60);
    world.look();
    world.act(&Act::Resume { by: by("ada"), reason: None }).unwrap();
    world.play(|_| Fate::Succeeds);
    world.act(&Act::Approve { wave: None, by: by("ben"), reason: None }).unwrap();
    world.play(|_| Fate::Succeeds);
    tells!(world, "pause-and-approval");
}

#[test]
fn a_budget_halts_and_a_resume_grants_it_anew() {
    let gate = r#""gate": {"sequential": false, "failures_share": null, "failures_at_most": 2}"#;
    let mut world = World::new(gate, 400);
    let fate = |position| if position % 9 == 4 { Fate::Fails } else { Fate::Succeeds };
    world.play(fate);
    world.act(&Act::Resume { by: by("ada"), reason: Some(by("known trouble")) }).unwrap();
    world.play(fate);
    world.act(&Act::LeaveOut { positions: vec![4, 13], by: by("ada") }).unwrap();
    world.act(&Act::Abort { by: by("ada") }).unwrap();
    world.look();
    tells!(world, "budget-and-resume");
}

#[test]
fn a_window_that_closes_holds_what_has_not_begun() {
    let mut world = World::new(r#""retries": {"attempts": 3, "backoff": "1m"}"#, 100);
    world.window = WindowFact { open: true, opens_at: None, closes_at: Some(second(90)) };
    world.look();
    world.round(|position| if position == 2 { Fate::Lapses } else { Fate::Succeeds });
    world.window =
        WindowFact { open: false, opens_at: Some(second(86_400)), closes_at: Some(second(90_000)) };
    world.pass(60);
    world.look();
    world.pass(40_000);
    world.look();
    world.window = WindowFact { open: true, opens_at: None, closes_at: Some(second(90_000)) };
    world.now = second(86_400);
    world.play(|_| Fate::Succeeds);
    tells!(world, "window");
}

#[test]
fn an_external_check_holds_halts_and_lets_go() {
    let checks = r#""checks": [{"name": "errors", "how": {"webhook": {}}, "fresh": "5m"}]"#;
    let mut world = World::new(checks, 40);
    world.play(|_| Fate::Succeeds);
    let answer = |world: &mut World, verdict| {
        let now = world.now;
        world.checks.insert(by("errors"), (verdict, now));
        world.look();
    };
    answer(&mut world, CheckVerdict::Inconclusive);
    world.pass(301);
    world.look();
    answer(&mut world, CheckVerdict::Fail);
    world.act(&Act::Resume { by: by("ada"), reason: None }).unwrap();
    world.look();
    world.pass(10);
    answer(&mut world, CheckVerdict::Pass);
    world.play(|_| Fate::Succeeds);
    tells!(world, "check");
}

#[test]
fn a_rollout_that_another_replaces_hands_out_nothing_more() {
    let mut world = World::new("", 400);
    world.look();
    world.round(|_| Fate::Succeeds);
    world.act(&Act::Supersede).unwrap();
    world.pass(60);
    world.look();
    tells!(world, "superseded");
}

#[test]
fn a_wave_that_is_watched_and_must_have_its_share() {
    let gate = r#""gate": {"soak": "10m", "success_share": 90}"#;
    let mut world = World::new(gate, 200);
    world.play(|position| if position == 5 { Fate::Refuses } else { Fate::Succeeds });
    world.pass(540);
    world.look();
    world.play(|_| Fate::Succeeds);
    world.pass(600);
    world.look();
    world.play(|_| Fate::Succeeds);
    tells!(world, "soak-and-share");
}

fn decaying(policy: &str) -> World {
    let after = format!(r#""after": {{"watch": "1h", "on_decay": "{policy}"}}"#);
    let mut world = World::new(&after, 100);
    world.play(|_| Fate::Succeeds);
    for position in 0..4 {
        world.tell(Event::Decayed { position });
        world.pass(60);
        world.look();
    }
    world.pass(4000);
    world.look();
    world
}

#[test]
fn a_release_that_decays_after_commit_raises_an_alert() {
    let world = decaying("alert");
    tells!(world, "decay-alert");
}

#[test]
fn a_release_that_decays_after_commit_is_taken_back_where_the_policy_says_so() {
    let world = decaying("take_back");
    tells!(world, "decay-take-back");
}

#[test]
fn silence_after_commit_only_alerts() {
    use crate::rollout::gate::Counts;
    let after = r#""after": {"watch": "1h", "on_decay": "take_back"}"#;
    let mut world = World::new(after, 100);
    world.play(|_| Fate::Succeeds);
    world.committed = Watched {
        done: Counts { failures: 30, trials: 100 },
        others: Counts { failures: 20, trials: 1000 },
    };
    world.pass(60);
    world.look();
    tells!(world, "silence-alert");
}

#[test]
fn a_stopped_fleet_and_a_revoked_release_hold_what_comes_next() {
    let mut world = World::new("", 100);
    world.look();
    world.stopped = Some(by("fire in the data centre"));
    world.round(|_| Fate::Succeeds);
    world.pass(60);
    world.look();
    world.stopped = None;
    world.release = Some(by("it was revoked: it eats disks"));
    world.look();
    world.release = None;
    world.look();
    tells!(world, "stopped-and-revoked");
}
