//! Reading a repository's directory as a host would: from the pinned root, over every version
//! floor, component by component.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::{ComponentName, Digest, Timestamp};
use handover_trust::{
    Answer, Goal, Limits, Memory, Poll, Refresh, Refreshed, VerifyError, VersionFloors, Want,
};

use super::Shelf;
use crate::files::{self, FileError};
use crate::problem::Chain;

/// The most components that one repository may have here.
const MOST_COMPONENTS: usize = 1000;

/// Why a repository can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// It does not verify.
    #[error("the repository does not verify ({})", .source.code())]
    Verify {
        /// Which part of it, where that is known.
        component: Option<ComponentName>,
        /// In which way.
        source: Box<VerifyError>,
    },
    /// Files can't be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What is wrong with what all components share.
fn shared(source: VerifyError) -> ReadError {
    ReadError::Verify { component: None, source: Box::new(source) }
}

/// Directories in which a metadata file is looked for, the first one first.
pub(super) struct Layers<'a>(pub(super) &'a [&'a Utf8Path]);

impl Layers<'_> {
    /// The file, and which directory it came from.
    fn answer(&self, want: &Want) -> Result<(Answer, Option<usize>), FileError> {
        for (number, layer) in self.0.iter().enumerate() {
            let path = layer.join("metadata").join(&want.name);
            match std::fs::metadata(&path) {
                Ok(facts) if facts.len() > want.max_bytes => return Ok((Answer::TooLong, None)),
                Ok(_) => {}
                Err(_absent) => continue,
            }
            if let Some(bytes) = files::read_up_to(&path, want.max_bytes)? {
                return Ok((Answer::Bytes(bytes), Some(number)));
            }
        }
        Ok((Answer::NotFound, None))
    }

    /// Every component that some file speaks for.
    fn components(&self) -> Vec<ComponentName> {
        let mut found = BTreeSet::new();
        for layer in self.0 {
            let Ok(entries) = layer.join("metadata").read_dir_utf8() else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name().strip_suffix(".json").unwrap_or_default();
                let role = name.split_once('.').map_or("", |(_, role)| role);
                if let Some(Ok(name)) = role.strip_prefix("component-").map(str::parse) {
                    found.insert(name);
                }
            }
        }
        found.into_iter().take(MOST_COMPONENTS).collect()
    }
}

/// What a verification found.
pub(super) struct Reading {
    /// What is offered, and the floors.
    pub(super) refreshed: Refreshed,
    /// What is wrong with single components.
    pub(super) refused: Vec<ReadError>,
    /// Every metadata file that was read and believed, with the number of its layer.
    pub(super) read: BTreeMap<String, usize>,
    /// Components that files speak for although nothing delegates to them: hosts never look.
    pub(super) unspoken: BTreeSet<ComponentName>,
}

/// Everything that could be verified, component by component; or the first thing that is wrong
/// with what they share.
pub(super) fn verify(
    layers: &Layers<'_>,
    pinned_root: &[u8],
    floors: &VersionFloors,
    now: Timestamp,
) -> Result<Reading, ReadError> {
    let mut goals = layers.components();
    let (mut refused, mut unspoken) = (Vec::new(), BTreeSet::new());
    loop {
        let mut culprit = None;
        match verify_for(layers, pinned_root, floors, &goals, now, &mut culprit) {
            Ok((refreshed, read)) => return Ok(Reading { refreshed, refused, read, unspoken }),
            Err(ReadError::Verify { source, .. }) => {
                let Some(component) = culprit else {
                    return Err(ReadError::Verify { component: None, source });
                };
                goals.retain(|goal| *goal != component);
                // A file of a component that is not delegated any more speaks for nobody.
                if matches!(*source, VerifyError::UnknownRole { .. }) {
                    unspoken.insert(component);
                } else {
                    refused.push(ReadError::Verify { component: Some(component), source });
                }
            }
            Err(error @ ReadError::File(_)) => return Err(error),
        }
    }
}

fn verify_for(
    layers: &Layers<'_>,
    pinned_root: &[u8],
    floors: &VersionFloors,
    goals: &[ComponentName],
    now: Timestamp,
    culprit: &mut Option<ComponentName>,
) -> Result<(Refreshed, BTreeMap<String, usize>), ReadError> {
    let failed = shared;
    let mut read = BTreeMap::new();
    let memory = Memory {
        pinned_root: pinned_root.to_vec(),
        floors: floors.clone(),
        files: BTreeMap::new(),
    };
    let goals = goals.iter().cloned().map(Goal::Component).collect();
    let limits = Limits { roles: MOST_COMPONENTS + 1, ..Limits::default() };
    let mut refresh = Refresh::begin(memory, goals, limits, now).map_err(failed)?;
    loop {
        match refresh.poll() {
            Poll::Fetch(want) => {
                let (answer, layer) = layers.answer(&want)?;
                if let Err(source) = refresh.feed(answer) {
                    *culprit = refresh.pursued().cloned();
                    return Err(failed(source));
                }
                read.extend(layer.map(|layer| (want.name, layer)));
            }
            Poll::Save(_) => {}
            Poll::Done => return Ok((refresh.finish().map_err(failed)?, read)),
        }
    }
}

