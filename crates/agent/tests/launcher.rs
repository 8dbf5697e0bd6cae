//! The real launcher with real children: swaps, trials, returns.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use handover_engine::slots;
use handover_hoststeps::disk;
use handover_model::{Guard, LAUNCHER_PROTOCOL, LaunchEvent, Millis, StopSpec};
use rustix::process::{Pid, Signal};

#[cfg(test)]
#[path = "launcher/child.rs"]
mod child;
#[cfg(test)]
#[path = "launcher/host.rs"]
mod host;

use host::{Host, PATIENCE, free_address, lives, socket};

/// Does nothing, for ever, and ends when asked.
const IDLE: &str = "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done";

fn ask(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((_head, body)) if !body.is_empty() => Ok(body.to_owned()),
        Some(_) | None => Err(std::io::Error::other(format!("half an answer: {answer:?}"))),
    }
}

#[test]
fn current_is_started_and_a_commit_leaves_the_process_alone() {
    let mut host = Host::new();
    let (old, new) = (host.script("1.0.0", IDLE), host.script("1.1.0", IDLE));
    host.install(&old);
    host.launch();
    let first = host.is_ready("1.0.0");
    host.try_out(&new, PATIENCE, 3);
    let second = host.is_ready("1.1.0");
    assert!(!lives(first));
    assert_eq!(host.slots().trial.unwrap().boots_left, 2);
    host.commit(&new);
    let slots = host.slots();
    assert_eq!(slots.current.unwrap().release, new.release);
    assert_eq!(slots.previous[0].release, old.release);
    assert_eq!(host.stop_launcher(), Some(0));
    assert_eq!((host.started("1.0.0").len(), host.started("1.1.0").len()), (1, 1));
    assert!(!lives(second));
}

#[test]
fn a_first_release_is_waited_for_and_then_started() {
    let mut host = Host::new();
    let first = host.script("1.0.0", IDLE);
    host.launch();
    host.until("the launcher watches", || {
        host.events().first() == Some(&LaunchEvent::LauncherStarted)
    });
    host.try_out(&first, PATIENCE, 2);
    host.is_ready("1.0.0");
    host.commit(&first);
    assert_eq!(host.stop_launcher(), Some(0));
}

#[test]
fn twenty_swaps_refuse_and_reset_no_connection() {
    let mut host = Host::new();
    let address = free_address();
    let first = host.service("1.0.0", &address);
    host.install(&first);
    host.launch();
    host.is_ready("1.0.0");
    let (done, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                ask(&address)?;
                answers.fetch_add(1, Ordering::SeqCst);
            }
            std::io::Result::Ok(())
        });
        for minor in 1..=20 {
            let version = format!("1.{minor}.0");
            let next = host.service(&version, &address);
            host.try_out(&next, PATIENCE, 1);
            host.is_ready(&version);
            host.commit(&next);
            assert_eq!(ask(&address).unwrap(), version);
        }
        done.store(true, Ordering::SeqCst);
        client.join().unwrap().unwrap();
    });
    assert!(answers.load(Ordering::SeqCst) > 20, "{answers:?}");
}

#[test]
fn a_trial_that_crashes_is_back_within_a_second_and_quarantined_with_the_reason() {
    let mut host = Host::new();
    let (good, bad) = (host.script("1.0.0", IDLE), host.script("1.1.0", "exit 3"));
    host.install(&good);
    host.launch();
    host.is_ready("1.0.0");
    let began = host.now();
    host.try_out(&bad, PATIENCE, 2);
    host.starts("1.0.0", 2);
    let took = host.since(began);
    assert!(took < Duration::from_secs(1), "{took:?}");
    let reason = host.goes_to_quarantine("1.1.0");
    assert!(reason.contains("code 3"), "{reason}");
    assert_eq!(host.started("1.1.0").len(), 2);
    assert_eq!(host.slots().current.unwrap().release, good.release);
}

#[test]
fn a_trial_that_nobody_commits_ends_with_its_window() {
    let mut host = Host::new();
    let (good, hung) = (host.script("1.0.0", IDLE), host.script("1.1.0", IDLE));
    host.install(&good);
    host.launch();
    host.is_ready("1.0.0");
    let window = Duration::from_millis(1500);
    let began = host.now();
    host.try_out(&hung, window, 3);
    let pid = host.is_ready("1.1.0");
    host.starts("1.0.0", 2);
    let took = host.since(began);
    assert!(took >= window && took < window + Duration::from_secs(1), "{took:?}");
    assert!(host.goes_to_quarantine("1.1.0").contains("no commit within"));
    assert!(!lives(pid));
}

#[test]
fn boots_are_counted_over_the_deaths_of_the_launcher_itself() {
    let mut host = Host::new();
    let (good, trial) = (host.script("1.0.0", IDLE), host.script("1.1.0", IDLE));
    host.install(&good);
    host.try_out(&trial, PATIENCE, 3);
    for boots_left in [2, 1, 0] {
        host.launch();
        let pid = host.starts("1.1.0", 3 - boots_left);
        assert_eq!(host.slots().trial.unwrap().boots_left, u32::try_from(boots_left).unwrap());
        host.kill_launcher();
        host.until("the orphan dies with its launcher", || !lives(pid));
    }
    host.launch();
    host.is_ready("1.0.0");
    assert!(host.goes_to_quarantine("1.1.0").contains("every boot"));
}

