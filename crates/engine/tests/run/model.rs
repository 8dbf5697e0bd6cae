//! Random plans and fault histories against a tiny model: the numbers of the steps in the world.
//! The model knows nothing of phases or records; it asks of every effect whether it was allowed.

use std::collections::BTreeSet;

use handover_engine::journal::Body;
use handover_engine::run::{Act, Fault, Hold, Input, Job, Plan, Report, Seen, Standing, StepId};
use proptest::prelude::{ProptestConfig, any, proptest};
use serde_json::json;

use crate::support::{Desk, Numbers, named, plan, seen, step};

/// A small generator: every choice of a history comes from one printed seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    fn index(&mut self, len: usize) -> usize {
        let sides = u64::try_from(len).expect("a length fits");
        usize::try_from(self.roll(sides)).expect("it is below a length")
    }
}

fn random_plan(dice: &mut Dice) -> Plan {
    let count = 1 + dice.index(6);
    let mut steps = Vec::new();
    for place in 0..count {
        let needs: Vec<String> =
            (0..place).filter(|_| dice.one_in(3)).map(|need| format!("s{need}")).collect();
        let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
        let mut spec = step(&format!("s{place}"), &needs);
        spec.attempts = 1 + u32::try_from(dice.roll(3)).expect("it is small");
        steps.push(spec);
    }
    // The order of the plan must not matter.
    let turn = dice.index(count);
    steps.rotate_left(turn);
    let mut plan = plan(steps);
    plan.width = 1 + dice.index(3);
    plan.revert_on_failure = dice.one_in(2);
    plan
}

