//! The client's side of a repository: the update workflow of TUF 1.0.34, 5.3 to 5.6, as a machine
//! without transport and files. It says which file it wants next and how long that may be, takes
//! the answer, and says what to keep.
//!
//! ```text
//! loop { match refresh.poll() {
//!     Poll::Fetch(want) => refresh.feed(fetch(want))?,
//!     Poll::Save(save)  => { write floors durably, then the file }
//!     Poll::Done        => break refresh.finish()?,
//! } }
//! ```
//!
//! Invariants: the time of the update is fixed at its start (5.1); nothing is fetched after a
//! refusal; the floors that a file raises are handed out with it and before anything that rests
//! on it; every state that a cut leaves behind can be refreshed from again.

mod accept;
mod derive;
mod walk;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use handover_model::{ComponentName, Timestamp};
use sigstore_tuf::TrustedMetadataSet;

use crate::catalog::{read_component, role_of};
use crate::floors::check_floor;
use crate::{Catalog, TargetFacts, Verified, VerifyError, VersionFloors};

/// Bounds on what a repository may make a host do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a root.
    pub root: u64,
    /// Bytes of the timestamp.
    pub timestamp: u64,
    /// Bytes of the snapshot.
    pub snapshot: u64,
    /// Bytes of the targets role or a delegated one.
    pub targets: u64,
    /// Roots walked in one update (TUF 1.0.34, 5.3.3).
    pub roots: u64,
    /// Roles visited while looking for one target (TUF 1.0.34, 5.6.7.1).
    pub roles: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            root: 512_000,
            timestamp: 16_384,
            snapshot: 2_000_000,
            targets: 5_000_000,
            roots: 1024,
            roles: 32,
        }
    }
}

/// What a host remembers of the repository.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// The root that the host was set up with.
    pub pinned_root: Vec<u8>,
    /// Metadata files as they were saved, by [`Save::name`]. Any of them may be missing or
    /// damaged: the floors hold all the same.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The version floors.
    pub floors: VersionFloors,
}

/// What a refresh is to find out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// Everything that a component's role says.
    Component(ComponentName),
    /// One target, looked up through all delegations. For programs that know no components.
    Target(String),
}

/// A metadata file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Its name, relative to the metadata's base address; already escaped for a URL.
    pub name: String,
    /// Stop after this many bytes and answer [`Answer::TooLong`].
    pub max_bytes: u64,
}

/// What came of fetching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The whole file.
    Bytes(Vec<u8>),
    /// There is no such file (HTTP 403, 404 or 410). Any other failure ends the update instead:
    /// drop the [`Refresh`] and begin a new one later.
    NotFound,
    /// It is longer than [`Want::max_bytes`].
    TooLong,
}

/// What to keep, durably, before polling again: first the floors, then the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Save {
    /// The floors as they are now.
    pub floors: VersionFloors,
    /// The file's name for [`Memory::files`]: unversioned, safe as a file name.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Poll {
    /// Fetch a file and [`Refresh::feed`] the answer.
    Fetch(Want),
    /// Keep something.
    Save(Box<Save>),
    /// Take the result by [`Refresh::finish`].
    Done,
}

/// What a finished update found.
#[derive(Debug, Clone, PartialEq)]
pub struct Refreshed {
    /// What the components asked for offer.
    pub catalog: Verified<Catalog>,
    /// The targets asked for by path that exist.
    pub targets: BTreeMap<String, TargetFacts>,
    /// The floors as they are now; already handed out by the last [`Save`], if anything changed.
    pub floors: VersionFloors,
    /// When the first of the roles used expires: the update must be repeated before.
    pub expires: Timestamp,
    /// Kept files that could not be used, for people to know.
    pub damaged: Vec<String>,
}

/// One update of the repository's metadata.
#[derive(Debug)]
pub struct Refresh {
    core: TrustedMetadataSet,
    started: jiff::Timestamp,
    limits: Limits,
    memory: Memory,
    goals: VecDeque<Goal>,
    /// Whether root, timestamp, snapshot and targets were accepted.
    shared_done: bool,
    stage: Stage,
    saves: VecDeque<Save>,
    walk: walk::Walk,
    used: BTreeSet<String>,
    found: Found,
}

/// What was found so far.
#[derive(Debug, Default)]
struct Found {
    catalog: Catalog,
    targets: BTreeMap<String, TargetFacts>,
    damaged: Vec<String>,
    /// Whether the cached snapshot in `core` is byte for byte what was saved.
    snapshot_bytes: Option<Vec<u8>>,
}

