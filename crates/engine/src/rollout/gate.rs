//! The sequential gate: what the evidence of a rollout permits, however often one looks.
//!
//! Each part of the evidence is an e-process, a mixture of likelihood ratios against a baseline;
//! under that baseline its chance ever to reach 1/α is at most α (Ville's inequality). Three parts
//! are weighed: explicit failures, failures inside one stratum, and silence against the unexposed
//! hosts of the same period. `docs/gates.md` derives it and has its error rates.
//!
//! Two readings of a host without an outcome, both on the safe side. To halt, it counts as a
//! success: tell the gate of every exposed host at once, by [`Evidence::expose`], and of its
//! failure when it comes. To advance, it counts as silent: a caller asks [`Verdict::may_double`]
//! only once every exposed host of the step has an outcome, of which silence is one.
//!
//! Only counts are here. Which hosts they are, deadlines, plain thresholds and waves belong to the
//! controller; nothing here knows an id or a time.
//!
//! ```
//! use handover_engine::rollout::gate::{Baseline, Counts, Evidence, FIRST_STEP, next_step};
//!
//! let baseline = Baseline::of(Counts { failures: 11, trials: 10_000 });
//! let mut evidence = Evidence::new(baseline, 4);
//! evidence.expose(0, FIRST_STEP);
//! assert!(evidence.verdict().may_double());
//! assert_eq!(next_step(FIRST_STEP, &evidence.verdict()), 20);
//! for _ in 0..4 {
//!     evidence.fail(0);
//! }
//! assert!(evidence.verdict().halts());
//! ```

mod bound;
mod evidence;
mod mixture;
mod silence;
#[cfg(test)]
mod tests;

pub use bound::{Baseline, BaselineError, CONFIDENCE, HIGHEST_RATE, LOWEST_BASELINE, upper_bound};
pub use evidence::{Evidence, Part, Verdict};
pub use mixture::{Counts, EXPLICIT, HIGHEST_E, Mixture, SILENT, STRATUM, Term};
pub use silence::{Silence, Site};

/// The weighted evidence at which a rollout halts.
pub const HALT_AT: f64 = 1000.0;

/// The weight of the explicit failures of all exposed hosts.
pub const EXPLICIT_WEIGHT: f64 = 0.6;

/// The weight of the mean over the strata.
pub const STRATUM_WEIGHT: f64 = 0.2;

/// The weight of silence.
pub const SILENT_WEIGHT: f64 = 0.2;

/// How many hosts the first step of a ramp has; more when there are more strata, one of each.
pub const FIRST_STEP: u32 = 10;

/// The size of the step after one of `last` hosts: twice as many while the evidence permits it,
/// else as many again.
pub fn next_step(last: u32, verdict: &Verdict) -> u32 {
    if verdict.may_double() { last.saturating_mul(2) } else { last }
}
