//! Each rule of the runner, one by one.

use std::time::Duration;

use crate::support::{Desk, clock, named, plan, run_id, seen, step};
use handover_engine::run::{
    Act, Core, Fault, Hold, Input, PlanError, Refused, Report, Seen, Standing,
};
use handover_model::{Millis, Version};
use serde_json::json;

fn revert() -> Input {
    Input::Revert { why: "test".to_owned() }
}

#[test]
fn an_intent_is_durable_before_its_step_is_applied() {
    let mut desk = Desk::new(plan(vec![step("a", &[])]));
    desk.perform_all();
    assert_eq!(desk.jobs[0].act, Act::Look);
    desk.work();
    assert_eq!(desk.jobs[0].act, Act::Save(json!("seen")));
    assert_eq!(desk.names(), ["begin", "opened"]);
    desk.work();
    assert_eq!(desk.jobs[0].act, Act::Apply);
    assert_eq!(desk.names(), ["begin", "opened", "intent"]);
    assert!(desk.tail.is_empty());
    let intent = desk.jobs[0].intent.clone().unwrap();
    assert_eq!((intent.attempt, intent.before), (1, json!("image")));
}

#[test]
fn what_was_so_already_is_never_reverted() {
    let mut desk = Desk::new(plan(vec![step("a", &[]), step("b", &["a"])]));
    desk.world.insert(named("a"), 2);
    assert_eq!(desk.run_well(), Standing::Done);
    desk.say(revert());
    assert_eq!(desk.run_well(), Standing::Reverted("test".to_owned()));
    assert_eq!(desk.world[&named("a")], 2);
    assert_eq!(desk.world[&named("b")], 0);
}

#[test]
fn what_a_former_life_did_is_done_and_not_satisfied() {
    let mut desk = Desk::new(plan(vec![step("a", &[])]));
    desk.perform_all();
    desk.work();
    desk.work();
    // Applied, and the process died before it could say so.
    desk.world.insert(named("a"), 2);
    desk.crash(0);
    assert_eq!(desk.run_well(), Standing::Done);
    assert_eq!(desk.names().last(), Some(&"done"));
    desk.say(revert());
    desk.run_well();
    assert_eq!(desk.world[&named("a")], 0);
}

#[test]
fn half_done_without_an_intent_is_somebody_elses() {
    let mut desk = Desk::new(plan(vec![step("a", &[])]));
    desk.world.insert(named("a"), 1);
    assert!(matches!(desk.run_well(), Standing::Reverted(why) if why.contains("half done")));
    assert_eq!(desk.world[&named("a")], 1);
}

#[test]
fn a_resumed_step_uses_its_recorded_intent_and_saves_nothing_again() {
    let mut desk = Desk::new(plan(vec![step("a", &[])]));
    desk.perform_all();
    desk.work();
    desk.work();
    desk.world.insert(named("a"), 1);
    desk.crash(0);
    desk.perform_all();
    desk.work();
    assert_eq!(desk.jobs[0].act, Act::Apply);
    assert_eq!(desk.jobs[0].intent.as_ref().unwrap().before, json!("image"));
    assert_eq!(desk.run_well(), Standing::Done);
    let intents = desk.names().iter().filter(|name| **name == "intent").count();
    assert_eq!(intents, 1);
}

#[test]
fn an_unknown_end_is_resolved_by_looking() {
    for (number, last) in [(2, "done"), (0, "done"), (1, "done")] {
        let mut desk = Desk::new(plan(vec![step("a", &[])]));
        desk.perform_all();
        desk.work();
        desk.work();
        desk.world.insert(named("a"), number);
        desk.report(Report::Faulted(Fault::Unknown("cut".to_owned())));
        assert_eq!(desk.names().last(), Some(&"unsure"));
        desk.work();
        let again = desk.names().contains(&"failed");
        assert_eq!(again, number != 2, "{number}");
        if again {
            desk.wait();
        }
        assert_eq!(desk.run_well(), Standing::Done);
        assert_eq!(desk.names().last(), Some(&last));
    }
}

