//! What people do, and when they can't.

use handover_model::api::{MemberOutcome, RolloutState};

use super::*;
use crate::rollout::controller::{RefusedAct, RevertScope};

fn failing() -> World {
    let mut world = World::new("", 1000);
    world.play(|position| if position % 10 == 3 { Fate::Fails } else { Fate::Succeeds });
    assert_eq!(world.controller.progress().state, RolloutState::Halted, "{}", world.story());
    world
}

fn resume(world: &mut World) {
    world.act(&Act::Resume { by: by("ada"), reason: None }).unwrap();
}

#[test]
fn the_evidence_that_a_person_accepted_does_not_halt_again() {
    let mut world = failing();
    resume(&mut world);
    world.look();
    assert_eq!(world.controller.progress().state, RolloutState::Running, "{}", world.story());
    assert_eq!(world.controller.progress().accepted_failures, [3, 13, 23]);
    assert_eq!(world.controller.counts().failed, 3);
}

#[test]
fn new_evidence_after_a_resume_halts_again() {
    let mut world = failing();
    resume(&mut world);
    world.play(|position| if position % 3 == 0 { Fate::Fails } else { Fate::Succeeds });
    assert_eq!(world.controller.progress().state, RolloutState::Halted, "{}", world.story());
    let halt = world.controller.progress().halt.clone().unwrap();
    assert!(halt.deciding.iter().all(|position| *position >= 30), "{halt:?}");
}

#[test]
fn a_rollout_that_was_resumed_and_goes_well_comes_to_its_end() {
    let mut world = failing();
    resume(&mut world);
    world.play(|_| Fate::Succeeds);
    assert_eq!(world.controller.progress().state, RolloutState::Done, "{}", world.story());
}

