//! The turn, and the way back.

use std::time::Duration;

use handover_model::Now;

use super::super::{Effect, Refused, Seen, StepId};
use super::{Core, Doing, Out};
use crate::journal::Body;

impl Core {
    pub(super) fn turn(&mut self, why: String, now: Now) -> Result<(), Refused> {
        self.append_durably(Body::Turned { why, from: None }, now)?;
        self.turn_underway(now);
        Ok(())
    }

    /// Waits are over, jobs that are out are asked to stop.
    pub(super) fn turn_underway(&mut self, now: Now) {
        for (step, under) in &mut self.underway {
            under.clock = Some((now.mono, Duration::ZERO));
            under.trouble = 0;
            under.acted = None;
            match &mut under.doing {
                Doing::Out { aborted, .. } => {
                    if !*aborted {
                        *aborted = true;
                        self.effects.push_back(Effect::Abort(step.clone()));
                    }
                }
                Doing::Later { .. } => under.doing = Doing::Idle,
                Doing::Idle | Doing::Blocked(_) => {}
            }
        }
    }

    /// A look came home after the turn.
    pub(super) fn seen_back(&mut self, step: &StepId, seen: Seen, now: Now) -> Result<(), Refused> {
        let known = self.under(step).acted.take();
        if self.intent_of(step).is_none() || !self.state.nothing_rests_on(step) {
            // A look that went out before the turn; the step has its turn later, if at all.
            return Ok(());
        }
        match (seen, known) {
            (Seen::Before(_), _) | (Seen::Overruled(_), Some(_)) => {
                self.append(Body::Reverted { step: step.clone() }, now)
            }
            (Seen::After(_) | Seen::Between, Some(known)) => self.fail_attempt(step, known, now),
            (Seen::After(_) | Seen::Between | Seen::Overruled(_), None) => self.revert(step, now),
            (Seen::Elsewhere(found), _) => self.fail_for_good(step, found, now),
            (Seen::NotYet { why, again }, known) => {
                self.under(step).acted = known;
                self.wait(step, &why, again, now)
            }
        }
    }

    fn revert(&mut self, step: &StepId, now: Now) -> Result<(), Refused> {
        if !self.is_reverting(step) {
            self.append_durably(Body::Reverting { step: step.clone() }, now)?;
        }
        self.send(step, Out::Revert, now)
    }
}
