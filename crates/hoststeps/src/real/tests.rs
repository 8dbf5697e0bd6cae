//! The real host, on real processes, sockets and files.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::{CheckKind, Digest, LaunchEvent, LaunchRecord, Layout, Millis, Timestamp};

use super::*;
use crate::disk::Lock;
use crate::shell::Clock;

struct Place {
    _dir: tempfile::TempDir,
    path: Utf8PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    Place { _dir: dir, path }
}

fn sh(script: &str, timeout: Duration) -> CommandSpec {
    CommandSpec {
        program: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        environment: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        directory: "/".into(),
        user: None,
        timeout,
    }
}

fn host(place: &Place) -> RealHost {
    RealHost::new(place.path.clone())
}

#[test]
fn a_programs_code_environment_and_last_words_are_kept() {
    let script = "echo $GREETING; echo oops >&2; pwd; env | grep -c SECRET; exit 3";
    let output = host(&place()).exec(&sh(script, Duration::from_secs(10))).unwrap();
    assert_eq!((output.code, output.timed_out), (Some(3), false));
    assert_eq!(output.tail, "hello\noops\n/\n0\n");
}

#[test]
fn only_the_end_of_much_output_is_kept() {
    let script = "i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done; echo end";
    let output = host(&place()).exec(&sh(script, Duration::from_secs(50))).unwrap();
    assert!(output.tail.len() <= 4096 && output.tail.ends_with("end\n"));
}

#[test]
fn a_program_that_takes_too_long_is_ended_with_all_that_it_started() {
    let place = place();
    let script = format!("sleep 1000 & echo $! > {0}/pid; wait", place.path);
    let output = host(&place).exec(&sh(&script, Duration::from_millis(300))).unwrap();
    assert_eq!((output.code, output.timed_out), (None, true));
    let pid = std::fs::read_to_string(place.path.join("pid")).unwrap();
    wait_until("the grandchild is gone", || is_gone(pid.trim()));
}

#[test]
fn what_a_program_leaves_in_the_background_is_ended_with_it() {
    let place = place();
    let script = format!("sleep 1000 & echo $! > {0}/pid; echo done", place.path);
    let output = host(&place).exec(&sh(&script, Duration::from_secs(30))).unwrap();
    assert_eq!((output.code, output.tail.as_str()), (Some(0), "done\n"));
    let pid = std::fs::read_to_string(place.path.join("pid")).unwrap();
    wait_until("the grandchild is gone", || is_gone(pid.trim()));
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let spec = CommandSpec { program: "/nowhere/x".into(), ..sh("", Duration::from_secs(1)) };
    let error = host(&place()).exec(&spec).unwrap_err();
    assert!(error.to_string().contains("/nowhere/x"), "{error}");
}

fn is_gone(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let mut clock = crate::RealClock::new(None);
    let limit = clock.now().mono + Duration::from_secs(20);
    while !holds() {
        let now = clock.now().mono;
        assert!(now < limit, "{what}: not within 20 seconds");
        clock.wait(now + Duration::from_millis(2));
    }
}

/// Answers one connection with `answer`, then closes it; its address.
fn server(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 1024];
        let _ = stream.read(&mut asked);
        let _ = stream.write_all(answer);
        if answer.ends_with(b"...") {
            // Holds the connection until the other side gives up.
            let _ = stream.read(&mut asked);
        }
    });
    address
}

fn http(answer: &'static [u8], contains: Option<&str>) -> CheckAnswer {
    let url = format!("http://{}/health", server(answer));
    let contains = contains.map(str::to_owned);
    let check = CheckKind::Http { url, expect: 200, contains, timeout: Millis(400) };
    host(&place()).check(&check, Utf8Path::new("/")).unwrap()
}

fn ill(answer: &CheckAnswer) -> &str {
    match answer {
        CheckAnswer::Ill(why) => why,
        CheckAnswer::Well => "(well)",
    }
}

#[test]
fn the_wanted_status_and_text_are_well() {
    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready...";
    assert_eq!(http(ok, Some("ready")), CheckAnswer::Well);
    let chunked =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2;x=y\r\ndy\r\n0\r\n\r\n";
    assert_eq!(http(chunked, Some("ready")), CheckAnswer::Well);
    assert_eq!(http(b"HTTP/1.0 200\r\n\r\n", None), CheckAnswer::Well);
}

#[test]
fn every_other_answer_is_ill_and_says_why() {
    for (answer, contains, why) in [
        (&b"HTTP/1.1 503 No\r\n\r\n"[..], None, "answered 503"),
        (b"HTTP/1.1 200 OK\r\n\r\nalmost", Some("ready"), "doesn't hold"),
        (b"SSH-2.0-x\r\n\r\n", None, "does not speak HTTP"),
        (b"", None, "closed the connection"),
        (b"HTTP/1.1 200 OK\r\n...", None, "took too long"),
    ] {
        let found = http(answer, contains);
        assert!(ill(&found).contains(why), "{why}: {found:?}");
    }
}

#[test]
fn an_endless_answer_is_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while stream.write_all(&[b'x'; 8192]).is_ok() {}
    });
    let check = CheckKind::Http { url, expect: 200, contains: None, timeout: Millis(10_000) };
    let found = host(&place()).check(&check, Utf8Path::new("/")).unwrap();
    assert!(ill(&found).contains("more than"), "{found:?}");
}

