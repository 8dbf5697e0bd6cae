//! `cargo xtask campaign`: the real executables, with no test hook in them, killed or given
//! ENOSPC or EIO at every call by which an update makes something durable.

mod keeper;
mod points;
mod prepare;
mod run;
mod stage;
pub(crate) mod tracer;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, bail};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::command;
use crate::hosts::{namespace, rootfs};
use crate::real_world::Stopwatch;
use points::{Fault, Point, Role};
use run::{Target, Told};
use stage::Stage;

/// How many runs go on at the same time.
const ABREAST: usize = 2;

/// How much of the campaign to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Only so many runs, spread over roles and faults.
    #[arg(long)]
    sample: Option<usize>,
    /// Which sample; another number, another choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only faults whose text (`ROLE:NTH:FAULT`) begins so.
    #[arg(long)]
    only: Option<String>,
    /// Set by the campaign itself, inside a run's namespaces: what the run is about.
    #[arg(long, hide = true)]
    inside: Option<String>,
}

/// Runs the campaign.
///
/// # Errors
/// When we are not root or can't prepare. A host that does not recover is an exit code.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match options.inside.as_deref() {
        None => outside(options),
        Some(what) => inside(what),
    }
}

/// What runs share, and where their own things are mounted.
fn places() -> (Utf8PathBuf, Utf8PathBuf) {
    let cache = rootfs::cache();
    (cache.join("campaign-share"), cache.join("campaign"))
}

fn outside(options: &Options) -> anyhow::Result<ExitCode> {
    if command::output(&mut command::words("id -u"))?.trim() != "0" {
        bail!("the campaign needs root, for namespaces: run `sudo cargo xtask campaign`");
    }
    let watch = Stopwatch::start();
    let (share, dir) = places();
    fs::create_dir_all(&dir).with_context(|| format!("make {dir}"))?;
    prepare::releases(&share)?;
    start("prepare")?;
    let Told { points, .. } = start("count")?;
    let all = targets(&points);
    let chosen = choose(all.clone(), options);
    println!(
        "campaign: {} points, {} faults, {} runs of them, seed {}; prepared in {:.1} s",
        points.len(),
        all.len(),
        chosen.len(),
        options.seed,
        watch.elapsed().as_secs_f64()
    );
    let failed = play_all(&chosen, &points);
    report(&points, &chosen, &failed);
    println!("campaign: {:.1} s", watch.elapsed().as_secs_f64());
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every fault at every point.
fn targets(points: &[Point]) -> Vec<Target> {
    let faults = [Fault::Kill, Fault::KillAfter, Fault::Enospc, Fault::Eio];
    let mut all: Vec<Target> = points
        .iter()
        .flat_map(|point| faults.map(|fault| Target { role: point.role, nth: point.nth, fault }))
        .collect();
    all.sort();
    all
}

/// The sample: every `n`th target, beginning where the seed says, so that each role and fault is
/// met in proportion.
fn choose(all: Vec<Target>, options: &Options) -> Vec<Target> {
    let only = options.only.as_deref().unwrap_or_default();
    let all: Vec<Target> =
        all.into_iter().filter(|target| target.to_string().starts_with(only)).collect();
    let Some(sample) = options.sample.filter(|sample| *sample < all.len() && *sample > 0) else {
        return all;
    };
    let count = all.len();
    let first = usize::try_from(options.seed).unwrap_or_default() % count;
    (0..sample).filter_map(|n| all.get((first + n * count / sample) % count).copied()).collect()
}

fn play_all(chosen: &[Target], points: &[Point]) -> BTreeMap<Target, String> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..ABREAST {
            scope.spawn(|| {
                while let Some(target) = chosen.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let Err(why) = start(&target.to_string()) else { continue };
                    let at = points.iter().find(|p| (p.role, p.nth) == (target.role, target.nth));
                    let at = at.map(|p| format!("{} {}", p.call, p.path)).unwrap_or_default();
                    println!("campaign: FAIL {target} ({at})\n{why:#}");
                    failed.lock().expect("no run panics while it holds it").insert(*target, at);
                }
            });
        }
    });
    failed.into_inner().expect("every run's thread has ended")
}

