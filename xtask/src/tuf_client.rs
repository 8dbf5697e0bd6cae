//! The command line by which the public TUF conformance suite drives a client, over the very type
//! that agents verify with.
//!
//! ```text
//! tuf-client --metadata-dir D init ROOT
//! tuf-client --metadata-dir D --metadata-url U refresh
//! tuf-client --metadata-dir D --metadata-url U --target-name P … --target-base-url U2 \
//!     --target-dir T download
//! ```
//!
//! The suite wants unversioned metadata in D and nothing else, so version floors, which an agent
//! keeps beside its metadata, are not kept here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use camino::{Utf8Path, Utf8PathBuf};
use handover_client::fetch::{FetchError, Fetcher, Limits as FetchLimits};
use handover_client::real_world::{Clock as _, RealClock};
use handover_hoststeps::disk;
use handover_trust::{
    Answer, Goal, Limits, Memory, Poll, Refresh, TargetCheck, TargetFacts, VersionFloors,
};

/// What the suite says.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where trusted metadata is kept.
    #[arg(long)]
    metadata_dir: Utf8PathBuf,
    /// The base address of metadata.
    #[arg(long)]
    metadata_url: Option<String>,
    /// Targets to download.
    #[arg(long)]
    target_name: Vec<String>,
    /// The base address of targets.
    #[arg(long)]
    target_base_url: Option<String>,
    /// Where targets are put.
    #[arg(long)]
    target_dir: Option<Utf8PathBuf>,
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Trust a root.
    Init {
        /// The root's file.
        root: Utf8PathBuf,
    },
    /// Update metadata.
    Refresh,
    /// Update metadata, then download targets.
    Download,
}

/// Does it.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    match &options.act {
        Act::Init { root } => {
            let bytes = disk::read(root)?.with_context(|| format!("there is no {root}"))?;
            disk::make_dir(&options.metadata_dir)?;
            Ok(disk::write(&options.metadata_dir.join("root.json"), &bytes, 0o644)?)
        }
        Act::Refresh => refresh(options, Vec::new()).map(drop),
        Act::Download => download(options),
    }
}

/// Updates metadata; says where the targets are that were asked for.
fn refresh(options: &Options, goals: Vec<Goal>) -> anyhow::Result<BTreeMap<String, TargetFacts>> {
    let url = options.metadata_url.as_deref().context("--metadata-url is needed")?;
    let clock = RealClock::start();
    let fetcher = Fetcher::new(url, FetchLimits::default(), Arc::new(clock))?;
    let memory = load(&options.metadata_dir)?;
    let mut refresh = Refresh::begin(memory, goals, Limits::default(), clock.now().wall)?;
    loop {
        match refresh.poll() {
            Poll::Fetch(want) => {
                let url = format!("{}/{}", url.trim_end_matches('/'), want.name);
                refresh.feed(match fetcher.small(&url, want.max_bytes) {
                    Ok(bytes) => Answer::Bytes(bytes),
                    Err(FetchError::NotFound { .. }) => Answer::NotFound,
                    Err(FetchError::TooLarge { .. }) => Answer::TooLong,
                    Err(other) => return Err(other.into()),
                })?;
            }
            Poll::Save(save) => {
                disk::write(&options.metadata_dir.join(&save.name), &save.bytes, 0o644)?;
            }
            Poll::Done => return Ok(refresh.finish()?.targets),
        }
    }
}

fn load(directory: &Utf8Path) -> anyhow::Result<Memory> {
    let mut files = BTreeMap::new();
    for entry in directory.read_dir_utf8()? {
        let entry = entry?;
        if entry.path().extension() == Some("json")
            && let Some(bytes) = disk::read(entry.path())?
        {
            files.insert(entry.file_name().to_owned(), bytes);
        }
    }
    let pinned_root = files.get("root.json").cloned().context("run init first")?;
    Ok(Memory { pinned_root, files, floors: VersionFloors::first() })
}

fn download(options: &Options) -> anyhow::Result<()> {
    let base = options.target_base_url.as_deref().context("--target-base-url is needed")?;
    let directory = options.target_dir.as_deref().context("--target-dir is needed")?;
    let goals = options.target_name.iter().cloned().map(Goal::Target).collect();
    let found = refresh(options, goals)?;
    let fetcher = Fetcher::new(base, FetchLimits::default(), Arc::new(RealClock::start()))?;
    for name in &options.target_name {
        let Some(target) = found.get(name) else { bail!("no trusted role lists {name}") };
        let path = directory.join(escaped(name, b""));
        if disk::read(&path)?.is_some_and(|bytes| check(target, &bytes).is_ok()) {
            continue;
        }
        let url = format!("{}/{}", base.trim_end_matches('/'), escaped(&target.served_as, b"/"));
        let bytes = fetcher.small(&url, target.length)?;
        check(target, &bytes)?;
        disk::make_dir(directory)?;
        disk::write(&path, &bytes, 0o644)?;
    }
    Ok(())
}

fn check(target: &TargetFacts, bytes: &[u8]) -> anyhow::Result<()> {
    let mut check = TargetCheck::new(target.clone());
    check.update(bytes)?;
    Ok(check.finish()?)
}

/// Text that is safe in an address and as a file name, but for the bytes in `keep`.
fn escaped(text: &str, keep: &[u8]) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _infallible = write!(out, "%{byte:02X}");
        }
        out
    })
}
