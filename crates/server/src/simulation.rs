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
use handover_engine::rollout::controller::{Act, Progress};
use handover_model::api::{RevertRequest, RolloutInfo, RolloutKind, RolloutSpec};
use handover_model::{RolloutId, RolloutName, Timestamp};
use handover_store::rollouts::{self, NewRollout};
use handover_store::{Inline, Options, Store, StoreError, events};
use tower::ServiceExt as _;

use crate::keys::Keys;
use crate::reconcile::Turns;
use crate::rollouts::{ActError, Cancel, How, act, as_text, info_of, made};
use crate::server::{Assembled, assemble, options};
use crate::{AppState, Clock, Config, StartError, gateway};

/// Who acts.
const PERSON: &str = "operator";

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

    /// Makes a rollout, unchecked; `None` where one of its name is there and not over.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn make_rollout(&self, spec: RolloutSpec) -> Result<Option<RolloutId>, StoreError> {
        let now = self.state.now().wall;
        let progress = as_text(&Progress::new(now))?;
        let (id, by) = (self.state.mint(RolloutId::mint), PERSON.to_owned());
        let new = NewRollout { id, kind: RolloutKind::Update, progress, spec, by };
        let write = self.state.store.write(move |tx| -> Result<bool, StoreError> {
            let same = rollouts::by_name(tx, &new.spec.name)?;
            if same.is_some_and(|same| same.ended_at.is_none()) {
                return Ok(false);
            }
            rollouts::insert(tx, &new, now)?;
            events::insert(tx, &made(&new, now))?;
            Ok(true)
        });
        if !write.await? {
            return Ok(None);
        }
        self.state.rollouts.follow_row(&self.state.store, id).await?;
        Ok(Some(id))
    }

    /// How a rollout stands, by its name or its id.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn rollout(&self, name: &str) -> Result<Option<RolloutInfo>, StoreError> {
        let (id, name) = (name.parse::<RolloutId>().ok(), name.parse::<RolloutName>().ok());
        let found = self.state.store.read(move |tx| match (id, &name) {
            (Some(id), _) => rollouts::get(tx, id),
            (None, Some(name)) => rollouts::by_name(tx, name),
            (None, None) => Ok(None),
        });
        match found.await? {
            Some(row) => info_of(&self.state, row).await.map(Some),
            None => Ok(None),
        }
    }

    /// A person's act on a rollout; what is refused is `Err` inside.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn act(
        &self,
        rollout: RolloutId,
        deed: Act,
        does_cancel: bool,
    ) -> Result<Result<(), String>, StoreError> {
        let now = self.state.now().wall;
        let row = self.state.store.read(move |tx| rollouts::get(tx, rollout)).await?;
        let Some(row) = row else { return Ok(Err("there is no such rollout".to_owned())) };
        let is_revert = matches!(deed, Act::Revert { .. });
        let words = "a person said so".to_owned();
        let how = How {
            what: "rollout.act",
            who: PERSON.to_owned(),
            reason: None,
            cancel: does_cancel.then_some(Cancel { code: "rollout.cancelled", words }),
            more: serde_json::json!({}),
            revert: is_revert.then(|| (self.state.mint(RolloutId::mint), RevertRequest::default())),
            superseded_by: None,
        };
        let key = row.key;
        let acted = self.state.store.write(move |tx| act(tx, key, None, &deed, &how, now)).await;
        match acted {
            Ok(done) => {
                for id in std::iter::once(rollout).chain(done.revert) {
                    self.state.rollouts.follow_row(&self.state.store, id).await?;
                }
                Ok(Ok(()))
            }
            Err(ActError::Refused(why)) => Ok(Err(why.to_string())),
            Err(ActError::Store(error)) => Err(error),
        }
    }
}
