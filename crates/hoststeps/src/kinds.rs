//! The kinds of a host upgrade (DESIGN 5.4). Their inputs are `engine::upgrade`'s; what is here is
//! how each looks, saves, applies and reverts on a [`crate::Host`].
//!
//! Invariants: nothing that the running version uses is touched before commit; a slot's own
//! directories appear by rename, whole or not at all; slots change by compare-and-swap alone, and
//! a trial that is taken back always leaves its reason in quarantine.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use handover_engine::upgrade::{
    CommitSlots, CopyConfig, GuardHealth, Install, KeepFew, MigrateDown, OutsideCopy, PauseSlots,
    Preflight, PrepareState, ReplaceLauncher, SetTrial, SwapSlots, Vigil, WatchHealth, steps,
};
use handover_model::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Kinds, Step};

mod commit;
mod config;
mod down;
mod install;
mod launcher;
mod outside;
mod pause;
mod preflight;
mod retain;
mod slots;
mod state;
mod trial;
mod watch;

/// What the kinds of one run share beside the host.
#[derive(Clone)]
pub struct Surroundings {
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    why: Arc<Mutex<Option<String>>>,
    vigil: Arc<Mutex<Vigil>>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("why", &self.why()).finish_non_exhaustive()
    }
}

impl Surroundings {
    /// With the wall clock, for what slots record for people.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { now: Arc::new(now), why: Arc::default(), vigil: Arc::default() }
    }

    /// Says why the run is being taken back: the reason that quarantine records.
    pub fn set_why(&self, why: &str) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }

    fn why(&self) -> String {
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        why.clone().unwrap_or_else(|| "the upgrade was taken back".to_owned())
    }

    fn now(&self) -> Timestamp {
        (self.now)()
    }

    fn vigil<T>(&self, with: impl FnOnce(&mut Vigil) -> T) -> T {
        with(&mut self.vigil.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A step's inputs together with what its run shares.
struct With<T> {
    inputs: T,
    around: Surroundings,
}

/// The kinds of a host upgrade.
pub fn host_upgrade(around: &Surroundings) -> Kinds {
    let kinds = Kinds::new()
        .with::<Preflight>(steps::PREFLIGHT.kind)
        .with::<Install>(steps::INSTALL.kind)
        .with::<CopyConfig>(steps::CONFIG.kind)
        .with::<PauseSlots>(steps::PAUSE.kind)
        .with::<PrepareState>(steps::STATE.kind)
        .with::<MigrateDown>(steps::DOWN.kind)
        .with::<OutsideCopy>(steps::OUTSIDE.kind)
        .with::<ReplaceLauncher>(steps::LAUNCHER.kind)
        .with::<KeepFew>(steps::RETENTION.kind);
    let kinds = shared::<SetTrial>(kinds, steps::TRIAL.kind, around);
    let kinds = shared::<SwapSlots>(kinds, steps::SWAP.kind, around);
    let kinds = shared::<WatchHealth>(kinds, steps::WATCH.kind, around);
    let kinds = shared::<CommitSlots>(kinds, steps::COMMIT.kind, around);
    shared::<GuardHealth>(kinds, steps::GUARD.kind, around)
}

fn shared<T: DeserializeOwned + 'static>(
    kinds: Kinds,
    kind: &'static str,
    around: &Surroundings,
) -> Kinds
where
    With<T>: Step,
{
    let around = around.clone();
    kinds.with_made(kind, move |inputs: &Value| {
        let step = With { inputs: T::deserialize(inputs)?, around: around.clone() };
        Ok(Box::new(step))
    })
}
