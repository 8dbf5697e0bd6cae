//! Draws from a printed seed: splitmix64, and counts by inversion, so that a rollout over 100,000
//! hosts costs as many draws as it has steps and silent hosts.

/// Draws numbers. The same seed and stream draw the same.
#[derive(Debug)]
pub(crate) struct Dice {
    state: u64,
}

/// Logarithms of factorials, up to a fleet's size.
#[derive(Debug)]
pub(crate) struct LnFactorials(Vec<f64>);

impl LnFactorials {
    pub(crate) fn up_to(largest: u32) -> Self {
        let mut sum = 0.0;
        let rest = (1..=largest).map(|number| {
            sum += f64::from(number).ln();
            sum
        });
        Self(std::iter::once(0.0).chain(rest).collect())
    }

    fn of(&self, number: u32) -> f64 {
        usize::try_from(number).ok().and_then(|at| self.0.get(at)).copied().unwrap_or(f64::INFINITY)
    }

    fn ln_choose(&self, from: u32, take: u32) -> f64 {
        self.of(from) - self.of(take) - self.of(from - take)
    }
}

/// Where counts are drawn around: the most likely one, and how likely it is.
struct Mode {
    at: u32,
    chance: f64,
}

impl Dice {
    /// One stream of a seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self { state: seed ^ stream.wrapping_mul(0x2545_f491_4f6c_dd1d) };
        dice.state = dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn word(&mut self) -> u32 {
        u32::try_from(self.next() >> 32).unwrap_or(u32::MAX)
    }

    /// From 0 up to, and without, 1.
    fn unit(&mut self) -> f64 {
        let (high, low) = (self.word(), self.word());
        (f64::from(high) + f64::from(low) / 4_294_967_296.0) / 4_294_967_296.0
    }

    /// One of so many numbers, from zero.
    pub(crate) fn below(&mut self, many: u32) -> u32 {
        u32::try_from((u64::from(self.word()) * u64::from(many)) >> 32).unwrap_or(0)
    }

    /// How many of `trials` come about when each does with a chance of `ppm` in a million.
    pub(crate) fn binomial(&mut self, table: &LnFactorials, trials: u32, ppm: u32) -> u32 {
        if trials == 0 || ppm == 0 {
            return 0;
        }
        if ppm >= 1_000_000 {
            return trials;
        }
        let chance = f64::from(ppm) / 1e6;
        let at = (u64::from(trials) + 1) * u64::from(ppm) / 1_000_000;
        let at = u32::try_from(at).unwrap_or(trials).min(trials);
        let ln = table.ln_choose(trials, at)
            + f64::from(at) * chance.ln()
            + f64::from(trials - at) * (-chance).ln_1p();
        let odds = chance / (1.0 - chance);
        self.around(&Mode { at, chance: ln.exp() }, |count| {
            f64::from(trials - count) / f64::from(count + 1) * odds
        })
    }

    /// How many marked ones are among `drawn` of `total`, of which `marked` are marked.
    pub(crate) fn hypergeometric(
        &mut self,
        table: &LnFactorials,
        total: u32,
        marked: u32,
        drawn: u32,
    ) -> u32 {
        if marked == 0 || drawn == 0 {
            return 0;
        }
        if drawn >= total {
            return marked;
        }
        let most = marked.min(drawn);
        let least = (marked + drawn).saturating_sub(total);
        let at = (u64::from(drawn) + 1) * (u64::from(marked) + 1) / (u64::from(total) + 2);
        let at = u32::try_from(at).unwrap_or(most).clamp(least, most);
        let ln = table.ln_choose(marked, at) + table.ln_choose(total - marked, drawn - at)
            - table.ln_choose(total, drawn);
        self.around(&Mode { at, chance: ln.exp() }, |count| {
            if count < least || count >= most {
                return 0.0;
            }
            let ways = f64::from(marked - count) * f64::from(drawn - count);
            ways / (f64::from(count + 1) * f64::from(total + count + 1 - marked - drawn))
        })
    }

    /// Inversion that starts at the mode and walks to both sides. `up` is how much likelier the
    /// next count is than this one; zero at and beyond the last.
    fn around(&mut self, mode: &Mode, up: impl Fn(u32) -> f64) -> u32 {
        let mut left = self.unit() - mode.chance;
        let (mut low, mut low_chance) = (mode.at, mode.chance);
        let (mut high, mut high_chance) = (mode.at, mode.chance);
        while left >= 0.0 {
            high_chance *= up(high);
            high += u32::from(high_chance > 0.0);
            left -= high_chance;
            if left < 0.0 {
                return high;
            }
            if low > 0 {
                let down = up(low - 1);
                low_chance = if down > 0.0 { low_chance / down } else { 0.0 };
                low -= u32::from(low_chance > 0.0);
                left -= low_chance;
                if left < 0.0 {
                    return low;
                }
            } else {
                low_chance = 0.0;
            }
            // What rounding left over.
            if high_chance < 1e-18 && low_chance < 1e-18 {
                break;
            }
        }
        mode.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 11;

    /// Mean and variance of 20,000 draws.
    fn moments(mut draw: impl FnMut() -> u32) -> (f64, f64) {
        let draws: Vec<f64> = (0..20_000).map(|_| f64::from(draw())).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        (mean, draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / 20_000.0)
    }

    fn assert_moments((mean, variance): (f64, f64), expected_mean: f64, expected: f64) {
        let error = 5.0 * (expected / 20_000.0).sqrt();
        assert!((mean - expected_mean).abs() <= error, "mean {mean}, seed {SEED}");
        assert!((variance / expected - 1.0).abs() < 0.08, "variance {variance}, seed {SEED}");
    }

    #[test]
    fn drawn_counts_have_the_mean_and_the_variance_of_their_law() {
        let table = LnFactorials::up_to(100_000);
        let mut dice = Dice::new(SEED, 0);
        for (trials, ppm) in [(10, 100_000), (10_000, 1_000), (50_000, 20_000), (7, 999_000)] {
            let (n, p) = (f64::from(trials), f64::from(ppm) / 1e6);
            let found = moments(|| dice.binomial(&table, trials, ppm));
            assert_moments(found, n * p, n * p * (1.0 - p));
        }
        for (total, marked, drawn) in [(100_000, 100, 5_000), (1_000, 300, 900), (60, 59, 30)] {
            let (n, m, d) = (f64::from(total), f64::from(marked), f64::from(drawn));
            let found = moments(|| dice.hypergeometric(&table, total, marked, drawn));
            let variance = d * m / n * (n - m) / n * (n - d) / (n - 1.0);
            assert_moments(found, d * m / n, variance);
        }
    }

    #[test]
    fn a_seed_draws_the_same_again_and_another_stream_does_not() {
        let draw = |stream| {
            let mut dice = Dice::new(SEED, stream);
            (0..8).map(|_| dice.below(1_000_000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }
}
