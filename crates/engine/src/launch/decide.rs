//! Compares what must run with what does, and takes the next single act towards it.

use handover_model::{LaunchEvent, Millis, Now, ReleaseId, RunId, Slot, Slots, StopSpec, Trial};

use super::{AfterCrash, Child, Effect, FAILED_TRIAL_GRACE, Flight, Launch, Stopping, Then, slots};
use crate::slots::{Desired, Refused, TrialOver, desired};

/// The one thing to do next.
enum Goal {
    Publish(Box<Slots>, Then),
    Run(Box<Slot>),
    /// Nothing may run, until a newer generation or the end of the pause.
    Pause(u64),
    /// Nothing can run, for this reason.
    Rest(String),
}

impl Launch {
    pub(super) fn decide(&mut self, now: Now) {
        if self.in_flight.is_some() {
            return;
        }
        if self.stopping {
            return self.wind_up(now);
        }
        let Some(view) = self.slots() else { return };
        let goal = match self.goal(&view, now) {
            Goal::Run(_) | Goal::Rest(_) if self.may_publish() && self.clocks.is_due(&view) => {
                publish(slots::tick(&view, slots::Passed::default()), Then::Nothing)
            }
            goal @ (Goal::Publish(..) | Goal::Run(_) | Goal::Pause(_) | Goal::Rest(_)) => goal,
        };
        match goal {
            Goal::Publish(next, then) => self.publish(*next, then),
            Goal::Run(slot) => self.bring_up(&view, *slot, now),
            Goal::Pause(generation) => self.keep_pause(generation, now),
            Goal::Rest(why) => {
                self.refuse(why);
                self.stop_child(None, now);
            }
        }
    }

    fn goal(&self, view: &Slots, now: Now) -> Goal {
        let may_publish = self.may_publish();
        // A trial whose boot is paid counts as running, although the old child may still be there.
        let child = self.child.as_ref().filter(|child| child.stopping.is_none());
        let alive = self.boot_paid.or(child.map(|child| child.run));
        match desired(view, alive) {
            Desired::Settle(trial, over) if may_publish => self.settle(view, trial, &over, now),
            Desired::Trial(trial) if alive == Some(trial.slot.run) => {
                Goal::Run(Box::new(trial.slot.clone()))
            }
            Desired::Trial(trial) if may_publish => {
                publish(slots::spend_boot(view), Then::BootPaid(trial.slot.run))
            }
            Desired::Paused(pause) => {
                let kept = self.pause.as_ref().filter(|kept| kept.run == pause.run);
                if kept.is_some_and(|kept| now.mono < kept.until) {
                    return Goal::Pause(view.generation);
                }
                if may_publish {
                    return publish(slots::end_pause(view), Then::Nothing);
                }
                serve(view)
            }
            // Nothing durable can be said now, so the trial neither starts nor ends on record:
            // the committed release serves meanwhile.
            Desired::Settle(..) | Desired::Trial(_) => serve(view),
            Desired::Current(slot) => {
                let account = if may_publish { self.account(view, slot, now) } else { None };
                account.unwrap_or_else(|| Goal::Run(Box::new(slot.clone())))
            }
            Desired::Nothing(why) => Goal::Rest(why.to_string()),
        }
    }

    fn settle(&self, view: &Slots, trial: &Trial, over: &TrialOver, now: Now) -> Goal {
        let run = trial.slot.run;
        let exit = self.last_exit.as_ref().filter(|(of, _)| *of == run).map(|(_, how)| how);
        let reason = match (over, exit) {
            (TrialOver::Boots, Some(how)) => format!("{over}; at last {how}"),
            (TrialOver::Boots, None) | (TrialOver::Window(_) | TrialOver::Launcher { .. }, _) => {
                over.to_string()
            }
        };
        let release = trial.slot.release.clone();
        let event = LaunchEvent::Quarantined { release, reason: reason.clone() };
        publish(slots::quarantine_trial(view, run, reason, now.wall), Then::Record(event))
    }

