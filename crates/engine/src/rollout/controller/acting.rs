//! What people do to a rollout: pure transitions, with every pair decided.

use handover_model::Timestamp;
use handover_model::api::RolloutState;

use super::book::at;
use super::halting::insert;
use super::seat::Mark;
use super::{Act, Controller, Decision, Effect, RefusedAct, RevertScope, Signed};

impl Controller {
    /// Does what a person, or another rollout, wants. Holds are not computed here: decide next.
    ///
    /// # Errors
    /// [`RefusedAct`]: nothing changed.
    pub fn act(&mut self, act: &Act, now: Timestamp) -> Result<Decision, RefusedAct> {
        let signed = |by: &String, reason: &Option<String>| Signed {
            by: by.clone(),
            at: now,
            reason: reason.clone(),
        };
        let effects = match act {
            Act::Approve { wave, by, reason } => self.approve(*wave, signed(by, reason))?,
            Act::Pause { by, reason } => self.pause(signed(by, reason))?,
            Act::Resume { by, reason } => self.resume(signed(by, reason))?,
            Act::Abort { .. } => self.end(RolloutState::Aborted, now)?,
            Act::LeaveOut { positions, .. } => self.leave_out(positions)?,
            Act::Revert { wave, by } => self.revert(*wave, signed(by, &None))?,
            Act::RevertEnded { done } => self.revert_ended(*done, now),
            Act::Supersede => self.end(RolloutState::Superseded, now)?,
        };
        let changed = std::mem::take(&mut self.changed);
        Ok(Decision { changed, effects, holds: Vec::new() })
    }

    fn approve(&mut self, wave: Option<u32>, signed: Signed) -> Result<Vec<Effect>, RefusedAct> {
        if self.progress.state.is_over() {
            return Err(self.refuse("approved", OVER));
        }
        let waves = u32::try_from(self.progress.waves.len()).unwrap_or(u32::MAX);
        let waits = |number: u32| {
            let stands = self.progress.waves.get(at(number));
            stands.is_some_and(|wave| wave.asked && wave.approved.is_none())
        };
        let number = match wave {
            Some(number) => number,
            None if waits(self.progress.wave) => self.progress.wave,
            None => return Err(RefusedAct::NothingWaits),
        };
        let Some(plan) = self.book.plan.waves.get(at(number)) else {
            return Err(RefusedAct::NoWave { wave: number, waves });
        };
        if !plan.approval {
            return Err(RefusedAct::NoApproval { wave: number });
        }
        let Some(stands) = self.progress.waves.get_mut(at(number)) else {
            return Err(RefusedAct::NoWave { wave: number, waves });
        };
        if let Some(earlier) = &stands.approved {
            return Err(RefusedAct::Approved { wave: number, by: earlier.by.clone() });
        }
        stands.approved = Some(signed);
        self.changed = true;
        Ok(vec![Effect::Approved(number)])
    }

    fn pause(&mut self, signed: Signed) -> Result<Vec<Effect>, RefusedAct> {
        match self.progress.state {
            RolloutState::Scheduled | RolloutState::Running => {
                self.enter(RolloutState::Paused);
                self.progress.paused = Some(signed);
                Ok(vec![Effect::Paused])
            }
            RolloutState::Paused => Err(self.refuse("paused", "it stands still already")),
            RolloutState::Halted => {
                Err(self.refuse("paused", "it stands still; resume, revert or abort it"))
            }
            RolloutState::Reverting
            | RolloutState::Reverted
            | RolloutState::Done
            | RolloutState::Aborted
            | RolloutState::Superseded => Err(self.refuse("paused", OVER)),
        }
    }

    fn resume(&mut self, signed: Signed) -> Result<Vec<Effect>, RefusedAct> {
        match self.progress.state {
            RolloutState::Paused => {
                self.progress.paused = None;
                let was_running = self.progress.started_at.is_some();
                self.enter(if was_running {
                    RolloutState::Running
                } else {
                    RolloutState::Scheduled
                });
                Ok(vec![Effect::Resumed])
            }
            RolloutState::Halted => {
                self.accept_evidence();
                self.progress.accepted = Some(signed);
                self.enter(RolloutState::Running);
                Ok(vec![Effect::Resumed])
            }
            RolloutState::Scheduled | RolloutState::Running => {
                Err(self.refuse("resumed", "it goes on by itself; its holds say what it waits for"))
            }
            RolloutState::Reverting
            | RolloutState::Reverted
            | RolloutState::Done
            | RolloutState::Aborted
            | RolloutState::Superseded => Err(self.refuse("resumed", OVER)),
        }
    }