/// What a directory offers now; on trouble, what was known before, with the trouble.
pub(super) fn reload(directory: &Utf8Path, data: &Utf8Path, held: &Shelf, now: Timestamp) -> Shelf {
    let stamp = super::stamp_of(directory);
    let with = |problem: String| Shelf { problem: Some(problem), stamp, ..held.clone() };
    let pinned = match pinned_root(data, Some(directory)) {
        Ok(Some(root)) => root,
        Ok(None) => return Shelf { stamp, ..Shelf::default() },
        Err(error) => return with(Chain(&error).to_string()),
    };
    let verified =
        floors(data).and_then(|floors| verify(&Layers(&[directory]), &pinned, &floors, now));
    match verified {
        Ok(Reading { refreshed, refused, .. }) => {
            let problem = refused.first().map(|error| Chain(error).to_string());
            if let Err(error) = keep_floors(data, &refreshed.floors) {
                return with(Chain(&error).to_string());
            }
            // The stamp of before: what was replaced while it was read is read again.
            shelf_of((directory, stamp), Digest::of(&pinned), refreshed, problem)
        }
        Err(error) => with(Chain(&error).to_string()),
    }
}

fn shelf_of(
    (directory, stamp): (&Utf8Path, Option<super::Stamp>),
    root: Digest,
    refreshed: Refreshed,
    problem: Option<String>,
) -> Shelf {
    Shelf {
        root: Some(root),
        signers: signers(directory),
        expires: Some(refreshed.expires),
        catalog: Some(refreshed.catalog),
        problem,
        stamp,
    }
}

/// Who may sign for each component, from the newest targets role that is there. For people:
/// verification does not rest on it.
fn signers(directory: &Utf8Path) -> BTreeMap<ComponentName, (u32, Vec<String>)> {
    let Ok(entries) = directory.join("metadata").read_dir_utf8() else { return BTreeMap::new() };
    let version = |name: &str| name.strip_suffix(".targets.json").and_then(|n| n.parse().ok());
    let newest =
        entries.flatten().filter_map(|entry| version(entry.file_name())).max().unwrap_or(0_u64);
    let path = directory.join(format!("metadata/{newest}.targets.json"));
    let Ok(Some(bytes)) = files::read_up_to(&path, Limits::default().targets) else {
        return BTreeMap::new();
    };
    let envelope = handover_trust::Envelope::parse(&bytes);
    let document =
        envelope.and_then(|envelope| envelope.document::<handover_trust::author::TargetsDoc>());
    let Ok(document) = document else { return BTreeMap::new() };
    let of = |name: &ComponentName| {
        (document.threshold_of(name), document.keys_of(name).keys().cloned().collect())
    };
    document.components().into_iter().map(|name| (name.clone(), of(&name))).collect()
}

/// The pinned first root. A directory that the server was started on is believed once, and
/// pinned then.
pub(super) fn pinned_root(
    data: &Utf8Path,
    directory: Option<&Utf8Path>,
) -> Result<Option<Vec<u8>>, ReadError> {
    let limit = Limits::default().root;
    if let Some(root) = files::read_up_to(&root_path(data), limit)? {
        return Ok(Some(root));
    }
    let Some(directory) = directory else { return Ok(None) };
    let Some(root) = files::read_up_to(&directory.join("metadata/1.root.json"), limit)? else {
        return Ok(None);
    };
    files::write(&root_path(data), &root, 0o644)?;
    Ok(Some(root))
}

pub(super) fn root_path(data: &Utf8Path) -> Utf8PathBuf {
    data.join("repository-root.json")
}

fn floors_path(data: &Utf8Path) -> Utf8PathBuf {
    data.join("repository-floors.json")
}

/// The version floors: a published version never falls, whoever asks.
pub(super) fn floors(data: &Utf8Path) -> Result<VersionFloors, ReadError> {
    match files::read(&floors_path(data))? {
        None => Ok(VersionFloors::first()),
        Some(bytes) => VersionFloors::open(Some(&bytes)).map_err(shared),
    }
}

pub(super) fn keep_floors(data: &Utf8Path, floors: &VersionFloors) -> Result<(), ReadError> {
    let bytes = floors.seal().map_err(shared)?;
    if files::read(&floors_path(data))?.as_deref() == Some(&bytes) {
        return Ok(());
    }
    Ok(files::write(&floors_path(data), &bytes, 0o644)?)
}
