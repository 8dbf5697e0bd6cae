//! What follows from a decision, as values: written in one transaction, or not at all.

use handover_engine::rollout::controller::{Controller, Decision, Effect, RevertScope};
use handover_model::Timestamp;
use handover_model::api::RolloutState;
use handover_store::audit::NewAudit;
use handover_store::events::NewEvent;
use handover_store::rollouts::{self, NewRollout, Rollout, RosterMember};
use handover_store::{Lease, StoreError, Tx, audit, events};
use serde_json::{Value, json};

/// One rollout's change.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    /// The row as it is to be; its generation is the one that it is to replace.
    pub(crate) row: Rollout,
    /// Members to add, behind those that there are.
    pub(crate) append: Option<(u32, Vec<RosterMember>)>,
    /// What is told.
    pub(crate) events: Vec<NewEvent>,
    /// What a person did.
    pub(crate) audit: Option<NewAudit>,
    /// A rollout to be made that takes hosts back.
    pub(crate) revert: Option<NewRollout>,
    /// Orders that hosts did not begin are cancelled, for this reason.
    pub(crate) cancel: Option<Cancel>,
}

/// Why orders are cancelled.
#[derive(Debug, Clone)]
pub(crate) struct Cancel {
    pub(crate) code: &'static str,
    pub(crate) words: String,
}

impl Cancel {
    /// Until the rollout goes on: the orders are made again then.
    pub(crate) fn for_a_pause() -> Self {
        let words = "the rollout was paused before the host began; it comes again";
        Self { code: handover_engine::rollout::outcome::PAUSED, words: words.to_owned() }
    }

    /// For good.
    pub(crate) fn for_good() -> Self {
        let words = "the rollout was aborted before the host began";
        Self { code: "rollout.aborted", words: words.to_owned() }
    }
}

impl Written {
    /// What a decision makes of a row; `None`: nothing is to be written.
    pub(crate) fn of(
        row: &Rollout,
        controller: &Controller,
        decision: &Decision,
        now: Timestamp,
    ) -> Result<Option<Self>, StoreError> {
        if !decision.changed && decision.effects.is_empty() {
            return Ok(None);
        }
        let progress = controller.progress();
        let mut row = row.clone();
        row.state = progress.state;
        row.released = progress.released;
        row.members = controller.plan().members();
        row.progress = as_text(progress)?;
        row.counts = controller.counts();
        row.started_at = progress.started_at;
        // Its name is free once nothing more is handed out of it.
        row.ended_at = match progress.state {
            RolloutState::Reverting => progress.ended_at.or(row.ended_at).or(Some(now)),
            RolloutState::Scheduled
            | RolloutState::Running
            | RolloutState::Paused
            | RolloutState::Halted
            | RolloutState::Reverted
            | RolloutState::Done
            | RolloutState::Aborted
            | RolloutState::Superseded => progress.ended_at,
        };
        row.watch_until = progress.watch_until.filter(|until| *until > now);
        let events = decision.effects.iter().map(|effect| told(&row, effect, now)).collect();
        Ok(Some(Self { row, append: None, events, audit: None, revert: None, cancel: None }))
    }

    /// Writes it all; the row as it stands then.
    pub(crate) fn write(
        &self,
        tx: &mut Tx<'_>,
        lease: Option<&Lease>,
        now: Timestamp,
    ) -> Result<Rollout, StoreError> {
        if let Some(lease) = lease {
            tx.check_fence(lease)?;
        }
        let mut row = self.row.clone();
        if let Some(revert) = &self.revert {
            rollouts::insert(tx, revert, now)?;
            events::insert(tx, &made(revert, now))?;
            row.reverted_by = Some(revert.id);
        }
        row.generation = rollouts::save(tx, &row, now)?;
        row.changed_at = now;
        if let Some((already, members)) = &self.append {
            rollouts::append_members(tx, row.key, *already, members)?;
        }
        if let Some(cancel) = &self.cancel {
            cancel_open(tx, &row, cancel, now)?;
        }
        for event in &self.events {
            events::insert(tx, event)?;
        }
        if let Some(change) = &self.audit {
            audit::insert(tx, change)?;
        }
        Ok(row)
    }

    /// Which hosts the effects want taken back.
    pub(crate) fn scope(decision: &Decision) -> Option<RevertScope> {
        decision.effects.iter().find_map(|effect| match effect {
            Effect::Revert(scope) => Some(*scope),
            Effect::Started
            | Effect::Released { .. }
            | Effect::WaveBegan(_)
            | Effect::WaveThrough(_)
            | Effect::NeedsApproval(_)
            | Effect::Approved(_)
            | Effect::Paused
            | Effect::Resumed
            | Effect::Halted(_)
            | Effect::Reverted
            | Effect::LeftOut(_)
            | Effect::Done
            | Effect::Aborted
            | Effect::Superseded
            | Effect::Alert(_) => None,
        })
    }
}

