//! What an agent makes of its control plane, as a core without IO: what to send and when, what an
//! answer changes, which order is worked on next, what is remembered and reported.
//!
//! Nothing here reads a clock, throws dice of its own, opens a file or starts a thread. Inputs and
//! the time come in; what is to be done comes out as [`Effect`]s, in the order in which they are to
//! be done. If one of them fails, the core is dropped and opened again from what is durable. The
//! shell around it is [`super::sync`], [`super::desk`] and [`super::perform`]; the simulator puts
//! whole fleets of the same core on one thread.
//!
//! Invariant: whatever is said or done rests on effects that were polled before it.

mod answer;
pub mod outbox;
mod talk;
mod work;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use handover_engine::orders::{Ending, OrderLedger, Stand, Taken};
use handover_model::wire::{
    AgentOrder, ChannelCa, HostState, OrderReport, OrderStage, ReportBody, SyncAnswer, SyncRequest,
};
use handover_model::{
    AgentId, Digest, Now, OrderId, Progress, ReleaseId, RunId, SessionId, Timestamp, Version,
    seal_framed,
};
use handover_trust::control::{OrderKeys, state_digest};
use handover_trust::keys::SigningKey;
use serde::Serialize;

use self::outbox::{Outbox, Waiting};
use super::standing::Standing;
use crate::dice::Dice;
use crate::failure::Failure;
use crate::runs;
use talk::Talk;

pub use talk::Missed;
pub use work::{Got, Task, Turn};

/// A file that outlives the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum File {
    /// The ledger of orders, `trust/orders.json`.
    Ledger,
    /// A report that waits, by its number.
    Report(u64),
    /// Which numbers reports may have used.
    Numbers,
    /// The keys that orders are believed from.
    OrderKeys,
    /// The channel's certificate authorities.
    Ca,
    /// How this host stands with its control plane, for people. Nothing rests on it.
    Standing,
}

impl File {
    /// The kind in its frame.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Ledger => handover_engine::orders::ORDERS_KIND,
            Self::Report(_) => "report",
            Self::Numbers => "report-numbers",
            Self::OrderKeys => "order-keys",
            Self::Ca => "channel-ca",
            Self::Standing => "standing",
        }
    }

    /// The format that is written, and the newest that is read.
    pub fn format(self) -> u32 {
        match self {
            Self::Ledger => handover_engine::orders::ORDERS_FORMAT,
            Self::Ca => handover_model::wire::CA_FORMAT,
            Self::Report(_) | Self::Numbers | Self::OrderKeys | Self::Standing => 1,
        }
    }
}

/// What is to be done, in the order polled.
#[derive(Debug)]
pub enum Effect {
    /// Makes a file durable with these bytes, before anything after it.
    Write {
        /// Which.
        file: File,
        /// The whole of it.
        bytes: Vec<u8>,
    },
    /// Takes a file away.
    Remove(File),
    /// Looks at the whole host, and answers with [`Input::Looked`].
    Look,
    /// Sends a request, with the documents of these reports in it, and answers with
    /// [`Input::Answered`] or [`Input::Missed`].
    Send {
        /// The request without its reports.
        request: Box<SyncRequest>,
        /// The reports' numbers.
        reports: Vec<u64>,
    },
    /// The channel is to believe these authorities from now on.
    Believe(Box<ChannelCa>),
    /// Starts whoever works on orders: it asks [`Core::next_task`] until that says
    /// [`Turn::Over`], and then says [`Input::Idle`].
    Work,
    /// Wakes whoever waits for [`Core::next_deadline`]: it is sooner now.
    Ring,
    /// Forgets what authenticates this host: it has left.
    Leave,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The host was looked at, as [`Effect::Look`] asked for; what could not be seen is `None`.
    Looked {
        /// Its state.
        state: Option<Box<HostState>>,
        /// Whether it may change by itself: a trial or a guard runs.
        is_unsettled: bool,
    },
    /// Reports whose files can't be read; they are left out of the request.
    Unreadable(Vec<u64>),
    /// The control plane answered.
    Answered {
        /// What.
        answer: Box<SyncAnswer>,
        /// After which time.
        took: Duration,
    },
    /// It did not, or refused.
    Missed(Missed),
    /// Nobody works on orders any more.
    Idle,
    /// A fresh look of whoever works on orders.
    State(Box<HostState>),
    /// An order that [`Task::Begin`] named is about to begin on a host that runs this version.
    Begin {
        /// The order.
        order: OrderId,
        /// The component's current version.
        current: Option<Version>,
    },
    /// An order needs nothing any more but its time.
    Staged(OrderId),
    /// It was decided which release an order moves to.
    Decided {
        /// The order.
        order: OrderId,
        /// The release.
        to: ReleaseId,
    },
    /// A run is about to begin for an order.
    Carried {
        /// The order.
        order: OrderId,
        /// The run.
        run: RunId,
        /// The release that it moves to.
        to: ReleaseId,
    },
    /// How far an order is.
    Progressed {
        /// The order.
        order: OrderId,
        /// How far.
        progress: Progress,
    },
    /// How the run of an order stands, as [`Task::Look`] asked.
    Stands {
        /// The order.
        order: OrderId,
        /// The run.
        run: RunId,
        /// How.
        standing: runs::Standing,
    },
    /// What an attempt at an order came to.
    Came {
        /// The order.
        order: OrderId,
        /// To what.
        got: Got,
    },
}

