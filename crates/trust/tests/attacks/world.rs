//! A small repository with throw-away keys, and hosts that follow it. Keys come from their names
//! and times are fixed, so that every run makes the same bytes.

use std::collections::BTreeMap;

use handover_model::{ComponentName, Digest, ReleaseFacts, Timestamp, Version};
use handover_trust::author::{
    Expiry, Online, OnlineKeys, Published, RootChange, RootDoc, TargetsDoc,
};
use handover_trust::keys::{PublicKey, SigningKey};
use handover_trust::{
    Answer, Envelope, Goal, Limits, Memory, Poll, Refresh, Refreshed, VerifyError, VersionFloors,
};
use serde::Serialize;
use zeroize::Zeroizing;

pub(crate) const LINUX: &str = "linux-x86_64";

/// Bytes by path: `metadata/…` and `targets/…`.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) fn now() -> Timestamp {
    at("2030-01-15T00:00:00Z")
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn component(name: &str) -> ComponentName {
    name.parse().unwrap()
}

pub(crate) fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// The key of a name.
pub(crate) fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(Zeroizing::new(*Digest::of(name.as_bytes()).as_bytes())).unwrap()
}

fn public(names: &[&str]) -> Vec<PublicKey> {
    names.iter().map(|name| key(name).public()).collect()
}

/// Signed bytes of a document.
pub(crate) fn signed<T: Serialize>(document: &T, keys: &[&str]) -> Vec<u8> {
    let mut envelope = Envelope::unsigned(document).unwrap();
    for name in keys {
        envelope.sign(&key(name)).unwrap();
    }
    envelope.to_bytes().unwrap()
}

/// The facts of a package for [`LINUX`].
pub(crate) fn facts(name: &str, release: &str, sequence: u64) -> ReleaseFacts {
    serde_json::from_value(serde_json::json!({
        "format": 1, "component": name, "version": release, "sequence": sequence,
        "platform": LINUX, "channel": "stable", "upgrades_from": "*", "launcher": 1,
        "manifest": Digest::of(release.as_bytes()), "unpacked_bytes": 1000, "entries": 3,
    }))
    .unwrap()
}

/// A repository with its keyholders.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) root: RootDoc,
    pub(crate) root_keys: Vec<&'static str>,
    pub(crate) old_root_keys: Vec<&'static str>,
    pub(crate) targets: TargetsDoc,
    pub(crate) components: BTreeMap<ComponentName, TargetsDoc>,
    pub(crate) published: Published,
    pub(crate) packages: Files,
    pub(crate) online: (&'static str, &'static str),
    pub(crate) snapshot_expires: Timestamp,
    pub(crate) timestamp_expires: Timestamp,
}

impl World {
    /// Two of three root keys; components `web` and `db`, each two of two release keys.
    pub(crate) fn new() -> Self {
        let far = Expiry(at("2030-12-31T00:00:00Z"));
        let online =
            OnlineKeys { snapshot: key("snapshot").public(), timestamp: key("timestamp").public() };
        let root_keys = vec!["root-a", "root-b"];
        let root = RootDoc::first(&public(&["root-a", "root-b", "root-c"]), 2, &online, far);
        let mut targets = TargetsDoc::empty(0, far);
        for name in ["web", "db"] {
            let keys = public(&[&format!("{name}-a"), &format!("{name}-b")]);
            targets.change_component(&component(name), &keys, &[], Some(2)).unwrap();
        }
        let mut world = Self {
            root: root.unwrap(),
            root_keys: root_keys.clone(),
            old_root_keys: root_keys,
            targets,
            components: BTreeMap::new(),
            published: Published::default(),
            packages: Files::new(),
            online: ("snapshot", "timestamp"),
            snapshot_expires: at("2030-02-15T00:00:00Z"),
            timestamp_expires: at("2030-01-22T00:00:00Z"),
        };
        world.add("db", "1.0.0", 1, b"the database's package");
        world.put_root();
        world
    }

    /// Lists a package of plain bytes.
    pub(crate) fn add(&mut self, name: &str, release: &str, sequence: u64, bytes: &[u8]) {
        self.add_facts(&facts(name, release, sequence), bytes);
    }

    pub(crate) fn add_facts(&mut self, facts: &ReleaseFacts, bytes: &[u8]) {
        let far = Expiry(at("2030-12-31T00:00:00Z"));
        let document = self
            .components
            .entry(facts.component.clone())
            .or_insert_with(|| TargetsDoc::empty(0, far));
        let length = u64::try_from(bytes.len()).unwrap();
        document.add_package(facts, length, Digest::of(bytes)).unwrap();
        self.serve(&TargetsDoc::path_of(facts), bytes);
    }

    /// Puts a package's bytes where they are served.
    pub(crate) fn serve(&mut self, path: &str, bytes: &[u8]) {
        let (directory, file) = path.rsplit_once('/').unwrap();
        let served = format!("targets/{directory}/{}.{file}", Digest::of(bytes));
        self.packages.insert(served, bytes.to_vec());
    }

    pub(crate) fn put_root(&mut self) {
        let mut keys = self.root_keys.clone();
        keys.extend(self.old_root_keys.iter().filter(|old| !self.root_keys.contains(old)));
        self.published.put_root(signed(&self.root, &keys)).unwrap();
    }

