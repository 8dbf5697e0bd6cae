//! What the control plane's threads share: the core, behind one lock, and the bell that wakes the
//! one that sends.
//!
//! Invariant: whatever the core wants durable is durable before anybody acts on its word; if it
//! can't be, the core is dropped, and the next conversation begins from what is on the disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use camino::Utf8PathBuf;
use handover_engine::orders::OrderLedger;
use handover_hoststeps::{HostError, disk};
use handover_model::wire::{ChannelCa, SignedDoc};
use handover_model::{FramedError, OrderId, SessionId};
use handover_trust::control::OrderKeys;

use super::core::outbox::{self, Found, Waiting, first_free};
use super::core::{Core, Effect, File, Input, Opening, Turn};
use super::enrolment::{machine, own_version};
use super::identity::{ControlFiles, Identity};
use super::standing::Standing;
use crate::agent::Agent;
use crate::failure::{Failure, chain};
use crate::home::Home;
use crate::real_world::Bell;

/// The shared desk.
pub struct Desk {
    files: ControlFiles,
    ledger: Utf8PathBuf,
    held: Mutex<Held>,
    closing: AtomicBool,
    bell: Bell,
}

struct Held {
    /// Gone once something that it wanted durable could not be.
    core: Option<Core>,
    /// What the thread that talks is to do. It may be late, never early.
    errands: VecDeque<Effect>,
}

/// Where the ledger of orders lies.
pub fn ledger_path(home: &Home) -> Utf8PathBuf {
    home.root().join("trust/orders.json")
}

/// Begins a ledger where there is none: when a host enrols. What is there stays: a host that
/// enrols again forgets nothing.
///
/// # Errors
/// [`Failure`] when the disk fails.
pub fn set_up(home: &Home) -> Result<(), Failure> {
    let bytes = OrderLedger::default()
        .seal()
        .map_err(|error| Failure::Refused { code: "orders.damaged", reason: chain(&error) })?;
    disk::write_new(&ledger_path(home), &bytes, 0o600)?;
    Ok(())
}

/// Reads the ledger.
///
/// # Errors
/// [`Failure::Host`] when it is damaged, or gone, which is as bad: it would let an order through
/// for the second time.
pub fn load_ledger(home: &Home) -> Result<OrderLedger, Failure> {
    let path = ledger_path(home);
    let damaged = |source| HostError::Damaged { path: path.clone(), source };
    let bytes = disk::read(&path)?.ok_or_else(|| damaged(FramedError::Header))?;
    OrderLedger::open(&bytes)
        .map_err(|error| Failure::Refused { code: "orders.damaged", reason: chain(&error) })
}

impl Desk {
    /// The desk of an enrolled host, for the conversation of `session`, which has sent `number`
    /// requests.
    ///
    /// # Errors
    /// [`Failure`] for damaged files and a key that can't sign.
    pub fn open(
        agent: &mut Agent,
        identity: &Identity,
        (keys, ca): (OrderKeys, ChannelCa),
        session: SessionId,
        number: u64,
    ) -> Result<Self, Failure> {
        let (files, now) = (ControlFiles::of(&agent.home), agent.now());
        let key = identity.signing_key().ok_or_else(|| Failure::Refused {
            code: "control.key",
            reason: format!(
                "{} holds no key that signs: enrol again with `handover-agent enroll --again`",
                files.path("identity.json")
            ),
        })?;
        let bell = Bell::new().map_err(|source| Failure::Stream { act: "make a bell", source })?;
        let opening = Opening {
            agent: identity.agent,
            enrolled_at: identity.enrolled_at,
            key,
            session,
            number,
            machine: machine(),
            version: own_version(),
            keys,
            ca,
            ledger: load_ledger(&agent.home)?,
            free: load_free(&files)?,
            reports: load_reports(&files, identity)?,
            standing: Standing::load(agent),
            seed: agent.dice.roll(),
        };
        let desk = Self {
            ledger: ledger_path(&agent.home),
            files,
            held: Mutex::new(Held {
                core: Some(Core::open(opening, now)?),
                errands: VecDeque::new(),
            }),
            closing: AtomicBool::new(false),
            bell,
        };
        desk.with(|_core| Ok(()))?;
        Ok(desk)
    }

    /// The bell that says that there is something to do for the one who talks.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Asks whoever works here to leave: another desk is to take this one's place, and two would
    /// write over each other.
    pub fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// Whether it is to be left.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the core, and makes durable what it wants durable before its answer is used.
    ///
    /// # Errors
    /// [`Failure`] when the disk fails, now or before.
    pub fn with<T>(&self, ask: impl FnOnce(&mut Core) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut held = self.held();
        let mut core = held.core.take().ok_or_else(|| Failure::Refused {
            code: "control.unwritable",
            reason: format!("what belongs under {} could not be written", self.files.dir()),
        })?;
        let done = ask(&mut core).and_then(|answer| {
            while let Some(effect) = core.poll() {
                if let Some(errand) = self.perform(effect)? {
                    held.errands.push_back(errand);
                }
            }
            Ok(answer)
        });
        match &done {
            Ok(_) => held.core = Some(core),
            // The one who talks is to notice.
            Err(_) => self.bell.ring(),
        }
        done
    }

