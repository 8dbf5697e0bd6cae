//! What the server does by itself, without being asked: it numbers events, ends what is over,
//! notices silence, renews keys, signs checkpoints. What is to be done is decided in
//! `handover_engine::control`.
//!
//! Invariant: a role that only one replica may have is leased, and each of its writes checks the
//! lease's fence in its own transaction. Any replica may die at any instant.

mod checkpoints;
mod checks;
mod keys;
mod rollouts;
mod sequencer;
mod sweep;
mod webhooks;

use std::time::Duration;

use handover_store::{Database, Lease, StoreError, leases};

use crate::{AppState, StartError};

pub(crate) use keys::{CHANNEL_CA, LeafDates, ORDER_KEY, Wish};

/// How long a lease lasts; it is renewed at half of that.
const LEASE: Duration = Duration::from_secs(20);

/// Starts everything; `leaf` is the certificate that is shown now.
pub(crate) async fn start(state: &AppState, leaf: LeafDates) -> Result<(), StartError> {
    // A SQLite file has one server: one that was killed is not waited for.
    if matches!(state.store.database(), Database::Sqlite(_)) {
        state.store.write(leases::end_all).await?;
    }
    let seen = sequencer::newest(state).await?;
    state.agents.load(&state.store).await?;
    let waiting = state.rollouts.load(&state.store).await?;
    state.agents.mark_keys(waiting);
    tracing::info!(agents = state.agents.len(), "agents read");
    state.tasks.spawn(sequencer::run(state.clone(), seen));
    state.tasks.spawn(sweep::run(state.clone()));
    state.tasks.spawn(keys::run(state.clone(), leaf));
    state.tasks.spawn(checkpoints::run(state.clone()));
    state.tasks.spawn(webhooks::run(state.clone()));
    state.tasks.spawn(checks::run(state.clone()));
    state.tasks.spawn(rollouts::run(state.clone()));
    Ok(())
}

/// A server's turns, taken one by one by whoever simulates it.
#[cfg(feature = "simulation")]
#[derive(Debug)]
pub(crate) struct Turns {
    seen: u64,
    sequencer: Post,
    sweep: Post,
    rollouts: Post,
}

#[cfg(feature = "simulation")]
impl Turns {
    /// What [`start`] does, without starting anything.
    pub(crate) async fn start(state: &AppState) -> Result<Self, StartError> {
        state.store.write(leases::end_all).await?;
        let seen = sequencer::newest(state).await?;
        state.agents.load(&state.store).await?;
        let waiting = state.rollouts.load(&state.store).await?;
        state.agents.mark_keys(waiting);
        state.events.send_replace(seen);
        Ok(Self {
            seen,
            sequencer: Post::new(handover_store::sequencer::LEASE),
            sweep: Post::new("sweep"),
            rollouts: Post::new("rollouts"),
        })
    }

    pub(crate) async fn sequence(&mut self, state: &AppState) -> Result<(), StoreError> {
        sequencer::turn(state, &mut self.sequencer, &mut self.seen).await
    }

    pub(crate) async fn sweep(&mut self, state: &AppState) {
        sweep::turn(state, &mut self.sweep).await;
    }

    pub(crate) async fn rollouts(&mut self, state: &AppState) -> Result<(), StoreError> {
        rollouts::turn(state, &mut self.rollouts).await
    }
}

/// A role that only one replica has.
#[derive(Debug)]
struct Post {
    name: &'static str,
    lease: Option<Lease>,
}

impl Post {
    fn new(name: &'static str) -> Self {
        Self { name, lease: None }
    }

    /// The lease, renewed when it is time; `None` while another replica has it.
    async fn hold(&mut self, state: &AppState) -> Result<Option<Lease>, StoreError> {
        let now = state.now().wall;
        let is_young = |lease: &&Lease| now.after(LEASE / 2) < lease.until;
        if let Some(lease) = self.lease.as_ref().filter(is_young) {
            return Ok(Some(lease.clone()));
        }
        let (name, holder) = (self.name, state.holder.to_string());
        self.lease =
            state.store.write(move |tx| leases::acquire(tx, name, &holder, now, LEASE)).await?;
        Ok(self.lease.clone())
    }

    /// Gives the role back, so that another replica need not wait.
    async fn leave(self, state: &AppState) {
        if let Some(lease) = self.lease {
            let gone = state.store.write(move |tx| leases::release(tx, &lease)).await;
            if let Err(error) = gone {
                tracing::debug!(error = %error, "lease not given back");
            }
        }
    }
}

/// Waits; `false` once the server stops.
async fn pause(state: &AppState, length: Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(length) => true,
        () = state.stop.cancelled() => false,
    }
}

/// Notes a turn that failed. The next one begins anew from what is stored.
fn note<T>(what: &'static str, done: Result<T, StoreError>) -> Option<T> {
    match done {
        Ok(done) => Some(done),
        // Another replica took over, which is what leases are for.
        Err(StoreError::Fenced { .. }) => None,
        Err(error) => {
            tracing::warn!(task = what, error = %crate::Chain(&error), "task failed; it goes on");
            None
        }
    }
}
