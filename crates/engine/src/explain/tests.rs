use handover_model::api::{LayerKind, Lifter};
use handover_model::wire::{ComponentState, Outlook, Proof, QuarantinedState};
use handover_model::{Digest, IdGen, Mode, OrderId, Platform};

use super::*;
use crate::graph::Offer;
use crate::testing::{offer, release_of, when};

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// Component `web` at 1.0.0, proved, with nothing kept.
fn at_one() -> ComponentState {
    let release = release_of("1.0.0");
    ComponentState {
        component: "web".parse().unwrap(),
        current: Some(release.clone()),
        sequence: Some(1),
        proof: Some(Proof {
            release,
            executable: Digest::of(b"exe"),
            proved: true,
            pid: 7,
            ready: true,
            boot: "b".to_owned(),
        }),
        trial: None,
        previous: Vec::new(),
        quarantine: Vec::new(),
        mode: Mode::Automatic,
        channel: "stable".to_owned(),
        pin: None,
        control_pin: None,
        floor: Some(version("1.0.0")),
        outlook: Some(Outlook {
            code: "moves".to_owned(),
            sentence: "it goes to 1.1.0 next".to_owned(),
            to: None,
        }),
    }
}

struct Site {
    name: AgentName,
    component: ComponentName,
    platform: Platform,
    state: Option<ComponentState>,
    offers: Vec<Offer>,
    pin: Option<Pin>,
    orders: Vec<OrderInfo>,
}

impl Site {
    fn new() -> Self {
        Self {
            name: "web-1".parse().unwrap(),
            component: "web".parse().unwrap(),
            platform: "linux-x86_64".parse().unwrap(),
            state: Some(at_one()),
            offers: vec![offer("1.0.0", 1, "*"), offer("1.1.0", 2, ">=1.0.0")],
            pin: None,
            orders: Vec::new(),
        }
    }

    fn with(change: impl FnOnce(&mut ComponentState)) -> Self {
        let mut site = Self::new();
        change(site.state.as_mut().unwrap());
        site
    }

    fn beforehand(&self) -> Beforehand<'_> {
        Beforehand {
            agent: &self.name,
            component: &self.component,
            platform: &self.platform,
            state: self.state.as_ref(),
            reported: true,
            control_pin: self.pin.as_ref(),
            offers: Some(&self.offers),
            skipped: &[],
            now: when(1_000),
        }
    }

    fn known(&self) -> Known<'_> {
        Known {
            agent: AgentId::mint(&mut IdGen::new([1; 32]), when(0)),
            name: &self.name,
            membership: Membership::Member,
            last_seen: Some(when(900)),
            away: false,
            component: &self.component,
            beforehand: self.beforehand(),
            reported_at: Some(when(800)),
            stop: None,
            rollouts: &[],
            orders: &self.orders,
        }
    }

    fn refusal(&self, to: &str) -> (&'static str, String) {
        let refusal = self.beforehand().check_update(Some(&version(to))).unwrap_err();
        (refusal.code(), refusal.to_string())
    }
}

fn an_order(to: &str, state: OrderState) -> OrderInfo {
    let mut ids = IdGen::new([2; 32]);
    OrderInfo {
        id: OrderId::mint(&mut ids, when(0)),
        agent: AgentId::mint(&mut ids, when(0)),
        agent_name: "web-1".parse().unwrap(),
        action: Action::Update { component: "web".parse().unwrap(), to: Some(version(to)) },
        state,
        place: None,
        expect: None,
        reason: None,
        by: "ops".to_owned(),
        created_at: when(1),
        expires: when(9_000),
        changed_at: when(2),
        code: None,
        outcome: None,
        release: None,
        progress: None,
        superseded_by: None,
        history: Vec::new(),
    }
}

#[test]
fn an_order_that_the_host_would_take_passes_with_its_way() {
    let mut site = Site::new();
    site.offers.push(offer("1.2.0", 3, ">=1.1.0, <1.2.0"));
    let path = site.beforehand().check_update(Some(&version("1.2.0"))).unwrap();
    assert_eq!(path, [version("1.1.0"), version("1.2.0")]);
    assert_eq!(site.beforehand().check_update(None).unwrap(), path);
}

#[test]
fn orders_that_the_host_would_refuse_are_refused_before_they_are_made() {
    assert_eq!(Site::new().refusal("9.9.9").0, "no-such-release");
    assert_eq!(Site::new().refusal("1.0.0").0, "already-there");
    assert_eq!(
        Site::with(|state| state.pin = Some("1.0.0".parse().unwrap())).refusal("1.1.0").0,
        "pinned"
    );

    let mut pinned = Site::new();
    pinned.pin = Some("<1.1".parse().unwrap());
    assert_eq!(pinned.refusal("1.1.0").0, "control-pinned");

    let mut revoked = Site::new();
    revoked.offers[1].facts.revoked = Some("it eats data".to_owned());
    let (code, sentence) = revoked.refusal("1.1.0");
    assert_eq!(code, "revoked");
    assert!(sentence.contains("it eats data"), "{sentence}");

    let mut apart = Site::new();
    apart.offers[1] = offer("1.1.0", 2, ">=1.0.5");
    assert_eq!(apart.refusal("1.1.0").0, "no-path");

    let mut absent = Site::new();
    absent.offers.clear();
    assert_eq!(absent.refusal("1.1.0").0, "not-offered");
}

