//! A repository's directory.
//!
//! ```text
//! repository.json       lengths of validity
//! keys/                 online keys, mode 0600; a retired one may be deleted
//! staging/              documents that wait for signatures, packages that wait with them
//! public/metadata/      what any static file server serves
//! public/targets/
//! ```
//!
//! Invariant: everything under `public` is written aside and renamed, and `timestamp.json` last,
//! so that a reader sees the old state or the new one.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::disk;
use handover_model::{ComponentName, Millis, Timestamp};
use handover_trust::Envelope;
use handover_trust::author::{Expiry, Online, Published, RootDoc, TargetsDoc};
use handover_trust::keys::{Keys, SigningKey};
use serde::{Deserialize, Serialize};

use super::RepoError;
use crate::secret::{self, PassphraseArgs};

/// `repository.json`: how long signatures hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lifetimes {
    /// Format of this file.
    pub(crate) format: u32,
    /// Of the root.
    pub(crate) root: Millis,
    /// Of the top-level targets role.
    pub(crate) targets: Millis,
    /// Of each component's role.
    pub(crate) component: Millis,
    /// Of the snapshot.
    pub(crate) snapshot: Millis,
    /// Of the timestamp.
    pub(crate) timestamp: Millis,
}

const DAY: u64 = 86_400_000;

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            format: 1,
            root: Millis(365 * DAY),
            targets: Millis(365 * DAY),
            component: Millis(365 * DAY),
            snapshot: Millis(21 * DAY),
            timestamp: Millis(7 * DAY),
        }
    }
}

impl Lifetimes {
    /// The length for a role's name.
    pub(crate) fn of(&self, role: &str) -> Millis {
        match role {
            "root" => self.root,
            "targets" => self.targets,
            "snapshot" => self.snapshot,
            "timestamp" => self.timestamp,
            _component => self.component,
        }
    }
}

/// A repository, opened and locked.
#[derive(Debug)]
pub(crate) struct Shelf {
    directory: Utf8PathBuf,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) published: Published,
    _lock: disk::Lock,
}

impl Shelf {
    /// Makes the directories of a new repository.
    pub(crate) fn create(directory: &Utf8Path, lifetimes: &Lifetimes) -> Result<Self, RepoError> {
        let config = directory.join("repository.json");
        for part in ["public/metadata", "public/targets", "staging"] {
            disk::make_dir(&directory.join(part))?;
        }
        disk::make_dir_mode(&directory.join("keys"), 0o700)?;
        let text = serde_json::to_vec_pretty(lifetimes)
            .map_err(|source| RepoError::Damaged { path: config.clone(), source })?;
        if !disk::write_new(&config, &text, 0o644)? {
            return Err(RepoError::Exists { path: config });
        }
        Self::open(directory)
    }

    /// Opens one.
    pub(crate) fn open(directory: &Utf8Path) -> Result<Self, RepoError> {
        let config = directory.join("repository.json");
        let Some(bytes) = disk::read(&config)? else {
            return Err(RepoError::NotARepository { path: directory.to_owned() });
        };
        let lifetimes = serde_json::from_slice(&bytes)
            .map_err(|source| RepoError::Damaged { path: config, source })?;
        let lock = disk::Lock::try_take(&directory.join(".lock"))?
            .ok_or_else(|| RepoError::Busy { path: directory.to_owned() })?;
        let published = load_published(&directory.join("public/metadata"))?;
        Ok(Self { directory: directory.to_owned(), lifetimes, published, _lock: lock })
    }

    /// Where static files are served from.
    pub(crate) fn public(&self) -> Utf8PathBuf {
        self.directory.join("public")
    }

    /// Where packages wait.
    pub(crate) fn waiting(&self) -> Utf8PathBuf {
        self.directory.join("staging/targets")
    }

    /// Until when a role signed now holds.
    pub(crate) fn expiry(&self, role: &str, now: Timestamp) -> Expiry {
        Expiry(now.after(self.lifetimes.of(role).duration()))
    }

