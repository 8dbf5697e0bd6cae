//! Whose turn it is: which step starts next, and what holds those that can't.

use handover_model::Now;

use super::super::state::{Phase, Proven};
use super::super::{Hold, Party, Refused, Spec, StepId};
use super::{Core, Doing};

impl Core {
    /// Starts what can be started, up to the plan's width. A final failure turns the run first,
    /// where the plan says so: also one that a former life recorded and then was cut.
    pub(super) fn advance(&mut self, now: Now) -> Result<(), Refused> {
        loop {
            if self.state.plan.revert_on_failure && self.state.turned.is_none() {
                let failed = |(step, proven): (&StepId, &Proven)| {
                    proven.failed.as_ref().map(|why| format!("step {step} failed: {why}"))
                };
                if let Some(why) = self.state.steps.iter().find_map(failed) {
                    self.turn(why, now)?;
                }
            }
            if self.jobs_out() >= self.state.plan.width {
                return Ok(());
            }
            let Some(step) = self.next_ready() else { return Ok(()) };
            self.look(&step, now)?;
        }
    }

    pub(super) fn jobs_out(&self) -> usize {
        self.underway.values().filter(|under| matches!(under.doing, Doing::Out { .. })).count()
    }

    /// Forward in the plan's order; back in the reverse order of first intents.
    fn next_ready(&self) -> Option<StepId> {
        let ready = self.state.plan.steps.iter().filter(|spec| {
            let idle =
                self.underway.get(&spec.id).is_none_or(|under| matches!(under.doing, Doing::Idle));
            idle && self.has_turn(spec) && self.asked(spec).is_none()
        });
        if self.state.turned.is_none() {
            return ready.map(|spec| spec.id.clone()).next();
        }
        let place = |spec: &&Spec| self.state.steps.get(&spec.id).map(|proven| proven.place);
        ready
            .filter(|spec| self.dependents_are_quiet(&spec.id))
            .max_by_key(place)
            .map(|spec| spec.id.clone())
    }

    /// Whether a step of ours could be at work, as far as other steps go.
    fn has_turn(&self, spec: &Spec) -> bool {
        let Some(proven) = self.state.steps.get(&spec.id) else { return false };
        if self.state.plan.party_of(spec) != Some(&self.state.me) {
            return false;
        }
        if self.state.turned.is_some() {
            return proven.phase.live().is_some() && self.state.nothing_rests_on(&spec.id);
        }
        !proven.phase.settled() && self.state.needs_settled(spec)
    }

    /// What a person must do before the step goes on.
    fn asked(&self, spec: &Spec) -> Option<String> {
        let proven = self.state.steps.get(&spec.id)?;
        let forward = self.state.turned.is_none();
        match (&proven.failed, &spec.asks, &proven.said) {
            (Some(why), _, _) if forward => {
                Some(format!("{why}; retry step {} or revert the run", spec.id))
            }
            (Some(why), _, _) => {
                Some(format!("it can't be taken back: {why}; mend that, then retry {}", spec.id))
            }
            (None, Some(question), None) if forward => Some(question.clone()),
            (None, Some(_) | None, Some(_) | None) => None,
        }
    }

    /// A dependent without an intent may still have a look out; it comes home first.
    fn dependents_are_quiet(&self, step: &StepId) -> bool {
        self.state.dependents(step).all(|spec| {
            !self.underway.get(&spec.id).is_some_and(|u| matches!(u.doing, Doing::Out { .. }))
        })
    }

    /// What holds a step that could be at work; `None` for one whose turn it isn't.
    pub(super) fn hold(&self, spec: &Spec) -> Option<Hold> {
        let party = self.state.plan.party_of(spec)?;
        if *party != self.state.me {
            return self.hold_of_theirs(spec, party);
        }
        if !self.has_turn(spec) {
            return None;
        }
        if let Some(asked) = self.asked(spec) {
            return Some(Hold::Person(asked));
        }
        match &self.underway.get(&spec.id)?.doing {
            Doing::Later { until, .. } => Some(Hold::Later(*until)),
            Doing::Blocked(what) => Some(Hold::Blocked(what.clone())),
            Doing::Idle | Doing::Out { .. } => None,
        }
    }

    fn hold_of_theirs(&self, spec: &Spec, party: &Party) -> Option<Hold> {
        let phase = &self.state.steps.get(&spec.id)?.phase;
        let live = |id| self.state.steps.get(id).is_some_and(|s| s.phase.live().is_some());
        let waited_for = if self.state.turned.is_none() {
            *phase == Phase::Pending && self.state.needs_settled(spec)
        } else {
            *phase != Phase::Gone && spec.needs.iter().any(live)
        };
        waited_for.then(|| Hold::Party(party.clone()))
    }
}
