use std::collections::{BTreeMap, BTreeSet};

use handover_model::wire::Expect;
use handover_model::{AgentId, IdGen};
use proptest::prelude::*;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn id(n: u8) -> OrderId {
    OrderId::mint(&mut IdGen::new([n; 32]), at(0))
}

fn order(n: u8, epoch: u64, sequence: u64) -> AgentOrder {
    AgentOrder {
        type_: AgentOrder::TYPE.to_owned(),
        id: id(n),
        agent: AgentId::mint(&mut IdGen::new([1; 32]), at(0)),
        place: Place { epoch, sequence },
        action: Action::Update { component: "web".parse().unwrap(), to: None },
        expect: Some(Expect { current: None }),
        issued: at(0),
        expires: at(1000),
        reason: None,
        activate: None,
    }
}

fn received(ledger: &OrderLedger, order: &AgentOrder, now: Timestamp) -> OrderLedger {
    match ledger.receive_any(order, now) {
        Reception::Taken(next) => next,
        other @ (Reception::Known | Reception::Stale(_)) => panic!("{other:?}"),
    }
}

fn ending(ledger: &OrderLedger, n: u8) -> Option<Ending> {
    match &ledger.find(id(n)).unwrap().stand {
        Stand::Ended(ending) => Some(ending.clone()),
        Stand::Accepted | Stand::Running { .. } => None,
    }
}

fn code(ledger: &OrderLedger, n: u8) -> String {
    ending(ledger, n).unwrap().code.unwrap()
}

#[test]
fn the_same_order_twice_is_one_order() {
    let ledger = received(&OrderLedger::default(), &order(1, 1, 1), at(1));
    assert_eq!(ledger.receive_any(&order(1, 1, 1), at(2)), Reception::Known);
    // Not even when the control plane contradicts itself under one id.
    let mut other = order(1, 1, 9);
    other.action = Action::Retire;
    assert_eq!(ledger.receive_any(&other, at(2)), Reception::Known);
}

#[test]
fn an_old_place_is_refused_and_a_new_epoch_begins_at_one() {
    let ledger = received(&OrderLedger::default(), &order(1, 2, 5), at(1));
    for (epoch, sequence) in [(2, 5), (2, 4), (1, 99)] {
        let Reception::Stale(ending) = ledger.receive_any(&order(2, epoch, sequence), at(2)) else {
            panic!("({epoch}, {sequence}) was taken");
        };
        assert_eq!(ending.code.as_deref(), Some("order.old"));
    }
    let newest = order(2, 3, 1);
    assert_eq!(received(&ledger, &newest, at(2)).highest_of(newest.agent), Some(newest.place));
}

#[test]
fn a_host_that_is_another_agent_now_counts_anew_and_begins_nothing_of_before() {
    let before = received(&OrderLedger::default(), &order(1, 7, 900), at(1));
    let mut first = order(2, 1, 1);
    first.agent = AgentId::mint(&mut IdGen::new([9; 32]), at(0));
    let now = received(&before.turned_into(first.agent, at(2)), &first, at(2));
    assert_eq!(code(&now, 1), "order.agent-gone");
    assert_eq!(now.untold().count(), 0, "there is nobody to tell");
    assert_eq!(now.open_orders().count(), 1);
    // Back again it goes on where it was: what was taken then is not taken once more.
    let back = now.turned_into(order(1, 7, 900).agent, at(3));
    assert!(matches!(back.receive_any(&order(3, 7, 900), at(3)), Reception::Stale(_)));
}

#[test]
fn what_can_not_be_begun_ends_at_once_and_counts_as_taken() {
    let mut ledger = received(&OrderLedger::default(), &order(1, 1, 1), at(1000));
    assert_eq!(code(&ledger, 1), "order.expired");
    let mut unknown = order(2, 1, 2);
    unknown.action = Action::Unknown;
    ledger = received(&ledger, &unknown, at(1));
    assert_eq!(code(&ledger, 2), "order.unknown-action");
    for n in 0..u8::try_from(MOST_OPEN).unwrap() {
        ledger = received(&ledger, &order(10 + n, 1, 10 + u64::from(n)), at(1));
    }
    ledger = received(&ledger, &order(200, 1, 900), at(1));
    assert_eq!(code(&ledger, 200), "order.too-many");
    assert_eq!(ledger.highest.values().max().unwrap().sequence, 900);
}

