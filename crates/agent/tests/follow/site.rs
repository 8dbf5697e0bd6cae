//! A signed repository on a real file server, and a host root, for tests of the real executable.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use camino::{Utf8Path, Utf8PathBuf};
use handover_agent::real_world::{Clock as _, RealClock};
use handover_model::{ComponentName, Digest, Manifest};
use handover_trust::Envelope;
use handover_trust::author::{Expiry, Online, OnlineKeys, Published, RootDoc, TargetsDoc};
use handover_trust::keys::SigningKey;
use zeroize::Zeroizing;

type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A repository with one key a role, and a host that may follow it.
pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) base: String,
    files: Files,
    published: Published,
}

fn tomorrow() -> Expiry {
    Expiry(RealClock::start().now().wall.after(std::time::Duration::from_hours(24)))
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(Zeroizing::new([seed; 32])).unwrap()
}

pub(crate) fn signed<T: serde::Serialize>(document: &T, key: &SigningKey) -> Vec<u8> {
    let mut envelope = Envelope::unsigned(document).unwrap();
    envelope.sign(key).unwrap();
    envelope.to_bytes().unwrap()
}

pub(crate) fn web() -> ComponentName {
    "web".parse().unwrap()
}

fn own() -> ComponentName {
    "handover-agent".parse().unwrap()
}

/// A package's files: path, mode, content.
type Entries<'a> = [(&'a str, u32, &'a [u8])];

impl Site {
    /// An empty repository with a role for `web`.
    pub(crate) fn new() -> Self {
        let expires = tomorrow();
        let online = OnlineKeys { snapshot: key(2).public(), timestamp: key(3).public() };
        let root = RootDoc::first(&[key(1).public()], 1, &online, expires).unwrap();
        let mut published = Published::default();
        published.put_root(signed(&root, &key(1))).unwrap();
        let mut targets = TargetsDoc::empty(1, expires);
        targets.change_component(&web(), &[key(4).public()], &[], Some(1)).unwrap();
        targets.change_component(&own(), &[key(5).public()], &[], Some(1)).unwrap();
        published.roles.insert("targets".into(), signed(&targets, &key(1)));
        let role = TargetsDoc::empty(1, expires);
        published.roles.insert("component-web".into(), signed(&role, &key(4)));
        published.roles.insert("component-handover-agent".into(), signed(&role, &key(5)));
        let files = Files::default();
        let base = serve(Arc::clone(&files));
        let mut site = Self { dir: tempfile::tempdir().unwrap(), base, files, published };
        site.publish_metadata();
        site
    }

