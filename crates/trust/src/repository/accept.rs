//! Accepting one file: bounds, pins, signatures, floors, in that order; then saving it.

use handover_model::{Digest, Hasher};
use sigstore_tuf::{Error as CoreError, MetaFile, Metadata, Root, Snapshot, Targets};
use sigstore_tuf::{Timestamp as TufTimestamp, TrustedMetadataSet};

use super::{Memory, Refresh, Save, Stage, Want};
use crate::VerifyError;
use crate::floors::{Seen, check_floor};

/// The newest root that the host already trusts: the kept one if it is usable, else the one that
/// it was set up with. Also says what could not be used.
pub(super) fn trusted_root(
    memory: &Memory,
    now: jiff::Timestamp,
) -> Result<(TrustedMetadataSet, Vec<String>), VerifyError> {
    let pinned = TrustedMetadataSet::from_root(&memory.pinned_root)
        .map_err(|source| VerifyError::of_core(source, "the root that was set up", now))?;
    let Some(bytes) = memory.files.get("root.json") else { return Ok((pinned, Vec::new())) };
    match TrustedMetadataSet::from_root(bytes) {
        Ok(kept) if kept.root().version < pinned.root().version => Ok((pinned, Vec::new())),
        Ok(kept) if fits_floor(&kept, memory) => Ok((kept, Vec::new())),
        Ok(_) | Err(_) => Ok((pinned, vec!["root.json".to_owned()])),
    }
}

/// A kept root of the floor's own version must be the very one.
fn fits_floor(kept: &TrustedMetadataSet, memory: &Memory) -> bool {
    let (Some(floor), Ok(seen)) = (memory.floors.root, seen_root(kept)) else { return true };
    check_floor("root.json", Some(&floor), seen).is_ok() || seen.version < floor.version
}

/// The trusted root as a floor.
pub(super) fn seen_root(core: &TrustedMetadataSet) -> Result<Seen, VerifyError> {
    let parsed = Metadata::<Root>::from_slice(core.root_bytes()).map_err(|source| {
        VerifyError::Malformed { subject: "root.json".to_owned(), source: source.into() }
    })?;
    Ok(seen(parsed.signed().version, parsed.signed_canonical()))
}

impl Refresh {
    /// What is awaited, with its bound.
    pub(super) fn want(&self) -> Option<Want> {
        let want = match &self.stage {
            Stage::Root { next, .. } => {
                Want { name: format!("{next}.root.json"), max_bytes: self.limits.root }
            }
            Stage::Timestamp => {
                Want { name: "timestamp.json".to_owned(), max_bytes: self.limits.timestamp }
            }
            Stage::Snapshot => {
                let pin = self.core.timestamp().and_then(TufTimestamp::snapshot_meta);
                self.pinned("snapshot", pin, self.limits.snapshot)
            }
            Stage::Targets => self.pinned("targets", self.pin_of("targets"), self.limits.targets),
            Stage::Role { role, .. } => self.pinned(role, self.pin_of(role), self.limits.targets),
            Stage::Done | Stage::Failed => return None,
        };
        Some(want)
    }

    /// The name under which a pinned file is served, and its length or the limit.
    fn pinned(&self, role: &str, pin: Option<&MetaFile>, limit: u64) -> Want {
        let plain = file_name(role);
        let name = match pin {
            Some(pin) if self.core.root().consistent_snapshot => {
                format!("{}.{plain}", pin.version)
            }
            Some(_) | None => plain,
        };
        let length = pin.and_then(|pin| pin.length).unwrap_or(limit);
        Want { name, max_bytes: length.min(limit) }
    }

    /// What the snapshot says of a role's file.
    pub(super) fn pin_of(&self, role: &str) -> Option<&MetaFile> {
        self.core.snapshot().and_then(|snapshot| snapshot.meta.get(&format!("{role}.json")))
    }

