//! What this host has accepted for good, on disk: `trust/floors.json` and `trust/ledger.json`.
//!
//! Both are written when the host is set up. From then on a missing file is as bad as a damaged
//! one: taking it for "none" would let an old release back in.

use camino::Utf8PathBuf;
use handover_engine::floors::{Floors, Ledger};
use handover_hoststeps::disk;
use handover_model::{AgentName, ComponentName, Permit, Timestamp, Version};
use handover_trust::Verified;

use crate::failure::Failure;
use crate::home::Home;

/// The two files.
#[derive(Debug, Clone)]
pub struct Accepted {
    dir: Utf8PathBuf,
}

impl Accepted {
    /// The files of `home`.
    pub fn of(home: &Home) -> Self {
        Self { dir: home.root().join("trust") }
    }

    /// Where the floors lie.
    pub fn floors_path(&self) -> Utf8PathBuf {
        self.dir.join("floors.json")
    }

    /// Where the ledger lies.
    pub fn ledger_path(&self) -> Utf8PathBuf {
        self.dir.join("ledger.json")
    }

    /// Writes both where neither is: for the moment when a host is set up. On a host that
    /// `was_set_up` before, floors that are gone were lost, and only doctor finds them again; a
    /// lost ledger is begun anew, which doctor asks a person for.
    ///
    /// # Errors
    /// [`Failure`] when the disk fails.
    pub fn set_up(&self, was_set_up: bool) -> Result<(), Failure> {
        disk::make_dir_mode(&self.dir, 0o700)?;
        if !was_set_up {
            disk::write_new(&self.floors_path(), &Floors::default().seal()?, 0o600)?;
        }
        disk::write_new(&self.ledger_path(), &Ledger::default().seal()?, 0o600)?;
        Ok(())
    }

    /// The floors.
    ///
    /// # Errors
    /// [`Failure`] when they are damaged or gone.
    pub fn floors(&self) -> Result<Floors, Failure> {
        let bytes = disk::read(&self.floors_path())?.ok_or_else(|| gone(self.floors_path()))?;
        Ok(Floors::open(&bytes)?)
    }

    /// The ledger.
    ///
    /// # Errors
    /// [`Failure`] when it is damaged or gone.
    pub fn ledger(&self) -> Result<Ledger, Failure> {
        let bytes = disk::read(&self.ledger_path())?.ok_or_else(|| gone(self.ledger_path()))?;
        Ok(Ledger::open(&bytes)?)
    }

    /// Replaces the floors.
    ///
    /// # Errors
    /// [`Failure`] when the disk fails.
    pub fn save_floors(&self, floors: &Floors) -> Result<(), Failure> {
        Ok(disk::write(&self.floors_path(), &floors.seal()?, 0o600)?)
    }

    /// Replaces the ledger.
    ///
    /// # Errors
    /// [`Failure`] when the disk fails.
    pub fn save_ledger(&self, ledger: &Ledger) -> Result<(), Failure> {
        Ok(disk::write(&self.ledger_path(), &ledger.seal()?, 0o600)?)
    }

    /// Spends a permit, durably, before anything rests on it.
    ///
    /// # Errors
    /// [`Failure::Floors`] when it was spent before or is void; [`Failure::Busy`] while another
    /// command changes these files, since two would lose each other's word.
    pub fn spend(
        &self,
        permit: &Verified<Permit>,
        agent: &AgentName,
        component: &ComponentName,
        to: &Version,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let _lock = self.lock()?.ok_or_else(|| Failure::Busy {
            component: component.clone(),
            holder: "unknown".to_owned(),
        })?;
        self.save_ledger(&self.ledger()?.spend_permit(permit, agent, component, to, now)?)?;
        tracing::info!(%component, permit = %permit.id, "permit spent");
        Ok(())
    }

    /// Takes this crate's lock on both, so that two writers don't lose each other's change.
    ///
    /// # Errors
    /// [`Failure`] when the disk fails.
    pub fn lock(&self) -> Result<Option<disk::Lock>, Failure> {
        Ok(disk::Lock::try_take(&self.dir.join("accepted.lock"))?)
    }
}

fn gone(path: Utf8PathBuf) -> Failure {
    // An empty frame is what a truncated file is; a removed one is no better.
    let source = handover_model::FramedError::Header;
    Failure::Host(handover_hoststeps::HostError::Damaged { path, source })
}
