//! Counts, and the mixtures of likelihood ratios that weigh them.

use serde::{Deserialize, Serialize};

use super::{Baseline, HIGHEST_RATE};

/// How many failed among how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Counts {
    /// How many failed; one that exceeds `trials` is read as all of them.
    pub failures: u32,
    /// How many there were.
    pub trials: u32,
}

impl Counts {
    /// The same, with no more failures than trials.
    pub(super) fn checked(self) -> Self {
        Self { failures: self.failures.min(self.trials), ..self }
    }

    /// A total after one of its parts changed.
    pub(super) fn moved(self, before: Self, after: Self) -> Self {
        let moved = |total: u32, before: u32, after: u32| {
            total.saturating_sub(before).saturating_add(after)
        };
        Self {
            failures: moved(self.failures, before.failures, after.failures),
            trials: moved(self.trials, before.trials, after.trials),
        }
    }
}

/// One alternative of a mixture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Term {
    /// By how much the rate is higher than the baseline; it is cut at 90 %.
    pub times: f64,
    /// Its share of the mixture.
    pub weight: f64,
}

/// Explicit failures, whatever the host.
pub const EXPLICIT: [Term; 3] = [term(5.0, 0.1), term(15.0, 0.6), term(100.0, 0.3)];

/// Explicit failures inside one stratum.
pub const STRATUM: [Term; 3] = [term(15.0, 0.3), term(100.0, 0.4), term(500.0, 0.3)];

/// Silence.
pub const SILENT: [Term; 4] = [term(1.5, 0.2), term(2.5, 0.25), term(5.0, 0.4), term(15.0, 0.15)];

/// A mixture against one baseline: E(K, n) = Σ wⱼ (pⱼ/p₀)^K ((1 − pⱼ)/(1 − p₀))^(n − K).
///
/// All fields are logarithms, and sums are taken of them, so that a million hosts neither overflow
/// nor vanish.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixture<const N: usize> {
    weights: [f64; N],
    of_failure: [f64; N],
    of_success: [f64; N],
}

impl<const N: usize> Mixture<N> {
    /// Prepares the terms for a baseline.
    pub fn new(terms: &[Term; N], baseline: Baseline) -> Self {
        let p0 = baseline.rate();
        let rates = terms.map(|term| (term.times * p0).min(HIGHEST_RATE).max(p0));
        Self {
            weights: terms.map(|term| term.weight.ln()),
            of_failure: rates.map(|rate| (rate / p0).ln()),
            of_success: rates.map(|rate| (-rate).ln_1p() - (-p0).ln_1p()),
        }
    }

    /// The evidence that counts are: one when there are none, above it against the baseline.
    /// Always finite: beyond [`HIGHEST_E`] it stays there.
    pub fn e(&self, counts: Counts) -> f64 {
        self.e_of(&self.ln_ratios(counts))
    }

    /// The logarithm of each term's likelihood ratio. Those of periods with baselines of their own
    /// add up, since the terms are multiples of each.
    pub(super) fn ln_ratios(&self, counts: Counts) -> [f64; N] {
        let Counts { failures, trials } = counts.checked();
        let (failed, held) = (f64::from(failures), f64::from(trials - failures));
        let mut ratios = self.of_success;
        for (ratio, of_failure) in ratios.iter_mut().zip(self.of_failure) {
            *ratio = failed * of_failure + held * *ratio;
        }
        ratios
    }

    /// What logarithms of likelihood ratios weigh together.
    pub(super) fn e_of(&self, ln_ratios: &[f64; N]) -> f64 {
        let terms = || self.weights.iter().zip(ln_ratios).map(|(weight, ratio)| weight + ratio);
        let largest = terms().fold(f64::NEG_INFINITY, f64::max);
        let rest: f64 = terms().map(|term| (term - largest).exp()).sum();
        (largest + rest.ln()).exp().min(HIGHEST_E)
    }
}

/// What evidence is cut at, so that it can be added, multiplied by a weight and written as JSON.
pub const HIGHEST_E: f64 = 1e300;

const fn term(times: f64, weight: f64) -> Term {
    Term { times, weight }
}
