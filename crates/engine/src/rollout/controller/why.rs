//! Everything that holds a rollout, with who or what can lift it, the most decisive first.

use std::ops::Range;

use handover_model::Timestamp;
use handover_model::api::{CheckSpec, CheckVerdict, HoldCode, HoldLifter, RolloutState};

use super::advance::answer_to;
use super::book::at;
use super::halting::hosts;
use super::pace::{MOST_UNEXPOSED, Pace};
use super::seat::{Cell, Seat};
use super::{Controller, Facts};
use crate::rollout::handout::{fleet_stopped, release_gone, window_closed};
use crate::rollout::holds::Held;

impl Controller {
    /// Everything that holds it. `open`: where members of the step that wait are looked for.
    pub(super) fn holds(&self, facts: &Facts<'_>, open: Range<u32>, now: Timestamp) -> Vec<Held> {
        match self.progress.state {
            RolloutState::Scheduled => vec![self.scheduled()],
            RolloutState::Paused => vec![self.paused()],
            RolloutState::Halted => vec![self.stands_halted()],
            RolloutState::Running => {
                let mut holds = self.holds_of_all(facts);
                let wave = self.progress.wave;
                match self.progress.waves.get(at(wave)) {
                    None => holds.extend(self.lingering()),
                    Some(stands) if stands.began_at.is_none() => holds.extend(self.unbegun(wave)),
                    Some(stands) => match stands.settled_at {
                        Some(since) => holds.extend(self.settled(wave, since, facts, now)),
                        None => holds.extend(self.in_step(wave, open, now)),
                    },
                }
                holds
            }
            RolloutState::Reverting => vec![reverting()],
            RolloutState::Reverted
            | RolloutState::Done
            | RolloutState::Aborted
            | RolloutState::Superseded => Vec::new(),
        }
    }

    fn scheduled(&self) -> Held {
        let text = match self.spec.start_at {
            Some(at) => format!("it starts at {at}"),
            None => "it is about to start".to_owned(),
        };
        Held::new(HoldCode::Scheduled, HoldLifter::Time, text).until(self.spec.start_at)
    }

    fn paused(&self) -> Held {
        let text = match &self.progress.paused {
            Some(signed) => {
                let why = signed.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
                format!("{} paused it{why}; resume it to go on", signed.by)
            }
            None => "it is paused; resume it to go on".to_owned(),
        };
        Held::new(HoldCode::Paused, HoldLifter::Person, text)
    }

    fn stands_halted(&self) -> Held {
        let why = self.progress.halt.as_ref().map_or("a gate stopped it", |halt| &halt.text);
        let text = format!(
            "{why}; look at the hosts that decided it, then resume, leave them out, revert or abort"
        );
        let deciding = self.progress.halt.as_ref().map_or(&[][..], |halt| &halt.deciding);
        let named = deciding.iter().copied().take(Held::MOST_NAMED).collect();
        let held = Held::new(HoldCode::Halted, HoldLifter::Person, text).positions(named);
        match &self.progress.halt {
            Some(halt) => held.wave(halt.wave),
            None => held,
        }
    }

    fn holds_of_all(&self, facts: &Facts<'_>) -> Vec<Held> {
        let mut holds = Vec::new();
        if let Some(why) = facts.fleet_stopped {
            holds.push(Held::new(HoldCode::FleetStopped, HoldLifter::Person, fleet_stopped(why)));
        }
        if let Err(why) = facts.release {
            let text = release_gone(&self.spec, why);
            holds.push(Held::new(HoldCode::Release, HoldLifter::Outside, text));
        }
        if !facts.window.open {
            let text = window_closed(facts.window.opens_at);
            let held = Held::new(HoldCode::Window, HoldLifter::Time, text);
            holds.push(held.until(facts.window.opens_at));
        }
        holds
    }