#[test]
fn an_order_below_the_floor_is_refused_even_if_the_release_is_offered() {
    let mut site = Site::with(|state| state.floor = Some(version("1.0.0")));
    site.offers.push(offer("0.9.0", 0, "*"));
    assert_eq!(site.refusal("0.9.0").0, "needs-permit");
}

#[test]
fn an_order_does_not_lift_a_quarantine() {
    let site = Site::with(|state| {
        let release = release_of("1.1.0");
        state.quarantine =
            vec![QuarantinedState { release, reason: "it crashed".to_owned(), at: when(5) }];
    });
    assert_eq!(site.refusal("1.1.0").0, "quarantined");
    let refusal = site.beforehand().check_update(None).unwrap_err();
    assert_eq!(refusal.code(), "quarantined");
}

#[test]
fn going_back_is_checked_against_what_the_host_keeps_and_its_floor() {
    let kept = |floor: &str| {
        Site::with(|state| {
            state.current = Some(release_of("1.1.0"));
            state.sequence = Some(2);
            state.previous = vec![release_of("1.0.0")];
            state.floor = Some(version(floor));
        })
    };
    assert_eq!(kept("1.0.0").beforehand().check_rollback(None), Ok(Some(version("1.0.0"))));
    let refusal = kept("1.1.0").beforehand().check_rollback(None).unwrap_err();
    assert_eq!(refusal.code(), "needs-permit");
    let refusal = Site::new().beforehand().check_rollback(None).unwrap_err();
    assert_eq!(refusal.code(), "nothing-kept");
}

#[test]
fn a_host_that_never_reported_is_judged_by_the_repository_alone() {
    let mut site = Site::new();
    site.state = None;
    let silent = Beforehand { reported: false, ..site.beforehand() };
    assert_eq!(silent.check_update(Some(&version("1.1.0"))), Ok(Vec::new()));
    assert_eq!(silent.check_update(Some(&version("3.0.0"))).unwrap_err().code(), "no-such-release");
    let blind = Beforehand { offers: None, ..silent };
    assert_eq!(blind.check_update(Some(&version("3.0.0"))), Ok(Vec::new()));
}

#[test]
fn what_is_available_leaves_out_what_an_order_could_not_reach() {
    let mut site = Site::new();
    site.offers.push(offer("1.2.0", 3, ">=1.1.0, <1.2.0"));
    site.offers.push(offer("2.0.0", 4, ">=1.9.0"));
    let updates = site.beforehand().updates();
    assert_eq!(updates.available, [version("1.2.0"), version("1.1.0")]);
    assert_eq!(updates.newest, Some(version("1.2.0")));
    assert_eq!(updates.blocked.len(), 1);
    assert_eq!(updates.blocked[0].code, "no-path");
}

#[test]
fn a_host_that_would_move_by_itself_is_held_by_nothing() {
    let explained = explain(&Site::new().known());
    assert_eq!(explained.code, "moves");
    assert_eq!(explained.wanted, Some(version("1.1.0")));
    assert!(!explained.layers.iter().any(|layer| layer.holds), "{explained:?}");
}

#[test]
fn a_pin_on_the_host_is_the_reason_and_its_owner_can_lift_it() {
    let site = Site::with(|state| state.pin = Some("1.0.0".parse().unwrap()));
    let explained = explain(&site.known());
    assert_eq!(
        explained.sentence,
        "web on web-1 is at 1.0.0 and not at 1.1.0 because the pin 1.0.0 excludes 1.1.0; unpin \
         the component to allow it"
    );
    let layer = explained.layers.iter().find(|layer| layer.holds).unwrap();
    assert_eq!(layer.layer, LayerKind::HostPin);
    assert_eq!(layer.lift.as_ref().map(|lift| lift.who), Some(Lifter::HostOwner));
}

#[test]
fn a_silent_host_is_explained_by_its_silence_first() {
    let mut site = Site::new();
    site.orders = vec![an_order("1.1.0", OrderState::Pending)];
    let explained = explain(&Known { away: true, ..site.known() });
    assert_eq!(explained.code, "agent-away");
    assert!(explained.sentence.contains("has not checked in since"), "{}", explained.sentence);
}

#[test]
fn an_order_under_way_is_how_it_moves() {
    let mut site = Site::new();
    site.orders = vec![an_order("1.1.0", OrderState::Running)];
    let explained = explain(&site.known());
    assert_eq!(explained.code, "moves");
    assert!(explained.sentence.contains("runs"), "{}", explained.sentence);
}

