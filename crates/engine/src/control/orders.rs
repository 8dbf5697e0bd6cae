//! The life of an order, as the control plane sees it.
//!
//! ```text
//! pending → handed_out → accepted → running → done | failed | reverted
//!    │           │           │         └ cancelling is over: it had begun
//!    │           └───────────┴→ cancelling → cancelled
//!    └→ cancelled | expired | superseded      (and refused, expired by the host's own word)
//! ```
//!
//! Invariants: what is ended stays as it ended; nothing goes backwards; what was handed out ends by
//! the host's word alone, since only the host knows whether it was begun; an order that brings a
//! release is done only when a state report proves that release by its running executable.

use handover_model::api::OrderState;
use handover_model::wire::{Action, ComponentState, HostState, OrderReport, OrderStage};
use handover_model::{ComponentName, Progress, ReleaseId, Timestamp};

/// The host says that it is done, and its process has not proved it yet.
pub const AWAITS_PROOF: &str = "order.awaits-proof";
/// The host said that it was done, and its own later look says that something else is committed.
pub const PROOF_CONTRADICTS: &str = "order.proof-contradicts";
/// A cancel came after the order was begun.
pub const CANCEL_TOO_LATE: &str = "order.cancel-too-late";
/// The order's time was over before the agent came for it.
pub const NEVER_FETCHED: &str = "order.never-fetched";

/// What is known of an order.
#[derive(Debug, Clone, PartialEq)]
pub struct Known<'a> {
    /// What to do.
    pub action: &'a Action,
    /// How far it is.
    pub state: OrderState,
    /// When it is void unless begun.
    pub expires: Timestamp,
    /// The stored code.
    pub code: Option<&'a str>,
    /// The release that the host said it came to.
    pub release: Option<&'a ReleaseId>,
}

/// What is to be written over an order.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// How far it is now.
    pub state: OrderState,
    /// A stable code.
    pub code: Option<String>,
    /// For people.
    pub words: Option<String>,
    /// The release that it came to, where that is known now.
    pub release: Option<ReleaseId>,
    /// The newest progress.
    pub progress: Option<Progress>,
}

impl Change {
    fn to(state: OrderState) -> Self {
        Self { state, code: None, words: None, release: None, progress: None }
    }

    fn because(state: OrderState, code: &str, words: &str) -> Self {
        let (code, words) = (Some(code.to_owned()), Some(words.to_owned()));
        Self { code, words, ..Self::to(state) }
    }
}

/// What a sync hands out of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It is signed and numbered now, and handed out.
    First,
    /// The signed order once more: the agent has not said that it has it.
    Again,
    /// Nothing: the agent has it, or it is ended.
    Nothing,
}

/// What to hand out. An order whose time is over is handed out again all the same, since the
/// host's word ends it; one that was never handed out is ended by [`expire`].
pub fn deliver(order: &Known<'_>, now: Timestamp) -> Delivery {
    match order.state {
        OrderState::Pending if order.expires > now => Delivery::First,
        OrderState::HandedOut | OrderState::Cancelling => Delivery::Again,
        OrderState::Pending
        | OrderState::Accepted
        | OrderState::Running
        | OrderState::Done
        | OrderState::Failed
        | OrderState::Reverted
        | OrderState::Refused
        | OrderState::Cancelled
        | OrderState::Expired
        | OrderState::Superseded
        | OrderState::Voided => Delivery::Nothing,
    }
}

/// Ends an order that nobody came for in time.
pub fn expire(order: &Known<'_>, now: Timestamp) -> Option<Change> {
    let is_over = order.state == OrderState::Pending && order.expires <= now;
    is_over.then(|| {
        let words = "the agent did not come for it in time; order it again when the agent is there";
        Change::because(OrderState::Expired, NEVER_FETCHED, words)
    })
}

/// Why an order can't be cancelled any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CancelError {
    /// The host has begun it.
    #[error("it is under way; wait for its end, then roll back if that is wanted")]
    Running,
    /// It is over.
    #[error("it has ended already: {state}")]
    Ended {
        /// How.
        state: OrderState,
    },
}

/// Cancels: at once when nobody has the order, by asking the agent otherwise.
///
/// # Errors
/// [`CancelError`].
pub fn cancel(order: &Known<'_>) -> Result<Change, CancelError> {
    match order.state {
        OrderState::Pending => Ok(Change::to(OrderState::Cancelled)),
        OrderState::HandedOut | OrderState::Accepted | OrderState::Cancelling => {
            Ok(Change::to(OrderState::Cancelling))
        }
        OrderState::Running => Err(CancelError::Running),
        state @ (OrderState::Done
        | OrderState::Failed
        | OrderState::Reverted
        | OrderState::Refused
        | OrderState::Cancelled
        | OrderState::Expired
        | OrderState::Superseded
        | OrderState::Voided) => Err(CancelError::Ended { state }),
    }
}

