//! What is watched after hosts committed: explicit failures may stop and take back, silence alone
//! only alerts.

use handover_model::Timestamp;
use handover_model::api::{Alert, OnDecay, RolloutState};

use super::halting::hosts;
use super::progress::HaltGate;
use super::seat::{Cell, Weight};
use super::{Controller, Effect, Facts, RevertScope, Watched, is_there};
use crate::rollout::gate::{Baseline, Counts, EXPLICIT, HALT_AT, Mixture, SILENT};

/// The evidence at which people are told.
const ALERT_AT: f64 = 20.0;

/// What decays amount to.
struct Decay {
    counts: Counts,
    e: f64,
    is_above_share: bool,
}

impl Controller {
    pub(super) fn watch_committed(
        &mut self,
        facts: &Facts<'_>,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        let is_over = self.progress.watch_until.is_some_and(|until| until <= now);
        if self.progress.state == RolloutState::Done && is_over {
            return;
        }
        self.watch_silence(facts, now, out);
        let decay = self.decay();
        if decay.counts.failures == 0 {
            return;
        }
        if decay.e >= ALERT_AT || decay.is_above_share {
            let text = format!(
                "{} of {} that had committed the release went back from it by themselves",
                hosts(decay.counts.failures),
                decay.counts.trials
            );
            self.alert("decay", text, now, out);
        }
        if decay.e >= HALT_AT || decay.is_above_share {
            self.act_on_decay(&decay, now, out);
        }
    }

    fn decay(&self) -> Decay {
        let total = self.book.total();
        let failures = self.book.decays;
        let counts = Counts { failures, trials: failures + total.of(Cell::Done) };
        let share = self.spec.gate.failures_share;
        Decay {
            counts,
            e: Mixture::new(&EXPLICIT, self.book.plan.baseline).e(counts),
            is_above_share: share
                .is_some_and(|most| f64::from(failures) * 100.0 > most * f64::from(counts.trials)),
        }
    }

    fn act_on_decay(&mut self, decay: &Decay, now: Timestamp, out: &mut Vec<Effect>) {
        let is_running = self.progress.state == RolloutState::Running;
        match self.spec.after.on_decay {
            OnDecay::Alert => {}
            OnDecay::Stop if !is_running => {}
            OnDecay::Stop | OnDecay::TakeBack => {
                let text = format!(
                    "{} of {} that had committed the release went back from it: the evidence is \
                     {:.0}, and {HALT_AT} halts",
                    hosts(decay.counts.failures),
                    decay.counts.trials,
                    decay.e
                );
                let attempts = self.book.attempts();
                let deciding =
                    self.book.find(0..u32::MAX, super::Halt::MOST_DECIDING, |seat, _| {
                        seat.weight(attempts) == Weight::Decayed
                    });
                let halt = self.halted(HaltGate::Decay, text, now, deciding);
                self.progress.halt = Some(halt.clone());
                self.enter(RolloutState::Halted);
                out.push(Effect::Halted(halt));
                if self.spec.after.on_decay == OnDecay::TakeBack {
                    self.enter(RolloutState::Reverting);
                    self.progress.watch_until = None;
                    out.push(Effect::Revert(RevertScope::Rollout));
                }
            }
        }
    }

    fn watch_silence(&mut self, facts: &Facts<'_>, now: Timestamp, out: &mut Vec<Effect>) {
        let Watched { mut done, others } = facts.committed;
        if others.trials == 0 || self.progress.state != RolloutState::Done {
            return;
        }
        if done.trials == 0 {
            done = self.silent_of_done(facts, now);
        }
        let Counts { failures, trials } = done;
        if failures > 0 && Mixture::new(&SILENT, Baseline::of(others)).e(done) >= ALERT_AT {
            let text = format!(
                "{} of {trials} that run the release are silent, more than of others",
                hosts(failures)
            );
            self.alert("silence", text, now, out);
        }
    }

    /// How many of the hosts that are done are silent now. In time that grows with the fleet, so
    /// only while a rollout that is done is watched.
    fn silent_of_done(&self, facts: &Facts<'_>, now: Timestamp) -> Counts {
        let mut counts = Counts::default();
        let is_done = |seat: super::seat::Seat, _| seat.phase == super::seat::Phase::Done;
        for position in self.book.find(0..u32::MAX, usize::MAX, is_done) {
            let seen = (facts.member)(position).last_seen;
            counts.trials += 1;
            counts.failures += u32::from(!seen.is_some_and(|seen| is_there(seen, facts, now)));
        }
        counts
    }

    /// Raises an alert, once of each kind.
    pub(super) fn alert(&mut self, code: &str, text: String, at: Timestamp, out: &mut Vec<Effect>) {
        if self.progress.alerts.iter().any(|alert| alert.code == code) {
            return;
        }
        let alert = Alert { code: code.to_owned(), text, at };
        self.progress.alerts.push(alert.clone());
        self.changed = true;
        out.push(Effect::Alert(alert));
    }
}
