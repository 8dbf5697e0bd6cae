//! What may be deleted from a component's directory (DESIGN 5.1, promise 4).
//!
//! The answer is derived from what lies there and from the slots, never from markers. Invariants,
//! each with a property test: never what `current`, a trial or the last good slot uses, never the
//! package that an unfinished run began with, and never anything whose name this program did not
//! give.

use std::collections::BTreeSet;

use handover_model::{Digest, ReleaseId, RunId, Slot, Slots, Version};

use crate::slots::{last_good, quarantined};

/// The ending of a copy that a return set aside.
const REVERTED: &str = ".reverted";

/// What lies in a component's directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// The entries of `releases/`.
    pub releases: Vec<Found>,
    /// The entries of `state/`.
    pub states: Vec<Found>,
    /// The entries of `config/`.
    pub configs: Vec<Found>,
    /// The entries of `runs/`.
    pub runs: Vec<FoundRun>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// How many bytes it holds.
    pub bytes: u64,
}

/// One entry of `runs/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRun {
    /// The entry.
    pub entry: Found,
    /// How far the run is.
    pub progress: RunProgress,
}

/// How far a run is, by its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunProgress {
    /// It has ended, either way.
    Ended,
    /// It has not ended.
    Unfinished {
        /// The releases that it needs: the one whose package carries it, and the one that it
        /// came from.
        needs: Vec<ReleaseId>,
    },
    /// Its journal can't be read: it may need anything.
    Unreadable,
}

/// How much is kept beside what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Earlier good releases; at least 1 is kept whatever this says.
    pub releases: u32,
    /// Copies of state, and of configuration, that no slot uses any more.
    pub set_aside: u32,
    /// Runs that have ended and that no slot came from.
    pub runs: u32,
}

impl Keep {
    /// Two set-aside copies and twenty runs beside the releases that a manifest asks for.
    pub fn releases(releases: u32) -> Self {
        Self { releases, set_aside: 2, runs: 20 }
    }
}

/// Where an entry lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// `releases/`
    Releases,
    /// `state/`
    State,
    /// `config/`
    Config,
    /// `runs/`
    Runs,
}

impl Place {
    /// The directory's name.
    pub fn directory(self) -> &'static str {
        match self {
            Self::Releases => "releases",
            Self::State => "state",
            Self::Config => "config",
            Self::Runs => "runs",
        }
    }
}

/// One entry that may go, or one that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Where it lies.
    pub place: Place,
    /// Its name there.
    pub name: String,
    /// How many bytes it holds.
    pub bytes: u64,
}

/// What retention would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retention {
    /// Kept slots to take off the list, with [`crate::slots::forget`]. Published before anything
    /// is deleted; if somebody else publishes first, everything is planned again.
    pub forget: Vec<ReleaseId>,
    /// What may be deleted then.
    pub delete: Vec<Entry>,
    /// What this program did not put there: reported, never deleted.
    pub unknown: Vec<Entry>,
}

impl Retention {
    /// How many bytes deleting frees.
    pub fn frees(&self) -> u64 {
        self.delete.iter().fold(0, |sum, entry| sum.saturating_add(entry.bytes))
    }
}

/// Decides what may go. `own` is the run that carries this out, if a run does: it stands at its
/// last step and needs no more than what its own slot uses.
pub fn plan_retention(
    slots: &Slots,
    found: &Inventory,
    keep: Keep,
    own: Option<RunId>,
) -> Retention {
    let forget = forgettable(slots, keep);
    let needs = Needs::new(slots, &forget, found, own);
    let mut plan = Retention { forget, ..Retention::default() };
    for entry in &found.releases {
        let gone = parse_release(&entry.name).map(|()| !needs.release(&entry.name));
        plan.judge(Place::Releases, entry, gone);
    }
    // While a run may be making copies, all of them stay.
    let aside = if needs.copies { u32::MAX } else { keep.set_aside };
    let (states, configs) = ((Place::State, &needs.states), (Place::Config, &needs.configs));
    plan.judge_copies(states, &found.states, aside, parse_state);
    plan.judge_copies(configs, &found.configs, aside, parse_config);
    let spare = spare_runs(found, &needs, keep);
    for run in &found.runs {
        let known = run.entry.name.parse::<RunId>().ok();
        plan.judge(Place::Runs, &run.entry, known.map(|id| spare.contains(&id)));
    }
    plan
}

impl Retention {
    /// `gone`: whether the entry may go; `None` when its name is not one of ours.
    fn judge(&mut self, place: Place, found: &Found, gone: Option<bool>) {
        let entry = || Entry { place, name: found.name.clone(), bytes: found.bytes };
        match gone.filter(|_| found.is_directory) {
            None => self.unknown.push(entry()),
            Some(true) => self.delete.push(entry()),
            Some(false) => {}
        }
    }