#[test]
fn accepted_silence_that_turns_into_a_failure_is_new() {
    let mut world = World::new(r#""deadline": "5m""#, 1000);
    world.play(|position| if position % 2 == 0 { Fate::FallsSilent } else { Fate::Succeeds });
    world.pass(360);
    world.decide();
    assert_eq!(world.controller.progress().state, RolloutState::Halted, "{}", world.story());
    resume(&mut world);
    assert_eq!(world.controller.evidence().unwrap().silent, 0);
    let (before, now) = (world.controller.evidence().unwrap(), world.now);
    world.gone.remove(&0);
    world.tell(present(0, now));
    world.tell(Event::Ended { position: 0, attempt: 1, outcome: Outcome::Failed, at: now });
    let after = world.controller.evidence().unwrap();
    assert_eq!((before.failures, after.failures), (0, 1));
}

#[test]
fn hosts_that_are_left_out_no_longer_count() {
    let mut world = failing();
    let before = world.controller.evidence().unwrap().combined;
    world.act(&Act::LeaveOut { positions: vec![23, 3], by: by("ada") }).unwrap();
    let after = world.controller.evidence().unwrap();
    assert_eq!(after.failures, 1);
    assert!(after.combined < before);
    assert_eq!(world.controller.outcome(3), MemberOutcome::LeftOut);
    assert_eq!(world.controller.progress().left_out, [3, 23]);
    let again = world.act(&Act::LeaveOut { positions: vec![3], by: by("ada") }).unwrap();
    assert!(!again.changed, "left out once is left out");
    assert_eq!(world.controller.progress().state, RolloutState::Halted, "a person lets it go on");
}

#[test]
fn a_paused_rollout_releases_nobody_and_goes_on_where_it_stood() {
    let mut world = World::new("", 100);
    world.look();
    world.act(&Act::Pause { by: by("ada"), reason: Some(by("lunch")) }).unwrap();
    world.round(|_| Fate::Succeeds);
    world.pass(60);
    assert_eq!(world.holds(), [HoldCode::Paused]);
    assert_eq!(world.controller.progress().released, 5);
    resume(&mut world);
    world.play(|_| Fate::Succeeds);
    assert_eq!(world.controller.progress().state, RolloutState::Done, "{}", world.story());
}

#[test]
fn a_rollout_that_was_paused_before_its_time_waits_for_it_afterwards() {
    let mut world = World::new(r#""start_at": "2030-01-01T00:00:00Z""#, 100);
    assert_eq!(world.holds(), [HoldCode::Scheduled]);
    world.act(&Act::Pause { by: by("ada"), reason: None }).unwrap();
    resume(&mut world);
    assert_eq!(world.holds(), [HoldCode::Scheduled]);
    world.now = "2030-01-01T00:00:00Z".parse().unwrap();
    world.decide();
    assert_eq!(world.controller.progress().released, 5);
}

#[test]
fn only_waves_that_want_it_are_approved_and_only_once() {
    let every = r#""strategy": {"kind": "staged", "percent": [10, 100], "approval": "between"}"#;
    let mut world = World::new(every, 20);
    world.play(|_| Fate::Succeeds);
    assert_eq!(world.holds(), [HoldCode::Approval]);
    let approve = |wave| Act::Approve { wave, by: by("ada"), reason: None };
    let refused = world.act(&approve(Some(0))).unwrap_err();
    assert_eq!(refused, RefusedAct::NoApproval { wave: 0 });
    let refused = world.act(&approve(Some(7))).unwrap_err();
    assert_eq!(refused, RefusedAct::NoWave { wave: 7, waves: 2 });
    world.act(&approve(None)).unwrap();
    let refused = world.act(&approve(Some(1))).unwrap_err();
    assert_eq!(refused, RefusedAct::Approved { wave: 1, by: by("ada") });
    assert_eq!(world.act(&approve(None)).unwrap_err(), RefusedAct::NothingWaits);
    world.play(|_| Fate::Succeeds);
    assert_eq!(world.controller.progress().state, RolloutState::Done, "{}", world.story());
}

#[test]
fn a_wave_is_approved_beforehand_and_then_asks_nobody() {
    let every = r#""strategy": {"kind": "staged", "percent": [10, 100], "approval": "between"}"#;
    let mut world = World::new(every, 20);
    world.act(&Act::Approve { wave: Some(1), by: by("ada"), reason: None }).unwrap();
    world.play(|_| Fate::Succeeds);
    assert_eq!(world.controller.progress().state, RolloutState::Done, "{}", world.story());
    assert!(!world.story().contains("needs approval"), "{}", world.story());
}

#[test]
fn every_act_on_a_rollout_that_is_over_is_refused_and_says_why() {
    let mut world = World::new("", 20);
    world.look();
    world.act(&Act::Abort { by: by("ada") }).unwrap();
    let acts = [
        Act::Approve { wave: None, by: by("ada"), reason: None },
        Act::Pause { by: by("ada"), reason: None },
        Act::Resume { by: by("ada"), reason: None },
        Act::Abort { by: by("ada") },
        Act::LeaveOut { positions: vec![0], by: by("ada") },
        Act::Supersede,
    ];
    for act in acts {
        let refused = world.act(&act).unwrap_err();
        assert_eq!(refused.code(), "rollout.state", "{act:?}");
        assert!(refused.to_string().contains("aborted"), "{refused}");
    }
    let revert = Act::Revert { wave: None, by: by("ada") };
    assert_eq!(world.act(&revert).unwrap_err(), RefusedAct::NothingTouched);
}

#[test]
fn a_revert_names_what_is_taken_back_and_ends_with_it() {
    let mut world = failing();
    let revert = Act::Revert { wave: None, by: by("ada") };
    let decision = world.act(&revert).unwrap();
    assert_eq!(decision.effects, [Effect::Revert(RevertScope::Rollout)]);
    assert_eq!(world.controller.touched(None).len(), 30);
    assert_eq!(world.controller.progress().state, RolloutState::Reverting);
    assert_eq!(world.holds(), [HoldCode::Ramp], "the other rollout says more");
    world.act(&Act::RevertEnded { done: true }).unwrap();
    assert_eq!(world.controller.progress().state, RolloutState::Reverted);
    assert!(world.controller.progress().ended_at.is_some());
}

#[test]
fn a_wave_that_is_taken_back_is_not_followed_by_another() {
    let mut world = World::new("", 1000);
    world.look();
    world.round(|_| Fate::Succeeds);
    let decision = world.act(&Act::Revert { wave: Some(0), by: by("ada") }).unwrap();
    let expected = [Effect::Paused, Effect::Revert(RevertScope::Wave(0))];
    assert_eq!(decision.effects, expected);
    assert_eq!(world.holds(), [HoldCode::Paused]);
    assert_eq!(world.controller.progress().released, 10);
}

#[test]
fn a_halt_takes_back_what_the_specification_says() {
    for (policy, state) in [
        ("revert_wave", RolloutState::Halted),
        ("revert_rollout", RolloutState::Reverting),
        ("stop", RolloutState::Halted),
    ] {
        let mut world = World::new(&format!(r#""on_halt": "{policy}""#), 1000);
        world.play(|position| if position % 10 == 3 { Fate::Fails } else { Fate::Succeeds });
        assert_eq!(world.controller.progress().state, state, "{policy}");
        let reverts = world.story().matches("| revert").count();
        assert_eq!(reverts, usize::from(policy != "stop"), "{}", world.story());
    }
}

#[test]
fn a_resume_by_a_controller_that_was_just_opened_accepts_what_only_deadlines_say() {
    let mut world = World::new(r#""deadline": "5m""#, 1000);
    world.play(|position| if position % 2 == 0 { Fate::FallsSilent } else { Fate::Succeeds });
    world.pass(360);
    world.decide();
    assert_eq!(world.controller.progress().state, RolloutState::Halted, "{}", world.story());
    // The act is done by a controller that was opened for it and judged nobody.
    let mut other = world.reopened();
    other.act(&Act::Resume { by: by("ada"), reason: None }, world.now).unwrap();
    assert_eq!(other.progress().accepted_silence, [0, 2, 4, 6, 8]);
    world.controller = other;
    for _ in 0..3 {
        world.pass(100);
        world.decide();
    }
    assert_eq!(world.controller.progress().state, RolloutState::Running, "{}", world.story());
}

#[test]
fn silence_after_the_halt_is_accepted_too_when_it_is_judged_before_the_resume() {
    let mut world = World::new(r#""deadline": "5m""#, 1000);
    world.play(|position| if position % 10 == 3 { Fate::Fails } else { Fate::Succeeds });
    assert_eq!(world.controller.progress().state, RolloutState::Halted, "{}", world.story());
    // Five of the last step fall silent after the halt, and their deadlines pass.
    let from = world.now;
    for position in 24..29 {
        world.tell(Event::Exposed { position, attempt: 2, from });
    }
    world.pass(400);
    let mut other = world.reopened();
    other.judge(PATIENCE, &|_| None, world.now);
    other.act(&Act::Resume { by: by("ada"), reason: None }, world.now).unwrap();
    assert_eq!(other.progress().accepted_silence, [24, 25, 26, 27, 28]);
}

#[test]
fn a_revert_that_did_not_take_everybody_back_ends_with_an_alert_and_can_be_tried_again() {
    let mut world = failing();
    let revert = Act::Revert { wave: None, by: by("ada") };
    world.act(&revert).unwrap();
    world.act(&Act::RevertEnded { done: false }).unwrap();
    assert_eq!(world.controller.progress().state, RolloutState::Aborted);
    assert_eq!(world.controller.progress().alerts[0].code, "revert");
    world.act(&revert).unwrap();
    assert_eq!(world.controller.progress().state, RolloutState::Reverting);
}