    fn staged_path(&self, role: &str) -> Utf8PathBuf {
        self.directory.join(format!("staging/{role}.tosign.json"))
    }

    /// The document of `role` that waits for signatures, if it is newer than what is published.
    pub(crate) fn staged(&self, role: &str) -> Result<Option<Envelope>, RepoError> {
        let Some(bytes) = disk::read(&self.staged_path(role))? else { return Ok(None) };
        let envelope = Envelope::parse(&bytes)?;
        let version = envelope.signed.get("version").and_then(serde_json::Value::as_u64);
        // A publication that was cut after its last rename leaves documents that are through.
        Ok((version > self.published_version(role)?).then_some(envelope))
    }

    /// The roles whose documents wait, in the order in which they take effect.
    pub(crate) fn staged_roles(&self) -> Result<Vec<String>, RepoError> {
        let directory = self.directory.join("staging");
        let io = |source| RepoError::Io { act: "list", path: directory.clone(), source };
        let mut names = BTreeSet::new();
        for entry in directory.read_dir_utf8().map_err(io)? {
            let entry = entry.map_err(io)?;
            if let Some(role) = entry.file_name().strip_suffix(".tosign.json") {
                names.insert(role.to_owned());
            }
        }
        let mut roles = Vec::new();
        for role in ["root", "targets"].map(str::to_owned) {
            if names.remove(&role) {
                roles.push(role);
            }
        }
        roles.extend(names);
        let mut waiting = Vec::new();
        for role in roles {
            if self.staged(&role)?.is_some() {
                waiting.push(role);
            }
        }
        Ok(waiting)
    }

    fn published_version(&self, role: &str) -> Result<Option<u64>, RepoError> {
        if role == "root" {
            return Ok(self.published.roots.keys().next_back().copied());
        }
        let Some(bytes) = self.published.roles.get(role) else { return Ok(None) };
        Ok(Some(Envelope::parse(bytes)?.document::<TargetsDoc>()?.version))
    }

    /// Puts a document where keyholders sign it. Signatures on an earlier draft are void.
    pub(crate) fn stage<T: Serialize>(
        &self,
        role: &str,
        document: &T,
    ) -> Result<Utf8PathBuf, RepoError> {
        let path = self.staged_path(role);
        let envelope = Envelope::unsigned(document)?;
        if self.staged(role)?.is_none_or(|before| before.signed != envelope.signed) {
            disk::write(&path, &envelope.to_bytes()?, 0o644)?;
        }
        Ok(path)
    }

