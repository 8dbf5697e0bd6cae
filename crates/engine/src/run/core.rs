//! The core: takes inputs, hands out effects.
//!
//! Each step goes look → save → intent → apply → look, or back: look → reverting → revert → look.
//! What is proved lives in [`State`] and changes by folding records alone; what is merely under
//! way in this life lives in [`Underway`] and is lost with it, harmlessly.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use handover_model::{Digest, Now, RunId, Version};
use serde_json::Value;

use super::state::{Phase, State};
use super::{
    Act, Effect, Fence, Input, Intent, Job, Party, Plan, Refused, Report, Spec, Standing, StepId,
};
use crate::journal::{Body, Record, Replay, write_line};

mod back;
mod forth;
mod import;
mod people;
mod ready;

/// The runner's core for one run and one party.
#[derive(Debug)]
pub struct Core {
    state: State,
    engine: Version,
    head: Digest,
    effects: VecDeque<Effect>,
    underway: BTreeMap<StepId, Underway>,
    /// Whether this life has recorded that it began.
    opened: bool,
}

/// What goes on with a step in this life.
#[derive(Debug, Clone, Default)]
struct Underway {
    doing: Doing,
    /// Whether apply (or, after the turn, revert) was called since the last attempt began, and
    /// what is known of how that ended.
    acted: Option<String>,
    /// Looks and saves in a row that failed.
    trouble: u32,
    /// When the clock of the step's timeout began in this life, and what had passed before.
    clock: Option<(Duration, Duration)>,
}

#[derive(Debug, Clone, Default)]
enum Doing {
    /// Nothing; it may be started.
    #[default]
    Idle,
    /// A job is out.
    Out { job: Out, since: Duration, aborted: bool },
    /// It is looked at again at `until`.
    Later { until: Duration, why: String },
    /// This program can't.
    Blocked(String),
}

/// Which job is out, with what must be remembered until its report.
#[derive(Debug, Clone)]
enum Out {
    Look,
    Save { inputs: Value, observed: Value },
    Apply,
    Revert,
}

impl Core {
    /// Opens a run, new or resumed from its journal.
    ///
    /// # Errors
    /// When the plan can't be run, or the journal tells of another plan, run or party, or holds
    /// records that can't follow each other.
    pub fn open(
        run: RunId,
        plan: Plan,
        me: &Party,
        engine: &Version,
        replay: &Replay,
        now: Now,
    ) -> Result<Self, Refused> {
        plan.check()?;
        let mut core = Self {
            state: State::new(run, plan, me.clone()),
            engine: engine.clone(),
            head: replay.head(),
            effects: VecDeque::new(),
            underway: BTreeMap::new(),
            opened: false,
        };
        for record in replay.records() {
            core.state.fold(record)?;
        }
        if !core.state.begun() {
            let plan = Box::new(core.state.plan.clone());
            core.append(Body::Begin { run, party: me.clone(), plan }, now)?;
        }
        core.wind_clocks(now);
        core.advance(now)?;
        Ok(core)
    }

    /// Takes one input in.
    ///
    /// # Errors
    /// When the input doesn't fit where the run stands; nothing changed then.
    pub fn handle(&mut self, input: Input, now: Now) -> Result<(), Refused> {
        match input {
            Input::Report { step, report } => self.take_report(&step, report, now)?,
            Input::Say { step, by, text } => self.take_word(step, by, text, now)?,
            Input::Import { party, bytes } => self.import(&party, &bytes, now)?,
            Input::Retry { step } => self.take_retry(step, now)?,
            Input::Revert { why } => {
                if let Some(turned) = &self.state.turned {
                    let why = format!("the run has turned: {turned}");
                    return Err(Refused::TooLate { input: "revert", why });
                }
                self.turn(why, now)?;
            }
        }
        self.advance(now)
    }

    /// Goes on with what was waiting for time to pass.
    ///
    /// # Errors
    /// Never for a reason of the caller's; see [`Refused::Write`].
    pub fn handle_timeout(&mut self, now: Now) -> Result<(), Refused> {
        let mut late = Vec::new();
        for (step, under) in &mut self.underway {
            let limit = self.state.spec(step).and_then(|spec| spec.timeout);
            match &mut under.doing {
                Doing::Later { until, .. } if *until <= now.mono => under.doing = Doing::Idle,
                Doing::Out { since, aborted, .. } if !*aborted => {
                    if limit.is_some_and(|limit| *since + limit.duration() <= now.mono) {
                        *aborted = true;
                        late.push(step.clone());
                    }
                }
                Doing::Idle | Doing::Out { .. } | Doing::Later { .. } | Doing::Blocked(_) => {}
            }
        }
        self.effects.extend(late.into_iter().map(Effect::Abort));
        self.advance(now)
    }