#[test]
fn a_dripping_answer_does_not_stretch_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut clock = crate::RealClock::new(None);
        while stream.write_all(b"x").is_ok() {
            let next = clock.now().mono + Duration::from_millis(20);
            clock.wait(next);
        }
    });
    let clock = crate::RealClock::new(None);
    let began = clock.now().mono;
    let check = CheckKind::Http { url, expect: 200, contains: None, timeout: Millis(300) };
    let found = host(&place()).check(&check, Utf8Path::new("/")).unwrap();
    assert!(ill(&found).contains("too long"), "{found:?}");
    assert!(clock.now().mono < began + Duration::from_secs(5));
}

#[test]
fn reaching_counts_any_answer_and_http_counts_only_the_right_one() {
    let busy = b"HTTP/1.1 429 Later\r\n\r\n";
    let url = format!("http://{}", server(busy));
    let reach = CheckKind::Reach { url, timeout: Millis(400) };
    assert_eq!(host(&place()).check(&reach, Utf8Path::new("/")).unwrap(), CheckAnswer::Well);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tls = CheckKind::Reach { url: format!("https://{address}/x"), timeout: Millis(400) };
    assert_eq!(host(&place()).check(&tls, Utf8Path::new("/")).unwrap(), CheckAnswer::Well);
    drop(listener);
    let tcp = CheckKind::Tcp { address, timeout: Millis(400) };
    let found = host(&place()).check(&tcp, Utf8Path::new("/")).unwrap();
    assert!(ill(&found).contains("can't be connected to"), "{found:?}");
}

#[test]
fn a_command_check_is_well_only_with_code_zero() {
    for (script, why) in [("exit 0", ""), ("echo broken; exit 1", "exited with 1: broken")] {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let check = CheckKind::Exec { command, timeout: Millis(10_000) };
        let found = host(&place()).check(&check, Utf8Path::new("/")).unwrap();
        assert_eq!(ill(&found) == "(well)", why.is_empty(), "{found:?}");
        assert!(ill(&found).contains(why) || why.is_empty());
    }
}

#[test]
fn free_space_is_asked_of_the_nearest_parent_that_exists() {
    let place = place();
    let free = host(&place).free_bytes(&place.path.join("not/there/yet")).unwrap();
    assert!(free > 0);
}

#[test]
fn the_first_state_of_a_component_is_nobody_elses_to_read() {
    use std::os::unix::fs::PermissionsExt as _;

    use crate::Step as _;

    let place = place();
    let release =
        handover_model::ReleaseId { version: "1.0.0".parse().unwrap(), digest: Digest::of(b"x") };
    let step = handover_engine::upgrade::PrepareState {
        component: "web".parse().unwrap(),
        release,
        run: "run_00000000000070008000000000000001".parse().unwrap(),
        from: None,
        work: place.path.join("state/1.1.work"),
        to: place.path.join("state/1.1"),
        aside: place.path.join("state/1.2"),
        migrations: Vec::new(),
        user: None,
        paused: false,
    };
    let intent = handover_engine::run::Intent {
        attempt: 1,
        inputs: serde_json::Value::Null,
        observed: serde_json::Value::Null,
        before: serde_json::Value::Null,
    };
    step.apply(&mut host(&place), &intent).unwrap();
    let mode = |path: &Utf8Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&step.to), 0o750);
    assert_eq!(mode(&place.path.join("state")), 0o755);
}

/// Writes what a launcher would write; the lock is held by this very process.
fn record(layout: &Layout, event: LaunchEvent) {
    let launcher = std::process::id();
    let line = LaunchRecord { at: Timestamp::from_micros(0), launcher, event };
    let line = serde_json::to_string(&line).unwrap();
    crate::disk::append_line(&layout.launches(), &line).unwrap();
}

#[test]
fn what_runs_is_proved_by_the_process_and_not_by_the_record() {
    let place = place();
    let component: ComponentName = "web".parse().unwrap();
    let layout = Layout::new(place.path.clone(), component.clone());
    crate::disk::make_dir(&layout.directory()).unwrap();
    let host = host(&place);
    assert_eq!(host.running(&component).unwrap().launcher, None);

    let _lock = Lock::try_take(&layout.launcher_lock()).unwrap().unwrap();
    record(&layout, LaunchEvent::LauncherStarted);
    assert_eq!(host.running(&component).unwrap().launcher, Some(std::process::id()));
    assert_eq!(host.running(&component).unwrap().child, None);

    let mut child = std::process::Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    let release =
        handover_model::ReleaseId { version: "1.0.0".parse().unwrap(), digest: Digest::of(b"x") };
    let pid = child.id();
    record(&layout, LaunchEvent::Started { pid, release: release.clone(), generation: 1 });
    let wanted =
        crate::disk::digest_tree(&Utf8Path::new("/bin/sleep").canonicalize_utf8().unwrap());
    let wanted = wanted.unwrap().unwrap();
    wait_until("the child runs its executable", || {
        let seen = host.running(&component).unwrap().child;
        seen.is_some_and(|seen| seen.executable_digest == wanted)
    });
    assert!(!host.running(&component).unwrap().child.unwrap().ready);
    record(&layout, LaunchEvent::Ready { pid });
    assert!(host.running(&component).unwrap().child.unwrap().ready);

    child.kill().unwrap();
    child.wait().unwrap();
    // The record still says that it runs; the process doesn't.
    assert_eq!(host.running(&component).unwrap().child, None);
    record(&layout, LaunchEvent::Exited { pid, code: None, signal: Some(9) });
    record(&layout, LaunchEvent::Paused { generation: 7 });
    assert_eq!(host.running(&component).unwrap().paused, Some(7));
}
