//! What a sync changes, in one transaction: who speaks, what is reported, what is handed out.

use std::sync::Arc;

use handover_model::api::AgentState;
use handover_model::wire::{Report, SignedDoc, SyncRequest};
use handover_model::{AgentId, Digest, SessionId, Timestamp, Version};
use handover_store::agents::{self, Agent};
use handover_store::{AgentKey, StoreError, Tx};
use handover_trust::control::verify_report;
use handover_trust::keys::PublicKey;

use super::index::{Settled, Visit};
use super::{handout, reports};
use crate::keys::Ring;
use crate::problem::Code;
use crate::rollouts::Touched;
use crate::{AppState, Problem, news};

/// What came of an exchange.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) state: AgentState,
    pub(super) acknowledged: u64,
    pub(super) state_digest: Option<Digest>,
    pub(super) orders: Vec<SignedDoc>,
    pub(super) cancels: Vec<SignedDoc>,
    /// Whether orders wait that were not handed out, or were not reported on.
    pub(super) is_pending: bool,
    /// What rollouts said.
    said: Vec<handout::rollouts::Said>,
}

impl Outcome {
    /// What stands without an exchange.
    pub(super) fn of(visit: &Visit) -> Self {
        Self {
            state: visit.state,
            acknowledged: visit.acknowledged,
            state_digest: visit.state_digest,
            orders: Vec::new(),
            cancels: Vec::new(),
            is_pending: visit.is_pending,
            said: Vec::new(),
        }
    }
}

/// A report whose signature holds, with its bytes.
#[derive(Debug, Clone)]
pub(super) struct Proved {
    pub(super) report: Report,
    pub(super) document: SignedDoc,
}

/// One exchange, as values: the transaction may run more than once.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each named where it is used")]
struct Exchange {
    key: AgentKey,
    id: AgentId,
    secret: Digest,
    session: SessionId,
    machine: Digest,
    version: Version,
    is_unsaved: bool,
    is_moved: bool,
    is_cloned: bool,
    voids_secret: bool,
    reports: Vec<Proved>,
    ring: Arc<Ring>,
    epoch: u64,
    now: Timestamp,
    /// Rollouts that may have something for it.
    wishes: Vec<handout::rollouts::Wish>,
    /// Rollouts that may have brought it to what it runs.
    touched: Vec<Touched>,
}

/// Runs one exchange, durably.
pub(super) async fn run(
    state: &AppState,
    visit: &Visit,
    request: &SyncRequest,
) -> Result<Outcome, Problem> {
    let reports = prove(state, visit, &request.reports).await?;
    let exchange = Exchange {
        key: visit.key,
        id: visit.id,
        secret: visit.secret,
        session: request.session,
        machine: request.machine,
        version: request.agent_version.clone(),
        is_unsaved: visit.is_unsaved,
        is_moved: visit.is_moved,
        is_cloned: visit.state == AgentState::Cloned,
        voids_secret: visit.voids_secret,
        reports,
        ring: state.keys.orders.ring(),
        epoch: state.epoch,
        now: state.now().wall,
        wishes: wishes(state, visit).await,
        touched: state.rollouts.touched(visit.key),
    };
    let outcome = state.store.write(move |tx| exchange.write(tx)).await?;
    state.rollouts.settle(state, &outcome.said);
    state.agents.settle(
        visit,
        &Settled {
            state: outcome.state,
            acknowledged: outcome.acknowledged,
            state_digest: outcome.state_digest,
            is_pending: outcome.is_pending,
        },
    );
    Ok(outcome)
}

/// Rollouts that may have something for the agent, the most urgent first.
async fn wishes(state: &AppState, visit: &Visit) -> Vec<handout::rollouts::Wish> {
    let memberships = state.rollouts.memberships(visit.key);
    if memberships.is_empty() {
        return Vec::new();
    }
    let shelf = state.library.shelf(state).await;
    memberships
        .into_iter()
        .map(|membership| handout::rollouts::Wish {
            release: crate::rollouts::release(&shelf, &membership.spec),
            order: state.mint(handover_model::OrderId::mint),
            membership,
        })
        .collect()
}