/// The table: role by fault, recovered of tried.
fn report(points: &[Point], chosen: &[Target], failed: &BTreeMap<Target, String>) {
    println!(
        "{:<12}{:>8}{:>16}{:>16}{:>16}{:>16}",
        "", "points", "killed before", "killed after", "ENOSPC", "EIO"
    );
    for role in [Role::Agent, Role::Entrypoint, Role::Watcher, Role::Launcher] {
        let count = points.iter().filter(|point| point.role == role).count();
        let cell = |fault: Fault| {
            let here = |target: &&Target| target.role == role && target.fault == fault;
            let tried = chosen.iter().filter(here).count();
            format!("{}/{tried}", tried - failed.keys().filter(here).count())
        };
        println!(
            "{:<12}{count:>8}{:>16}{:>16}{:>16}{:>16}",
            role.to_string(),
            cell(Fault::Kill),
            cell(Fault::KillAfter),
            cell(Fault::Enospc),
            cell(Fault::Eio)
        );
    }
    println!("campaign: {} of {} runs recovered", chosen.len() - failed.len(), chosen.len());
    for (target, at) in failed {
        println!("campaign: not recovered: {target} ({at})");
    }
}

/// Starts one run in namespaces of its own and reads what it tells.
fn start(what: &str) -> anyhow::Result<Told> {
    let done = namespace::command(&["campaign", "--inside", what])?
        .stdin(std::process::Stdio::null())
        .output()
        .context("start a run")?;
    if !done.status.success() {
        bail!("{}", String::from_utf8_lossy(&done.stderr).trim());
    }
    serde_json::from_slice(&done.stdout).context("read what the run tells")
}

/// A run, as the first process but one of its namespaces.
fn inside(what: &str) -> anyhow::Result<ExitCode> {
    let (share, dir) = places();
    command::output(
        Command::new("mount")
            .args(["-t", "tmpfs", "-o", "mode=755", "handover-campaign"])
            .arg(&dir),
    )?;
    command::output(&mut command::words("ip link set lo up"))?;
    let stage = Stage { dir, programs: programs()? };
    let told = match what {
        "prepare" => prepare::root(&stage, &share),
        "count" => run::play(&stage, &share, None),
        target => run::play(&stage, &share, Some(target.parse()?)),
    };
    match told {
        Ok(told) => {
            println!("{}", serde_json::to_string(&told)?);
            Ok(ExitCode::SUCCESS)
        }
        Err(source) => Err(source.context(logs(&stage))),
    }
}

/// The programs under test lie beside this one.
fn programs() -> anyhow::Result<Utf8PathBuf> {
    let me = std::env::current_exe().context("find our own executable")?;
    let me = Utf8PathBuf::try_from(me).context("our own path is UTF-8")?;
    me.parent().map(Utf8Path::to_owned).context("our own executable lies in a directory")
}

/// The end of what each program said.
fn logs(stage: &Stage) -> String {
    let end_of = |role: Role| {
        let said = fs::read_to_string(stage.log(role)).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let last = &lines[lines.len().saturating_sub(15)..];
        format!("--- {role}\n{}\n", last.join("\n"))
    };
    let mut text = [Role::Agent, Role::Launcher].map(end_of).concat();
    let runs = stage.layout().map(|layout| layout.runs());
    for run in runs.ok().and_then(|runs| runs.read_dir_utf8().ok()).into_iter().flatten().flatten()
    {
        for name in ["outcome.json", "watcher.log"] {
            let said = fs::read_to_string(run.path().join(name)).unwrap_or_default();
            let from = said.char_indices().rev().nth(800).map_or(0, |(at, _)| at);
            let _ = write!(text, "--- {}/{name}\n{}\n", run.path(), &said[from..]);
        }
    }
    text
}
