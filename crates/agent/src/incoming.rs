//! What lies in `incoming/`: parts, archives, signatures, unpacked packages, orders and progress.
//! Whoever brought them removes them; what was cut or failed leaves them, and goes by its age.

use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::disk;

use crate::agent::Agent;
use crate::failure::{Failure, chain};
use crate::runs::open_runs;

/// Data that nobody touched for so long is nobody's: longer than an order lives, and than any
/// attempt waits for the next.
const STALE: Duration = Duration::from_hours(24);

/// What is older than any download's patience, and not part of a run that has not ended.
pub(crate) fn stale(agent: &Agent) -> Vec<Utf8PathBuf> {
    let now = SystemTime::from(agent.now().wall.as_jiff());
    let Ok(entries) = agent.home.incoming().read_dir_utf8() else { return Vec::new() };
    let old = entries.filter_map(Result::ok).filter(|entry| {
        let touched = entry.metadata().and_then(|meta| meta.modified());
        touched.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > STALE))
    });
    old.map(|entry| entry.path().to_owned()).filter(|path| !is_needed(agent, path)).collect()
}

/// Removes what is [`stale`], unless somebody installs anything just now. What can't be removed
/// is said and left for the next time.
///
/// # Errors
/// [`Failure`] when the disk fails at finding out.
pub(crate) fn sweep(agent: &Agent) -> Result<(), Failure> {
    if stale(agent).is_empty() {
        return Ok(());
    }
    // With every lock in hand nobody goes on with an old part between the look and the removal.
    let mut locks = Vec::new();
    for name in agent.home.present()? {
        let Some(lock) = disk::Lock::try_take(&agent.home.update_lock(&name))? else {
            return Ok(());
        };
        locks.push(lock);
    }
    for path in stale(agent) {
        match disk::remove_tree(&path) {
            Ok(()) => tracing::info!(%path, "left over from an update, removed"),
            Err(error) => tracing::warn!(%path, error = %chain(&error), "leftover stays"),
        }
    }
    drop(locks);
    Ok(())
}

/// Whether a run that has not ended installs what lies there.
fn is_needed(agent: &Agent, path: &Utf8Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    // What can't be read may be needed.
    agent.home.present().map_or(true, |components| {
        components.iter().any(|component| {
            open_runs(&agent.home, component).map_or(true, |open| {
                open.iter().any(|open| name.starts_with(&open.to.digest.to_string()))
            })
        })
    })
}
