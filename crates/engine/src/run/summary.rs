//! What a journal tells without resuming its run: for status, for the agent's start, for
//! retention.

use handover_model::RunId;

use super::state::{Phase, State};
use super::{Party, Plan, Refused, StepId};
use crate::journal::{Body, Replay};

/// What a journal adds up to.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The run.
    pub run: RunId,
    /// Whose chain it is.
    pub party: Party,
    /// The plan that it carries.
    pub plan: Plan,
    /// How it ended, if it has.
    pub ended: Option<Ended>,
    /// Why it is being, or was, taken back.
    pub turned: Option<String>,
    /// The steps in the plan's order.
    pub steps: Vec<StepSummary>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Every step is done.
    Done,
    /// Everything is taken back; why.
    Reverted(String),
}

/// Where one step stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepSummary {
    /// The step.
    pub step: StepId,
    /// Where it stands.
    pub state: StepState,
    /// Why it won't be tried again by itself.
    pub failed: Option<String>,
}

/// Where a step stands, as a journal proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Begun; what is done of it only a look can tell.
    Applying,
    /// Was so already.
    Satisfied,
    /// Done, by us or by the party whose step it is.
    Done,
    /// Being taken back.
    Reverting,
    /// Taken back, or without effect after another party's turn.
    Reverted,
}

/// Adds up what a journal holds; `None` when it holds nothing yet.
///
/// # Errors
/// When its records can't follow each other.
pub fn summarize(replay: &Replay) -> Result<Option<Summary>, Refused> {
    let Some(Body::Begin { run, party, plan }) = replay.records().first().map(|r| &r.body) else {
        return Ok(None);
    };
    let mut state = State::new(*run, plan.as_ref().clone(), party.clone());
    for record in replay.records() {
        state.fold(record)?;
    }
    let ended = if state.all_settled() {
        Some(Ended::Done)
    } else {
        state.all_reverted().map(|why| Ended::Reverted(why.to_owned()))
    };
    let steps = plan.steps.iter().filter_map(|spec| {
        let proven = state.steps.get(&spec.id)?;
        let state = match &proven.phase {
            Phase::Pending => StepState::Pending,
            Phase::Intended(_) => StepState::Applying,
            Phase::Satisfied(_) => StepState::Satisfied,
            Phase::Done(..) | Phase::Theirs(_) => StepState::Done,
            Phase::Reverting(_) => StepState::Reverting,
            Phase::Reverted | Phase::Gone => StepState::Reverted,
        };
        Some(StepSummary { step: spec.id.clone(), state, failed: proven.failed.clone() })
    });
    let steps = steps.collect();
    let (run, party) = (state.run, state.me);
    Ok(Some(Summary { run, party, plan: state.plan, ended, turned: state.turned, steps }))
}