    /// Takes something in, at the agent's time.
    ///
    /// # Errors
    /// As [`Self::with`].
    pub fn say(&self, agent: &Agent, input: Input) -> Result<(), Failure> {
        self.with(|core| core.handle(input, agent.now()))
    }

    /// What is to be done next about orders.
    ///
    /// # Errors
    /// As [`Self::with`].
    pub fn next_task(&self, agent: &Agent) -> Result<Turn, Failure> {
        self.with(|core| core.next_task(agent.now()))
    }

    /// Whether an order is under way.
    ///
    /// # Errors
    /// As [`Self::with`].
    pub fn is_begun(&self, order: OrderId) -> Result<bool, Failure> {
        self.with(|core| Ok(core.is_begun(order)))
    }

    /// When the core wants to be woken, on the monotonic clock.
    ///
    /// # Errors
    /// As [`Self::with`].
    pub fn next_deadline(&self) -> Result<Option<Duration>, Failure> {
        self.with(|core| Ok(core.next_deadline()))
    }

    /// What the one who talks is to do next.
    pub fn errand(&self) -> Option<Effect> {
        self.held().errands.pop_front()
    }

    /// The documents of reports, and the numbers of those that can't be read.
    ///
    /// # Errors
    /// [`HostError`].
    pub fn documents(&self, numbers: &[u64]) -> Result<(Vec<SignedDoc>, Vec<u64>), HostError> {
        let (mut docs, mut unreadable) = (Vec::new(), Vec::new());
        for number in numbers {
            let bytes = disk::read(&self.path(File::Report(*number)))?;
            match bytes.and_then(|bytes| outbox::document(&bytes)) {
                Some(doc) => docs.push(doc),
                None => unreadable.push(*number),
            }
        }
        Ok((docs, unreadable))
    }

    fn perform(&self, effect: Effect) -> Result<Option<Effect>, Failure> {
        match effect {
            Effect::Write { file: file @ File::Standing, bytes } => {
                if let Err(error) = disk::write(&self.path(file), &bytes, 0o600) {
                    tracing::warn!(%error, "how this host stands with its control plane: not kept");
                }
            }
            Effect::Write { file, bytes } => disk::write(&self.path(file), &bytes, 0o600)?,
            Effect::Remove(file) => disk::remove_tree(&self.path(file))?,
            Effect::Ring => self.bell.ring(),
            errand @ (Effect::Look
            | Effect::Send { .. }
            | Effect::Believe(_)
            | Effect::Work
            | Effect::Leave) => return Ok(Some(errand)),
        }
        Ok(None)
    }

    fn path(&self, file: File) -> Utf8PathBuf {
        match file {
            File::Ledger => self.ledger.clone(),
            File::Report(number) => self.files.path("outbox").join(format!("{number:016}.json")),
            File::Numbers => self.files.path("reports.json"),
            File::OrderKeys => self.files.path("order-keys.json"),
            File::Ca => self.files.path("ca.json"),
            File::Standing => self.files.path("standing.json"),
        }
    }
}

fn load_free(files: &ControlFiles) -> Result<u64, HostError> {
    let path = files.path("reports.json");
    let Some(bytes) = disk::read(&path)? else { return Ok(0) };
    first_free(&bytes).map_err(|source| HostError::Damaged { path, source })
}

/// The reports that wait; those of another agent, which this host was before, are taken away.
fn load_reports(
    files: &ControlFiles,
    identity: &Identity,
) -> Result<BTreeMap<u64, Waiting>, HostError> {
    let dir = files.path("outbox");
    disk::make_dir_mode(files.dir(), 0o700)?;
    disk::make_dir_mode(&dir, 0o700)?;
    disk::clean_asides(&dir)?;
    let failed = |source| HostError::Io { act: "list", path: dir.clone(), source };
    let mut waiting = BTreeMap::new();
    for entry in dir.read_dir_utf8().map_err(failed)? {
        let path = entry.map_err(failed)?.into_path();
        let Some(number) = path.file_stem().and_then(|stem| stem.parse::<u64>().ok()) else {
            continue;
        };
        let Some(bytes) = disk::read(&path)? else { continue };
        match Found::read(&bytes, identity.agent) {
            Found::Waits(waits) => {
                waiting.insert(number, waits);
            }
            Found::OfAnother => {
                tracing::info!(%path, "a report of another agent is forgotten");
                disk::remove_tree(&path)?;
            }
            Found::Damaged => tracing::warn!(%path, "a report is damaged and will not be sent"),
        }
    }
    Ok(waiting)
}