/// What a core begins with: all that is durable, and what tells this life from others.
#[derive(Debug)]
pub struct Opening {
    /// Who this host is.
    pub agent: AgentId,
    /// Since when.
    pub enrolled_at: Timestamp,
    /// The key that signs its reports.
    pub key: SigningKey,
    /// The life of this process.
    pub session: SessionId,
    /// How many requests it has sent.
    pub number: u64,
    /// This machine.
    pub machine: Digest,
    /// This program's version.
    pub version: Version,
    /// The keys that orders are believed from.
    pub keys: OrderKeys,
    /// The channel's authorities.
    pub ca: ChannelCa,
    /// The ledger.
    pub ledger: OrderLedger,
    /// No report's number below it is used again.
    pub free: u64,
    /// The reports that wait.
    pub reports: BTreeMap<u64, Waiting>,
    /// How the host stood with its control plane.
    pub standing: Standing,
    /// The seed of all jitter.
    pub seed: u64,
}

/// The core. See the module.
#[derive(Debug)]
pub struct Core {
    agent: AgentId,
    enrolled_at: Timestamp,
    session: SessionId,
    machine: Digest,
    version: Version,
    keys: OrderKeys,
    ca: ChannelCa,
    ledger: OrderLedger,
    outbox: Outbox,
    /// The newest state that was reported.
    told_state: Option<Digest>,
    standing: Standing,
    kept_at: Option<Duration>,
    talk: Talk,
    bench: work::Bench,
    dice: Dice,
    effects: Effects,
}

impl Core {
    /// Opens a core on what is durable.
    ///
    /// # Errors
    /// [`Failure`] where a document has no form that can be written.
    pub fn open(opening: Opening, now: Now) -> Result<Self, Failure> {
        let Opening { agent, session, key, free, reports, .. } = opening;
        let mut standing = opening.standing;
        standing.connected_since = None;
        let mut core = Self {
            agent,
            enrolled_at: opening.enrolled_at,
            session,
            machine: opening.machine,
            version: opening.version,
            keys: opening.keys,
            ca: opening.ca,
            // What another control plane ordered of this host is not begun for this one.
            ledger: opening.ledger.turned_into(agent, now.wall),
            outbox: Outbox::open(agent, session, key, free, reports),
            told_state: None,
            standing,
            kept_at: None,
            talk: Talk::new(opening.number, now.mono),
            bench: work::Bench::default(),
            dice: Dice::new(opening.seed),
            effects: Effects::default(),
        };
        core.tell_endings(now)?;
        Ok(core)
    }

    /// Takes in what happened.
    ///
    /// # Errors
    /// [`Failure`] where a document has no form that can be written; never for what the control
    /// plane says. The core is to be dropped then.
    pub fn handle(&mut self, input: Input, now: Now) -> Result<(), Failure> {
        match input {
            Input::Looked { state, is_unsettled } => {
                self.talk.is_unsettled = is_unsettled;
                if let Some(state) = state {
                    self.tell_state(*state, now)?;
                }
                self.send(now);
                Ok(())
            }
            Input::Unreadable(numbers) => {
                for number in numbers {
                    tracing::warn!(number, "a report is damaged and will not be sent");
                    self.outbox.forget(number);
                }
                Ok(())
            }
            Input::Answered { answer, took } => self.answered(&answer, took, now),
            Input::Missed(missed) => self.missed(&missed, now),
            Input::Idle => {
                self.bench.is_working = false;
                self.talk.looked_at = None;
                self.ring(now);
                Ok(())
            }
            Input::State(state) => self.tell_state(*state, now),
            Input::Begin { order, current } => self.begin(order, current.as_ref(), now),
            Input::Staged(order) => self.staged(order, now),
            Input::Decided { order, to } => {
                let next = self.ledger.decided(order, &to);
                self.change(next)
            }
            Input::Carried { order, run, to } => {
                let next = self.ledger.carried(order, run, &to);
                self.change(next)
            }
            Input::Progressed { order, progress } => self.progressed(order, progress, now),
            Input::Stands { order, run, standing } => self.stands(order, run, standing, now),
            Input::Came { order, got } => self.came(order, got, now),
        }
    }

