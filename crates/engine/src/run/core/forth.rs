//! The way forward, and what both ways share about failures.

use std::time::Duration;

use handover_model::Now;

use super::super::{Fault, Intent, Refused, Seen, StepId};
use super::{Core, Doing, Out};
use crate::journal::Body;

/// Looks and saves that may fail in a row before that is a failure of the step.
const LOOKS: u32 = 5;

impl Core {
    /// A look came home, on the way forward.
    pub(super) fn seen_forth(
        &mut self,
        step: &StepId,
        seen: Seen,
        now: Now,
    ) -> Result<(), Refused> {
        let intent = self.intent_of(step).cloned();
        let id = step.clone();
        match (seen, intent) {
            (Seen::After(outputs), None) => self.append(Body::Satisfied { step: id, outputs }, now),
            // Never "satisfied" once there is an intent: that would never be reverted.
            (Seen::After(outputs), Some(_)) => self.append(Body::Done { step: id, outputs }, now),
            (Seen::Before(observed), None) => match self.resolve(step) {
                Ok(inputs) => self.send(step, Out::Save { inputs, observed }, now),
                Err(why) => self.fail_for_good(step, why, now),
            },
            (Seen::Before(_) | Seen::Between, Some(intent)) => self.go_on(step, intent, now),
            (Seen::Between, None) => {
                let why = "somebody else left it half done".to_owned();
                self.fail_for_good(step, why, now)
            }
            (Seen::Elsewhere(found), _) => self.fail_for_good(step, found, now),
            (Seen::NotYet { why, again }, _) => self.wait(step, &why, again, now),
            (Seen::Overruled(why), _) => {
                self.turn(format!("step {step} was overruled: {why}"), now)
            }
        }
    }

    /// The world shows the step undone, although there is an intent.
    fn go_on(&mut self, step: &StepId, intent: Intent, now: Now) -> Result<(), Refused> {
        if let Some(known) = self.under(step).acted.take() {
            return self.fail_attempt(step, known, now);
        }
        let failures = self.state.steps.get(step).map_or(0, |proven| proven.failures_ever);
        if intent.attempt <= failures {
            self.intend(step, intent, now)
        } else {
            // A life was cut between intent and proof: the same attempt goes on.
            self.send(step, Out::Apply, now)
        }
    }

    /// Makes the next attempt's intent durable, then applies.
    pub(super) fn intend(
        &mut self,
        step: &StepId,
        mut intent: Intent,
        now: Now,
    ) -> Result<(), Refused> {
        if self.state.turned.is_some() {
            return Ok(());
        }
        let failures = self.state.steps.get(step).map_or(0, |proven| proven.failures_ever);
        intent.attempt = failures + 1;
        self.append_durably(Body::Intent { step: step.clone(), intent }, now)?;
        self.send(step, Out::Apply, now)
    }

    pub(super) fn wait(
        &mut self,
        step: &StepId,
        why: &str,
        again: Duration,
        now: Now,
    ) -> Result<(), Refused> {
        if self.overdue(step, now) {
            return self.fail_for_good(step, format!("its time is up: {why}"), now);
        }
        self.under(step).doing = Doing::Later { until: now.mono + again, why: why.to_owned() };
        Ok(())
    }

    /// Apply or revert came home saying that it is done; a look decides.
    pub(super) fn acted(&mut self, step: &StepId, now: Now) -> Result<(), Refused> {
        if self.turned_under(step) {
            // The run turned while apply was out: the way back starts with a look of its own.
            return Ok(());
        }
        let known = "it was reported done, but a look shows that it is not";
        self.under(step).acted = Some(known.to_owned());
        self.look(step, now)
    }

    pub(super) fn act_faulted(
        &mut self,
        step: &StepId,
        fault: Fault,
        now: Now,
    ) -> Result<(), Refused> {
        let turned_under = self.turned_under(step);
        match fault {
            Fault::Unknown(why) => {
                self.append(Body::Unsure { step: step.clone(), why: why.clone() }, now)?;
                if turned_under {
                    return Ok(());
                }
                self.under(step).acted = Some(why);
                self.look(step, now)
            }
            Fault::Retry(_) | Fault::Permanent(_) if turned_under => Ok(()),
            Fault::Retry(why) => self.fail_attempt(step, why, now),
            Fault::Permanent(why) => self.fail_for_good(step, why, now),
        }
    }

    /// Whether the run has turned while the step's apply was out.
    fn turned_under(&self, step: &StepId) -> bool {
        self.state.turned.is_some() && !self.is_reverting(step)
    }

    /// One more attempt failed; the last one that the plan allows fails the step.
    pub(super) fn fail_attempt(
        &mut self,
        step: &StepId,
        why: String,
        now: Now,
    ) -> Result<(), Refused> {
        let allowed = self.spec(step)?.attempts;
        let failures = self.state.steps.get(step).map_or(0, |proven| proven.failures) + 1;
        if failures >= allowed || self.overdue(step, now) {
            return self.fail_for_good(step, why, now);
        }
        let body = Body::Failed { step: step.clone(), why: why.clone(), last: false };
        self.append(body, now)?;
        let under = self.under(step);
        under.acted = None;
        under.doing = Doing::Later { until: now.mono + pause_after(failures), why };
        Ok(())
    }

    /// The step won't be tried again by itself.
    pub(super) fn fail_for_good(
        &mut self,
        step: &StepId,
        why: String,
        now: Now,
    ) -> Result<(), Refused> {
        let under = self.under(step);
        under.acted = None;
        under.doing = Doing::Idle;
        self.append(Body::Failed { step: step.clone(), why, last: true }, now)
    }

    /// A look or a save failed; nothing was changed by it.
    pub(super) fn trouble(&mut self, step: &StepId, fault: Fault, now: Now) -> Result<(), Refused> {
        if self.state.turned.is_some() && self.intent_of(step).is_none() {
            return Ok(());
        }
        let under = self.under(step);
        under.trouble += 1;
        let tries = under.trouble;
        match fault {
            Fault::Permanent(why) => self.fail_for_good(step, why, now),
            Fault::Retry(why) | Fault::Unknown(why) if tries >= LOOKS => {
                self.fail_for_good(step, why, now)
            }
            Fault::Retry(why) | Fault::Unknown(why) => {
                self.wait(step, &why, pause_after(tries), now)
            }
        }
    }
}

/// How long to wait before trying again, after `tries` failures in a row.
fn pause_after(tries: u32) -> Duration {
    Duration::from_millis(100_u64 << tries.clamp(1, 8))
}
