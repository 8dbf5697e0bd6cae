//! What every handler shares.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use handover_model::wire::SignedDoc;
use handover_model::{AgentId, IdGen, Now, SessionId, Timestamp};
use handover_store::{Store, StoreError, agents};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::library::Library;
use crate::gateway::Index;
use crate::keys::Keys;
use crate::limits::Limiter;
use crate::tls::Shown;
use crate::webhooks::{Outbound, WebhookKey};
use crate::{Clock, Config, Problem};

/// What every handler shares. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState(Arc<Shared>);

/// See [`AppState`].
#[derive(Debug)]
pub struct Shared {
    /// What the server was started with.
    pub config: Config,
    /// The base address that stands in tokens: `https://control.example.com:8443`.
    pub public_url: String,
    /// The database.
    pub store: Store,
    /// Since when the server runs.
    pub started_at: Timestamp,
    /// The highest number that the sequencer gave to an event. A stream waits for it to change,
    /// then reads what is new from the database.
    pub events: watch::Sender<u64>,
    /// Cancelled when the server stops: whoever waits for something stops waiting.
    pub stop: CancellationToken,
    /// The repository, as it was verified last.
    pub(crate) library: Library,
    /// The life of the database.
    pub(crate) epoch: u64,
    /// This life of this replica, for leases.
    pub(crate) holder: SessionId,
    /// The names in the certificate.
    pub(crate) leaf_names: Vec<String>,
    /// Every living agent.
    pub(crate) agents: Index,
    /// Rollouts that are live.
    pub(crate) rollouts: crate::rollouts::Rollouts,
    /// Held by whoever takes the database's word over into memory.
    pub(crate) following: tokio::sync::Mutex<()>,
    pub(crate) keys: Keys,
    /// What the secrets of webhooks and checks follow from.
    pub(crate) webhook_key: WebhookKey,
    /// Calls of this server to somebody outside.
    pub(crate) outbound: Outbound,
    /// The certificate that is shown.
    pub(crate) shown: Arc<Shown>,
    /// The newest authorities, signed: the document that agents walk to, and its key's document.
    pub(crate) signed_ca: Mutex<Option<(u64, u64, SignedDoc)>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Mutex<IdGen>,
    pub(crate) limiter: Limiter,
    pub(crate) tasks: TaskTracker,
}

impl AppState {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Shared {
    /// Both clocks, read together.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Makes ids: `state.mint(|ids, now| OrderId::mint(ids, now))`.
    pub fn mint<T>(&self, make: impl FnOnce(&mut IdGen, Timestamp) -> T) -> T {
        let now = self.clock.now().wall;
        make(&mut self.ids.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    /// Says that a person changed the orders or the standing of an agent: one who waits here hears
    /// of it now. Agents that wait at other replicas hear of it by its event.
    pub(crate) fn orders_changed(&self, agent: AgentId) {
        self.agents.mark(agent);
    }

    /// What tokens pin: SHA-256 of the channel CA's certificates, the one in use first.
    pub fn ca_pins(&self) -> Vec<handover_model::Digest> {
        self.keys.channel.pins()
    }

    /// The channel CA's certificates, PEM, the one in use first: what a client may believe.
    pub fn ca_pems(&self) -> Vec<String> {
        self.keys.channel.authorities().document().certificates
    }

    /// The key that signs checkpoints of the audit trail.
    pub fn checkpoint_key(&self) -> &handover_trust::keys::SigningKey {
        &self.keys.checkpoint
    }

    /// Takes over into memory what the database says of an agent.
    pub(crate) async fn follow(&self, id: AgentId) -> Result<(), StoreError> {
        // One at a time: a later look is never undone by an earlier one.
        let _turn = self.following.lock().await;
        let agent = self.store.read(move |tx| agents::get(tx, id)).await?;
        self.agents.follow(id, agent.as_ref());
        Ok(())
    }

    /// The channel's authorities, signed, for an agent that holds an older document.
    pub(crate) fn newer_authorities(&self, held: u64) -> Result<Option<SignedDoc>, Problem> {
        let authorities = self.keys.channel.authorities();
        let number = authorities.number();
        if held >= number {
            return Ok(None);
        }
        let ring = self.keys.orders.ring();
        let mut cached = self.signed_ca.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, document)) =
            cached.as_ref().filter(|(ca, key, _)| (*ca, *key) == (number, ring.number()))
        {
            return Ok(Some(document.clone()));
        }
        let document = handover_trust::control::sign(&authorities.document(), ring.key())
            .map_err(|error| Problem::internal(&error))?;
        *cached = Some((number, ring.number(), document.clone()));
        Ok(Some(document))
    }
}
