//! Which steps an upgrade has, what each may know, and every reason to refuse one.

use std::collections::BTreeMap;

use handover_model::{CheckKind, Digest, IdGen, Quarantined, RunId, Slots, Timestamp};
use serde_json::json;

use super::*;

fn manifest(version: &str, more: Value) -> Manifest {
    let mut value = json!({
        "format": 1, "component": "web", "version": version, "sequence": 2,
        "upgrades_from": ">=1.0.0",
        "service": {"executable": "bin/web", "arguments": ["--state", "${state}", "--port",
            "${param.port}"]},
        "parameters": {"port": {"default": "8080"}},
        "state": {"schema": 2, "migrations": [{"from": 1, "up": ["bin/up", "${state}"]}]},
    });
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    serde_json::from_value(value).unwrap()
}

fn release(version: &str) -> ReleaseId {
    ReleaseId { version: version.parse().unwrap(), digest: Digest::of(version.as_bytes()) }
}

fn run(number: u8) -> RunId {
    RunId::mint(&mut IdGen::new([number; 32]), Timestamp::from_micros(0))
}

fn order(from: Option<&str>, to: &str) -> Order {
    Order {
        contract: 1,
        id: "order_00000000000070008000000000000001".parse().unwrap(),
        run: run(1),
        component: "web".parse().unwrap(),
        root: "/r".into(),
        from: from.map(release),
        to: release(to),
        sequence: 2,
        deadline: Timestamp::from_micros(1000),
        patience: Millis(1000),
        parameters: BTreeMap::new(),
    }
}

fn facts(current: Option<&str>) -> HostFacts {
    let current = current.map(|version| Slot {
        release: release(version),
        sequence: 1,
        recipe: recipe::recipe_for_tests(version),
        state: Some("/r/components/web/state/1.1".into()),
        config: "/r/components/web/config/1".into(),
        run: run(9),
        committed_at: None,
        guard: None,
    });
    HostFacts {
        now: Timestamp::from_micros(1000),
        old: current.as_ref().map(|_| {
            let state = json!({"state": {"schema": 1}});
            manifest("1.0.0", state)
        }),
        slots: Slots { generation: 3, current, ..Slots::default() },
        launcher_runs: true,
        package: Layout::new("/r", "web".parse().unwrap()).incoming(&release("1.1.0").digest),
        old_parameters: BTreeMap::new(),
        copied_bytes: 1000,
        has_launcher: false,
        executable_digest: Digest::of(b"exe"),
        executable_machine: Some(62),
        host_machine: Some(62),
        free_state: 7,
        free_config: 8,
        taken_sockets: Vec::new(),
        unusable_user: None,
        edited: std::collections::BTreeSet::new(),
        unfinished_run: None,
    }
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|spec| spec.id.as_str()).collect()
}

fn inputs<T: serde::de::DeserializeOwned>(plan: &Plan, id: &str) -> T {
    let spec = plan.steps.iter().find(|spec| spec.id.as_str() == id).unwrap();
    serde_json::from_value(spec.inputs.clone()).unwrap()
}

#[test]
fn an_upgrade_with_state_pauses_before_it_copies_and_tries_after_it_migrated() {
    let plan = compile(
        &order(Some("1.0.0"), "1.1.0"),
        &manifest("1.1.0", json!({"return_within": "1h"})),
        &facts(Some("1.0.0")),
    )
    .unwrap();
    plan.check().unwrap();
    assert!(plan.revert_on_failure);
    assert_eq!(
        ids(&plan),
        [
            "preflight",
            "install",
            "config",
            "pause",
            "state",
            "trial",
            "swap",
            "watch",
            "commit",
            "retention",
            "guard"
        ]
    );
    let prepare: PrepareState = inputs(&plan, "state");
    assert_eq!(prepare.to, "/r/components/web/state/2.7");
    assert_eq!(prepare.migrations[0].arguments, ["/r/components/web/state/2.7.work"]);
    let trial: SetTrial = inputs(&plan, "trial");
    assert!(trial.paused);
    assert_eq!(trial.slot.recipe.arguments[1], "/r/components/web/state/2.7");
    assert_eq!(trial.slot.recipe.arguments[3], "8080");
    assert_eq!(trial.guard.unwrap().within, Millis(3_600_000));
}