#[test]
fn a_stop_of_the_fleet_holds_an_update_that_waits_and_nothing_that_runs() {
    let stop = FleetStop { by: "ann".to_owned(), at: when(950), reason: Some("smoke".to_owned()) };
    let mut site = Site::new();
    site.orders = vec![an_order("1.1.0", OrderState::Pending)];
    let explained = explain(&Known { stop: Some(&stop), ..site.known() });
    assert_eq!(explained.code, "fleet-stopped");
    assert!(explained.sentence.contains("ann stopped the whole fleet"), "{}", explained.sentence);
    assert!(explained.sentence.ends_with("smoke"), "{}", explained.sentence);
    site.orders = vec![an_order("1.1.0", OrderState::Running)];
    let explained = explain(&Known { stop: Some(&stop), ..site.known() });
    assert_eq!(explained.code, "moves");
    assert!(explained.layers.iter().any(|layer| layer.code == "fleet-stopped"));
}

#[test]
fn an_order_that_failed_says_why_the_host_is_where_it_is() {
    let mut site = Site::new();
    let mut failed = an_order("1.1.0", OrderState::Reverted);
    failed.outcome = Some("health never came".to_owned());
    site.orders = vec![failed];
    let explained = explain(&site.known());
    assert_eq!(explained.code, "order-reverted");
    assert!(explained.sentence.ends_with("health never came"), "{}", explained.sentence);
}

#[test]
fn a_manual_host_waits_for_a_person() {
    let site = Site::with(|state| {
        state.mode = Mode::Manual;
        state.outlook = Some(Outlook {
            code: "manual".to_owned(),
            sentence: "1.1.0 is ready, and web is updated by hand".to_owned(),
            to: None,
        });
    });
    let explained = explain(&site.known());
    assert_eq!(explained.code, "manual");
    let layer = explained.layers.iter().find(|layer| layer.holds).unwrap();
    assert_eq!(layer.lift.as_ref().map(|lift| lift.who), Some(Lifter::Operator));
}

#[test]
fn a_host_at_its_version_is_not_well_before_its_process_proved_it() {
    let mut site = Site::with(|state| {
        state.current = Some(release_of("1.1.0"));
        state.outlook = None;
    });
    assert_eq!(explain(&site.known()).code, "not-proved");
    let state = site.state.as_mut().unwrap();
    state.proof.as_mut().unwrap().release = release_of("1.1.0");
    let explained = explain(&site.known());
    assert_eq!(explained.code, "up-to-date");
    assert_eq!(explained.sentence, "web on web-1 is at 1.1.0, as it should be");
}

#[test]
fn a_retired_or_cloned_agent_is_explained_by_that_before_all_else() {
    let site = Site::new();
    let retired = Known { membership: Membership::Retired(Some("sold")), ..site.known() };
    assert_eq!(explain(&retired).code, "agent-retired");
    let cloned = Known { membership: Membership::Cloned, ..site.known() };
    assert_eq!(explain(&cloned).code, "agent-cloned");
}

#[test]
fn a_return_by_itself_is_explained_where_the_repository_is_not_known() {
    let mut site = Site::with(|state| {
        let release = release_of("1.1.0");
        state.quarantine =
            vec![QuarantinedState { release, reason: "it crashed".to_owned(), at: when(5) }];
    });
    site.orders = vec![an_order("1.1.0", OrderState::Done)];
    let known =
        Known { beforehand: Beforehand { offers: None, ..site.beforehand() }, ..site.known() };
    let told = explain(&known);
    assert_eq!(told.code, "quarantined");
    assert!(told.sentence.contains("and not at 1.1.0"), "{}", told.sentence);
    assert!(told.sentence.contains("it crashed"), "{}", told.sentence);
}

#[test]
fn a_rollout_that_waits_is_why_and_says_for_what() {
    let site = Site::new();
    let waits = InRollout {
        name: "web-2".parse().unwrap(),
        to: Some("9.0.0".parse().unwrap()),
        state: RolloutState::Running,
        wave: "25 %".to_owned(),
        released: false,
        held: Some((HoldCode::Soak, "the wave is watched".to_owned())),
        by: HoldLifter::Time,
    };
    let layer_of = |rollout: &InRollout| {
        let rollouts = [rollout.clone()];
        let explained = explain(&Known { rollouts: &rollouts, orders: &[], ..site.known() });
        explained.layers.into_iter().find(|layer| layer.layer == LayerKind::Rollout).unwrap()
    };
    let layer = layer_of(&waits);
    assert!(layer.holds && layer.code == "rollout-waits", "{layer:?}");
    for word in ["web-2", "25 %", "9.0.0", "the wave is watched"] {
        assert!(layer.sentence.contains(word), "{}", layer.sentence);
    }
    let free = layer_of(&InRollout { released: true, held: None, ..waits });
    assert!(!free.holds, "{free:?}");
}