#[test]
fn a_report_of_success_that_a_look_denies_is_a_failure() {
    let mut desk = Desk::new(plan(vec![step("a", &[])]));
    desk.perform_all();
    desk.work();
    desk.work();
    desk.report(Report::Acted);
    desk.work();
    assert_eq!(desk.names().last(), Some(&"failed"));
    desk.wait();
    desk.work();
    desk.report(Report::Acted);
    assert!(matches!(desk.run_well(), Standing::Reverted(_)));
}

#[test]
fn a_failure_on_record_turns_the_run_in_the_next_life_too() {
    let mut desk = Desk::new(plan(vec![step("a", &[])]));
    desk.perform_all();
    desk.work();
    desk.work();
    desk.world.insert(named("a"), 2);
    desk.jobs.clear();
    let report = Report::Faulted(Fault::Permanent("no".to_owned()));
    desk.core.handle(Input::Report { step: named("a"), report }, clock(desk.now)).unwrap();
    let first = desk.core.poll().unwrap();
    desk.perform(first);
    assert_eq!(desk.names().last(), Some(&"failed"));
    desk.crash(usize::MAX);
    assert!(matches!(desk.run_well(), Standing::Reverted(why) if why.contains("a failed: no")));
    assert_eq!(desk.world[&named("a")], 0);
}

#[test]
fn a_finished_run_opened_again_writes_nothing() {
    let mut desk = Desk::new(plan(vec![step("a", &[])]));
    desk.run_well();
    let bytes = desk.bytes();
    desk.crash(usize::MAX);
    assert_eq!(desk.run_well(), Standing::Done);
    assert_eq!(desk.bytes(), bytes);
}

#[test]
fn a_step_costs_one_sync_and_a_life_two() {
    let mut desk = Desk::new(plan(vec![step("a", &[]), step("b", &["a"]), step("c", &["b"])]));
    let mut syncs = 0;
    loop {
        while let Some(effect) = desk.core.poll() {
            syncs += usize::from(effect == handover_engine::run::Effect::Sync);
            desk.perform(effect);
        }
        let Some(job) = desk.jobs.first().cloned() else { break };
        desk.jobs.clear();
        let number = desk.world.entry(job.step.clone()).or_default();
        let report = match job.act {
            Act::Look => Report::Seen(seen(*number)),
            Act::Save(_) => Report::Saved(json!(null)),
            Act::Apply | Act::Revert => {
                *number = 2;
                Report::Acted
            }
        };
        desk.core.handle(Input::Report { step: job.step, report }, clock(desk.now)).unwrap();
    }
    assert_eq!(desk.core.standing(), Standing::Done);
    assert_eq!(syncs, 3 + 2);
}

#[test]
fn outputs_and_words_reach_the_steps_that_ask_for_them() {
    let mut asks = step("b", &["a"]);
    asks.asks = Some("may it go on?".to_owned());
    asks.inputs = json!({"n": {"$from": "a", "path": "/number"}, "by": {"$said": "/by"}});
    let mut desk = Desk::new(plan(vec![step("a", &[]), asks]));
    let parked = vec![(named("b"), Hold::Person("may it go on?".to_owned()))];
    assert_eq!(desk.run_well(), Standing::Parked(parked));
    let say = || Input::Say { step: named("b"), by: "eve".into(), text: "yes".into() };
    desk.say(say());
    assert_eq!(desk.jobs[0].inputs, json!({"n": 2, "by": "eve"}));
    assert!(desk.tail.is_empty());
    assert!(matches!(desk.core.handle(say(), clock(desk.now)), Err(Refused::Unexpected { .. })));
    assert_eq!(desk.run_well(), Standing::Done);
}

#[test]
fn a_wait_ends_by_time_and_an_endless_one_by_its_timeout() {
    let mut waits = step("a", &[]);
    waits.timeout = Some(Millis(2500));
    let mut desk = Desk::new(plan(vec![waits]));
    desk.perform_all();
    desk.work();
    desk.work();
    desk.report(Report::Acted);
    let not_yet =
        || Report::Seen(Seen::NotYet { why: "slow".into(), again: Duration::from_secs(1) });
    desk.report(not_yet());
    for _ in 0..2 {
        assert!(matches!(desk.core.standing(), Standing::Parked(holds)
            if matches!(holds[..], [(_, Hold::Later(_))])));
        desk.wait();
        desk.report(not_yet());
    }
    desk.wait();
    desk.report(not_yet());
    assert!(matches!(desk.run_well(), Standing::Reverted(why) if why.contains("time is up")));
}