    /// 5.3.4 to 5.3.8: signed by old and new threshold, version exactly one up, kept.
    pub(super) fn accept_root(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), VerifyError> {
        if self.memory.floors.online_keys.is_empty() {
            // A host without floors still recovers when keys fall along this very walk.
            let root = self.core.root().clone();
            self.memory.floors.stand_on(&root);
        }
        self.core.update_root(&bytes).map_err(|source| self.refusal(source, name))?;
        let seen = seen_root(&self.core)?;
        let floor = self.memory.floors.root;
        if floor.is_none_or(|floor| floor.version <= seen.version) {
            check_floor(name, floor.as_ref(), seen)?;
            self.memory.floors.root = Some(seen);
        }
        self.save("root", bytes);
        Ok(())
    }

    /// 5.3.11: when online keys fell, so do the floors that they made, and what is kept.
    pub(super) fn recover_from_fast_forward(&mut self) {
        let root = self.core.root().clone();
        if self.memory.floors.fell_with(&root) {
            self.memory.floors.forget_online();
            self.memory.files.remove("timestamp.json");
            self.memory.files.remove("snapshot.json");
        }
        self.memory.floors.stand_on(&root);
        if let Ok(seen) = seen_root(&self.core) {
            self.memory.floors.root = Some(seen);
        }
    }

    /// Kept timestamp and snapshot are floors even when they have expired, so they are loaded at
    /// the beginning of time; nothing is granted on them before a fresh look at their expiry.
    pub(super) fn load_kept(&mut self) {
        let early = jiff::Timestamp::MIN;
        for name in ["timestamp.json", "snapshot.json"] {
            let Some(bytes) = self.memory.files.get(name) else { continue };
            let loaded = if name == "timestamp.json" {
                self.core.update_timestamp(bytes, early)
            } else {
                self.core.update_snapshot(bytes, early)
            };
            match loaded {
                Ok(()) if name == "snapshot.json" => {
                    self.found.snapshot_bytes = Some(bytes.clone());
                }
                Ok(()) => {}
                Err(_unusable) => self.found.damaged.push(name.to_owned()),
            }
        }
    }

    /// 5.4: an equal version is no news, but must then be the same content.
    pub(super) fn accept_timestamp(&mut self, bytes: Vec<u8>) -> Result<(), VerifyError> {
        let name = "timestamp.json";
        let updated = self.core.update_timestamp(&bytes, self.started);
        let news = match updated {
            Ok(()) => true,
            Err(CoreError::EqualVersion { .. }) => false,
            Err(source) => return Err(self.refusal(source, name)),
        };
        let parsed = Metadata::<TufTimestamp>::from_slice(&bytes)
            .map_err(|source| self.refusal(source, name))?;
        let seen = seen(parsed.signed().version, parsed.signed_canonical());
        let floors = &self.memory.floors;
        check_floor(name, floors.timestamp.as_ref(), seen)?;
        if let Some(pin) = parsed.signed().snapshot_meta() {
            let listed = Seen { version: pin.version, signed: None };
            check_floor("snapshot.json", floors.snapshot.as_ref(), listed)?;
        }
        if news {
            self.memory.floors.timestamp = Some(seen);
            self.save("timestamp", bytes);
        }
        Ok(())
    }

    /// Whether the kept snapshot is the one that the timestamp pins, and still fresh (5.5.1).
    pub(super) fn kept_snapshot_fits(&self) -> bool {
        let pin = self.core.timestamp().and_then(TufTimestamp::snapshot_meta);
        let (Some(pin), Some(bytes)) = (pin, &self.found.snapshot_bytes) else { return false };
        let fresh = self.core.check_snapshot_expired(self.started).is_ok();
        fresh
            && self.core.snapshot().is_some_and(|snapshot| snapshot.version == pin.version)
            && check_pin("snapshot.json", "timestamp.json", pin, bytes).is_ok()
            && self.check_snapshot(bytes).is_ok()
    }