#[test]
fn a_cancel_counts_until_the_order_begins() {
    let ledger = received(&OrderLedger::default(), &order(1, 1, 1), at(1));
    let Cancelling::Cancelled(cancelled) = ledger.cancel(id(1), at(2)) else { panic!("too late") };
    assert_eq!(ending(&cancelled, 1).unwrap().stage, OrderStage::Cancelled);
    assert_eq!(ledger.begun(id(1), at(2)).cancel(id(1), at(3)), Cancelling::TooLate);
    assert_eq!(cancelled.cancel(id(1), at(3)), Cancelling::TooLate);
}

#[test]
fn a_cancel_that_comes_before_its_order_keeps_it_from_beginning() {
    let Cancelling::Ahead(ledger) = OrderLedger::default().cancel(id(1), at(1)) else {
        panic!("there is no such order");
    };
    let ledger = received(&ledger, &order(1, 1, 1), at(2));
    assert_eq!(ending(&ledger, 1).unwrap().stage, OrderStage::Cancelled);
}

#[test]
fn an_order_that_was_cut_is_looked_at_if_it_had_a_run_and_begun_again_if_not() {
    let run = RunId::mint(&mut IdGen::new([7; 32]), at(0));
    let to: ReleaseId = ReleaseId {
        version: "1.1.0".parse().unwrap(),
        digest: handover_model::Digest::of(b"package"),
    };
    let next = |ledger: &OrderLedger, now| {
        OrderLedger::plan_next(ledger.find(id(1)).unwrap(), now).unwrap()
    };
    let accepted = received(&OrderLedger::default(), &order(1, 1, 1), at(1));
    assert_eq!(next(&accepted, at(2)), Next::Begin(None));
    assert!(matches!(next(&accepted, at(1000)), Next::End(_)), "it expired while it waited");
    let begun = accepted.begun(id(1), at(2));
    assert_eq!(next(&begun, at(2000)), Next::Begin(None), "begun in time is in time");
    assert_eq!(next(&begun.decided(id(1), &to), at(3)), Next::Begin(Some(to.clone())));
    let carried = begun.carried(id(1), run, &to);
    assert_eq!(next(&carried, at(3)), Next::Look(run));
    assert_eq!(next(&carried.without_run(id(1)), at(3)), Next::Begin(None));
    let paused = carried.begun(id(1), at(4)).begun(id(1), at(5)).paused(id(1));
    assert!(matches!(next(&paused, at(6)), Next::Begin(_)), "ends in good order are not counted");
    let decided = begun.decided(id(1), &to).paused(id(1));
    assert_eq!(next(&decided, at(6)), Next::Begin(Some(to.clone())), "it may be in place already");
    let through = carried.paused(id(1));
    assert_eq!(next(&through, at(6)), Next::Begin(None), "the next stop is another release");
    let often = (1..MOST_STARTS).fold(begun, |ledger, n| ledger.begun(id(1), at(n.into())));
    let Next::End(ending) = next(&often, at(6)) else { panic!("for ever") };
    assert_eq!(ending.code.as_deref(), Some("order.interrupted"));
}

#[test]
fn a_first_ending_stays() {
    let ledger = received(&OrderLedger::default(), &order(1, 1, 1), at(1));
    let done = ledger.ended(id(1), &Ending::done(None, at(2)));
    let again = done.ended(id(1), &Ending::because(OrderStage::Failed, "x", "y", at(3)));
    assert_eq!(again, done);
    assert_eq!(done.begun(id(1), at(4)), done);
    assert_eq!(OrderLedger::plan_next(done.find(id(1)).unwrap(), at(4)), None);
}

#[test]
fn the_ledger_forgets_the_oldest_endings_and_never_an_open_order() {
    let mut ledger = received(&OrderLedger::default(), &order(1, 1, 1), at(1));
    let mut ids = IdGen::new([3; 32]);
    for n in 0..ORDERS_KEPT + 50 {
        let mut next = order(2, 1, u64::try_from(n).unwrap() + 2);
        next.id = OrderId::mint(&mut ids, at(0));
        ledger = received(&ledger, &next, at(1));
        ledger = ledger.ended(next.id, &Ending::done(None, at(1)));
        assert_eq!(ledger.untold().count(), 1);
        ledger = ledger.told(next.id);
    }
    assert_eq!(ledger.taken.len(), ORDERS_KEPT);
    assert_eq!(ledger.taken[0].order.id, id(1));
}

#[test]
fn a_damaged_ledger_is_not_an_empty_one() {
    let ledger = received(&OrderLedger::default(), &order(1, 1, 1), at(1));
    let sealed = ledger.seal().unwrap();
    assert_eq!(OrderLedger::open(&sealed).unwrap(), ledger);
    assert!(OrderLedger::open(&[]).is_err());
    assert!(OrderLedger::open(&sealed[..sealed.len() - 3]).is_err());
}

