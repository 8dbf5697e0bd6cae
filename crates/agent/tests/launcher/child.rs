//! What the real launcher gives its child, hears from it and passes on to it.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use handover_model::{Millis, Readiness};
use rustix::process::Signal;

use crate::IDLE;
use crate::host::{Host, PATIENCE, free_address, lives, socket};

/// Runs `script` until it has written `name`, and returns that.
fn written_by(script: &str, prepare: impl FnOnce(&mut handover_model::Recipe)) -> String {
    let mut host = Host::new();
    let mut slot = host.script("1.0.0", &format!("{script}; {IDLE}"));
    prepare(&mut slot.recipe);
    // Whoever the child is, it may write here.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(host.root(), open).unwrap();
    host.install(&slot);
    host.launch_with(&[("SECRET", "of the launcher"), ("TZ", "Europe/Paris")]);
    host.written("out")
}

#[test]
fn the_environment_is_the_recipes_and_nothing_but_path_zone_and_language_is_inherited() {
    let out = written_by("env > $HERE/out.new; mv $HERE/out.new $HERE/out", |_recipe| {});
    assert!(out.contains("COLOUR=green\n") && out.contains("TZ=Europe/Paris\n"), "{out}");
    assert!(out.contains("NOTIFY_SOCKET=@"), "{out}");
    assert!(!out.contains("SECRET") && !out.contains("LISTEN_"), "{out}");
}

#[test]
fn sockets_arrive_from_descriptor_three_in_order_with_their_names_and_nothing_else_does() {
    let (first, second) = (free_address(), free_address());
    let ask = "(echo $$ $LISTEN_PID $LISTEN_FDS $LISTEN_FDNAMES; \
               for n in /proc/$$/fd/*; do echo ${n##*/} $(readlink $n); done) > $HERE/out.new; \
               mv $HERE/out.new $HERE/out";
    let out = written_by(ask, |recipe| {
        recipe.sockets = vec![socket("web", &first), socket("admin", &second)];
    });
    let mut lines = out.lines();
    let words: Vec<_> = lines.next().unwrap().split(' ').collect();
    assert_eq!(words[0], words[1], "LISTEN_PID is the component's own");
    assert_eq!(words[2..], ["2", "web:admin"]);
    let open: Vec<_> = lines.map(|line| line.split(' ').collect::<Vec<_>>()).collect();
    let numbers: Vec<_> = open.iter().map(|fd| fd[0]).filter(|n| n.len() == 1).collect();
    assert_eq!(numbers, ["0", "1", "2", "3", "4"], "{open:?}");
    assert_eq!(open[0][1], "/dev/null");
    assert!(open[3][1].starts_with("socket:") && open[4][1].starts_with("socket:"), "{open:?}");
}

#[test]
fn a_child_leads_a_session_of_its_own_without_new_privileges() {
    let ask = "(umask; cut -d' ' -f6 /proc/$$/stat; echo $$; grep NoNewPrivs /proc/$$/status) > $HERE/out.new; \
               mv $HERE/out.new $HERE/out";
    let out = written_by(ask, |_recipe| {});
    let words: Vec<_> = out.split_whitespace().collect();
    assert_eq!(words[0], "0022");
    assert_eq!(words[1], words[2]);
    assert_eq!(words[3..], ["NoNewPrivs:", "1"]);
}

#[test]
fn a_recipes_user_is_taken_on_with_its_groups_and_no_others() {
    if !rustix::process::geteuid().is_root() {
        // Only root can become somebody else; the refusal has a test of its own.
        return;
    }
    let ask = "(id -u; id -g; id -G) > $HERE/out.new; mv $HERE/out.new $HERE/out";
    let out = written_by(ask, |recipe| recipe.user = Some("daemon".to_owned()));
    assert_eq!(out, "1\n1\n1\n");
}

#[test]
fn a_user_that_does_not_exist_is_named_in_the_reason() {
    let mut host = Host::new();
    let (good, mut odd) = (host.script("1.0.0", IDLE), host.script("1.1.0", IDLE));
    odd.recipe.user = Some("no-such-user".to_owned());
    host.install(&good);
    host.launch();
    host.is_ready("1.0.0");
    host.try_out(&odd, PATIENCE, 1);
    let reason = host.goes_to_quarantine("1.1.0");
    assert!(reason.contains("no-such-user"), "{reason}");
}

