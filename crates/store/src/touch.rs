//! Check-ins: the hot path. All that come in while the last flush runs share one transaction, and
//! one allocation.

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use crate::StoreError;

/// An agent's row: small enough for every check-in. The database hands it out and no other
/// database knows it; people and wires see the agent's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentKey(pub(crate) i64);

impl AgentKey {
    /// The row's number.
    pub fn as_i64(self) -> i64 {
        self.0
    }

    /// Takes a number that [`AgentKey::as_i64`] gave.
    pub fn from_i64(key: i64) -> Self {
        Self(key)
    }
}

/// Check-ins that will be made durable together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    rows: Vec<(i64, i64)>,
    done: Arc<Done>,
}

/// Says when a batch is durable.
#[derive(Debug, Default)]
pub(crate) struct Done {
    settled: Notify,
    verdict: OnceLock<Result<(), StoreError>>,
}

impl Batch {
    /// Adds one: agent and time.
    pub(crate) fn add(&mut self, agent: i64, at: i64) -> Arc<Done> {
        self.rows.push((agent, at));
        Arc::clone(&self.done)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Sorts them by agent, so that neighbours share pages, and that two writers can't wait for
    /// each other; of several by one agent the last counts.
    pub(crate) fn sort(&mut self) {
        self.rows.sort_unstable();
        self.rows.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 = later.1;
            }
            same
        });
    }

    /// Agents and times.
    pub(crate) fn rows(&self) -> &[(i64, i64)] {
        &self.rows
    }

    /// Answers everybody.
    pub(crate) fn settle(self, verdict: Result<(), StoreError>) {
        // Each batch is settled once: it is consumed.
        let _ = self.done.verdict.set(verdict);
        self.done.settled.notify_waiters();
    }
}

impl Done {
    /// Waits until the batch is durable, or failed.
    pub(crate) async fn wait(&self) -> Result<(), StoreError> {
        let mut settled = std::pin::pin!(self.settled.notified());
        // Registered before the look, so that no notification falls between the two.
        settled.as_mut().enable();
        if let Some(verdict) = self.verdict.get() {
            return verdict.clone();
        }
        settled.await;
        self.verdict.get().cloned().unwrap_or(Err(StoreError::Closed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_check_ins_of_one_agent_the_last_counts() {
        let mut batch = Batch::default();
        for (agent, at) in [(2, 5), (1, 9), (2, 7), (2, 6)] {
            batch.add(agent, at);
        }
        batch.sort();
        assert_eq!(batch.rows(), [(1, 9), (2, 7)]);
    }
}