    /// 5.5: pinned by the timestamp, nothing listed vanishes or goes back.
    pub(super) fn accept_snapshot(
        &mut self,
        name: &str,
        bytes: Vec<u8>,
    ) -> Result<(), VerifyError> {
        if let Some(pin) = self.core.timestamp().and_then(TufTimestamp::snapshot_meta) {
            check_pin(name, "timestamp.json", pin, &bytes)?;
            let parsed = Metadata::<Snapshot>::from_slice(&bytes)
                .map_err(|source| self.refusal(source, name))?;
            check_version(name, "timestamp.json", pin, parsed.signed().version)?;
        }
        self.check_listed_by_kept(&bytes)?;
        self.core
            .update_snapshot(&bytes, self.started)
            .map_err(|source| self.refusal(source, name))?;
        let seen = self.check_snapshot(&bytes)?;
        let floors = &mut self.memory.floors;
        floors.snapshot = Some(seen);
        if let Some(snapshot) = self.core.snapshot() {
            for (file, pin) in &snapshot.meta {
                let role = file.strip_suffix(".json").unwrap_or(file);
                let floor = floors
                    .roles
                    .entry(role.to_owned())
                    .or_insert(Seen { version: pin.version, signed: None });
                if pin.version > floor.version {
                    *floor = Seen { version: pin.version, signed: None };
                }
            }
        }
        self.save("snapshot", bytes);
        Ok(())
    }

    /// 5.5.5 against the kept snapshot, so that a vanished file has its own name.
    fn check_listed_by_kept(&self, bytes: &[u8]) -> Result<(), VerifyError> {
        let Ok(parsed) = Metadata::<Snapshot>::from_slice(bytes) else { return Ok(()) };
        let kept = self.core.snapshot().into_iter().flat_map(|kept| kept.meta.keys());
        for file in kept {
            if !parsed.signed().meta.contains_key(file) {
                return Err(VerifyError::Vanished { subject: file.clone() });
            }
        }
        Ok(())
    }

    /// A snapshot against the floors: its own version, and every role that was ever listed.
    fn check_snapshot(&self, bytes: &[u8]) -> Result<Seen, VerifyError> {
        let parsed = Metadata::<Snapshot>::from_slice(bytes)
            .map_err(|source| self.refusal(source, "snapshot.json"))?;
        let seen = seen(parsed.signed().version, parsed.signed_canonical());
        check_floor("snapshot.json", self.memory.floors.snapshot.as_ref(), seen)?;
        for (role, floor) in &self.memory.floors.roles {
            let file = format!("{role}.json");
            let Some(pin) = parsed.signed().meta.get(&file) else {
                return Err(VerifyError::Vanished { subject: file });
            };
            check_floor(&file, Some(floor), Seen { version: pin.version, signed: None })?;
        }
        Ok(seen)
    }

    /// Whether the kept targets role is the one that the snapshot pins, and still fresh.
    pub(super) fn kept_targets_fit(&mut self) -> bool {
        let Some(bytes) = self.memory.files.get("targets.json").cloned() else { return false };
        if self.check_role("targets.json", "targets", &bytes).is_err() {
            return false;
        }
        let fits = self.core.update_targets(&bytes, self.started).is_ok();
        if fits {
            self.used.insert("targets".to_owned());
        }
        fits
    }

    /// 5.6: pinned by the snapshot, signed by the root's targets keys.
    pub(super) fn accept_targets(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), VerifyError> {
        let checked = self.check_role(name, "targets", &bytes);
        if let Err(source) = self.core.update_targets(&bytes, self.started) {
            // A pin or floor that does not fit is the better name than what the core says of it.
            checked?;
            return Err(VerifyError::of_core(source, name, self.started));
        }
        self.keep_role("targets", checked?, bytes);
        Ok(())
    }

    /// 5.6.7: pinned by the snapshot, signed by the delegation's keys.
    pub(super) fn accept_role(
        &mut self,
        name: &str,
        role: &str,
        delegator: &str,
        bytes: Vec<u8>,
    ) -> Result<(), VerifyError> {
        let checked = self.check_role(name, role, &bytes);
        if let Err(source) =
            self.core.update_delegated_targets(&bytes, role, delegator, self.started)
        {
            checked?;
            return Err(VerifyError::of_core(source, name, self.started));
        }
        self.keep_role(role, checked?, bytes);
        Ok(())
    }

