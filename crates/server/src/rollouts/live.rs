//! One live rollout in memory.

use std::sync::Arc;

use handover_engine::explain::InRollout;
use handover_engine::rollout::controller::{Controller, Event, WindowFact};
use handover_engine::rollout::holds::Held;
use handover_engine::rollout::plan::Plan;
use handover_engine::rollout::roster::Roster;
use handover_engine::window::Schedule;
use handover_model::api::{
    Hold, HoldCode, HoldLifter, MemberOutcome, RolloutKind, RolloutSpec, RolloutState,
};
use handover_model::{RolloutId, RolloutName, Timestamp};
use handover_store::rollouts::{Rollout, RolloutKey};
use handover_store::{AgentKey, StoreError};

use super::waits::{Waits, Woken};

/// A live rollout.
#[derive(Debug)]
pub(crate) struct Live {
    /// Its row, as it was read or written last.
    pub(crate) row: Rollout,
    /// Its specification, shared with those who hand out.
    pub(crate) spec: Arc<RolloutSpec>,
    /// Its windows.
    pub(crate) windows: Arc<Windows>,
    /// Plan and members; `None` before it was drawn.
    pub(crate) drawn: Option<Drawn>,
    pub(super) brain: Brain,
    /// What held it when it was decided last.
    pub(crate) holds: Vec<Held>,
    /// Members that came for their order and could not have it yet.
    pub(crate) waits: Waits,
    /// Whether something happened since it was decided last.
    pub(super) is_stirred: bool,
    /// When it is to be looked at although nothing happened.
    pub(super) look_at: Option<Timestamp>,
    /// Whether this replica is the one that decides it.
    pub(super) is_ours: bool,
    /// Agents that may have come to match, for one whose membership is live.
    pub(super) may_join: std::collections::BTreeSet<handover_model::AgentId>,
    /// What to go back to when a draw, or a late join, could not be written.
    before: Option<Before>,
}

/// Plan and members of a rollout.
#[derive(Debug, Clone)]
pub(crate) struct Drawn {
    pub(crate) plan: Arc<Plan>,
    pub(crate) roster: Arc<Roster>,
    /// Positions, in the order of their agents' rows.
    places: Arc<[u32]>,
}

/// The controller, where this replica has one.
#[derive(Debug)]
pub(super) enum Brain {
    Absent,
    /// Being opened from rows; what happens meanwhile is told it afterwards.
    Opening(Vec<Event>),
    Open(Box<Controller>),
}

/// An agent's place in a rollout that may have something for it.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub(crate) rollout: RolloutKey,
    pub(crate) id: RolloutId,
    pub(crate) name: RolloutName,
    pub(crate) kind: RolloutKind,
    pub(crate) position: u32,
    pub(crate) spec: Arc<RolloutSpec>,
    pub(crate) windows: Arc<Windows>,
    /// Of the row that memory knows.
    pub(crate) generation: u64,
    /// How the member waited when it came last.
    pub(crate) waited: Option<handover_model::api::HoldCode>,
    /// How often members had been woken by then.
    pub(crate) woken: Woken,
}

/// An agent's place in a rollout that may have brought it to another release.
#[derive(Debug, Clone)]
pub(crate) struct Touched {
    pub(crate) rollout: RolloutKey,
    pub(crate) id: RolloutId,
    pub(crate) position: u32,
    pub(crate) spec: Arc<RolloutSpec>,
    pub(crate) generation: u64,
}

/// Members as they were before what is about to be written.
#[derive(Debug)]
struct Before {
    drawn: Option<Drawn>,
    joining: std::collections::BTreeSet<handover_model::AgentId>,
}

impl Membership {
    pub(crate) fn is_revert(&self) -> bool {
        match self.kind {
            RolloutKind::Update => false,
            RolloutKind::Revert { .. } => true,
        }
    }
}

impl Drawn {
    pub(crate) fn new(plan: Plan, roster: Roster) -> Self {
        let count = u32::try_from(roster.members.len()).unwrap_or(u32::MAX);
        let mut places: Vec<u32> = (0..count).collect();
        places.sort_unstable_by_key(|place| agent_at(&roster, *place));
        Self { plan: Arc::new(plan), roster: Arc::new(roster), places: places.into() }
    }

    /// The place of an agent.
    pub(crate) fn position(&self, agent: AgentKey) -> Option<u32> {
        let wanted = Some(agent.as_i64());
        let found =
            self.places.binary_search_by_key(&wanted, |place| agent_at(&self.roster, *place));
        found.ok().and_then(|index| self.places.get(index).copied())
    }

    /// The agent at a place.
    pub(crate) fn agent(&self, position: u32) -> Option<AgentKey> {
        agent_at(&self.roster, position).map(AgentKey::from_i64)
    }
}