#[test]
fn a_job_beyond_its_timeout_is_asked_to_stop() {
    let mut slow = step("a", &[]);
    slow.timeout = Some(Millis(1000));
    let mut desk = Desk::new(plan(vec![slow]));
    desk.perform_all();
    desk.work();
    desk.work();
    assert_eq!(desk.core.next_deadline(), Some(Duration::from_secs(1)));
    desk.wait();
    assert_eq!(desk.aborted, [named("a")]);
    assert_eq!(desk.core.next_deadline(), None);
    desk.report(Report::Faulted(Fault::Unknown("stopped".to_owned())));
    assert!(matches!(desk.run_well(), Standing::Reverted(_)));
}

#[test]
fn what_was_overruled_turns_the_run_even_where_failures_do_not() {
    let mut forgiving = plan(vec![step("a", &[]), step("b", &["a"])]);
    forgiving.revert_on_failure = false;
    let mut desk = Desk::new(forgiving);
    desk.perform_all();
    for _ in 0..4 {
        desk.work();
    }
    assert_eq!(desk.jobs[0].step, named("b"));
    desk.report(Report::Seen(Seen::Overruled("the launcher went back".to_owned())));
    assert!(matches!(desk.run_well(), Standing::Reverted(why) if why.contains("went back")));
}

#[test]
fn a_failed_step_waits_for_a_person_where_the_plan_says_so() {
    let mut forgiving = plan(vec![step("a", &[])]);
    forgiving.revert_on_failure = false;
    let mut desk = Desk::new(forgiving);
    desk.perform_all();
    desk.report(Report::Seen(Seen::Elsewhere("a surprise".to_owned())));
    assert!(matches!(desk.core.standing(), Standing::Parked(holds)
        if matches!(&holds[..], [(_, Hold::Person(why))] if why.contains("a surprise"))));
    desk.say(Input::Retry { step: named("a") });
    assert_eq!(desk.run_well(), Standing::Done);
}

#[test]
fn a_journal_of_another_plan_run_or_party_is_refused() {
    let mut desk = Desk::new(plan(vec![step("a", &[])]));
    desk.run_well();
    let replay = desk.replay();
    let open = |plan, me: &str| {
        let engine = Version::new(1, 0, 0);
        Core::open(run_id(), plan, &named(me), &engine, &replay, clock(Duration::ZERO))
            .map(|core| core.standing())
    };
    assert_eq!(open(desk.plan.clone(), "host"), Ok(Standing::Done));
    let other = |what| move |refused: Refused| matches!(refused, Refused::Other { what: w, .. } if w == what);
    assert!(open(plan(vec![step("b", &[])]), "host").is_err_and(other("plan")));
    assert!(open(desk.plan.clone(), "other").is_err_and(other("party")));
}

#[test]
fn a_plan_that_cannot_be_run_is_refused_by_name() {
    let refusal = |steps| plan(steps).check().unwrap_err();
    let twice = vec![step("a", &[]), step("a", &[])];
    assert!(matches!(refusal(twice), PlanError::Twice { .. }));
    assert!(matches!(refusal(vec![step("a", &["b"])]), PlanError::Needs { .. }));
    let circle = vec![step("a", &["b"]), step("b", &["a"])];
    assert!(matches!(refusal(circle), PlanError::Cycle { .. }));
    let mut stranger = step("a", &[]);
    stranger.owner = named("stranger");
    assert!(matches!(refusal(vec![stranger]), PlanError::Unowned { .. }));
    let mut refers = step("b", &[]);
    refers.inputs = json!([{"$from": "a"}]);
    assert!(matches!(refusal(vec![step("a", &[]), refers]), PlanError::Reference { .. }));
    let mut never = step("a", &[]);
    never.attempts = 0;
    assert!(matches!(refusal(vec![never]), PlanError::Zero { .. }));
}

