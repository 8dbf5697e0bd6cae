//! A compiled plan: immutable, holding every choice. The journal's first record carries it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use handover_model::{ErrorClass, Millis};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A plan as the runner takes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What it is called, for people.
    pub name: String,
    /// Whether a step that fails for good turns the whole run round. Otherwise the run parks and
    /// waits for a person to say retry or revert.
    pub revert_on_failure: bool,
    /// How many steps may be at work at once; at least 1.
    pub width: usize,
    /// Who fills which role. Every owner of a step stands here.
    pub roles: BTreeMap<Role, Party>,
    /// The steps. Their order breaks ties among steps that are ready at once.
    pub steps: Vec<Spec>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Its id, unique in the plan.
    pub id: StepId,
    /// The kind, with its revision, that knows how to look, save, apply and revert.
    pub kind: KindRef,
    /// The role whose party runs it.
    pub owner: Role,
    /// The steps that must be done first. Reverting goes the other way round.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<StepId>,
    /// What the kind is built from. Anywhere inside, `{"$from": "step", "path": "/pointer"}`
    /// stands for an earlier step's output (RFC 6901 pointer; the step must be among the needs,
    /// directly or not), and `{"$said": "/by"}` or `{"$said": "/text"}` for what a person said of
    /// this step, where [`Spec::asks`] is set.
    #[serde(default)]
    pub inputs: Value,
    /// How many times it may be applied before its failure is final; at least 1. Reverting counts
    /// on its own.
    pub attempts: u32,
    /// How long it may take from its intent until it is seen to be done, waits and attempts
    /// included, and how long one act may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// A question that a person must answer (with [`Input::Say`](super::Input::Say)) before the
    /// step starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<String>,
}

macro_rules! word {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = PlanError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                checked_word(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

word! {
    /// The id of a step, unique in its plan.
    StepId
}
word! {
    /// Who owns a step, in the plan's own words, such as `host` or `new-owner`.
    Role
}
word! {
    /// An organisation, or a host, that fills roles and writes a chain of its own.
    Party
}

fn checked_word(text: &str) -> Result<String, PlanError> {
    let fits = (1..=80).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(PlanError::Word { text: text.chars().take(80).collect() })
    }
}

/// A kind of step and its revision, written `name/revision`, such as `file.put/1`. A change of
/// what a kind does or records is a new revision; the old one stays as long as a run may need it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindRef {
    name: String,
    revision: u32,
}

impl KindRef {
    /// The name without the revision.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The revision.
    pub fn revision(&self) -> u32 {
        self.revision
    }
}

impl fmt::Display for KindRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.revision)
    }
}

impl FromStr for KindRef {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || PlanError::Kind { text: text.chars().take(80).collect() };
        let (name, revision) = text.split_once('/').ok_or_else(bad)?;
        let fits = (1..=60).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
        let number = revision.parse::<u32>().ok().filter(|n| n.to_string() == revision);
        match number {
            Some(revision) if fits => Ok(Self { name: name.to_owned(), revision }),
            Some(_) | None => Err(bad()),
        }
    }
}

impl Serialize for KindRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KindRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a plan can't be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A name that can't be one.
    #[error("{text:?} can't name a step, a role or a party: use 1 to 80 letters, digits, `-_./`")]
    Word {
        /// What was offered, cut to 80 characters.
        text: String,
    },
    /// A kind that can't be one.
    #[error("{text:?} is not a kind with its revision, such as `file.put/1`")]
    Kind {
        /// What was offered, cut to 80 characters.
        text: String,
    },
    /// Two steps share an id.
    #[error("two steps are called {step}")]
    Twice {
        /// The id.
        step: StepId,
    },
    /// A step needs one that doesn't exist.
    #[error("step {step} needs {needs}, which the plan doesn't have")]
    Needs {
        /// The step.
        step: StepId,
        /// What it needs.
        needs: StepId,
    },
    /// Steps need each other in a circle.
    #[error("step {step} needs itself, by way of its needs")]
    Cycle {
        /// One step of the circle.
        step: StepId,
    },
    /// Nobody fills the owner's role.
    #[error("step {step} is owned by {role}, a role that nobody fills")]
    Unowned {
        /// The step.
        step: StepId,
        /// The role.
        role: Role,
    },
    /// An input refers to a step that is not surely done before.
    #[error("step {step} takes an output of {from}, which is not among its needs")]
    Reference {
        /// The step.
        step: StepId,
        /// What its inputs name.
        from: String,
    },
    /// A number that must be at least 1 is 0.
    #[error("{what} must be at least 1")]
    Zero {
        /// Which number.
        what: String,
    },
}

