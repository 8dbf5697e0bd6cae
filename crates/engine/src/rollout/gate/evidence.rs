//! All evidence of a rollout, kept up to date event by event, and what it permits.

use super::mixture::{EXPLICIT, Mixture, STRATUM};
use super::{Baseline, Counts, EXPLICIT_WEIGHT, HALT_AT, SILENT_WEIGHT, STRATUM_WEIGHT, Silence};

/// The evidence of a rollout. It is a function of counts: told the same in another order, or
/// built anew from what is stored, it says the same.
///
/// Each update computes the evidence of the touched stratum and of the whole anew, no more.
#[derive(Debug, Clone)]
pub struct Evidence {
    explicit: Mixture<3>,
    stratum: Mixture<3>,
    total: Counts,
    e_explicit: f64,
    strata: Vec<Stratum>,
    /// Hosts that were exposed and fell silent.
    pub silence: Silence,
}

#[derive(Debug, Clone, Copy)]
struct Stratum {
    counts: Counts,
    e: f64,
}

/// What the evidence amounts to. One is none at all; less speaks for the release.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Of the explicit failures of all exposed hosts.
    pub e_explicit: f64,
    /// The mean over the strata.
    pub e_stratum_mean: f64,
    /// Of silence.
    pub e_silent: f64,
}

/// A part of the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Explicit failures, wherever they were.
    Explicit,
    /// Explicit failures inside strata.
    Stratum,
    /// Silence.
    Silent,
}

impl Evidence {
    /// No host exposed. `strata` is how many there are; they are numbered from zero.
    pub fn new(baseline: Baseline, strata: usize) -> Self {
        Self {
            explicit: Mixture::new(&EXPLICIT, baseline),
            stratum: Mixture::new(&STRATUM, baseline),
            total: Counts::default(),
            e_explicit: 1.0,
            strata: vec![Stratum { counts: Counts::default(), e: 1.0 }; strata],
            silence: Silence::new(),
        }
    }

    /// Hosts of a stratum were exposed: they acknowledged their orders. Until one fails it counts
    /// as a success. A stratum that was not there before begins.
    pub fn expose(&mut self, stratum: u16, hosts: u32) {
        self.change(stratum, |counts| counts.trials = counts.trials.saturating_add(hosts));
    }

    /// An exposed host is taken out of the evidence. One that failed is forgiven first, by
    /// [`Self::forgive`].
    pub fn unexpose(&mut self, stratum: u16) {
        self.change(stratum, |counts| counts.trials = counts.trials.saturating_sub(1));
    }

    /// An exposed host of a stratum failed explicitly.
    pub fn fail(&mut self, stratum: u16) {
        self.change(stratum, |counts| counts.failures = counts.failures.saturating_add(1));
    }

    /// A failure is taken back: the host proved the release after all, or is left out.
    pub fn forgive(&mut self, stratum: u16) {
        self.change(stratum, |counts| counts.failures = counts.failures.saturating_sub(1));
    }

    /// Failures among all exposed hosts.
    pub fn total(&self) -> Counts {
        self.total
    }

    /// Each stratum's counts and evidence, by number.
    pub fn strata(&self) -> impl ExactSizeIterator<Item = (Counts, f64)> + '_ {
        self.strata.iter().map(|stratum| (stratum.counts, stratum.e))
    }

    /// What it amounts to now.
    pub fn verdict(&self) -> Verdict {
        let sum: f64 = self.strata.iter().map(|stratum| stratum.e).sum();
        let strata = u32::try_from(self.strata.len()).unwrap_or(u32::MAX);
        Verdict {
            e_explicit: self.e_explicit,
            e_stratum_mean: if strata == 0 { 1.0 } else { sum / f64::from(strata) },
            e_silent: self.silence.e(),
        }
    }

    fn change(&mut self, number: u16, act: impl Fn(&mut Counts)) {
        let number = usize::from(number);
        if number >= self.strata.len() {
            let empty = Stratum { counts: Counts::default(), e: 1.0 };
            self.strata.resize(number + 1, empty);
        }
        let Some(stratum) = self.strata.get_mut(number) else { return };
        let before = stratum.counts;
        act(&mut stratum.counts);
        self.total = self.total.moved(before, stratum.counts);
        stratum.e = self.stratum.e(stratum.counts);
        self.e_explicit = self.explicit.e(self.total);
    }
}

impl Verdict {
    /// The weighted sum of all parts.
    pub fn combined(&self) -> f64 {
        EXPLICIT_WEIGHT * self.e_explicit
            + STRATUM_WEIGHT * self.e_stratum_mean
            + SILENT_WEIGHT * self.e_silent
    }

    /// Whether the rollout must halt.
    pub fn halts(&self) -> bool {
        self.combined() >= HALT_AT
    }

    /// Whether the next step may have twice as many hosts. Ask once every exposed host of the
    /// last step has an outcome, silence among them; before that it promises nothing.
    pub fn may_double(&self) -> bool {
        self.e_explicit <= 1.0 && self.e_silent <= 1.0 && !self.halts()
    }

    /// The part that weighs most: what a halt is about.
    pub fn leading(&self) -> Part {
        let explicit = EXPLICIT_WEIGHT * self.e_explicit;
        let stratum = STRATUM_WEIGHT * self.e_stratum_mean;
        let silent = SILENT_WEIGHT * self.e_silent;
        if silent > explicit && silent > stratum {
            Part::Silent
        } else if stratum > explicit {
            Part::Stratum
        } else {
            Part::Explicit
        }
    }
}
