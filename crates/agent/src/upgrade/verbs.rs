//! What each verb does, and how it ends.

use std::io::Write as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use handover_engine::journal::Replay;
use handover_engine::run::{Input, Refused as CoreRefused, StepId, StepState, summarize};
use handover_engine::upgrade::{Refused, steps};
use handover_hoststeps::disk::{self, Lock};
use handover_hoststeps::shell::{Clock as _, LogError, Rested, ShellError};
use handover_hoststeps::{HostError, RealClock, chain};
use handover_model::{
    CONTRACT_VERSION, ErrorClass, ExitCode, Layout, Order, RunId, RunResult, Stage,
};

use super::arguments::{Arguments, Which};
use super::detach::{leave_session, start_watcher};
use super::drive::{Driven, Signals, held, wall};
use super::facts::{FactsError, compile_here};
use super::outcome;
use super::report::{Listener, Reporter};

/// Why a verb could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The order can't be read.
    #[error("the order {path} can't be read")]
    Order {
        /// Where it should be.
        path: Utf8PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// There is no order.
    #[error("there is no order at {path}")]
    NoOrder {
        /// Where it should be.
        path: Utf8PathBuf,
    },
    /// The upgrade is refused.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// Somebody else works on an upgrade of the component.
    #[error("another upgrade of this component is being worked on; wait for it")]
    Busy,
    /// The run was begun before.
    #[error("{run} was begun before; resume it instead of running it again")]
    Began {
        /// Which.
        run: RunId,
    },
    /// There is no such run.
    #[error("{run} never began on this host")]
    NeverBegan {
        /// Which.
        run: RunId,
    },
    /// The host can't be used.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The run can't be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The run can't go on.
    #[error(transparent)]
    Shell(#[from] ShellError),
    /// The journal can't be followed.
    #[error("{run} can't be followed")]
    Core {
        /// Which.
        run: RunId,
        /// What is wrong.
        source: CoreRefused,
    },
    /// No watcher took over.
    #[error("no watcher took {run} over")]
    NoWatcher {
        /// Which.
        run: RunId,
    },
    /// The operating system refused.
    #[error("could not {act}")]
    System {
        /// What was tried.
        act: &'static str,
        /// What it said.
        source: std::io::Error,
    },
}

impl Failed {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Order { .. } | Self::NoOrder { .. } | Self::NeverBegan { .. } => {
                ErrorClass::Permanent
            }
            Self::Facts(source) => source.class(),
            Self::Busy | Self::NoWatcher { .. } | Self::System { .. } => ErrorClass::Retry,
            Self::Began { .. } => ErrorClass::Conflict,
            Self::Host(source) => source.class(),
            Self::Log(source) => source.class(),
            Self::Shell(source) => source.class(),
            Self::Core { source, .. } => source.class(),
        }
    }
}

pub(super) fn perform(arguments: &Arguments) -> u8 {
    let done = match arguments {
        Arguments::Run { contract, order } => run(*contract, order),
        Arguments::Resume(which) => resume(which),
        Arguments::Revert { which, reason } => revert(which, reason),
        Arguments::Watch { which, detach: true } => leave_session(which).map(|()| ExitCode::Trial),
        Arguments::Watch { which, detach: false } => watch(which),
        Arguments::Version => {
            let version = env!("CARGO_PKG_VERSION");
            let line = format!("handover-upgrade {version}, contract {CONTRACT_VERSION}");
            let _ = writeln!(std::io::stdout(), "{line}");
            Ok(ExitCode::Trial)
        }
    };
    done.map_or_else(|failed| complain(&failed).code(), ExitCode::code)
}

/// For whoever reads standard error; progress has said the rest.
fn complain(failed: &Failed) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "handover-upgrade: {}", chain(failed));
    ExitCode::Unknown
}

/// Everything that goes wrong before the run begins is a refusal: nothing has changed yet.
fn run(contract: u32, path: &Utf8Path) -> Result<ExitCode, Failed> {
    let prepared = match prepare(contract, path) {
        Ok(prepared) => prepared,
        Err(failed) => {
            let progress = handover_model::Progress {
                stage: Stage::UpdateVerify,
                step: "order".to_owned(),
                percent: None,
                detail: chain(&failed),
            };
            let line = serde_json::to_string(&progress).unwrap_or_default();
            let _ = writeln!(std::io::stdout(), "{line}");
            complain(&failed);
            return Ok(ExitCode::Refused);
        }
    };
    let Prepared { layout, order, driven, lock, stop_before } = prepared;
    to_trial(&layout, &order, driven, lock, Some(stop_before))
}

