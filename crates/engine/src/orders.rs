//! Orders of a control plane on the host that they are for: what is taken, what is begun, what is
//! remembered (DESIGN 9). The ledger lives in `trust/orders.json`, belongs to no component's
//! state and never reverts.
//!
//! Invariants: the control plane hands out at least once, the ledger makes it at most once. The
//! highest place never falls, and nothing at or below it is taken. An order that was taken is in
//! the ledger until it ended; an ending is never replaced. The ledger is durable before whatever
//! it says is done.

use std::collections::BTreeMap;

use handover_model::wire::{Action, AgentOrder, OrderStage, Place};
use handover_model::{
    AgentId, ErrorClass, FramedError, OrderId, ReleaseId, RunId, Timestamp, open_framed,
    seal_framed,
};
use handover_trust::Verified;
use serde::{Deserialize, Serialize};

/// The newest format of the file that this program reads and the one that it writes.
pub const ORDERS_FORMAT: u32 = 1;
/// The kind of `trust/orders.json`.
pub const ORDERS_KIND: &str = "orders";
/// How many orders are remembered; of those that ended the oldest go first.
pub const ORDERS_KEPT: usize = 1000;
/// How many orders may wait at once.
pub const MOST_OPEN: usize = 64;
/// How often an order may be begun: a start that is cut before it did anything is made again.
pub const MOST_STARTS: u32 = 5;
/// How many cancels of orders that never came are remembered.
const CANCELS_KEPT: usize = 100;
/// The most characters of an order's reason that are kept.
const REASON_KEPT: usize = 500;

/// `trust/orders.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderLedger {
    /// The highest place of an order that was taken, whatever became of it, by the agent that
    /// this host was then: one that enrols anew counts from the beginning, and one that comes back
    /// goes on where it was.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub highest: BTreeMap<AgentId, Place>,
    /// The orders, by place.
    #[serde(default)]
    pub taken: Vec<Taken>,
    /// Orders that were cancelled before they came, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cancelled: Vec<OrderId>,
}

/// An order that was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// The order, as its signature covered it.
    pub order: AgentOrder,
    /// When it was taken.
    pub at: Timestamp,
    /// How it stands.
    pub stand: Stand,
    /// Whether the report of its ending lies in the outbox, or was sent.
    #[serde(default)]
    pub told: bool,
}

impl Taken {
    /// Whether nothing more happens to it.
    pub fn has_ended(&self) -> bool {
        matches!(self.stand, Stand::Ended(_))
    }
}

/// How an order stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Stand {
    /// Waits for its turn. The agent begins it, cancels it, or lets it expire.
    Accepted,
    /// Was begun. The agent ends it; after a cut, the next agent looks what became of it.
    Running {
        /// When it was begun first.
        since: Timestamp,
        /// How often it was begun.
        starts: u32,
        /// The run that carries it, once there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<RunId>,
        /// The release that it moves to, once that is decided.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<ReleaseId>,
    },
    /// Nothing more happens to it.
    Ended(Ending),
}

/// How an order ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// A final stage.
    pub stage: OrderStage,
    /// A stable code, for what did not go as ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The release that it came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// When.
    pub at: Timestamp,
}

impl Ending {
    /// An ending that is not as ordered, with its reason.
    pub fn because(
        stage: OrderStage,
        code: impl Into<String>,
        reason: impl Into<String>,
        at: Timestamp,
    ) -> Self {
        let (code, reason) = (Some(code.into()), Some(reason.into()));
        Self { stage, code, reason, release: None, at }
    }

    /// As ordered.
    pub fn done(release: Option<ReleaseId>, at: Timestamp) -> Self {
        Self { stage: OrderStage::Done, code: None, reason: None, release, at }
    }
}

/// What becomes of an order that came.
#[derive(Debug, Clone, PartialEq)]
pub enum Reception {
    /// It is new, and this ledger has it: accepted, or ended at once. To be made durable before
    /// anything is said of it.
    Taken(OrderLedger),
    /// It was taken before; how it stands is said again.
    Known,
    /// It is not taken: its place is not above every one that was. Nothing is remembered of it.
    Stale(Ending),
}

