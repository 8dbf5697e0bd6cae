//! A repository's metadata as it is published, held as bytes because pins cover bytes: what the
//! next publication starts from, and what it is proved with.

use std::collections::BTreeMap;

use handover_model::{ComponentName, Timestamp};

use super::{Expiry, MetaDoc, RootDoc, SnapshotDoc, TargetsDoc, TimestampDoc, pin_of};
use crate::keys::SigningKey;
use crate::{
    Answer, Catalog, Envelope, Goal, Limits, Memory, Poll, Refresh, Verified, VerifyError,
    VersionFloors,
};

/// All current metadata of one repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Published {
    /// Every root, by version.
    pub roots: BTreeMap<u64, Vec<u8>>,
    /// The newest `targets` and `component-…` files, by role.
    pub roles: BTreeMap<String, Vec<u8>>,
    /// The newest snapshot.
    pub snapshot: Option<Vec<u8>>,
    /// The newest timestamp.
    pub timestamp: Option<Vec<u8>>,
}

/// Who signs a new snapshot and timestamp, and until when they hold.
#[derive(Debug)]
pub struct Online<'a> {
    /// Keys for the snapshot: the current one, and while keys rotate the retiring one too, so
    /// that readers of either root are served.
    pub snapshot: Vec<&'a SigningKey>,
    /// Keys for the timestamp, likewise.
    pub timestamp: Vec<&'a SigningKey>,
    /// The snapshot's expiry.
    pub snapshot_expires: Expiry,
    /// The timestamp's expiry.
    pub timestamp_expires: Expiry,
}

impl Published {
    /// The newest root's document.
    ///
    /// # Errors
    /// [`VerifyError::Missing`] when there is none, [`VerifyError::Malformed`].
    pub fn root(&self) -> Result<RootDoc, VerifyError> {
        document("root.json", self.roots.values().next_back())
    }

    /// The newest top-level targets document.
    ///
    /// # Errors
    /// As [`Published::root`].
    pub fn targets(&self) -> Result<TargetsDoc, VerifyError> {
        document("targets.json", self.roles.get("targets"))
    }

    /// The newest document of a component's role.
    ///
    /// # Errors
    /// As [`Published::root`].
    pub fn component(&self, component: &ComponentName) -> Result<TargetsDoc, VerifyError> {
        let role = TargetsDoc::role_of(component);
        document(&role, self.roles.get(&role))
    }

    /// The newest snapshot's document.
    ///
    /// # Errors
    /// As [`Published::root`].
    pub fn snapshot(&self) -> Result<SnapshotDoc, VerifyError> {
        document("snapshot.json", self.snapshot.as_ref())
    }

    /// The newest timestamp's document.
    ///
    /// # Errors
    /// As [`Published::root`].
    pub fn timestamp(&self) -> Result<TimestampDoc, VerifyError> {
        document("timestamp.json", self.timestamp.as_ref())
    }

    /// Takes in a root.
    ///
    /// # Errors
    /// [`VerifyError::Malformed`].
    pub fn put_root(&mut self, bytes: Vec<u8>) -> Result<(), VerifyError> {
        let root: RootDoc = document("root.json", Some(&bytes))?;
        self.roots.insert(root.version, bytes);
        Ok(())
    }

    /// Makes the next snapshot and timestamp over what is there.
    ///
    /// # Errors
    /// [`VerifyError::Malformed`].
    pub fn renew(&mut self, online: &Online<'_>) -> Result<(), VerifyError> {
        let mut meta = BTreeMap::<String, MetaDoc>::new();
        let mut version = 1;
        if self.snapshot.is_some() {
            let before = self.snapshot()?;
            version = before.version.saturating_add(1);
            meta = before.meta; // what was ever listed stays listed
        }
        for (role, bytes) in &self.roles {
            let targets: TargetsDoc = document(role, Some(bytes))?;
            meta.insert(format!("{role}.json"), pin_of(targets.version, bytes));
        }
        let snapshot = SnapshotDoc::new(version, online.snapshot_expires, meta);
        self.snapshot = Some(signed(&snapshot, &online.snapshot)?);
        self.renew_timestamp(online)
    }

    /// Makes the next timestamp alone.
    ///
    /// # Errors
    /// [`VerifyError::Missing`] without a snapshot, [`VerifyError::Malformed`].
    pub fn renew_timestamp(&mut self, online: &Online<'_>) -> Result<(), VerifyError> {
        let version = match &self.timestamp {
            Some(_) => self.timestamp()?.version.saturating_add(1),
            None => 1,
        };
        let snapshot = self.snapshot()?;
        let pin = pin_of(snapshot.version, self.snapshot.as_deref().unwrap_or_default());
        let timestamp = TimestampDoc::new(version, online.timestamp_expires, pin);
        self.timestamp = Some(signed(&timestamp, &online.timestamp)?);
        Ok(())
    }

    /// Every file, by the name that it is served under, in the order that keeps readers whole:
    /// what others point at first, the timestamp last.
    ///
    /// # Errors
    /// [`VerifyError::Malformed`].
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>, VerifyError> {
        let mut files = Vec::new();
        for (role, bytes) in &self.roles {
            let targets: TargetsDoc = document(role, Some(bytes))?;
            files.push((format!("{}.{role}.json", targets.version), bytes.clone()));
        }
        if let Some(bytes) = &self.snapshot {
            files.push((format!("{}.snapshot.json", self.snapshot()?.version), bytes.clone()));
        }
        for (version, bytes) in &self.roots {
            files.push((format!("{version}.root.json"), bytes.clone()));
        }
        if let Some(bytes) = &self.timestamp {
            files.push(("timestamp.json".to_owned(), bytes.clone()));
        }
        Ok(files)
    }

    /// Proves what is about to be published by being its client, from the first root on.
    ///
    /// # Errors
    /// Whatever a host would say.
    pub fn prove(&self, now: Timestamp) -> Result<Verified<Catalog>, VerifyError> {
        // A component whose first release is still to come has a role that says nothing yet.
        let mut goals = self.targets()?.components();
        goals.retain(|name| self.roles.contains_key(&TargetsDoc::role_of(name)));
        let memory = Memory {
            pinned_root: self.roots.values().next().cloned().unwrap_or_default(),
            files: BTreeMap::new(),
            floors: VersionFloors::first(),
        };
        let goals = goals.into_iter().map(Goal::Component).collect();
        let files: BTreeMap<_, _> = self.files()?.into_iter().collect();
        let mut refresh = Refresh::begin(memory, goals, Limits::default(), now)?;
        loop {
            match refresh.poll() {
                Poll::Fetch(want) => refresh.feed(match files.get(&want.name) {
                    Some(bytes) => Answer::Bytes(bytes.clone()),
                    None => Answer::NotFound,
                })?,
                Poll::Save(_) => {}
                Poll::Done => break Ok(refresh.finish()?.catalog),
            }
        }
    }
}

fn signed<T: serde::Serialize>(document: &T, keys: &[&SigningKey]) -> Result<Vec<u8>, VerifyError> {
    let mut envelope = Envelope::unsigned(document)?;
    for key in keys {
        envelope.sign(key)?;
    }
    envelope.to_bytes()
}

fn document<T: serde::de::DeserializeOwned>(
    subject: &str,
    bytes: Option<&Vec<u8>>,
) -> Result<T, VerifyError> {
    let bytes = bytes.ok_or_else(|| VerifyError::Missing { subject: subject.to_owned() })?;
    Envelope::parse(bytes)?.document()
}
