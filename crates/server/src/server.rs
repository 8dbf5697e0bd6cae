//! Starting and stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use handover_model::{Digest, IdGen, SessionId, Timestamp, Version};
use handover_store::{Database, Options, Store, StoreError, meta};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::keys::{Keys, issuer_file};
use crate::limits::Limiter;
use crate::reconcile::LeafDates;
use crate::routes::Routes;
use crate::state::{AppState, Shared};
use crate::webhooks::{Outbound, WebhookKey};
use crate::{
    Clock, Config, RealClock, StartError, api, files, gateway, listen, login, real_world,
    reconcile, tls,
};

/// How long requests that are under way may take when the server stops.
const PATIENCE: Duration = Duration::from_secs(10);

/// The control plane.
#[derive(Debug)]
pub struct Server;

/// A server that runs.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// The login token that a first start made; it is nowhere else.
    pub first_login: Option<String>,
    state: AppState,
}

impl Server {
    /// Starts on the machine's clock.
    ///
    /// # Errors
    /// [`StartError`]; nothing is half-made then.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        Self::start_at(config, Arc::new(RealClock::start())).await
    }

    /// Starts on another clock.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_at(config: Config, clock: Arc<dyn Clock>) -> Result<Running, StartError> {
        let now = clock.now();
        files::make_private_dir(&config.data)?;
        let listener = bind(config.listen).await?;
        let address = listener
            .local_addr()
            .map_err(|source| StartError::Listen { address: config.listen, source })?;
        let database = database(&config)?;
        let keys = Keys::open(&config.data, has_database(&database), now.wall)?;
        check_dates(&config.data, &keys, now.wall)?;
        let store = open_store(database, now.wall).await?;
        let seed = real_world::random()
            .map_err(|source| StartError::System { act: "read /dev/urandom", source })?;
        let public_url = public_url(&config, address);
        let Assembled { state, dates, shown, router } =
            assemble(config, public_url, clock, keys, store, *seed).await?;
        let tls = tls::config(shown)?;
        let first_login = login::first(&state).await?;
        reconcile::start(&state, dates).await?;
        state.tasks.spawn(listen::serve(listener, tls, router, state.clone()));
        tracing::info!(server.address = %address, "server started");
        Ok(Running { address, first_login, state })
    }
}

/// A server's parts, before anything runs.
pub(crate) struct Assembled {
    pub(crate) state: AppState,
    /// The certificate that is shown.
    pub(crate) dates: LeafDates,
    pub(crate) shown: Arc<tls::Shown>,
    pub(crate) router: axum::Router,
}

/// Puts a server together around an open database.
pub(crate) async fn assemble(
    config: Config,
    public_url: String,
    clock: Arc<dyn Clock>,
    keys: Keys,
    store: Store,
    seed: [u8; 32],
) -> Result<Assembled, StartError> {
    let now = clock.now();
    check_keys(&config.data, &keys, &store).await?;
    let webhook_key = WebhookKey::open(&config.data.join("keys"), &store).await?;
    let epoch = store.read(meta::epoch).await?;
    let leaf_names = names(&config);
    let leaf = keys.channel.authorities().issuer().issue(&leaf_names, now.wall)?;
    let dates = LeafDates::of(&leaf);
    let shown = tls::Shown::new(leaf.certified);
    let mut ids = IdGen::new(seed);
    let holder = SessionId::mint(&mut ids, now.wall);
    let state = AppState::new(Shared {
        holder,
        public_url,
        store,
        started_at: now.wall,
        events: watch::Sender::new(0),
        stop: CancellationToken::new(),
        library: api::library::Library::new(&config),
        epoch,
        leaf_names,
        agents: gateway::Index::default(),
        rollouts: crate::rollouts::Rollouts::default(),
        following: tokio::sync::Mutex::default(),
        keys,
        webhook_key,
        outbound: Outbound::default(),
        shown: Arc::clone(&shown),
        signed_ca: std::sync::Mutex::default(),
        clock,
        ids: ids.into(),
        limiter: Limiter::new(&config.limits, now.mono),
        tasks: TaskTracker::new(),
        config,
    });
    let router = gateway::mount(api::mount(Routes::new(state.clone()))).finish()?;
    Ok(Assembled { state, dates, shown, router })
}

