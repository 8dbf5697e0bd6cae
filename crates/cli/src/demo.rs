//! `handover demo`: the whole of Handover on one machine, as real processes, over loopback,
//! without root or a service manager. It drives `handover` and `handover-agent` as a person would,
//! and believes nothing that it has not looked at, so that it is an acceptance test as well.

mod attackers;
mod catalogue;
mod chapters;
mod clients;
mod control;
mod file_server;
mod fleet;
mod host;
mod processes;
mod publisher;
mod rollouts;
mod stage;
mod story;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use crate::real_world::Stop;
use stage::Stage;
use story::say;

/// How to show it.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Check every outcome, clean up, and exit 0 or 1 instead of staying up.
    #[arg(long)]
    once: bool,
    /// Where everything lies, and stays. A new directory under the system's temporary one, which
    /// is removed at the end, where absent.
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

/// Shows it.
pub(crate) fn run(args: &DemoArgs) -> ExitCode {
    match try_run(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Shows it; whether all was as it should be.
fn try_run(args: &DemoArgs) -> anyhow::Result<bool> {
    let stop = Stop::on_signals().context("could not listen to signals")?;
    let own = match &args.dir {
        None => Some(tempfile::Builder::new().prefix("handover-demo-").tempdir()?),
        Some(_) => None,
    };
    let directory = match (&args.dir, &own) {
        (Some(directory), _) => {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("could not make {}", directory.display()))?;
            let is_empty = std::fs::read_dir(directory)?.next().is_none();
            anyhow::ensure!(is_empty, "{} is not empty: name another", directory.display());
            directory.canonicalize()?
        }
        (None, Some(own)) => own.path().canonicalize()?,
        (None, None) => anyhow::bail!("there is no directory to work in"),
    };
    let mut stage = Stage::set(&directory, stop)?;
    say(
        "Handover: a control plane, twenty hosts, good and bad rollouts, and an attacker, on this machine.",
    );
    say(&format!("Everything lies in {}.", directory.display()));

    let told = tell(&mut stage);
    // A terminal's Ctrl-C ends the programs that the demo runs, too: their failure is no finding.
    let is_stopped = told.is_err() && stage.stop.wait(Duration::ZERO);
    if let Err(error) = told
        && !is_stopped
    {
        stage.story.check("the demo could go on", Err(format!("{error:#}")));
    }
    let is_well = stage.story.failures().is_empty();
    if !is_well {
        say_failures(&stage);
    }
    if !args.once && !is_stopped && is_well {
        invite(&stage)?;
        while !stage.stop.wait(Duration::from_hours(1)) {}
    }
    say("");
    let cleared = stage.clear();
    let is_well = is_well && cleared.is_ok();
    stage.story.check("nothing is left running", cleared);
    if !is_well && let Some(own) = own {
        say(&format!("What happened can be read in {}.", own.keep().display()));
    }
    Ok(is_well && (!is_stopped || !args.once))
}

/// All chapters.
fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    chapters::repository(stage)?;
    let old = attackers::keep_copy(stage, "yesterday")?;
    chapters::control_plane(stage)?;
    chapters::hosts(stage)?;
    chapters::good(stage)?;
    chapters::ill(stage)?;
    chapters::hanging(stage)?;
    attackers::attackers(stage, &old)?;
    chapters::crashing(stage)?;
    chapters::agents(stage)?;
    chapters::killed(stage)?;
    fleet::join(stage)?;
    rollouts::preview(stage)?;
    rollouts::good(stage)?;
    rollouts::bad(stage)?;
    let dead: Vec<String> = stage.hosts.iter_mut().flat_map(host::Host::dead_launchers).collect();
    stage.story.check(
        "all forty launchers are the ones that were started",
        if dead.is_empty() { Ok(String::new()) } else { Err(dead.join(", ")) },
    );
    say("");
    let (checks, seconds) = (stage.story.checks(), stage.story.elapsed().as_secs());
    if stage.story.failures().is_empty() {
        say(&format!("All {checks} outcomes are as they should be, after {seconds} seconds."));
    }
    Ok(())
}

fn say_failures(stage: &Stage) {
    say("");
    say("Not as it should be:");
    for failure in stage.story.failures() {
        say(&format!("  - {failure}"));
    }
    for host in &stage.hosts {
        say(&format!("  the log of {}: {}", host.name, shown(&stage.logs(), &host.name)));
    }
}

fn shown(logs: &Path, name: &str) -> String {
    format!("{}/{name}-*.log", logs.display())
}

/// What a newcomer may try next.
fn invite(stage: &Stage) -> anyhow::Result<()> {
    let host = stage.hosts.first().context("there is a first host")?;
    let agent = stage.programs.path("handover-agent");
    let agent = format!("{} --root {}", agent.display(), host.root().display());
    let handover = stage.programs.path("handover");
    let repository = stage.publisher.repository();
    let desk = stage.control()?.desk();
    say("");
    say("It all goes on running. In another terminal, try:");
    say(&format!("  export XDG_CONFIG_HOME={}", desk.display()));
    let handover = handover.display();
    for (what, command) in [
        ("who is there", format!("{handover} agent list")),
        ("why a host is where it is", format!("{handover} agent explain {} web", host.name)),
        ("how the rollouts went", format!("{handover} rollout show web-1-7-0")),
        (
            "take the good one back, too, and look on",
            format!("{handover} rollout revert web-1-6-0 --yes --watch"),
        ),
        ("everything that happens, live", format!("{handover} watch")),
        ("go back, by order", format!("{handover} agent rollback {} --component web", host.name)),
        ("what runs, and its proof", format!("{agent} status")),
        ("go back by hand, without a network", format!("{agent} rollback web")),
        ("who answers", format!("curl http://127.0.0.1:{}/", host.port)),
        ("what is published", format!("{handover} release list {}", repository.display())),
        ("what a host allows", format!("$EDITOR {}/policy.yaml", host.root().display())),
    ] {
        say(&format!("  # {what}"));
        say(&format!("  {command}"));
    }
    say("");
    say("Ctrl-C ends everything and cleans up.");
    Ok(())
}
