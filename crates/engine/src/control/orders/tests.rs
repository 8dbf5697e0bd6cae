use handover_model::wire::{Place, Proof as Shown};
use handover_model::{Digest, IdGen, Mode, OrderId, Platform, Version};
use proptest::prelude::*;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn web() -> ComponentName {
    "web".parse().expect("a name")
}

fn release(minor: u64) -> ReleaseId {
    let version = Version::new(1, minor, 0);
    ReleaseId { digest: Digest::of(version.to_string().as_bytes()), version }
}

fn update() -> Action {
    Action::Update { component: web(), to: None }
}

fn known(action: &Action, state: OrderState) -> Known<'_> {
    Known { action, state, expires: at(60), code: None, release: None }
}

fn report(stage: OrderStage, release: Option<ReleaseId>) -> OrderReport {
    OrderReport {
        order: OrderId::mint(&mut IdGen::new([1; 32]), at(0)),
        place: Place { epoch: 1, sequence: 1 },
        stage,
        code: None,
        reason: None,
        release,
        progress: None,
    }
}

/// A host on which `committed` is current and a process of `runs` was seen.
fn host(committed: Option<ReleaseId>, runs: Option<ReleaseId>, proved: bool) -> HostState {
    let proof = runs.map(|release| Shown {
        release,
        executable: Digest::of(b"exe"),
        proved,
        pid: 7,
        ready: true,
        boot: "boot".to_owned(),
    });
    HostState {
        name: "web-1".parse().expect("a name"),
        platform: Platform::of_this_build(),
        agent_version: Version::new(0, 1, 0),
        boot: "boot".to_owned(),
        facts: handover_model::Labels::default(),
        components: vec![ComponentState {
            component: web(),
            current: committed,
            sequence: None,
            proof,
            trial: None,
            previous: Vec::new(),
            quarantine: Vec::new(),
            mode: Mode::Manual,
            channel: "stable".to_owned(),
            pin: None,
            control_pin: None,
            floor: None,
            outlook: None,
        }],
    }
}

#[test]
fn an_update_is_done_when_the_process_proves_it_and_not_when_the_host_says_so() {
    let action = update();
    let order = known(&action, OrderState::Running);
    let said = report(OrderStage::Done, Some(release(1)));
    let state = |host: Option<&HostState>| hear(&order, &said, host).expect("news").state;
    assert_eq!(state(None), OrderState::Running);
    // A report from before the deed does not contradict it.
    assert_eq!(state(Some(&host(Some(release(0)), None, false))), OrderState::Running);
    assert_eq!(state(Some(&host(Some(release(1)), Some(release(1)), false))), OrderState::Running);
    assert_eq!(state(Some(&host(Some(release(1)), Some(release(1)), true))), OrderState::Done);
}

#[test]
fn proof_that_comes_later_ends_the_order_and_a_contradiction_fails_it() {
    let (action, claimed) = (update(), release(1));
    let order = Known {
        code: Some(AWAITS_PROOF),
        release: Some(&claimed),
        ..known(&action, OrderState::Running)
    };
    let look = |host: &HostState| look(&order, host).map(|change| change.state);
    assert_eq!(look(&host(Some(release(1)), None, false)), None, "its process is not up yet");
    let proved = host(Some(release(1)), Some(release(1)), true);
    assert_eq!(look(&proved), Some(OrderState::Done));
    let other = host(Some(release(0)), Some(release(0)), true);
    assert_eq!(look(&other), Some(OrderState::Failed));
    let mut stale_boot = proved;
    stale_boot.boot = "another".to_owned();
    assert_eq!(look(&stale_boot), None, "a proof from before the reboot proves nothing");
}

#[test]
fn an_update_that_names_no_release_is_no_success() {
    let action = update();
    let change = hear(&known(&action, OrderState::Running), &report(OrderStage::Done, None), None);
    assert_eq!(change.expect("news").state, OrderState::Failed);
    let pin = Action::Unpin { component: web() };
    let change = hear(&known(&pin, OrderState::Accepted), &report(OrderStage::Done, None), None);
    assert_eq!(change.expect("news").state, OrderState::Done);
}

