//! `handover self-update`: this program, through the same signed repository and checks as a host's
//! components.
//!
//! Invariants: nothing runs that a threshold of release keys did not sign; what was installed is
//! never replaced by something older; the executable is there, whole, at every instant (the old one
//! is kept as `.previous`, the new one takes its place by rename after it has passed its own test).

mod error;
mod executable;
mod known;
mod unpack;

use std::sync::Arc;

use handover_client::bandwidth::Bucket;
use handover_client::dice::Dice;
use handover_client::download::{Means, Wanted, download};
use handover_client::fetch::Fetcher;
use handover_client::real_world::{Clock, RealClock, Stop};
use handover_client::repository::join;
use handover_engine::graph::{From, Graph, View};
use handover_model::{ComponentName, Platform, Version};
use serde::Serialize;

use crate::control::Desk;
use crate::output::{Out, fields};

pub(crate) use error::SelfUpdateError;
use executable::Executable;
use known::{Known, Sources};

/// The component that this program is.
const COMPONENT: &str = "handover-cli";
/// How often a download is tried; each try resumes.
const ATTEMPTS: u32 = 5;

/// What `self-update` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  handover self-update --check\n  handover self-update\n  \
                        handover self-update --repository https://releases.example.com \
                        --trusted-root 1.root.json")]
pub(crate) struct SelfUpdateArgs {
    /// Only say whether there is a newer version.
    #[arg(long)]
    check: bool,
    /// The channel to take versions from.
    #[arg(long, default_value = "stable")]
    channel: String,
    #[command(flatten)]
    sources: Sources,
}

/// What was found and done.
#[derive(Debug, Serialize)]
struct Told {
    current: Version,
    /// The version that comes next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Version>,
    /// The newest one that can be reached.
    newest: Version,
    updated: bool,
}

/// Updates this program, or says whether that can be done.
pub(crate) fn run(args: &SelfUpdateArgs, desk: &Desk<'_>) -> Result<(), SelfUpdateError> {
    let current = this_version()?;
    // Before anything is fetched: what can't be replaced needs no download.
    let executable = if args.check { None } else { Some(Executable::find()?) };
    let clock: Arc<dyn Clock> = Arc::new(RealClock::start());
    let known = Known::refresh(&args.sources, desk, &clock)?;
    let component = component()?;
    let offers = handover_engine::graph::offers(&known.catalog, &component);
    let floor = known.floors.of(&component).cloned();
    let lowest = floor.as_ref().map_or(&current, |floor| (&floor.version).max(&current));
    let platform = Platform::of_this_build();
    let view = View {
        platform: Some(&platform),
        channel: Some(&args.channel),
        lowest: Some(lowest),
        ..View::default()
    };
    let graph = Graph::new(&offers, &view);
    let newest = graph.nodes().next_back().map_or(&current, |offer| &offer.facts.version);
    let here = offers.iter().find(|offer| offer.facts.version == current);
    // The floor may be that of the release to come, when its arrival was cut: only a floor of what
    // runs says where that stands.
    let floor = floor.filter(|floor| floor.version == current).map(|floor| floor.sequence);
    let sequence = here.map(|offer| offer.facts.sequence).or(floor);
    let from = From { version: current.clone(), sequence: sequence.unwrap_or(0) };
    if *newest <= current {
        let told = Told { newest: current.clone(), current, next: None, updated: false };
        tell(&told, desk.out);
        return Ok(());
    }
    let path = graph.plan_path(&from, newest).map_err(|why| SelfUpdateError::NoPath { why })?;
    let Some(next) = path.hops.first() else {
        return Err(SelfUpdateError::Unreadable { what: "the way to the newest version" });
    };
    let mut told = Told {
        current: current.clone(),
        next: Some(next.facts.version.clone()),
        newest: newest.clone(),
        updated: false,
    };
    if let Some(executable) = executable {
        let package = known.catalog.package_for(&component, &next.facts.version, &platform)?;
        let archive = fetch(&known, &package.target, &clock, desk.out)?;
        let fresh = unpack::take_out(&archive, &package.facts, executable.directory())?;
        executable.test(&fresh, &next.facts.version)?;
        known.raise_floor(&component, &package.facts, clock.now().wall)?;
        executable.swap(fresh)?;
        // It is not needed again; a next version has another digest.
        let _stays = std::fs::remove_file(&archive);
        told.updated = true;
    }
    tell(&told, desk.out);
    Ok(())
}

fn tell(told: &Told, out: &Out) {
    out.result(told, |told| {
        let newest = &told.newest;
        match (&told.next, told.updated) {
            (None, _) => format!("handover {} is the newest there is", told.current),
            (Some(next), true) if next == newest => {
                format!(
                    "handover {} replaced {}; the old one is kept as .previous",
                    next, told.current
                )
            }
            (Some(next), true) => format!(
                "handover {next} replaced {}; run `handover self-update` again to reach {newest}",
                told.current
            ),
            (Some(next), false) => fields(&[
                ("current", told.current.to_string()),
                ("next", next.to_string()),
                ("newest", newest.to_string()),
            ]),
        }
    });
}

fn fetch(
    known: &Known,
    target: &handover_trust::TargetFacts,
    clock: &Arc<dyn Clock>,
    out: &Out,
) -> Result<camino::Utf8PathBuf, SelfUpdateError> {
    let wanted = Wanted {
        url: join(&known.targets, &target.served_as),
        digest: target.digest,
        length: target.length,
    };
    let fetcher = Fetcher::with(&known.targets, &known.options, Arc::clone(clock))?;
    let bar = out.bar("downloading", target.length);
    let mut dice = Dice::new(u64::try_from(clock.now().wall.as_micros()).unwrap_or(1));
    let mut bucket = Bucket::new(None, clock.now().mono);
    let mut means = Means {
        clock: clock.as_ref(),
        stop: &Stop::never(),
        dice: &mut dice,
        bucket: &mut bucket,
        attempts: ATTEMPTS,
        progress: &mut |bytes| bar.set_position(bytes),
    };
    let archive = download(&fetcher, &wanted, &known.incoming, &mut means);
    bar.finish_and_clear();
    Ok(archive?)
}

fn component() -> Result<ComponentName, SelfUpdateError> {
    COMPONENT.parse().map_err(|_source| SelfUpdateError::Unreadable { what: "its own name" })
}

/// The version of this program.
fn this_version() -> Result<Version, SelfUpdateError> {
    env!("CARGO_PKG_VERSION")
        .parse()
        .map_err(|_source| SelfUpdateError::Unreadable { what: "its own version" })
}
