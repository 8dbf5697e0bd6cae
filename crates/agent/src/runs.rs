//! Upgrade runs as they lie on disk: how each stands, and resuming those that were cut.

use std::time::Duration;

use camino::Utf8Path;
use handover_hoststeps::{HostError, disk};
use handover_model::{
    ComponentName, Layout, OUTCOME_FORMAT, Order, Outcome, ReleaseId, RunId, RunResult, Slots,
    Version, open_framed,
};

use crate::agent::Agent;
use crate::entrypoint::{Answered, Entrypoint, run_entrypoint};
use crate::failure::Failure;
use crate::home::Home;
use crate::unpack::{ENTRYPOINT, MANIFEST};

/// How a run stands, by looking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Its release is current.
    Committed,
    /// Its release is on trial.
    OnTrial,
    /// Nothing changed; why.
    Refused(String),
    /// Taken back; why.
    Reverted(String),
    /// A person must look; why.
    Stuck(String),
    /// It was cut in the middle and waits to be resumed.
    Cut(String),
    /// There is no such run here.
    NeverBegan,
}

/// The outcome file of a run, if there is one.
///
/// # Errors
/// [`HostError`]; damage is never taken for absence.
pub fn load_outcome(
    home: &Home,
    component: &ComponentName,
    run: RunId,
) -> Result<Option<Outcome>, HostError> {
    let path = home.component(component).run(run).join("outcome.json");
    match disk::read(&path)? {
        None => Ok(None),
        Some(bytes) => open_framed("outcome", OUTCOME_FORMAT, &bytes)
            .map(Some)
            .map_err(|source| HostError::Damaged { path, source }),
    }
}

/// How a run stands: the slots first, since they are what runs; then what the run says of itself.
///
/// # Errors
/// [`Failure::Host`].
pub fn look_at_run(
    home: &Home,
    component: &ComponentName,
    run: RunId,
) -> Result<Standing, Failure> {
    let slots = home.slots(component)?;
    if let Some(standing) = standing_by_slots(&slots, run) {
        return Ok(standing);
    }
    let has_begun = home.component(component).run(run).join("journal.jsonl").exists();
    Ok(standing_by_outcome(load_outcome(home, component, run)?, has_begun))
}

/// How a run stands by the slots alone; `None` where they say nothing of it.
pub fn standing_by_slots(slots: &Slots, run: RunId) -> Option<Standing> {
    if slots.trial.as_ref().is_some_and(|trial| trial.slot.run == run) {
        return Some(Standing::OnTrial);
    }
    if slots.current.as_ref().is_some_and(|slot| slot.run == run) {
        return Some(Standing::Committed);
    }
    let entry = slots.quarantine.iter().find(|entry| entry.run == run)?;
    Some(Standing::Reverted(entry.reason.clone()))
}

/// How a run stands of which the slots say nothing, by what it says of itself and by whether it
/// wrote anything.
pub fn standing_by_outcome(outcome: Option<Outcome>, has_begun: bool) -> Standing {
    match outcome {
        Some(Outcome { result: RunResult::Refused, reason, .. }) => Standing::Refused(reason),
        Some(Outcome { result: RunResult::Reverted, reason, .. }) => Standing::Reverted(reason),
        Some(Outcome { result: RunResult::Stuck, reason, .. }) => Standing::Stuck(reason),
        Some(Outcome {
            result: RunResult::Done | RunResult::Trial | RunResult::Guarded, ..
        }) => Standing::Reverted("another slot runs since".to_owned()),
        None if has_begun => Standing::Cut("the run was cut and will be resumed".to_owned()),
        None => Standing::NeverBegan,
    }
}

/// A run that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The component.
    pub component: ComponentName,
    /// The run.
    pub run: RunId,
    /// The release that it installs.
    pub to: ReleaseId,
    /// Who works on it now.
    pub holder: Option<u32>,
    /// How it says it stands, if it ever rested.
    pub result: Option<RunResult>,
}

/// The component's runs that have not ended, oldest first.
///
/// # Errors
/// [`Failure::Host`].
pub fn open_runs(home: &Home, component: &ComponentName) -> Result<Vec<Open>, Failure> {
    let layout = home.component(component);
    let dir = layout.runs();
    let failed = |source| HostError::Io { act: "list", path: dir.clone(), source };
    let entries = match dir.read_dir_utf8() {
        Ok(entries) => entries,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source).into()),
    };
    let mut open = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let Ok(run) = entry.file_name().parse::<RunId>() else { continue };
        let result = load_outcome(home, component, run)?.map(|outcome| outcome.result);
        if result.is_some_and(RunResult::ended) {
            continue;
        }
        let Some(to) = release_of(entry.path())? else { continue };
        let holder = disk::Lock::holder(&entry.path().join("lock"))?;
        open.push(Open { component: component.clone(), run, to, holder, result });
    }
    open.sort_by_key(|open| open.run);
    Ok(open)
}