    fn unbegun(&self, wave: u32) -> Option<Held> {
        if !self.needs_approval(wave) {
            return None;
        }
        let plan = self.book.plan.waves.get(at(wave))?;
        let members = u32::try_from(self.book.plan.positions(wave).len()).unwrap_or(u32::MAX);
        let (code, text) = if plan.catch_all {
            let text = format!(
                "{} that no other wave took wait for a person; approve wave {}, or abort",
                hosts(members),
                plan.name
            );
            (HoldCode::CatchAll, text)
        } else {
            let text = format!("wave {} ({}) waits for a person", plan.name, hosts(members));
            (HoldCode::Approval, text)
        };
        Some(Held::new(code, HoldLifter::Person, text).wave(wave))
    }

    fn in_step(&self, wave: u32, open: Range<u32>, now: Timestamp) -> Vec<Held> {
        let held = match self.pace(now) {
            Pace::Waits => Some(self.waits(wave, open)),
            Pace::Silent => Some(self.is_silent(wave)),
            Pace::Away => Some(self.is_away(wave)),
            Pace::TopUp(_) | Pace::Next(_) | Pace::Settled => None,
        };
        let mut holds: Vec<Held> = held.into_iter().collect();
        let goes_on = self.progress.released < self.book.plan.positions(wave).end;
        if goes_on && self.is_held_down() {
            let verdict = self.book.evidence.verdict();
            let text = format!(
                "the evidence ({:.1} for failures, {:.1} for silence) says to go no faster: the \
                 next step has as many hosts as this one",
                verdict.e_explicit, verdict.e_silent
            );
            holds.push(Held::new(HoldCode::Evidence, HoldLifter::Hosts, text).wave(wave));
        }
        holds
    }

    fn waits(&self, wave: u32, open: Range<u32>) -> Held {
        let named = self.named(open, Cell::waits_for_outcome);
        let tally = &self.book.step_tally;
        let (under_way, retrying) = (tally.under_way(), tally.of(Cell::Retrying));
        let untaken = tally.of(Cell::Released);
        if under_way == 0 && untaken == 0 {
            let text = format!(
                "{} did not come off for a passing reason and are tried again",
                hosts(retrying)
            );
            return Held::new(HoldCode::Retry, HoldLifter::Time, text).wave(wave).positions(named);
        }
        let text = format!(
            "{} of this step have no outcome yet: {under_way} under way, {untaken} that have not \
             taken their order, {retrying} between two attempts; {} away",
            hosts(under_way + untaken + retrying),
            tally.of(Cell::Away)
        );
        Held::new(HoldCode::Ramp, HoldLifter::Hosts, text).wave(wave).positions(named)
    }

    fn is_silent(&self, wave: u32) -> Held {
        let tally = self.learnt_from(wave);
        let text = format!(
            "{} fell silent after they took their order, and {} said how it went; look at them, \
             or leave them out",
            hosts(tally.of(Cell::Silent)),
            tally.spoke()
        );
        self.about(HoldCode::Silent, HoldLifter::Hosts, text, wave, |cell| {
            matches!(cell, Cell::Silent)
        })
    }

    fn is_away(&self, wave: u32) -> Held {
        let tally = self.book.wave(wave).cells;
        let text = format!(
            "{} of wave {} are released and not there, so that too little can be learnt; it goes \
             on when they come, or are left out (at most {MOST_UNEXPOSED} times a step may come \
             back at once)",
            hosts(tally.unexposed()),
            self.wave_name(wave)
        );
        self.about(HoldCode::Away, HoldLifter::Hosts, text, wave, |cell| {
            matches!(cell, Cell::Away | Cell::Blocked | Cell::Released | Cell::Retrying)
        })
    }

    /// What the pace of the step looks at.
    fn learnt_from(&self, wave: u32) -> super::seat::Tally {
        let end = self.book.plan.positions(wave).end;
        if self.progress.step.is_some_and(|step| step.to >= end) {
            self.book.wave(wave).cells
        } else {
            self.book.step_tally
        }
    }