fn agent_at(roster: &Roster, position: u32) -> Option<i64> {
    let index = usize::try_from(position).ok()?;
    roster.members.get(index).map(|member| member.agent)
}

impl Live {
    pub(super) fn new(row: Rollout, drawn: Option<Drawn>) -> Self {
        Self {
            spec: Arc::new(row.spec.clone()),
            windows: Arc::new(Windows::of(&row.spec)),
            row,
            drawn,
            brain: Brain::Absent,
            holds: Vec::new(),
            waits: Waits::default(),
            is_stirred: true,
            look_at: None,
            is_ours: false,
            may_join: std::collections::BTreeSet::new(),
            before: None,
        }
    }

    /// One that is looked at and forgotten.
    pub(super) fn aside(row: Rollout, drawn: Drawn, controller: Controller) -> Self {
        let brain = Brain::Open(Box::new(controller));
        Self { brain, ..Self::new(row, Some(drawn)) }
    }

    /// Takes over a row that somebody else wrote, with the members that are here.
    pub(super) fn renew(&mut self, row: Rollout) {
        if row.generation <= self.row.generation {
            return;
        }
        self.drop_controller();
        self.adopt(row);
    }

    /// Takes over a row with other members than are here.
    pub(super) fn redraw(&mut self, row: Rollout, drawn: Option<Drawn>) {
        if row.generation <= self.row.generation {
            return;
        }
        self.drop_controller();
        self.adopt(row);
        self.drawn = drawn;
    }

    /// Takes over a row that follows from what the controller decided, now that it is stored.
    pub(super) fn adopt(&mut self, row: Rollout) {
        if *self.spec != row.spec {
            self.spec = Arc::new(row.spec.clone());
            self.windows = Arc::new(Windows::of(&row.spec));
        }
        self.row = row;
        self.before = None;
        self.is_stirred = true;
    }

    /// Forgets what was not stored: the controller, and members that it was drawn with.
    pub(super) fn drop_controller(&mut self) {
        if let Some(before) = self.before.take() {
            self.drawn = before.drawn;
            self.may_join.extend(before.joining);
        }
        self.brain = Brain::Absent;
        self.is_ours = false;
        self.is_stirred = true;
    }

    /// Puts members in that are not stored yet.
    pub(super) fn put(&mut self, drawn: Drawn) {
        let drawn = self.drawn.replace(drawn);
        match &mut self.before {
            // They are the members before both.
            Some(before) => before.drawn = before.drawn.take().or(drawn),
            None => {
                self.before = Some(Before { drawn, joining: std::collections::BTreeSet::new() });
            }
        }
    }

    /// Agents that came to match; they are back here if what becomes of them is not stored.
    pub(super) fn take_joining(&mut self) -> std::collections::BTreeSet<handover_model::AgentId> {
        let joining = std::mem::take(&mut self.may_join);
        if !joining.is_empty() {
            let drawn = self.drawn.clone();
            self.before = Some(Before { drawn, joining: joining.clone() });
        }
        joining
    }

    /// Whether members are here that are not stored.
    pub(super) fn is_unstored(&self) -> bool {
        self.before.is_some()
    }

    /// Whether the members that are here are those of a row: the same draw, and as many.
    pub(super) fn is_drawn_as(&self, row: &Rollout, seed: Option<[u8; 32]>) -> bool {
        let here = self.drawn.as_ref().map(|drawn| (drawn.plan.seed, drawn.plan.members()));
        !self.is_unstored() && here == seed.map(|seed| (seed, row.members))
    }

    /// Of those that came to match none can join.
    pub(super) fn forget_joining(&mut self) {
        self.before = None;
    }

    /// The controller, where it is open.
    pub(crate) fn controller(&self) -> Option<&Controller> {
        match &self.brain {
            Brain::Open(controller) => Some(controller),
            Brain::Absent | Brain::Opening(_) => None,
        }
    }

    pub(super) fn controller_mut(&mut self) -> Option<&mut Controller> {
        match &mut self.brain {
            Brain::Open(controller) => Some(controller),
            Brain::Absent | Brain::Opening(_) => None,
        }
    }

    /// Tells the controller.
    pub(super) fn tell(&mut self, event: Event) {
        match &mut self.brain {
            Brain::Open(controller) => controller.handle(event),
            Brain::Opening(later) => later.push(event),
            Brain::Absent => {}
        }
        self.is_stirred = true;
    }

    /// An agent's place in it, if it may have something for that agent.
    pub(super) fn membership(&self, agent: AgentKey) -> Option<Membership> {
        match self.row.state {
            RolloutState::Running | RolloutState::Paused | RolloutState::Halted => {}
            RolloutState::Scheduled
            | RolloutState::Reverting
            | RolloutState::Reverted
            | RolloutState::Done
            | RolloutState::Aborted
            | RolloutState::Superseded => return None,
        }
        let position = self.drawn.as_ref()?.position(agent)?;
        if position >= self.row.released {
            return None;
        }
        Some(self.membership_at(position))
    }