/// What a host's word on an order changes; `None`: nothing new. `host` is its newest state
/// report, wherever it stood in the same sync.
pub fn hear(order: &Known<'_>, report: &OrderReport, host: Option<&HostState>) -> Option<Change> {
    // Pending: nobody has it by our books. Its signed bytes exist nowhere else, so a word on it is
    // an agent's invention.
    if order.state == OrderState::Pending || order.state.is_final() {
        return None;
    }
    let told = |state| Change {
        state,
        code: report.code.clone(),
        words: report.reason.clone(),
        release: report.release.clone(),
        progress: report.progress.clone(),
    };
    let change = match report.stage {
        OrderStage::Accepted if order.state == OrderState::HandedOut => told(OrderState::Accepted),
        // All that it needs is on the host and waits for its time.
        OrderStage::Accepted
            if order.state == OrderState::Accepted && report.progress.is_some() =>
        {
            told(OrderState::Accepted)
        }
        OrderStage::Accepted => return None,
        OrderStage::Running if order.state == OrderState::Cancelling => Change {
            progress: report.progress.clone(),
            ..Change::because(
                OrderState::Running,
                CANCEL_TOO_LATE,
                "the cancel came too late: the host had begun",
            )
        },
        // After the host's `done` only proof is waited for; progress that was slower is stale.
        OrderStage::Running if order.code == Some(AWAITS_PROOF) => return None,
        OrderStage::Running => told(OrderState::Running),
        OrderStage::Done => return Some(done(order, report, host)),
        OrderStage::Failed => told(OrderState::Failed),
        OrderStage::Reverted => told(OrderState::Reverted),
        OrderStage::Refused => told(OrderState::Refused),
        // Whoever cancelled said why: a rollout that only paused comes back to the host.
        OrderStage::Cancelled if order.state == OrderState::Cancelling => Change {
            code: order.code.map(str::to_owned).or_else(|| report.code.clone()),
            ..told(OrderState::Cancelled)
        },
        OrderStage::Cancelled => told(OrderState::Cancelled),
        OrderStage::Expired => told(OrderState::Expired),
    };
    Some(change)
}

/// What a fresh state report changes about an order that awaits its proof.
pub fn look(order: &Known<'_>, host: &HostState) -> Option<Change> {
    if order.state != OrderState::Running || order.code != Some(AWAITS_PROOF) {
        return None;
    }
    let (component, release) = (order.action.component()?, order.release?);
    match proves(host, component, release) {
        Proof::Runs => {
            Some(Change { release: Some(release.clone()), ..Change::to(OrderState::Done) })
        }
        Proof::NotYet => None,
        Proof::Other(words) => Some(Change {
            release: Some(release.clone()),
            ..Change::because(OrderState::Failed, PROOF_CONTRADICTS, &words)
        }),
    }
}

/// Whether an action ends at a release whose process has to prove it.
fn needs_proof(action: &Action) -> bool {
    match action {
        Action::Update { .. } | Action::Rollback { .. } => true,
        Action::Pin { .. }
        | Action::Unpin { .. }
        | Action::ClearQuarantine { .. }
        | Action::Retire
        | Action::Unknown => false,
    }
}

fn done(order: &Known<'_>, report: &OrderReport, host: Option<&HostState>) -> Change {
    let done = Change {
        release: report.release.clone(),
        words: report.reason.clone(),
        ..Change::to(OrderState::Done)
    };
    let (Some(component), Some(release)) = (order.action.component(), &report.release) else {
        return if needs_proof(order.action) {
            Change::because(
                OrderState::Failed,
                PROOF_CONTRADICTS,
                "the host says that it is done and names no release",
            )
        } else {
            done
        };
    };
    if !needs_proof(order.action)
        || host.is_some_and(|host| proves(host, component, release) == Proof::Runs)
    {
        return done;
    }
    // The state at hand may be older than the deed: only a fresh one may contradict.
    Change {
        release: Some(release.clone()),
        ..Change::because(
            OrderState::Running,
            AWAITS_PROOF,
            "the host says that it is done; its running process has not proved it yet",
        )
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Proof {
    Runs,
    NotYet,
    Other(String),
}

/// Whether the host's look shows that `release` is committed, and that its executable runs.
fn proves(host: &HostState, component: &ComponentName, release: &ReleaseId) -> Proof {
    let found = host.components.iter().find(|state| state.component == *component);
    let Some(ComponentState { current: Some(current), proof, .. }) = found else {
        return Proof::Other(format!("the host's own look finds no {component} committed"));
    };
    if current != release {
        return Proof::Other(format!(
            "the host's own look finds {component} {current} committed, not {release}"
        ));
    }
    match proof {
        Some(proof) if proof.proved && proof.release == *release && proof.boot == host.boot => {
            Proof::Runs
        }
        Some(_) | None => Proof::NotYet,
    }
}

#[cfg(test)]
mod tests;
