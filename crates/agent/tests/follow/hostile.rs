//! What a server, another command or a lost file may not do to a host.

use handover_agent::agent::Agent;
use handover_agent::follow::{ahead_of, perform, refresh_now};
use handover_agent::home::Home;
use handover_agent::outlook::Wish;
use handover_agent::real_world::{Clock as _, RealClock, Stop};
use handover_agent::voice::Voice;
use handover_engine::choose::Asked;
use handover_hoststeps::disk::{self, Lock, SlotsStore};
use handover_model::{
    Digest, IdGen, Layout, Millis, Order, OrderId, Permit, ReleaseId, RunId, Slots, Version,
};

use crate::script;
use crate::site::{Site, key, signed, web};
use crate::stock::Launcher;

/// Garbles or mends every package whose address has `part` in it.
fn garble(site: &Site, part: &str) {
    site.tamper(|files| {
        for (path, bytes) in files {
            if path.starts_with("/targets/") && path.contains(part) {
                for byte in bytes.iter_mut() {
                    *byte ^= 0xff;
                }
            }
        }
    });
}

#[test]
fn a_server_that_keeps_a_package_back_delays_it_and_no_more() {
    let mut site = Site::new();
    site.init();
    site.publish("1.0.0", 1, &script("exit 3"));
    garble(&site, "1.0.0");
    for _ in 0..6 {
        let (code, _, said) = site.run(&["update", "web"]);
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("signed metadata lists"), "{said}");
    }
    let attempts = site.json(&["explain", "web"])["attempts"].clone();
    assert_eq!(attempts["count"], 6);
    let next = attempts["next"].as_str().unwrap();
    assert!(next.starts_with("not before "), "{next}");
}

#[test]
fn a_permit_is_not_spent_by_a_download_that_fails() {
    let mut site = Site::new();
    site.init();
    let _launcher = Launcher::start(&site, "web");
    site.publish_stock("1.0.0", 1, true);
    site.publish_stock("1.1.0", 2, true);
    let (code, _, said) = site.run(&["update", "web"]);
    assert_eq!(code, 0, "{said}");
    garble(&site, "1.0.0");
    let now = RealClock::start().now().wall;
    let id = OrderId::mint(&mut IdGen::new([7; 32]), now);
    let permit = serde_json::json!({
        "_type": Permit::TYPE, "id": id, "component": "web",
        "agents": ["host-1"], "to": "1.0.0", "reason": "a test",
        "expires": now.after(std::time::Duration::from_hours(1)),
    });
    let file = site.path().join("permit.json");
    disk::write(&file, &signed(&permit, &key(4)), 0o644).unwrap();
    let asked = ["update", "web", "--to", "1.0.0", "--permit", file.as_str()];
    let (code, _, said) = site.run(&asked);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("signed metadata lists"), "{said}");
    garble(&site, "1.0.0");
    let (code, _, said) = site.run(&asked);
    assert_eq!(code, 0, "{said}");
    let (code, _, said) = site.run(&asked);
    assert_eq!(code, 0, "it is there: {said}");
}

#[test]
fn nothing_is_installed_beside_an_entrypoint_that_an_earlier_agent_left_at_work() {
    let mut site = Site::new();
    site.init();
    site.publish("1.0.0", 1, &script("exit 3"));
    let layout = Layout::new(site.root(), web());
    disk::make_dir(&layout.directory()).unwrap();
    let lock = Lock::try_take(&layout.upgrade_lock()).unwrap().unwrap();
    let (code, _, said) = site.run(&["update", "web"]);
    assert_eq!(code, 7, "{said}");
    assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
    drop(lock);
    let (code, _, said) = site.run(&["update", "web"]);
    assert_eq!(code, 3, "{said}");
}

#[test]
fn a_decision_falls_when_what_runs_changed_before_the_lock_was_taken() {
    let mut site = Site::new();
    site.init();
    let ran = site.path().join("ran");
    site.publish("1.0.0", 1, &script(&format!("echo >{ran}; exit 3")));
    let home = Home::new(site.root());
    let mut agent = Agent::real(home, Stop::never(), Voice::silent()).unwrap();
    let policy = agent.policy().unwrap();
    let refreshed = refresh_now(&agent, &policy).unwrap().refreshed;
    let wish = Wish { component: &web(), asked: Asked::Newest, permits: &[] };
    let ahead = ahead_of(&agent, &policy, &refreshed, &web(), Some(wish)).unwrap().unwrap();
    // Another command is quicker.
    let own = agent.home.slots(&"handover-agent".parse().unwrap()).unwrap();
    let store = SlotsStore::new(agent.home.component(&web()).slots());
    store.publish(&Slots { generation: 1, ..own }).unwrap();
    let refused = perform(&mut agent, &policy, &refreshed, &ahead, None).unwrap_err();
    assert_eq!(refused.code(), "changed-meanwhile", "{refused}");
    assert!(!ran.exists());
}

