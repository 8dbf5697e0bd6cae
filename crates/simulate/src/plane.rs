//! The server's process: up or down, on a database that outlives it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Body;
use handover_model::api::{ApiTokenInfo, Permission, TokenState};
use handover_model::wire::{PROTOCOL, PROTOCOL_HEADER, SignedDoc, secret_digest};
use handover_model::{IdGen, Now, TokenId};
use handover_server::simulation::{Plane as Process, database_options};
use handover_server::{Clock, Config};
use handover_store::{Fate, Inline, StoreError, Tx, api_tokens};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::dice::{Dice, Purpose, seed_of};
use crate::shelf::{Shelf, beginning};

/// The secret of the person who acts.
const ADMIN: &str = "the-secret-of-the-person-who-acts";

/// A clock that the world moves.
#[derive(Debug, Default)]
pub(crate) struct SimClock {
    micros: AtomicU64,
}

impl SimClock {
    pub(crate) fn set(&self, at: Duration) {
        let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        self.micros.store(micros, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Now {
        let mono = Duration::from_micros(self.micros.load(Ordering::SeqCst));
        // The monotonic clock of a server that runs is never at zero.
        Now { wall: beginning().after(mono), mono: mono + Duration::from_hours(1) }
    }
}

/// How often a write kills the server, in a million; shared with the database.
#[derive(Debug)]
struct Doom {
    dice: Dice,
    before: u64,
    after: u64,
}

/// The server.
pub(crate) struct Plane {
    runtime: Runtime,
    config: Config,
    clock: Arc<SimClock>,
    database: Arc<Inline>,
    process: Option<Process>,
    doom: Arc<Mutex<Doom>>,
    seed: u64,
    lives: u64,
    /// Whether nobody was told of a death.
    is_alive: bool,
}

/// An answer: status and body.
pub(crate) type Answer = (u16, Vec<u8>);

impl Plane {
    pub(crate) fn start(seed: u64, shelf: &Shelf) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .context("make a runtime")?;
        let database = Inline::new(&database_options(beginning()))?;
        let dice = Dice::new(seed, Purpose::Server);
        let doom = Arc::new(Mutex::new(Doom { dice, before: 0, after: 0 }));
        let fates = Arc::clone(&doom);
        database.set_fates(Box::new(move || {
            let mut doom = fates.lock().unwrap_or_else(PoisonError::into_inner);
            let (before, after) = (doom.before, doom.after);
            if doom.dice.chance(before) {
                Fate::DiesBefore
            } else if doom.dice.chance(after) {
                Fate::DiesAfter
            } else {
                Fate::Goes
            }
        }));
        let mut plane = Self {
            runtime,
            config: shelf.config.clone(),
            clock: Arc::new(SimClock::default()),
            database,
            process: None,
            doom,
            seed,
            lives: 0,
            is_alive: false,
        };
        plane.up()?;
        plane.write(|tx| {
            let mut ids = IdGen::new([3; 32]);
            let info = ApiTokenInfo {
                id: TokenId::mint(&mut ids, beginning()),
                name: "operator".to_owned(),
                state: TokenState::Open,
                permissions: [Permission::Admin].into(),
                created_by: "simulation".to_owned(),
                created_at: beginning(),
                expires: None,
                revoked_at: None,
                generation: 1,
            };
            api_tokens::insert(tx, &info, &secret_digest(ADMIN))
        })?;
        Ok(plane)
    }

    pub(crate) fn clock(&self) -> &Arc<SimClock> {
        &self.clock
    }

    /// From now on this many writes in a million kill the server.
    pub(crate) fn set_doom(&self, before: u64, after: u64) {
        let mut doom = self.doom.lock().unwrap_or_else(PoisonError::into_inner);
        (doom.before, doom.after) = (before, after);
    }

    /// Starts a process on the database.
    pub(crate) fn up(&mut self) -> anyhow::Result<()> {
        self.database.revive();
        self.is_alive = true;
        self.lives += 1;
        let seed = seed_of(self.seed.wrapping_add(self.lives << 32), Purpose::Ids);
        let own = Arc::clone(&self.clock);
        let clock: Arc<dyn Clock> = own;
        let opened = Process::open(self.config.clone(), clock, &self.database, seed);
        match self.runtime.block_on(opened) {
            Ok(process) => {
                self.process = Some(process);
                Ok(())
            }
            // It died while it started.
            Err(_) if self.database.is_dead() => Ok(()),
            Err(error) => Err(error).context("start the server"),
        }
    }

    /// Kills the process.
    pub(crate) fn kill(&mut self) {
        self.database.kill();
        self.process = None;
    }

    pub(crate) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Whether the process died since this was asked last; then it is gone.
    pub(crate) fn bury(&mut self) -> bool {
        let died = self.is_alive && self.database.is_dead();
        if died {
            self.process = None;
            self.is_alive = false;
        }
        died
    }

    /// The order keys that enrolment brings, and the channel's certificates.
    pub(crate) fn trust(&self) -> anyhow::Result<(Vec<SignedDoc>, Vec<String>)> {
        let process = self.process.as_ref().context("the server is up")?;
        Ok((process.order_keys(), process.state().ca_pems()))
    }

    /// A sync of an agent; `None` where the server is down or dies of it.
    pub(crate) fn sync(&mut self, secret: &str, body: Vec<u8>) -> Option<Answer> {
        let request = http::Request::post("/agent/v1/sync")
            .header("authorization", format!("Bearer {secret}"))
            .header(PROTOCOL_HEADER, PROTOCOL.to_string())
            .header("content-type", "application/json")
            .body(Body::from(body))
            .ok()?;
        self.answer(request)
    }

    /// What a person asks of the API; `None` where the server is down or dies of it.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Option<(u16, Value)> {
        let bytes = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let request = http::Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {ADMIN}"))
            .header("content-type", "application/json")
            .body(Body::from(bytes))
            .ok()?;
        let (status, bytes) = self.answer(request)?;
        Some((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    fn answer(&mut self, request: http::Request<Body>) -> Option<Answer> {
        let answer = self.process.as_ref()?.answer(request);
        let answered = self.runtime.block_on(async move {
            let response = answer.await;
            let status = response.status().as_u16();
            response.into_body().collect().await.ok().map(|body| (status, body.to_bytes().to_vec()))
        });
        answered.filter(|_| !self.database.is_dead())
    }

    /// One turn of the sequencer.
    pub(crate) fn sequence(&mut self) -> anyhow::Result<()> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let turned = self.runtime.block_on(process.sequence());
        self.unless_dead(turned)
    }

    /// One turn of whoever decides rollouts.
    pub(crate) fn roll(&mut self) -> anyhow::Result<()> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let turned = self.runtime.block_on(process.rollouts());
        self.unless_dead(turned)
    }

    /// One sweep.
    pub(crate) fn sweep(&mut self) {
        let Some(process) = &mut self.process else { return };
        self.runtime.block_on(process.sweep());
    }

    fn unless_dead(&self, done: Result<(), StoreError>) -> anyhow::Result<()> {
        match done {
            Err(StoreError::Fenced { .. }) | Ok(()) => Ok(()),
            Err(_) if self.database.is_dead() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks into the database, as nobody in the story can; `None` while it is dead.
    ///
    /// # Panics
    /// When a look fails for another reason: a check that can't look must not pass.
    pub(crate) fn read<T: Send + 'static>(
        &self,
        look: impl Fn(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Option<T> {
        let process = self.process.as_ref()?;
        match self.runtime.block_on(process.state().store.read(look)) {
            Ok(seen) => Some(seen),
            Err(_) if self.database.is_dead() => None,
            Err(error) => panic!("a look into the simulated database failed: {error}"),
        }
    }

    /// Writes what was there before the story began.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        change: impl Fn(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> anyhow::Result<T> {
        let process = self.process.as_ref().context("the server is up")?;
        Ok(self.runtime.block_on(process.state().store.write(change))?)
    }
}
