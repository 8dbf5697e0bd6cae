//! The blocking step, and the registry of kinds.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use handover_engine::run::{Fault, Intent, KindRef, PlanError, Seen};
use handover_model::ErrorClass;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Host, HostError};

/// One step of a blocking kind, built from resolved inputs.
///
/// Each of the four may be cut short at any host call and is then called again, in this process
/// or another. `apply` and `revert` get there from wherever such a cut left the world.
pub trait Step {
    /// Says where the world is; changes nothing. Without an intent only `Before` leads to
    /// `apply`; with one, `Between` is ours, and so is every trace of a cut `apply` or `revert`:
    /// those must never be called `Before`.
    ///
    /// # Errors
    /// When the look itself failed.
    fn look(&self, host: &dyn Host, intent: Option<&Intent>) -> Result<Seen, Fault>;

    /// The same question once the run has turned: `Before` when nothing of this step is left to
    /// take back, `After` or `Between` when `revert` must act. Kinds that wait, or whose effect
    /// may rightly stay, answer it differently from [`Step::look`].
    ///
    /// # Errors
    /// When the look itself failed.
    fn look_back(&self, host: &dyn Host, intent: &Intent) -> Result<Seen, Fault> {
        self.look(host, Some(intent))
    }

    /// Keeps what `revert` needs, given the payload of `Seen::Before`. May write nothing but the
    /// run's blobs, durably. By default nothing is kept.
    ///
    /// # Errors
    /// When it can't be kept; the step is then not applied.
    fn save(&self, host: &mut dyn Host, observed: &Value) -> Result<Value, Fault> {
        let _ = (host, observed);
        Ok(Value::Null)
    }

    /// Brings the step about. Success is proved by the look that follows.
    ///
    /// # Errors
    /// When it failed or can't tell.
    fn apply(&self, host: &mut dyn Host, intent: &Intent) -> Result<(), Fault>;

    /// Takes it back. Success is proved by the look that follows.
    ///
    /// # Errors
    /// When it failed or can't tell.
    fn revert(&self, host: &mut dyn Host, intent: &Intent) -> Result<(), Fault>;
}

type Make = Box<dyn Fn(&Value) -> Result<Box<dyn Step>, serde_json::Error> + Send + Sync>;

/// The kinds that a program knows, by name and revision.
#[derive(Default)]
pub struct Kinds {
    makers: BTreeMap<KindRef, Make>,
}

impl Kinds {
    /// A registry that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the kind `T`, whose fields are its inputs. Unknown inputs are refused if `T` says
    /// `deny_unknown_fields`.
    ///
    /// # Errors
    /// When `kind` is not of the form `name/revision`.
    pub fn add<T: Step + DeserializeOwned + 'static>(
        &mut self,
        kind: &str,
    ) -> Result<(), PlanError> {
        let make: Make = Box::new(|inputs| {
            T::deserialize(inputs).map(|step| -> Box<dyn Step> { Box::new(step) })
        });
        self.makers.insert(kind.parse()?, make);
        Ok(())
    }

    /// The same, for a table of known kinds.
    ///
    /// # Panics
    /// When `kind` is not of the form `name/revision`.
    #[must_use]
    pub fn with<T: Step + DeserializeOwned + 'static>(mut self, kind: &'static str) -> Self {
        self.add::<T>(kind).expect("a kind is named name/revision in the source");
        self
    }

    /// The same, for a kind whose steps share something that lives as long as the registry, such as
    /// what a watch has seen so far.
    ///
    /// # Panics
    /// When `kind` is not of the form `name/revision`.
    #[must_use]
    pub fn with_made<F>(mut self, kind: &'static str, make: F) -> Self
    where
        F: Fn(&Value) -> Result<Box<dyn Step>, serde_json::Error> + Send + Sync + 'static,
    {
        let kind = kind.parse().expect("a kind is named name/revision in the source");
        self.makers.insert(kind, Box::new(make));
        self
    }

    /// Whether the kind is known, in this very revision.
    pub fn knows(&self, kind: &KindRef) -> bool {
        self.makers.contains_key(kind)
    }

    /// The kinds, in order.
    pub fn names(&self) -> impl Iterator<Item = &KindRef> {
        self.makers.keys()
    }

    /// A step of `kind` from resolved inputs; `None` when the kind is not known.
    pub fn make(&self, kind: &KindRef, inputs: &Value) -> Option<Result<Box<dyn Step>, Fault>> {
        let make = self.makers.get(kind)?;
        Some(make(inputs).map_err(|source| {
            Fault::Permanent(format!("{kind} can't be built from its inputs: {source}"))
        }))
    }
}

impl From<HostError> for Fault {
    fn from(error: HostError) -> Self {
        let text = chain(&error);
        match error.class() {
            ErrorClass::Retry => Self::Retry(text),
            ErrorClass::Conflict | ErrorClass::Permanent | ErrorClass::Bug => Self::Permanent(text),
        }
    }
}

/// An error and all its sources, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        // Writing to a text never fails.
        let _ = write!(text, ": {source}");
        next = source.source();
    }
    text
}