struct Prepared {
    layout: Layout,
    order: Order,
    driven: Driven,
    lock: Lock,
    stop_before: StepId,
}

fn prepare(contract: u32, path: &Utf8Path) -> Result<Prepared, Failed> {
    let order = read_order(path)?;
    if contract != order.contract || contract == 0 || contract > CONTRACT_VERSION {
        let found = contract.max(order.contract);
        let refused = Refused::Contract { found, newest: CONTRACT_VERSION };
        return Err(FactsError::Refused(refused).into());
    }
    let layout = Layout::new(order.root.clone(), order.component.clone());
    if layout.run(order.run).exists() {
        return Err(Failed::Began { run: order.run });
    }
    disk::make_dir(&layout.directory())?;
    let lock = Lock::try_take(&layout.upgrade_lock())?.ok_or(Failed::Busy)?;
    let package = own_package()?;
    let plan = compile_here(&order, &package, wall())?;
    let directory = layout.run(order.run);
    disk::make_dir(&directory)?;
    let bytes = serde_json::to_vec_pretty(&order)
        .map_err(|source| Failed::Order { path: path.to_owned(), source })?;
    disk::write(&directory.join("order.json"), &bytes, 0o600)?;
    let driven = Driven::open(&layout, order.run, Some(plan))?;
    let alone = waits_alone(&layout, &order)?;
    let stop_before = step_id(if alone { steps::SWAP.id } else { steps::WATCH.id });
    Ok(Prepared { layout, order, driven, lock, stop_before })
}

/// Drives a run up to its trial and leaves a watcher behind, or takes it back.
fn to_trial(
    layout: &Layout,
    order: &Order,
    mut driven: Driven,
    lock: Lock,
    stop_before: Option<StepId>,
) -> Result<ExitCode, Failed> {
    let mut reporter = Reporter::new(Listener::Output, driven.plan());
    let mut rested = driven.drive(layout, &mut reporter, stop_before, None, Signals::Heed)?;
    drop(driven);
    if rested == Rested::Stopped {
        rested = take_back(layout, order.run, &mut reporter, "the entrypoint was asked to end")?;
    }
    if let Rested::Before(_) = rested {
        outcome::save(layout, order, RunResult::Trial, "on trial", wall())?;
        drop(lock);
        let which =
            Which { root: order.root.clone(), component: order.component.clone(), run: order.run };
        match start_watcher(layout, &which) {
            Ok(()) => {
                let detail = "a trial runs and is watched";
                reporter.line(Stage::UpdateInstall, steps::SWAP.id, Some(100), detail);
                return Ok(ExitCode::Trial);
            }
            Err(failed) => {
                let why = chain(&failed);
                rested = take_back(layout, order.run, &mut reporter, &why)?;
            }
        }
    }
    ended(layout, order, &rested)
}

fn take_back(
    layout: &Layout,
    run: RunId,
    reporter: &mut Reporter,
    why: &str,
) -> Result<Rested, Failed> {
    let mut driven = Driven::open(layout, run, None)?;
    let asked = Input::Revert { why: why.to_owned() };
    driven.drive(layout, reporter, None, Some(asked), Signals::Ignore)
}

/// Records how a run rested.
fn ended(layout: &Layout, order: &Order, rested: &Rested) -> Result<ExitCode, Failed> {
    let (result, reason, code) = match rested {
        Rested::Done => (RunResult::Done, "done".to_owned(), ExitCode::Trial),
        Rested::Reverted(why) => {
            let result = outcome::taken_back(layout, order.run);
            let refused = result == RunResult::Refused;
            let code = if refused { ExitCode::Refused } else { ExitCode::Reverted };
            (result, why.clone(), code)
        }
        Rested::Parked(holds) => (RunResult::Stuck, held(holds), ExitCode::Unknown),
        // Whoever resumes it goes on there.
        Rested::Before(_) | Rested::Stopped => return Ok(ExitCode::Unknown),
    };
    outcome::save(layout, order, result, &reason, wall())?;
    if code != ExitCode::Trial {
        let _ = writeln!(std::io::stderr(), "handover-upgrade: {reason}");
    }
    Ok(code)
}