    /// The next effect.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.0.pop_front()
    }

    /// The ledger of orders.
    pub fn ledger(&self) -> &OrderLedger {
        &self.ledger
    }

    /// Changes the ledger, durably.
    fn change(&mut self, next: OrderLedger) -> Result<(), Failure> {
        if next != self.ledger {
            let bytes = next.seal().map_err(|error| Failure::Refused {
                code: "orders.damaged",
                reason: crate::failure::chain(&error),
            })?;
            self.effects.write(File::Ledger, bytes);
            self.ledger = next;
        }
        Ok(())
    }

    /// Ends an order and reports how.
    fn end(&mut self, order: OrderId, ending: &Ending, now: Now) -> Result<(), Failure> {
        let next = self.ledger.ended(order, ending);
        self.change(next)?;
        self.bench.forget(order);
        self.tell_endings(now)
    }

    /// Reports every ending that was not reported yet.
    fn tell_endings(&mut self, now: Now) -> Result<(), Failure> {
        let untold: Vec<_> = self
            .ledger
            .untold()
            .map(|(taken, ending)| (taken.order.clone(), ending.clone()))
            .collect();
        for (order, ending) in &untold {
            if !self.outbox.holds_ending(order.id) {
                let body = ReportBody::Order(Box::new(report_of(order, ending)));
                self.outbox.push(body, now.wall, &mut self.effects)?;
                tracing::info!(
                    order.id = %order.id, stage = ?ending.stage, reason = ending.reason,
                    "order ended"
                );
            }
            let next = self.ledger.told(order.id);
            self.change(next)?;
            self.ring(now);
        }
        Ok(())
    }

    /// Says again how an order stands, unless that waits to be said already.
    fn say_again(&mut self, order: OrderId, now: Now) -> Result<(), Failure> {
        let Some(Taken { order, stand, .. }) = self.ledger.find(order) else { return Ok(()) };
        let report = match stand {
            Stand::Accepted => under_way(order, OrderStage::Accepted, None),
            Stand::Running { .. } => under_way(order, OrderStage::Running, None),
            Stand::Ended(ending) => report_of(order, ending),
        };
        self.answer_order(report, now)
    }

    /// Puts an answer in that may be dropped when space is short.
    fn answer_order(&mut self, report: OrderReport, now: Now) -> Result<(), Failure> {
        let body = ReportBody::Order(Box::new(report));
        self.outbox.push_aside(body, now.wall, &mut self.effects)?;
        self.ring(now);
        Ok(())
    }

    /// Reports that an order is under way.
    fn tell_progress(
        &mut self,
        order: &AgentOrder,
        stage: OrderStage,
        progress: Option<Progress>,
        now: Now,
    ) -> Result<(), Failure> {
        let body = ReportBody::Order(Box::new(under_way(order, stage, progress)));
        self.outbox.push(body, now.wall, &mut self.effects)?;
        self.ring(now);
        Ok(())
    }

    /// Reports a state, if it is another than the one that was reported last.
    fn tell_state(&mut self, state: HostState, now: Now) -> Result<(), Failure> {
        let digest = state_digest(&state)?;
        if self.told_state != Some(digest) {
            self.outbox.push(ReportBody::State(Box::new(state)), now.wall, &mut self.effects)?;
            self.told_state = Some(digest);
        }
        Ok(())
    }
}

/// What waits to be polled.
#[derive(Debug, Default)]
struct Effects(VecDeque<Effect>);

impl Effects {
    fn write(&mut self, file: File, bytes: Vec<u8>) {
        self.0.push_back(Effect::Write { file, bytes });
    }

    fn remove(&mut self, file: File) {
        self.0.push_back(Effect::Remove(file));
    }

    fn push(&mut self, effect: Effect) {
        self.0.push_back(effect);
    }
}

/// A document in its frame.
fn sealed<T: Serialize>(file: File, body: &T) -> Result<Vec<u8>, Failure> {
    seal_framed(file.kind(), file.format(), body).map_err(|error| Failure::Refused {
        code: "control.unwritable",
        reason: crate::failure::chain(&error),
    })
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

fn under_way(order: &AgentOrder, stage: OrderStage, progress: Option<Progress>) -> OrderReport {
    OrderReport {
        order: order.id,
        place: order.place,
        stage,
        code: None,
        reason: None,
        release: None,
        progress,
    }
}
