//! The new slot's own configuration directory: a copy of the old one with the release's files laid
//! over it, finished aside and renamed.

use camino::{Utf8Path, Utf8PathBuf};
use handover_engine::run::{Fault, Intent, Seen};
use handover_engine::upgrade::{ConfigCopy, CopyConfig, Places};
use handover_model::Edits;
use serde_json::Value;

use super::slots::is_kept;
use crate::{Host, Step};

impl Step for CopyConfig {
    fn look(&self, host: &dyn Host, _intent: Option<&Intent>) -> Result<Seen, Fault> {
        look_at(host, &self.work(), &self.to)
    }

    fn look_back(&self, host: &dyn Host, _intent: &Intent) -> Result<Seen, Fault> {
        if is_kept(&host.slots(&self.component)?, &self.release) {
            return Ok(Seen::Before(Value::Null));
        }
        look_at(host, &self.work(), &self.to)
    }

    fn apply(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        let work = self.work();
        host.remove(&work)?;
        if let Some(parent) = self.to.parent() {
            host.make_dir(parent)?;
        }
        match &self.from {
            Some(from) if host.stat(from)?.is_some() => host.copy_tree(from, &work)?,
            Some(_) | None => host.make_dir(&work)?,
        }
        for file in &self.files {
            self.lay(host, &work, file)?;
        }
        Ok(host.rename(&work, &self.to)?)
    }

    fn revert(&self, host: &mut dyn Host, _intent: &Intent) -> Result<(), Fault> {
        host.remove(&self.work())?;
        Ok(host.remove(&self.to)?)
    }
}

trait Lay {
    fn work(&self) -> Utf8PathBuf;
    fn lay(&self, host: &mut dyn Host, work: &Utf8Path, file: &ConfigCopy) -> Result<(), Fault>;
}

impl Lay for CopyConfig {
    fn work(&self) -> Utf8PathBuf {
        Utf8PathBuf::from(format!("{}.work", self.to))
    }

    fn lay(&self, host: &mut dyn Host, work: &Utf8Path, file: &ConfigCopy) -> Result<(), Fault> {
        let target = work.join(&file.path);
        if let Some(parent) = target.parent() {
            host.make_dir(parent)?;
        }
        let (new, mode) = shipped(host, &file.source, file.fill.then_some(&self.places))?;
        let Some(there) = host.read(&target)? else {
            return Ok(host.write(&target, &new, mode)?);
        };
        let original = match &file.original {
            Some(path) if host.stat(path)?.is_some() => {
                let places = file.original_fill.then_some(&self.old_places);
                Some(shipped(host, path, places)?.0)
            }
            Some(_) | None => None,
        };
        if there == new {
            return Ok(());
        }
        if original.as_ref() == Some(&there) {
            return Ok(host.write(&target, &new, mode)?);
        }
        match file.edits {
            Edits::Keep => host.write(&beside(&target, "new"), &new, mode)?,
            Edits::Replace => {
                host.write(&beside(&target, "local"), &there, mode)?;
                host.write(&target, &new, mode)?;
            }
            Edits::Refuse => {
                return Err(Fault::Permanent(format!(
                    "configuration file {} was edited on this host, and the release refuses to \
                     touch edited files",
                    file.path
                )));
            }
        }
        Ok(())
    }
}

pub(super) fn beside(path: &Utf8Path, ending: &str) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{path}.{ending}"))
}

/// A file as a release ships it, placeholders filled in, and its mode.
pub(super) fn shipped(
    host: &dyn Host,
    source: &Utf8Path,
    places: Option<&Places>,
) -> Result<(Vec<u8>, u32), Fault> {
    let missing = || Fault::Permanent(format!("the package has no {source}"));
    let bytes = host.read(source)?.ok_or_else(missing)?;
    let mode = host.stat(source)?.ok_or_else(missing)?.mode & 0o755;
    let Some(places) = places else { return Ok((bytes, mode)) };
    let bad = |why: String| Fault::Permanent(format!("{source} can't be filled in: {why}"));
    let text = String::from_utf8(bytes).map_err(|source| bad(source.to_string()))?;
    let filled = places.fill(&text).map_err(|source| bad(source.to_string()))?;
    Ok((filled.into_bytes(), mode))
}

/// Where a directory that is finished aside and renamed stands.
pub(super) fn look_at(host: &dyn Host, work: &Utf8Path, to: &Utf8Path) -> Result<Seen, Fault> {
    if host.stat(to)?.is_some() {
        return Ok(Seen::After(Value::Null));
    }
    Ok(if host.stat(work)?.is_some() { Seen::Between } else { Seen::Before(Value::Null) })
}
