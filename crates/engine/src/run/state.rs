//! Proven state: what the records of a journal add up to. One transition for each record; a
//! record that can't follow is refused, so that no impossible journal is ever acted on.

use std::collections::BTreeMap;

use handover_model::{Digest, RunId, Timestamp};
use serde_json::{Value, json};

use super::{Intent, Party, Plan, Refused, Spec, StepId};
use crate::journal::{Body, Record};

/// Where one step stands, as proved by the journal.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    /// Nothing was done. The runner moves it on once its needs are settled.
    Pending,
    /// An intent is durable: apply may have run, wholly or in part. Left by `Done` or, after the
    /// turn, by reverting.
    Intended(Intent),
    /// Was so already. Final: never reverted.
    Satisfied(Value),
    /// Done by this run. Left only by the turn.
    Done(Intent, Value),
    /// Being taken back. Left by `Reverted`; a person is asked where that fails.
    Reverting(Intent),
    /// Taken back. Final.
    Reverted,
    /// Done by the party whose step it is.
    Theirs(Value),
    /// Another party's step, without effect in their chain, which has turned. Final.
    Gone,
}

impl Phase {
    /// Whether steps that need this one may start.
    pub(super) fn settled(&self) -> bool {
        match self {
            Self::Satisfied(_) | Self::Done(..) | Self::Theirs(_) => true,
            Self::Pending
            | Self::Intended(_)
            | Self::Reverting(_)
            | Self::Reverted
            | Self::Gone => false,
        }
    }

    /// The intent of a step that may have an effect of ours in the world.
    pub(super) fn live(&self) -> Option<&Intent> {
        match self {
            Self::Intended(intent) | Self::Done(intent, _) | Self::Reverting(intent) => {
                Some(intent)
            }
            Self::Pending | Self::Satisfied(_) | Self::Reverted | Self::Theirs(_) | Self::Gone => {
                None
            }
        }
    }

    pub(super) fn outputs(&self) -> Option<&Value> {
        match self {
            Self::Satisfied(outputs) | Self::Done(_, outputs) | Self::Theirs(outputs) => {
                Some(outputs)
            }
            Self::Pending
            | Self::Intended(_)
            | Self::Reverting(_)
            | Self::Reverted
            | Self::Gone => None,
        }
    }
}

/// One step's proven state.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Proven {
    pub(super) phase: Phase,
    /// Failed attempts in this direction since a person last said retry.
    pub(super) failures: u32,
    /// Failed attempts in all.
    pub(super) failures_ever: u32,
    /// Why it won't be tried again by itself.
    pub(super) failed: Option<String>,
    /// What a person said: `{"by": …, "text": …}`.
    pub(super) said: Option<Value>,
    /// When its first intent was recorded.
    pub(super) intended_at: Option<Timestamp>,
    /// The place of its first intent in the journal: reverting goes by it, last first.
    pub(super) place: u64,
}

/// All proven state of one chain.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    pub(super) run: RunId,
    pub(super) me: Party,
    pub(super) plan: Plan,
    pub(super) steps: BTreeMap<StepId, Proven>,
    pub(super) turned: Option<String>,
    /// How many lives the run has had.
    pub(super) lives: u64,
    /// How far other parties' chains were imported.
    pub(super) heads: BTreeMap<Party, Digest>,
    records: u64,
    /// Places in the plan's list, by id.
    places: BTreeMap<StepId, usize>,
    /// Places of the steps that need each.
    dependents: BTreeMap<StepId, Vec<usize>>,
}

impl State {
    pub(super) fn new(run: RunId, plan: Plan, me: Party) -> Self {
        let fresh = Proven {
            phase: Phase::Pending,
            failures: 0,
            failures_ever: 0,
            failed: None,
            said: None,
            intended_at: None,
            place: 0,
        };
        let steps = plan.steps.iter().map(|spec| (spec.id.clone(), fresh.clone())).collect();
        let mut places = BTreeMap::new();
        let mut dependents: BTreeMap<StepId, Vec<usize>> = BTreeMap::new();
        for (place, spec) in plan.steps.iter().enumerate() {
            places.insert(spec.id.clone(), place);
            for need in &spec.needs {
                dependents.entry(need.clone()).or_default().push(place);
            }
        }
        let (turned, lives, heads, records) = (None, 0, BTreeMap::new(), 0);
        Self { run, me, plan, steps, turned, lives, heads, records, places, dependents }
    }