fn two_parties() -> (Desk, Desk) {
    let mut theirs = step("b", &["a"]);
    theirs.owner = named("other");
    let steps = vec![step("a", &[]), theirs, step("c", &["b"])];
    (Desk::of(plan(steps.clone()), "host"), Desk::of(plan(steps), "other"))
}

fn hand_over(from: &Desk, to: &mut Desk) {
    to.say(Input::Import { party: from.me.clone(), bytes: from.bytes() });
}

#[test]
fn two_parties_run_one_plan_with_two_chains() {
    let (mut ours, mut theirs) = two_parties();
    let held = |step: &str, by: &str| Standing::Parked(vec![(named(step), Hold::Party(named(by)))]);
    assert_eq!(ours.run_well(), held("b", "other"));
    assert_eq!(theirs.run_well(), held("a", "host"));
    hand_over(&ours, &mut theirs);
    assert!(theirs.tail.is_empty());
    assert_eq!(theirs.run_well(), held("c", "host"));
    hand_over(&theirs, &mut ours);
    assert_eq!(ours.run_well(), Standing::Done);
    hand_over(&ours, &mut theirs);
    assert_eq!(theirs.run_well(), Standing::Done);
}

#[test]
fn a_turn_travels_and_nothing_is_taken_back_under_a_step_that_rests_on_it() {
    let (mut ours, mut theirs) = two_parties();
    ours.run_well();
    hand_over(&ours, &mut theirs);
    theirs.run_well();
    hand_over(&theirs, &mut ours);
    ours.run_well();
    ours.say(revert());
    // c is ours and goes back at once; a waits for b, which is theirs.
    let parked = Standing::Parked(vec![(named("b"), Hold::Party(named("other")))]);
    assert_eq!(ours.run_well(), parked);
    assert_eq!((ours.world[&named("a")], ours.world[&named("c")]), (2, 0));
    hand_over(&ours, &mut theirs);
    assert!(matches!(theirs.run_well(), Standing::Reverted(why) if why.contains("host turned")));
    hand_over(&theirs, &mut ours);
    assert!(matches!(ours.run_well(), Standing::Reverted(_)));
    assert_eq!(ours.world[&named("a")], 0);
}

#[test]
fn a_chain_that_does_not_extend_what_was_imported_is_refused() {
    let (mut ours, mut theirs) = two_parties();
    ours.run_well();
    hand_over(&ours, &mut theirs);
    let (mut fork, _) = two_parties();
    fork.now = Duration::from_secs(9);
    fork.crash(0);
    fork.run_well();
    let input = Input::Import { party: named("host"), bytes: fork.bytes() };
    let before = theirs.bytes();
    let refused = theirs.core.handle(input, clock(theirs.now));
    assert!(matches!(refused, Err(Refused::Import { .. })));
    theirs.perform_all();
    assert_eq!(theirs.bytes(), before);
    // The honest chain, grown, is taken; so is one that merely repeats what is known.
    hand_over(&ours, &mut theirs);
}

#[test]
fn a_plan_of_hundreds_of_steps_is_run_and_taken_back() {
    let names: Vec<String> = (0..300).map(|place| format!("s{place}")).collect();
    let steps = names.iter().enumerate().map(|(place, name)| {
        let before = place.checked_sub(1).map(|before| names[before].as_str());
        step(name, before.as_slice())
    });
    let mut desk = Desk::new(plan(steps.collect()));
    assert_eq!(desk.run_well(), Standing::Done);
    desk.say(revert());
    assert!(matches!(desk.run_well(), Standing::Reverted(_)));
}

#[test]
fn steps_that_do_not_need_each_other_go_back_last_first() {
    let mut desk = Desk::new(plan(["a", "b", "c"].map(|name| step(name, &[])).to_vec()));
    assert_eq!(desk.run_well(), Standing::Done);
    desk.say(revert());
    assert!(matches!(desk.run_well(), Standing::Reverted(_)));
    let bytes = String::from_utf8(desk.bytes()).unwrap();
    let order: Vec<&str> = bytes
        .lines()
        .filter_map(|line| line.split_once(r#""is":"reverting","step":""#))
        .map(|(_, rest)| &rest[..1])
        .collect();
    assert_eq!(order, ["c", "b", "a"]);
}
