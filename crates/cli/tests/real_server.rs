//! Two versions of a real server that this project did not write, packaged as a user would,
//! upgraded and rolled back under requests: `esbuild --serve` from the npm registry. It opens its
//! port by itself (it knows nothing of handed-on sockets), so requests may be refused while one
//! process ends and the next begins, but nothing may ever answer wrongly, and the gap is short.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test says what it saw")]

mod real_server {
    pub(super) mod clients;
    pub(super) mod files;
    pub(super) mod host;
    pub(super) mod publisher;
}

use std::path::{Path, PathBuf};
use std::process::Command;

use real_server::clients::Clients;
use real_server::files::FileServer;
use real_server::host::Host;
use real_server::publisher::Publisher;

const OLD: &str = "0.24.0";
const NEW: &str = "0.25.0";

#[test]
fn a_foreign_server_is_upgraded_and_rolled_back_under_requests() {
    let directory = tempfile::tempdir().unwrap();
    let Some([old, new]) = fetch(directory.path()) else { return };
    let publisher = Publisher::set_up(directory.path(), "esbuild");
    publisher.release(&manifest(OLD, 1), &old);

    let files = FileServer::start(publisher.public());
    let host = Host::set_up(directory.path(), &files.url(), &publisher.first_root());
    host.agent_well(&["update", "esbuild", "--to", OLD]);
    host.wait_until_served(OLD);

    let clients = Clients::start(host.port());
    publisher.release(&manifest(NEW, 2), &new);
    host.agent_well(&["update", "esbuild", "--to", NEW]);
    host.wait_until_served(NEW);
    host.agent_well(&["rollback", "esbuild"]);
    host.wait_until_served(OLD);
    let seen = clients.finish();

    assert!(seen.answered > 0, "the clients were never answered");
    assert_eq!(seen.wrong, Vec::<String>::new(), "an answer was wrong");
    println!(
        "{} answers, {} refused, longest gap {:?}",
        seen.answered, seen.refused, seen.longest_gap
    );
}

/// `release.yaml` as its user would write it.
fn manifest(version: &str, sequence: u64) -> String {
    format!(
        r#"format: 1
component: esbuild
version: {version}
sequence: {sequence}
upgrades_from: ">=0.1.0, <{version}"
return_within: 1h
parameters:
  port: {{ about: where it listens }}
service:
  executable: bin/esbuild
  arguments: ["--servedir=${{slot}}/www", "--serve=127.0.0.1:${{param.port}}", "--watch=forever"]
  self_test: [bin/esbuild, --version]
  stop: {{ signal: TERM, grace: 5s }}
health:
  stable_for: 300ms
  every: 100ms
  successes: 3
  checks:
    - name: page
      http: {{ url: "http://127.0.0.1:${{param.port}}/", contains: "served by handover" }}
trial: {{ window: 20s, boots: 3 }}
"#
    )
}

/// The payload directories of both versions. `None`, said aloud, where npm can't be asked; with
/// `CI` set that is a failure.
fn fetch(directory: &Path) -> Option<[PathBuf; 2]> {
    let payloads = [OLD, NEW].map(|version| {
        let into = directory.join(format!("esbuild-{version}"));
        std::fs::create_dir_all(into.join("www")).unwrap();
        let packed = Command::new("npm")
            .args(["pack", "--silent", &format!("@esbuild/linux-x64@{version}")])
            .current_dir(&into)
            .output();
        let packed = packed.is_ok_and(|output| output.status.success());
        packed.then(|| unpack(&into, version))
    });
    let [Some(old), Some(new)] = payloads else {
        assert!(std::env::var_os("CI").is_none(), "npm can't fetch esbuild: install npm");
        println!("SKIPPED: npm can't fetch esbuild here");
        return None;
    };
    Some([old, new])
}

/// Lays a payload out: the executable as npm delivered it, and a page to serve.
fn unpack(into: &Path, version: &str) -> PathBuf {
    let archive = format!("esbuild-linux-x64-{version}.tgz");
    let tar = Command::new("tar")
        .args(["xzf", &archive, "--strip-components=1", "package/bin/esbuild"])
        .current_dir(into)
        .status()
        .unwrap();
    assert!(tar.success(), "tar could not unpack {archive}");
    std::fs::remove_file(into.join(&archive)).unwrap();
    let page = format!("served by handover, {version}\n");
    #[expect(clippy::disallowed_methods, reason = "a test's input, not a host's file")]
    std::fs::write(into.join("www/index.html"), page).unwrap();
    into.to_owned()
}