/// What becomes of a cancel.
#[derive(Debug, Clone, PartialEq)]
pub enum Cancelling {
    /// The order had not begun: this ledger has it cancelled.
    Cancelled(OrderLedger),
    /// The order is not here: this ledger remembers that it is not to be begun.
    Ahead(OrderLedger),
    /// It was begun, or ended: too late. How it stands is said again.
    TooLate,
}

/// What to do about an order that has not ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Begin it, for the first time or after a cut that came before anything was done. A release
    /// was decided on before the cut, if it is named: that one and no other.
    Begin(Option<ReleaseId>),
    /// Its time has not come: bring what it needs, so that nothing but its beginning is left.
    Stage,
    /// It has a run: look what became of that.
    Look(RunId),
    /// End it like this.
    End(Ending),
}

/// A ledger that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the record of this host's orders is damaged; `handover-agent doctor` says how to go on")]
pub struct LedgerError {
    source: FramedError,
}

impl LedgerError {
    /// What the caller may do next.
    pub fn class(&self) -> ErrorClass {
        self.source.class()
    }
}

impl OrderLedger {
    /// Opens the file's bytes.
    ///
    /// # Errors
    /// [`LedgerError`] for whatever is not an order ledger.
    pub fn open(bytes: &[u8]) -> Result<Self, LedgerError> {
        open_framed(ORDERS_KIND, ORDERS_FORMAT, bytes).map_err(|source| LedgerError { source })
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// None in practice: the document holds nothing that JSON can't.
    pub fn seal(&self) -> Result<Vec<u8>, LedgerError> {
        seal_framed(ORDERS_KIND, ORDERS_FORMAT, self).map_err(|source| LedgerError { source })
    }

    /// What is remembered of an order.
    pub fn find(&self, order: OrderId) -> Option<&Taken> {
        self.taken.iter().find(|taken| taken.order.id == order)
    }

    /// The highest place that was taken as `agent`.
    pub fn highest_of(&self, agent: AgentId) -> Option<Place> {
        self.highest.get(&agent).copied()
    }

    /// The ledger of a host that is `agent` from now on: what it was ordered to do as another one
    /// and has not begun, it does not begin any more. There is nobody to tell.
    #[must_use]
    pub fn turned_into(&self, agent: AgentId, now: Timestamp) -> Self {
        let mut next = self.clone();
        for taken in next.taken.iter_mut().filter(|taken| taken.order.agent != agent) {
            if taken.stand == Stand::Accepted {
                taken.stand = Stand::Ended(Ending::because(
                    OrderStage::Cancelled,
                    "order.agent-gone",
                    "this host is another agent now",
                    now,
                ));
            }
            taken.told = taken.told || taken.has_ended();
        }
        next
    }

    /// The orders that have not ended, by place.
    pub fn open_orders(&self) -> impl Iterator<Item = &Taken> {
        self.taken.iter().filter(|taken| !matches!(taken.stand, Stand::Ended(_)))
    }

    /// The orders whose ending is still to be reported: a cut came between the two.
    pub fn untold(&self) -> impl Iterator<Item = (&Taken, &Ending)> {
        self.taken.iter().filter(|taken| !taken.told).filter_map(|taken| match &taken.stand {
            Stand::Ended(ending) => Some((taken, ending)),
            Stand::Accepted | Stand::Running { .. } => None,
        })
    }

    /// The ledger with the order's ending reported.
    #[must_use]
    pub fn told(&self, order: OrderId) -> Self {
        let mut next = self.clone();
        if let Some(taken) = next.taken.iter_mut().find(|taken| taken.order.id == order) {
            taken.told = true;
        }
        next
    }

    /// Takes in an order whose signature and agent were checked.
    pub fn receive(&self, order: &Verified<AgentOrder>, now: Timestamp) -> Reception {
        self.receive_any(order, now)
    }

    pub(crate) fn receive_any(&self, order: &AgentOrder, now: Timestamp) -> Reception {
        if self.find(order.id).is_some() {
            return Reception::Known;
        }
        if let Some(highest) =
            self.highest_of(order.agent).filter(|highest| order.place <= *highest)
        {
            let reason = format!(
                "its number ({}, {}) is not above ({}, {}), which this host has taken: it is old, \
                 or it came out of order; order it again",
                order.place.epoch, order.place.sequence, highest.epoch, highest.sequence
            );
            return Reception::Stale(Ending::because(
                OrderStage::Refused,
                "order.old",
                reason,
                now,
            ));
        }
        let stand = self.refused_at_once(order, now).map_or(Stand::Accepted, Stand::Ended);
        let mut next = self.clone();
        next.highest.insert(order.agent, order.place);
        next.cancelled.retain(|cancelled| *cancelled != order.id);
        let mut order = order.clone();
        order.reason = order.reason.map(|text| text.chars().take(REASON_KEPT).collect());
        next.taken.push(Taken { order, at: now, stand, told: false });
        next.forget_surplus();
        Reception::Taken(next)
    }

    fn refused_at_once(&self, order: &AgentOrder, now: Timestamp) -> Option<Ending> {
        if self.cancelled.contains(&order.id) {
            return Some(Ending::because(
                OrderStage::Cancelled,
                "order.cancelled",
                "it was cancelled before it came",
                now,
            ));
        }
        if order.action == Action::Unknown {
            let reason = "this agent does not know what to do; update handover-agent first";
            let refused = OrderStage::Refused;
            return Some(Ending::because(refused, "order.unknown-action", reason, now));
        }
        if let Some(expired) = expiry(order, now) {
            return Some(expired);
        }
        let open = self.open_orders().count();
        (open >= MOST_OPEN).then(|| {
            let reason = format!("{open} orders wait here already; order it again later");
            Ending::because(OrderStage::Refused, "order.too-many", reason, now)
        })
    }

    /// Takes in a cancel whose signature and agent were checked.
    pub fn cancel(&self, order: OrderId, now: Timestamp) -> Cancelling {
        let Some(taken) = self.find(order) else {
            let mut next = self.clone();
            if !next.cancelled.contains(&order) {
                next.cancelled.push(order);
                let surplus = next.cancelled.len().saturating_sub(CANCELS_KEPT);
                next.cancelled.drain(..surplus);
            }
            return Cancelling::Ahead(next);
        };
        match taken.stand {
            Stand::Accepted => {
                let ending = Ending::because(
                    OrderStage::Cancelled,
                    "order.cancelled",
                    "it was cancelled before it began",
                    now,
                );
                Cancelling::Cancelled(self.with(order, |_| Stand::Ended(ending)))
            }
            Stand::Running { .. } | Stand::Ended(_) => Cancelling::TooLate,
        }
    }

    /// What to do about one of [`Self::open_orders`]; `None` for one that ended.
    pub fn plan_next(taken: &Taken, now: Timestamp) -> Option<Next> {
        match &taken.stand {
            Stand::Accepted => Some(match expiry(&taken.order, now) {
                Some(expired) => Next::End(expired),
                None if taken.order.activate.is_some_and(|activate| activate > now) => Next::Stage,
                None => Next::Begin(None),
            }),
            Stand::Running { run: Some(run), .. } => Some(Next::Look(*run)),
            Stand::Running { starts, run: None, release, since: _ } => {
                Some(if *starts < MOST_STARTS {
                    Next::Begin(release.clone())
                } else {
                    Next::End(interrupted(*starts, now))
                })
            }
            Stand::Ended(_) => None,
        }
    }

    /// The ledger with the order begun once more; unchanged where it ended.
    #[must_use]
    pub fn begun(&self, order: OrderId, now: Timestamp) -> Self {
        self.with(order, |stand| match stand {
            Stand::Accepted => Stand::Running { since: now, starts: 1, run: None, release: None },
            Stand::Running { since, starts, release, run: _ } => {
                Stand::Running { since, starts: starts.saturating_add(1), run: None, release }
            }
            Stand::Ended(ending) => Stand::Ended(ending),
        })
    }

    /// The ledger with the release that the order moves to, before anything changes: a second
    /// start decides nothing anew.
    #[must_use]
    pub fn decided(&self, order: OrderId, to: &ReleaseId) -> Self {
        self.with(order, |stand| match stand {
            Stand::Running { since, starts, run, release: _ } => {
                Stand::Running { since, starts, run, release: Some(to.clone()) }
            }
            other @ (Stand::Accepted | Stand::Ended(_)) => other,
        })
    }

    /// The ledger with the run that carries the order, before that run begins.
    #[must_use]
    pub fn carried(&self, order: OrderId, by: RunId, to: &ReleaseId) -> Self {
        self.with(order, |stand| match stand {
            Stand::Running { since, starts, run: _, release: _ } => {
                Stand::Running { since, starts, run: Some(by), release: Some(to.clone()) }
            }
            other @ (Stand::Accepted | Stand::Ended(_)) => other,
        })
    }

    /// The ledger with the order's run taken for one that did nothing; it may be begun again, or
    /// [`Self::plan_next`] ends it.
    #[must_use]
    pub fn without_run(&self, order: OrderId) -> Self {
        self.with(order, |stand| match stand {
            Stand::Running { since, starts, run: _, release: _ } => {
                Stand::Running { since, starts, run: None, release: None }
            }
            other @ (Stand::Accepted | Stand::Ended(_)) => other,
        })
    }

    /// The ledger with the order's start ended in good order, and the order to be begun again: one
    /// of its runs is through and more are to come, or what hindered it may pass. Only starts that
    /// were cut are counted.
    #[must_use]
    pub fn paused(&self, order: OrderId) -> Self {
        self.with(order, |stand| match stand {
            // A release that no run carries was decided on, and may be in place already: what is
            // begun again must not decide anew.
            Stand::Running { since, starts: _, run, release } => {
                let release = release.filter(|_| run.is_none());
                Stand::Running { since, starts: 0, run: None, release }
            }
            other @ (Stand::Accepted | Stand::Ended(_)) => other,
        })
    }

    /// The ledger with the order ended; a first ending stays.
    #[must_use]
    pub fn ended(&self, order: OrderId, ending: &Ending) -> Self {
        self.with(order, |stand| match stand {
            Stand::Accepted | Stand::Running { .. } => Stand::Ended(ending.clone()),
            Stand::Ended(first) => Stand::Ended(first),
        })
    }

    fn with(&self, order: OrderId, change: impl FnOnce(Stand) -> Stand) -> Self {
        let mut next = self.clone();
        if let Some(taken) = next.taken.iter_mut().find(|taken| taken.order.id == order) {
            taken.stand = change(taken.stand.clone());
        }
        next
    }

    fn forget_surplus(&mut self) {
        let mut surplus = self.taken.len().saturating_sub(ORDERS_KEPT);
        self.taken.retain(|taken| {
            let goes = surplus > 0 && taken.told && matches!(taken.stand, Stand::Ended(_));
            surplus = surplus.saturating_sub(usize::from(goes));
            !goes
        });
    }
}

fn expiry(order: &AgentOrder, now: Timestamp) -> Option<Ending> {
    (order.expires <= now).then(|| {
        let reason = format!(
            "it expired at {} and this host's clock says {now}: order it again, or set the clock",
            order.expires
        );
        Ending::because(OrderStage::Expired, "order.expired", reason, now)
    })
}

fn interrupted(starts: u32, now: Timestamp) -> Ending {
    let reason = format!(
        "it was begun {starts} times and cut each time before it changed anything; look at the \
         agent's log, then order it again"
    );
    Ending::because(OrderStage::Failed, "order.interrupted", reason, now)
}

#[cfg(test)]
mod tests;
