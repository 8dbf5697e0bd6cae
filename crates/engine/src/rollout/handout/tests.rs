//! Who may have an order, and who not.

use handover_model::RolloutId;
use proptest::prelude::*;

use super::*;
use crate::rollout::outcome::PAUSED;

fn second(number: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + number * 1_000_000)
}

fn spec(rest: &str) -> RolloutSpec {
    let rest = if rest.is_empty() { String::new() } else { format!(", {rest}") };
    let text = format!(
        r#"{{"name": "web-2", "component": "web", "to": "2.0.0", "select": "name = x"{rest}}}"#
    );
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

struct Case {
    spec: RolloutSpec,
    kind: RolloutKind,
    current: Version,
    back_to: Option<Version>,
}

impl Case {
    fn new(rest: &str) -> Self {
        let (spec, current) = (spec(rest), version("1.0.0"));
        Self { spec, kind: RolloutKind::Update, current, back_to: None }
    }

    fn revert() -> Self {
        let of: RolloutId = "rollout_0190a0a0a0a07a0a8a0a0a0a0a0a0a0a".parse().unwrap();
        let kind = RolloutKind::Revert { of, wave: None };
        Self { kind, current: version("2.0.0"), ..Self::new("") }
    }

    fn ask(&self) -> Ask<'_> {
        Ask {
            state: RolloutState::Running,
            kind: &self.kind,
            spec: &self.spec,
            released: 10,
            position: 3,
            left_out: false,
            current: Some(&self.current),
            back_to: self.back_to.as_ref(),
            attempts: &[],
            open_order: false,
            more_urgent: None,
            in_flight: &[],
            components: &[],
            window: WindowFact::ALWAYS,
            fleet_stopped: None,
            release: Ok(()),
            now: second(0),
        }
    }
}

/// The code of what holds it.
fn code(answer: Result<HandOut, Withheld>) -> HoldCode {
    match answer {
        Err(Withheld::Held(held)) => held.hold.code,
        other => panic!("not held: {other:?}"),
    }
}

#[test]
fn a_released_host_gets_its_order() {
    let case = Case::new("");
    let order = may_hand_out(&case.ask()).unwrap();
    let (component, to) = ("web".parse().unwrap(), Some(version("2.0.0")));
    assert_eq!(order.action, Action::Update { component, to });
    assert_eq!((order.attempt, order.activate), (1, None));
    assert_eq!(order.expires, second(1800), "void after the deadline");
}

#[test]
fn nobody_gets_one_before_its_turn_or_from_a_rollout_that_stands() {
    let case = Case::new("");
    let ask = case.ask();
    let late = Ask { position: 10, ..ask };
    assert_eq!(may_hand_out(&late), Err(Withheld::NotReleased));
    let scheduled = Ask { state: RolloutState::Scheduled, ..ask };
    assert_eq!(may_hand_out(&scheduled), Err(Withheld::NotReleased));
    assert_eq!(may_hand_out(&Ask { left_out: true, ..ask }), Err(Withheld::LeftOut));
    let paused = Ask { state: RolloutState::Paused, ..ask };
    assert_eq!(code(may_hand_out(&paused)), HoldCode::Paused);
    let halted = Ask { state: RolloutState::Halted, ..ask };
    assert_eq!(code(may_hand_out(&halted)), HoldCode::Halted);
    for state in RolloutState::ALL.into_iter().filter(|state| state.is_over()) {
        assert_eq!(may_hand_out(&Ask { state, ..ask }), Err(Withheld::Over), "{state}");
    }
}

