//! What people chose with commands, laid over the policy.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8Path;
use handover_hoststeps::disk;
use handover_model::{
    ComponentName, ComponentPolicy, HostPolicy, Mode, Pin, open_framed, seal_framed,
};
use serde::{Deserialize, Serialize};

use super::PolicyError;
use crate::failure::Failure;
use crate::home::Home;
use crate::real_world::Stop;

/// The newest format of the file that this program reads and the one that it writes.
pub const CHOICES_FORMAT: u32 = 1;

/// The framed file's kind.
const KIND: &str = "choices";

/// How often, and how many times, another program's lock is looked at.
const GLANCE: Duration = Duration::from_millis(20);
const LOOKS: u32 = 250;

/// `choices.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choices {
    /// Pins that win over the policy's.
    #[serde(default)]
    pub pins: BTreeMap<ComponentName, Pin>,
    /// The control plane's pins, which count beside all others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub control_pins: BTreeMap<ComponentName, Pin>,
    /// Components that the policy does not list, each followed by hand (`mode: manual`).
    #[serde(default)]
    pub added: Vec<ComponentName>,
}

impl Choices {
    /// Reads the file; nothing is chosen where there is none.
    ///
    /// # Errors
    /// [`PolicyError::Read`] and [`PolicyError::Choices`].
    pub fn load(path: &Utf8Path) -> Result<Self, PolicyError> {
        let read = disk::read(path)
            .map_err(|source| PolicyError::Read { path: path.to_owned(), source })?;
        match read {
            None => Ok(Self::default()),
            Some(bytes) => open_framed(KIND, CHOICES_FORMAT, &bytes)
                .map_err(|source| PolicyError::Choices { path: path.to_owned(), source }),
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`PolicyError::Read`] when the disk fails.
    pub fn save(&self, path: &Utf8Path) -> Result<(), PolicyError> {
        let bytes = seal_framed(KIND, CHOICES_FORMAT, self)
            .map_err(|source| PolicyError::Choices { path: path.to_owned(), source })?;
        disk::write(path, &bytes, 0o644)
            .map_err(|source| PolicyError::Read { path: path.to_owned(), source })
    }

    /// Lays the choices over `policy`. A pin of a component that is nowhere is kept for later.
    pub fn lay_over(&self, policy: &mut HostPolicy) {
        for name in &self.added {
            if policy.components.iter().all(|component| component.name != *name) {
                policy.components.push(by_hand(name.clone()));
            }
        }
        for component in &mut policy.components {
            if let Some(pin) = self.pins.get(&component.name) {
                component.pin = Some(pin.clone());
            }
            component.control_pin = self.control_pins.get(&component.name).cloned();
        }
    }
}

/// Changes a host's choices; two programs that do it at once wait for each other.
///
/// # Errors
/// [`Failure`] when the disk fails, or somebody else holds the file for long.
pub fn change_choices(home: &Home, change: impl FnOnce(&mut Choices)) -> Result<Choices, Failure> {
    let (path, pause) = (home.choices(), Stop::never());
    for _look in 0..LOOKS {
        let lock = disk::Lock::try_take(&home.root().join("choices.lock"))?;
        if lock.is_none() {
            pause.wait(GLANCE);
            continue;
        }
        let mut choices = Choices::load(&path)?;
        change(&mut choices);
        choices.save(&path)?;
        return Ok(choices);
    }
    let reason = format!("another program changes {path}; try again in a moment");
    Err(Failure::Refused { code: "changed-meanwhile", reason })
}

fn by_hand(name: ComponentName) -> ComponentPolicy {
    ComponentPolicy {
        name,
        channel: "stable".to_owned(),
        mode: Mode::Manual,
        pin: None,
        control_pin: None,
        after: Vec::new(),
        windows: Vec::new(),
        parameters: BTreeMap::new(),
    }
}