#[test]
fn setting_a_host_up_again_does_not_forget_what_it_accepted() {
    let site = Site::new();
    site.init();
    let floors = site.root().join("trust/floors.json");
    std::fs::remove_file(&floors).unwrap();
    site.init();
    assert!(!floors.exists(), "lost floors were taken for none");
    let (code, _, said) = site.run(&["check"]);
    assert_eq!(code, 6, "{said}");
    let (code, _, said) = site.run(&["doctor", "--mend"]);
    assert_eq!(code, 0, "{said}");

    let versions = site.root().join("trust/versions.json");
    let before = std::fs::read(&versions).unwrap();
    std::fs::remove_file(site.root().join("trust/root.json")).unwrap();
    site.init();
    assert_eq!(std::fs::read(&versions).unwrap(), before);
}

#[test]
fn a_release_that_a_person_took_back_can_be_installed_again_when_a_person_asks() {
    let mut site = Site::new();
    site.init();
    let _launcher = Launcher::start(&site, "web");
    for (version, sequence) in [("1.0.0", 1), ("1.1.0", 2)] {
        site.publish_returnable(version, sequence);
        let (code, _, said) = site.run(&["update", "web"]);
        assert_eq!(code, 0, "{said}");
    }
    let (code, out, said) = site.run(&["rollback", "web"]);
    assert_eq!((code, out.trim()), (0, "web 1.0.0: running"), "{said}");
    assert!(said.contains("outside its slot"), "{said}");
    let (code, out, said) = site.run(&["update", "web", "--to", "1.1.0"]);
    assert_eq!(code, 0, "{out}{said}");
    assert_eq!(site.json(&["status"])["components"][1]["current"], "1.1.0");
}

