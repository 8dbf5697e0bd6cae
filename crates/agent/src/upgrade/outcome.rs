//! `outcome.json`: how a run stands or ended.

use handover_engine::journal::Replay;
use handover_engine::run::{StepState, summarize};
use handover_engine::upgrade::steps;
use handover_hoststeps::{HostError, disk};
use handover_model::{
    Layout, OUTCOME_FORMAT, Order, Outcome, RunId, RunResult, Timestamp, open_framed, seal_framed,
};

/// Reads a run's outcome; `None` when it never rested.
pub(super) fn load(layout: &Layout, run: RunId) -> Result<Option<Outcome>, HostError> {
    let path = layout.run(run).join("outcome.json");
    let Some(bytes) = disk::read(&path)? else { return Ok(None) };
    open_framed("outcome", OUTCOME_FORMAT, &bytes)
        .map(Some)
        .map_err(|source| HostError::Damaged { path, source })
}

/// Writes how the run of `order` stands.
pub(super) fn save(
    layout: &Layout,
    order: &Order,
    result: RunResult,
    reason: &str,
    at: Timestamp,
) -> Result<(), HostError> {
    let outcome = Outcome {
        run: order.run,
        component: order.component.clone(),
        from: order.from.clone(),
        to: order.to.clone(),
        result,
        reason: reason.to_owned(),
        at,
    };
    let path = layout.run(order.run).join("outcome.json");
    let bytes = seal_framed("outcome", OUTCOME_FORMAT, &outcome)
        .map_err(|source| HostError::Damaged { path: path.clone(), source })?;
    disk::write(&path, &bytes, 0o644)
}

/// What a run that was taken back is called: refused, if the component never noticed it.
pub(super) fn taken_back(layout: &Layout, run: RunId) -> RunResult {
    let journal = layout.run(run).join("journal.jsonl");
    let replay = disk::read(&journal).ok().flatten().and_then(|bytes| Replay::of(&bytes).ok());
    let summary = replay.and_then(|replay| summarize(&replay).ok().flatten());
    let noticed = |id: &str| id == steps::PAUSE.id || id == steps::TRIAL.id;
    let unnoticed = summary.is_some_and(|summary| {
        summary
            .steps
            .iter()
            .filter(|step| noticed(step.step.as_str()))
            .all(|step| step.state == StepState::Pending)
    });
    if unnoticed { RunResult::Refused } else { RunResult::Reverted }
}
