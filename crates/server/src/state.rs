//! What every handler shares.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use handover_model::{AgentId, IdGen, Now, SessionId, Timestamp};
use handover_store::Store;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::library::Library;
use crate::keys::Keys;
use crate::limits::Limiter;
use crate::{Clock, Config};

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
    /// Whose orders or standing were changed by people: the gateway looks at these again.
    pub(crate) changed: broadcast::Sender<AgentId>,
    /// This life of this replica, for leases.
    pub(crate) holder: SessionId,
    pub(crate) keys: Keys,
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

    /// Says that a person changed the orders or the standing of an agent.
    pub(crate) fn orders_changed(&self, agent: AgentId) {
        // Without a gateway that listens there is nobody to tell.
        let _heard = self.changed.send(agent);
    }

    /// What tokens pin: SHA-256 of the channel CA's certificates, the one in use first.
    pub fn ca_pins(&self) -> Vec<handover_model::Digest> {
        self.keys.channel.pins()
    }

    /// The key that signs checkpoints of the audit trail.
    pub fn checkpoint_key(&self) -> &handover_trust::keys::SigningKey {
        &self.keys.checkpoint
    }
}
