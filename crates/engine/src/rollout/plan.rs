//! What is fixed when a rollout starts: its waves, its strata, what the evidence is held against.

use handover_model::api::RolloutSpec;
use handover_model::{Millis, Platform, Version};
use serde::{Deserialize, Serialize};

use super::gate::{Baseline, BaselineError, Counts};

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

/// What a rollout's evidence is held against: the rate that its specification names, else what
/// the updates before it support.
///
/// # Errors
/// [`BaselineError::OutOfRange`] for a named rate outside of 0.1 % to 90 %.
pub fn baseline_of(spec: &RolloutSpec, earlier: Counts) -> Result<Baseline, BaselineError> {
    spec.gate
        .baseline
        .map_or_else(|| Ok(Baseline::of(earlier)), |percent| Baseline::named(percent / 100.0))
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