#[test]
fn what_ended_is_not_tried_again_and_what_passed_is_after_a_while() {
    let case = Case::new(r#""retries": {"attempts": 3, "backoff": "5m"}"#);
    let attempt = |state, ended| Attempt { state, code: None, ended_at: Some(second(ended)) };
    for (state, outcome) in [
        (OrderState::Done, Outcome::Done),
        (OrderState::Failed, Outcome::Failed),
        (OrderState::Reverted, Outcome::Failed),
        (OrderState::Refused, Outcome::Refused),
        (OrderState::Cancelled, Outcome::Withdrawn),
    ] {
        let ask = Ask { attempts: &[attempt(state, -9000)], ..case.ask() };
        assert_eq!(may_hand_out(&ask), Err(Withheld::Settled(outcome)), "{state}");
    }
    let open = [Attempt { state: OrderState::Running, code: None, ended_at: None }];
    assert_eq!(may_hand_out(&Ask { attempts: &open, ..case.ask() }), Err(Withheld::Open));
    let lapsed = [attempt(OrderState::Expired, 0), attempt(OrderState::Expired, 0)];
    let soon = Ask { attempts: &lapsed, now: second(599), ..case.ask() };
    assert_eq!(code(may_hand_out(&soon)), HoldCode::Retry);
    let later = Ask { attempts: &lapsed, now: second(600), ..case.ask() };
    assert_eq!(may_hand_out(&later).unwrap().attempt, 3);
    let paused = Attempt { code: Some(PAUSED), ..attempt(OrderState::Cancelled, 0) };
    let ask = Ask { attempts: &[paused], now: second(0), ..case.ask() };
    assert_eq!(may_hand_out(&ask).unwrap().attempt, 2, "a pause is no failure");
    let all_but_one = [paused, paused, paused, lapsed[0], paused];
    let ask = Ask { attempts: &all_but_one, now: second(0), ..case.ask() };
    assert_eq!(may_hand_out(&ask).unwrap().attempt, 6, "nor do many use attempts up");
    let spent = [lapsed[0], lapsed[0], lapsed[0]];
    let ask = Ask { attempts: &spent, now: second(90_000), ..case.ask() };
    assert_eq!(may_hand_out(&ask), Err(Withheld::Settled(Outcome::Refused)));
}

#[test]
fn a_host_that_is_there_already_needs_none() {
    let mut case = Case::new("");
    case.current = version("2.0.0");
    assert_eq!(may_hand_out(&case.ask()), Err(Withheld::Satisfied));
}

#[test]
fn holds_of_a_host_are_typed() {
    let case = Case::new(
        r#""limits": [{"at_most": 5}, {"at_most": 1, "per": "cluster"}],
           "requires": [{"component": "kafka", "at_least": "2.0.0"}]"#,
    );
    let (kafka, old, new) = ("kafka".parse().unwrap(), version("1.9.9"), version("2.0.0"));
    let met = [(&kafka, &new)];
    let ask = Ask { components: &met, in_flight: &[4, 0], ..case.ask() };
    may_hand_out(&ask).unwrap();
    let unmet = [(&kafka, &old)];
    let held = may_hand_out(&Ask { components: &unmet, ..ask });
    assert_eq!(code(held), HoldCode::Requirement);
    assert_eq!(code(may_hand_out(&Ask { components: &[], ..ask })), HoldCode::Requirement);
    assert_eq!(code(may_hand_out(&Ask { in_flight: &[5, 0], ..ask })), HoldCode::Limit);
    assert_eq!(code(may_hand_out(&Ask { in_flight: &[1, 1], ..ask })), HoldCode::Limit);
    let other = "kafka-3".parse().unwrap();
    let held = may_hand_out(&Ask { more_urgent: Some(&other), ..ask });
    assert_eq!(code(held), HoldCode::Priority);
    let held = may_hand_out(&Ask { fleet_stopped: Some("fire"), ..ask });
    assert_eq!(code(held), HoldCode::FleetStopped);
    let held = may_hand_out(&Ask { release: Err("it was revoked"), ..ask });
    assert_eq!(code(held), HoldCode::Release);
    assert_eq!(may_hand_out(&Ask { open_order: true, ..ask }), Err(Withheld::Open));
}

#[test]
fn an_order_lapses_with_its_window_and_may_be_fetched_before_it() {
    let case = Case::new("");
    let open = WindowFact { open: true, opens_at: None, closes_at: Some(second(60)) };
    let order = may_hand_out(&Ask { window: open, ..case.ask() }).unwrap();
    assert_eq!(order.expires, second(60));
    let closed =
        WindowFact { open: false, opens_at: Some(second(3600)), closes_at: Some(second(7200)) };
    let held = may_hand_out(&Ask { window: closed, ..case.ask() });
    assert_eq!(code(held), HoldCode::Window);
    let early = Case::new(r#""early_download": true"#);
    let order = may_hand_out(&Ask { window: closed, ..early.ask() }).unwrap();
    assert_eq!((order.activate, order.expires), (Some(second(3600)), second(5400)));
    let never = WindowFact { opens_at: None, closes_at: None, ..closed };
    let held = may_hand_out(&Ask { window: never, ..early.ask() });
    assert_eq!(code(held), HoldCode::Window);
}

#[test]
fn a_revert_goes_on_in_a_stopped_fleet_and_needs_no_release() {
    let mut case = Case::revert();
    case.back_to = Some(version("1.0.0"));
    let ask = Ask { fleet_stopped: Some("fire"), release: Err("revoked"), ..case.ask() };
    let order = may_hand_out(&ask).unwrap();
    let (component, to) = ("web".parse().unwrap(), Some(version("1.0.0")));
    assert_eq!(order.action, Action::Rollback { component, to });
    case.current = version("1.0.0");
    assert_eq!(may_hand_out(&case.ask()), Err(Withheld::Satisfied));
    case.back_to = None;
    assert_eq!(may_hand_out(&case.ask()), Err(Withheld::Satisfied), "it left what is taken back");
}

proptest! {
    #[test]
    fn nobody_beyond_what_is_released_ever_gets_an_order(
        released in any::<u32>(),
        position in any::<u32>(),
        state in prop::sample::select(RolloutState::ALL.to_vec()),
        now in -100_000_i64..100_000,
    ) {
        let case = Case::new("");
        let ask = Ask { released, position, state, now: second(now), ..case.ask() };
        let may = may_hand_out(&ask).is_ok();
        prop_assert_eq!(may, state == RolloutState::Running && position < released);
    }
}