impl PlanError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Word { .. }
            | Self::Kind { .. }
            | Self::Twice { .. }
            | Self::Needs { .. }
            | Self::Cycle { .. }
            | Self::Unowned { .. }
            | Self::Reference { .. }
            | Self::Zero { .. } => ErrorClass::Permanent,
        }
    }
}

impl Plan {
    /// Whether the plan can be run at all.
    ///
    /// # Errors
    /// The first [`PlanError`] found.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.width == 0 {
            return Err(PlanError::Zero { what: "the plan's width".to_owned() });
        }
        let mut specs = BTreeMap::new();
        for spec in &self.steps {
            if specs.insert(&spec.id, spec).is_some() {
                return Err(PlanError::Twice { step: spec.id.clone() });
            }
        }
        self.steps.iter().try_for_each(|spec| self.check_step(spec, &specs))?;
        check_circles(&specs)?;
        self.steps.iter().try_for_each(|spec| check_references(spec, &specs))
    }

    fn check_step(&self, spec: &Spec, specs: &Specs<'_>) -> Result<(), PlanError> {
        if spec.attempts == 0 {
            return Err(PlanError::Zero { what: format!("attempts of step {}", spec.id) });
        }
        if let Some(needs) = spec.needs.iter().find(|id| !specs.contains_key(id)) {
            return Err(PlanError::Needs { step: spec.id.clone(), needs: needs.clone() });
        }
        if !self.roles.contains_key(&spec.owner) {
            return Err(PlanError::Unowned { step: spec.id.clone(), role: spec.owner.clone() });
        }
        Ok(())
    }

    /// The step of that id.
    pub fn step(&self, id: &StepId) -> Option<&Spec> {
        self.steps.iter().find(|spec| spec.id == *id)
    }

    /// The party that runs a step; `None` when nobody fills its owner's role.
    pub fn party_of(&self, spec: &Spec) -> Option<&Party> {
        self.roles.get(&spec.owner)
    }
}

type Specs<'a> = BTreeMap<&'a StepId, &'a Spec>;

/// Takes away, again and again, the steps whose needs are all gone; what stays needs itself.
fn check_circles(specs: &Specs<'_>) -> Result<(), PlanError> {
    let mut left: BTreeMap<&StepId, usize> = specs
        .iter()
        .map(|(id, spec)| (*id, spec.needs.iter().collect::<BTreeSet<_>>().len()))
        .collect();
    let mut needed_by: BTreeMap<&StepId, BTreeSet<&StepId>> = BTreeMap::new();
    for (id, spec) in specs {
        for need in &spec.needs {
            needed_by.entry(need).or_default().insert(id);
        }
    }
    let mut free: Vec<&StepId> =
        left.iter().filter(|(_, count)| **count == 0).map(|(id, _)| *id).collect();
    while let Some(id) = free.pop() {
        left.remove(id);
        for dependent in needed_by.get(id).into_iter().flatten() {
            if let Some(count) = left.get_mut(dependent) {
                *count -= 1;
                if *count == 0 {
                    free.push(dependent);
                }
            }
        }
    }
    match left.into_keys().next() {
        Some(step) => Err(PlanError::Cycle { step: step.clone() }),
        None => Ok(()),
    }
}

/// Every reference must name a step that is done before, directly or not.
fn check_references(spec: &Spec, specs: &Specs<'_>) -> Result<(), PlanError> {
    let mut named = Vec::new();
    super::inputs::references(&spec.inputs, &mut named);
    if named.is_empty() {
        return Ok(());
    }
    let mut before = BTreeSet::new();
    let mut queue: Vec<&StepId> = spec.needs.iter().collect();
    while let Some(id) = queue.pop() {
        if before.insert(id.as_str()) {
            queue.extend(specs.get(id).into_iter().flat_map(|spec| &spec.needs));
        }
    }
    match named.into_iter().find(|from| !before.contains(from)) {
        Some(from) => Err(PlanError::Reference { step: spec.id.clone(), from: from.to_owned() }),
        None => Ok(()),
    }
}
