//! Dice: one seed, one stream per purpose.

use handover_agent::dice::Dice as Stream;
use handover_model::Digest;

/// What dice are thrown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// What is played.
    Scenario,
    /// What people do.
    Person,
    /// What the network does.
    Network,
    /// When processes and hosts die.
    Faults,
    /// When the server dies.
    Server,
    /// When the server takes its turns.
    Turns,
    /// What one host's programs draw.
    Host(usize),
    /// How one host and its releases behave.
    Conduct(usize),
    /// When one host's processes and its power fail.
    HostFaults(usize),
    /// Ids and jitter of the server.
    Ids,
}

/// Dice for one purpose.
#[derive(Debug, Clone)]
pub struct Dice(Stream);

/// A seed for one purpose.
pub fn seed_of(seed: u64, purpose: Purpose) -> [u8; 32] {
    *Digest::of(format!("{seed} {purpose:?}").as_bytes()).as_bytes()
}

impl Dice {
    /// Dice for `purpose`.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        let bytes = seed_of(seed, purpose);
        let mut first = [0; 8];
        first.copy_from_slice(&bytes[..8]);
        Self(Stream::new(u64::from_be_bytes(first)))
    }

    /// A number from `low` up to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.between(low, high)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0.roll()
    }

    /// Whether something happens that happens so many times in a million.
    pub fn chance(&mut self, in_a_million: u64) -> bool {
        self.0.between(0, 999_999) < in_a_million
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let last = u64::try_from(of.len().saturating_sub(1)).unwrap_or(0);
        let at = usize::try_from(self.between(0, last)).unwrap_or(0);
        &of[at]
    }
}