    /// When [`Core::handle_timeout`] is next wanted, as monotonic time since this life began.
    pub fn next_deadline(&self) -> Option<Duration> {
        let due = |(step, under): (&StepId, &Underway)| match &under.doing {
            Doing::Later { until, .. } => Some(*until),
            Doing::Out { since, aborted: false, .. } => {
                let limit = self.state.spec(step)?.timeout?;
                Some(*since + limit.duration())
            }
            Doing::Idle | Doing::Out { .. } | Doing::Blocked(_) => None,
        };
        self.underway.iter().filter_map(due).min()
    }

    /// The next effect to perform.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Where the run stands.
    pub fn standing(&self) -> Standing {
        if !self.effects.is_empty() || self.jobs_out() > 0 {
            return Standing::Busy;
        }
        if self.state.all_settled() {
            return Standing::Done;
        }
        if let Some(why) = self.state.all_reverted() {
            return Standing::Reverted(why.to_owned());
        }
        let held = |spec: &Spec| self.hold(spec).map(|hold| (spec.id.clone(), hold));
        Standing::Parked(self.state.plan.steps.iter().filter_map(held).collect())
    }

    /// What each waiting step waits for, for people.
    pub fn waits(&self) -> impl Iterator<Item = (&StepId, &str)> {
        self.underway.iter().filter_map(|(step, under)| match &under.doing {
            Doing::Later { why, .. } => Some((step, why.as_str())),
            Doing::Idle | Doing::Out { .. } | Doing::Blocked(_) => None,
        })
    }

    /// Why everything is being taken back, if it is.
    pub fn turned(&self) -> Option<&str> {
        self.state.turned.as_deref()
    }

    /// The head of the journal, as far as effects were handed out.
    pub fn head(&self) -> Digest {
        self.head
    }