    fn settled(&self, wave: u32, since: Timestamp, facts: &Facts<'_>, now: Timestamp) -> Vec<Held> {
        let mut holds = Vec::new();
        if at(wave) + 1 >= self.progress.waves.len() {
            return holds;
        }
        let until = since.after(self.soak(wave));
        if now < until {
            let text = format!("wave {} is watched until {until}", self.wave_name(wave));
            let held = Held::new(HoldCode::Soak, HoldLifter::Time, text);
            holds.push(held.until(Some(until)).wave(wave));
        }
        if let Some((done, exposed)) = self.lacks_success(wave) {
            let share = self.spec.gate.success_share.unwrap_or_default();
            let text = format!(
                "{done} of {} exposed in wave {} are done, and {share} % must be; look at the \
                 others, leave them out, change the share, or abort",
                hosts(exposed),
                self.wave_name(wave)
            );
            holds.push(self.about(
                HoldCode::SuccessShare,
                HoldLifter::Person,
                text,
                wave,
                |cell| matches!(cell, Cell::Failed | Cell::Late | Cell::Decayed | Cell::Silent),
            ));
        }
        let checks = self.spec.checks.iter().filter_map(|check| unpassed(check, facts, now));
        holds.extend(checks.map(|held| held.wave(wave)));
        holds
    }

    fn lingering(&self) -> Option<Held> {
        let since = self.progress.lingers_from?;
        let until = since.after(self.spec.after.watch.duration());
        let total = self.book.total();
        let text = format!(
            "every wave is through; {} may yet come, and are waited for until {until}",
            hosts(total.unexposed() + total.under_way())
        );
        let named = self.named(0..u32::MAX, |cell| {
            matches!(
                cell,
                Cell::Away
                    | Cell::Blocked
                    | Cell::Released
                    | Cell::Retrying
                    | Cell::Running
                    | Cell::Handed
            )
        });
        let held = Held::new(HoldCode::Away, HoldLifter::Hosts, text).until(Some(until));
        Some(held.positions(named))
    }

    fn about(
        &self,
        code: HoldCode,
        lifted_by: HoldLifter,
        text: String,
        wave: u32,
        wanted: impl Fn(Cell) -> bool,
    ) -> Held {
        let positions = self.book.plan.positions(wave);
        let range = positions.start..positions.end.min(self.progress.released);
        Held::new(code, lifted_by, text).wave(wave).positions(self.named(range, wanted))
    }

    fn named(&self, range: Range<u32>, wanted: impl Fn(Cell) -> bool) -> Vec<u32> {
        let attempts = self.book.attempts();
        let wanted = |seat: Seat, position: u32| {
            wanted(seat.cell(position < self.progress.released, attempts))
        };
        self.book.find(range, Held::MOST_NAMED, wanted)
    }
}

/// What is waited for while hosts are taken back.
fn reverting() -> Held {
    let text = "its hosts are being taken back by a rollout of its own, which says what holds it";
    Held::new(HoldCode::Ramp, HoldLifter::Hosts, text.to_owned())
}

/// Why an external check holds, if it does.
fn unpassed(check: &CheckSpec, facts: &Facts<'_>, now: Timestamp) -> Option<Held> {
    let answer = answer_to(check, facts, now);
    let why =
        answer.and_then(|answer| answer.reason).map_or_else(String::new, |why| format!(": {why}"));
    let text = match answer.and_then(|answer| answer.verdict) {
        Some(CheckVerdict::Pass) => return None,
        Some(CheckVerdict::Inconclusive) => {
            format!("external check {} can't tell yet{why}", check.name)
        }
        Some(CheckVerdict::Fail) => format!("external check {} fails{why}", check.name),
        None => format!(
            "external check {} has not answered within the last {}",
            check.name, check.fresh
        ),
    };
    Some(Held::new(HoldCode::Check, HoldLifter::Outside, text))
}
