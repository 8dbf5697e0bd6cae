//! The follow loop: pick up what was cut, refresh, decide, install, look, wait.
//!
//! Invariant: a round may be cut anywhere (SIGTERM when the agent itself is swapped, a power
//! cut) and the next one begins with what the disk says, not with what this process remembers.

use std::time::Duration;

use handover_engine::choose::Choice;
use handover_engine::graph::Offer;
use handover_engine::slots::clear_quarantine;
use handover_hoststeps::Published;
use handover_hoststeps::disk::SlotsStore;
use handover_model::{
    ComponentName, ErrorClass, HostPolicy, Permit, Progress, ReleaseId, RunId, Slots, Stage,
};
use handover_trust::{Package, Refreshed, Verified};

use crate::accepted::Accepted;
use crate::agent::Agent;
use crate::attempts::{Attempts, Turn};
use crate::backoff::{jitter, plan_wait};
use crate::control::side::Side;
use crate::download::DownloadError;
use crate::failure::{Failure, chain};
use crate::install::{Landed, install, prepare};
use crate::news::News;
use crate::outlook::{Ahead, Outlook, Wish};
use crate::repository::{Known, Source, code_of, refresh};
use crate::runs::{Standing, failed_runs, look_at_run, open_runs, resume};

/// How many hops one component may make in one round; more is a loop in somebody's metadata.
pub(crate) const MOST_HOPS: usize = 32;
/// The longest that a failing host waits by its own will.
const LONGEST_BLIND: Duration = Duration::from_mins(1);
/// How often a trial is looked at.
const GLANCE: Duration = Duration::from_millis(50);
/// How long a trial may be without a launcher before nobody waits for it any more.
const LAUNCHER_PATIENCE: Duration = Duration::from_secs(3);
/// How much longer than its window a trial is waited for.
const GRACE: Duration = Duration::from_secs(30);

/// What one component did in a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The component.
    pub component: ComponentName,
    /// The release that was installed, or tried.
    pub to: ReleaseId,
    /// What became of it.
    pub landed: Landed,
}

/// Follows until the end is asked for.
///
/// # Errors
/// [`Failure`] when the host can't be used at all; a failing round is logged and repeated.
pub fn follow(agent: &mut Agent) -> Result<(), Failure> {
    let (mut failures, mut told_ready) = (0, false);
    let mut side = Side::new(agent);
    while !agent.stop.is_asked() {
        side.keep(agent);
        let policy = agent.policy();
        if !told_ready && policy.is_ok() {
            // Not before the policy could be read: an agent that can't follow is not ready.
            crate::notify::ready();
            told_ready = true;
        }
        let wait = match policy.and_then(|policy| round(agent, &policy).map(|_| policy.poll)) {
            Ok(poll) => {
                failures = 0;
                jitter(poll.duration(), &mut agent.dice)
            }
            Err(Failure::Stopped) => break,
            Err(error) => {
                failures += 1;
                tracing::warn!(code = error.code(), error = %chain(&error), "round failed");
                after_failure(agent, failures, &error)
            }
        };
        rest(agent, &mut side, wait);
    }
    Ok(())
}

/// The wait after `failures` failed rounds in a row: growing, and as long as the server asks.
fn after_failure(agent: &mut Agent, failures: u32, error: &Failure) -> Duration {
    let asked = if let Failure::Repository(inner) = error { inner.retry_after() } else { None };
    let poll = agent.policy().map_or(LONGEST_BLIND, |policy| policy.poll.duration());
    let own = jitter(poll.min(LONGEST_BLIND), &mut agent.dice);
    plan_wait(failures, asked, &mut agent.dice).max(own)
}

/// Waits for the next round; an edited policy ends the wait early.
fn rest(agent: &Agent, side: &mut Side, wait: Duration) {
    let before = edited(agent);
    let until = agent.now().mono.saturating_add(wait);
    crate::memory::give_back_text();
    loop {
        side.keep(agent);
        let left = until.saturating_sub(agent.now().mono);
        if left.is_zero() || agent.wait(left.min(Duration::from_secs(2))) || edited(agent) != before
        {
            return;
        }
    }
}

fn edited(agent: &Agent) -> Vec<Option<(u64, i64, i64)>> {
    use std::os::unix::fs::MetadataExt as _;
    let stamp = |path| {
        let meta: Option<std::fs::Metadata> = std::fs::metadata(path).ok();
        meta.map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec()))
    };
    vec![stamp(agent.home.policy()), stamp(agent.home.choices())]
}

