//! A control plane without threads, sockets and a clock of its own: the production gateway, API
//! and reconcilers, each taken one turn at a time by a simulator.
//!
//! A server that dies is dropped; the next one is opened on the same
//! [`handover_store::Inline`] database.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use camino::Utf8Path;
use handover_model::Timestamp;
use handover_store::{Inline, Options, Store, StoreError};
use tower::ServiceExt as _;

use crate::keys::Keys;
use crate::reconcile::Turns;
use crate::server::{Assembled, assemble, options};
use crate::{AppState, Clock, Config, StartError, gateway};

/// One life of a server process.
#[derive(Debug)]
pub struct Plane {
    state: AppState,
    router: Router,
    turns: Turns,
}

/// How such a database is opened at `now`.
pub fn database_options(now: Timestamp) -> Options {
    options(now)
}

/// Makes the keys of a server in `data`, as its first start does.
///
/// # Errors
/// [`StartError`] when the disk refuses.
pub fn make_keys(data: &Utf8Path, now: Timestamp) -> Result<(), StartError> {
    Keys::open(data, false, now).map(drop)
}

impl Plane {
    /// Starts a server on `database`, with the keys that [`make_keys`] made in its data directory.
    ///
    /// # Errors
    /// As [`crate::Server::start`].
    pub async fn open(
        config: Config,
        clock: Arc<dyn Clock>,
        database: &Arc<Inline>,
        seed: [u8; 32],
    ) -> Result<Self, StartError> {
        let now = clock.now().wall;
        let keys = Keys::open(&config.data, true, now)?;
        let store = Store::simulated(database, &options(now));
        let url = "https://control.example.com".to_owned();
        let Assembled { state, router, .. } =
            assemble(config, url, clock, keys, store, seed).await?;
        let turns = Turns::start(&state).await?;
        Ok(Self { state, router, turns })
    }

    /// What handlers share.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Answers a request as the listener would.
    pub fn answer(&self, request: Request) -> impl Future<Output = Response> + Send + 'static {
        let (state, router) = (self.state.clone(), self.router.clone());
        async move {
            if request.uri().path() == gateway::SYNC && request.method() == http::Method::POST {
                return gateway::sync(&state, request).await;
            }
            match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    }

    /// The order keys that an enrolment brings, the first one first.
    pub fn order_keys(&self) -> Vec<handover_model::wire::SignedDoc> {
        self.state.keys.orders.ring().documents().to_vec()
    }

    /// One turn of the sequencer: numbers what was written, and follows it in memory.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn sequence(&mut self) -> Result<(), StoreError> {
        self.turns.sequence(&self.state).await
    }

    /// One turn of whoever decides rollouts.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed; the next turn begins from what is stored.
    pub async fn rollouts(&mut self) -> Result<(), StoreError> {
        self.turns.rollouts(&self.state).await
    }

    /// When rollouts want to be looked at, although nothing happens until then.
    pub fn rollouts_look_at(&self) -> Option<Timestamp> {
        crate::rollouts::next_look(&self.state)
    }

    /// One sweep: what is over by time alone.
    pub async fn sweep(&mut self) {
        self.turns.sweep(&self.state).await;
    }
}