    /// Ends it where it stands: aborted, or superseded.
    fn end(&mut self, to: RolloutState, now: Timestamp) -> Result<Vec<Effect>, RefusedAct> {
        let is_superseded = to == RolloutState::Superseded;
        match self.progress.state {
            RolloutState::Scheduled
            | RolloutState::Running
            | RolloutState::Paused
            | RolloutState::Halted => {
                self.enter(to);
                self.progress.ended_at = Some(now);
                Ok(vec![if is_superseded { Effect::Superseded } else { Effect::Aborted }])
            }
            RolloutState::Reverting => Err(self.refuse(
                to.name(),
                "its hosts are being taken back; abort the rollout that does it",
            )),
            RolloutState::Reverted
            | RolloutState::Done
            | RolloutState::Aborted
            | RolloutState::Superseded => Err(self.refuse(to.name(), OVER)),
        }
    }

    fn leave_out(&mut self, positions: &[u32]) -> Result<Vec<Effect>, RefusedAct> {
        if self.progress.state.is_over() {
            return Err(self.refuse("changed", OVER));
        }
        let members = self.book.plan.members();
        if let Some(position) = positions.iter().find(|position| **position >= members) {
            return Err(RefusedAct::NoMember { position: *position, members });
        }
        let mut left = Vec::new();
        for position in positions.iter().copied() {
            if self.progress.is_left_out(position) {
                continue;
            }
            insert(&mut self.progress.left_out, position);
            insert(&mut left, position);
            self.book.touch(position, &self.progress, |seat| seat.set(Mark::LeftOut, true));
        }
        if left.is_empty() {
            return Ok(Vec::new());
        }
        self.changed = true;
        Ok(vec![Effect::LeftOut(left)])
    }

    fn revert(&mut self, wave: Option<u32>, signed: Signed) -> Result<Vec<Effect>, RefusedAct> {
        match self.progress.state {
            RolloutState::Scheduled
            | RolloutState::Running
            | RolloutState::Paused
            | RolloutState::Halted
            | RolloutState::Done
            | RolloutState::Aborted => {}
            RolloutState::Reverting => {
                return Err(self.refuse("reverted", "its hosts are being taken back already"));
            }
            RolloutState::Reverted | RolloutState::Superseded => {
                return Err(self.refuse("reverted", OVER));
            }
        }
        let waves = u32::try_from(self.progress.waves.len()).unwrap_or(u32::MAX);
        if let Some(wave) = wave.filter(|wave| *wave >= waves) {
            return Err(RefusedAct::NoWave { wave, waves });
        }
        if self.touched(wave).is_empty() {
            return Err(RefusedAct::NothingTouched);
        }
        let Some(wave) = wave else {
            self.enter(RolloutState::Reverting);
            self.progress.watch_until = None;
            return Ok(vec![Effect::Revert(RevertScope::Rollout)]);
        };
        let mut effects = Vec::new();
        if self.progress.state == RolloutState::Running {
            // What goes back must not be followed by what goes on.
            self.enter(RolloutState::Paused);
            let reason = format!("wave {} is taken back", self.wave_name(wave));
            self.progress.paused = Some(Signed { reason: Some(reason), ..signed });
            effects.push(Effect::Paused);
        }
        effects.push(Effect::Revert(RevertScope::Wave(wave)));
        Ok(effects)
    }

    fn revert_ended(&mut self, done: bool, now: Timestamp) -> Vec<Effect> {
        match self.progress.state {
            RolloutState::Reverting => {
                let (state, effect) = if done {
                    (RolloutState::Reverted, Effect::Reverted)
                } else {
                    (RolloutState::Aborted, Effect::Aborted)
                };
                self.enter(state);
                self.progress.ended_at = Some(now);
                let mut effects = vec![effect];
                if !done {
                    let text = "not every host was taken back; look at the rollout that was to do \
                                it, and revert again";
                    self.alert("revert", text.to_owned(), now, &mut effects);
                }
                effects
            }
            // A wave's revert ended: the rollout stands as it stood.
            RolloutState::Scheduled
            | RolloutState::Running
            | RolloutState::Paused
            | RolloutState::Halted
            | RolloutState::Reverted
            | RolloutState::Done
            | RolloutState::Aborted
            | RolloutState::Superseded => Vec::new(),
        }
    }

    fn refuse(&self, act: &'static str, hint: &'static str) -> RefusedAct {
        RefusedAct::State { act, state: self.progress.state, hint }
    }
}

const OVER: &str = "it is over; create another one";