#[test]
fn the_window_goes_on_where_a_killed_launcher_left_it() {
    let mut host = Host::new();
    let (good, trial) = (host.script("1.0.0", IDLE), host.script("1.1.0", IDLE));
    host.install(&good);
    host.try_out(&trial, Duration::from_secs(2), 50);
    let began = host.now();
    while host.slots().trial.is_some() {
        host.launch();
        let before = host.slots().trial.map(|trial| trial.elapsed);
        host.until("time passed durably", || {
            let slots = host.slots();
            slots.trial.is_none_or(|trial| Some(trial.elapsed) > before)
        });
        host.kill_launcher();
        assert!(host.since(began) < PATIENCE);
    }
    assert!(host.quarantined("1.1.0").unwrap().contains("no commit within"));
    assert!(host.started("1.1.0").len() > 2);
    host.launch();
    host.is_ready("1.0.0");
}

#[test]
fn what_a_killed_launcher_left_running_is_ended_before_the_next_start() {
    let mut host = Host::new();
    // The worker has a parent that dies with the launcher; it doesn't.
    let slot = host.script("1.0.0", "sleep 1000 & echo $! >> $HERE/workers; wait");
    host.install(&slot);
    host.launch();
    host.is_ready("1.0.0");
    let worker: u32 = host.written("workers").trim().parse().unwrap();
    host.kill_launcher();
    assert!(lives(worker));
    host.launch();
    host.starts("1.0.0", 2);
    assert!(!lives(worker));
}

#[test]
fn a_guarded_release_that_keeps_crashing_goes_back_by_itself() {
    let mut host = Host::new();
    let good = host.script("1.0.0", IDLE);
    let late =
        host.script("1.1.0", "[ -e $HERE/ill ] && exit 9; trap 'exit 0' TERM; sleep 1000 & wait");
    host.install(&good);
    host.launch();
    host.is_ready("1.0.0");
    let within = Millis::of(Duration::from_mins(10));
    host.try_guarded(&late, &Guard { within, elapsed: Millis(0), crashes_left: 2 });
    let pid = host.is_ready("1.1.0");
    host.commit(&late);
    disk::write(&host.root().join("ill"), b"", 0o644).unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    host.starts("1.0.0", 2);
    let slots = host.slots();
    assert_eq!(slots.current.unwrap().release, good.release);
    assert!(host.quarantined("1.1.0").unwrap().contains("code 9"));
    assert!(host.events().iter().any(|event| matches!(event, LaunchEvent::Returned { .. })));
}

#[test]
fn a_child_that_ignores_its_stop_signal_is_killed_after_its_grace_with_all_its_own() {
    let mut host = Host::new();
    let mut deaf = host.script(
        "1.0.0",
        "trap '' TERM; (setsid sleep 1000 & echo $! > $HERE/pid); while :; do sleep 1; done",
    );
    deaf.recipe.stop = StopSpec { grace: Millis(300), ..StopSpec::default() };
    let next = host.script("1.1.0", IDLE);
    host.install(&deaf);
    host.launch();
    let pid = host.is_ready("1.0.0");
    let escaped: u32 = host.written("pid").trim().parse().unwrap();
    let began = host.now();
    host.try_out(&next, PATIENCE, 1);
    host.is_ready("1.1.0");
    let took = host.since(began);
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(2), "{took:?}");
    assert!(!lives(pid) && !lives(escaped));
}

#[test]
fn an_entrypoint_that_the_agent_started_outlives_the_swap_of_the_agent() {
    let mut host = Host::new();
    let agent = host.script(
        "1.0.0",
        "(HANDOVER_OUTLIVES_ITS_STARTER=1 setsid sleep 1000 & echo $! > $HERE/pid)
         while :; do sleep 1; done",
    );
    let next = host.script("1.1.0", IDLE);
    host.install(&agent);
    host.launch();
    let old = host.is_ready("1.0.0");
    let entrypoint: u32 = host.written("pid").trim().parse().unwrap();
    host.try_out(&next, PATIENCE, 1);
    host.is_ready("1.1.0");
    assert!(!lives(old) && lives(entrypoint));
    let entrypoint = i32::try_from(entrypoint).ok().and_then(Pid::from_raw).unwrap();
    rustix::process::kill_process(entrypoint, Signal::KILL).unwrap();
}

#[test]
fn a_component_that_daemonises_is_refused_by_name() {
    let mut host = Host::new();
    let good = host.script("1.0.0", IDLE);
    let daemon = host.script("1.1.0", "setsid sleep 1000 & echo $! > $HERE/pid; exit 0");
    host.install(&good);
    host.launch();
    host.is_ready("1.0.0");
    host.try_out(&daemon, PATIENCE, 1);
    let reason = host.goes_to_quarantine("1.1.0");
    assert!(reason.contains("daemonises") && reason.contains("behind"), "{reason}");
    host.starts("1.0.0", 2);
    assert!(!lives(host.written("pid").trim().parse().unwrap()));
}