/// One history: a desk, the world at its beginning, and how many more faults there are.
struct History {
    desk: Desk,
    dice: Dice,
    first: Numbers,
    faults: u32,
    /// Steps that this life looked at.
    looked: BTreeSet<StepId>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let plan = random_plan(&mut dice);
        let mut desk = Desk::new(plan);
        for number in desk.world.values_mut() {
            *number = if dice.one_in(5) { 2 } else { 0 };
        }
        let faults = u32::try_from(dice.roll(20)).expect("it is small");
        let first = desk.world.clone();
        Self { desk, dice, first, faults, looked: BTreeSet::new() }
    }

    /// Lives until the run rests for good.
    fn run(&mut self) -> Standing {
        for _ in 0..3000 {
            self.poll();
            if self.fault(12) {
                self.crash();
                continue;
            }
            if !self.desk.jobs.is_empty() {
                let place = self.dice.index(self.desk.jobs.len());
                self.finish(place);
                continue;
            }
            match self.desk.core.standing() {
                Standing::Busy => {}
                Standing::Parked(holds) => self.go_on(&holds),
                Standing::Done => {
                    assert!(self.desk.world.values().all(|number| *number == 2));
                    return Standing::Done;
                }
                Standing::Reverted(why) => {
                    assert_eq!(self.desk.world, self.first, "{why}");
                    return Standing::Reverted(why);
                }
            }
        }
        panic!("it never rests: {:?}", self.desk.core.standing());
    }

    fn poll(&mut self) {
        while let Some(effect) = self.desk.core.poll() {
            let before = self.desk.jobs.len();
            self.desk.perform(effect);
            if self.desk.jobs.len() > before {
                self.check(&self.desk.jobs[before].clone());
                assert!(self.desk.jobs.len() <= self.desk.plan.width);
            }
        }
    }

    /// What the model says of a job that is about to be performed.
    fn check(&mut self, job: &Job) {
        let world = &self.desk.world;
        let durable = handover_engine::journal::Replay::of(&self.desk.durable)
            .expect("the model is right about it");
        let said = |wanted: &dyn Fn(&Body) -> bool| {
            durable.records().iter().any(|record| wanted(&record.body))
        };
        let opened = durable.records().iter().filter(|r| r.body.name() == "opened").count();
        assert_eq!(
            u64::try_from(opened).expect("the model is right about it"),
            job.fence.0,
            "the life is not durable"
        );
        let needs =
            self.desk.plan.step(&job.step).expect("the model is right about it").needs.clone();
        match &job.act {
            Act::Look => {
                self.looked.insert(job.step.clone());
            }
            Act::Save(_) => assert!(!job.turned),
            Act::Apply => {
                assert!(!job.turned && self.looked.contains(&job.step));
                assert!(needs.iter().all(|need| world[need] == 2), "applied before its needs");
                let attempt = job.intent.as_ref().expect("the model is right about it").attempt;
                assert!(said(&|body| matches!(body, Body::Intent { step, intent }
                    if *step == job.step && intent.attempt == attempt)));
            }
            Act::Revert => {
                assert!(job.turned && self.looked.contains(&job.step));
                assert!(said(&|body| matches!(body, Body::Turned { .. })));
                assert!(said(
                    &|body| matches!(body, Body::Reverting { step } if *step == job.step)
                ));
                for spec in self.desk.plan.steps.iter().filter(|s| s.needs.contains(&job.step)) {
                    let back = world[&spec.id] == 0 || self.first[&spec.id] == 2;
                    assert!(back, "reverted before {}, which needs it", spec.id);
                }
                assert_eq!(self.first[&job.step], 0, "what was so already is never reverted");
            }
        }
    }

    /// Whether one of the faults that are left strikes now.
    fn fault(&mut self, sides: u64) -> bool {
        let strikes = self.faults > 0 && self.dice.one_in(sides);
        self.faults -= u32::from(strikes);
        strikes
    }

    /// A job comes to an end, well or badly.
    fn finish(&mut self, place: usize) {
        let job = self.desk.jobs.swap_remove(place);
        let bad = self.fault(3);
        let wanted = match job.act {
            Act::Apply => 2,
            Act::Look | Act::Save(_) | Act::Revert => 0,
        };
        let acts = matches!(job.act, Act::Apply | Act::Revert);
        if acts {
            let here = self.desk.world[&job.step];
            let landed = if bad { [here, 1, wanted][self.dice.index(3)] } else { wanted };
            self.desk.world.insert(job.step.clone(), landed);
        }
        let report = if bad { self.bad_report(acts) } else { self.good_report(&job) };
        let input = Input::Report { step: job.step, report };
        self.desk.core.handle(input, self.desk.clock()).expect("the model is right about it");
    }

    fn good_report(&self, job: &Job) -> Report {
        match job.act {
            Act::Look => Report::Seen(seen(self.desk.world[&job.step])),
            Act::Save(_) => Report::Saved(json!("image")),
            Act::Apply | Act::Revert => Report::Acted,
        }
    }

    fn bad_report(&mut self, acts: bool) -> Report {
        let why = "by chance".to_owned();
        match self.dice.roll(5) {
            0 => Report::Faulted(Fault::Retry(why)),
            1 => Report::Faulted(Fault::Permanent(why)),
            2 => Report::Faulted(Fault::Unknown(why)),
            3 if acts => Report::Acted,
            _more => Report::Faulted(Fault::Retry(why)),
        }
    }

    /// The process dies: what is out lands or doesn't, the tail stays or doesn't.
    fn crash(&mut self) {
        for job in std::mem::take(&mut self.desk.jobs) {
            let here = self.desk.world[&job.step];
            let landed = match job.act {
                Act::Apply => [here, 1, 2][self.dice.index(3)],
                Act::Revert => [here, 1, 0][self.dice.index(3)],
                Act::Look | Act::Save(_) => here,
            };
            self.desk.world.insert(job.step, landed);
        }
        let kept = self.dice.index(self.desk.tail.len() + 1);
        self.desk.crash(kept);
        self.looked.clear();
    }

    /// Time passes, or a person helps.
    fn go_on(&mut self, holds: &[(StepId, Hold)]) {
        assert!(!holds.is_empty(), "nothing holds it and nothing moves it");
        if let Some(at) = self.desk.core.next_deadline() {
            self.desk.now = at.max(self.desk.now);
            self.desk.core.handle_timeout(self.desk.clock()).expect("the model is right about it");
            return;
        }
        let (step, hold) = &holds[self.dice.index(holds.len())];
        assert!(matches!(hold, Hold::Person(_)), "{hold:?}");
        let revert = self.desk.core.turned().is_none() && self.dice.one_in(2);
        let input = if revert {
            Input::Revert { why: "a person".to_owned() }
        } else {
            Input::Retry { step: step.clone() }
        };
        self.desk.core.handle(input, self.desk.clock()).expect("the model is right about it");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn every_history_rests_where_the_world_is_whole(seed in any::<u64>()) {
        let mut history = History::new(seed);
        if history.run() == Standing::Done {
            let input = Input::Revert { why: "test".to_owned() };
            history.desk.core.handle(input, history.desk.clock()).expect("the model is right about it");
            assert!(matches!(history.run(), Standing::Reverted(_)));
        }
    }

    #[test]
    fn replaying_a_journal_leads_where_its_run_stood(seed in any::<u64>()) {
        let mut history = History::new(seed);
        let stood = history.run();
        history.poll();
        let bytes = history.desk.bytes();
        history.desk.crash(usize::MAX);
        history.poll();
        assert_eq!(history.desk.core.standing(), stood);
        assert_eq!(history.desk.bytes(), bytes);
    }
}

#[test]
fn steps_that_do_not_need_each_other_run_side_by_side_up_to_the_width() {
    let names = ["a", "b", "c", "d"];
    let mut wide = plan(names.iter().map(|name| step(name, &[])).collect());
    wide.width = 3;
    let mut desk = Desk::new(wide);
    desk.perform_all();
    assert_eq!(desk.jobs.len(), 3);
    assert_eq!(desk.run_well(), Standing::Done);
    // One of those at work fails: the others are asked to stop, and are taken back too.
    let mut desk = Desk::new(desk.plan.clone());
    desk.perform_all();
    desk.jobs.swap(0, 1);
    desk.report(Report::Seen(Seen::Elsewhere("a surprise".to_owned())));
    assert_eq!(desk.aborted, [named("a"), named("c")]);
    assert!(matches!(desk.run_well(), Standing::Reverted(_)));
    assert!(desk.world.values().all(|number| *number == 0));
}
