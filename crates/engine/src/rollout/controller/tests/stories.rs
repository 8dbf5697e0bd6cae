//! Whole rollouts, told as tables of decisions with their reasons.

use super::*;

/// Compares a world's story with the one on file.
macro_rules! tells {
    ($world:expr, $name:literal) => {
        let (story, file) = ($world.story(), include_str!(concat!("golden/", $name, ".txt")));
        assert!(story == file, "not as told:\n<<<{}\n{story}>>>", $name);
    };
}

#[test]
fn a_good_release_goes_through_three_waves() {
    let mut world = World::new("", 1000);
    world.play(|_| Fate::Succeeds);
    tells!(world, "good");
}

#[test]
fn a_release_that_fails_one_time_in_ten_is_stopped_after_a_handful() {
    let mut world = World::new("", 1000);
    world.play(|position| if position % 10 == 3 { Fate::Fails } else { Fate::Succeeds });
    tells!(world, "one-in-ten");
}

#[test]
fn silent_hosts_are_no_successes() {
    let mut world = World::new(r#""deadline": "5m""#, 1000);
    world.play(|position| if position % 2 == 0 { Fate::FallsSilent } else { Fate::Succeeds });
    world.pass(300);
    world.look();
    world.pass(60);
    world.look();
    tells!(world, "silence");
}
