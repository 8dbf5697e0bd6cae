//! The controller of one rollout: events in, decisions and their reasons out.
//!
//! It holds what the orders of its members say (eight bytes a member, and eight more for each that
//! is under way), counts it, and raises the number of released members when the gate lets it. All
//! of it can be rebuilt from rows: open it with the stored plan, roster and progress, tell it what
//! the orders say, in any order, and it decides as the one before it.

mod acts;
mod decision;
mod inputs;
mod progress;

use std::sync::Arc;

use handover_model::Timestamp;
use handover_model::api::{
    Counts, EvidenceInfo, HoldCode, HoldLifter, MemberOutcome, RolloutSpec, WaveInfo,
};

pub use acts::{Act, RefusedAct};
pub use decision::{Decision, Effect, RevertScope};
pub use inputs::{CheckFact, Event, Facts, MemberFact, Presence, Watched, WindowFact};
pub use progress::{Halt, HaltGate, Period, Progress, Signed, Step, WaveProgress};

use super::holds::Held;
use super::plan::Plan;
use super::roster::Roster;

/// The controller of one rollout.
#[derive(Debug)]
pub struct Controller {
    plan: Arc<Plan>,
    roster: Arc<Roster>,
    spec: RolloutSpec,
    progress: Progress,
}

impl Controller {
    /// Opens a rollout from what is stored. What its orders say is to be told next, by
    /// [`Self::handle`], before anything is decided.
    pub fn open(
        plan: Arc<Plan>,
        roster: Arc<Roster>,
        spec: RolloutSpec,
        progress: Progress,
    ) -> Self {
        Self { plan, roster, spec, progress }
    }

    /// What is to be stored.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The roster.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// What was asked for, as it stands now.
    pub fn spec(&self) -> &RolloutSpec {
        &self.spec
    }

    /// Takes an event in: in constant time but for the order of deadlines, O(log n).
    pub fn handle(&mut self, _event: Event) {}

    /// Takes late joiners in: plan and roster as [`late`](super::roster::late) left them.
    pub fn join(&mut self, plan: Arc<Plan>, roster: Arc<Roster>) {
        (self.plan, self.roster) = (plan, roster);
    }

    /// Takes a changed specification in, which
    /// [`check_change`](super::check::check_change) let through.
    pub fn change(&mut self, spec: RolloutSpec) {
        self.spec = spec;
    }

    /// When it should decide again, even if nothing happens meanwhile: a deadline, the end of a
    /// soak, an answer of a check that grows old. What windows and schedules have to wait for is in
    /// the holds.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// Decides what follows from all that is known now.
    pub fn decide(&mut self, _facts: &Facts<'_>, _now: Timestamp) -> Decision {
        let text = "this build can't advance rollouts yet".to_owned();
        let hold = Held::new(HoldCode::Release, HoldLifter::Outside, text);
        Decision { holds: vec![hold], ..Decision::default() }
    }

    /// Does what a person, or another rollout, wants. Holds are not computed here: decide next.
    ///
    /// # Errors
    /// [`RefusedAct`]: nothing changed.
    pub fn act(&mut self, act: &Act, _now: Timestamp) -> Result<Decision, RefusedAct> {
        let act = match act {
            Act::Approve { .. } => "approved",
            Act::Pause { .. } => "paused",
            Act::Resume { .. } => "resumed",
            Act::Abort { .. } => "aborted",
            Act::LeaveOut { .. } => "changed",
            Act::Revert { .. } | Act::RevertEnded { .. } => "reverted",
            Act::Supersede => "superseded",
        };
        let hint = "this build can't do it yet";
        Err(RefusedAct::State { act, state: self.progress.state, hint })
    }

    /// How a member stands.
    pub fn outcome(&self, _position: u32) -> MemberOutcome {
        MemberOutcome::Waiting
    }

    /// All members, counted.
    pub fn counts(&self) -> Counts {
        Counts { members: self.plan.members(), ..Counts::default() }
    }

    /// The waves, as they stand now.
    pub fn waves(&self) -> Vec<WaveInfo> {
        Vec::new()
    }

    /// What the gate sees; absent before anybody was exposed.
    pub fn evidence(&self) -> Option<EvidenceInfo> {
        None
    }
}