    /// Another third root key.
    pub(crate) fn rotate_root(&mut self) {
        let change = RootChange {
            add: public(&["root-d"]),
            remove: vec![key("root-c").public().id()],
            ..RootChange::default()
        };
        self.root = self.root.next(&change, self.root.expires).unwrap();
        self.put_root();
    }

    /// Other online keys.
    pub(crate) fn rotate_online(&mut self) {
        self.online = ("snapshot-2", "timestamp-2");
        let online = OnlineKeys {
            snapshot: key(self.online.0).public(),
            timestamp: key(self.online.1).public(),
        };
        let change = RootChange { online: Some(online), ..RootChange::default() };
        self.root = self.root.next(&change, self.root.expires).unwrap();
        self.put_root();
    }

    /// Signs and publishes everything, one version up.
    pub(crate) fn publish(&mut self) {
        self.targets.version += 1;
        let bytes = signed(&self.targets, &self.root_keys);
        self.published.roles.insert("targets".to_owned(), bytes);
        for (name, document) in &mut self.components {
            document.version += 1;
            let keys = [format!("{name}-a"), format!("{name}-b")];
            let bytes = signed(document, &keys.each_ref().map(String::as_str));
            self.published.roles.insert(TargetsDoc::role_of(name), bytes);
        }
        self.renew();
    }

    /// Signs snapshot and timestamp anew.
    pub(crate) fn renew(&mut self) {
        let (snapshot, timestamp) = (key(self.online.0), key(self.online.1));
        let online = Online {
            snapshot: vec![&snapshot],
            timestamp: vec![&timestamp],
            snapshot_expires: Expiry(self.snapshot_expires),
            timestamp_expires: Expiry(self.timestamp_expires),
        };
        self.published.renew(&online).unwrap();
    }

    /// The timestamp alone.
    pub(crate) fn renew_timestamp(&mut self) {
        let (snapshot, timestamp) = (key(self.online.0), key(self.online.1));
        let online = Online {
            snapshot: vec![&snapshot],
            timestamp: vec![&timestamp],
            snapshot_expires: Expiry(self.snapshot_expires),
            timestamp_expires: Expiry(self.timestamp_expires),
        };
        self.published.renew_timestamp(&online).unwrap();
    }

    /// What a thief of the online keys does: versions far ahead.
    pub(crate) fn fast_forward(&mut self, far: u64) {
        let mut snapshot = self.published.snapshot().unwrap();
        snapshot.version = far;
        self.published.snapshot = Some(signed(&snapshot, &[self.online.0]));
        let mut timestamp = self.published.timestamp().unwrap();
        timestamp.version = far;
        self.published.timestamp = Some(signed(&timestamp, &[self.online.1]));
        self.renew_timestamp();
    }

    /// Everything that is served.
    pub(crate) fn files(&self) -> Files {
        let metadata = self.published.files().unwrap().into_iter();
        let metadata = metadata.map(|(name, bytes)| (format!("metadata/{name}"), bytes));
        metadata.chain(self.packages.clone()).collect()
    }

    /// A host that was just set up.
    pub(crate) fn host(&self) -> Memory {
        Memory {
            pinned_root: self.published.roots[&1].clone(),
            files: BTreeMap::new(),
            floors: VersionFloors::first(),
        }
    }

    /// A host that has followed `web` until now.
    pub(crate) fn followed(&self) -> Memory {
        let mut memory = self.host();
        follow(&self.files(), &mut memory, web(), now()).unwrap();
        memory
    }
}

pub(crate) fn web() -> Vec<Goal> {
    vec![Goal::Component(component("web"))]
}

/// Follows served files, keeping what is to be kept.
pub(crate) fn follow(
    files: &Files,
    memory: &mut Memory,
    goals: Vec<Goal>,
    now: Timestamp,
) -> Result<Refreshed, VerifyError> {
    follow_counting(files, memory, goals, now).0
}

/// The same; also says what was fetched.
pub(crate) fn follow_counting(
    files: &Files,
    memory: &mut Memory,
    goals: Vec<Goal>,
    now: Timestamp,
) -> (Result<Refreshed, VerifyError>, Vec<String>) {
    let (mut fetched, mut writes_left) = (Vec::new(), usize::MAX);
    let done = drive(files, memory, goals, now, &mut fetched, &mut writes_left);
    (done.map(|done| done.expect("it was not cut")), fetched)
}

/// The same, cut after some writes: floors and file count as one each. `None` when it was cut.
pub(crate) fn drive(
    files: &Files,
    memory: &mut Memory,
    goals: Vec<Goal>,
    now: Timestamp,
    fetched: &mut Vec<String>,
    writes_left: &mut usize,
) -> Result<Option<Refreshed>, VerifyError> {
    let mut refresh = Refresh::begin(memory.clone(), goals, Limits::default(), now)?;
    loop {
        match refresh.poll() {
            Poll::Fetch(want) => {
                fetched.push(want.name.clone());
                refresh.feed(match files.get(&format!("metadata/{}", want.name)) {
                    Some(bytes) => Answer::Bytes(bytes.clone()),
                    None => Answer::NotFound,
                })?;
            }
            Poll::Save(save) => {
                for write in 0..2 {
                    if *writes_left == 0 {
                        return Ok(None);
                    }
                    *writes_left -= 1;
                    if write == 0 {
                        memory.floors = save.floors.clone();
                    } else {
                        memory.files.insert(save.name.clone(), save.bytes.clone());
                    }
                }
            }
            Poll::Done => return refresh.finish().map(Some),
        }
    }
}
