//! The real `handover-agent` against a signed repository over HTTP, with scripted entrypoints:
//! what the agent's own side of the contract does.

#[cfg(test)]
mod doctor;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod site;
#[cfg(test)]
mod stock;

use handover_agent::real_world::Clock as _;
use site::{Site, web};

const PROGRESS: &str = r#"echo '{"stage":"update_install","step":"try","detail":"trying"}'"#;

fn script(rest: &str) -> String {
    format!("#!/bin/sh\n{PROGRESS}\n{rest}\n")
}

#[test]
fn a_host_is_set_up_once_and_knows_that_nothing_is_offered() {
    let site = Site::new();
    site.init();
    let status = site.json(&["status"]);
    assert_eq!(status["agent"], "host-1");
    let checked = site.json(&["check"]);
    assert_eq!(checked[1]["component"], "web");
    assert_eq!(checked[1]["code"], "not-offered");
    let (code, _, said) = site.run(&["update", "db"]);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("follows no component db"), "{said}");
}

#[test]
fn an_entrypoint_gets_the_order_and_its_refusal_is_told_with_its_words() {
    let mut site = Site::new();
    site.init();
    let seen = site.path().join("seen");
    site.publish(
        "1.0.0",
        1,
        &script(&format!("echo \"$@\" >{seen}; cat \"$5\" >>{seen}; echo no port free; exit 3")),
    );
    let (code, _, said) = site.run(&["update", "web"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("no port free"), "{said}");
    assert!(said.contains("trying"), "{said}");
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(seen.starts_with("run --contract 1 --order /"), "{seen}");
    for part in ["\"component\": \"web\"", "\"version\": \"1.0.0\"", "\"sequence\": 1"] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    let left: Vec<_> = std::fs::read_dir(site.root().join("incoming"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".progress"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let explained = site.json(&["explain", "web"]);
    assert_eq!(explained["attempts"]["count"], 1);
    assert_eq!(explained["choice"], "update");
}

#[test]
fn a_hanging_entrypoint_is_ended_with_all_that_it_started() {
    let mut site = Site::new();
    site.init();
    let pid = site.path().join("pid");
    site.publish("1.0.0", 1, &script(&format!("sleep 1000 & echo $! >{pid}; sleep 1000")));
    let (code, _, said) = site.run(&["update", "web"]);
    assert_eq!(code, 4, "{said}");
    assert!(said.replace('\n', " ").contains("did not answer in time"), "{said}");
    let pid = std::fs::read_to_string(pid).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    assert!(stat.is_err() || stat.unwrap().contains(") Z "), "the child still runs");
    let status = site.json(&["status"]);
    assert_eq!(status["components"][1]["state"], "not-installed");
}

#[test]
fn an_entrypoint_that_claims_a_trial_is_not_believed() {
    let mut site = Site::new();
    site.init();
    site.publish("1.0.0", 1, &script("exit 0"));
    let (code, _, said) = site.run(&["update", "web"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("there is none"), "{said}");
}

#[test]
fn following_tries_a_failing_release_rarely_and_a_newer_one_at_once() {
    let mut site = Site::new();
    site.init();
    let count = site.path().join("count");
    site.publish("1.0.0", 1, &script(&format!("echo one >>{count}; exit 4")));
    let (code, out, said) = site.run(&["follow", "--once"]);
    assert_eq!(code, 4, "{out}{said}");
    let (code, out, said) = site.run(&["follow", "--once"]);
    assert_eq!(code, 0, "{out}{said}");
    site.publish("1.1.0", 2, &script(&format!("echo two >>{count}; exit 4")));
    site.run(&["follow", "--once"]);
    assert_eq!(std::fs::read_to_string(count).unwrap(), "one\ntwo\n");
}

#[test]
fn only_one_command_updates_a_component_at_a_time() {
    let mut site = Site::new();
    site.init();
    let began = site.path().join("began");
    site.publish("1.0.0", 1, &script(&format!("echo >{began}; sleep 0.7; exit 3")));
    let mut first = site.command(&["update", "web"]).spawn().unwrap();
    until("the entrypoint runs", || began.exists());
    let (code, _, said) = site.run(&["update", "web"]);
    assert_eq!(code, 7, "{said}");
    assert!(said.contains(&format!("process {}", first.id())), "{said}");
    assert_eq!(first.wait().unwrap().code(), Some(3));
}

#[test]
fn the_entrypoint_outlives_the_agent_that_is_told_to_stop() {
    let mut site = Site::new();
    site.init();
    let (began, ended) = (site.path().join("began"), site.path().join("ended"));
    let body = format!("echo >{began}; sleep 0.5; {PROGRESS}; echo >{ended}; exit 3");
    site.publish("1.0.0", 1, &script(&body));
    let mut agent = site.command(&["follow"]).spawn().unwrap();
    until("the entrypoint runs", || began.exists());
    let pid = rustix::process::Pid::from_child(&agent);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(agent.wait().unwrap().code(), Some(0));
    assert!(!ended.exists(), "the agent waited for the entrypoint");
    until("the entrypoint ends by itself", || ended.exists());
}

#[test]
fn pins_are_kept_beside_the_policy_and_hold() {
    let mut site = Site::new();
    site.init();
    site.publish("1.0.0", 1, &script("exit 3"));
    let policy = std::fs::read(site.root().join("policy.yaml")).unwrap();
    assert_eq!(site.run(&["pin", "web", ">=2"]).0, 0);
    assert_eq!(site.json(&["check"])[1]["code"], "pinned");
    assert_eq!(site.run(&["update", "web"]).0, 3);
    assert_eq!(std::fs::read(site.root().join("policy.yaml")).unwrap(), policy);
    assert_eq!(site.run(&["unpin", "web"]).0, 0);
    assert_eq!(site.json(&["check"])[1]["choice"], "update");
}

#[test]
fn an_attackers_repository_is_refused_by_name() {
    let mut site = Site::new();
    site.init();
    site.publish("1.0.0", 1, &script("exit 3"));
    assert_eq!(site.run(&["check"]).0, 0);
    let old = site.served();
    site.publish("1.1.0", 2, &script("exit 3"));
    assert_eq!(site.run(&["check"]).0, 0);
    // Rolled back.
    site.tamper(|files| *files = old);
    let refused = site.json(&["check"]);
    assert_eq!(
        (refused["error"].as_str(), refused["exit"].as_u64()),
        (Some("trust.rollback"), Some(3))
    );
    // The cached metadata truncated does not help the attacker.
    for name in ["timestamp.json", "snapshot.json", "root.json"] {
        let cached = site.root().join("trust/metadata").join(name);
        if cached.exists() {
            std::fs::File::create(&cached).unwrap();
        }
    }
    assert_eq!(site.json(&["check"])["error"], "trust.rollback");
    // Nor do removed floors.
    std::fs::remove_file(site.root().join("trust/versions.json")).unwrap();
    let refused = site.json(&["check"]);
    assert_eq!(
        (refused["error"].as_str(), refused["exit"].as_u64()),
        (Some("trust.missing-floors"), Some(6))
    );
}

#[test]
fn a_tampered_package_never_runs() {
    let mut site = Site::new();
    site.init();
    let ran = site.path().join("ran");
    site.publish("1.0.0", 1, &script(&format!("echo >{ran}")));
    site.tamper(|files| {
        let package = files.iter_mut().find(|(name, _)| name.starts_with("/targets")).unwrap().1;
        let last = package.len() - 1;
        package[last] ^= 1;
    });
    let refused = site.json(&["update", "web"]);
    assert_eq!(
        (refused["error"].as_str(), refused["exit"].as_u64()),
        (Some("download.digest"), Some(3))
    );
    assert!(!ran.exists());
    assert!(!site.root().join("components").join(web().as_str()).join("slots").exists());
}

#[test]
fn a_demanded_openpgp_signature_that_is_not_there_refuses() {
    let mut site = Site::new();
    site.init();
    site.publish("1.0.0", 1, &script("exit 3"));
    let policy = site.root().join("policy.yaml");
    let text = std::fs::read_to_string(&policy).unwrap();
    let text = text.replace("components:", "openpgp: {keyring: /nowhere.gpg}\ncomponents:");
    handover_hoststeps::disk::write(&policy, text.as_bytes(), 0o644).unwrap();
    let refused = site.json(&["update", "web"]);
    assert_eq!(refused["error"], "openpgp.missing");
}

/// Waits for a condition, at most a minute: other tests may have the machine.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let pause = handover_agent::real_world::Stop::never();
    let clock = handover_agent::real_world::RealClock::start();
    while clock.now().mono < std::time::Duration::from_mins(1) {
        if holds() {
            return;
        }
        pause.wait(std::time::Duration::from_millis(10));
    }
    panic!("never happened: {what}");
}
