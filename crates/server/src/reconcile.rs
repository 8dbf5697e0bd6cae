//! What the server does by itself. Each role is held under a lease by one replica at a time, and
//! every write of a role checks the lease's fence in its own transaction, so that a replica that
//! slept through its lease can't write (DESIGN 9).
//!
//! Invariant: a role keeps nothing in memory that it could not read again: it may be killed
//! between any two instructions.

mod keeper;
mod sequencer;

use std::time::Duration;

use handover_store::leases::{self, Lease};
use handover_store::{Database, Store, StoreError};

use crate::{AppState, Chain};

/// How long a lease holds. A replica that dies is replaced after this long.
const LENGTH: Duration = Duration::from_secs(10);
/// How much of a lease may pass before it is renewed.
const RENEW_AFTER: Duration = Duration::from_secs(4);
/// How long a role rests after the database failed it.
const REST: Duration = Duration::from_secs(1);

/// Starts every role. A server that was killed is not waited for where it can't live any more:
/// a SQLite file has one server.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn start(state: &AppState) -> Result<(), StoreError> {
    if matches!(state.store.database(), Database::Sqlite(_)) {
        state.store.write(leases::end_all).await?;
    }
    state.tasks.spawn(sequencer::run(state.clone()));
    state.tasks.spawn(keeper::run(state.clone()));
    Ok(())
}

/// A role's hold on its lease.
#[derive(Debug)]
struct Hold {
    role: &'static str,
    holder: String,
    lease: Option<Lease>,
}

impl Hold {
    fn new(state: &AppState, role: &'static str) -> Self {
        // Drawn for this life of the process: a restarted one is another holder.
        Self { role, holder: state.holder.to_string(), lease: None }
    }

    /// The lease, taken or renewed as needed; `None` while another replica has it.
    async fn keep(&mut self, state: &AppState) -> Result<Option<Lease>, StoreError> {
        let now = state.now().wall;
        let fresh = |lease: &&Lease| lease.until.since(now) > LENGTH.saturating_sub(RENEW_AFTER);
        if let Some(lease) = self.lease.as_ref().filter(fresh) {
            return Ok(Some(lease.clone()));
        }
        let (role, holder) = (self.role, self.holder.clone());
        let taken = state.store.write(move |tx| leases::acquire(tx, role, &holder, now, LENGTH));
        self.lease = taken.await?;
        Ok(self.lease.clone())
    }

    /// After a failure: the next round looks at the lease again.
    async fn fail(&mut self, state: &AppState, error: &StoreError) {
        tracing::warn!(role = self.role, error = %Chain(error), "role rests");
        self.lease = None;
        pause(state, REST).await;
    }

    /// Gives the lease back, so that nobody waits for it to run out.
    async fn release(self, store: &Store) {
        if let Some(lease) = self.lease {
            // If it fails, the lease runs out by itself.
            let _left = store.write(move |tx| leases::release(tx, &lease)).await;
        }
    }
}

/// Waits, unless the server stops first.
async fn pause(state: &AppState, length: Duration) {
    tokio::select! {
        () = tokio::time::sleep(length) => {}
        () = state.stop.cancelled() => {}
    }
}
