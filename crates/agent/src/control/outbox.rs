//! Reports on their way to the control plane: numbered, signed, durable, bounded.
//!
//! Invariants: a number is never used twice; the report of an order's ending is never dropped;
//! beyond its bound the outbox drops progress first, then older states. When endings alone fill
//! it, no order begins.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use handover_hoststeps::{HostError, disk};
use handover_model::wire::{Report, ReportBody, SignedDoc};
use handover_model::{AgentId, OrderId, SessionId, Timestamp, open_framed, seal_framed};
use handover_trust::control::sign;
use handover_trust::keys::SigningKey;
use serde::{Deserialize, Serialize};

use super::identity::ControlFiles;
use crate::failure::Failure;

const FORMAT: u32 = 1;
const KIND: &str = "report";
/// The most reports that wait.
pub const MOST_WAITING: usize = 256;
/// The most bytes that they have in all.
pub const MOST_BYTES: usize = 1024 * 1024;
/// How many numbers are reserved at once: a start after a kill skips what is left of them.
const RESERVED: u64 = 256;

/// What a report is worth when space is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Worth {
    /// Something that a later report says better.
    Progress,
    /// A state; only the newest counts.
    State,
    /// How an order ended.
    Ending,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    worth: Worth,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<OrderId>,
    doc: SignedDoc,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    /// Every number below this one may have been used.
    reserved: u64,
}

/// One report that waits, as far as decisions need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    worth: Worth,
    order: Option<OrderId>,
    bytes: usize,
}

/// The outbox of one agent.
pub struct Outbox {
    files: ControlFiles,
    dir: Utf8PathBuf,
    agent: AgentId,
    session: SessionId,
    key: SigningKey,
    next: u64,
    reserved: u64,
    waiting: BTreeMap<u64, Entry>,
}

impl Outbox {
    /// Opens the outbox and finds what waits there.
    ///
    /// # Errors
    /// [`HostError`]. A report that is damaged is put to the log and left out: it is not taken for
    /// sent, and orders' endings are in the ledger too.
    pub fn open(
        files: &ControlFiles,
        agent: AgentId,
        session: SessionId,
        key: SigningKey,
    ) -> Result<Self, HostError> {
        let dir = files.path("outbox");
        disk::make_dir_mode(files.dir(), 0o700)?;
        disk::make_dir_mode(&dir, 0o700)?;
        disk::clean_asides(&dir)?;
        let numbers: Option<Numbers> = files.load("reports.json", "report-numbers", FORMAT)?;
        let mut waiting = BTreeMap::new();
        let listed = dir.read_dir_utf8();
        let failed = |source| HostError::Io { act: "list", path: dir.clone(), source };
        for entry in listed.map_err(failed)? {
            let path = entry.map_err(failed)?.into_path();
            let Some(number) = path.file_stem().and_then(|stem| stem.parse::<u64>().ok()) else {
                continue;
            };
            if let Some((file, bytes)) = read(&path)? {
                if file.doc.0.pointer("/signed/agent").and_then(|id| id.as_str())
                    != Some(agent.to_string().as_str())
                {
                    // Of whom this host was before: no control plane takes it from this one.
                    tracing::info!(%path, "a report of another agent is forgotten");
                    disk::remove_tree(&path)?;
                    continue;
                }
                let entry = Entry { worth: file.worth, order: file.order, bytes };
                waiting.insert(number, entry);
            } else {
                tracing::warn!(%path, "a report is damaged and will not be sent");
            }
        }
        let used = waiting.keys().next_back().map_or(0, |last| last.saturating_add(1));
        let next = numbers.map_or(1, |numbers| numbers.reserved).max(used).max(1);
        let (files, reserved) = (files.clone(), next);
        Ok(Self { files, dir, agent, session, key, next, reserved, waiting })
    }

    /// Signs a report and puts it in, durably; says its number.
    ///
    /// # Errors
    /// [`Failure::Host`] when the disk fails, [`Failure::Verify`] for what has no canonical form.
    pub fn push(&mut self, body: ReportBody, now: Timestamp) -> Result<u64, Failure> {
        let (worth, order) = match &body {
            ReportBody::State(_) => (Worth::State, None),
            ReportBody::Order(report) if report.stage.is_final() => {
                (Worth::Ending, Some(report.order))
            }
            ReportBody::Order(report) => (Worth::Progress, Some(report.order)),
        };
        self.put(worth, order, body, now)
    }

