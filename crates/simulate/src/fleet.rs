//! One story from its seed to its end.

use std::sync::Arc;
use std::time::Duration;

use handover_model::Digest;

use crate::scenario::Scenario;
use crate::shelf::Shelf;
use crate::story::Story;
use crate::world::World;

/// How a story ended.
#[derive(Debug)]
pub struct Ending {
    /// Its seed.
    pub seed: u64,
    /// How many hosts it had.
    pub hosts: usize,
    /// How long it lasted, in its own time.
    pub lasted: Duration,
    /// What was broken, if anything was.
    pub broken: Option<String>,
    /// The digest of its trace.
    pub digest: Digest,
    /// The trace's last lines.
    pub tail: String,
    /// What was played.
    pub scenario: Scenario,
    /// What came of it, in a few words.
    pub verdict: String,
}

/// Plays the story of `seed`.
///
/// # Errors
/// When the simulator itself can't go on; what it finds is in the ending.
pub fn play(seed: u64, shelf: &Arc<Shelf>, is_loud: bool) -> anyhow::Result<Ending> {
    let scenario = Scenario::draw(seed);
    let mut world = World::new(seed, scenario.clone(), shelf, Story::new(is_loud))?;
    let broken = run(&mut world).err().map(|error| format!("{error:#}"));
    Ok(Ending {
        seed,
        hosts: world.hosts.len(),
        lasted: world.at,
        digest: world.story.digest(),
        tail: world.story.tail(),
        verdict: world.verdict(),
        broken,
        scenario,
    })
}

fn run(world: &mut World) -> anyhow::Result<()> {
    while !world.is_over() && world.step()? {}
    world.check_end()
}