/// Checks the signatures of reports that were not taken before.
async fn prove(
    state: &AppState,
    visit: &Visit,
    documents: &[SignedDoc],
) -> Result<Vec<Proved>, Problem> {
    let is_new = |document: &&SignedDoc| {
        let number = document.0.pointer("/signed/number").and_then(serde_json::Value::as_u64);
        number.is_none_or(|number| number > visit.acknowledged)
    };
    let new: Vec<_> = documents.iter().filter(is_new).cloned().collect();
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let key = visit.key;
    let agent = state.store.read(move |tx| agents::by_key(tx, key)).await?;
    let agent = agent.ok_or_else(|| retired(visit.id))?;
    let public: PublicKey =
        serde_json::from_value(agent.public_key).map_err(|error| Problem::internal(&error))?;
    let mut newest = visit.acknowledged;
    let mut proved = Vec::with_capacity(new.len());
    for document in new {
        let report = verify_report(&document, &public, visit.id).map_err(|error| {
            let words = crate::Chain(&error).to_string();
            tracing::warn!(agent.id = %visit.id, error = %words, "report refused");
            Problem::new(Code::Unproved, format!("a report is not this agent's: {words}"))
        })?;
        let report = report.into_inner();
        // Oldest first: one that comes after a newer one was taken already, or never will be.
        if report.number > newest {
            newest = report.number;
            proved.push(Proved { report, document });
        }
    }
    Ok(proved)
}

impl Exchange {
    fn write(&self, tx: &mut Tx<'_>) -> Result<Outcome, Problem> {
        let agent = agents::by_key(tx, self.key)?.ok_or_else(|| retired(self.id))?;
        if agent.retired_at.is_some() {
            return Err(retired(self.id));
        }
        // Looked at here and not before: another host may have enrolled as this agent meanwhile.
        if agent.secret != self.secret && agent.secret_before != Some(self.secret) {
            return Err(Problem::new(
                Code::Unauthenticated,
                "this secret is void since the agent enrolled again; enrol this host anew",
            ));
        }
        let stood = self.write_standing(tx, &agent)?;
        let taken = reports::take(tx, &agent, &self.reports, &self.touched, self.now)?;
        let mut outcome = Outcome {
            state: if taken.has_left { AgentState::Retired } else { stood },
            acknowledged: taken.acknowledged,
            state_digest: taken.state_digest,
            orders: Vec::new(),
            cancels: Vec::new(),
            is_pending: false,
            said: Vec::new(),
        };
        match outcome.state {
            AgentState::Present | AgentState::Away => {
                // What it reported a moment ago counts already.
                let agent = agents::by_key(tx, self.key)?.ok_or_else(|| retired(self.id))?;
                outcome.said = handout::rollouts::make(tx, &agent, &self.wishes, self.now)?;
                let handed = handout::hand_out(tx, &agent, &self.ring, self.epoch, self.now)?;
                outcome.orders = handed.orders;
                outcome.cancels = handed.cancels;
                outcome.is_pending = handed.is_pending;
            }
            // Two hosts would both act. What waits goes on waiting.
            AgentState::Cloned => outcome.is_pending = agent.open_orders > 0,
            AgentState::Retired => {}
        }
        Ok(outcome)
    }

    /// Who speaks, and how the agent stands since.
    fn write_standing(&self, tx: &mut Tx<'_>, agent: &Agent) -> Result<AgentState, StoreError> {
        if self.voids_secret {
            agents::forget_secret_before(tx, self.key)?;
        }
        if self.is_unsaved {
            agents::set_session(tx, self.key, self.session, &self.machine, &self.version)?;
        }
        if self.is_moved {
            news::agent(tx, self.now, "agent.moved", agent, serde_json::json!({}))?;
        }
        let (stands, kind, note) = match agent.state {
            AgentState::Cloned => return Ok(AgentState::Cloned),
            AgentState::Present | AgentState::Away | AgentState::Retired if self.is_cloned => (
                AgentState::Cloned,
                "agent.cloned",
                Some("two hosts use this agent's identity; neither gets orders"),
            ),
            AgentState::Away => (AgentState::Present, "agent.present", None),
            AgentState::Present | AgentState::Retired => return Ok(agent.state),
        };
        agents::set_standing(tx, self.key, stands, note, self.now)?;
        news::agent(tx, self.now, kind, agent, serde_json::json!({ "note": note }))?;
        if stands == AgentState::Cloned {
            let (before, after) = (Some(agent.state), Some(stands));
            news::audit(tx, self.now, "server", "agent.cloned", agent.id, (before, after))?;
        }
        Ok(stands)
    }
}

fn retired(id: AgentId) -> Problem {
    Problem::new(Code::AgentRetired, format!("{id} was retired; enrol the host again"))
}