#[derive(Debug, Clone)]
enum Move {
    Receive { n: u8, epoch: u64, sequence: u64 },
    Cancel(u8),
    Work,
    Cut,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (0_u8..12, 1_u64..3, 1_u64..12)
            .prop_map(|(n, epoch, sequence)| Move::Receive { n, epoch, sequence }),
        1 => (0_u8..12).prop_map(Move::Cancel),
        4 => Just(Move::Work),
        2 => Just(Move::Cut),
    ]
}

proptest! {
    /// Whatever comes in whatever order, with cuts anywhere: nothing is done twice, nothing is
    /// done after it was cancelled, places only rise, and every order that was taken ends.
    #[test]
    fn orders_are_done_at_most_once_and_never_forgotten(
        moves in proptest::collection::vec(any_move(), 1..120)
    ) {
        let (mut ledger, mut now) = (OrderLedger::default(), 0);
        let mut effects: BTreeMap<OrderId, u32> = BTreeMap::new();
        let mut taken = BTreeSet::new();
        let mut runs = IdGen::new([5; 32]);
        let to = ReleaseId {
            version: "1.1.0".parse().unwrap(),
            digest: handover_model::Digest::of(b"package"),
        };
        // What the host has seen of each run: only one that began has an effect.
        let mut begun: BTreeMap<RunId, OrderId> = BTreeMap::new();
        let finish = std::iter::repeat_n(Move::Work, 100);
        for step in moves.into_iter().chain(finish) {
            now += 1;
            let before = ledger.highest.clone();
            match step {
                Move::Receive { n, epoch, sequence } => {
                    if let Reception::Taken(next) = ledger.receive_any(&order(n, epoch, sequence), at(now)) {
                        prop_assert!(taken.insert(id(n)), "taken twice");
                        ledger = next;
                    }
                }
                Move::Cancel(n) => match ledger.cancel(id(n), at(now)) {
                    Cancelling::Cancelled(next) => {
                        prop_assert!(!effects.contains_key(&id(n)), "cancelled after it began");
                        ledger = next;
                    }
                    Cancelling::Ahead(next) => ledger = next,
                    Cancelling::TooLate => {}
                },
                Move::Work | Move::Cut => {
                    let cut = matches!(step, Move::Cut);
                    let Some(open) = ledger.open_orders().next().cloned() else { continue };
                    let which = open.order.id;
                    match OrderLedger::plan_next(&open, at(now)).unwrap() {
                        Next::End(ending) => ledger = ledger.ended(which, &ending),
                        Next::Look(run) if begun.contains_key(&run) => {
                            ledger = ledger.ended(which, &Ending::done(None, at(now)));
                        }
                        Next::Look(_) => ledger = ledger.without_run(which),
                        Next::Stage => unreachable!("no order here is for later"),
                        Next::Begin(_) => {
                            let run = RunId::mint(&mut runs, at(now));
                            ledger = ledger.begun(which, at(now)).carried(which, run, &to);
                            // The cut comes between the ledger's word and the deed, or after it.
                            if !cut || now % 2 == 0 {
                                begun.insert(run, which);
                                *effects.entry(which).or_default() += 1;
                            }
                        }
                    }
                }
            }
            prop_assert!(ledger.highest >= before, "a place fell");
            ledger = OrderLedger::open(&ledger.seal().unwrap()).unwrap();
        }
        prop_assert!(effects.values().all(|count| *count == 1), "done twice: {:?}", effects);
        prop_assert_eq!(ledger.open_orders().count(), 0);
        prop_assert!(taken.iter().all(|order| ledger.find(*order).is_some()), "forgotten");
    }
}

#[test]
fn an_order_for_later_is_staged_until_then_and_can_be_cancelled_until_then() {
    let later = AgentOrder { activate: Some(at(500)), ..order(1, 1, 1) };
    let ledger = received(&OrderLedger::default(), &later, at(1));
    let next = |now| OrderLedger::plan_next(ledger.find(id(1)).unwrap(), now);
    assert_eq!(next(at(1)), Some(Next::Stage));
    assert_eq!(next(at(499)), Some(Next::Stage));
    assert_eq!(next(at(500)), Some(Next::Begin(None)));
    assert!(
        matches!(next(at(1000)), Some(Next::End(ending)) if ending.stage == OrderStage::Expired)
    );
    assert!(matches!(ledger.cancel(id(1), at(499)), Cancelling::Cancelled(_)));
    // A start from what was written down waits as well.
    let reopened = OrderLedger::open(&ledger.seal().unwrap()).unwrap();
    assert_eq!(OrderLedger::plan_next(&reopened.taken[0], at(499)), Some(Next::Stage));
}