    /// Takes in one record.
    pub(super) fn fold(&mut self, record: &Record) -> Result<(), Refused> {
        let number = self.records + 1;
        let body = &record.body;
        let begins = matches!(body, Body::Begin { .. });
        let outcome = if begins == (number == 1) {
            match body {
                Body::Begin { run, party, plan } => return self.begin(*run, party, plan),
                Body::Opened { .. } => {
                    self.lives += 1;
                    Ok(())
                }
                Body::Turned { why, from } => self.turn(why, from.as_ref()),
                Body::Foreign => Ok(()),
                Body::Imported { step, party, head, outputs } => {
                    self.import(step, party, *head, outputs.as_ref())
                }
                Body::Intent { step, .. }
                | Body::Satisfied { step, .. }
                | Body::Done { step, .. }
                | Body::Failed { step, .. }
                | Body::Unsure { step, .. }
                | Body::Said { step, .. }
                | Body::Retried { step }
                | Body::Reverting { step }
                | Body::Reverted { step } => self.own(step, record),
            }
        } else {
            Err("the first record, and no other, begins the run".to_owned())
        };
        outcome.map_err(|why| Refused::Impossible { number, record: body.name(), why })?;
        self.records = number;
        Ok(())
    }

    fn begin(&mut self, run: RunId, party: &Party, plan: &Plan) -> Result<(), Refused> {
        let other = |what, found: String| Err(Refused::Other { what, found });
        if run != self.run {
            return other("run", run.to_string());
        }
        if *party != self.me {
            return other("party", party.to_string());
        }
        if *plan != self.plan {
            return other("plan", plan.name.clone());
        }
        self.records = 1;
        Ok(())
    }

    fn turn(&mut self, why: &str, from: Option<&(Party, Digest)>) -> Result<(), String> {
        if self.turned.is_some() {
            return Err("the run has turned before".to_owned());
        }
        if let Some((party, head)) = from {
            self.heads.insert(party.clone(), *head);
        }
        self.turned = Some(why.to_owned());
        // Backward attempts count on their own.
        for proven in self.steps.values_mut() {
            proven.failures = 0;
            proven.failed = None;
        }
        Ok(())
    }

    fn import(
        &mut self,
        step: &StepId,
        party: &Party,
        head: Digest,
        outputs: Option<&Value>,
    ) -> Result<(), String> {
        let spec = self.spec(step).ok_or_else(|| no_step(step))?;
        if party == &self.me || self.plan.party_of(spec) != Some(party) {
            return Err(format!("step {step} is not run by {party}"));
        }
        let turned = self.turned.is_some();
        let proven = self.steps.get_mut(step).ok_or_else(|| no_step(step))?;
        proven.phase = match (&proven.phase, outputs) {
            (Phase::Pending, Some(outputs)) => Phase::Theirs(outputs.clone()),
            (Phase::Pending | Phase::Theirs(_), None) if turned => Phase::Gone,
            (
                Phase::Pending
                | Phase::Theirs(_)
                | Phase::Gone
                | Phase::Intended(_)
                | Phase::Satisfied(_)
                | Phase::Done(..)
                | Phase::Reverting(_)
                | Phase::Reverted,
                Some(_) | None,
            ) => return Err(format!("step {step} was imported before, or nothing has turned")),
        };
        self.heads.insert(party.clone(), head);
        Ok(())
    }

    /// A record about a step of our own.
    fn own(&mut self, step: &StepId, record: &Record) -> Result<(), String> {
        let spec = self.spec(step).ok_or_else(|| no_step(step))?;
        if self.plan.party_of(spec) != Some(&self.me) {
            return Err(format!("step {step} is another party's"));
        }
        let asks = spec.asks.is_some();
        if !asks && matches!(record.body, Body::Said { .. }) {
            return Err(format!("step {step} asks nothing"));
        }
        let ready = self.needs_settled(spec);
        let free = self.nothing_rests_on(step);
        let forward = self.turned.is_none();
        let number = self.records + 1;
        let proven = self.steps.get_mut(step).ok_or_else(|| no_step(step))?;
        let open = forward && ready && proven.failed.is_none() && (!asks || proven.said.is_some());
        proven
            .on(record, Standpoint { forward, open, free, number })
            .ok_or_else(|| format!("step {step} stands elsewhere"))
    }

    pub(super) fn needs_settled(&self, spec: &Spec) -> bool {
        spec.needs.iter().all(|id| self.steps.get(id).is_some_and(|s| s.phase.settled()))
    }

    /// Whether no step that needs `step` has an effect any more, as far as we may know.
    pub(super) fn nothing_rests_on(&self, step: &StepId) -> bool {
        self.dependents(step).all(|spec| {
            let phase = self.steps.get(&spec.id).map(|proven| &proven.phase);
            if self.plan.party_of(spec) == Some(&self.me) {
                phase.is_none_or(|phase| phase.live().is_none())
            } else {
                phase == Some(&Phase::Gone)
            }
        })
    }

    pub(super) fn dependents(&self, step: &StepId) -> impl Iterator<Item = &Spec> {
        let places = self.dependents.get(step).into_iter().flatten();
        places.filter_map(|place| self.plan.steps.get(*place))
    }

