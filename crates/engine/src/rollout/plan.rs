//! What is fixed when a rollout starts: its waves, its strata, what the evidence is held against.

use handover_model::api::RolloutSpec;
use handover_model::{Millis, Platform, Version};
use serde::{Deserialize, Serialize};

use super::gate::{Baseline, BaselineError, Counts, HIGHEST_RATE};

/// The plan of a rollout, drawn when it starts. Everything that must not move under a running
/// rollout is in here; thresholds that a person may change meanwhile stay in the specification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What places the members: drawn after membership was known.
    #[serde(with = "hexadecimal")]
    pub seed: [u8; 32],
    /// The waves, in order. Each ends where the next begins; the last ends with the roster.
    pub waves: Vec<WavePlan>,
    /// The strata, by number.
    pub strata: Vec<StratumPlan>,
    /// What the evidence is held against.
    pub baseline: Baseline,
}

/// One wave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WavePlan {
    /// Its name: `5 %`, or as the specification says.
    pub name: String,
    /// The position after its last member.
    pub end: u32,
    /// Whether it waits for a person before it begins.
    #[serde(default)]
    pub approval: bool,
    /// Whether it holds the members that no other wave took.
    #[serde(default)]
    pub catch_all: bool,
    /// Its own soak time, instead of the gate's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Millis>,
    /// How many members lead it so that its first step has one of each stratum.
    #[serde(default)]
    pub strata_first: u32,
}

/// One stratum: members of one platform that come from one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StratumPlan {
    /// Their platform.
    pub platform: Platform,
    /// The version that they come from; absent: none of the component is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Version>,
    /// How many there are.
    pub members: u32,
}

impl Plan {
    /// How many members there are.
    pub fn members(&self) -> u32 {
        self.waves.last().map_or(0, |wave| wave.end)
    }

    /// The positions of a wave; empty when there is no such wave.
    pub fn positions(&self, wave: u32) -> std::ops::Range<u32> {
        let Ok(wave) = usize::try_from(wave) else { return 0..0 };
        let begin = match wave.checked_sub(1) {
            None => 0,
            Some(before) => self.waves.get(before).map_or(0, |wave| wave.end),
        };
        self.waves.get(wave).map_or(0..0, |wave| begin..wave.end)
    }

    /// The wave of a position; the last one for positions beyond the roster.
    pub fn wave_of(&self, position: u32) -> u32 {
        let wave = self.waves.partition_point(|wave| wave.end <= position);
        u32::try_from(wave.min(self.waves.len().saturating_sub(1))).unwrap_or(u32::MAX)
    }
}

/// How many updates must have ended before their failures alone say what to expect.
pub const ENOUGH_EARLIER: u32 = 500;

/// What is expected while too few updates have ended: one failure in a hundred. With nothing to go
/// by, the bound that earlier updates support would be so high that nothing is evidence.
pub const ASSUMED: f64 = 0.01;

/// What a rollout's evidence is held against: the rate that its specification names; else what
/// the updates before it support; else, where they are fewer than [`ENOUGH_EARLIER`], what is
/// [`ASSUMED`], or their own share where that is higher.
///
/// # Errors
/// [`BaselineError::OutOfRange`] for a named rate outside of 0.1 % to 90 %.
pub fn baseline_of(spec: &RolloutSpec, earlier: Counts) -> Result<Baseline, BaselineError> {
    if let Some(percent) = spec.gate.baseline {
        return Baseline::named(percent / 100.0);
    }
    if is_assumed(spec, earlier) {
        let seen = f64::from(earlier.failures) + 1.0;
        let share = seen / (f64::from(earlier.trials) + 1.0 / ASSUMED);
        return Baseline::named(share.clamp(ASSUMED, HIGHEST_RATE));
    }
    Ok(Baseline::of(earlier))
}

/// Whether a rollout's baseline rests on an assumption: its specification names none, and too few
/// updates have ended. People are told before it begins.
pub fn is_assumed(spec: &RolloutSpec, earlier: Counts) -> bool {
    spec.gate.baseline.is_none() && earlier.trials < ENOUGH_EARLIER
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(gate: &str, failures: u32, trials: u32) -> f64 {
        let text = format!(
            r#"{{"name": "web-2", "component": "web", "to": "2.0.0", "select": "name = x",
                 "gate": {gate}}}"#
        );
        let spec = serde_json::from_str(&text).unwrap();
        baseline_of(&spec, Counts { failures, trials }).unwrap().rate()
    }

    #[test]
    fn a_young_database_expects_one_failure_in_a_hundred_and_learns() {
        assert!((rate("{}", 0, 0) - 0.01).abs() < 1e-12);
        assert!((rate("{}", 0, 499) - 0.01).abs() < 1e-12);
        assert!((rate("{}", 1, 1) - 2.0 / 101.0).abs() < 1e-12, "one failure blinds nobody");
        assert!((rate("{}", 30, 100) - 31.0 / 200.0).abs() < 1e-12);
        assert!(rate("{}", 0, 500) < 0.005, "then the bound is taken");
        assert!((rate(r#"{"baseline": 2}"#, 0, 0) - 0.02).abs() < 1e-12, "a person knows better");
    }
}

mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(seed: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(seed))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let mut seed = [0; 32];
        let text = String::deserialize(from)?;
        hex::decode_to_slice(text, &mut seed).map_err(serde::de::Error::custom)?;
        Ok(seed)
    }
}