    /// How many of the plan's steps are done, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        let done = self.state.steps.values().filter(|proven| proven.phase.settled()).count();
        (done, self.state.steps.len())
    }

    fn take_report(&mut self, step: &StepId, report: Report, now: Now) -> Result<(), Refused> {
        let unexpected = |why: &str| {
            let why = why.to_owned();
            Err(Refused::Unexpected { step: step.clone(), input: "a report", why })
        };
        let Some(Doing::Out { job, .. }) = self.underway.get(step).map(|under| &under.doing) else {
            return unexpected("no job of it is out");
        };
        let job = job.clone();
        match (job, report) {
            (Out::Look | Out::Save { .. } | Out::Apply | Out::Revert, Report::NoSuchKind) => {
                self.block(step);
                Ok(())
            }
            (Out::Look, Report::Seen(seen)) => {
                self.under(step).doing = Doing::Idle;
                self.under(step).trouble = 0;
                if self.state.turned.is_some() {
                    self.seen_back(step, seen, now)
                } else {
                    self.seen_forth(step, seen, now)
                }
            }
            (Out::Save { inputs, observed }, Report::Saved(before)) => {
                self.under(step).doing = Doing::Idle;
                self.under(step).trouble = 0;
                self.intend(step, Intent { attempt: 0, inputs, observed, before }, now)
            }
            (Out::Look | Out::Save { .. }, Report::Faulted(fault)) => {
                self.under(step).doing = Doing::Idle;
                self.trouble(step, fault, now)
            }
            (Out::Apply | Out::Revert, Report::Acted) => {
                self.under(step).doing = Doing::Idle;
                self.acted(step, now)
            }
            (Out::Apply | Out::Revert, Report::Faulted(fault)) => {
                self.under(step).doing = Doing::Idle;
                self.act_faulted(step, fault, now)
            }
            (Out::Look, Report::Saved(_) | Report::Acted)
            | (Out::Save { .. }, Report::Seen(_) | Report::Acted)
            | (Out::Apply | Out::Revert, Report::Seen(_) | Report::Saved(_)) => {
                unexpected("it answers another act than the one that is out")
            }
        }
    }

    fn block(&mut self, step: &StepId) {
        let kind = self.state.spec(step).map(|spec| spec.kind.to_string());
        let kind = kind.unwrap_or_default();
        let what = format!("this program has no {kind}: use the package that began the run");
        self.under(step).doing = Doing::Blocked(what);
    }

    /// Appends a record: folds it, and only then hands its line out.
    fn append(&mut self, body: Body, now: Now) -> Result<(), Refused> {
        if !self.opened && !matches!(body, Body::Begin { .. } | Body::Opened { .. }) {
            self.begin_life(now)?;
        }
        let ended = self.at_rest();
        let record = Record { at: now.wall, body };
        let (line, head) = write_line(self.head, &record)
            .map_err(|source| Refused::Write { why: source.to_string() })?;
        self.state.fold(&record)?;
        self.head = head;
        self.effects.push_back(Effect::Append(line));
        if self.at_rest() && !ended {
            self.effects.push_back(Effect::Sync);
        }
        Ok(())
    }

    fn append_durably(&mut self, body: Body, now: Now) -> Result<(), Refused> {
        self.append(body, now)?;
        if self.effects.back() != Some(&Effect::Sync) {
            self.effects.push_back(Effect::Sync);
        }
        Ok(())
    }

    /// What was read back may have been in the page cache alone: nothing is done in a life before
    /// all of the journal is durable.
    fn begin_life(&mut self, now: Now) -> Result<(), Refused> {
        self.opened = true;
        self.append_durably(Body::Opened { engine: self.engine.clone() }, now)
    }

    fn at_rest(&self) -> bool {
        self.state.all_settled() || self.state.all_reverted().is_some()
    }

    fn send(&mut self, step: &StepId, out: Out, now: Now) -> Result<(), Refused> {
        if !self.opened {
            self.begin_life(now)?;
        }
        let spec = self.spec(step)?;
        let kind = spec.kind.clone();
        let intent = self.intent_of(step).cloned();
        let (act, inputs) = match &out {
            Out::Look => (Act::Look, None),
            Out::Save { inputs, observed } => (Act::Save(observed.clone()), Some(inputs.clone())),
            Out::Apply => (Act::Apply, None),
            Out::Revert => (Act::Revert, None),
        };
        let inputs = match (inputs, &intent) {
            (Some(inputs), _) => inputs,
            (None, Some(intent)) => intent.inputs.clone(),
            (None, None) => match self.resolve(step) {
                Ok(inputs) => inputs,
                Err(why) => return self.fail_for_good(step, why, now),
            },
        };
        let under = self.under(step);
        under.clock.get_or_insert((now.mono, Duration::ZERO));
        under.doing = Doing::Out { job: out, since: now.mono, aborted: false };
        let fence = Fence(self.state.lives);
        let turned = self.state.turned.is_some();
        let job = Job { step: step.clone(), kind, act, inputs, intent, fence, turned };
        self.effects.push_back(Effect::Do(Box::new(job)));
        Ok(())
    }

    fn look(&mut self, step: &StepId, now: Now) -> Result<(), Refused> {
        self.send(step, Out::Look, now)
    }

    fn resolve(&self, step: &StepId) -> Result<Value, String> {
        let spec = self.spec(step).map_err(|refused| refused.to_string())?;
        let said = self.state.steps.get(step).and_then(|proven| proven.said.as_ref());
        super::resolve(&spec.inputs, &|from| self.state.outputs(from), said)
    }

    /// The recorded intent of a step that may have an effect of ours in the world.
    fn intent_of(&self, step: &StepId) -> Option<&Intent> {
        self.state.steps.get(step)?.phase.live()
    }

    fn is_reverting(&self, step: &StepId) -> bool {
        let phase = self.state.steps.get(step).map(|proven| &proven.phase);
        matches!(phase, Some(Phase::Reverting(_)))
    }

    fn spec(&self, step: &StepId) -> Result<&Spec, Refused> {
        self.state.spec(step).ok_or_else(|| Refused::NoSuchStep { step: step.clone() })
    }

    fn under(&mut self, step: &StepId) -> &mut Underway {
        self.underway.entry(step.clone()).or_default()
    }

    /// A timeout counts over lives, by the wall clock between them: it may be cut short or
    /// stretched when that clock jumps, so nothing that must hold rests on it.
    fn wind_clocks(&mut self, now: Now) {
        if self.state.turned.is_some() {
            return;
        }
        for (step, proven) in &self.state.steps {
            if let (Phase::Intended(_), Some(at)) = (&proven.phase, proven.intended_at) {
                let under = self.underway.entry(step.clone()).or_default();
                under.clock = Some((now.mono, now.wall.since(at)));
            }
        }
    }

    /// Whether the step's time is up.
    fn overdue(&self, step: &StepId, now: Now) -> bool {
        let limit = self.state.spec(step).and_then(|spec| spec.timeout);
        let clock = self.underway.get(step).and_then(|under| under.clock);
        match (limit, clock) {
            (Some(limit), Some((began, before))) => {
                now.mono.saturating_sub(began) + before >= limit.duration()
            }
            (Some(_) | None, Some(_) | None) => false,
        }
    }
}
