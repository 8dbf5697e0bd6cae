//! Version floors again, from kept metadata alone, where the floors file was lost.

use handover_model::Timestamp;
use sigstore_tuf::{Metadata, Snapshot, Timestamp as TufTimestamp, TrustedMetadataSet};

use super::{Limits, Memory, Refresh, accept};
use crate::floors::Seen;
use crate::{VerifyError, VersionFloors};

impl VersionFloors {
    /// The floors that `memory`'s files prove, whatever its floors are: every number comes from a
    /// file whose signatures hold, expired or not. Of the roots between the one that the host was
    /// set up with and the kept one nothing is kept, so a kept root more than one version ahead
    /// vouches for itself, as it does in an update.
    ///
    /// # Errors
    /// Any refusal of a root; [`VerifyError::Unproved`] where root, timestamp or snapshot is kept
    /// in no usable form: then nobody can say how high the floors were.
    pub fn derive(memory: &Memory) -> Result<Self, VerifyError> {
        check_root(memory)?;
        let memory = Memory { floors: Self::first(), ..memory.clone() };
        let mut refresh =
            Refresh::begin(memory, Vec::new(), Limits::default(), Timestamp::from_micros(0))?;
        refresh.recover_from_fast_forward();
        refresh.load_kept();
        if let Some(subject) = refresh.found.damaged.first() {
            return Err(VerifyError::Unproved { subject: subject.clone() });
        }
        let missing = |name: &str| VerifyError::Unproved { subject: name.to_owned() };
        let file = |name: &str| refresh.memory.files.get(name).ok_or_else(|| missing(name));
        let (Some(_), Some(snapshot)) = (refresh.core.timestamp(), refresh.core.snapshot()) else {
            return Err(missing("timestamp.json or snapshot.json"));
        };
        let refused = |name| move |source| VerifyError::of_core(source, name, jiff::Timestamp::MIN);
        let timestamp = Metadata::<TufTimestamp>::from_slice(file("timestamp.json")?)
            .map_err(refused("timestamp.json"))?;
        let listed = Metadata::<Snapshot>::from_slice(file("snapshot.json")?)
            .map_err(refused("snapshot.json"))?;
        let mut floors = refresh.memory.floors.clone();
        floors.timestamp =
            Some(accept::seen(timestamp.signed().version, timestamp.signed_canonical()));
        floors.snapshot = Some(accept::seen(listed.signed().version, listed.signed_canonical()));
        for (name, pin) in &snapshot.meta {
            let role = name.strip_suffix(".json").unwrap_or(name).to_owned();
            floors.roles.insert(role, Seen { version: pin.version, signed: None });
        }
        Ok(floors)
    }
}

/// The kept root against the one that the host was set up with, as far as that one can tell.
fn check_root(memory: &Memory) -> Result<(), VerifyError> {
    let early = jiff::Timestamp::MIN;
    let refused = |source| VerifyError::of_core(source, "root.json", early);
    let Some(bytes) = memory.files.get("root.json") else { return Ok(()) };
    let mut pinned = TrustedMetadataSet::from_root(&memory.pinned_root).map_err(refused)?;
    let kept = TrustedMetadataSet::from_root(bytes).map_err(refused)?;
    if kept.root().version == pinned.root().version.saturating_add(1) {
        pinned.update_root(bytes).map_err(refused)?;
    }
    Ok(())
}
