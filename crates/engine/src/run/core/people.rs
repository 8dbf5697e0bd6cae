//! What people say.

use std::time::Duration;

use handover_model::Now;

use super::super::{Refused, StepId};
use super::{Core, Underway};
use crate::journal::Body;

impl Core {
    pub(super) fn take_word(
        &mut self,
        step: StepId,
        by: String,
        text: String,
        now: Now,
    ) -> Result<(), Refused> {
        let spec = self.spec(&step)?;
        let answered = self.state.steps.get(&step).is_none_or(|proven| proven.said.is_some());
        let why = if spec.asks.is_none() {
            "it asks nothing"
        } else if self.state.plan.party_of(spec) != Some(&self.state.me) {
            "it is another party's"
        } else if answered {
            "it was answered before"
        } else if self.state.turned.is_some() {
            "the run has turned"
        } else {
            return self.append_durably(Body::Said { step, by, text }, now);
        };
        Err(Refused::Unexpected { step, input: "a person's word", why: why.to_owned() })
    }

    pub(super) fn take_retry(&mut self, step: StepId, now: Now) -> Result<(), Refused> {
        self.spec(&step)?;
        if self.state.steps.get(&step).is_none_or(|proven| proven.failed.is_none()) {
            let why = "it has not failed for good".to_owned();
            return Err(Refused::Unexpected { step, input: "retry", why });
        }
        *self.under(&step) =
            Underway { clock: Some((now.mono, Duration::ZERO)), ..Underway::default() };
        self.append_durably(Body::Retried { step }, now)
    }
}
