//! Reports on their way to the control plane: numbered, signed, bounded. What is durable of them
//! goes out as effects.
//!
//! Invariants: a number is never used twice; the report of an order's ending is never dropped;
//! beyond its bound the outbox drops progress first, then older states. When endings alone fill
//! it, no order begins.

use std::collections::BTreeMap;

use handover_model::wire::{Report, ReportBody, SignedDoc};
use handover_model::{AgentId, OrderId, SessionId, Timestamp, open_framed};
use handover_trust::control::sign;
use handover_trust::keys::SigningKey;
use serde::{Deserialize, Serialize};

use super::{Effects, File, sealed};
use crate::failure::Failure;

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

/// A report's file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    worth: Worth,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<OrderId>,
    doc: SignedDoc,
}

/// The file of numbers.
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

/// What lies in a report's file.
#[derive(Debug)]
pub enum Found {
    /// A report that waits.
    Waits(Waiting),
    /// A report of whom this host was before: no control plane takes it from this one.
    OfAnother,
    /// Nothing that can be read. It is not taken for sent: orders' endings are in the ledger too.
    Damaged,
}

/// A report that waits.
#[derive(Debug)]
pub struct Waiting(Entry);

impl Found {
    /// Reads a report's file for `agent`.
    pub fn read(bytes: &[u8], agent: AgentId) -> Self {
        let file = File::Report(0);
        let Ok(kept) = open_framed::<Kept>(file.kind(), file.format(), bytes) else {
            return Self::Damaged;
        };
        let of = kept.doc.0.pointer("/signed/agent").and_then(|id| id.as_str());
        if of != Some(agent.to_string().as_str()) {
            return Self::OfAnother;
        }
        let bytes = bytes.len();
        Self::Waits(Waiting(Entry { worth: kept.worth, order: kept.order, bytes }))
    }
}

/// The document in a report's file; `None` where it is damaged.
pub fn document(bytes: &[u8]) -> Option<SignedDoc> {
    let file = File::Report(0);
    open_framed::<Kept>(file.kind(), file.format(), bytes).ok().map(|kept| kept.doc)
}

/// The first number that was surely not used, as the file of numbers says.
pub fn first_free(bytes: &[u8]) -> Result<u64, handover_model::FramedError> {
    let file = File::Numbers;
    open_framed::<Numbers>(file.kind(), file.format(), bytes).map(|numbers| numbers.reserved)
}

/// The outbox of one agent.
#[derive(Debug)]
pub(super) struct Outbox {
    agent: AgentId,
    session: SessionId,
    key: SigningKey,
    next: u64,
    reserved: u64,
    waiting: BTreeMap<u64, Entry>,
}

impl Outbox {
    /// The outbox that holds `waiting`; no number below `free` is used again.
    pub(super) fn open(
        agent: AgentId,
        session: SessionId,
        key: SigningKey,
        free: u64,
        waiting: BTreeMap<u64, Waiting>,
    ) -> Self {
        let used = waiting.keys().next_back().map_or(0, |last| last.saturating_add(1));
        let next = free.max(used).max(1);
        let waiting = waiting.into_iter().map(|(number, waits)| (number, waits.0)).collect();
        Self { agent, session, key, next, reserved: next, waiting }
    }

    /// Signs a report and puts it in, durably.
    ///
    /// # Errors
    /// [`Failure::Verify`] for what has no canonical form.
    pub(super) fn push(
        &mut self,
        body: ReportBody,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Failure> {
        let (worth, order) = match &body {
            ReportBody::State(_) => (Worth::State, None),
            ReportBody::Order(report) if report.stage.is_final() => {
                (Worth::Ending, Some(report.order))
            }
            ReportBody::Order(report) => (Worth::Progress, Some(report.order)),
        };
        self.put(worth, order, body, now, effects)
    }

    /// As [`Self::push`], for an answer that may be dropped though it is final: the order is not
    /// in this host's ledger, so that nothing rests on it.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(super) fn push_aside(
        &mut self,
        body: ReportBody,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Failure> {
        let order = match &body {
            ReportBody::State(_) => None,
            ReportBody::Order(report) => Some(report.order),
        };
        if order.is_none_or(|order| !self.mentions(order)) {
            self.put(Worth::Progress, order, body, now, effects)?;
        }
        Ok(())
    }

    fn put(
        &mut self,
        worth: Worth,
        order: Option<OrderId>,
        body: ReportBody,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Failure> {
        let number = self.number(effects)?;
        let report = Report {
            type_: Report::TYPE.to_owned(),
            agent: self.agent,
            number,
            session: self.session,
            at: now,
            body,
        };
        let kept = Kept { worth, order, doc: sign(&report, &self.key)? };
        let bytes = sealed(File::Report(number), &kept)?;
        self.waiting.insert(number, Entry { worth, order, bytes: bytes.len() });
        effects.write(File::Report(number), bytes);
        for surplus in plan_drops(&self.waiting) {
            self.forget(surplus);
            effects.remove(File::Report(surplus));
        }
        Ok(())
    }

    /// The numbers of the oldest reports, at most `most` of at most `bytes` bytes together, but
    /// one at least.
    pub(super) fn batch(&self, most: usize, bytes: usize) -> Vec<u64> {
        let mut left = bytes;
        let mut numbers = Vec::new();
        for (number, entry) in &self.waiting {
            if numbers.len() >= most || (entry.bytes > left && !numbers.is_empty()) {
                break;
            }
            left = left.saturating_sub(entry.bytes);
            numbers.push(*number);
        }
        numbers
    }

    /// Takes away what the control plane keeps: every report up to `number`. A number that was
    /// never given out says nothing.
    pub(super) fn acknowledge(&mut self, number: u64, effects: &mut Effects) {
        if number >= self.next {
            tracing::warn!(number, "a report is acknowledged that was never made; ignored");
            return;
        }
        let kept = self.waiting.split_off(&number.saturating_add(1));
        for number in std::mem::replace(&mut self.waiting, kept).into_keys() {
            effects.remove(File::Report(number));
        }
    }

    /// Leaves out a report whose file can't be read.
    pub(super) fn forget(&mut self, number: u64) {
        self.waiting.remove(&number);
    }

    /// Whether any report of `order` waits.
    fn mentions(&self, order: OrderId) -> bool {
        self.waiting.values().any(|entry| entry.order == Some(order))
    }

    /// Whether a report of how `order` ended waits.
    pub(super) fn holds_ending(&self, order: OrderId) -> bool {
        let ending = |entry: &Entry| entry.worth == Worth::Ending && entry.order == Some(order);
        self.waiting.values().any(ending)
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether so many endings wait that nothing new may begin.
    pub(super) fn is_full(&self) -> bool {
        is_full(&self.waiting)
    }

    /// The next number, reserved durably before it is used.
    fn number(&mut self, effects: &mut Effects) -> Result<u64, Failure> {
        if self.next >= self.reserved {
            let reserved = self.next.saturating_add(RESERVED);
            effects.write(File::Numbers, sealed(File::Numbers, &Numbers { reserved })?);
            self.reserved = reserved;
        }
        let number = self.next;
        self.next = number.saturating_add(1);
        Ok(number)
    }
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