/// Which file is awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Root { next: u64, last: u64 },
    Timestamp,
    Snapshot,
    Targets,
    Role { role: String, delegator: String },
    Done,
    Failed,
}

impl Refresh {
    /// Begins an update at `now`, which stays its time to the end.
    ///
    /// # Errors
    /// Any refusal of the root that the host was set up with.
    pub fn begin(
        memory: Memory,
        goals: Vec<Goal>,
        limits: Limits,
        now: Timestamp,
    ) -> Result<Self, VerifyError> {
        let started = now.as_jiff();
        let (core, damaged) = accept::trusted_root(&memory, started)?;
        let version = core.root().version;
        let stage = Stage::Root {
            next: version.saturating_add(1),
            last: version.saturating_add(limits.roots),
        };
        Ok(Self {
            core,
            started,
            limits,
            memory,
            goals: goals.into(),
            shared_done: false,
            stage,
            saves: VecDeque::new(),
            walk: walk::Walk::default(),
            used: BTreeSet::new(),
            found: Found { damaged, ..Found::default() },
        })
    }

    /// What to do next. Saves come before the fetch that rests on them.
    pub fn poll(&mut self) -> Poll {
        if let Some(save) = self.saves.pop_front() {
            return Poll::Save(Box::new(save));
        }
        match self.want() {
            Some(want) => Poll::Fetch(want),
            None => Poll::Done,
        }
    }

    /// Takes the answer to the last [`Poll::Fetch`].
    ///
    /// # Errors
    /// Any [`VerifyError`]; after one, the update is over. What was polled for saving before
    /// stays valid.
    pub fn feed(&mut self, answer: Answer) -> Result<(), VerifyError> {
        let Some(want) = self.want() else { return Err(VerifyError::Unfinished) };
        let fed = match answer {
            Answer::TooLong => Err(endless(&want)),
            Answer::Bytes(bytes)
                if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > want.max_bytes =>
            {
                Err(endless(&want))
            }
            Answer::Bytes(bytes) => self.take(&want.name, bytes),
            Answer::NotFound => self.take_nothing(want.name),
        };
        if fed.is_err() {
            self.stage = Stage::Failed;
        }
        fed
    }

    /// The component whose own role the update was at: where a refusal ended it there, the others
    /// can be asked for without it. `None` before the roles that all components share are done.
    pub fn pursued(&self) -> Option<&ComponentName> {
        match self.goals.front() {
            Some(Goal::Component(component)) if self.shared_done => Some(component),
            Some(Goal::Component(_) | Goal::Target(_)) | None => None,
        }
    }

    /// The result, once [`Poll::Done`] was polled.
    ///
    /// # Errors
    /// [`VerifyError::Unfinished`] before that, or after a refusal.
    pub fn finish(self) -> Result<Refreshed, VerifyError> {
        if self.stage != Stage::Done || !self.saves.is_empty() {
            return Err(VerifyError::Unfinished);
        }
        let expires = self.first_expiry().into();
        Ok(Refreshed {
            catalog: Verified::new(self.found.catalog),
            targets: self.found.targets,
            floors: self.memory.floors,
            expires,
            damaged: self.found.damaged,
        })
    }

    fn take(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), VerifyError> {
        match self.stage.clone() {
            Stage::Root { next, last } => {
                self.accept_root(name, bytes)?;
                if next >= last {
                    return Err(VerifyError::EndlessRoots { walked: self.limits.roots });
                }
                self.stage = Stage::Root { next: next.saturating_add(1), last };
                Ok(())
            }
            Stage::Timestamp => {
                self.accept_timestamp(bytes)?;
                self.after_timestamp()
            }
            Stage::Snapshot => {
                self.accept_snapshot(name, bytes)?;
                self.after_snapshot()
            }
            Stage::Targets => {
                self.accept_targets(name, bytes)?;
                self.pursue_goals()
            }
            Stage::Role { role, delegator } => {
                self.accept_role(name, &role, &delegator, bytes)?;
                self.resume_walk(&role)
            }
            Stage::Done | Stage::Failed => Err(VerifyError::Unfinished),
        }
    }