/// One round over all components.
///
/// # Errors
/// [`Failure`] when nothing could be decided; one component's failure does not stop the others.
pub fn round(agent: &mut Agent, policy: &HostPolicy) -> Result<Vec<Moved>, Failure> {
    pick_up(agent, policy)?;
    raise_floors(agent)?;
    crate::incoming::sweep(agent)?;
    let Known { refreshed, refused } = refresh_now(agent, policy)?;
    for (component, error) in &refused {
        let code = code_of(error);
        tracing::warn!(%component, code, error = %chain(error), "component is not believed");
    }
    let names: Vec<_> = crate::policy::in_order(&policy.components)
        .map_err(|reason| Failure::Refused { code: "policy.order", reason })?
        .into_iter()
        .map(|component| component.name.clone())
        .collect();
    let mut moved = Vec::new();
    for name in names.into_iter().filter(|name| !refused.contains_key(name)) {
        match advance(agent, policy, &refreshed, &name, &mut moved) {
            Ok(()) => {}
            Err(Failure::Stopped) => return Err(Failure::Stopped),
            Err(Failure::Busy { holder, .. }) => {
                tracing::info!(component = %name, holder, "component is being updated elsewhere");
            }
            Err(error) => {
                tracing::warn!(
                    component = %name, code = error.code(), error = %chain(&error),
                    "component did not move"
                );
            }
        }
    }
    Ok(moved)
}

/// Refreshes repository metadata and keeps what came of it for `status` and `explain`.
///
/// # Errors
/// [`Failure::Repository`].
pub fn refresh_now(agent: &Agent, policy: &HostPolicy) -> Result<Known, Failure> {
    let base = &policy.repository.metadata;
    let names: Vec<_> = policy.components.iter().map(|component| component.name.clone()).collect();
    let fetcher = agent.fetcher(base)?;
    let outcome = refresh(
        &agent.home.trust(),
        &Source::Server(&fetcher, base),
        &names,
        &agent.stop,
        &agent.clock,
    );
    News::keep(agent, &outcome, fetcher.clock_off());
    Ok(outcome?)
}

/// Moves one component as far as it may go now.
fn advance(
    agent: &mut Agent,
    policy: &HostPolicy,
    refreshed: &Refreshed,
    name: &ComponentName,
    moved: &mut Vec<Moved>,
) -> Result<(), Failure> {
    for _hop in 0..MOST_HOPS {
        if agent.stop.is_asked() {
            return Err(Failure::Stopped);
        }
        let Some(ahead) = ahead_of(agent, policy, refreshed, name, None)? else { return Ok(()) };
        let Choice::Update { next, .. } = &ahead.decision.choice else {
            log_hold(name, &ahead);
            return Ok(());
        };
        let to = next.id();
        match attempts_of(agent, name, &to)?.turn(&to, agent.now().wall) {
            Turn::Now => {}
            Turn::Later(until) => {
                tracing::debug!(component = %name, release = %to, %until, "release waits");
                return Ok(());
            }
            Turn::GivenUp => {
                tracing::debug!(component = %name, release = %to, "release was given up");
                return Ok(());
            }
        }
        let landed = perform(agent, policy, refreshed, &ahead, None)?;
        let goes_on = landed == Landed::Committed;
        moved.push(Moved { component: name.clone(), to, landed });
        if !goes_on {
            return Ok(());
        }
    }
    Ok(())
}

/// The attempts at `to`, those counted that ended while this process was not looking: the run of
/// the agent itself, above all, ends under another agent's eyes.
fn attempts_of(agent: &Agent, name: &ComponentName, to: &ReleaseId) -> Result<Attempts, Failure> {
    let mut attempts = Attempts::load(&agent.home.attempts(name))?;
    for failed in failed_runs(&agent.home, name, to)? {
        if attempts.misses(to, failed.at) {
            attempts = attempts.after(to, failed.reason, failed.at);
            attempts.save(&agent.home.attempts(name))?;
        }
    }
    Ok(attempts)
}

fn log_hold(name: &ComponentName, ahead: &Ahead) {
    if let Choice::Hold(reason) = &ahead.decision.choice {
        tracing::debug!(component = %name, code = reason.code(), %reason, "component holds");
    }
}

/// One component's view ahead; `None` when the policy does not list it.
///
/// # Errors
/// [`Failure`] when decisions can't be made.
pub fn ahead_of(
    agent: &Agent,
    policy: &HostPolicy,
    refreshed: &Refreshed,
    name: &ComponentName,
    wish: Option<Wish<'_>>,
) -> Result<Option<Ahead>, Failure> {
    let outlook = Outlook::read(agent, policy, News::load(agent)?.clock_off)?;
    let all = outlook.ahead(agent, &refreshed.catalog, wish, Some(name))?;
    Ok(all.into_iter().find(|ahead| ahead.policy.name == *name))
}

