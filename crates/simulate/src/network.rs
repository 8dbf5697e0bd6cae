//! The network: what it loses, repeats, delays and cuts off.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::dice::{Dice, Purpose};
use crate::scenario::Weather;

/// The network between hosts and the server.
#[derive(Debug)]
pub(crate) struct Network {
    dice: Dice,
    weather: Weather,
    /// Sites that are cut off.
    cut: BTreeSet<usize>,
}

impl Network {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        Self { dice: Dice::new(seed, Purpose::Network), weather, cut: BTreeSet::new() }
    }

    /// After what times copies of a message arrive: none, one, or more.
    pub(crate) fn carry(&mut self, site: usize) -> Vec<Duration> {
        if self.cut.contains(&site) {
            return Vec::new();
        }
        let mut copies = Vec::new();
        if !self.dice.chance(self.weather.loss) {
            copies.push(self.delay());
        }
        if self.dice.chance(self.weather.repeats) {
            copies.push(self.delay());
        }
        copies
    }

    /// Delays vary so that messages overtake each other.
    fn delay(&mut self) -> Duration {
        let usual = self.dice.between(5, 150);
        let length = if self.dice.chance(self.weather.stalls) {
            usual.saturating_add(self.dice.between(1_000, 90_000))
        } else {
            usual
        };
        Duration::from_millis(length)
    }

    pub(crate) fn cut(&mut self, site: usize) {
        self.cut.insert(site);
    }

    pub(crate) fn mend(&mut self, site: usize) {
        self.cut.remove(&site);
    }

    /// From now on nothing is lost.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.weather = Weather::default();
    }
}
