//! A desk to run cores on: a world of one number a step, a journal in memory, and no clock.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use handover_engine::journal::Replay;
use handover_engine::run::{
    Act, Core, Effect, Input, Job, Party, Plan, Report, Seen, Spec, Standing, StepId,
};
use handover_model::{IdGen, Now, RunId, Timestamp, Version};
use serde_json::{Value, json};

pub(crate) fn named<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("the test names it rightly")
}

pub(crate) fn step(id: &str, needs: &[&str]) -> Spec {
    Spec {
        id: named(id),
        kind: named("number/1"),
        owner: named("host"),
        needs: needs.iter().map(|id| named(id)).collect(),
        inputs: Value::Null,
        attempts: 2,
        timeout: None,
        asks: None,
    }
}

pub(crate) fn plan(steps: Vec<Spec>) -> Plan {
    let roles = ["host", "other"].map(|name| (named(name), named(name)));
    Plan {
        name: "test".to_owned(),
        revert_on_failure: true,
        width: 1,
        roles: BTreeMap::from(roles),
        steps,
    }
}

pub(crate) fn run_id() -> RunId {
    RunId::mint(&mut IdGen::new([3; 32]), Timestamp::from_micros(0))
}

/// Where a step's number stands: 0 before, 1 between, 2 after.
pub(crate) type Numbers = BTreeMap<StepId, u8>;

/// One party's life after life of one run.
pub(crate) struct Desk {
    pub(crate) core: Core,
    pub(crate) plan: Plan,
    pub(crate) me: Party,
    pub(crate) world: Numbers,
    pub(crate) durable: Vec<u8>,
    pub(crate) tail: Vec<u8>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) aborted: Vec<StepId>,
    pub(crate) now: Duration,
}

impl Desk {
    pub(crate) fn new(plan: Plan) -> Self {
        Self::of(plan, "host")
    }

    pub(crate) fn of(plan: Plan, me: &str) -> Self {
        let me = named(me);
        let world = plan.steps.iter().map(|spec| (spec.id.clone(), 0)).collect();
        let now = Duration::ZERO;
        let core = open(&plan, &me, &[], now);
        let (durable, tail, jobs) = (Vec::new(), Vec::new(), Vec::new());
        Self { core, plan, me, world, durable, tail, jobs, aborted: Vec::new(), now }
    }

    /// The process dies and another begins. `kept` bytes of the unsynced tail are there still.
    pub(crate) fn crash(&mut self, kept: usize) {
        self.tail.truncate(kept);
        self.durable.append(&mut self.tail);
        let replay = Replay::of(&self.durable).expect("only a tail is ever torn");
        self.durable.truncate(replay.good_len());
        self.jobs.clear();
        self.aborted.clear();
        self.core = open(&self.plan, &self.me, &self.durable, self.now);
    }

    pub(crate) fn clock(&self) -> Now {
        clock(self.now)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.durable.as_slice(), self.tail.as_slice()].concat()
    }

    pub(crate) fn replay(&self) -> Replay {
        Replay::of(&self.bytes()).expect("the journal is whole")
    }

    /// The names of the records so far.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.replay().records().iter().map(|record| record.body.name()).collect()
    }

    /// Performs one effect that is no job; takes jobs onto the desk.
    pub(crate) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Append(line) => self.tail.extend(line.bytes()),
            Effect::Sync => self.durable.append(&mut self.tail),
            Effect::Do(job) => self.jobs.push(*job),
            Effect::Abort(step) => self.aborted.push(step),
        }
    }

    pub(crate) fn perform_all(&mut self) {
        while let Some(effect) = self.core.poll() {
            self.perform(effect);
        }
    }

    pub(crate) fn say(&mut self, input: Input) {
        self.core.handle(input, self.clock()).expect("the core takes it");
        self.perform_all();
    }

    /// Reports on the oldest job.
    pub(crate) fn report(&mut self, report: Report) {
        let job = self.jobs.remove(0);
        self.say(Input::Report { step: job.step, report });
    }

    /// Lets the oldest job do what it should.
    pub(crate) fn work(&mut self) {
        let job = self.jobs.first().expect("a job is out").clone();
        let number = self.world.entry(job.step.clone()).or_default();
        let report = match job.act {
            Act::Look => Report::Seen(seen(*number)),
            Act::Save(_) => Report::Saved(json!("image")),
            Act::Apply => {
                *number = 2;
                Report::Acted
            }
            Act::Revert => {
                *number = 0;
                Report::Acted
            }
        };
        self.report(report);
    }

    /// Works until nothing is out.
    pub(crate) fn run_well(&mut self) -> Standing {
        self.perform_all();
        while !self.jobs.is_empty() {
            self.work();
        }
        self.core.standing()
    }

    /// Lets time pass up to the core's next deadline.
    pub(crate) fn wait(&mut self) {
        self.now = self.core.next_deadline().expect("something is waited for");
        self.core.handle_timeout(self.clock()).expect("time may pass");
        self.perform_all();
    }
}

pub(crate) fn seen(number: u8) -> Seen {
    match number {
        0 => Seen::Before(json!("seen")),
        1 => Seen::Between,
        _more => Seen::After(json!({"number": number})),
    }
}

pub(crate) fn clock(now: Duration) -> Now {
    Now { wall: Timestamp::from_micros(1_000_000_000_000).after(now), mono: now }
}

fn open(plan: &Plan, me: &Party, bytes: &[u8], now: Duration) -> Core {
    let replay = Replay::of(bytes).expect("the journal is whole");
    Core::open(run_id(), plan.clone(), me, &Version::new(1, 0, 0), &replay, clock(now))
        .expect("what the core wrote, the core opens")
}