/// Performs the update that `ahead` chose, with the permit that it needs, if it does, and waits
/// until the host settled.
///
/// # Errors
/// [`Failure`] for whatever happens before the entrypoint runs.
pub fn perform(
    agent: &mut Agent,
    policy: &HostPolicy,
    refreshed: &Refreshed,
    ahead: &Ahead,
    permit: Option<&Verified<Permit>>,
) -> Result<Landed, Failure> {
    let Choice::Update { next, lifts_quarantine, .. } = &ahead.decision.choice else {
        return Ok(Landed::Refused("nothing to do".to_owned()));
    };
    let name = &ahead.policy.name;
    let to = next.id();
    let package = package_of(refreshed, name, next)?;
    let _lock = agent.lock(name)?;
    check_still_so(agent, ahead)?;
    if let Some(release) = lifts_quarantine {
        change_slots(agent, name, |slots| clear_quarantine(slots, release))?;
    }
    agent.voice.say(&format!("{name}: installing {}", to.version));
    let outcome = install(agent, policy, &ahead.policy, &package, permit);
    let landed = match outcome {
        Ok(Landed::OnTrial(run)) => settle(agent, name, run)?,
        Ok(other) => other,
        Err(error) => {
            note_hindrance(agent, name, &to, &error)?;
            return Err(error);
        }
    };
    match &landed {
        Landed::Committed => {
            tracing::info!(component = %name, release = %to, "component committed");
            raise_floors(agent)?;
            let path = agent.home.attempts(name);
            if let Some(cleared) = Attempts::load(&path)?.committed(&to, agent.now().wall) {
                cleared.save(&path)?;
            }
        }
        Landed::Refused(why) | Landed::Unknown(why) => {
            tracing::warn!(component = %name, release = %to, reason = why, "update did not happen");
            note_failure(agent, name, &to, why.clone())?;
        }
        Landed::Reverted(why) => {
            tracing::warn!(component = %name, release = %to, reason = why, "update was taken back");
            note_failure(agent, name, &to, why.clone())?;
        }
        Landed::OnTrial(_) => {}
        Landed::LeftAlone => return Err(Failure::Stopped),
    }
    Ok(landed)
}

/// Brings the package of the update that `ahead` chose, and begins nothing.
///
/// # Errors
/// [`Failure`]; nothing but `incoming/` has changed.
pub fn prepare_only(
    agent: &mut Agent,
    policy: &HostPolicy,
    refreshed: &Refreshed,
    ahead: &Ahead,
) -> Result<(), Failure> {
    let Choice::Update { next, .. } = &ahead.decision.choice else { return Ok(()) };
    let package = package_of(refreshed, &ahead.policy.name, next)?;
    let _lock = agent.lock(&ahead.policy.name)?;
    prepare(agent, policy, &ahead.policy, &package).map(drop)
}

fn package_of(
    refreshed: &Refreshed,
    name: &ComponentName,
    next: &Offer,
) -> Result<Package, Failure> {
    let to = next.id();
    let packages = refreshed.catalog.packages(name);
    packages
        .iter()
        .find(|package| package.target.digest == to.digest && package.facts == next.facts)
        .cloned()
        .ok_or_else(|| Failure::NotFound { what: format!("{name} {to} has no package") })
}

/// Under the lock: whether the decision still stands. Another command, or the launcher, may have
/// changed what runs since; and an entrypoint may be at work that an earlier agent began and left,
/// in the very directory that we are about to replace.
fn check_still_so(agent: &Agent, ahead: &Ahead) -> Result<(), Failure> {
    let name = &ahead.policy.name;
    let at_work =
        handover_hoststeps::disk::Lock::holder(&agent.home.component(name).upgrade_lock())?;
    if let Some(pid) = at_work {
        return Err(Failure::Busy { component: name.clone(), holder: pid.to_string() });
    }
    let (slots, before) = (agent.home.slots(name)?, &ahead.slots);
    let release = |slots: &Slots| slots.current.as_ref().map(|slot| slot.release.clone());
    if release(&slots) == release(before) && slots.trial.is_none() {
        return Ok(());
    }
    let reason = format!("{name} changed while its update was decided; try again");
    Err(Failure::Refused { code: "changed-meanwhile", reason })
}

/// What went wrong before the entrypoint ran says nothing of the release, unless it can't be
/// unpacked; and being told to stop is no failure at all.
fn note_hindrance(
    agent: &Agent,
    name: &ComponentName,
    to: &ReleaseId,
    error: &Failure,
) -> Result<(), Failure> {
    if matches!(error, Failure::Download(DownloadError::Stopped)) {
        return Ok(());
    }
    if matches!(error, Failure::Unpack(inner) if inner.class() == ErrorClass::Permanent) {
        return note_failure(agent, name, to, chain(error));
    }
    let path = agent.home.attempts(name);
    let attempts = Attempts::load(&path)?;
    Ok(attempts.after_hindrance(to, chain(error), agent.now().wall).save(&path)?)
}

