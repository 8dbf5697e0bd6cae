//! Upper bounds for a failure rate (Clopper & Pearson 1934), and the baseline that one becomes.

use handover_model::ErrorClass;
use serde::{Deserialize, Serialize};
use statrs::function::beta::beta_reg;
use statrs::function::gamma::ln_gamma;

use super::Counts;

/// How sure the bound is that the true rate lies below it.
pub const CONFIDENCE: f64 = 0.90;

/// No baseline lies below this: 0.1 %.
pub const LOWEST_BASELINE: f64 = 0.001;

/// No rate is taken to be higher, neither a baseline nor one that a baseline is compared with.
pub const HIGHEST_RATE: f64 = 0.9;

/// The rate that is expected of a release that is as good as those before: what the evidence is
/// held against. Always from 0.1 % to 90 %.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Baseline(f64);

/// Why a rate can't be a baseline.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BaselineError {
    /// It is not between the limits.
    #[error("{rate} can't be the baseline of a gate: name a rate from 0.001 to 0.9")]
    OutOfRange {
        /// What was named.
        rate: f64,
    },
}

impl BaselineError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::OutOfRange { .. } => ErrorClass::Permanent,
        }
    }
}

impl Baseline {
    /// The baseline that earlier counts support: the upper bound at 90 %, cut to the limits. With
    /// no trials it is the highest, against which nothing is evidence.
    pub fn of(earlier: Counts) -> Self {
        Self(upper_bound(earlier, CONFIDENCE).clamp(LOWEST_BASELINE, HIGHEST_RATE))
    }

    /// A baseline that a person names.
    ///
    /// # Errors
    ///
    /// [`BaselineError::OutOfRange`] unless it lies from 0.1 % to 90 %.
    pub fn named(rate: f64) -> Result<Self, BaselineError> {
        if (LOWEST_BASELINE..=HIGHEST_RATE).contains(&rate) {
            Ok(Self(rate))
        } else {
            Err(BaselineError::OutOfRange { rate })
        }
    }

    /// The rate, as a share of one.
    pub fn rate(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Baseline {
    type Error = BaselineError;

    fn try_from(rate: f64) -> Result<Self, Self::Error> {
        Self::named(rate)
    }
}

impl From<Baseline> for f64 {
    fn from(baseline: Baseline) -> Self {
        baseline.0
    }
}

/// The one-sided Clopper–Pearson upper bound: the rate at which so few failures have a chance of
/// one minus `confidence`. One when there are no trials, or when all of them failed.
///
/// `confidence` lies between 0 and 1, both excluded.
pub fn upper_bound(counts: Counts, confidence: f64) -> f64 {
    let Counts { failures, trials } = counts.checked();
    if failures == trials {
        return 1.0;
    }
    let (a, b) = (f64::from(failures) + 1.0, f64::from(trials - failures));
    if failures == 0 {
        return -((1.0 - confidence).ln() / b).exp_m1();
    }
    quantile(a, b, confidence)
}

/// The point below which the share `confidence` of a beta distribution lies: Newton's method, held
/// inside a bracket that shrinks with each look, so that it ends wherever it starts.
fn quantile(a: f64, b: f64, confidence: f64) -> f64 {
    let ln_beta = ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b);
    let (mut low, mut high) = (0.0, 1.0);
    let mean = a / (a + b);
    let mut rate = (mean + (mean * (1.0 - mean) / (a + b)).sqrt()).min(0.5 * (1.0 + mean));
    for _ in 0..LOOKS {
        let excess = beta_reg(a, b, rate) - confidence;
        if excess > 0.0 {
            high = rate;
        } else {
            low = rate;
        }
        let density = ((a - 1.0) * rate.ln() + (b - 1.0) * (-rate).ln_1p() - ln_beta).exp();
        let newton = rate - excess / density;
        let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
        if (next - rate).abs() <= PRECISION * rate {
            return next;
        }
        rate = next;
    }
    rate
}

/// Halving a bracket so often reaches the precision alone.
const LOOKS: u32 = 100;

/// The relative step at which the search ends.
const PRECISION: f64 = 1e-12;