impl Running {
    /// What handlers share.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Stops: takes no more, answers what is under way, closes the database.
    pub async fn stop(self) {
        self.state.stop.cancel();
        self.state.tasks.close();
        if tokio::time::timeout(PATIENCE, self.state.tasks.wait()).await.is_err() {
            tracing::warn!("stopped with requests under way");
        }
        tracing::info!("server stopped");
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| {
        if source.kind() == std::io::ErrorKind::AddrInUse {
            StartError::AddressInUse { address }
        } else {
            StartError::Listen { address, source }
        }
    })
}

pub(crate) fn database(config: &Config) -> Result<Database, StartError> {
    match &config.database {
        Some(text) => text.parse().map_err(|source| StartError::DatabaseName { source }),
        None => Ok(Database::Sqlite(config.data.join("handover.db"))),
    }
}

/// Whether there is a database already that may know keys. PostgreSQL's is looked at when it is
/// open.
pub(crate) fn has_database(database: &Database) -> bool {
    match database {
        Database::Sqlite(path) => path.exists(),
        Database::Postgres(_) => false,
    }
}

async fn open_store(database: Database, now: Timestamp) -> Result<Store, StartError> {
    let opened = tokio::task::spawn_blocking(move || Store::open(&database, &options(now)));
    let opened = opened.await.map_err(|_panicked| handover_store::StoreError::Panicked)?;
    Ok(opened?)
}

/// The first order keys tell a server's keys from any other's; the database remembers them.
async fn check_keys(data: &Utf8Path, keys: &Keys, store: &Store) -> Result<(), StartError> {
    const KNOWN: &str = "first_order_keys";
    let ring = keys.orders.ring();
    let first = ring.documents().first().map(|document| document.0.to_string());
    let ours = Digest::of(first.unwrap_or_default().as_bytes()).to_string();
    let known = store.write(move |tx| -> Result<bool, StoreError> {
        if let Some(known) = meta::get(tx, KNOWN)? {
            return Ok(known == ours);
        }
        meta::set(tx, KNOWN, &ours)?;
        Ok(true)
    });
    if known.await? {
        return Ok(());
    }
    let (path, database) = (data.join("keys"), store.database().to_string());
    Err(StartError::KeysForeign { path, database })
}

/// How this program opens its database at `now`.
pub(crate) fn options(now: Timestamp) -> Options {
    let program: Version = env!("CARGO_PKG_VERSION").parse().expect("a crate has a version");
    Options::new(program, now)
}

fn check_dates(data: &Utf8Path, keys: &Keys, now: Timestamp) -> Result<(), StartError> {
    let authorities = keys.channel.authorities();
    let issuer = authorities.issuer();
    let path = issuer_file(data, issuer);
    if now < issuer.not_before {
        return Err(StartError::ClockBehind { path, now, made: issuer.not_before });
    }
    if now >= issuer.not_after {
        return Err(StartError::CaExpired { path, expired: issuer.not_after });
    }
    Ok(())
}

/// What stands in the certificate: the names that were given, and this machine's own.
fn names(config: &Config) -> Vec<String> {
    let mut names = config.names.clone();
    if !config.listen.ip().is_unspecified() {
        names.push(config.listen.ip().to_string());
    }
    for own in ["localhost", "127.0.0.1", "::1"] {
        names.push(own.to_owned());
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

fn public_url(config: &Config, address: SocketAddr) -> String {
    if let Some(url) = &config.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let name = config.names.first().cloned().unwrap_or_else(|| {
        if address.ip().is_unspecified() {
            "localhost".to_owned()
        } else {
            address.ip().to_string()
        }
    });
    let name = if name.contains(':') { format!("[{name}]") } else { name };
    format!("https://{name}:{}", address.port())
}