    /// Copies that no slot uses: the newest few stay.
    fn judge_copies(
        &mut self,
        (place, used): (Place, &BTreeSet<String>),
        found: &[Found],
        aside: u32,
        parse: fn(&str) -> Option<(u64, u64)>,
    ) {
        let parse = |name: &str| parse(name.strip_suffix(REVERTED).unwrap_or(name));
        let mut spare: Vec<(u64, u64)> = found
            .iter()
            .filter(|entry| entry.is_directory && !used.contains(&entry.name))
            .filter_map(|entry| parse(&entry.name))
            .collect();
        spare.sort_unstable_by(|a, b| b.cmp(a));
        spare.truncate(usize::try_from(aside).unwrap_or(usize::MAX));
        for entry in found {
            let stays = |age| used.contains(&entry.name) || spare.contains(&age);
            self.judge(place, entry, parse(&entry.name).map(|age| !stays(age)));
        }
    }
}

/// What must stay.
struct Needs {
    releases: BTreeSet<String>,
    every_release: bool,
    states: BTreeSet<String>,
    configs: BTreeSet<String>,
    /// Some run may still be working on copies that no slot names yet.
    copies: bool,
    runs: BTreeSet<RunId>,
}

impl Needs {
    fn new(slots: &Slots, forget: &[ReleaseId], found: &Inventory, own: Option<RunId>) -> Self {
        let kept = slots.previous.iter().filter(|slot| !forget.contains(&slot.release));
        let trial = slots.trial.as_ref().map(|trial| &trial.slot);
        let used: Vec<&Slot> = kept.chain(&slots.current).chain(trial).collect();
        let last = |path: &camino::Utf8Path| path.file_name().map(ToOwned::to_owned);
        let mut needs = Self {
            releases: used.iter().map(|slot| slot.release.directory()).collect(),
            every_release: false,
            states: used.iter().filter_map(|slot| last(slot.state.as_ref()?)).collect(),
            configs: used.iter().filter_map(|slot| last(&slot.config)).collect(),
            copies: slots.pause.is_some(),
            runs: used.iter().map(|slot| slot.run).collect(),
        };
        for run in &found.runs {
            let id = run.entry.name.parse::<RunId>().ok();
            let ours = own.is_some() && id == own;
            match &run.progress {
                RunProgress::Ended => continue,
                RunProgress::Unfinished { needs: releases } => {
                    needs.releases.extend(releases.iter().map(ReleaseId::directory));
                }
                RunProgress::Unreadable => needs.every_release = true,
            }
            needs.copies |= !ours;
            needs.runs.extend(id);
        }
        needs
    }

    fn release(&self, directory: &str) -> bool {
        self.every_release || self.releases.contains(directory)
    }
}

/// The kept slots beyond the wanted number: the first good ones stay, and the newest of those
/// that were left in quarantine, so that what it wrote can still be looked at.
fn forgettable(slots: &Slots, keep: Keep) -> Vec<ReleaseId> {
    let (failed, good): (Vec<&Slot>, Vec<&Slot>) =
        slots.previous.iter().partition(|slot| quarantined(slots, &slot.release).is_some());
    let wanted = usize::try_from(keep.releases.max(1)).unwrap_or(usize::MAX);
    let in_use = |slot: &Slot| {
        let trial = slots.trial.as_ref().map(|trial| &trial.slot);
        last_good(slots).is_some_and(|good| good.release == slot.release)
            || trial.is_some_and(|trial| trial.release == slot.release)
    };
    good.into_iter()
        .skip(wanted)
        .chain(failed.into_iter().skip(1))
        .filter(|slot| !in_use(slot))
        .map(|slot| slot.release.clone())
        .collect()
}

fn spare_runs(found: &Inventory, needs: &Needs, keep: Keep) -> BTreeSet<RunId> {
    let ended = found.runs.iter().filter(|run| run.progress == RunProgress::Ended);
    let mut ended: Vec<RunId> = ended
        .filter_map(|run| run.entry.name.parse().ok())
        .filter(|id| !needs.runs.contains(id))
        .collect();
    ended.sort_unstable_by(|a, b| b.cmp(a)); // ids begin with their time
    ended.into_iter().skip(usize::try_from(keep.runs).unwrap_or(usize::MAX)).collect()
}

/// `<version>+<digest8>`.
fn parse_release(name: &str) -> Option<()> {
    let (version, digest) = name.rsplit_once('+')?;
    version.parse::<Version>().ok()?;
    let fits = digest.len() == Digest::of(b"").short().len()
        && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    fits.then_some(())
}

/// `<schema>.<n>`, the newest by `n`.
fn parse_state(name: &str) -> Option<(u64, u64)> {
    let (schema, n) = name.split_once('.')?;
    Some((parse_number(n)?, parse_number(schema)?))
}

/// `<n>`.
fn parse_config(name: &str) -> Option<(u64, u64)> {
    Some((parse_number(name)?, 0))
}

/// Digits as we write them: no sign, no leading zero.
fn parse_number(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

#[cfg(test)]
mod tests;