fn resume(which: &Which) -> Result<ExitCode, Failed> {
    let (layout, order) = known(which)?;
    if let Some(outcome) = outcome::load(&layout, which.run)? {
        match outcome.result {
            RunResult::Done => return Ok(ExitCode::Trial),
            RunResult::Refused => return Ok(ExitCode::Refused),
            RunResult::Reverted => return Ok(ExitCode::Reverted),
            RunResult::Trial | RunResult::Guarded | RunResult::Stuck => {}
        }
    }
    if !journal_began(&layout, which.run)? {
        // Whoever is just about to begin it holds the lock.
        let _lock = Lock::try_take(&layout.upgrade_lock())?.ok_or(Failed::Busy)?;
        if !journal_began(&layout, which.run)? {
            let reason = "the run was cut before its journal began; nothing had changed";
            outcome::save(&layout, &order, RunResult::Refused, reason, wall())?;
            return Ok(ExitCode::Refused);
        }
    }
    let driven = match Driven::open(&layout, which.run, None) {
        Ok(driven) => driven,
        // Its watcher lives.
        Err(Failed::Log(LogError::Busy { .. })) => return Ok(ExitCode::Trial),
        Err(failed) => return Err(failed),
    };
    if on_trial(&layout, &order)? {
        drop(driven);
        start_watcher(&layout, which)?;
        return Ok(ExitCode::Trial);
    }
    let lock = Lock::try_take(&layout.upgrade_lock())?.ok_or(Failed::Busy)?;
    to_trial(&layout, &order, driven, lock, Some(step_id(steps::WATCH.id)))
}

/// Whether the journal holds as much as its first record, which holds the plan. Without one nothing
/// was ever done.
fn journal_began(layout: &Layout, run: RunId) -> Result<bool, Failed> {
    Ok(replay(layout, run)?.good_len() > 0)
}

fn replay(layout: &Layout, run: RunId) -> Result<Replay, Failed> {
    let path = layout.run(run).join("journal.jsonl");
    let bytes = disk::read(&path)?.unwrap_or_default();
    Replay::of(&bytes).map_err(|source| Failed::Log(LogError::Damaged { path, source }))
}

/// Whether the run has come as far as its trial and was not turned: the watcher's part is left.
fn on_trial(layout: &Layout, order: &Order) -> Result<bool, Failed> {
    let run = order.run;
    let replay = replay(layout, run)?;
    let summary = summarize(&replay).map_err(|source| Failed::Core { run, source })?;
    let Some(summary) = summary.filter(|summary| summary.turned.is_none()) else {
        return Ok(false);
    };
    let is_done = |id: &str| {
        let step = summary.steps.iter().find(|step| step.step.as_str() == id);
        step.is_some_and(|step| matches!(step.state, StepState::Done | StepState::Satisfied))
    };
    Ok(is_done(steps::SWAP.id) || (is_done(steps::TRIAL.id) && waits_alone(layout, order)?))
}

/// A first release may wait for its launcher longer than anybody waits for us.
fn waits_alone(layout: &Layout, order: &Order) -> Result<bool, HostError> {
    Ok(order.from.is_none() && Lock::holder(&layout.launcher_lock())?.is_none())
}

fn revert(which: &Which, why: &str) -> Result<ExitCode, Failed> {
    let (layout, order) = known(which)?;
    let lock_path = layout.run(which.run).join("lock");
    if let Some(holder) = Lock::holder(&lock_path)? {
        stop_watcher(which, holder);
        wait_until_free(&lock_path)?;
    }
    let plan = Driven::open(&layout, which.run, None)?.plan().clone();
    let mut reporter = Reporter::new(Listener::Output, &plan);
    let rested = take_back(&layout, which.run, &mut reporter, why)?;
    ended(&layout, &order, &rested)
}

