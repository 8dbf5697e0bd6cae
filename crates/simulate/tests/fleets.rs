//! A few fleets in every gate; thousands by `make simulate`.

use std::sync::Arc;

use handover_simulate::play;
use handover_simulate::shelf::Shelf;

fn shelf() -> Arc<Shelf> {
    Shelf::make().expect("a repository can be made")
}

#[test]
fn the_same_seed_is_the_same_story_to_the_byte() {
    // Shelves differ in every key that they hold.
    let (one, two) = (play(3, &shelf(), false), play(3, &shelf(), false));
    let (one, two) = (one.expect("it plays"), two.expect("it plays"));
    assert_eq!(one.tail, two.tail);
    assert_eq!(one.digest, two.digest);
    let other = play(4, &shelf(), false).expect("it plays");
    assert_ne!(one.digest, other.digest);
}

#[test]
fn fleets_keep_what_is_promised() {
    let shelf = shelf();
    for seed in 1..=4 {
        let ending = play(seed, &shelf, false).expect("it plays");
        assert_eq!(ending.broken, None, "make simulate SEEDS={seed}\n{}", ending.tail);
    }
}
