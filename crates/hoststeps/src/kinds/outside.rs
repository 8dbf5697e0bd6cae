//! One file outside the slot: written after commit, put back on return.
//!
//! What was edited since is never overwritten: on the way back such a file simply stays.

use camino::Utf8PathBuf;
use handover_engine::run::{Fault, Intent, Seen};
use handover_engine::upgrade::OutsideCopy;
use handover_model::{Digest, Edits};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::{beside, shipped};
use super::preflight::{refuse_failed, spec_of};
use crate::{EntryKind, Host, Step};

/// What lies at a path: its content and mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Image {
    digest: Digest,
    mode: u32,
}

/// What was seen before the step began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Observed {
    /// Where the release's file goes: its path, or beside it when an edit stays.
    target: Utf8PathBuf,
    /// Whether a person's edit is about to be replaced.
    replaces_edit: bool,
    /// What lay at the target.
    was: Option<Image>,
}

impl Step for OutsideCopy {
    fn look(&self, host: &dyn Host, intent: Option<&Intent>) -> Result<Seen, Fault> {
        let (new, wanted) = self.wanted(host)?;
        let Some(intent) = intent else {
            let there = image(host, &self.path)?;
            if there.as_ref() == Some(&wanted) {
                return Ok(Seen::After(Value::Null));
            }
            return self.observe(host, &new).and_then(|seen| Ok(Seen::Before(json_of(&seen)?)));
        };
        let observed = observed_of(intent)?;
        let there = image(host, &observed.target)?;
        let marked = host.stat(&self.marker)?.is_some();
        Ok(if there.as_ref() == Some(&wanted) {
            if marked { Seen::After(Value::Null) } else { Seen::Between }
        } else if there == observed.was {
            if marked { Seen::Between } else { Seen::Before(intent.observed.clone()) }
        } else {
            Seen::Elsewhere(format!("{} was edited in the meantime", observed.target))
        })
    }

    fn look_back(&self, host: &dyn Host, intent: &Intent) -> Result<Seen, Fault> {
        let (_, wanted) = self.wanted(host)?;
        let observed = observed_of(intent)?;
        let ours = image(host, &observed.target)?.as_ref() == Some(&wanted)
            && observed.was.as_ref() != Some(&wanted);
        Ok(if ours || host.stat(&self.marker)?.is_some() {
            Seen::After(Value::Null)
        } else {
            Seen::Before(Value::Null)
        })
    }

    fn save(&self, host: &mut dyn Host, observed: &Value) -> Result<Value, Fault> {
        let observed: Observed = parse(observed)?;
        let Some(was) = &observed.was else { return Ok(Value::Null) };
        let bytes = host.read(&observed.target)?;
        let bytes = bytes.filter(|bytes| Digest::of(bytes) == was.digest);
        let changed = || Fault::Retry(format!("{} is changing just now", observed.target));
        let bytes = bytes.ok_or_else(changed)?;
        let blob = self.blobs.join(was.digest.to_string());
        host.make_dir(&self.blobs)?;
        host.write(&blob, &bytes, 0o600)?;
        Ok(Value::String(blob.into_string()))
    }

    fn apply(&self, host: &mut dyn Host, intent: &Intent) -> Result<(), Fault> {
        let observed = observed_of(intent)?;
        let (new, wanted) = self.wanted(host)?;
        if let Some(parent) = observed.target.parent() {
            host.make_dir(parent)?;
        }
        if observed.replaces_edit && image(host, &observed.target)?.as_ref() != Some(&wanted) {
            let edited = host.read(&observed.target)?.unwrap_or_default();
            host.write(&beside(&self.path, "local"), &edited, self.mode)?;
        }
        host.write(&observed.target, &new, self.mode)?;
        if let Some(then) = &self.then {
            let output = host.exec(&spec_of(then))?;
            refuse_failed("the command after an outside file", then, &output)?;
        }
        Ok(host.write(&self.marker, b"", 0o644)?)
    }

