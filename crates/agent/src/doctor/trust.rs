//! What this host has accepted for good.

use handover_engine::floors::{Floor, Floors};
use handover_hoststeps::disk;
use handover_model::Slot;
use handover_trust::VerifyError;

use super::{Examination, put_aside};
use crate::accepted::Accepted;
use crate::agent::Agent;
use crate::failure::{Failure, chain};
use crate::repository::RepositoryError;
use crate::runs::done_runs;

pub(super) fn examine(seen: &mut Examination<'_>) {
    let store = seen.agent.home.trust();
    match store.load() {
        Ok(_) => {}
        Err(RepositoryError::Verify(
            error @ (VerifyError::DamagedFloors { .. } | VerifyError::MissingFloors),
        )) => {
            let does = "derive them again from the kept metadata, as high as its signatures prove; newer metadata \
                        that was accepted and not kept is not known";
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
        let does = "derive them again from the slots and runs that are kept here; what retention removed \
                    is not known, so look whether a floor should be higher";
        seen.mendable("floors", &accepted.floors_path(), chain(&error), does, derive_floors);
    }
    if let Err(error) = accepted.ledger() {
        let way_out = "which permits were spent is not known any more: wait until every permit \
                       for this host has expired, move the file away, then run `handover-agent \
                       init` again as you did the first time";
        seen.note("ledger", &accepted.ledger_path(), chain(&error), way_out);
    }
}

/// Version floors from the kept metadata, as far as its signatures prove it.
fn derive_versions(agent: &Agent) -> Result<(), Failure> {
    let store = agent.home.trust();
    let floors = match store.derive_floors() {
        Ok(floors) => floors,
        Err(RepositoryError::Verify(error)) => {
            let reason = format!(
                "the kept metadata does not prove them ({}), so nobody can tell an old repository \
                 from the newest one: make a new root with `handover-agent init`, beside a fresh \
                 root.json brought by a way that you trust",
                chain(&error)
            );
            return Err(Failure::Refused { code: "versions.underivable", reason });
        }
        Err(error) => return Err(error.into()),
    };
    if store.floors_path().exists() {
        put_aside(agent, &store.floors_path())?;
    }
    Ok(disk::write(&store.floors_path(), &floors.seal()?, 0o600)?)
}

/// Floors from the slots and the runs: the highest that each component ever committed, as far as
/// either is kept. Higher than before is possible where a guard still runs; lower only where
/// retention removed both.
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
        let slots = committed.iter().map(|slot| (slot.release.version.clone(), slot.sequence));
        let runs = done_runs(&agent.home, &name)?;
        let known = slots.chain(runs).collect::<Vec<_>>();
        let version = known.iter().map(|(version, _)| version.clone()).max();
        let sequence = known.iter().map(|(_, sequence)| *sequence).max();
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