    pub(crate) fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.dir.path()).unwrap()
    }

    pub(crate) fn root(&self) -> Utf8PathBuf {
        self.path().join("host")
    }

    fn publish_metadata(&mut self) {
        let expires = tomorrow();
        let (snapshot, timestamp) = (key(2), key(3));
        let online = Online {
            snapshot: vec![&snapshot],
            timestamp: vec![&timestamp],
            snapshot_expires: expires,
            timestamp_expires: expires,
        };
        self.published.renew(&online).unwrap();
        let mut files = self.files.lock().unwrap();
        for (name, bytes) in self.published.files().unwrap() {
            files.insert(format!("/metadata/{name}"), bytes);
        }
    }

    /// Publishes a release of `web` whose entrypoint is the shell script `script`.
    pub(crate) fn publish(&mut self, version: &str, sequence: u64, script: &str) {
        let service = r#""service":{"executable":"bin/web"}"#;
        self.publish_package(version, sequence, service, b"#!/bin/sh\n", script.as_bytes());
    }

    /// Publishes a release of `web` that runs `sleep` and upgrades by the stock entrypoint.
    pub(crate) fn publish_stock(&mut self, version: &str, sequence: u64, healthy: bool) {
        let service = format!(
            r#""service":{{"executable":"bin/web","arguments":["1000"]}},
            "trial":{{"window":"5s","boots":2}},
            "health":{{"stable_for":"100ms","every":"50ms","successes":2,"failures":2,"checks":[
              {{"name":"fine","exec":{{"command":["bin/{}"]}}}}]}}"#,
            if healthy { "true" } else { "false" }
        );
        let sleep = std::fs::read("/bin/sleep").unwrap();
        let upgrade = std::fs::read(env!("CARGO_BIN_EXE_handover-upgrade")).unwrap();
        self.publish_package(version, sequence, &service, &sleep, &upgrade);
    }

    /// Publishes a healthy release that may be taken back for an hour.
    pub(crate) fn publish_returnable(&mut self, version: &str, sequence: u64) {
        let service = r#""service":{"executable":"bin/web","arguments":["1000"]},
            "trial":{"window":"5s","boots":2},"return_within":"1h",
            "health":{"stable_for":"100ms","every":"50ms","successes":2,"failures":2}"#;
        let sleep = std::fs::read("/bin/sleep").unwrap();
        let upgrade = std::fs::read(env!("CARGO_BIN_EXE_handover-upgrade")).unwrap();
        self.publish_package(version, sequence, service, &sleep, &upgrade);
    }

    /// Publishes this very agent as a release of itself.
    pub(crate) fn publish_agent(&mut self, version: &str, sequence: u64) {
        let manifest = format!(
            r#"{{"format":1,"component":"handover-agent","version":"{version}",
            "sequence":{sequence},"upgrades_from":"*",
            "service":{{"executable":"bin/handover-agent",
              "arguments":["--root","${{root}}/../..","follow"],"readiness":"notify"}},
            "trial":{{"window":"30s","boots":2}},
            "health":{{"stable_for":"200ms","every":"100ms","successes":2,"failures":2}}}}"#
        );
        let agent = std::fs::read(env!("CARGO_BIN_EXE_handover-agent")).unwrap();
        let upgrade = std::fs::read(env!("CARGO_BIN_EXE_handover-upgrade")).unwrap();
        let launch = std::fs::read(env!("CARGO_BIN_EXE_handover-launch")).unwrap();
        let entries: [(&str, u32, &[u8]); 4] = [
            ("bin/handover-agent", 0o755, &agent),
            ("bin/handover-launch", 0o755, &launch),
            ("handover/release.json", 0o644, manifest.as_bytes()),
            ("handover/upgrade", 0o755, &upgrade),
        ];
        self.publish_entries(&own(), &key(5), &manifest, &entries);
    }

    fn publish_package(
        &mut self,
        version: &str,
        sequence: u64,
        service: &str,
        program: &[u8],
        entrypoint: &[u8],
    ) {
        let manifest = format!(
            r#"{{"format":1,"component":"web","version":"{version}","sequence":{sequence},
            "upgrades_from":"*",{service}}}"#
        );
        let entries: [(&str, u32, &[u8]); 5] = [
            ("bin/true", 0o755, b"#!/bin/sh\nexit 0\n"),
            ("bin/false", 0o755, b"#!/bin/sh\nexit 1\n"),
            ("bin/web", 0o755, program),
            ("handover/release.json", 0o644, manifest.as_bytes()),
            ("handover/upgrade", 0o755, entrypoint),
        ];
        self.publish_entries(&web(), &key(4), &manifest, &entries);
    }

    fn publish_entries(
        &mut self,
        component: &ComponentName,
        signer: &SigningKey,
        manifest: &str,
        entries: &Entries<'_>,
    ) {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, mode, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(*mode);
            header.set_size(content.len().try_into().unwrap());
            tar.append_data(&mut header, name, *content).unwrap();
        }
        let archive = zstd::encode_all(tar.into_inner().unwrap().as_slice(), 1).unwrap();
        let parsed: Manifest = serde_json::from_str(manifest).unwrap();
        let bytes = entries.iter().map(|(_, _, content)| content.len()).sum::<usize>();
        let digest = Digest::of(manifest.as_bytes());
        let (bytes, count) = (bytes.try_into().unwrap(), entries.len().try_into().unwrap());
        let facts = parsed.facts("any".parse().unwrap(), digest, bytes, count);
        let mut role = self.published.component(component).unwrap().next(tomorrow());
        let digest = Digest::of(&archive);
        role.add_package(&facts, archive.len().try_into().unwrap(), digest).unwrap();
        self.published.roles.insert(format!("component-{component}"), signed(&role, signer));
        let path = format!("/targets/{component}/{}/{digest}.any.tar.zst", parsed.version);
        self.files.lock().unwrap().insert(path, archive);
        self.publish_metadata();
    }

    /// Changes what is served, behind the signers' backs.
    pub(crate) fn tamper(&self, change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) {
        change(&mut self.files.lock().unwrap());
    }

    /// What is served now.
    pub(crate) fn served(&self) -> BTreeMap<String, Vec<u8>> {
        self.files.lock().unwrap().clone()
    }

    /// The agent's command on this site's host.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_handover-agent"));
        command.args(["--root", self.root().as_str()]).args(arguments).env_remove("RUST_LOG");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        (
            status.code().unwrap_or(-1),
            String::from_utf8(stdout).unwrap(),
            String::from_utf8(stderr).unwrap(),
        )
    }

    /// Sets the host up to follow `web`, impatiently.
    pub(crate) fn init(&self) {
        let root = self.path().join("root.json");
        let bytes = self.served()["/metadata/1.root.json"].clone();
        handover_hoststeps::disk::write(&root, &bytes, 0o644).unwrap();
        let arguments = ["init", "--repository", &self.base, "--trusted-root", root.as_str()];
        let (code, _, said) =
            self.run(&[&arguments[..], &["--name", "host-1", "--component", "web"]].concat());
        assert_eq!(code, 0, "{said}");
        let policy = self.root().join("policy.yaml");
        let text = std::fs::read_to_string(&policy).unwrap();
        let text = text.replace("poll: 1m", "poll: 200ms\npatience: 1s");
        handover_hoststeps::disk::write(&policy, text.as_bytes(), 0o644).unwrap();
    }

    /// A command's JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let (_, out, said) = self.run(&[&["--output", "json"], arguments].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{said}"))
    }
}

fn serve(files: Files) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(stream), files) = (stream, Arc::clone(&files)) else { return };
            std::thread::spawn(move || while answer(&stream, &files) {});
        }
    });
    base
}

/// Answers one request of a kept connection; false when it is over.
fn answer(stream: &TcpStream, files: &Files) -> bool {
    let (mut reader, mut head) = (BufReader::new(stream), String::new());
    loop {
        let mut line = String::new();
        match reader.by_ref().take(8192).read_line(&mut line) {
            Ok(count) if count > 0 && line != "\r\n" => head.push_str(&line),
            Ok(count) if count > 0 => break,
            Ok(_) | Err(_) => return false,
        }
    }
    let path = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let body = files.lock().unwrap().get(&path).cloned();
    let (status, body) = match body {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", Vec::new()),
    };
    let mut out = stream;
    write!(out, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len()).is_ok()
        && out.write_all(&body).is_ok()
}