/// The outcomes of runs that failed to install `to`, oldest first.
///
/// # Errors
/// [`Failure::Host`].
pub fn failed_runs(
    home: &Home,
    component: &ComponentName,
    to: &ReleaseId,
) -> Result<Vec<Outcome>, Failure> {
    let mut failed = Vec::new();
    let Ok(entries) = home.component(component).runs().read_dir_utf8() else {
        return Ok(failed);
    };
    for entry in entries.filter_map(Result::ok) {
        let Ok(run) = entry.file_name().parse::<RunId>() else { continue };
        failed.extend(load_outcome(home, component, run)?.filter(|outcome| {
            let bad = matches!(outcome.result, RunResult::Refused | RunResult::Reverted);
            bad && outcome.to == *to
        }));
    }
    failed.sort_by_key(|outcome| outcome.at);
    Ok(failed)
}

/// Versions and sequences that runs committed for good.
///
/// # Errors
/// [`Failure::Host`].
pub fn done_runs(home: &Home, component: &ComponentName) -> Result<Vec<(Version, u64)>, Failure> {
    let mut done = Vec::new();
    let Ok(entries) = home.component(component).runs().read_dir_utf8() else {
        return Ok(done);
    };
    for entry in entries.filter_map(Result::ok) {
        let Ok(run) = entry.file_name().parse::<RunId>() else { continue };
        let outcome = load_outcome(home, component, run)?;
        if outcome.is_some_and(|outcome| outcome.result == RunResult::Done)
            && let Some(order) = order_of(entry.path())?
        {
            done.push((order.to.version, order.sequence));
        }
    }
    Ok(done)
}

/// What a run installs, by its copy of the order. A run without one never began.
fn release_of(run: &Utf8Path) -> Result<Option<ReleaseId>, HostError> {
    Ok(order_of(run)?.map(|order| order.to))
}

fn order_of(run: &Utf8Path) -> Result<Option<Order>, HostError> {
    let Some(bytes) = disk::read(&run.join("order.json"))? else { return Ok(None) };
    Ok(serde_json::from_slice(&bytes).ok())
}

/// What was verified when it came may have changed since, and is about to run with our rights.
fn check_entrypoint(layout: &Layout, open: &Open, package: &Utf8Path) -> Result<(), Failure> {
    let Some(kept) = crate::contents::kept(layout, &open.to)? else { return Ok(()) };
    for name in [ENTRYPOINT, MANIFEST] {
        let Some(wanted) = kept.get(Utf8Path::new(name)) else { continue };
        let path = package.join(name);
        if !crate::contents::digest_of(&path).is_ok_and(|found| found == *wanted) {
            let reason = format!(
                "{path} is not what was unpacked, so run {} is not resumed; the launcher's rule \
                 decides. Bring back the package's own file, or `handover-agent rollback`",
                open.run
            );
            return Err(Failure::Refused { code: "package-changed", reason });
        }
    }
    Ok(())
}

/// Resumes a run with the package that began it. True when somebody else works on it already, or
/// it was resumed; false when its package is gone.
///
/// # Errors
/// [`Failure`] when the entrypoint can't be run.
pub fn resume(agent: &Agent, open: &Open, patience: Duration) -> Result<bool, Failure> {
    if open.holder.is_some() {
        return Ok(true);
    }
    let layout = agent.home.component(&open.component);
    let places = [layout.release(&open.to), layout.incoming(&open.to.digest)];
    let Some(package) = places.into_iter().find(|place| place.join(ENTRYPOINT).exists()) else {
        tracing::error!(
            component = %open.component, run.id = %open.run,
            "a run can't be resumed: its package is gone"
        );
        return Ok(false);
    };
    check_entrypoint(&layout, open, &package)?;
    tracing::info!(component = %open.component, run.id = %open.run, "run resumes");
    let (root, run) = (agent.home.root().to_string(), open.run.to_string());
    let arguments =
        ["resume", "--root", &root, "--component", open.component.as_str(), "--run", &run];
    let entrypoint = Entrypoint {
        stage: agent.program.clone(),
        program: package.join(ENTRYPOINT),
        arguments: arguments.map(str::to_owned).to_vec(),
        output: layout.run(open.run).join("resume.out"),
        patience,
    };
    let voice = agent.voice.clone();
    let answered =
        run_entrypoint(&entrypoint, agent.clock.as_ref(), &agent.stop, &mut |progress| {
            voice.relay(progress);
        })?;
    match answered {
        Answered::Ended(code) => {
            tracing::info!(component = %open.component, run.id = %open.run, ?code, "run resumed");
        }
        Answered::Silent | Answered::Babbled => {
            tracing::error!(
                component = %open.component, run.id = %open.run,
                "a resumed run was ended; the launcher's rule decides"
            );
        }
        Answered::LeftAlone => {}
    }
    Ok(true)
}