#[test]
fn a_rollback_without_launcher_and_metadata_says_what_is_not_known() {
    let mut site = Site::new();
    site.init();
    let launcher = Launcher::start(&site, "web");
    for (version, sequence) in [("1.0.0", 1), ("1.1.0", 2)] {
        site.publish_returnable(version, sequence);
        let (code, _, said) = site.run(&["update", "web"]);
        assert_eq!(code, 0, "{said}");
    }
    drop(launcher);
    let metadata = site.root().join("trust/metadata");
    std::fs::remove_dir_all(&metadata).unwrap();
    std::fs::create_dir(&metadata).unwrap();
    let (code, out, said) = site.run(&["rollback", "web"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("revoked is not known"), "{said}");
    assert!(out.starts_with("web 1.0.0: published: no launcher runs"), "{out}{said}");
}

#[test]
fn a_component_whose_role_is_refused_holds_back_no_other_and_says_why() {
    let mut site = Site::new();
    site.init();
    site.publish("1.0.0", 1, &script("exit 3"));
    site.tamper(|files| {
        let own = |path: &&String| path.ends_with(".component-handover-agent.json");
        let path = files.keys().rfind(own).unwrap().clone();
        files.insert(path, b"{}".to_vec());
    });
    let (code, out, said) = site.run(&["follow", "--once"]);
    assert_eq!(code, 3, "web was not tried: {out}{said}");
    assert!(out.contains("web 1.0.0: refused"), "{out}{said}");
    let checked = site.json(&["check"]);
    assert_eq!(checked[0]["code"], "trust.mix-and-match", "{checked}");
    assert_eq!(checked[1]["choice"], "update", "{checked}");
    let explained = site.json(&["explain", "handover-agent"]);
    assert_eq!(explained["choice"], "unknown", "{explained}");
    assert_eq!(explained["news"]["refused"]["code"], "trust.mix-and-match", "{explained}");
    let (code, _, said) = site.run(&["update", "handover-agent"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("trust.mix-and-match"), "{said}");
}

#[test]
fn an_entrypoint_that_says_millions_of_empty_lines_does_not_keep_the_agent_busy() {
    let mut site = Site::new();
    site.init();
    site.publish("1.0.0", 1, &script("head -c 4000000 /dev/zero | tr '\\0' '\\n'; exit 3"));
    let began = RealClock::start();
    let (code, _, said) = site.run(&["update", "web"]);
    assert_eq!(code, 3, "{said}");
    let took = began.now().mono;
    assert!(took < std::time::Duration::from_mins(1), "{took:?}");
}

#[test]
fn a_cut_run_is_not_resumed_with_an_entrypoint_that_somebody_changed() {
    let site = Site::new();
    site.init();
    let (layout, ran) = (Layout::new(site.root(), web()), site.path().join("ran"));
    let to = ReleaseId { version: Version::new(1, 0, 0), digest: Digest::of(b"package") };
    let now = RealClock::start().now().wall;
    let mut ids = IdGen::new([7; 32]);
    let order = Order {
        contract: 1,
        id: OrderId::mint(&mut ids, now),
        run: RunId::mint(&mut ids, now),
        component: web(),
        root: site.root(),
        from: None,
        to: to.clone(),
        sequence: 1,
        deadline: now,
        patience: Millis(1000),
        parameters: std::collections::BTreeMap::new(),
    };
    let directory = layout.run(order.run);
    disk::make_dir(&directory).unwrap();
    let text = serde_json::to_vec(&order).unwrap();
    disk::write(&directory.join("order.json"), &text, 0o600).unwrap();
    let program = layout.incoming(&to.digest).join("handover/upgrade");
    disk::make_dir(program.parent().unwrap()).unwrap();
    let text = script(&format!("echo >{ran}; exit 3"));
    disk::write(&program, text.as_bytes(), 0o755).unwrap();

    let keep = |digest| {
        let files = [("handover/upgrade".into(), digest)].into_iter().collect();
        handover_agent::contents::keep(&layout, &to, &files).unwrap();
    };
    keep(Digest::of(b"what was signed"));
    let (_, _, said) = site.run(&["follow", "--once"]);
    assert!(!ran.exists(), "a changed entrypoint was run");
    assert!(said.contains("is not what was unpacked"), "{said}");
    keep(Digest::of(text.as_bytes()));
    site.run(&["follow", "--once"]);
    assert!(ran.exists());
}

#[test]
fn a_damaged_component_stops_itself_and_no_other() {
    let mut site = Site::new();
    site.init();
    site.publish("1.0.0", 1, &script("exit 3"));
    let own = Layout::new(site.root(), "handover-agent".parse().unwrap());
    disk::write(&own.slots().join("2.json"), b"", 0o644).unwrap();
    let (code, out, said) = site.run(&["follow", "--once"]);
    assert_eq!(code, 3, "web was not tried: {out}{said}");
    assert!(out.contains("web 1.0.0: refused"), "{out}{said}");
    let (code, _, said) = site.run(&["update", "handover-agent"]);
    assert_eq!(code, 6, "{said}");
    let (code, _, said) = site.run(&["check"]);
    assert_eq!(code, 6, "{said}");
}

#[test]
fn what_nobody_touched_for_a_day_is_removed_unless_a_run_needs_it() {
    let site = Site::new();
    site.init();
    let home = Home::new(site.root());
    let mut agent = Agent::real(home, Stop::never(), Voice::silent()).unwrap();
    let policy = agent.policy().unwrap();
    let incoming = agent.home.incoming();
    let digest = |text: &str| handover_model::Digest::of(text.as_bytes()).to_string();
    let now = std::time::SystemTime::from(agent.now().wall.as_jiff());
    let long_ago = now - std::time::Duration::from_hours(25);
    let put = |name: String, old: bool| {
        let path = incoming.join(name);
        disk::write(&path, b"x", 0o600).unwrap();
        if old {
            std::fs::File::open(&path).unwrap().set_modified(long_ago).unwrap();
        }
        path
    };
    let old = [
        put(format!("{}.part", digest("a")), true),
        put(format!("{}.progress", digest("b")), true),
    ];
    let kept = [
        put(format!("{}.part", digest("fresh")), false),
        put(format!("{}.progress", digest("in use")), true),
    ];
    let run = "run_00000000000070008000000000000001";
    let order = serde_json::json!({
        "contract": 1, "id": "order_00000000000070008000000000000001", "run": run,
        "component": "web", "root": site.root(), "sequence": 1,
        "to": { "version": "1.0.0", "digest": digest("in use") },
        "deadline": "2026-01-01T00:00:00Z", "patience": "1s",
    });
    let layout = agent.home.component(&web());
    let place = layout.run(run.parse().unwrap());
    disk::make_dir(&place).unwrap();
    let order: handover_model::Order = serde_json::from_value(order).unwrap();
    disk::write(&place.join("order.json"), &serde_json::to_vec(&order).unwrap(), 0o600).unwrap();

    // Somebody installs: nothing is touched.
    let lock = Lock::try_take(&agent.home.update_lock(&web())).unwrap().unwrap();
    handover_agent::follow::round(&mut agent, &policy).unwrap();
    assert!(old.iter().chain(&kept).all(|path| path.exists()));
    drop(lock);
    handover_agent::follow::round(&mut agent, &policy).unwrap();
    assert!(old.iter().all(|path| !path.exists()));
    assert!(kept.iter().all(|path| path.exists()));
}
