//! What people do to rollouts: decided and written in one transaction, on the row as it is there.

use handover_engine::rollout::controller::{Act, Controller, RefusedAct};
use handover_engine::rollout::gate::{Baseline, Counts as Rate};
use handover_engine::rollout::plan::Plan;
use handover_engine::rollout::roster::Roster;
use handover_model::api::RevertRequest;
use handover_model::{Millis, RolloutId, Timestamp};
use handover_store::audit::NewAudit;
use handover_store::rollouts::{self, Rollout, RolloutKey};
use handover_store::{StoreError, Tx};
use serde_json::{Value, json};

use super::build::{self, open_on};
use super::live::{Drawn, document};
use super::turn::{reverting, taken_back};
use super::write::{Cancel, Written};

/// Who acts, and what is told of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct How {
    /// What the audit trail calls it: `rollout.pause`.
    pub(crate) what: &'static str,
    pub(crate) who: String,
    pub(crate) reason: Option<String>,
    /// Orders that hosts have and did not begin are cancelled, for this reason.
    pub(crate) cancel: Option<Cancel>,
    /// More of it, for the audit trail.
    pub(crate) more: Value,
    /// For a revert: its id, and what was asked for.
    pub(crate) revert: Option<(RolloutId, RevertRequest)>,
    /// For a resume: after how long a silence hosts are away, and when each member was heard
    /// last, by position.
    pub(crate) heard: Option<(Millis, Vec<Option<Timestamp>>)>,
    /// The rollout that takes its place.
    pub(crate) superseded_by: Option<RolloutId>,
}

/// What came of an act.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    /// The row as it stands now.
    pub(crate) row: Rollout,
    /// The rollout that takes hosts back.
    pub(crate) revert: Option<RolloutId>,
}

/// Why an act has no effect.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActError {
    /// It does not fit.
    #[error(transparent)]
    Refused(#[from] RefusedAct),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ActError {
    /// Whether it does not fit how the rollout stands.
    pub(crate) fn is_refused(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Store(_) => false,
        }
    }
}

/// Acts. `drawn` is plan and roster as memory has them; they are read anew where they are not the
/// row's any more.
pub(crate) fn act(
    tx: &mut Tx<'_>,
    key: RolloutKey,
    drawn: Option<&Drawn>,
    act: &Act,
    how: &How,
    now: Timestamp,
) -> Result<Done, ActError> {
    let absent = || StoreError::Absent { what: "rollout", id: key.as_i64().to_string() };
    let row = rollouts::by_key(tx, key)?.ok_or_else(absent)?;
    let drawn = match (&row.plan, drawn) {
        (None, _) => nobody(),
        (Some(_), Some(drawn)) if drawn.plan.members() == row.members => drawn.clone(),
        (Some(plan), _) => {
            let plan: Plan = document(plan, "plan")?;
            Drawn::new(plan, build::roster_of(tx, key, row.members)?)
        }
    };
    let mut controller = open_on(&drawn, &row)?;
    if needs_orders(act) {
        for event in build::events_of(tx, key)? {
            controller.handle(event);
        }
    }
    if let (Act::Resume { .. }, Some((patience, heard))) = (act, &how.heard) {
        // What is accepted is what is known now, and not what was when it was halted.
        let last_seen = |position| {
            usize::try_from(position).ok().and_then(|place| heard.get(place).copied().flatten())
        };
        controller.judge(*patience, &last_seen, now);
    }
    let decision = controller.act(act, now)?;
    let written = Written::of(&row, &controller, &decision, now)?;
    let Some(mut written) = written else { return Ok(Done { row, revert: None }) };
    if !needs_orders(act) {
        written.row.counts = row.counts;
    }
    written.row.superseded_by = how.superseded_by.or(row.superseded_by);
    for event in &mut written.events {
        if let Some(data) = event.data.as_object_mut() {
            data.insert("by".to_owned(), json!(how.who));
            data.insert("reason".to_owned(), json!(how.reason));
        }
    }
    written.cancel.clone_from(&how.cancel);
    if let (Some(scope), Some((id, request))) = (Written::scope(&decision), &how.revert) {
        let made = reverting(&written.row, scope, *id, &how.who, Some(request), now)?;
        written.revert = Some(made);
        written.cancel = written.cancel.or_else(|| Some(taken_back()));
    }
    written.audit = Some(audit_row(&row, &controller, how, now));
    let revert = written.revert.as_ref().map(|revert| revert.id);
    Ok(Done { row: written.write(tx, None, now)?, revert })
}

/// Whether what an act comes to depends on what members said.
fn needs_orders(act: &Act) -> bool {
    match act {
        Act::Resume { .. } | Act::LeaveOut { .. } | Act::Revert { .. } => true,
        Act::Approve { .. }
        | Act::Pause { .. }
        | Act::Abort { .. }
        | Act::RevertEnded { .. }
        | Act::Supersede => false,
    }
}

fn audit_row(before: &Rollout, controller: &Controller, how: &How, now: Timestamp) -> NewAudit {
    let mut after = json!({ "state": controller.progress().state, "reason": how.reason });
    if let (Some(after), Some(more)) = (after.as_object_mut(), how.more.as_object()) {
        after.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    NewAudit {
        at: now,
        who: how.who.clone(),
        what: how.what,
        subject: before.id.to_string(),
        before: Some(json!({ "state": before.state })),
        after: Some(after),
    }
}

/// A rollout that was not drawn yet has no members.
fn nobody() -> Drawn {
    let plan = Plan {
        seed: [0; 32],
        waves: Vec::new(),
        strata: Vec::new(),
        baseline: Baseline::of(Rate::default()),
    };
    Drawn::new(plan, Roster::default())
}