#[test]
fn a_first_release_pauses_nothing_and_starts_with_empty_state() {
    let plan = compile(
        &order(None, "1.1.0"),
        &manifest("1.1.0", json!({"return_within": "1h"})),
        &HostFacts { launcher_runs: false, ..facts(None) },
    )
    .unwrap();
    assert!(!ids(&plan).contains(&"pause") && !ids(&plan).contains(&"guard"));
    let prepare: PrepareState = inputs(&plan, "state");
    assert_eq!((prepare.from, prepare.migrations.len()), (None, 0));
}

#[test]
fn a_check_asks_for_this_hosts_address_and_for_this_releases_answer() {
    let check = json!({"name": "answers", "http": {
        "url": "http://127.0.0.1:${param.port}/", "contains": "version ${version}"}});
    let new = manifest("1.1.0", json!({"health": {"checks": [check]}}));
    let plan = compile(&order(None, "1.1.0"), &new, &facts(None)).unwrap();
    let watch: WatchHealth = inputs(&plan, "watch");
    let CheckKind::Http { url, contains, .. } = &watch.health.checks[0].kind else {
        panic!("another kind of check")
    };
    assert_eq!(url, "http://127.0.0.1:8080/");
    assert_eq!(contains.as_deref(), Some("version 1.1.0"));
}

#[test]
fn a_release_without_state_never_stops_the_old_one_before_the_swap() {
    let mut new = manifest("1.1.0", json!({}));
    new.state = None;
    new.service.arguments.clear();
    let plan = compile(&order(Some("1.0.0"), "1.1.0"), &new, &facts(Some("1.0.0"))).unwrap();
    assert!(!ids(&plan).contains(&"pause") && !ids(&plan).contains(&"state"));
}

#[test]
fn a_release_that_lies_in_its_place_is_not_installed_again() {
    let layout = Layout::new("/r", "web".parse().unwrap());
    let facts = HostFacts { package: layout.release(&release("1.1.0")), ..facts(Some("1.0.0")) };
    let plan =
        compile(&order(Some("1.0.0"), "1.1.0"), &manifest("1.1.0", json!({})), &facts).unwrap();
    assert!(!ids(&plan).contains(&"install"));
}

#[test]
fn outside_files_come_after_commit_with_their_placeholders_filled() {
    let outside = json!({"outside": [{"path": "/etc/${param.port}", "source": "unit",
        "then": ["systemctl", "daemon-reload"]}]});
    let plan =
        compile(&order(Some("1.0.0"), "1.1.0"), &manifest("1.1.0", outside), &facts(Some("1.0.0")))
            .unwrap();
    let at = |id: &str| ids(&plan).iter().position(|found| *found == id).unwrap();
    assert!(at("commit") < at("outside-1"));
    let copy: OutsideCopy = inputs(&plan, "outside-1");
    assert_eq!(copy.path, "/etc/8080");
    assert_eq!(copy.then.unwrap().program, "/usr/bin/env");
    let bad = json!({"outside": [{"path": "/etc/x", "source": "unit", "mode": "4755"}]});
    let refused =
        compile(&order(Some("1.0.0"), "1.1.0"), &manifest("1.1.0", bad), &facts(Some("1.0.0")));
    assert!(matches!(refused, Err(Refused::Manifest { .. })));
}

/// A release of the agent itself, and the order for it.
fn agent() -> (Order, Manifest, HostFacts) {
    let mut manifest = manifest("1.1.0", json!({"component": "handover-agent"}));
    manifest.state = None;
    manifest.service.arguments.clear();
    let order = Order { component: manifest.component.clone(), ..order(None, "1.1.0") };
    (order, manifest, HostFacts { has_launcher: true, ..facts(None) })
}

#[test]
fn only_the_agent_brings_the_launcher() {
    let (order, manifest, facts) = agent();
    let plan = compile(&order, &manifest, &facts).unwrap();
    let replace: ReplaceLauncher = inputs(&plan, "launcher");
    assert_eq!(replace.target, "/r/bin/handover-launch");
}

#[test]
fn an_agent_that_would_stop_whoever_upgrades_it_is_refused() {
    let (order, mut manifest, facts) = agent();
    manifest.state = Some(serde_json::from_value(json!({"schema": 1})).unwrap());
    let refused = compile(&order, &manifest, &facts).unwrap_err();
    assert_eq!(refused, Refused::AgentState { component: manifest.component });
}