    /// Forgets a document that was published.
    pub(crate) fn unstage(&self, role: &str) -> Result<(), RepoError> {
        let path = self.staged_path(role);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(RepoError::Io { act: "remove", path, source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The root that will be in force once what waits is published.
    pub(crate) fn coming_root(&self) -> Result<RootDoc, RepoError> {
        Ok(match self.staged("root")? {
            Some(staged) => staged.document()?,
            None => self.published.root()?,
        })
    }

    /// Likewise the top-level targets role.
    pub(crate) fn coming_targets(&self) -> Result<TargetsDoc, RepoError> {
        Ok(match self.staged("targets")? {
            Some(staged) => staged.document()?,
            None => self.published.targets()?,
        })
    }

    /// A draft of a component's next document: what waits, or what is published one version up.
    pub(crate) fn draft_component(
        &self,
        component: &ComponentName,
        now: Timestamp,
    ) -> Result<TargetsDoc, RepoError> {
        let role = TargetsDoc::role_of(component);
        let expires = self.expiry(&role, now);
        if let Some(staged) = self.staged(&role)? {
            return Ok(staged.document()?);
        }
        if self.published.roles.contains_key(&role) {
            return Ok(self.published.component(component)?.next(expires));
        }
        Ok(TargetsDoc::empty(1, expires))
    }

    /// A draft of the next top-level targets document.
    pub(crate) fn draft_targets(&self, now: Timestamp) -> Result<TargetsDoc, RepoError> {
        if let Some(staged) = self.staged("targets")? {
            return Ok(staged.document()?);
        }
        Ok(self.published.targets()?.next(self.expiry("targets", now)))
    }

    /// The online keys at hand, by id.
    pub(crate) fn online_keys(&self) -> Result<BTreeMap<String, SigningKey>, RepoError> {
        let directory = self.directory.join("keys");
        let io = |source| RepoError::Io { act: "list", path: directory.clone(), source };
        let unasked = PassphraseArgs { passphrase_file: None };
        let mut keys = BTreeMap::new();
        for entry in directory.read_dir_utf8().map_err(io)? {
            let entry = entry.map_err(io)?;
            if entry.path().extension() == Some("pem") && !entry.file_name().starts_with('.') {
                let key = secret::load_key(entry.path(), &unasked)?;
                keys.insert(key.public().id(), key);
            }
        }
        Ok(keys)
    }

    /// Makes a new online key for a role.
    pub(crate) fn new_online_key(
        &self,
        role: &str,
        tag: u64,
        protect: Option<&PassphraseArgs>,
    ) -> Result<SigningKey, RepoError> {
        secret::create_key(&self.directory.join(format!("keys/{role}-{tag}.pem")), protect)
    }

    /// The snapshot and timestamp signers for readers of any of `roots`.
    pub(crate) fn online<'a>(
        &self,
        keys: &'a BTreeMap<String, SigningKey>,
        roots: &[&RootDoc],
        now: Timestamp,
    ) -> Result<Online<'a>, RepoError> {
        let of = |role: &str| -> Result<Vec<&'a SigningKey>, RepoError> {
            let wanted: Keys = roots.iter().flat_map(|root| root.keys_of(role)).collect();
            let found: Vec<_> = wanted.keys().filter_map(|id| keys.get(id)).collect();
            let newest = roots.last().map(|root| root.keys_of(role)).unwrap_or_default();
            if newest.keys().any(|id| keys.contains_key(id)) {
                return Ok(found);
            }
            let what = format!(
                "no key of role {role} is in {}/keys; put it back, or \
                 `handover repo rotate-root --online`",
                self.directory
            );
            Err(RepoError::Refused { what })
        };
        Ok(Online {
            snapshot: of("snapshot")?,
            timestamp: of("timestamp")?,
            snapshot_expires: self.expiry("snapshot", now),
            timestamp_expires: self.expiry("timestamp", now),
        })
    }

    /// Writes all metadata that is not there yet, the timestamp last.
    pub(crate) fn write_metadata(&self, published: &Published) -> Result<(), RepoError> {
        let directory = self.directory.join("public/metadata");
        for (name, bytes) in published.files()? {
            let path = directory.join(name);
            if disk::read(&path)?.is_none_or(|there| there != bytes) {
                disk::write(&path, &bytes, 0o644)?;
            }
        }
        Ok(())
    }
}

/// Reads what is published: every root, and what the timestamp leads to.
fn load_published(directory: &Utf8Path) -> Result<Published, RepoError> {
    let mut published = Published::default();
    for version in 1_u64.. {
        match disk::read(&directory.join(format!("{version}.root.json")))? {
            Some(bytes) => published.put_root(bytes)?,
            None => break,
        }
    }
    published.timestamp = disk::read(&directory.join("timestamp.json"))?;
    if published.timestamp.is_none() {
        return Ok(published);
    }
    let pins = published.timestamp()?.meta;
    let version = pins.get("snapshot.json").map_or(0, |pin| pin.version);
    published.snapshot = Some(secret::read(&directory.join(format!("{version}.snapshot.json")))?);
    for (file, pin) in published.snapshot()?.meta {
        let bytes = secret::read(&directory.join(format!("{}.{file}", pin.version)))?;
        published.roles.insert(file.trim_end_matches(".json").to_owned(), bytes);
    }
    Ok(published)
}
