//! Orders of rollouts: made in the transaction that hands them out first, after a look at the
//! rollout's row. So a pause, a halt or a stop that is committed holds back everything that comes
//! after it.

use handover_engine::rollout::handout::{Ask, Attempt, Withheld, may_hand_out};
use handover_model::api::{HoldCode, LimitSpec, RolloutKind, RolloutSpec};
use handover_model::wire::{Action, Expect};
use handover_model::{OrderId, RolloutName, Timestamp};
use handover_store::agents::{self, Agent};
use handover_store::events::{self, NewEvent};
use handover_store::orders::{self, Member, NewOrder};
use handover_store::rollouts::{self, MemberOrder, RolloutKey, Standing};
use handover_store::{StoreError, Tx, fleet};
use serde_json::json;

use crate::Problem;
use crate::rollouts::{Membership, Waiting, Windows, Woken, words_of};

/// What an agent may have an order of, with the id that the order would get.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) membership: Membership,
    pub(crate) order: OrderId,
    /// Why the release can't be handed out, if it can't.
    pub(crate) release: Result<(), String>,
}

/// What came of it, for memory: who waits for what, and who does not any more; and how often
/// members had been woken before it was asked.
pub(crate) type Said = (RolloutKey, u32, Option<Waiting>, Woken);

/// Makes the orders that an agent may have now.
pub(in crate::gateway) fn make(
    tx: &mut Tx<'_>,
    agent: &Agent,
    wishes: &[Wish],
    now: Timestamp,
) -> Result<Vec<Said>, Problem> {
    let mut said = Vec::with_capacity(wishes.len());
    let mut more_urgent: Option<RolloutName> = None;
    for wish in wishes {
        let membership = &wish.membership;
        let Some(standing) = rollouts::standing_held(tx, membership.rollout)? else { continue };
        let desk = Desk { agent, wish, standing, now };
        let waiting = match desk.ask(tx, more_urgent.as_ref())? {
            Ok(()) => {
                more_urgent.get_or_insert_with(|| membership.name.clone());
                None
            }
            Err(withheld) => desk.note(tx, withheld)?,
        };
        said.push((membership.rollout, membership.position, waiting, membership.woken));
    }
    Ok(said)
}

struct Desk<'d> {
    agent: &'d Agent,
    wish: &'d Wish,
    standing: Standing,
    now: Timestamp,
}

