//! Learning from other parties' chains. Nothing merges: what matters of theirs is recorded here
//! under the head of their chain.

use handover_model::{Digest, Now};

use super::super::state::{Phase, State};
use super::super::{Effect, Party, Refused, Spec, StepId};
use super::Core;
use crate::journal::{Body, Replay};

impl Core {
    pub(super) fn import(&mut self, party: &Party, bytes: &[u8], now: Now) -> Result<(), Refused> {
        let refused = |why: String| Refused::Import { party: party.clone(), why };
        if *party == self.state.me || !self.state.plan.roles.values().any(|p| p == party) {
            return Err(refused("it is no other party of this plan".to_owned()));
        }
        let replay = Replay::of(bytes).map_err(|error| refused(error.to_string()))?;
        if self.state.heads.get(party).is_some_and(|head| !replay.passed(*head)) {
            return Err(refused("it does not extend what was imported before".to_owned()));
        }
        let mut theirs = State::new(self.state.run, self.state.plan.clone(), party.clone());
        for record in replay.records() {
            theirs.fold(record).map_err(|error| refused(error.to_string()))?;
        }
        let head = replay.head();
        if let (Some(why), None) = (&theirs.turned, &self.state.turned) {
            let why = format!("{party} turned: {why}");
            self.append_durably(Body::Turned { why, from: Some((party.clone(), head)) }, now)?;
            self.turn_underway(now);
        }
        let owned = |spec: &&Spec| self.state.plan.party_of(spec) == Some(party);
        let steps = self.state.plan.steps.iter().filter(owned);
        let news: Vec<Body> =
            steps.filter_map(|spec| self.news_of(&spec.id, party, &theirs, head)).collect();
        if news.is_empty() {
            return Ok(());
        }
        for body in news {
            self.append(body, now)?;
        }
        self.effects.push_back(Effect::Sync);
        Ok(())
    }

    /// What `theirs` tells of a step that we don't know yet: its outputs, or that it has no
    /// effect in a chain that has turned.
    fn news_of(&self, step: &StepId, party: &Party, theirs: &State, head: Digest) -> Option<Body> {
        let ours = &self.state.steps.get(step)?.phase;
        let phase = &theirs.steps.get(step)?.phase;
        let outputs = if theirs.turned.is_some() {
            let unknown = matches!(ours, Phase::Pending | Phase::Theirs(_));
            if !unknown || phase.live().is_some() {
                return None;
            }
            None
        } else {
            Some(phase.outputs().filter(|_| *ours == Phase::Pending)?.clone())
        };
        Some(Body::Imported { step: step.clone(), party: party.clone(), head, outputs })
    }
}
