//! Releases, slots and offers for this crate's tests.

use std::collections::BTreeMap;

use crate::graph::Offer;
use handover_model::{
    Digest, IdGen, Readiness, Recipe, ReleaseFacts, ReleaseId, RunId, Slot, StopSpec, Timestamp,
};

/// `seconds` after 1970.
pub(crate) fn when(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

/// The `n`th run.
pub(crate) fn run(n: u64) -> RunId {
    let mut ids = IdGen::new(*Digest::of(&n.to_be_bytes()).as_bytes());
    RunId::mint(&mut ids, when(0))
}

/// Release `1.<n>.0` and the run of the same number.
pub(crate) fn release(n: u64) -> (ReleaseId, RunId) {
    (release_of(&format!("1.{n}.0")), run(n))
}

/// A release of this version, with a digest of its own.
pub(crate) fn release_of(version: &str) -> ReleaseId {
    ReleaseId { version: version.parse().unwrap(), digest: Digest::of(version.as_bytes()) }
}

/// A slot of `version`, made by run `n`.
pub(crate) fn slot(version: &str, n: u64) -> Slot {
    let release = release_of(version);
    let directory = format!("/r/components/web/releases/{}", release.directory());
    Slot {
        sequence: n,
        recipe: Recipe {
            launcher: 1,
            executable: format!("{directory}/bin/web").into(),
            executable_digest: Digest::of(b"exe"),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            directory: directory.into(),
            user: None,
            stop: StopSpec::default(),
            readiness: Readiness::None,
            sockets: Vec::new(),
        },
        state: Some(format!("/r/components/web/state/1.{n}").into()),
        config: format!("/r/components/web/config/{n}").into(),
        release,
        run: run(n),
        committed_at: None,
        guard: None,
    }
}

/// An offer of component `web`, for every platform, in channel `stable`.
pub(crate) fn offer(version: &str, sequence: u64, upgrades_from: &str) -> Offer {
    let id = release_of(version);
    let facts = ReleaseFacts {
        format: 1,
        component: "web".parse().unwrap(),
        version: id.version,
        sequence,
        platform: "any".parse().unwrap(),
        channel: "stable".to_owned(),
        upgrades_from: upgrades_from.parse().unwrap(),
        also_from: Vec::new(),
        floor: false,
        return_within: None,
        launcher: 1,
        manifest: id.digest,
        unpacked_bytes: 1,
        entries: 1,
        revoked: None,
        notes: None,
    };
    Offer { facts, digest: id.digest }
}
