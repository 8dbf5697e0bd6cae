//! Dice for jitter, on a seed. Not for secrets.

/// `SplitMix64`: small, well spread, replayable.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that start at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, evenly spread over all of them.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` up to `high`, both included; `low` when the bounds are crossed.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        match high.checked_sub(low).and_then(|span| span.checked_add(1)) {
            Some(sides) => low + self.roll() % sides,
            None if low == 0 && high == u64::MAX => self.roll(),
            None => low,
        }
    }
}
