//! What the control plane's threads share: the ledger of orders, the outbox, and the bell that
//! wakes the one that sends.
//!
//! Invariant: the ledger on disk is never behind the one in memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use camino::Utf8PathBuf;
use handover_engine::orders::{Ending, OrderLedger, Stand, Taken};
use handover_hoststeps::{HostError, disk};
use handover_model::wire::{AgentOrder, HostState, OrderReport, OrderStage, ReportBody};
use handover_model::{Digest, FramedError, OrderId, Progress, ReleaseId, SessionId, Timestamp};

use handover_trust::control::state_digest;

use super::identity::{ControlFiles, Identity};
use super::outbox::Outbox;
use crate::failure::{Failure, chain};
use crate::home::Home;
use crate::real_world::Bell;

/// The shared desk.
pub struct Desk {
    path: Utf8PathBuf,
    ledger: Mutex<OrderLedger>,
    outbox: Mutex<Outbox>,
    /// The newest state that was reported.
    state: Mutex<Option<Digest>>,
    /// Held by whoever reports endings: two at once would report each twice.
    telling: Mutex<()>,
    closing: AtomicBool,
    bell: Bell,
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
    let bytes = sealed(&OrderLedger::default())?;
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

fn sealed(ledger: &OrderLedger) -> Result<Vec<u8>, Failure> {
    ledger
        .seal()
        .map_err(|error| Failure::Refused { code: "orders.damaged", reason: chain(&error) })
}

impl Desk {
    /// The desk of an enrolled host.
    ///
    /// # Errors
    /// [`Failure`] for damaged files and a key that can't sign.
    pub fn open(
        home: &Home,
        identity: &Identity,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let files = ControlFiles::of(home);
        let key = identity.signing_key().ok_or_else(|| Failure::Refused {
            code: "control.key",
            reason: format!(
                "{} holds no key that signs: enrol again with `handover-agent enroll --again`",
                files.path("identity.json")
            ),
        })?;
        let bell = Bell::new().map_err(|source| Failure::Stream { act: "make a bell", source })?;
        Ok(Self {
            path: ledger_path(home),
            // What another control plane ordered of this host is not begun for this one.
            ledger: Mutex::new(load_ledger(home)?.turned_into(identity.agent, now)),
            outbox: Mutex::new(Outbox::open(&files, identity.agent, session, key)?),
            state: Mutex::new(None),
            telling: Mutex::new(()),
            closing: AtomicBool::new(false),
            bell,
        })
    }

    /// The bell that says that there is something to send.
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

    /// The outbox.
    pub fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, OrderLedger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ledger as it is now.
    pub fn ledger(&self) -> OrderLedger {
        self.held().clone()
    }

    /// Changes the ledger, durably.
    ///
    /// # Errors
    /// [`Failure`] when the disk fails; nothing has changed then.
    pub fn change(&self, change: impl FnOnce(&OrderLedger) -> OrderLedger) -> Result<(), Failure> {
        let mut held = self.held();
        let next = change(&held);
        if next != *held {
            disk::write(&self.path, &sealed(&next)?, 0o600)?;
            *held = next;
        }
        Ok(())
    }

    /// Ends an order and reports how.
    ///
    /// # Errors
    /// [`Failure`] when the disk fails; a start reports what was not reported.
    pub fn end(&self, order: OrderId, ending: &Ending, now: Timestamp) -> Result<(), Failure> {
        self.change(|ledger| ledger.ended(order, ending))?;
        self.tell_endings(now)
    }

    /// Reports every ending that was not reported yet.
    ///
    /// # Errors
    /// [`Failure`] when the disk fails.
    pub fn tell_endings(&self, now: Timestamp) -> Result<(), Failure> {
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let ledger = self.ledger();
        for (taken, ending) in ledger.untold() {
            let order = taken.order.id;
            if !self.outbox().holds_ending(order) {
                let report = report_of(&taken.order, ending);
                self.outbox().push(ReportBody::Order(Box::new(report)), now)?;
                tracing::info!(
                    order.id = %order, stage = ?ending.stage, reason = ending.reason,
                    "order ended"
                );
            }
            self.change(|ledger| ledger.told(order))?;
        }
        self.bell.ring();
        Ok(())
    }

    /// Says again how an order stands, unless that waits to be said already.
    ///
    /// # Errors
    /// [`Failure`] when the disk fails.
    pub fn say_again(&self, taken: &Taken, now: Timestamp) -> Result<(), Failure> {
        let stage = match &taken.stand {
            Stand::Accepted => OrderStage::Accepted,
            Stand::Running { .. } => OrderStage::Running,
            Stand::Ended(ending) => {
                let report = report_of(&taken.order, ending);
                return self.outbox().push_aside(ReportBody::Order(Box::new(report)), now);
            }
        };
        let report = under_way(&taken.order, stage, None, None);
        self.outbox().push_aside(ReportBody::Order(Box::new(report)), now)
    }

    /// Answers an order that is not in the ledger and never will be.
    ///
    /// # Errors
    /// [`Failure`] when the disk fails.
    pub fn decline(
        &self,
        order: &AgentOrder,
        ending: &Ending,
        now: Timestamp,
    ) -> Result<(), Failure> {
        self.answer(report_of(order, ending), now)
    }

    /// Puts an answer in that may be dropped when space is short.
    ///
    /// # Errors
    /// [`Failure`] when the disk fails.
    pub fn answer(&self, report: OrderReport, now: Timestamp) -> Result<(), Failure> {
        self.outbox().push_aside(ReportBody::Order(Box::new(report)), now)?;
        self.bell.ring();
        Ok(())
    }

    /// Reports that an order is under way. What can't be kept is logged: a later report says it
    /// better.
    pub fn tell_progress(
        &self,
        order: &AgentOrder,
        stage: OrderStage,
        progress: Option<Progress>,
        now: Timestamp,
    ) {
        let report = under_way(order, stage, None, progress);
        let pushed = self.outbox().push(ReportBody::Order(Box::new(report)), now);
        if let Err(error) = pushed {
            tracing::warn!(error = %chain(&error), "progress was not reported");
        }
        self.bell.ring();
    }

    /// Reports a state, if it is another than the one that was reported last.
    ///
    /// # Errors
    /// [`Failure`] when the disk fails.
    pub fn tell_state(&self, state: HostState, now: Timestamp) -> Result<(), Failure> {
        let digest = state_digest(&state)?;
        let mut newest = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *newest != Some(digest) {
            self.outbox().push(ReportBody::State(Box::new(state)), now)?;
            *newest = Some(digest);
        }
        Ok(())
    }

    /// The digest of the newest state that was reported.
    pub fn told_state(&self) -> Option<Digest> {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the next state news, whatever it is.
    pub fn forget_state(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn report_of(order: &AgentOrder, ending: &Ending) -> OrderReport {
    let text =
        |text: &Option<String>, most| text.as_deref().map(|text| crate::voice::plain(text, most));
    OrderReport {
        order: order.id,
        place: order.place,
        stage: ending.stage,
        code: text(&ending.code, 80),
        reason: text(&ending.reason, 1000),
        release: ending.release.clone(),
        progress: None,
    }
}

fn under_way(
    order: &AgentOrder,
    stage: OrderStage,
    release: Option<ReleaseId>,
    progress: Option<Progress>,
) -> OrderReport {
    OrderReport {
        order: order.id,
        place: order.place,
        stage,
        code: None,
        reason: None,
        release,
        progress,
    }
}