/// Asks the run's watcher to end, if the process is one.
fn stop_watcher(which: &Which, pid: u32) {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let run = which.run.to_string();
    let watches = line.split(|byte| *byte == 0).any(|word| word == run.as_bytes());
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let (true, Some(pid)) = (watches, pid) {
        // If it is gone already, so much the better.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

fn wait_until_free(lock: &Utf8Path) -> Result<(), Failed> {
    let mut clock = RealClock::new(None);
    let limit = clock.now().mono.saturating_add(Duration::from_secs(30));
    while Lock::holder(lock)?.is_some() {
        let now = clock.now().mono;
        if now >= limit {
            return Err(Failed::Busy);
        }
        clock.wait(now.saturating_add(Duration::from_millis(5)));
    }
    Ok(())
}

/// How often a watcher tries again when the journal can't be written (a full disk, say).
const TRIES: u32 = 60;

/// The watcher: it goes on until the run has ended. A stop leaves the run to whoever resumes it,
/// and to the launcher's rule.
fn watch(which: &Which) -> Result<ExitCode, Failed> {
    let (layout, order) = known(which)?;
    let mut tried = 0;
    loop {
        match watch_once(&layout, &order) {
            Err(failed @ (Failed::Shell(ShellError::Journal { .. }) | Failed::Host(_)))
                if tried < TRIES && failed.class() == ErrorClass::Retry =>
            {
                tried += 1;
                complain(&failed);
                let mut clock = RealClock::new(None);
                let next = clock.now().mono.saturating_add(Duration::from_secs(1));
                clock.wait(next);
            }
            other => return other,
        }
    }
}

fn watch_once(layout: &Layout, order: &Order) -> Result<ExitCode, Failed> {
    let guard = step_id(steps::GUARD.id);
    let guarded = outcome::load(layout, order.run)?
        .is_some_and(|outcome| outcome.result == RunResult::Guarded);
    let mut driven = match Driven::open(layout, order.run, None) {
        Ok(driven) => driven,
        Err(Failed::Log(LogError::Busy { .. })) => return Ok(ExitCode::Trial),
        Err(failed) => return Err(failed),
    };
    let listener = Listener::File(layout.run(order.run).join("progress.jsonl"));
    let mut reporter = Reporter::new(listener, driven.plan());
    if !guarded {
        let lock = Lock::try_take(&layout.upgrade_lock())?;
        let before = Some(guard);
        let rested = driven.drive(layout, &mut reporter, before, None, Signals::Heed)?;
        drop(driven);
        if !matches!(rested, Rested::Before(_)) {
            return ended(layout, order, &rested);
        }
        outcome::save(layout, order, RunResult::Guarded, "committed, and watched still", wall())?;
        drop(lock);
        driven = Driven::open(layout, order.run, None)?;
    }
    let rested = driven.drive(layout, &mut reporter, None, None, Signals::Heed)?;
    drop(driven);
    ended(layout, order, &rested)
}

fn known(which: &Which) -> Result<(Layout, Order), Failed> {
    let layout = Layout::new(which.root.clone(), which.component.clone());
    let path = layout.run(which.run).join("order.json");
    if !path.exists() {
        return Err(Failed::NeverBegan { run: which.run });
    }
    let order = read_order(&path)?;
    Ok((layout, order))
}

fn read_order(path: &Utf8Path) -> Result<Order, Failed> {
    let bytes = disk::read(path)?.ok_or_else(|| Failed::NoOrder { path: path.to_owned() })?;
    serde_json::from_slice(&bytes).map_err(|source| Failed::Order { path: path.to_owned(), source })
}

/// The package that this program is the entrypoint of: `<package>/handover/upgrade`.
fn own_package() -> Result<Utf8PathBuf, Failed> {
    let act = "find this program's package";
    let program = std::env::current_exe().map_err(|source| Failed::System { act, source })?;
    let package = program.parent().and_then(|handover| handover.parent());
    let package = package.and_then(|path| Utf8Path::from_path(path)).map(Utf8Path::to_owned);
    let odd = || std::io::Error::other("it does not lie in a package's handover directory");
    package.ok_or_else(|| Failed::System { act, source: odd() })
}

fn step_id(id: &str) -> StepId {
    id.parse().expect("the upgrade's step ids are fixed words")
}
