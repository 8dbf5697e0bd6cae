//! Random histories: the order and number of events changes nothing, nor does a restart.

use proptest::prelude::*;

use super::*;
use handover_model::api::MemberOutcome;

const MEMBERS: u32 = 60;

fn outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![
        Outcome::Done,
        Outcome::Done,
        Outcome::Done,
        Outcome::Failed,
        Outcome::Passing,
        Outcome::Refused,
        Outcome::Withdrawn,
    ])
}

/// What orders said of some members: each attempt handed out, perhaps acknowledged, perhaps ended.
fn orders() -> impl Strategy<Value = Vec<Event>> {
    let member = (0..MEMBERS, 1_u32..3, 0_i64..100, 0_u8..3, outcome(), any::<bool>());
    prop::collection::vec(member, 0..80).prop_map(|members| {
        let mut ended = BTreeMap::new();
        let mut events = Vec::new();
        for (position, attempt, from, far, outcome, decayed) in members {
            let from = second(from);
            events.push(Event::HandedOut { position, attempt, from });
            if far > 0 {
                events.push(Event::Exposed { position, attempt, from });
            }
            if far > 1 {
                // An order ends once: whatever is said of it later is the same.
                let outcome = *ended.entry((position, attempt)).or_insert(outcome);
                events.push(Event::Ended { position, attempt, outcome, at: from });
                if decayed && outcome == Outcome::Done {
                    events.push(Event::Decayed { position });
                }
            }
        }
        events
    })
}

/// A world whose first members are released, whatever became of them.
fn open() -> World {
    let gate = r#""gate": {"first": 60, "failures_share": null, "sequential": false},
                  "deadline": "5m", "strategy": {"kind": "immediate"}"#;
    let mut world = World::new(gate, MEMBERS);
    world.look();
    assert_eq!(world.controller.progress().released, MEMBERS);
    world
}

fn picture(controller: &Controller) -> (String, Vec<MemberOutcome>) {
    let outcomes = (0..MEMBERS).map(|position| controller.outcome(position)).collect();
    (format!("{:?} {:?}", controller.counts(), controller.evidence()), outcomes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_order_and_number_of_events_changes_nothing(
        events in orders(),
        keys in prop::collection::vec(any::<u32>(), 400),
        late in 0_u64..1000,
    ) {
        let mut straight = open();
        for event in &events {
            straight.tell(*event);
        }
        let mut mixed: Vec<(u32, Event)> =
            keys.iter().copied().zip(events.iter().chain(&events).copied()).collect();
        // Whatever did not get a key is told in order.
        let told = mixed.len();
        mixed.sort_by_key(|(key, _)| *key);
        let mut other = open();
        let rest = events.iter().chain(&events).skip(told);
        for event in mixed.iter().map(|(_, event)| event).chain(rest) {
            other.tell(*event);
        }
        prop_assert_eq!(picture(&straight.controller), picture(&other.controller));
        for world in [&mut straight, &mut other] {
            world.pass(late);
            world.decide();
        }
        prop_assert_eq!(picture(&straight.controller), picture(&other.controller));
    }

    #[test]
    fn a_controller_that_was_opened_anew_decides_as_the_one_before(
        members in 1_u32..300,
        fates in prop::collection::vec(0_u8..20, 1..40),
        rounds in 1_usize..12,
        gone in prop::collection::btree_set(0_u32..300, 0..60),
    ) {
        let fate = |position: u32| {
            match fates[usize::try_from(position).unwrap() % fates.len()] {
                0 => Fate::Fails,
                1 => Fate::FallsSilent,
                2 => Fate::Lapses,
                3 => Fate::Refuses,
                _ => Fate::Succeeds,
            }
        };
        let mut world = World::new(r#""deadline": "2m""#, members);
        world.gone = gone;
        world.decide();
        for _ in 0..rounds {
            world.round(fate);
            world.pass(45);
            world.decide();
        }
        let mut reopened = world.reopened();
        // Both listen for as long as it takes to tell who is silent.
        for _ in 0..2 {
            let told = world.told.len();
            world.tell_who_went();
            for event in &world.told[told..] {
                reopened.handle(*event);
            }
            for _ in 0..2 {
                std::mem::swap(&mut reopened, &mut world.controller);
                world.decide();
            }
            world.pass(61 + 121);
        }
        prop_assert_eq!(picture(&reopened), picture(&world.controller));
        prop_assert_eq!(reopened.progress().released, world.controller.progress().released);
        prop_assert_eq!(reopened.progress().state, world.controller.progress().state);
    }

    #[test]
    fn nobody_is_released_before_the_gate_lets_them(
        members in 1_u32..2000,
        fates in prop::collection::vec(0_u8..30, 1..40),
        first in 1_u32..30,
    ) {
        let fate = |position: u32| {
            match fates[usize::try_from(position).unwrap() % fates.len()] {
                0 => Fate::Fails,
                1 => Fate::FallsSilent,
                2 => Fate::Refuses,
                _ => Fate::Succeeds,
            }
        };
        let spec = format!(r#""deadline": "2m", "gate": {{"first": {first}}}"#);
        let mut world = World::new(&spec, members);
        let mut released = 0;
        for _ in 0..60 {
            world.decide();
            let counts = world.controller.counts();
            prop_assert!(counts.released >= released, "released never shrinks");
            if counts.released > released {
                // Whatever was released before has an outcome, or is not there.
                let open = (0..released).filter(|position| {
                    matches!(
                        world.controller.outcome(*position),
                        MemberOutcome::Running | MemberOutcome::Released
                    )
                });
                prop_assert_eq!(open.count(), 0);
            }
            released = counts.released;
            world.round(fate);
            world.pass(60);
        }
    }
}