    /// As [`Self::push`], for an answer that may be dropped though it is final: the order is not
    /// in this host's ledger, so that nothing rests on it.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_aside(&mut self, body: ReportBody, now: Timestamp) -> Result<(), Failure> {
        let order = match &body {
            ReportBody::State(_) => None,
            ReportBody::Order(report) => Some(report.order),
        };
        if order.is_none_or(|order| !self.mentions(order)) {
            self.put(Worth::Progress, order, body, now)?;
        }
        Ok(())
    }

    fn put(
        &mut self,
        worth: Worth,
        order: Option<OrderId>,
        body: ReportBody,
        now: Timestamp,
    ) -> Result<u64, Failure> {
        let number = self.number()?;
        let report = Report {
            type_: Report::TYPE.to_owned(),
            agent: self.agent,
            number,
            session: self.session,
            at: now,
            body,
        };
        let file = File { worth, order, doc: sign(&report, &self.key)? };
        let path = self.path(number);
        let bytes = seal_framed(KIND, FORMAT, &file)
            .map_err(|source| HostError::Damaged { path: path.clone(), source })?;
        disk::write(&path, &bytes, 0o600)?;
        self.waiting.insert(number, Entry { worth, order, bytes: bytes.len() });
        for surplus in plan_drops(&self.waiting) {
            self.remove(surplus)?;
        }
        Ok(number)
    }

    /// The oldest reports, at most `most` of at most `bytes` bytes together, but one at least.
    ///
    /// # Errors
    /// [`HostError`].
    pub fn batch(&mut self, most: usize, bytes: usize) -> Result<Vec<SignedDoc>, HostError> {
        let mut docs = Vec::new();
        let mut left = bytes;
        for (number, entry) in self.waiting.clone() {
            if docs.len() >= most || (entry.bytes > left && !docs.is_empty()) {
                break;
            }
            left = left.saturating_sub(entry.bytes);
            if let Some((file, _)) = read(&self.path(number))? {
                docs.push(file.doc);
            } else {
                tracing::warn!(number, "a report is damaged and will not be sent");
                self.waiting.remove(&number);
            }
        }
        Ok(docs)
    }

    /// Takes away what the control plane keeps: every report up to `number`. A number that was
    /// never given out says nothing.
    ///
    /// # Errors
    /// [`HostError`].
    pub fn acknowledge(&mut self, number: u64) -> Result<(), HostError> {
        if number >= self.next {
            tracing::warn!(number, "a report is acknowledged that was never made; ignored");
            return Ok(());
        }
        let kept = self.waiting.split_off(&number.saturating_add(1));
        let gone = std::mem::replace(&mut self.waiting, kept);
        for number in gone.into_keys() {
            disk::remove_tree(&self.path(number))?;
        }
        Ok(())
    }

    /// Whether any report of `order` waits.
    pub fn mentions(&self, order: OrderId) -> bool {
        self.waiting.values().any(|entry| entry.order == Some(order))
    }

    /// Whether a report of how `order` ended waits.
    pub fn holds_ending(&self, order: OrderId) -> bool {
        let ending = |entry: &&Entry| entry.worth == Worth::Ending && entry.order == Some(order);
        self.waiting.values().any(|entry| ending(&entry))
    }

    /// How many reports wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether so many endings wait that nothing new may begin.
    pub fn is_full(&self) -> bool {
        is_full(&self.waiting)
    }

    /// The next number, reserved durably before it is used.
    fn number(&mut self) -> Result<u64, HostError> {
        if self.next >= self.reserved {
            let reserved = self.next.saturating_add(RESERVED);
            self.files.save("reports.json", "report-numbers", FORMAT, &Numbers { reserved })?;
            self.reserved = reserved;
        }
        let number = self.next;
        self.next = number.saturating_add(1);
        Ok(number)
    }

    fn path(&self, number: u64) -> Utf8PathBuf {
        self.dir.join(format!("{number:016}.json"))
    }

    fn remove(&mut self, number: u64) -> Result<(), HostError> {
        self.waiting.remove(&number);
        disk::remove_tree(&self.path(number))
    }
}

/// A report's file; `None` where it is damaged.
fn read(path: &Utf8PathBuf) -> Result<Option<(File, usize)>, HostError> {
    let Some(bytes) = disk::read(path)? else { return Ok(None) };
    Ok(open_framed(KIND, FORMAT, &bytes).ok().map(|file| (file, bytes.len())))
}

/// Which reports go: states that a newer one replaces; then, beyond the bound, progress and the
/// last state, oldest first.
fn plan_drops(waiting: &BTreeMap<u64, Entry>) -> Vec<u64> {
    let mut kept = waiting.clone();
    let newest = waiting.iter().rev().find(|(_, entry)| entry.worth == Worth::State);
    let newest = newest.map(|(number, _)| *number);
    kept.retain(|number, entry| entry.worth != Worth::State || Some(*number) == newest);
    for worth in [Worth::Progress, Worth::State] {
        while is_over(&kept) {
            let oldest = kept.iter().find(|(_, entry)| entry.worth == worth);
            let Some(oldest) = oldest.map(|(number, _)| *number) else { break };
            kept.remove(&oldest);
        }
    }
    waiting.keys().filter(|number| !kept.contains_key(number)).copied().collect()
}

fn is_over(waiting: &BTreeMap<u64, Entry>) -> bool {
    let bytes: usize = waiting.values().map(|entry| entry.bytes).sum();
    waiting.len() > MOST_WAITING || bytes > MOST_BYTES
}

fn is_full(waiting: &BTreeMap<u64, Entry>) -> bool {
    let endings = waiting.values().filter(|entry| entry.worth == Worth::Ending);
    let (count, bytes) =
        endings.fold((0, 0), |(count, bytes), entry| (count + 1, bytes + entry.bytes));
    count >= MOST_WAITING || bytes >= MOST_BYTES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_entry() -> impl Strategy<Value = Entry> {
        let worth = prop_oneof![Just(Worth::Progress), Just(Worth::State), Just(Worth::Ending)];
        (worth, 100_usize..20_000).prop_map(|(worth, bytes)| Entry { worth, order: None, bytes })
    }

    proptest! {
        #[test]
        fn endings_are_never_dropped_and_the_bound_holds_unless_they_alone_break_it(
            entries in proptest::collection::vec(any_entry(), 0..400)
        ) {
            let waiting: BTreeMap<u64, Entry> = (1..).zip(entries).collect();
            let dropped = plan_drops(&waiting);
            prop_assert!(dropped.iter().all(|number| waiting[number].worth != Worth::Ending));
            let mut kept = waiting.clone();
            kept.retain(|number, _| !dropped.contains(number));
            prop_assert!(kept.values().filter(|entry| entry.worth == Worth::State).count() <= 1);
            if is_over(&kept) {
                prop_assert!(kept.values().all(|entry| entry.worth == Worth::Ending));
                prop_assert!(is_full(&kept));
            }
        }
    }
}
