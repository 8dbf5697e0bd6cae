//! `cargo xtask hosts`: real Debian hosts with systemd, in containers, and what only shows there.

pub(crate) mod actor;
mod containers;
mod fleet;
pub(crate) mod namespace;
mod rig;
pub(crate) mod rootfs;
mod scenarios;
mod wardrobe;

use std::fs;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, bail};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::real_world::Stopwatch;
use crate::{command, served};
use rig::Rig;
use scenarios::{Play, SCENARIOS, Scenario};

/// How many hosts are busy at the same time.
const ABREAST: usize = 2;

/// Which scenarios to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Only scenarios whose name holds this text.
    #[arg(long)]
    only: Option<String>,
    /// Where what hosts need was put; set by the lane itself, inside its namespaces.
    #[arg(long, hide = true)]
    inside: Option<Utf8PathBuf>,
}

/// Runs the lane.
///
/// # Errors
/// When we are not root, or what the lane needs can't be prepared. A failed scenario is no error
/// but an exit code.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match &options.inside {
        Some(share) => inside(options, share),
        None => outside(options),
    }
}

/// Prepares, as the person's own process: root file system, packages, releases.
fn outside(options: &Options) -> anyhow::Result<ExitCode> {
    if command::output(&mut command::words("id -u"))?.trim() != "0" {
        bail!("real hosts need root: run `sudo make test-hosts`");
    }
    for (program, package) in [
        ("systemd-nspawn", "systemd-container"),
        ("debootstrap", "debootstrap"),
        ("ip", "iproute2"),
        ("setpriv", "util-linux"),
        ("podman", "podman crun"),
    ] {
        if command::output(std::process::Command::new("which").arg(program)).is_err() {
            bail!("{program} is missing: run `apt-get install {package}`");
        }
    }
    let watch = Stopwatch::start();
    containers::ensure_base(&rootfs::ensure()?)?;
    let share = Utf8PathBuf::from("target/hosts/share");
    wardrobe::prepare(&share)?;
    let share = share.canonicalize_utf8().context("resolve the shared directory")?;
    println!("hosts: prepared in {:.1} s", watch.elapsed().as_secs_f64());
    let mut arguments = vec!["hosts", "--inside", share.as_str()];
    if let Some(only) = &options.only {
        arguments.extend(["--only", only]);
    }
    let status = namespace::command(&arguments)?
        .status()
        .context("start setpriv and unshare (package util-linux)")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the scenarios, as the first process of our own namespaces.
fn inside(options: &Options, share: &Utf8Path) -> anyhow::Result<ExitCode> {
    let watch = Stopwatch::start();
    let base = rootfs::ensure()?;
    let work = rootfs::cache().join("work");
    fs::create_dir_all(&work).with_context(|| format!("make {work}"))?;
    let rig = Rig::new(&base, &work, share)?;
    served::serve(&share.join("repository"), wardrobe::REPOSITORY)?;
    let wanted = options.only.as_deref().unwrap_or_default();
    let chosen: Vec<&Scenario> = SCENARIOS.iter().filter(|s| s.name.contains(wanted)).collect();
    if chosen.is_empty() {
        bail!("no scenario's name holds {wanted:?}");
    }
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..ABREAST {
            scope.spawn(|| {
                while let Some((number, scenario)) = take(&next, &chosen) {
                    if !perform(&rig, scenario, number) {
                        failed
                            .lock()
                            .expect("no scenario panics while it holds it")
                            .push(scenario.name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("every scenario's thread has ended");
    println!(
        "hosts: {} of {} scenarios passed in {:.1} s",
        chosen.len() - failed.len(),
        chosen.len(),
        watch.elapsed().as_secs_f64()
    );
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many addresses each scenario has.
const ADDRESSES: u8 = 4;

fn take<'a>(next: &AtomicUsize, from: &[&'a Scenario]) -> Option<(u8, &'a Scenario)> {
    let at = next.fetch_add(1, Ordering::SeqCst);
    Some((u8::try_from(at).ok()?.checked_mul(ADDRESSES)?, *from.get(at)?))
}

/// Plays one scenario on hosts of its own; on failure shows why and what their journals say.
fn perform(rig: &Rig, scenario: &Scenario, number: u8) -> bool {
    let watch = Stopwatch::start();
    let name = format!("h{number}");
    let played = match scenario.play {
        Play::Alone(play) => rig
            .boot(&name, number)
            .and_then(|mut host| play(&mut host).map_err(|source| source.context(host.journal()))),
        Play::Joined(agents, play) => rig.join(&name, number, agents).and_then(|mut fleet| {
            play(&mut fleet).map_err(|source| source.context(fleet.journals()))
        }),
        Play::Contained(play) => rig.containers(&name).and_then(|containers| play(&containers)),
    };
    let seconds = watch.elapsed().as_secs_f64();
    match played {
        Ok(()) => {
            println!("hosts: ok    {seconds:5.1} s  {}", scenario.name);
            true
        }
        Err(source) => {
            println!("hosts: FAIL  {seconds:5.1} s  {}\n{source:#}", scenario.name);
            false
        }
    }
}