#[test]
fn an_agent_without_a_launcher_is_refused_before_anything_changes() {
    let (order, manifest, facts) = agent();
    let bare = HostFacts { has_launcher: false, ..facts };
    let refused = compile(&order, &manifest, &bare).unwrap_err();
    let path = "bin/handover-launch";
    assert_eq!(refused, Refused::LauncherMissing { component: manifest.component, path });
}

/// Refuses what `change` makes of a fine upgrade.
fn refused(change: impl FnOnce(&mut Order, &mut Manifest, &mut HostFacts)) -> Refused {
    let mut order = order(Some("1.0.0"), "1.1.0");
    let mut manifest = manifest("1.1.0", json!({}));
    let mut facts = facts(Some("1.0.0"));
    compile(&order, &manifest, &facts).unwrap();
    change(&mut order, &mut manifest, &mut facts);
    compile(&order, &manifest, &facts).unwrap_err()
}

#[test]
fn orders_that_do_not_fit_are_refused_by_name() {
    assert!(matches!(refused(|o, _, _| o.contract = 2), Refused::Contract { .. }));
    assert!(matches!(refused(|o, _, _| o.contract = 0), Refused::Contract { .. }));
    let late = refused(|_, _, f| f.now = Timestamp::from_micros(1001));
    assert!(matches!(late, Refused::Expired { .. }));
    let other = refused(|o, _, _| o.component = "other".parse().unwrap());
    assert!(matches!(other, Refused::Foreign { .. }));
    assert!(matches!(refused(|o, _, _| o.sequence = 3), Refused::Foreign { .. }));
    assert!(matches!(refused(|o, _, _| o.from = None), Refused::From { .. }));
    assert!(matches!(refused(|_, _, f| f.slots.current = None), Refused::From { .. }));
    let busy = refused(|_, _, f| f.unfinished_run = Some(run(2)));
    assert_eq!(busy, Refused::Busy { run: run(2) });
    let quarantined = refused(|o, _, f| {
        f.slots.quarantine = vec![Quarantined {
            release: o.to.clone(),
            reason: "it crashed".to_owned(),
            at: Timestamp::from_micros(0),
            run: run(3),
        }];
    });
    assert!(matches!(quarantined, Refused::Quarantined { .. }));
    let same = refused(|o, _, f| {
        f.slots.current.as_mut().unwrap().release = o.to.clone();
    });
    assert!(matches!(same, Refused::AlreadyCurrent { .. }));
}

#[test]
fn hosts_that_do_not_fit_are_refused_by_name() {
    assert!(matches!(refused(|_, m, _| m.launcher = 99), Refused::Launcher { .. }));
    assert!(matches!(refused(|_, _, f| f.launcher_runs = false), Refused::NoLauncher { .. }));
    assert!(matches!(refused(|_, _, f| f.host_machine = Some(183)), Refused::Machine { .. }));
    let taken = refused(|_, _, f| f.taken_sockets = vec!["127.0.0.1:1".to_owned()]);
    assert!(matches!(taken, Refused::SocketTaken { .. }));
    let user = refused(|_, _, f| f.unusable_user = Some("no such user".to_owned()));
    assert!(matches!(user, Refused::User { .. }));
    let gap = refused(|_, m, _| m.state.as_mut().unwrap().schema = 3);
    assert_eq!(gap, Refused::MigrationGap { from: 2, to: 3 });
    let older = refused(|_, _, f| {
        f.old.as_mut().unwrap().state.as_mut().unwrap().schema = 5;
    });
    assert_eq!(older, Refused::OlderSchema { found: 5, wanted: 2 });
    let silent = refused(|_, m, _| {
        m.parameters.insert("must".to_owned(), handover_model::Parameter::default());
    });
    assert_eq!(silent, Refused::Parameter { name: "must".to_owned() });
    let unknown = refused(|_, m, _| m.service.arguments.push("${nothing}".to_owned()));
    assert!(matches!(unknown, Refused::Fill { .. }));
    let edited = refused(|_, m, f| {
        m.configuration = vec![handover_model::ConfigFile {
            path: "a.conf".into(),
            source: "a.conf".into(),
            edits: Edits::Refuse,
            fill: true,
        }];
        f.edited.insert("a.conf".to_owned());
    });
    assert_eq!(edited, Refused::Edited { path: "a.conf".to_owned() });
}