    /// Whether a delegated role is there, from an earlier goal or from what is kept.
    pub(super) fn has_role(&mut self, role: &str, delegator: &str) -> Result<bool, VerifyError> {
        if self.core.targets_role(role).is_some() {
            // Another parent may have brought it; this one's keys count here.
            return match self.core.verify_delegated_targets(role, delegator, self.started) {
                Ok(_) => Ok(true),
                Err(source) => Err(self.refusal(source, &file_name(role))),
            };
        }
        let Some(bytes) = self.memory.files.get(&file_name(role)).cloned() else {
            return Ok(false);
        };
        let fits = self.check_role(&file_name(role), role, &bytes).is_ok()
            && self.core.update_delegated_targets(&bytes, role, delegator, self.started).is_ok();
        if fits {
            self.used.insert(role.to_owned());
        }
        Ok(fits)
    }

    /// A targets role against pin and floor.
    fn check_role(&self, name: &str, role: &str, bytes: &[u8]) -> Result<Seen, VerifyError> {
        let by = "snapshot.json";
        let pin = self.pin_of(role).ok_or_else(|| VerifyError::MixAndMatch {
            subject: name.to_owned(),
            by: by.to_owned(),
            what: "it is not listed at all".to_owned(),
        })?;
        check_pin(name, by, pin, bytes)?;
        let parsed =
            Metadata::<Targets>::from_slice(bytes).map_err(|source| self.refusal(source, name))?;
        check_version(name, by, pin, parsed.signed().version)?;
        let seen = seen(parsed.signed().version, parsed.signed_canonical());
        check_floor(name, self.memory.floors.roles.get(role), seen)?;
        Ok(seen)
    }

    fn keep_role(&mut self, role: &str, seen: Seen, bytes: Vec<u8>) {
        self.memory.floors.roles.insert(role.to_owned(), seen);
        self.used.insert(role.to_owned());
        self.save(role, bytes);
    }

    fn save(&mut self, role: &str, bytes: Vec<u8>) {
        let floors = self.memory.floors.clone();
        self.saves.push_back(Save { floors, name: file_name(role), bytes });
    }
}

/// A role's file name, escaped the way that every TUF client does it: everything but letters,
/// digits and `_.-~`.
fn file_name(role: &str) -> String {
    use std::fmt::Write as _;
    let mut name = String::with_capacity(role.len().saturating_add(5));
    for byte in role.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) {
            name.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _infallible = write!(name, "%{byte:02X}");
        }
    }
    name.push_str(".json");
    name
}

pub(super) fn seen(version: u64, canonical: &[u8]) -> Seen {
    Seen { version, signed: Some(Digest::of(canonical)) }
}

/// Length and hashes of a metadata file against its pin.
fn check_pin(subject: &str, by: &str, pin: &MetaFile, bytes: &[u8]) -> Result<(), VerifyError> {
    let mixed = |what: String| VerifyError::MixAndMatch {
        subject: subject.to_owned(),
        by: by.to_owned(),
        what,
    };
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if let Some(wanted) = pin.length.filter(|wanted| *wanted != length) {
        return Err(mixed(format!("{length} bytes instead of {wanted}")));
    }
    let listed = pin.hashes.as_ref().and_then(|hashes| hashes.get("sha256"));
    if let Some(wanted) = listed {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        let found = hasher.finish().to_string();
        if !found.eq_ignore_ascii_case(wanted) {
            return Err(mixed(format!("digest {found} instead of {wanted}")));
        }
    }
    Ok(())
}

fn check_version(subject: &str, by: &str, pin: &MetaFile, found: u64) -> Result<(), VerifyError> {
    if pin.version == found {
        return Ok(());
    }
    Err(VerifyError::MixAndMatch {
        subject: subject.to_owned(),
        by: by.to_owned(),
        what: format!("version {found} instead of {}", pin.version),
    })
}
