//! Many rollouts, each with a stream of draws of its own, on as many threads as there are cores.

use std::thread;

use super::dice::Dice;
use super::fleet::{Fleet, World};
use super::play::{Played, Rule, play};

/// What to play, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Campaign<'a> {
    pub(crate) seed: u64,
    pub(crate) fleet: &'a Fleet,
    pub(crate) world: World,
    pub(crate) rule: Rule,
    pub(crate) rollouts: u32,
}

/// What came of all of them.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) rollouts: u32,
    pub(crate) halted: u32,
    exposed: Vec<u32>,
    last: Vec<u32>,
    steps: Vec<u32>,
}

impl Campaign<'_> {
    /// Plays them. What comes of it doesn't depend on the number of threads.
    pub(crate) fn run(&self) -> Found {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads = u32::try_from(threads).unwrap_or(1);
        let played: Vec<Played> = thread::scope(|scope| {
            let part = |first| scope.spawn(move || self.part(first, threads));
            let parts: Vec<_> = (0..threads).map(part).collect();
            let join = |part: thread::ScopedJoinHandle<'_, _>| match part.join() {
                Ok(played) => played,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            parts.into_iter().flat_map(join).collect()
        });
        Found::of(&played)
    }

    fn part(&self, first: u32, threads: u32) -> Vec<Played> {
        let mine = (first..self.rollouts).step_by(usize::try_from(threads).unwrap_or(1));
        let one = |number| {
            let mut dice = Dice::new(self.seed, u64::from(number));
            play(self.fleet, &self.world, self.rule, &mut dice)
        };
        mine.map(one).collect()
    }
}

impl Found {
    /// Of so many rollouts.
    pub(crate) fn of(played: &[Played]) -> Self {
        let sorted = |of: fn(&Played) -> u32| {
            let mut values: Vec<u32> = played.iter().map(of).collect();
            values.sort_unstable();
            values
        };
        Self {
            rollouts: u32::try_from(played.len()).unwrap_or(u32::MAX),
            halted: played.iter().map(|played| u32::from(played.has_halted)).sum(),
            exposed: sorted(|played| played.exposed),
            last: sorted(|played| played.exposed_of_last),
            steps: sorted(|played| played.steps),
        }
    }

    /// Hosts that were exposed, below which so many percent of the rollouts lie.
    pub(crate) fn exposed(&self, percent: usize) -> u32 {
        at(&self.exposed, percent)
    }

    /// The same, of the last stratum.
    pub(crate) fn last(&self, percent: usize) -> u32 {
        at(&self.last, percent)
    }

    /// Steps of the ramp, below which so many percent of the rollouts lie.
    pub(crate) fn steps(&self, percent: usize) -> u32 {
        at(&self.steps, percent)
    }
}

fn at(sorted: &[u32], percent: usize) -> u32 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * percent / 100).min(last)).copied().unwrap_or_default()
}