    /// Tells the current slot's guard of crashes that it has not counted yet.
    fn account(&self, view: &Slots, current: &Slot, now: Now) -> Option<Goal> {
        self.uncounted.filter(|(run, _)| *run == current.run)?;
        let exit = self.last_exit.as_ref().filter(|(of, _)| *of == current.run);
        let how = exit.map_or("it ended", |(_, how)| how);
        match slots::crash(view, current.run, how, now.wall) {
            Ok(AfterCrash::Counted(next)) => {
                Some(Goal::Publish(Box::new(next), Then::CrashCounted))
            }
            Ok(AfterCrash::Returned(next)) => {
                let event = returned(&next, &current.release)?;
                Some(Goal::Publish(Box::new(next), Then::Record(event)))
            }
            Ok(AfterCrash::Unguarded | AfterCrash::Retry | AfterCrash::Quarantined(_)) | Err(_) => {
                None
            }
        }
    }

    pub(super) fn may_publish(&self) -> bool {
        self.unusable.is_none() && self.publish_again_at.is_none()
    }

    fn bring_up(&mut self, view: &Slots, slot: Slot, now: Now) {
        if let Some(child) = &self.child {
            if child.run != slot.run {
                self.stop_child(Some(view), now);
            }
            return;
        }
        let waits = self.back_off.as_ref().filter(|wait| wait.run == slot.run);
        if waits.is_some_and(|wait| now.mono < wait.until) {
            return;
        }
        self.boot_paid = None;
        self.child = Some(Child {
            run: slot.run,
            release: slot.release.clone(),
            generation: view.generation,
            stop: slot.recipe.stop.clone(),
            since: now.mono,
            pid: None,
            ready: false,
            stopping: None,
        });
        self.out.push(Effect::Start(Box::new(slot)));
    }

    fn keep_pause(&mut self, generation: u64, now: Now) {
        if self.child.is_some() {
            return self.stop_child(None, now);
        }
        if let Some(pause) = self.pause.as_mut().filter(|pause| !pause.said) {
            pause.said = true;
            self.out.push(Effect::Record(LaunchEvent::Paused { generation }));
        }
    }

    /// Asks the child to stop, once. A child whose trial `view` shows to have failed gets little
    /// time.
    fn stop_child(&mut self, view: Option<&Slots>, now: Now) {
        let Some(child) = self.child.as_mut().filter(|child| child.stopping.is_none()) else {
            return;
        };
        let failed = view.is_some_and(|view| is_failed_trial(view, child.run, &child.release));
        let grace =
            if failed { child.stop.grace.min(FAILED_TRIAL_GRACE) } else { child.stop.grace };
        child.stopping = Some(Stopping::KillAt(now.mono.saturating_add(grace.duration())));
        let signal = child.stop.signal.clone();
        self.out.push(Effect::Stop(StopSpec { signal, grace }));
    }

    fn wind_up(&mut self, now: Now) {
        if self.child.is_some() {
            return self.stop_child(None, now);
        }
        if let Some(view) = self.slots().filter(|_| self.may_publish() && self.clocks.has_unsaved())
            && let Ok(next) = slots::tick(&view, slots::Passed::default())
        {
            return self.publish(next, Then::Nothing);
        }
        self.out.push(Effect::ExitLauncher);
    }

    fn publish(&mut self, next: Slots, then: Then) {
        self.out.push(Effect::Publish(Box::new(next.clone())));
        self.in_flight = Some(Flight { next, then });
    }
}

fn serve(view: &Slots) -> Goal {
    match &view.current {
        Some(current) => Goal::Run(Box::new(current.clone())),
        None => Goal::Rest("no release is current, and nothing can be recorded".to_owned()),
    }
}

/// A transition that the slots refuse although they asked for it can't be helped by trying again:
/// it is said, and nothing runs.
fn publish(next: Result<Slots, Refused>, then: Then) -> Goal {
    match next {
        Ok(next) => Goal::Publish(Box::new(next), then),
        Err(refused) => Goal::Rest(refused.to_string()),
    }
}

fn returned(next: &Slots, left: &ReleaseId) -> Option<LaunchEvent> {
    let release = next.current.as_ref()?.release.clone();
    let reason = slots::quarantined(next, left)?.reason.clone();
    Some(LaunchEvent::Returned { release, reason })
}

fn is_failed_trial(view: &Slots, run: RunId, release: &ReleaseId) -> bool {
    let over = view.trial.as_ref().is_some_and(|trial| {
        trial.slot.run == run && trial.window > Millis(0) && trial.elapsed >= trial.window
    });
    let quarantined = slots::quarantined(view, release).is_some_and(|entry| entry.run == run);
    over || (quarantined && view.previous.iter().all(|kept| kept.run != run))
}
