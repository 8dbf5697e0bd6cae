//! What this host has accepted for good.

use handover_engine::floors::{Floor, Floors};
use handover_hoststeps::disk;
use handover_model::Slot;
use handover_trust::{Seen, VerifyError, VersionFloors};

use super::{Examination, put_aside};
use crate::accepted::Accepted;
use crate::agent::Agent;
use crate::failure::{Failure, chain};
use crate::repository::RepositoryError;

pub(super) fn examine(seen: &mut Examination<'_>) {
    let store = seen.agent.home.trust();
    match store.load() {
        Ok(_) => {}
        Err(RepositoryError::Verify(
            error @ (VerifyError::DamagedFloors { .. } | VerifyError::MissingFloors),
        )) => {
            let does = "derive them again from the kept metadata, never lower than it says";
            let path = store.floors_path();
            seen.mendable("versions", &path, chain(&error), does, derive_versions);
        }
        Err(error) => {
            let way_out = "run `handover-agent init` with the repository's root.json";
            seen.note("trust", &store.root_path(), chain(&error), way_out);
        }
    }
    let accepted = Accepted::of(&seen.agent.home);
    if let Err(error) = accepted.floors() {
        let does = "derive them again from what was committed here, never lower";
        seen.mendable("floors", &accepted.floors_path(), chain(&error), does, derive_floors);
    }
    if let Err(error) = accepted.ledger() {
        let way_out = "which permits were spent is not known any more: wait until every permit \
                       for this host has expired, move the file away, then run `handover-agent \
                       init` again as you did the first time";
        seen.note("ledger", &accepted.ledger_path(), chain(&error), way_out);
    }
}

/// Version floors from the kept metadata. Kept files were verified when they were accepted; one
/// that is damaged since can only make a floor higher or be left out, and without any of them
/// nothing is derived.
fn derive_versions(agent: &Agent) -> Result<(), Failure> {
    let dir = agent.home.root().join("trust/metadata");
    let mut floors = VersionFloors::first();
    let failed = |source| Failure::Stream { act: "list the kept metadata", source };
    for entry in dir.read_dir_utf8().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Some(role) = entry.file_name().strip_suffix(".json") else { continue };
        let Some(bytes) = disk::read(entry.path())? else { continue };
        let Some(version) = signed_version(&bytes) else { continue };
        let floor = Seen { version, signed: None };
        match role {
            "root" => floors.root = Some(floor),
            "timestamp" => floors.timestamp = Some(floor),
            "snapshot" => floors.snapshot = Some(floor),
            other => {
                floors.roles.insert(other.to_owned(), floor);
            }
        }
    }
    if floors.timestamp.is_none() || floors.snapshot.is_none() {
        let reason = "the kept metadata is gone too, so nobody can tell an old repository from \
                      the newest one: make a new root with `handover-agent init`, beside a fresh \
                      root.json brought by a way that you trust"
            .to_owned();
        return Err(Failure::Refused { code: "versions.underivable", reason });
    }
    let store = agent.home.trust();
    if store.floors_path().exists() {
        put_aside(agent, &store.floors_path())?;
    }
    Ok(disk::write(&store.floors_path(), &floors.seal()?, 0o600)?)
}

fn signed_version(bytes: &[u8]) -> Option<u64> {
    let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    document.get("signed")?.get("version")?.as_u64()
}

/// Floors from the slots: the highest that each component ever committed and still keeps.
/// Higher than before is possible where a guard still runs; lower is not.
fn derive_floors(agent: &Agent) -> Result<(), Failure> {
    let accepted = Accepted::of(&agent.home);
    let mut floors = Floors::default();
    for name in agent.home.present()? {
        let slots = agent.home.slots(&name)?;
        let committed: Vec<&Slot> = slots
            .current
            .iter()
            .chain(&slots.previous)
            .filter(|slot| slot.committed_at.is_some())
            .collect();
        let version = committed.iter().map(|slot| slot.release.version.clone()).max();
        let sequence = committed.iter().map(|slot| slot.sequence).max();
        if let (Some(version), Some(sequence)) = (version, sequence) {
            let raised_at = agent.now().wall;
            floors.components.insert(name, Floor { version, sequence, raised_at });
        }
    }
    if accepted.floors_path().exists() {
        put_aside(agent, &accepted.floors_path())?;
    }
    accepted.save_floors(&floors)
}