    pub(super) fn touched(&self, agent: AgentKey) -> Option<Touched> {
        if self.row.kind != RolloutKind::Update || self.row.state == RolloutState::Reverting {
            return None;
        }
        let position = self.drawn.as_ref()?.position(agent)?;
        (position < self.row.released).then(|| Touched {
            rollout: self.row.key,
            id: self.row.id,
            position,
            spec: Arc::clone(&self.spec),
            generation: self.row.generation,
        })
    }

    /// What is to be said of an agent's place in it.
    pub(super) fn says(&self, agent: AgentKey) -> Option<InRollout> {
        if self.row.ended_at.is_some() {
            return None;
        }
        let drawn = self.drawn.as_ref()?;
        let position = drawn.position(agent)?;
        let is_settled =
            self.controller().is_some_and(|controller| match controller.outcome(position) {
                MemberOutcome::Waiting
                | MemberOutcome::Released
                | MemberOutcome::Away
                | MemberOutcome::Running => false,
                MemberOutcome::Done
                | MemberOutcome::Failed
                | MemberOutcome::Decayed
                | MemberOutcome::Silent
                | MemberOutcome::Refused
                | MemberOutcome::Withdrawn
                | MemberOutcome::Satisfied
                | MemberOutcome::LeftOut => true,
            });
        if is_settled {
            return None;
        }
        let released = position < self.row.released;
        let own = self.waits.why(position).map(|why| (why.code, why.text.clone()));
        let first = self.holds.first().map(|held| &held.hold);
        let whole = first.map(|hold| (hold.code, hold.text.clone()));
        let wave = usize::try_from(drawn.plan.wave_of(position)).ok();
        let wave = wave.and_then(|wave| drawn.plan.waves.get(wave));
        Some(InRollout {
            name: self.row.name.clone(),
            to: (self.row.kind == RolloutKind::Update).then(|| self.row.spec.to.clone()),
            state: self.row.state,
            wave: wave.map(|wave| wave.name.clone()).unwrap_or_default(),
            released,
            held: own.or_else(|| whole.filter(|_| !released)),
            by: first.map_or(HoldLifter::Hosts, |hold| hold.lifted_by),
        })
    }

    /// What holds it, with what only those who wait know.
    pub(super) fn shown_holds(&self) -> Vec<Held> {
        let mut holds = self.holds.clone();
        let is_known = holds.iter().any(|held| held.hold.code == HoldCode::Limit);
        let limited = self.waits.limited(Held::MOST_NAMED);
        if let Some((count, why, positions)) = limited.filter(|_| !is_known) {
            let (code, lifted_by) = (HoldCode::Limit, HoldLifter::Hosts);
            let text = format!("a limit keeps {count} waiting: {}", why.text);
            let hold = Hold { code, text, lifted_by, until: None, wave: None, agents: Vec::new() };
            holds.push(Held { hold, positions });
        }
        holds
    }

    pub(super) fn membership_at(&self, position: u32) -> Membership {
        Membership {
            rollout: self.row.key,
            id: self.row.id,
            name: self.row.name.clone(),
            kind: self.row.kind.clone(),
            position,
            spec: Arc::clone(&self.spec),
            windows: Arc::clone(&self.windows),
            generation: self.row.generation,
            waited: self.waits.code_of(position),
            woken: self.waits.woken(),
        }
    }
}

/// The windows of a rollout, which were checked when it was made. A zone that was known then and
/// is not known on this machine leaves nothing open, rather than everything.
#[derive(Debug)]
pub(crate) struct Windows(Option<Schedule>);

impl Windows {
    /// Of a specification.
    pub(crate) fn of(spec: &RolloutSpec) -> Self {
        let parsed = Schedule::parse(&spec.windows, jiff::tz::db());
        Self(parsed.map_or_else(
            |error| {
                tracing::error!(error = %crate::Chain(&error), "windows can't be read");
                None
            },
            Some,
        ))
    }

    /// How they stand.
    pub(crate) fn at(&self, now: Timestamp) -> WindowFact {
        let closed = WindowFact { open: false, opens_at: None, closes_at: None };
        self.0.as_ref().map_or(closed, |schedule| WindowFact::of(schedule, now))
    }
}

/// A stored document of the engine's.
pub(super) fn document<T: serde::de::DeserializeOwned>(
    text: &str,
    what: &'static str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::CorruptRow {
        sql: format!("rollouts: {what}"),
        column: 0,
        expected: what,
        found: error.to_string(),
    })
}