#[test]
fn a_port_in_use_fails_the_trial_by_name_and_the_old_child_is_not_stopped() {
    let mut host = Host::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (good, mut greedy) = (host.script("1.0.0", IDLE), host.script("1.1.0", IDLE));
    greedy.recipe.sockets = vec![socket("web", &address)];
    host.install(&good);
    host.launch();
    host.is_ready("1.0.0");
    host.try_out(&greedy, PATIENCE, 3);
    let reason = host.goes_to_quarantine("1.1.0");
    assert!(reason.contains(&address) && reason.contains("in use"), "{reason}");
    assert_eq!(host.stop_launcher(), Some(0));
    assert_eq!((host.started("1.0.0").len(), host.started("1.1.0").len()), (1, 0));
}

#[test]
fn a_release_that_needs_a_newer_launcher_is_quarantined_and_never_started() {
    let mut host = Host::new();
    let (good, mut newer) = (host.script("1.0.0", IDLE), host.script("1.1.0", IDLE));
    newer.recipe.launcher = LAUNCHER_PROTOCOL + 1;
    host.install(&good);
    host.launch();
    host.is_ready("1.0.0");
    host.try_out(&newer, PATIENCE, 3);
    assert!(host.goes_to_quarantine("1.1.0").contains("launcher"));
    assert_eq!(host.stop_launcher(), Some(0));
    assert_eq!((host.started("1.0.0").len(), host.started("1.1.0").len()), (1, 0));
}

#[test]
fn an_executable_that_is_missing_is_named_in_the_reason() {
    let mut host = Host::new();
    let (good, none) = (host.script("1.0.0", IDLE), host.program("1.1.0", "/no/such/program", &[]));
    host.install(&good);
    host.launch();
    host.is_ready("1.0.0");
    host.try_out(&none, PATIENCE, 1);
    let reason = host.goes_to_quarantine("1.1.0");
    assert!(reason.contains("/no/such/program"), "{reason}");
    host.starts("1.0.0", 2);
}

#[test]
fn a_damaged_slots_file_stops_the_launcher_with_its_own_code() {
    let mut host = Host::new();
    let slot = host.script("1.0.0", IDLE);
    host.install(&slot);
    let newest = host.store().path(host.slots().generation);
    disk::write(&newest, b"{}\n{", 0o644).unwrap();
    host.launch();
    assert_eq!(host.launcher_ends(), Some(6));
    assert!(host.started("1.0.0").is_empty());
}

#[test]
fn slots_damaged_under_a_running_launcher_leave_the_child_alone_until_they_are_mended() {
    let mut host = Host::new();
    let (old, new) = (host.script("1.0.0", IDLE), host.script("1.1.0", IDLE));
    host.install(&old);
    host.launch();
    let pid = host.is_ready("1.0.0");
    let good = host.slots();
    let damaged = host.store().path(good.generation + 1);
    disk::write(&damaged, b"{}\n{", 0o644).unwrap();
    host.until("the damage is said", || {
        host.events().iter().any(|event| matches!(event, LaunchEvent::Refused { .. }))
    });
    assert!(lives(pid));
    let mut mended = slots::begin_trial(&good, new.clone(), Millis::of(PATIENCE), 2, None).unwrap();
    mended.generation = good.generation + 2;
    host.store().publish(&mended).unwrap();
    host.is_ready("1.1.0");
}

#[test]
fn a_second_launcher_of_the_same_component_is_told_so() {
    let mut host = Host::new();
    let slot = host.script("1.0.0", IDLE);
    host.install(&slot);
    host.launch();
    host.is_ready("1.0.0");
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_handover-launch"))
        .args(["--root", host.root().as_str(), "web"])
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(7));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains(&host.launcher().to_string()), "{said}");
}

#[test]
fn many_publishers_at_once_lose_neither_the_trial_nor_its_boots() {
    let mut host = Host::new();
    let (old, new) = (host.script("1.0.0", IDLE), host.script("1.1.0", IDLE));
    host.install(&old);
    host.launch();
    host.is_ready("1.0.0");
    let noise: Vec<_> = (0..4).map(|n| host.script(&format!("9.{n}.0"), IDLE)).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for slot in &noise {
            let (host, done) = (&host, &done);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    // Something that changes nothing but the number.
                    host.change(|slots, _| {
                        let mut next = slots.clone();
                        next.generation += 1;
                        next.quarantine.retain(|entry| entry.release != slot.release);
                        Ok(next)
                    });
                }
            });
        }
        host.try_out(&new, PATIENCE, 3);
        host.is_ready("1.1.0");
        host.commit(&new);
        done.store(true, Ordering::SeqCst);
    });
    let slots = host.slots();
    assert_eq!(slots.current.unwrap().release, new.release);
    assert_eq!(host.started("1.1.0").len(), 1);
}