fn note_failure(
    agent: &Agent,
    name: &ComponentName,
    to: &ReleaseId,
    why: String,
) -> Result<(), Failure> {
    let path = agent.home.attempts(name);
    let attempts = Attempts::load(&path)?.after(to, why, agent.now().wall);
    Ok(attempts.save(&path)?)
}

/// Waits until the trial of `run` is over, one way or the other, looking at the slots alone.
fn settle(agent: &Agent, name: &ComponentName, run: RunId) -> Result<Landed, Failure> {
    let began = agent.now().mono;
    agent.voice.relay(&Progress {
        stage: Stage::UpdateHealthcheck,
        step: "watch".to_owned(),
        percent: None,
        detail: "the trial is watched".to_owned(),
    });
    loop {
        match look_at_run(&agent.home, name, run)? {
            Standing::Committed => return Ok(Landed::Committed),
            Standing::Reverted(why) => return Ok(Landed::Reverted(why)),
            Standing::Refused(why) => return Ok(Landed::Refused(why)),
            Standing::Stuck(why) | Standing::Cut(why) => return Ok(Landed::Unknown(why)),
            Standing::NeverBegan => {
                return Ok(Landed::Unknown("its run is gone".to_owned()));
            }
            Standing::OnTrial => {}
        }
        // Nobody to start it: no trial begins, and none is over.
        let launcher = agent.home.component(name).launcher_lock();
        let waited = agent.now().mono.saturating_sub(began);
        if waited > LAUNCHER_PATIENCE
            && handover_hoststeps::disk::Lock::holder(&launcher)?.is_none()
        {
            agent.voice.say(&format!(
                "{name} waits for its launcher: start `{} --root {} {name}`",
                agent.home.launcher(),
                agent.home.root()
            ));
            return Ok(Landed::OnTrial(run));
        }
        let window =
            agent.home.slots(name)?.trial.map_or(Duration::ZERO, |trial| trial.window.duration());
        if agent.now().mono.saturating_sub(began) > window.saturating_add(GRACE) {
            return Ok(Landed::Unknown(
                "its trial outlasted its window: is the component's launcher running?".to_owned(),
            ));
        }
        if agent.wait(GLANCE) {
            return Ok(Landed::LeftAlone);
        }
    }
}

/// Resumes every run that was cut, with the package that began it (DESIGN 5.3).
///
/// # Errors
/// [`Failure`] when the disk fails; one run's failure does not stop the others.
pub fn pick_up(agent: &Agent, policy: &HostPolicy) -> Result<(), Failure> {
    for name in agent.home.present()? {
        let open = open_runs(&agent.home, &name).unwrap_or_else(|error| {
            tracing::error!(component = %name, error = %chain(&error), "runs can't be read");
            Vec::new()
        });
        for open in open {
            if agent.stop.is_asked() {
                return Err(Failure::Stopped);
            }
            if open.holder.is_some() {
                continue;
            }
            match resume(agent, &open, policy.patience.duration()) {
                Ok(_) => {}
                Err(error) => tracing::error!(
                    component = %name, run.id = %open.run, error = %chain(&error),
                    "run did not resume"
                ),
            }
        }
    }
    Ok(())
}

/// Raises the host's floors to what is committed beyond its guard (DESIGN 5.5).
///
/// # Errors
/// [`Failure`] when floors are damaged or the disk fails.
pub fn raise_floors(agent: &Agent) -> Result<(), Failure> {
    let accepted = Accepted::of(&agent.home);
    for name in agent.home.present()? {
        let slots = match agent.home.slots(&name) {
            Ok(slots) => slots,
            Err(error) => {
                // Its own business: the floors of the others rise all the same.
                tracing::error!(component = %name, error = %chain(&error), "slots can't be read");
                continue;
            }
        };
        let now = agent.now().wall;
        if accepted.floors()?.raised(&name, &slots, now).is_none() {
            continue;
        }
        // Whoever has the lock raises too; the next round sees what is left.
        let Some(_lock) = accepted.lock()? else { continue };
        if let Some(raised) = accepted.floors()?.raised(&name, &slots, now) {
            accepted.save_floors(&raised)?;
            tracing::info!(component = %name, "floor raised");
        }
    }
    Ok(())
}

/// Changes a component's slots by compare-and-swap until it took.
///
/// # Errors
/// [`Failure::Refused`] when the change is not allowed; [`Failure::Host`].
pub fn change_slots(
    agent: &Agent,
    name: &ComponentName,
    change: impl Fn(&Slots) -> Result<Slots, handover_engine::slots::Refused>,
) -> Result<Slots, Failure> {
    let store = SlotsStore::new(agent.home.component(name).slots());
    loop {
        let next = change(&store.load()?)
            .map_err(|error| Failure::Refused { code: "slots", reason: error.to_string() })?;
        match store.publish(&next)? {
            Published::Ours => return Ok(next),
            Published::Taken => {}
        }
    }
}
