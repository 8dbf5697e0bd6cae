//! Where a rollout could go wrong in small: nobody there, one host, an empty wave, a clock that
//! jumps.

use handover_model::api::{MemberOutcome, RolloutState};

use super::*;

fn everybody_but(present: &[u32], of: u32) -> BTreeSet<u32> {
    (0..of).filter(|position| !present.contains(position)).collect()
}

/// A world in which only some are there from the start.
fn with_present(rest: &str, members: u32, there: &[u32]) -> World {
    let mut world = World::new(rest, members);
    world.gone = everybody_but(there, members);
    for position in world.gone.clone() {
        world.seen[usize::try_from(position).unwrap()] = None;
    }
    world
}

#[test]
fn a_fleet_of_which_nobody_is_there_is_held_before_all_of_it_is_released() {
    let mut world = with_present("", 1000, &[]);
    assert_eq!(world.holds(), [HoldCode::Away]);
    assert_eq!(world.controller.progress().released, 40);
    assert_eq!(world.controller.counts().away, 40);
}

#[test]
fn a_step_is_topped_up_for_those_that_are_away() {
    let mut world = with_present("", 1000, &[0, 1, 12, 13, 14, 15, 16]);
    world.look();
    // Two of ten are there, so nothing is topped up before they said how it went.
    assert_eq!(world.controller.progress().released, 10);
    world.round(|_| Fate::Succeeds);
    world.look();
    assert_eq!(world.controller.progress().released, 18, "{}", world.story());
    world.round(|_| Fate::Succeeds);
    world.look();
    // Seven of the ten that were aimed at spoke: the next step aims at twice as many.
    let step = world.controller.progress().step.unwrap();
    assert_eq!((step.from, step.target), (18, 20), "{}", world.story());
    assert_eq!(world.controller.progress().periods.len(), 2);
}

#[test]
fn hosts_that_come_back_get_their_turn_and_lift_the_hold() {
    let mut world = with_present("", 100, &[]);
    assert_eq!(world.holds(), [HoldCode::Away]);
    for position in 0..5 {
        world.gone.remove(&position);
        let now = world.now;
        world.tell(present(position, now));
    }
    world.round(|_| Fate::Succeeds);
    world.look();
    assert_eq!(world.controller.counts().done, 5, "{}", world.story());
    assert!(world.controller.progress().wave > 0, "{}", world.story());
}

#[test]
fn a_canary_that_is_away_is_not_passed_over() {
    let mut world = with_present("", 10, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(world.holds(), [HoldCode::Away]);
    assert_eq!(world.controller.progress().released, 1);
}

#[test]
fn a_fleet_of_one_comes_to_its_end() {
    let mut world = World::new("", 1);
    world.play(|_| Fate::Succeeds);
    assert_eq!(world.controller.progress().state, RolloutState::Done, "{}", world.story());
    let mut world = World::new("", 1);
    world.play(|_| Fate::Fails);
    assert_eq!(world.controller.progress().state, RolloutState::Halted, "{}", world.story());
}

#[test]
fn a_single_host_that_falls_silent_is_no_success() {
    let mut world = World::new(r#""deadline": "5m""#, 1);
    world.play(|_| Fate::FallsSilent);
    world.pass(3600);
    assert_eq!(world.holds(), [HoldCode::Silent]);
    assert_eq!(world.controller.progress().state, RolloutState::Running);
    world.act(&Act::LeaveOut { positions: vec![0], by: by("ada") }).unwrap();
    world.look();
    assert_eq!(world.controller.progress().state, RolloutState::Done, "{}", world.story());
}

#[test]
fn an_empty_wave_asks_nobody_and_holds_nothing() {
    let spec = spec(
        r#""strategy": {"kind": "waves", "waves": [
            {"name": "none", "select": "name = a", "approval": true},
            {"name": "some", "select": "name = b"}], "rest": "held"}"#,
    );
    let (plan, roster) = drawn(&spec, 8, |_| Some(1));
    let mut world = World::of(spec, plan, roster);
    world.play(|_| Fate::Succeeds);
    assert_eq!(world.controller.progress().state, RolloutState::Done, "{}", world.story());
    assert!(!world.story().contains("approval"), "{}", world.story());
}