#[test]
fn hup_usr1_and_usr2_reach_the_child() {
    let mut host = Host::new();
    let catch = "for s in HUP USR1 USR2; do trap \"echo $s > $HERE/$s\" $s; done; \
                 trap 'exit 0' TERM; echo > $HERE/armed; while :; do sleep 1000 & wait $!; done";
    let slot = host.script("1.0.0", catch);
    host.install(&slot);
    host.launch();
    host.written("armed");
    for (signal, name) in [(Signal::HUP, "HUP"), (Signal::USR1, "USR1"), (Signal::USR2, "USR2")] {
        host.signal(signal);
        assert_eq!(host.written(name), format!("{name}\n"));
    }
    assert_eq!(host.stop_launcher(), Some(0));
}

#[test]
fn what_loses_its_parent_below_the_launcher_is_reaped() {
    let mut host = Host::new();
    let orphan = "(sh -c 'echo $$ > $HERE/orphan; exit 0' &); ";
    let slot = host.script("1.0.0", &format!("{orphan}{IDLE}"));
    host.install(&slot);
    host.launch();
    let pid = host.written("orphan");
    let pid = pid.trim();
    host.until("the orphan is gone, not even a zombie", || {
        !std::path::Path::new("/proc").join(pid).exists()
    });
}

#[test]
fn the_service_manager_hears_that_the_child_is_ready_and_what_it_says() {
    let mut host = Host::new();
    let path = host.root().join("manager");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let hears = |wanted: &str| {
        let mut text = [0; 4096];
        let mut heard = Vec::new();
        while !heard.iter().any(|said: &String| said.contains(wanted)) {
            let len = manager.recv(&mut text).unwrap_or_else(|_| panic!("{wanted}: {heard:?}"));
            heard.push(String::from_utf8_lossy(&text[..len]).into_owned());
        }
        heard
    };
    let address = free_address();
    let slot = host.service("1.0.0", &address);
    host.launch_with(&[("NOTIFY_SOCKET", path.as_str())]);
    hears("waiting for a first release");
    host.install(&slot);
    let messages = hears("STATUS=1.0.0: ready");
    assert!(messages.contains(&"READY=1".to_owned()), "{messages:?}");
    hears("STATUS=1.0.0: serving");
    host.signal(Signal::TERM);
    hears("STOPPING=1");
}

#[test]
fn a_child_that_never_says_that_it_is_ready_is_not_called_ready() {
    let mut host = Host::new();
    let mut mute = host.script("1.0.0", IDLE);
    mute.recipe.readiness = Readiness::Notify;
    host.install(&mute);
    host.launch();
    host.starts("1.0.0", 1);
    assert_eq!(host.stop_launcher(), Some(0));
    let ready = |event: &_| matches!(event, handover_model::LaunchEvent::Ready { .. });
    assert!(!host.events().iter().any(ready));
}

#[test]
fn a_socket_that_a_release_drops_closes_after_its_commit_and_not_before() {
    let mut host = Host::new();
    let address = free_address();
    let (old, new) = (host.service("1.0.0", &address), host.script("1.1.0", IDLE));
    host.install(&old);
    host.launch();
    host.is_ready("1.0.0");
    host.try_out(&new, PATIENCE, 1);
    host.is_ready("1.1.0");
    assert!(std::net::TcpStream::connect(&address).is_ok());
    host.commit(&new);
    host.until("the dropped socket closes", || std::net::TcpStream::connect(&address).is_err());
}

#[test]
fn a_unix_socket_is_held_like_any_other_and_goes_with_the_launcher() {
    let mut host = Host::new();
    let path = host.root().join("web.sock");
    let (mut old, mut new) = (host.script("1.0.0", IDLE), host.script("1.1.0", IDLE));
    for slot in [&mut old, &mut new] {
        slot.recipe.sockets = vec![socket("web", &format!("unix:{path}"))];
    }
    host.install(&old);
    host.launch();
    host.is_ready("1.0.0");
    let _waits = std::os::unix::net::UnixStream::connect(&path).unwrap();
    host.try_out(&new, PATIENCE, 1);
    host.is_ready("1.1.0");
    std::os::unix::net::UnixStream::connect(&path).unwrap();
    assert_eq!(host.stop_launcher(), Some(0));
    assert!(!path.exists());
}

#[test]
fn a_paused_component_is_stopped_and_current_comes_back_when_the_pause_is_over() {
    let mut host = Host::new();
    let slot = host.script("1.0.0", IDLE);
    host.install(&slot);
    host.launch();
    let pid = host.is_ready("1.0.0");
    let window = Millis::of(Duration::from_millis(300));
    host.change(|slots, _| handover_engine::slots::pause(slots, slot.run, window));
    host.until("the child is stopped", || !lives(pid));
    host.starts("1.0.0", 2);
    assert_eq!(host.slots().pause, None);
}

#[test]
fn the_self_test_passes_here() {
    let launcher = env!("CARGO_BIN_EXE_handover-launch");
    let output = std::process::Command::new(launcher).arg("--self-test").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