impl Desk<'_> {
    fn ask(
        &self,
        tx: &mut Tx<'_>,
        more_urgent: Option<&RolloutName>,
    ) -> Result<Result<(), Withheld>, Problem> {
        let membership = &self.wish.membership;
        let spec = self.spec()?;
        let before = rollouts::order_of_member(tx, membership.rollout, membership.position)?;
        let attempts: Vec<Attempt<'_>> = before.iter().map(attempt).collect();
        let current = agents::component_version(tx, self.agent.key, &spec.component)?;
        let back_to = self.back_to(tx)?;
        let open = orders::open_of(tx, self.agent.key)?;
        let open_order = open.iter().any(|order| moves(&order.action) == Some(&spec.component));
        let in_flight = self.in_flight(tx, &spec.limits)?;
        let components: Vec<_> = self
            .agent
            .components
            .iter()
            .filter_map(|one| Some((&one.component, one.current.as_ref()?)))
            .collect();
        let window = if spec.windows == membership.spec.windows {
            membership.windows.at(self.now)
        } else {
            Windows::of(&spec).at(self.now)
        };
        let stop = fleet::stop_held(tx)?.as_ref().map(words_of);
        let ask = Ask {
            state: self.standing.state,
            kind: &membership.kind,
            spec: &spec,
            released: self.standing.released,
            position: membership.position,
            left_out: self.standing.left_out.binary_search(&membership.position).is_ok(),
            current: current.as_ref(),
            back_to: back_to.as_ref(),
            attempts: &attempts,
            open_order,
            more_urgent,
            in_flight: &in_flight,
            components: &components,
            window,
            fleet_stopped: stop.as_deref(),
            release: self.wish.release.as_ref().copied().map_err(String::as_str),
            now: self.now,
        };
        let handed = match may_hand_out(&ask) {
            Ok(handed) => handed,
            Err(withheld) => return Ok(Err(withheld)),
        };
        let expect = self.agent.state_digest.map(|_reported| Expect { current });
        let order = NewOrder {
            id: self.wish.order,
            agent: self.agent.key,
            action: handed.action,
            expect,
            reason: spec.reason.clone(),
            by: format!("rollout {}", membership.name),
            expires: handed.expires,
            member: Some(Member {
                rollout: membership.rollout,
                position: membership.position,
                attempt: handed.attempt,
            }),
            activate_at: handed.activate,
        };
        orders::insert(tx, &order, self.now)?;
        Ok(Ok(()))
    }

    /// What was asked for: as memory has it, unless somebody changed it a moment ago.
    fn spec(&self) -> Result<std::sync::Arc<RolloutSpec>, Problem> {
        let membership = &self.wish.membership;
        if membership.generation == self.standing.generation {
            return Ok(std::sync::Arc::clone(&membership.spec));
        }
        let spec = serde_json::from_str(&self.standing.spec);
        spec.map(std::sync::Arc::new).map_err(|error| Problem::internal(&error))
    }

    /// What the host ran before the rollout that is taken back.
    fn back_to(&self, tx: &mut Tx<'_>) -> Result<Option<handover_model::Version>, StoreError> {
        match &self.wish.membership.kind {
            RolloutKind::Update => Ok(None),
            RolloutKind::Revert { of, .. } => rollouts::version_before(tx, *of, self.agent.key),
        }
    }

    fn in_flight(&self, tx: &mut Tx<'_>, limits: &[LimitSpec]) -> Result<Vec<u32>, StoreError> {
        let rollout = self.wish.membership.rollout;
        // Nobody waits for those that were left out.
        let but = &self.standing.left_out;
        let count = |limit: &LimitSpec| match &limit.per {
            None => rollouts::in_flight(tx, rollout, None, but),
            // A host without the label is alone.
            Some(label) => self.agent.labels.get(label).map_or(Ok(0), |value| {
                rollouts::in_flight(tx, rollout, Some((label.as_str(), value)), but)
            }),
        };
        limits.iter().map(count).collect()
    }

    /// What is to be kept of a no: whom to wake when, and what the controller has to hear.
    fn note(&self, tx: &mut Tx<'_>, withheld: Withheld) -> Result<Option<Waiting>, Problem> {
        match withheld {
            Withheld::NotReleased | Withheld::Over | Withheld::LeftOut | Withheld::Settled(_) => {
                Ok(None)
            }
            Withheld::Satisfied => {
                self.tell(tx, "rollout.satisfied", None)?;
                Ok(None)
            }
            // Its end wakes the agent.
            Withheld::Open => {
                let text = "another order for the component is open".to_owned();
                Ok(Some(Waiting { code: HoldCode::Priority, text, until: None }))
            }
            Withheld::Held(held) => {
                let code = held.hold.code;
                let is_own = matches!(code, HoldCode::Requirement | HoldCode::Priority);
                if is_own && self.wish.membership.waited != Some(code) {
                    self.tell(tx, "rollout.blocked", Some(code))?;
                }
                Ok(Some(Waiting { code, text: held.hold.text, until: held.hold.until }))
            }
        }
    }

    fn tell(
        &self,
        tx: &mut Tx<'_>,
        kind: &'static str,
        code: Option<HoldCode>,
    ) -> Result<(), StoreError> {
        let membership = &self.wish.membership;
        let event = NewEvent {
            at: self.now,
            kind,
            agent: Some(self.agent.id),
            order: None,
            rollout: Some(membership.id),
            data: json!({
                "position": membership.position,
                "code": code,
                "generation": self.standing.generation,
            }),
        };
        events::insert(tx, &event)
    }
}

fn attempt(order: &MemberOrder) -> Attempt<'_> {
    Attempt { state: order.state, code: order.code.as_deref(), ended_at: order.ended_at }
}

/// The component that an order moves.
fn moves(action: &Action) -> Option<&handover_model::ComponentName> {
    match action {
        Action::Update { component, .. } | Action::Rollback { component, .. } => Some(component),
        Action::Pin { .. }
        | Action::Unpin { .. }
        | Action::ClearQuarantine { .. }
        | Action::Retire
        | Action::Unknown => None,
    }
}