#[test]
fn members_that_no_wave_took_wait_for_a_person() {
    let spec =
        spec(r#""strategy": {"kind": "waves", "waves": [{"name": "some", "select": "name = b"}]}"#);
    let (plan, roster) = drawn(&spec, 8, |number| (number < 5).then_some(0));
    let mut world = World::of(spec, plan, roster);
    world.play(|_| Fate::Succeeds);
    assert_eq!(world.holds(), [HoldCode::CatchAll]);
    assert_eq!(world.controller.progress().released, 5);
}

#[test]
fn a_rollout_without_members_is_done_at_once() {
    let mut world = World::new("", 0);
    world.decide();
    assert_eq!(world.controller.progress().state, RolloutState::Done);
}

#[test]
fn hosts_that_are_there_already_teach_nothing_and_hold_nothing() {
    let mut world = World::new("", 100);
    world.satisfied = (0..100).collect();
    world.play(|_| Fate::Fails);
    assert_eq!(world.controller.progress().state, RolloutState::Done, "{}", world.story());
    assert_eq!(world.controller.counts().satisfied, 100);
}

#[test]
fn a_host_that_talks_past_its_deadline_has_failed_and_its_late_word_counts() {
    let mut world = World::new(r#""deadline": "5m""#, 1000);
    world.look();
    let now = world.now;
    world.tell(Event::Exposed { position: 4, attempt: 1, from: now });
    world.pass(361);
    world.look();
    assert_eq!(world.controller.outcome(4), MemberOutcome::Failed);
    assert_eq!(world.controller.evidence().unwrap().failures, 1);
    let at = world.now;
    world.tell(Event::Ended { position: 4, attempt: 1, outcome: Outcome::Done, at });
    assert_eq!(world.controller.outcome(4), MemberOutcome::Done);
    assert_eq!(world.controller.evidence().unwrap().failures, 0);
}

#[test]
fn a_silent_host_that_comes_back_is_given_a_moment_to_say_how_it_went() {
    let mut world = World::new(r#""deadline": "5m""#, 1000);
    world.look();
    let now = world.now;
    world.tell(Event::Exposed { position: 4, attempt: 1, from: now });
    world.gone.insert(4);
    world.pass(361);
    world.look();
    assert_eq!(world.controller.outcome(4), MemberOutcome::Silent);
    world.gone.remove(&4);
    let now = world.now;
    world.tell(present(4, now));
    world.look();
    assert_eq!(world.controller.outcome(4), MemberOutcome::Running);
    world.pass(61);
    world.look();
    assert_eq!(world.controller.outcome(4), MemberOutcome::Failed, "it talks and says nothing");
}

#[test]
fn a_silent_host_that_comes_back_after_the_halt_changes_counts_and_not_the_halt() {
    let mut world = World::new(r#""deadline": "5m""#, 1000);
    world.play(|position| if position % 2 == 0 { Fate::FallsSilent } else { Fate::Succeeds });
    world.pass(360);
    world.decide();
    let halt = world.controller.progress().halt.clone().unwrap();
    let silent = world.controller.counts().silent;
    let now = world.now;
    world.gone.remove(&0);
    world.tell(present(0, now));
    world.tell(Event::Ended { position: 0, attempt: 1, outcome: Outcome::Done, at: now });
    world.decide();
    assert_eq!(world.controller.counts().silent, silent - 1);
    assert_eq!(world.controller.progress().halt, Some(halt));
}

#[test]
fn a_host_that_got_its_order_and_vanished_is_silent_and_not_away() {
    let mut world = World::new(r#""deadline": "5m""#, 1000);
    world.look();
    let now = world.now;
    world.tell(Event::HandedOut { position: 2, attempt: 1, from: now });
    world.tell(away(2, now));
    world.gone.insert(2);
    assert_eq!(world.controller.outcome(2), MemberOutcome::Released);
    world.pass(361);
    world.look();
    assert_eq!(world.controller.outcome(2), MemberOutcome::Silent);
    assert_eq!(world.controller.counts().exposed, 1);
}

#[test]
fn a_host_that_talks_and_never_takes_its_order_is_waited_for_only_so_long() {
    let mut world = World::new(r#""deadline": "5m""#, 1000);
    world.look();
    for position in 0..9 {
        world.take(position, Fate::Succeeds);
    }
    assert_eq!(world.holds(), [HoldCode::Ramp]);
    world.pass(299);
    assert_eq!(world.holds(), [HoldCode::Ramp]);
    assert_eq!(world.controller.progress().released, 10);
    world.pass(300);
    world.look();
    assert_eq!(world.controller.progress().released, 30, "{}", world.story());
}

#[test]
fn a_closed_window_holds_steps_and_the_wait_for_untaken_orders() {
    let mut world = World::new(r#""deadline": "5m""#, 1000);
    let opens = second(36_000);
    let closed = WindowFact { open: false, opens_at: Some(opens), closes_at: None };
    world.window = closed;
    assert_eq!(world.holds(), [HoldCode::Window]);
    assert_eq!(world.controller.progress().released, 0);
    world.window = WindowFact::ALWAYS;
    world.look();
    for position in 0..6 {
        world.take(position, Fate::Succeeds);
    }
    world.take(6, Fate::Lapses);
    world.window = closed;
    world.pass(30_000);
    world.look();
    assert_eq!(world.controller.progress().released, 10, "{}", world.story());
    world.window = WindowFact::ALWAYS;
    world.look();
    assert_eq!(world.controller.progress().released, 10, "those that are there get their time");
    world.play(|_| Fate::Succeeds);
    assert_eq!(world.controller.progress().state, RolloutState::Done, "{}", world.story());
}

#[test]
fn early_download_releases_before_the_window_opens() {
    let mut world = World::new(r#""early_download": true"#, 1000);
    world.window = WindowFact { open: false, opens_at: Some(second(600)), closes_at: None };
    world.look();
    assert_eq!(world.controller.progress().released, 10);
    // Acknowledged long before; the deadline counts from the opening.
    world.tell(Event::Exposed { position: 0, attempt: 1, from: second(600) });
    world.pass(2000);
    world.look();
    assert_eq!(world.controller.outcome(0), MemberOutcome::Running, "{}", world.story());
}

#[test]
fn attempts_that_pass_are_waited_for_until_they_are_spent() {
    let mut world = World::new(r#""retries": {"attempts": 2, "backoff": "1m"}"#, 1000);
    world.look();
    for position in 0..9 {
        world.take(position, Fate::Succeeds);
    }
    world.take(9, Fate::Lapses);
    assert_eq!(world.holds(), [HoldCode::Retry]);
    assert_eq!(world.controller.outcome(9), MemberOutcome::Released);
    world.take(9, Fate::Lapses);
    assert_eq!(world.controller.outcome(9), MemberOutcome::Refused);
    world.look();
    assert_eq!(world.controller.progress().released, 30, "{}", world.story());
    assert_eq!(world.controller.counts().exposed, 9, "what never began exposed nobody");
}

#[test]
fn a_budget_is_spent_only_beyond_its_edge() {
    for (failures, halts) in [(2, false), (3, true)] {
        let gate = r#""gate": {"sequential": false, "failures_share": 20, "first": 10}"#;
        let mut world = World::new(gate, 200);
        world.play(|position| if position < failures { Fate::Fails } else { Fate::Succeeds });
        let halted = world.controller.progress().state == RolloutState::Halted;
        assert_eq!(halted, halts, "{failures} of 10 where 20 % may:\n{}", world.story());
        let gate =
            r#""gate": {"sequential": false, "failures_share": null, "failures_at_most": 2}"#;
        let mut world = World::new(gate, 200);
        world.play(|position| if position < failures { Fate::Fails } else { Fate::Succeeds });
        let halted = world.controller.progress().state == RolloutState::Halted;
        assert_eq!(halted, halts, "{failures} where 2 may:\n{}", world.story());
    }
}

#[test]
fn a_wave_that_can_never_have_its_share_is_held_for_a_person() {
    let gate = r#""gate": {"sequential": false, "failures_share": null, "success_share": 90}"#;
    let mut world = World::new(gate, 200);
    world.play(|position| if position < 3 { Fate::Fails } else { Fate::Succeeds });
    assert_eq!(world.holds(), [HoldCode::SuccessShare], "{}", world.story());
    world.act(&Act::LeaveOut { positions: vec![0, 1, 2], by: by("ada") }).unwrap();
    world.play(|_| Fate::Succeeds);
    assert_eq!(world.controller.progress().state, RolloutState::Done, "{}", world.story());
}

#[test]
fn a_soak_holds_and_a_clock_that_goes_back_only_makes_it_longer() {
    let mut world = World::new(r#""gate": {"soak": "10m"}"#, 100);
    world.play(|_| Fate::Succeeds);
    assert_eq!(world.holds(), [HoldCode::Soak]);
    world.now = second(-100_000);
    assert_eq!(world.holds(), [HoldCode::Soak]);
    world.now = second(60 + 601);
    world.look();
    assert!(world.controller.progress().wave == 1, "{}", world.story());
}

#[test]
fn a_clock_that_jumps_ahead_and_back_judges_nobody_twice() {
    let mut world = World::new("", 1000);
    world.look();
    let now = world.now;
    world.tell(Event::Exposed { position: 0, attempt: 1, from: now });
    world.now = second(1_000_000);
    world.look();
    assert_eq!(world.controller.counts().failed, 1);
    world.now = second(60);
    world.look();
    let at = world.now;
    world.tell(Event::Ended { position: 0, attempt: 1, outcome: Outcome::Done, at });
    assert_eq!(world.controller.counts().failed, 0);
    assert_eq!(world.controller.counts().done, 1);
}

#[test]
fn a_controller_that_was_just_opened_gives_hosts_a_moment_before_it_calls_them_silent() {
    let mut world = World::new(r#""deadline": "5m""#, 1000);
    world.look();
    let now = world.now;
    world.tell(Event::Exposed { position: 0, attempt: 1, from: now });
    // Nobody listened for an hour.
    world.gone = (0..1000).collect();
    world.pass(3600);
    world.controller = world.reopened();
    world.decide();
    assert_eq!(world.controller.outcome(0), MemberOutcome::Running);
    world.pass(61);
    world.decide();
    assert_eq!(world.controller.outcome(0), MemberOutcome::Silent);
}

#[test]
fn stragglers_are_waited_for_as_long_as_the_rollout_is_watched() {
    let mut world = with_present(r#""after": {"watch": "1h"}"#, 4, &[0, 1, 2]);
    world.play(|_| Fate::Succeeds);
    assert_eq!(world.controller.progress().state, RolloutState::Running, "{}", world.story());
    assert_eq!(world.holds(), [HoldCode::Away]);
    world.pass(3601);
    world.look();
    assert_eq!(world.controller.progress().state, RolloutState::Done, "{}", world.story());
    assert_eq!(world.controller.counts().away, 1);
}

#[test]
fn late_joiners_come_last_and_reopen_the_last_wave() {
    let mut world = World::new(r#""membership": "live", "after": {"watch": "1h"}"#, 20);
    world.play(|_| Fate::Succeeds);
    assert_eq!(world.controller.progress().state, RolloutState::Running, "{}", world.story());
    let (mut plan, mut roster) =
        ((**world.controller.plan()).clone(), (**world.controller.roster()).clone());
    let platform: Platform = "linux-aarch64".parse().unwrap();
    let id = AgentId::mint(&mut IdGen::new([3; 32]), second(0));
    let (current, site, wave) = (None, None, None);
    let joined = Candidate { key: 20, id, platform: &platform, current, site, wave };
    crate::rollout::roster::late(&mut plan, &mut roster, &[joined]);
    assert_eq!(plan.strata.len(), 2);
    world.seen.push(Some(world.now));
    world.controller.join(Arc::new(plan), Arc::new(roster));
    world.play(|_| Fate::Succeeds);
    assert_eq!(world.controller.counts().done, 21, "{}", world.story());
    world.pass(3601);
    world.look();
    assert_eq!(world.controller.progress().state, RolloutState::Done, "{}", world.story());
}

#[test]
fn a_deadline_is_told_with_the_moment_that_is_waited_beyond_it() {
    let mut world = World::new(r#""deadline": "5m""#, 1000);
    world.look();
    let now = world.now;
    world.tell(Event::Exposed { position: 0, attempt: 1, from: now });
    world.gone.insert(0);
    // Whoever sleeps until then finds something to judge, and not a moment that has passed.
    let mut woken = 0;
    while world.controller.outcome(0) == MemberOutcome::Running {
        let next = world.controller.next_deadline().unwrap();
        assert!(next > world.now, "{next}");
        world.now = next;
        world.look();
        woken += 1;
        assert!(woken < 5, "{}", world.story());
    }
    assert_eq!(world.controller.outcome(0), MemberOutcome::Silent);
}

#[test]
fn a_member_takes_eight_bytes_and_sixteen_while_it_is_under_way() {
    use super::super::seat::Seat;
    assert_eq!(std::mem::size_of::<Seat>(), 8);
    let mut world = World::new(r#""strategy": {"kind": "immediate"}"#, 100);
    world.look();
    for position in 0..100 {
        let from = world.now;
        world.tell(Event::HandedOut { position, attempt: 1, from });
        world.tell(Event::Exposed {
            position,
            attempt: 1,
            from: from.after(std::time::Duration::from_secs(20)),
        });
    }
    assert_eq!(world.controller.book.deadlines_kept(), 100);
    // The deadline counts from the acknowledgement all the same.
    world.now = second(1800 + 61);
    world.look();
    assert_eq!(world.controller.counts().running, 100);
    world.now = second(1820 + 61);
    world.look();
    assert_eq!(world.controller.counts().failed, 100);
}

#[test]
fn attempts_that_were_recalled_cost_nothing() {
    let mut world = World::new(r#""retries": {"attempts": 1}"#, 1000);
    world.look();
    let at = world.now;
    for attempt in 1..=3 {
        world.tell(Event::Exposed { position: 0, attempt, from: at });
        let outcome = Outcome::Recalled;
        world.tell(Event::Ended { position: 0, attempt, outcome, at });
        assert_eq!(world.controller.outcome(0), MemberOutcome::Released, "attempt {attempt}");
    }
    assert_eq!(world.controller.counts().exposed, 0);
    let outcome = Outcome::Passing;
    world.tell(Event::Ended { position: 0, attempt: 4, outcome, at });
    assert_eq!(world.controller.outcome(0), MemberOutcome::Refused);
}

#[test]
fn who_is_there_already_is_known_after_a_restart() {
    let mut world = World::new("", 1000);
    world.satisfied.insert(3);
    world.look();
    assert_eq!(world.controller.progress().satisfied, [3]);
    world.satisfied.clear();
    world.told.clear();
    let at = world.now;
    let outcome = Outcome::Satisfied;
    world.controller.handle(Event::Ended { position: 5, attempt: 0, outcome, at });
    assert!(world.decide().changed, "it is to be stored");
    world.controller = world.reopened();
    for position in [3, 5] {
        assert_eq!(world.controller.outcome(position), MemberOutcome::Satisfied);
    }
}

#[test]
fn nobody_is_woken_for_a_moment_that_has_passed() {
    let gate = r#""gate": {"sequential": false, "failures_share": null, "success_share": 90,
                  "soak": "1m"}"#;
    let mut world = World::new(gate, 200);
    world.play(|position| if position < 3 { Fate::Fails } else { Fate::Succeeds });
    world.pass(3600);
    assert_eq!(world.holds(), [HoldCode::SuccessShare], "{}", world.story());
    let next = world.controller.next_deadline();
    assert!(next.is_none_or(|next| next > world.now), "{next:?}");
}

#[test]
fn silence_after_commit_is_counted_here_and_looked_at_again_and_again() {
    let mut world = World::new("", 100);
    world.play(|_| Fate::Succeeds);
    assert_eq!(world.controller.progress().state, RolloutState::Done);
    world.gone = (0..30).collect();
    world.committed.others = crate::rollout::gate::Counts { failures: 20, trials: 1000 };
    let mut looks = 0;
    while world.controller.progress().alerts.is_empty() {
        world.now = world.controller.next_deadline().unwrap();
        world.decide();
        looks += 1;
        assert!(looks < 5, "it is looked at every few minutes");
    }
    assert_eq!(world.controller.progress().alerts[0].code, "silence");
    assert_eq!(world.controller.progress().state, RolloutState::Done, "silence alone alerts");
}