    fn take_nothing(&mut self, name: String) -> Result<(), VerifyError> {
        match self.stage {
            // 5.3.3: no next root means that the walk is over.
            Stage::Root { .. } => self.after_roots(),
            Stage::Timestamp | Stage::Snapshot | Stage::Targets | Stage::Role { .. } => {
                Err(VerifyError::Missing { subject: name })
            }
            Stage::Done | Stage::Failed => Err(VerifyError::Unfinished),
        }
    }

    /// 5.3.10 and 5.3.11: expiry at the end of the walk alone, floors, recovery; then what is
    /// kept serves as a floor too, expired or not.
    fn after_roots(&mut self) -> Result<(), VerifyError> {
        let seen = accept::seen_root(&self.core)?;
        check_floor("root.json", self.memory.floors.root.as_ref(), seen)?;
        self.core
            .check_root_expired(self.started)
            .map_err(|source| self.refusal(source, "root.json"))?;
        self.recover_from_fast_forward();
        self.load_kept();
        self.stage = Stage::Timestamp;
        Ok(())
    }

    fn after_timestamp(&mut self) -> Result<(), VerifyError> {
        self.core
            .check_timestamp_expired(self.started)
            .map_err(|source| self.refusal(source, "timestamp.json"))?;
        if self.kept_snapshot_fits() {
            return self.after_snapshot();
        }
        self.stage = Stage::Snapshot;
        Ok(())
    }

    fn after_snapshot(&mut self) -> Result<(), VerifyError> {
        self.core
            .check_snapshot_expired(self.started)
            .map_err(|source| self.refusal(source, "snapshot.json"))?;
        if self.kept_targets_fit() {
            return self.pursue_goals();
        }
        self.stage = Stage::Targets;
        Ok(())
    }

    /// Works on goals until one needs a file, or all are reached.
    fn pursue_goals(&mut self) -> Result<(), VerifyError> {
        self.shared_done = true;
        while let Some(goal) = self.goals.front().cloned() {
            let needs_file = match &goal {
                Goal::Component(component) => self.pursue_component(component)?,
                Goal::Target(path) => self.pursue_target(path)?,
            };
            if needs_file {
                return Ok(());
            }
            self.goals.pop_front();
        }
        self.stage = Stage::Done;
        Ok(())
    }

    /// Whether a file is needed first.
    fn pursue_component(&mut self, component: &ComponentName) -> Result<bool, VerifyError> {
        let name = role_of(component);
        let delegated = self
            .core
            .targets_role("targets")
            .and_then(|targets| targets.delegations.as_ref())
            .is_some_and(|delegations| delegations.roles.iter().any(|role| role.name == name));
        if !delegated || self.pin_of(&name).is_none() {
            return Err(VerifyError::UnknownRole { role: name });
        }
        if !self.has_role(&name, "targets")? {
            self.stage = Stage::Role { role: name, delegator: "targets".to_owned() };
            return Ok(true);
        }
        let releases = self.read_role(component, &name)?;
        self.found.catalog.components.insert(component.clone(), releases);
        Ok(false)
    }

    fn read_role(
        &self,
        component: &ComponentName,
        name: &str,
    ) -> Result<crate::ComponentReleases, VerifyError> {
        let unknown = || VerifyError::UnknownRole { role: name.to_owned() };
        let delegations = self
            .core
            .targets_role("targets")
            .and_then(|targets| targets.delegations.as_ref())
            .ok_or_else(unknown)?;
        let role = delegations.roles.iter().find(|role| role.name == name).ok_or_else(unknown)?;
        let targets = self.core.targets_role(name).ok_or_else(unknown)?;
        let consistent = self.core.root().consistent_snapshot;
        read_component(component, role, delegations, targets, consistent)
    }

    fn refusal(&self, source: sigstore_tuf::Error, subject: &str) -> VerifyError {
        VerifyError::of_core(source, subject, self.started)
    }

    fn first_expiry(&self) -> jiff::Timestamp {
        let roles = self.used.iter().filter_map(|name| self.core.targets_role(name));
        let online = [
            Some(self.core.root().expires),
            self.core.timestamp().map(|timestamp| timestamp.expires),
            self.core.snapshot().map(|snapshot| snapshot.expires),
        ];
        let all = online.into_iter().flatten().chain(roles.map(|role| role.expires));
        all.min().unwrap_or(self.started)
    }
}

fn endless(want: &Want) -> VerifyError {
    VerifyError::Endless { subject: want.name.clone(), limit: want.max_bytes }
}
