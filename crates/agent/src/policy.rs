//! The host policy: reading `policy.yaml`, refusing what contradicts itself, and laying over it
//! what people chose with commands.
//!
//! The file is written by people and never by programs: `pin`, `unpin` and `component apply`
//! keep their choices in `choices.json` beside it, so that comments and order stay.

mod choices;

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::{ComponentName, ComponentPolicy, ErrorClass, HostPolicy, Millis};

use crate::fetch::parse_address;

pub use choices::{CHOICES_FORMAT, Choices, change_choices};

/// The fastest polling that is accepted; anything below floods a file server.
const FASTEST_POLL: Millis = Millis(100);

/// A policy that can't be followed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// There is none.
    #[error("{path} does not exist: run `handover-agent init` first, or say --root")]
    Missing {
        /// Where it should be.
        path: Utf8PathBuf,
    },
    /// It can't be read.
    #[error("could not read {path}")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// What the system said.
        source: handover_hoststeps::HostError,
    },
    /// It does not parse, or has an unknown, missing or malformed field.
    #[error("{path}{at}: {what}")]
    Malformed {
        /// The file.
        path: Utf8PathBuf,
        /// `:LINE:COLUMN`, where known.
        at: String,
        /// What is wrong, with the field's name.
        what: String,
    },
    /// It parses and contradicts itself.
    #[error("{path}: {what}")]
    Contradiction {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong and what to write instead.
        what: String,
    },
    /// The choices beside it are damaged.
    #[error("{path} is damaged; `handover-agent doctor` says how to mend it")]
    Choices {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong.
        source: handover_model::FramedError,
    },
}

impl PolicyError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Read { .. } => ErrorClass::Retry,
            Self::Missing { .. }
            | Self::Malformed { .. }
            | Self::Contradiction { .. }
            | Self::Choices { .. } => ErrorClass::Permanent,
        }
    }

    /// A name for programs, stable over releases.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "policy.missing",
            Self::Read { .. } => "policy.read",
            Self::Malformed { .. } => "policy.malformed",
            Self::Contradiction { .. } => "policy.contradiction",
            Self::Choices { .. } => "policy.choices-damaged",
        }
    }
}

/// Loads the policy at `path` with the choices at `choices` laid over it.
///
/// # Errors
/// Any [`PolicyError`].
pub fn load_policy(path: &Utf8Path, choices: &Utf8Path) -> Result<HostPolicy, PolicyError> {
    let read = |path: &Utf8Path| {
        handover_hoststeps::disk::read(path)
            .map_err(|source| PolicyError::Read { path: path.to_owned(), source })
    };
    let bytes = read(path)?.ok_or_else(|| PolicyError::Missing { path: path.to_owned() })?;
    let mut policy = parse_policy(path, &bytes)?;
    Choices::load(choices)?.lay_over(&mut policy);
    Ok(policy)
}

/// Parses the policy's text; `path` is for messages alone.
///
/// # Errors
/// [`PolicyError::Malformed`] and [`PolicyError::Contradiction`].
pub fn parse_policy(path: &Utf8Path, bytes: &[u8]) -> Result<HostPolicy, PolicyError> {
    let malformed =
        |at: String, what: String| PolicyError::Malformed { path: path.to_owned(), at, what };
    let text = std::str::from_utf8(bytes)
        .map_err(|source| malformed(String::new(), format!("it is not UTF-8: {source}")))?;
    let policy: HostPolicy = serde_saphyr::from_str(text).map_err(|error| {
        let at = error.location().map_or_else(String::new, |location| {
            format!(":{}:{}", location.line(), location.column())
        });
        malformed(at, first_line(&error.to_string()))
    })?;
    check(&policy).map_err(|what| PolicyError::Contradiction { path: path.to_owned(), what })?;
    Ok(policy)
}

/// The parser's own message goes on with an excerpt of the file; its first line is the reason.
fn first_line(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("it does not parse");
    line.trim().trim_start_matches("error: ").to_owned()
}

fn check(policy: &HostPolicy) -> Result<(), String> {
    for (field, url) in
        [("metadata", &policy.repository.metadata), ("targets", &policy.repository.targets)]
    {
        parse_address(url).map_err(|error| format!("repository.{field}: {error}"))?;
    }
    if policy.poll < FASTEST_POLL {
        return Err(format!("poll: {} is too often; {FASTEST_POLL} is the least", policy.poll));
    }
    if policy.patience < Millis(1000) {
        return Err(format!("patience: {} is too short; 1s is the least", policy.patience));
    }
    if policy.bytes_per_second == Some(0) {
        return Err("bytes_per_second: 0 would never finish; leave it out for no limit".into());
    }
    if let Some(demand) = &policy.openpgp
        && !demand.keyring.is_absolute()
    {
        return Err(format!("openpgp.keyring: {} must be an absolute path", demand.keyring));
    }
    check_components(&policy.components)
}

fn check_components(components: &[ComponentPolicy]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for component in components {
        if !names.insert(&component.name) {
            return Err(format!("component {} is there twice; keep one", component.name));
        }
    }
    for component in components {
        for before in &component.after {
            if !names.contains(before) {
                return Err(format!(
                    "component {} comes after {before}, which is not in the list; add it or take \
                     it out of `after`",
                    component.name
                ));
            }
        }
    }
    in_order(components).map(drop)
}

/// The components, each behind those that it comes after; otherwise as they are listed.
///
/// # Errors
/// A sentence naming the components that wait for each other.
pub fn in_order(components: &[ComponentPolicy]) -> Result<Vec<&ComponentPolicy>, String> {
    let mut waiting: BTreeMap<&ComponentName, &ComponentPolicy> =
        components.iter().map(|component| (&component.name, component)).collect();
    let mut ordered: Vec<&ComponentPolicy> = Vec::new();
    while !waiting.is_empty() {
        let next = components.iter().find(|component| {
            waiting.contains_key(&component.name)
                && component.after.iter().all(|before| !waiting.contains_key(before))
        });
        let Some(next) = next else {
            let names: Vec<_> = waiting.keys().map(|name| name.as_str()).collect();
            return Err(format!(
                "components wait for each other: {}; take one of them out of an `after`",
                names.join(", ")
            ));
        };
        waiting.remove(&next.name);
        ordered.push(next);
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests;