#[test]
fn a_cancel_is_final_before_the_order_left_and_a_question_afterwards() {
    let action = update();
    let cancel = |state| cancel(&known(&action, state)).map(|change| change.state);
    assert_eq!(cancel(OrderState::Pending), Ok(OrderState::Cancelled));
    assert_eq!(cancel(OrderState::HandedOut), Ok(OrderState::Cancelling));
    assert_eq!(cancel(OrderState::Accepted), Ok(OrderState::Cancelling));
    assert_eq!(cancel(OrderState::Running), Err(CancelError::Running));
    let ended = Err(CancelError::Ended { state: OrderState::Done });
    assert_eq!(cancel(OrderState::Done), ended);
}

#[test]
fn a_cancel_that_comes_too_late_is_told_so() {
    let action = update();
    let order = known(&action, OrderState::Cancelling);
    let change = hear(&order, &report(OrderStage::Running, None), None).expect("news");
    assert_eq!(change.state, OrderState::Running);
    assert_eq!(change.code.as_deref(), Some(CANCEL_TOO_LATE));
}

#[test]
fn only_an_order_that_never_left_expires_by_the_servers_clock() {
    let action = update();
    let late = |state| expire(&known(&action, state), at(60)).map(|change| change.state);
    assert_eq!(late(OrderState::Pending), Some(OrderState::Expired));
    for state in [OrderState::HandedOut, OrderState::Accepted, OrderState::Running] {
        assert_eq!(late(state), None, "only the host knows whether it was begun");
        assert_eq!(deliver(&known(&action, OrderState::HandedOut), at(61)), Delivery::Again);
    }
    assert_eq!(expire(&known(&action, OrderState::Pending), at(59)), None);
    assert_eq!(deliver(&known(&action, OrderState::Pending), at(60)), Delivery::Nothing);
}

#[test]
fn a_word_on_an_order_that_never_left_is_an_invention() {
    let action = update();
    let order = known(&action, OrderState::Pending);
    assert_eq!(hear(&order, &report(OrderStage::Done, Some(release(1))), None), None);
}

fn any_stage() -> impl Strategy<Value = OrderStage> {
    use OrderStage::{Accepted, Cancelled, Done, Expired, Failed, Refused, Reverted, Running};
    prop::sample::select(vec![
        Accepted, Running, Done, Failed, Reverted, Refused, Cancelled, Expired,
    ])
}

/// How far along a state is; nothing ever gets less.
fn rank(state: OrderState) -> u8 {
    if state.is_final() {
        return 5;
    }
    match state {
        OrderState::Pending => 0,
        OrderState::HandedOut => 1,
        OrderState::Accepted => 2,
        OrderState::Cancelling => 3,
        OrderState::Running
        | OrderState::Done
        | OrderState::Failed
        | OrderState::Reverted
        | OrderState::Refused
        | OrderState::Cancelled
        | OrderState::Expired
        | OrderState::Superseded
        | OrderState::Voided => 4,
    }
}

#[test]
fn the_word_of_whoever_cancelled_outlasts_the_hosts_confirmation() {
    let action = update();
    let confirmed = OrderReport {
        code: Some("order.cancelled".to_owned()),
        ..report(OrderStage::Cancelled, None)
    };
    let code = |order: &Known<'_>| hear(order, &confirmed, None).expect("it ended").code;
    let plain = known(&action, OrderState::Cancelling);
    assert_eq!(code(&plain).as_deref(), Some("order.cancelled"));
    let paused = Known { code: Some("rollout.paused"), ..plain };
    assert_eq!(code(&paused).as_deref(), Some("rollout.paused"));
}

proptest! {
    #[test]
    fn whatever_is_said_in_whatever_order_nothing_goes_back_or_changes_after_its_end(
        begin in prop::sample::select(OrderState::ALL.to_vec()),
        said in prop::collection::vec((any_stage(), any::<bool>(), any::<bool>()), 0..12),
    ) {
        let action = update();
        let (mut state, mut code, mut claimed) = (begin, None::<String>, None);
        for (stage, names, proved) in said {
            let host = host(Some(release(1)), Some(release(1)), proved);
            let order = Known {
                code: code.as_deref(),
                release: claimed.as_ref(),
                ..known(&action, state)
            };
            let told = hear(&order, &report(stage, names.then(|| release(1))), Some(&host));
            let change = told.or_else(|| look(&order, &host));
            if state.is_final() {
                prop_assert_eq!(&change, &None);
            }
            if let Some(change) = change {
                prop_assert!(rank(change.state) >= rank(state), "{state} to {}", change.state);
                if change.state == OrderState::Done {
                    prop_assert!(proved, "done without proof");
                }
                (state, code) = (change.state, change.code);
                claimed = change.release.or(claimed);
            }
        }
    }
}
