//! Silence, period by period, each against the unexposed hosts of the same period.
//!
//! A period is what the caller makes it: a step of the ramp. Within one, hosts of one site that
//! fall silent count once, so that a site which loses its network is one piece of evidence.

use std::collections::HashMap;

use super::mixture::{Mixture, SILENT};
use super::{Baseline, Counts};

/// Where a host is, as far as silence is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Site {
    /// Nothing is known: a site of its own.
    Own,
    /// The site of that number, shared with others.
    Shared(u32),
}

/// What is known of silence. An update costs the same however many hosts there are. It adds up
/// again what lies in the touched period's block, and the blocks: sums, and not differences, so
/// that what comes out depends on the counts alone and not on their history.
#[derive(Debug, Clone, Default)]
pub struct Silence {
    periods: Vec<Period>,
    blocks: Vec<[f64; 4]>,
    silent_at: HashMap<(usize, u32), u32>,
    e: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
struct Period {
    exposed: u32,
    silent: u32,
    controls: Counts,
    mixture: Mixture<4>,
    ln_ratios: [f64; 4],
}

impl Silence {
    /// Nothing exposed, nothing silent.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hosts were exposed in a period. Periods are numbered from zero; one that was not mentioned
    /// before begins.
    pub fn expose(&mut self, period: usize, hosts: u32) {
        self.change(period, |period| period.exposed = period.exposed.saturating_add(hosts));
    }

    /// An exposed host is taken out of the evidence, by a person or because its order was
    /// withdrawn. A silent one comes back first, by [`Self::return_from`].
    pub fn unexpose(&mut self, period: usize) {
        self.change(period, |period| period.exposed = period.exposed.saturating_sub(1));
    }

    /// A host that was exposed in `period` fell silent.
    pub fn fall_silent(&mut self, period: usize, site: Site) {
        let is_first = match site {
            Site::Own => true,
            Site::Shared(number) => {
                let there = self.silent_at.entry((period, number)).or_default();
                *there += 1;
                *there == 1
            }
        };
        if is_first {
            self.change(period, |period| period.silent = period.silent.saturating_add(1));
        }
    }

    /// A host that had fallen silent reports again. Only for one that [`Self::fall_silent`] was
    /// told of, with the same period and site.
    pub fn return_from(&mut self, period: usize, site: Site) {
        let is_last = match site {
            Site::Own => true,
            Site::Shared(number) => match self.silent_at.get_mut(&(period, number)) {
                Some(there) if *there > 1 => {
                    *there -= 1;
                    false
                }
                Some(_) => self.silent_at.remove(&(period, number)).is_some(),
                None => false,
            },
        };
        if is_last {
            self.change(period, |period| period.silent = period.silent.saturating_sub(1));
        }
    }

    /// How many of the unexposed hosts that were present when the period began are silent now. It
    /// replaces what was said before of that period. Without it nothing in it is evidence.
    pub fn compare(&mut self, period: usize, controls: Counts) {
        self.change(period, |period| {
            if period.controls != controls {
                period.controls = controls;
                period.mixture = Mixture::new(&SILENT, Baseline::of(controls));
            }
        });
    }

    /// What a period has: the silent that count among the exposed, and the controls.
    pub fn of_period(&self, period: usize) -> Option<(Counts, Counts)> {
        self.periods.get(period).map(|period| (period.counts(), period.controls))
    }

    /// The evidence of all periods together; one when there are none.
    pub fn e(&self) -> f64 {
        self.e.unwrap_or(1.0)
    }

    fn change(&mut self, number: usize, act: impl FnOnce(&mut Period)) {
        if number >= self.periods.len() {
            self.periods.resize_with(number + 1, Period::new);
        }
        let Some(period) = self.periods.get_mut(number) else { return };
        act(period);
        period.ln_ratios = period.mixture.ln_ratios(period.counts());
        let mixture = period.mixture;
        let block = number / BLOCK;
        self.blocks.resize(self.periods.len().div_ceil(BLOCK), [0.0; 4]);
        let here = self.periods.chunks(BLOCK).nth(block).unwrap_or_default();
        let here = sum(here.iter().map(|period| period.ln_ratios));
        if let Some(kept) = self.blocks.get_mut(block) {
            *kept = here;
        }
        self.e = Some(mixture.e_of(&sum(self.blocks.iter().copied())));
    }
}

impl Period {
    fn new() -> Self {
        let controls = Counts::default();
        let mixture = Mixture::new(&SILENT, Baseline::of(controls));
        Self { exposed: 0, silent: 0, controls, mixture, ln_ratios: [0.0; 4] }
    }

    fn counts(&self) -> Counts {
        Counts { failures: self.silent, trials: self.exposed }
    }
}

/// Periods that are added up together. A rollout has some twenty; one that repeats its smallest
/// step over 100,000 hosts has 10,000.
const BLOCK: usize = 64;

fn sum(ratios: impl Iterator<Item = [f64; 4]>) -> [f64; 4] {
    let mut sums = [0.0; 4];
    for ratios in ratios {
        for (sum, ratio) in sums.iter_mut().zip(ratios) {
            *sum += ratio;
        }
    }
    sums
}
