use handover_model::{Guard, IdGen, Window};

use super::rollback::choose_rollback_with;
use super::*;
use crate::slots::{begin_trial, commit, quarantine_trial, roll_back_to};
use crate::testing::{offer, release_of, run, slot, when};

mod sentences;

/// A host with everything that a decision needs, to be changed by each test.
struct Host {
    agent: AgentName,
    platform: Platform,
    policy: ComponentPolicy,
    slots: Slots,
    floors: Floors,
    ledger: Ledger,
    launcher: u32,
    others: BTreeMap<ComponentName, Standing>,
    clock_off: Option<Millis>,
    now: Timestamp,
    offers: Vec<Offer>,
    skipped: Vec<Skipped>,
    permits: Vec<Permit>,
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

impl Host {
    /// Runs 1.1.0 (number 2), kept 1.0.0; 1.1.0 to 1.3.0 are offered.
    fn new() -> Self {
        let mut slots = Slots::default();
        for (n, text) in [(1, "1.0.0"), (2, "1.1.0")] {
            let guard = Guard { within: Millis(1000), elapsed: Millis(0), crashes_left: 1 };
            slots = begin_trial(&slots, slot(text, n), Millis(1000), 1, Some(guard)).unwrap();
            slots = commit(&slots, run(n), when(1)).unwrap();
        }
        Self {
            agent: "host-a".parse().unwrap(),
            platform: "linux-x86_64".parse().unwrap(),
            policy: ComponentPolicy {
                name: "web".parse().unwrap(),
                channel: "stable".to_owned(),
                mode: Mode::Automatic,
                pin: None,
                control_pin: None,
                after: Vec::new(),
                windows: Vec::new(),
                parameters: BTreeMap::new(),
            },
            slots,
            floors: Floors::default(),
            ledger: Ledger::default(),
            launcher: 1,
            others: BTreeMap::new(),
            clock_off: None,
            now: "2026-06-01T12:00:00Z".parse().unwrap(),
            offers: vec![
                offer("1.0.0", 1, "<1.0.0"),
                offer("1.1.0", 2, "<1.1.0"),
                offer("1.2.0", 3, "<1.2.0"),
                offer("1.3.0", 4, "<1.3.0"),
            ],
            skipped: Vec::new(),
            permits: Vec::new(),
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut host = Self::new();
        change(&mut host);
        host
    }

    fn schedule(&self) -> Schedule {
        let zones = jiff::tz::TimeZoneDatabase::bundled();
        Schedule::parse(&self.policy.windows, &zones).unwrap()
    }

    fn asked(&self, asked: Asked<'_>) -> Decision {
        let windows = self.schedule();
        let permits: Vec<&Permit> = self.permits.iter().collect();
        choose_with(&self.facts(&windows), &self.offers, &self.skipped, &permits, asked)
    }

    fn left_alone(&self) -> Decision {
        self.asked(Asked::Nobody)
    }

    fn back(&self, to: Option<&str>) -> Result<RollBack, Reason> {
        let windows = self.schedule();
        let permits: Vec<&Permit> = self.permits.iter().collect();
        let to = to.map(version);
        choose_rollback_with(&self.facts(&windows), &self.offers, &permits, to.as_ref())
    }

    fn facts<'a>(&'a self, windows: &'a Schedule) -> Facts<'a> {
        Facts {
            agent: &self.agent,
            platform: &self.platform,
            policy: &self.policy,
            windows,
            slots: &self.slots,
            floors: &self.floors,
            ledger: &self.ledger,
            launcher: self.launcher,
            others: &self.others,
            clock_off: self.clock_off,
            now: self.now,
        }
    }

    fn quarantine(&mut self, text: &str) {
        let each = slot(text, 9);
        let slots = begin_trial(&self.slots, each, Millis(1000), 1, None).unwrap();
        self.slots = quarantine_trial(&slots, run(9), "it did not answer", when(2)).unwrap();
    }

    /// The guard's time is over, and nobody raised the floor yet.
    fn settle(&mut self) {
        self.slots.current.as_mut().unwrap().guard = None;
    }

    fn permit(&mut self, to: &str) -> OrderId {
        let id = OrderId::mint(&mut IdGen::new([5; 32]), when(0));
        self.permits.push(Permit {
            type_: Permit::TYPE.to_owned(),
            id,
            component: self.policy.name.clone(),
            agents: vec![self.agent.clone()],
            to: version(to),
            reason: "asked for".to_owned(),
            expires: "2026-07-01T00:00:00Z".parse().unwrap(),
        });
        id
    }

    fn revoke(&mut self, text: &str) {
        let offers = self.offers.iter_mut();
        for offer in offers.filter(|offer| offer.facts.version == version(text)) {
            offer.facts.revoked = Some("it eats data".to_owned());
        }
    }
}

fn stops(decision: &Decision) -> Vec<String> {
    match &decision.choice {
        Choice::Update { path, next, .. } => {
            assert_eq!(path[0], next.id());
            path.iter().map(|stop| stop.version.to_string()).collect()
        }
        Choice::UpToDate | Choice::Hold(_) => panic!("no update: {decision:?}"),
    }
}

fn held(decision: &Decision) -> &Reason {
    match &decision.choice {
        Choice::Hold(reason) => reason,
        Choice::UpToDate | Choice::Update { .. } => panic!("not held: {decision:?}"),
    }
}

#[test]
fn the_highest_version_that_can_be_reached_is_chosen() {
    assert_eq!(stops(&Host::new().left_alone()), ["1.3.0"]);
    let floor = Host::with(|host| host.offers[2].facts.floor = true);
    assert_eq!(stops(&floor.left_alone()), ["1.2.0", "1.3.0"]);
    let newest = Host::with(|host| host.offers.truncate(2));
    assert_eq!(newest.left_alone().choice, Choice::UpToDate);
    let first = Host::with(|host| host.slots = Slots::default());
    assert_eq!(stops(&first.left_alone()), ["1.3.0"]);
}

#[test]
fn an_order_lifts_no_quarantine_and_both_pins_must_allow_it() {
    let host = Host::with(|host| host.quarantine("1.3.0"));
    let ordered = host.asked(Asked::Ordered(&version("1.3.0")));
    assert_eq!(held(&ordered).code(), "quarantined");
    let host = Host::with(|host| host.policy.control_pin = Some("<1.3".parse().unwrap()));
    let ordered = host.asked(Asked::Ordered(&version("1.3.0")));
    assert_eq!(held(&ordered).code(), "control-pinned");
    // A person on the host is bound by it too, until it is taken away.
    assert_eq!(held(&host.asked(Asked::For(&version("1.3.0")))).code(), "control-pinned");
    let host = Host::with(|host| {
        host.policy.pin = Some("1.2.0".parse().unwrap());
        host.policy.control_pin = Some("1.3.0".parse().unwrap());
    });
    assert_eq!(held(&host.asked(Asked::Ordered(&version("1.3.0")))).code(), "pinned");
}

#[test]
fn a_quarantined_version_is_passed_over_and_yet_a_person_may_ask_for_it() {
    let host = Host::with(|host| host.quarantine("1.3.0"));
    let decision = host.left_alone();
    assert_eq!(stops(&decision), ["1.2.0"]);
    assert_eq!(decision.notes[0].code(), "quarantined");
    let asked = host.asked(Asked::For(&version("1.3.0")));
    let Choice::Update { lifts_quarantine, .. } = asked.choice else { panic!("{asked:?}") };
    assert_eq!(lifts_quarantine, Some(release_of("1.3.0")));
    let alone = Host::with(|host| {
        host.quarantine("1.3.0");
        host.offers.remove(2);
    });
    assert_eq!(held(&alone.left_alone()).code(), "quarantined");
}

#[test]
fn what_a_person_left_is_not_installed_again_by_itself() {
    let host = Host::with(|host| {
        host.offers.truncate(2);
        host.slots = roll_back_to(&host.slots, &release_of("1.0.0"), "by hand", when(2)).unwrap();
    });
    assert_eq!(held(&host.left_alone()).code(), "quarantined");
}

#[test]
fn a_pin_limits_the_target_and_not_the_stops() {
    let host = Host::with(|host| {
        host.offers[2].facts.floor = true;
        host.policy.pin = Some("1.3.0".parse().unwrap());
    });
    assert_eq!(stops(&host.left_alone()), ["1.2.0", "1.3.0"]);
    let host = Host::with(|host| host.policy.pin = Some("<1.3".parse().unwrap()));
    let decision = host.left_alone();
    assert_eq!((stops(&decision), decision.notes[0].code()), (vec!["1.2.0".to_owned()], "pinned"));
    let host = Host::with(|host| host.policy.pin = Some("<1.2".parse().unwrap()));
    assert_eq!(held(&host.left_alone()).code(), "pinned");
}

#[test]
fn a_host_that_runs_a_revoked_release_says_so_and_takes_the_nearest_way_out() {
    let host = Host::with(|host| {
        host.revoke("1.1.0");
        host.offers[3].facts.upgrades_from = ">=1.2.0, <1.3.0".parse().unwrap();
    });
    let decision = host.left_alone();
    assert_eq!(stops(&decision), ["1.2.0"]);
    assert_eq!(decision.notes[0].code(), "running-revoked");
    let stuck = Host::with(|host| {
        host.revoke("1.1.0");
        host.offers.truncate(2);
    });
    assert_eq!(held(&stuck.left_alone()).code(), "running-revoked");
}

#[test]
fn a_revoked_release_that_nobody_runs_holds_nobody_back() {
    let host = Host::with(|host| {
        host.offers.truncate(3);
        host.revoke("1.2.0");
    });
    let decision = host.left_alone();
    assert_eq!(decision.choice, Choice::UpToDate);
    assert_eq!(decision.notes[0].code(), "revoked");
    let asked = host.asked(Asked::For(&version("1.2.0")));
    assert_eq!(held(&asked).code(), "revoked");
}

#[test]
fn windows_and_manual_mode_hold_the_host_and_not_a_person() {
    let window = Window {
        days: vec!["sat".to_owned()],
        start: "02:00".to_owned(),
        length: Millis(3_600_000),
        zone: "UTC".to_owned(),
    };
    let host = Host::with(|host| host.policy.windows = vec![window]);
    let opens = Some("2026-06-06T02:00:00Z".parse().unwrap());
    assert_eq!(held(&host.left_alone()), &Reason::WindowClosed { until: opens });
    assert_eq!(stops(&host.asked(Asked::Newest)), ["1.3.0"]);
    let host = Host::with(|host| host.policy.mode = Mode::Manual);
    assert_eq!(held(&host.left_alone()).code(), "manual");
    assert_eq!(stops(&host.asked(Asked::Newest)), ["1.3.0"]);
}

#[test]
fn another_component_comes_first() {
    let database: ComponentName = "db".parse().unwrap();
    let mut host = Host::with(|host| host.policy.after = vec!["db".parse().unwrap()]);
    assert_eq!(held(&host.left_alone()).code(), "waiting-for");
    host.others.insert(database.clone(), Standing::Moving);
    assert_eq!(held(&host.asked(Asked::Newest)).code(), "waiting-for");
    host.others.insert(database, Standing::Settled);
    assert_eq!(stops(&host.left_alone()), ["1.3.0"]);
}

#[test]
fn a_launcher_that_is_too_old_is_passed_by_an_earlier_release_that_it_can_run() {
    let host = Host::with(|host| host.offers[3].facts.launcher = 2);
    let decision = host.left_alone();
    assert_eq!(stops(&decision), ["1.2.0"]);
    assert_eq!(decision.notes[0].code(), "launcher-too-old");
}

#[test]
fn a_downgrade_needs_a_permit_that_was_not_spent() {
    let mut host = Host::with(|host| {
        host.settle();
        host.offers.insert(0, offer("0.9.0", 1, "<0.9.0"));
    });
    let wanted = version("0.9.0");
    assert_eq!(held(&host.asked(Asked::For(&wanted))).code(), "needs-permit");
    let id = host.permit("0.9.0");
    let decision = host.asked(Asked::For(&wanted));
    let Choice::Update { permit, .. } = &decision.choice else { panic!("{decision:?}") };
    assert_eq!(*permit, Some(id));
    host.ledger = host.ledger.spent(&host.permits[0], when(5));
    let decision = host.asked(Asked::For(&wanted));
    assert!(held(&decision).to_string().contains("was spent at"), "{decision:?}");
}

#[test]
fn going_back_while_the_guard_lasts_needs_no_permit_and_afterwards_one() {
    let mut host = Host::new();
    let expected = RollBack { to: release_of("1.0.0"), permit: None, lifts_quarantine: None };
    assert_eq!(host.back(None), Ok(expected.clone()));
    assert_eq!(host.back(Some("1.0.0")), Ok(expected));
    assert_eq!(host.back(Some("0.1.0")).unwrap_err().code(), "not-kept");
    let asked = host.asked(Asked::For(&version("1.0.0")));
    assert_eq!(held(&asked).code(), "kept-here");

    host.settle();
    assert_eq!(host.back(None).unwrap_err().code(), "needs-permit", "although no floor is stored");
    let id = host.permit("1.0.0");
    assert_eq!(host.back(None).unwrap().permit, Some(id));
    host.revoke("1.0.0");
    assert_eq!(host.back(None).unwrap_err().code(), "revoked");
}

#[test]
fn an_empty_repository_channel_or_platform_is_told_apart() {
    let code = |host: Host| held(&host.left_alone()).code();
    assert_eq!(code(Host::with(|host| host.offers.clear())), "not-offered");
    assert_eq!(code(Host::with(|host| host.policy.channel = "beta".to_owned())), "channel-empty");
    let elsewhere = |host: &mut Host| {
        for offer in &mut host.offers {
            offer.facts.platform = "linux-aarch64".parse().unwrap();
        }
    };
    assert_eq!(code(Host::with(elsewhere)), "platform-missing");
    let absent = version("7.0.0");
    assert_eq!(held(&Host::new().asked(Asked::For(&absent))).code(), "no-such-release");
}

#[test]
fn neither_a_trial_nor_a_wrong_clock_lets_anything_begin() {
    let trying = Host::with(|host| {
        host.slots = begin_trial(&host.slots, slot("1.2.0", 3), Millis(1), 1, None).unwrap();
    });
    assert_eq!(held(&trying.asked(Asked::Newest)).code(), "trial-pending");
    assert_eq!(trying.back(None).unwrap_err().code(), "trial-pending");
    let off = Host::with(|host| host.clock_off = Some(Millis(7_200_000)));
    assert_eq!(held(&off.left_alone()).code(), "clock-off");
}

/// A target that only a newer program can read.
fn unread(path: &str) -> Skipped {
    Skipped { path: path.to_owned(), why: "its format is 2".to_owned() }
}

#[test]
fn what_only_a_newer_program_can_read_is_named_and_holds_nothing_back() {
    let host = Host::with(|host| {
        host.offers.truncate(2);
        let paths = ["1.0.5/linux-x86_64", "1.4.0/linux-x86_64", "next/any", "1.5.0/linux-aarch64"];
        host.skipped = paths.iter().map(|path| unread(&format!("web/{path}.tar.zst"))).collect();
    });
    let decision = host.left_alone();
    assert_eq!(decision.choice, Choice::UpToDate);
    let notes: Vec<_> = decision.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "web/next/any.tar.zst is too new for this program: its format is 2; update the agent first",
            "web/1.4.0/linux-x86_64.tar.zst is too new for this program: its format is 2; \
             update the agent first",
        ]
    );
}

#[test]
fn a_version_that_cannot_be_read_is_not_called_missing() {
    let mut host = Host::with(|host| host.skipped = vec![unread("web/9.0.0/linux-x86_64.tar.zst")]);
    let asked = |host: &Host, text| match host.asked(Asked::For(&version(text))).choice {
        Choice::Hold(reason) => reason.code(),
        other @ (Choice::UpToDate | Choice::Update { .. }) => panic!("{other:?}"),
    };
    assert_eq!(asked(&host, "9.0.0"), "too-new");
    assert_eq!(asked(&host, "9.0.1"), "no-such-release");
    host.offers.clear();
    let Choice::Hold(reason) = host.left_alone().choice else { panic!("it holds") };
    assert_eq!(reason.code(), "too-new");
}