/// A document of the engine's, as its column holds it.
pub(crate) fn as_text<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::CorruptRow {
        sql: "rollouts: writing".to_owned(),
        column: 0,
        expected: "a document that has a JSON form",
        found: error.to_string(),
    })
}

/// Cancels what hosts have and did not begin, and what nobody came for.
fn cancel_open(
    tx: &mut Tx<'_>,
    row: &Rollout,
    cancel: &Cancel,
    now: Timestamp,
) -> Result<(), StoreError> {
    use handover_model::api::OrderState;
    for id in rollouts::open_orders(tx, row.key)? {
        let Some(mut order) = handover_store::orders::get(tx, id)? else { continue };
        let state = match order.state {
            OrderState::Pending => OrderState::Cancelled,
            OrderState::HandedOut | OrderState::Accepted => OrderState::Cancelling,
            OrderState::Cancelling
            | OrderState::Running
            | OrderState::Done
            | OrderState::Failed
            | OrderState::Reverted
            | OrderState::Refused
            | OrderState::Cancelled
            | OrderState::Expired
            | OrderState::Superseded
            | OrderState::Voided => continue,
        };
        order.state = state;
        order.code = Some(cancel.code.to_owned());
        order.outcome = Some(cancel.words.clone());
        handover_store::orders::save(tx, &order, now)?;
        crate::news::order(tx, now, &order)?;
    }
    Ok(())
}

/// An event about a rollout.
pub(crate) fn event(row: &Rollout, kind: &'static str, mut data: Value, at: Timestamp) -> NewEvent {
    if let Some(data) = data.as_object_mut() {
        data.insert("name".to_owned(), json!(row.name));
        data.insert("component".to_owned(), json!(row.spec.component));
        data.insert("to".to_owned(), json!(row.spec.to));
        data.insert("state".to_owned(), json!(row.state));
        data.insert("released".to_owned(), json!(row.released));
        data.insert("members".to_owned(), json!(row.members));
        // What the row's generation is once this is written.
        data.insert("generation".to_owned(), json!(row.generation + 1));
    }
    NewEvent { at, kind, agent: None, order: None, rollout: Some(row.id), data }
}

/// The event that tells of a new rollout.
pub(crate) fn made(new: &NewRollout, at: Timestamp) -> NewEvent {
    let data = json!({
        "name": new.spec.name,
        "component": new.spec.component,
        "to": new.spec.to,
        "kind": new.kind,
        "by": new.by,
        "generation": 1,
    });
    NewEvent { at, kind: "rollout.created", agent: None, order: None, rollout: Some(new.id), data }
}

fn told(row: &Rollout, effect: &Effect, at: Timestamp) -> NewEvent {
    let wave_name = |wave: &u32| {
        let plan: Option<Value> =
            row.plan.as_deref().and_then(|plan| serde_json::from_str(plan).ok());
        plan.and_then(|plan| plan.pointer(&format!("/waves/{wave}/name")).cloned())
    };
    let (kind, data) = match effect {
        Effect::Started => ("rollout.started", json!({})),
        Effect::Released { from, to } => ("rollout.released", json!({ "from": from, "until": to })),
        Effect::WaveBegan(wave) => {
            let name = wave_name(wave);
            ("rollout.wave", json!({ "wave": wave, "wave_name": name, "is": "running" }))
        }
        Effect::WaveThrough(wave) => {
            let name = wave_name(wave);
            ("rollout.wave", json!({ "wave": wave, "wave_name": name, "is": "through" }))
        }
        Effect::NeedsApproval(wave) => {
            ("rollout.needs_approval", json!({ "wave": wave, "wave_name": wave_name(wave) }))
        }
        Effect::Approved(wave) => {
            ("rollout.approved", json!({ "wave": wave, "wave_name": wave_name(wave) }))
        }
        Effect::Paused => ("rollout.paused", json!({})),
        Effect::Resumed => ("rollout.resumed", json!({})),
        Effect::Halted(halt) => (
            "rollout.halted",
            json!({ "gate": halt.gate.name(), "text": halt.text, "wave": halt.wave }),
        ),
        Effect::Revert(scope) => {
            let wave = match scope {
                RevertScope::Wave(wave) => Some(*wave),
                RevertScope::Rollout => None,
            };
            ("rollout.reverting", json!({ "wave": wave }))
        }
        Effect::Reverted => ("rollout.reverted", json!({})),
        Effect::LeftOut(positions) => ("rollout.left_out", json!({ "count": positions.len() })),
        Effect::Done => ("rollout.done", json!({ "counts": row.counts })),
        Effect::Aborted => ("rollout.aborted", json!({})),
        Effect::Superseded => ("rollout.superseded", json!({ "by": row.superseded_by })),
        Effect::Alert(alert) => {
            ("rollout.alert", json!({ "code": alert.code, "text": alert.text }))
        }
    };
    event(row, kind, data, at)
}
