//! What the targets share: the round trip, and an honest repository with its keys.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::LazyLock;

use handover_model::{ComponentName, Digest, Timestamp};
use handover_trust::author::{Expiry, Online, OnlineKeys, Published, RootDoc, TargetsDoc};
use handover_trust::keys::{PublicKey, SigningKey};
use handover_trust::{
    Answer, Envelope, Goal, Limits, Memory, Poll, Refresh, Refreshed, VerifyError, VersionFloors,
};
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

/// What parses prints, and what was printed parses to the same.
pub fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_vec(value).expect("what was parsed can be printed");
    let again: T = serde_json::from_slice(&text).expect("what was printed parses");
    assert_eq!(*value, again, "printed as {}", String::from_utf8_lossy(&text));
}

/// A directory that is gone after the process, in memory where there is such a place.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a scratch directory")
}

/// The time at which everything here happens.
pub fn now() -> Timestamp {
    "2030-01-15T00:00:00Z".parse().expect("a time")
}

/// The component that is followed.
pub fn web() -> ComponentName {
    "web".parse().expect("a name")
}

/// The throw-away key of a name.
pub fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(Zeroizing::new(*Digest::of(name.as_bytes()).as_bytes())).expect("a key")
}

/// `document` signed by the keys of `names`.
pub fn signed(document: &serde_json::Value, names: &[&str]) -> Option<Vec<u8>> {
    let mut envelope = Envelope::unsigned(document).ok()?;
    for name in names {
        envelope.sign(&key(name)).ok()?;
    }
    envelope.to_bytes().ok()
}

/// Metadata files by the name under which they are asked for.
pub type Files = BTreeMap<String, Vec<u8>>;

/// An honest repository of one component, at two moments.
pub struct Honest {
    /// A host that followed it at the first moment.
    pub host: Memory,
    /// What it serves at the second.
    pub serves: Published,
    /// The same as files.
    pub files: Files,
    /// What a host finds there then.
    pub found: Refreshed,
}

/// The honest repository.
pub static HONEST: LazyLock<Honest> = LazyLock::new(|| {
    let far = Expiry("2030-12-31T00:00:00Z".parse().expect("a time"));
    let public = |names: &[&str]| names.iter().map(|name| key(name).public()).collect();
    let (owners, makers): (Vec<PublicKey>, Vec<PublicKey>) =
        (public(&["root-a", "root-b"]), public(&["web-a", "web-b"]));
    let online =
        OnlineKeys { snapshot: key("snapshot").public(), timestamp: key("timestamp").public() };
    let root = RootDoc::first(&owners, 2, &online, far).expect("a root");
    let mut targets = TargetsDoc::empty(1, far);
    targets.change_component(&web(), &makers, &[], Some(2)).expect("a component");
    let mut serves = Published::default();
    serves.put_root(sign(&root, &["root-a", "root-b"])).expect("a root");
    let mut memory = Memory {
        pinned_root: serves.roots[&1].clone(),
        files: BTreeMap::new(),
        floors: VersionFloors::first(),
    };
    let mut releases = TargetsDoc::empty(0, far);
    for (sequence, version) in [(1, "1.0.0"), (2, "1.1.0")] {
        releases.version += 1;
        let facts = serde_json::from_value(serde_json::json!({
            "format": 1, "component": "web", "version": version, "sequence": sequence,
            "platform": "linux-x86_64", "channel": "stable", "upgrades_from": "*", "launcher": 1,
            "manifest": Digest::of(version.as_bytes()), "unpacked_bytes": 1000, "entries": 3,
        }));
        releases
            .add_package(&facts.expect("facts"), 9, Digest::of(version.as_bytes()))
            .expect("a package");
        serves.roles.insert("targets".into(), sign(&targets, &["root-a", "root-b"]));
        serves.roles.insert("component-web".into(), sign(&releases, &["web-a", "web-b"]));
        renew(&mut serves);
        if sequence == 1 {
            let files = files_of(&serves);
            follow(&files, &mut memory).expect("an honest repository is followed");
        }
    }
    let files = files_of(&serves);
    let found = follow(&files, &mut memory.clone()).expect("an honest repository is followed");
    Honest { host: memory, serves, files, found }
});

/// Signs snapshot and timestamp anew.
pub fn renew(serves: &mut Published) {
    let (snapshot, timestamp) = (key("snapshot"), key("timestamp"));
    let soon = Expiry("2030-01-22T00:00:00Z".parse().expect("a time"));
    let online = Online {
        snapshot: vec![&snapshot],
        timestamp: vec![&timestamp],
        snapshot_expires: soon,
        timestamp_expires: soon,
    };
    // What is served may be rubbish by now; then there is nothing to renew.
    let _ = serves.renew(&online);
}

/// Everything served, by name.
pub fn files_of(serves: &Published) -> Files {
    serves.files().map(|files| files.into_iter().collect()).unwrap_or_default()
}

/// Follows served files, keeping what is to be kept.
pub fn follow(files: &Files, memory: &mut Memory) -> Result<Refreshed, VerifyError> {
    let goals = vec![Goal::Component(web())];
    let mut refresh = Refresh::begin(memory.clone(), goals, Limits::default(), now())?;
    loop {
        match refresh.poll() {
            Poll::Fetch(want) => refresh.feed(match files.get(&want.name) {
                Some(bytes) => Answer::Bytes(bytes.clone()),
                None => Answer::NotFound,
            })?,
            Poll::Save(save) => {
                memory.floors = save.floors;
                memory.files.insert(save.name, save.bytes);
            }
            Poll::Done => return refresh.finish(),
        }
    }
}

fn sign<T: Serialize>(document: &T, names: &[&str]) -> Vec<u8> {
    let document = serde_json::to_value(document).expect("a document");
    signed(&document, names).expect("a document can be signed")
}