    fn revert(&self, host: &mut dyn Host, intent: &Intent) -> Result<(), Fault> {
        let observed = observed_of(intent)?;
        let (_, wanted) = self.wanted(host)?;
        if image(host, &observed.target)?.as_ref() == Some(&wanted) {
            match (&observed.was, intent.before.as_str()) {
                (Some(was), Some(blob)) => {
                    let gone = || Fault::Permanent(format!("the kept image {blob} is gone"));
                    let bytes = host.read(blob.into())?.ok_or_else(gone)?;
                    host.write(&observed.target, &bytes, was.mode)?;
                }
                (Some(_), None) | (None, _) => host.remove(&observed.target)?,
            }
        }
        if let Some(then) = &self.then {
            // A return must not hang on this: the file is back, and that is what counts.
            let output = host.exec(&spec_of(then))?;
            if output.code != Some(0) {
                tracing::warn!(path = %self.path, tail = %output.tail, "command after a return failed");
            }
        }
        Ok(host.remove(&self.marker)?)
    }
}

trait Outside {
    fn wanted(&self, host: &dyn Host) -> Result<(Vec<u8>, Image), Fault>;
    fn observe(&self, host: &dyn Host, new: &[u8]) -> Result<Observed, Fault>;
}

impl Outside for OutsideCopy {
    fn wanted(&self, host: &dyn Host) -> Result<(Vec<u8>, Image), Fault> {
        let (bytes, _) = shipped(host, &self.source, Some(&self.places))?;
        let image = Image { digest: Digest::of(&bytes), mode: self.mode };
        Ok((bytes, image))
    }

    fn observe(&self, host: &dyn Host, new: &[u8]) -> Result<Observed, Fault> {
        // A link's own mode lets everybody write, and what is put back would be a file of it.
        if host.stat(&self.path)?.is_some_and(|entry| entry.kind == EntryKind::Link) {
            return Err(Fault::Permanent(format!(
                "{} is a link, which a release's file must not replace; put a file there, or \
                 remove it",
                self.path
            )));
        }
        let there = host.read(&self.path)?;
        let original = match &self.original {
            Some(path) if host.stat(path)?.is_some() => {
                Some(shipped(host, path, Some(&self.old_places))?.0)
            }
            Some(_) | None => None,
        };
        let edited = there.as_ref().is_some_and(|there| {
            there != new && there.as_slice() != original.as_deref().unwrap_or_default()
        });
        let target = match (edited, self.edits) {
            (false, _) | (true, Edits::Replace) => self.path.clone(),
            (true, Edits::Keep) => beside(&self.path, "new"),
            (true, Edits::Refuse) => {
                return Err(Fault::Permanent(format!(
                    "{} was edited on this host, and the release refuses to touch edited files",
                    self.path
                )));
            }
        };
        let was = image(host, &target)?;
        Ok(Observed { target, replaces_edit: edited && self.edits == Edits::Replace, was })
    }
}

fn image(host: &dyn Host, path: &camino::Utf8Path) -> Result<Option<Image>, Fault> {
    let (Some(bytes), Some(entry)) = (host.read(path)?, host.stat(path)?) else { return Ok(None) };
    Ok(Some(Image { digest: Digest::of(&bytes), mode: entry.mode & 0o7777 }))
}

fn observed_of(intent: &Intent) -> Result<Observed, Fault> {
    parse(&intent.observed)
}

fn parse<T: for<'de> Deserialize<'de>>(value: &Value) -> Result<T, Fault> {
    T::deserialize(value)
        .map_err(|source| Fault::Permanent(format!("the record can't be read: {source}")))
}

fn json_of<T: Serialize>(value: &T) -> Result<Value, Fault> {
    serde_json::to_value(value)
        .map_err(|source| Fault::Permanent(format!("the record can't be written: {source}")))
}