    pub(super) fn spec(&self, step: &StepId) -> Option<&Spec> {
        self.plan.steps.get(*self.places.get(step)?)
    }

    pub(super) fn outputs(&self, step: &str) -> Option<&Value> {
        let proven = self.steps.iter().find(|(id, _)| id.as_str() == step)?.1;
        proven.phase.outputs()
    }

    /// Whether every step is done, ours and theirs.
    pub(super) fn all_settled(&self) -> bool {
        self.turned.is_none() && self.steps.values().all(|proven| proven.phase.settled())
    }

    /// Why the run was taken back, once all of it is.
    pub(super) fn all_reverted(&self) -> Option<&str> {
        let why = self.turned.as_deref()?;
        self.steps.values().all(|proven| proven.phase.live().is_none()).then_some(why)
    }

    pub(super) fn begun(&self) -> bool {
        self.records > 0
    }
}

fn no_step(step: &StepId) -> String {
    format!("the plan has no step {step}")
}

/// What a step's own transition needs to know of the rest.
#[derive(Clone, Copy)]
struct Standpoint {
    /// The run has not turned.
    forward: bool,
    /// The step may start or go on.
    open: bool,
    /// Nothing rests on it any more.
    free: bool,
    /// The record's number.
    number: u64,
}

impl Proven {
    /// The transition; `None` when the record can't follow.
    fn on(&mut self, record: &Record, at: Standpoint) -> Option<()> {
        match &record.body {
            Body::Intent { intent, .. } => self.intend(intent, record.at, at),
            Body::Satisfied { outputs, .. } => {
                let fits = at.open && self.phase == Phase::Pending;
                fits.then(|| self.phase = Phase::Satisfied(outputs.clone()))
            }
            Body::Done { outputs, .. } => {
                let intent = self.phase.live().filter(|_| at.open && self.is_intended())?;
                self.phase = Phase::Done(intent.clone(), outputs.clone());
                Some(())
            }
            Body::Failed { why, last, .. } => {
                (self.failed.is_none() && self.may_fail(at)).then(|| {
                    self.failures += 1;
                    self.failures_ever += 1;
                    self.failed = last.then(|| why.clone());
                })
            }
            Body::Unsure { .. } => self.may_be_unsure(at).then_some(()),
            Body::Said { by, text, .. } => {
                let fits = at.forward && self.said.is_none();
                fits.then(|| self.said = Some(json!({ "by": by, "text": text })))
            }
            Body::Retried { .. } => self.failed.take().map(|_why| self.failures = 0),
            Body::Reverting { .. } => {
                let fits = !at.forward && at.free && !matches!(self.phase, Phase::Reverting(_));
                let intent = self.phase.live().filter(|_| fits)?;
                self.phase = Phase::Reverting(intent.clone());
                Some(())
            }
            Body::Reverted { .. } => {
                let fits = !at.forward && at.free && self.phase.live().is_some();
                fits.then(|| self.phase = Phase::Reverted)
            }
            Body::Begin { .. }
            | Body::Opened { .. }
            | Body::Imported { .. }
            | Body::Turned { .. }
            | Body::Foreign => None,
        }
    }

    fn intend(&mut self, intent: &Intent, now: Timestamp, at: Standpoint) -> Option<()> {
        if !at.open || intent.attempt != self.failures_ever + 1 {
            return None;
        }
        if self.phase == Phase::Pending {
            self.intended_at = Some(now);
            self.place = at.number;
        } else {
            // A further attempt repeats what the first one recorded.
            let old = self.phase.live().filter(|_| self.is_intended())?;
            let again = Intent { attempt: old.attempt, ..intent.clone() };
            if *old != again || old.attempt >= intent.attempt {
                return None;
            }
        }
        self.phase = Phase::Intended(intent.clone());
        Some(())
    }

    fn is_intended(&self) -> bool {
        matches!(self.phase, Phase::Intended(_))
    }

    fn may_fail(&self, at: Standpoint) -> bool {
        match self.phase {
            Phase::Pending => at.open,
            Phase::Intended(_) => at.open || !at.forward,
            Phase::Done(..) | Phase::Reverting(_) => !at.forward,
            Phase::Satisfied(_) | Phase::Reverted | Phase::Theirs(_) | Phase::Gone => false,
        }
    }

    fn may_be_unsure(&self, at: Standpoint) -> bool {
        match self.phase {
            Phase::Intended(_) => true,
            Phase::Reverting(_) => !at.forward,
            Phase::Pending
            | Phase::Done(..)
            | Phase::Satisfied(_)
            | Phase::Reverted
            | Phase::Theirs(_)
            | Phase::Gone => false,
        }
    }
}
