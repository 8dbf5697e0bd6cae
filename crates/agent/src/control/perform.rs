//! Carrying orders out, in a thread that lives as long as there is something to do: one after the
//! other, by the same functions as what a person asks for. What is done next, and what becomes of
//! it, the core decides.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use handover_engine::choose::Asked;
use handover_engine::orders::Ending;
use handover_model::wire::{Action, AgentOrder, OrderStage};
use handover_model::{
    ComponentName, ErrorClass, OrderId, Pin, Progress, ReleaseId, RunId, Timestamp, Version,
};

use super::core::{Got, Input, Task, Turn};
use super::desk::Desk;
use super::state::{Outlooks, look};
use crate::agent::Agent;
use crate::asked::{clear_failed, stage_as, update_as};
use crate::download::DownloadError;
use crate::failure::{Exit, Failure, chain};
use crate::follow::pick_up;
use crate::policy::{Choices, change_choices};
use crate::real_world::Clock;
use crate::rollback::{Back, Outcome, Who, observe, roll_back};
use crate::runs::{Standing, look_at_run};
use crate::voice::Voice;

/// How often an order that waits for something is looked at.
const GLANCE: Duration = Duration::from_millis(200);
/// Progress inside one stage is reported at most this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Says that nobody works any more when it goes, even where the thread died.
pub(super) struct Leaves {
    pub(super) desk: Arc<Desk>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Drop for Leaves {
    fn drop(&mut self) {
        let now = self.clock.now();
        if let Err(error) = self.desk.with(|core| core.handle(Input::Idle, now)) {
            tracing::debug!(error = %chain(&error), "the desk is gone");
        }
        self.desk.bell().ring();
    }
}

/// Works until there is nothing to do any more, or the end is asked for.
pub(super) fn work(agent: &mut Agent, desk: &Arc<Desk>) {
    while !agent.stop.is_asked() && !desk.is_closing() {
        let done = match desk.next_task(agent) {
            Ok(Turn::Over) => return,
            Ok(Turn::Wait(length)) => {
                agent.wait(length.min(GLANCE));
                Ok(())
            }
            Ok(Turn::Do(task)) => step(agent, desk, &task),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            tracing::error!(error = %chain(&error), "orders can't be worked on");
            return;
        }
    }
}

/// Does one piece of work and tells the core what came of it.
fn step(agent: &mut Agent, desk: &Arc<Desk>, task: &Task) -> Result<(), Failure> {
    let (order, done) = match task {
        Task::Begin { order, release } => (order, begin(agent, desk, order, release.as_ref())),
        Task::Stage(order) => (order, stage(agent, desk, order)),
        Task::Look { order, run } => (order, look_at(agent, order, *run)),
    };
    let input = done.unwrap_or_else(|error| {
        tracing::error!(
            order.id = %order.id, error = %chain(&error), "order could not be worked on"
        );
        Some(Input::Came { order: order.id, got: Got::Broke })
    });
    let Some(input) = input else { return Ok(()) };
    if may_end(&input) {
        // The state first: an update counts as done once its proof was seen.
        match look(agent, &mut Outlooks::default()) {
            Ok(state) => desk.say(agent, Input::State(Box::new(state)))?,
            Err(error) => tracing::warn!(error = %chain(&error), "no state to report"),
        }
    }
    desk.say(agent, input)
}

fn may_end(input: &Input) -> bool {
    matches!(
        input,
        Input::Came { got: Got::Ended(_), .. }
            | Input::Stands {
                standing: Standing::Reverted(_) | Standing::Refused(_) | Standing::Stuck(_),
                ..
            }
    )
}

/// What became of the run that carries the order; one that was cut is picked up.
fn look_at(agent: &Agent, order: &AgentOrder, run: RunId) -> Result<Option<Input>, Failure> {
    let Some(component) = order.action.component() else { return Ok(None) };
    let standing = look_at_run(&agent.home, component, run)?;
    if let Standing::Cut(_) = standing {
        pick_up(agent, &agent.policy()?)?;
    }
    Ok(Some(Input::Stands { order: order.id, run, standing }))
}

fn begin(
    agent: &mut Agent,
    desk: &Arc<Desk>,
    order: &AgentOrder,
    release: Option<&ReleaseId>,
) -> Result<Option<Input>, Failure> {
    let current = match order.action.component() {
        Some(component) => agent.home.slots(component)?.current.map(|slot| slot.release.version),
        None => None,
    };
    desk.say(agent, Input::Begin { order: order.id, current })?;
    if !desk.is_begun(order.id)? {
        return Ok(None);
    }
    let now = agent.now().wall;
    let got = carry_out(agent, desk, order, release).unwrap_or_else(judge(now));
    Ok(Some(Input::Came { order: order.id, got }))
}

/// Brings what an order for later needs, and begins nothing. Whatever hinders it is no ending: the
/// order is looked at again, at the latest when its time has come.
fn stage(
    agent: &mut Agent,
    desk: &Arc<Desk>,
    order: &AgentOrder,
) -> Result<Option<Input>, Failure> {
    let Action::Update { component, to } = &order.action else {
        return Ok(Some(Input::Staged(order.id)));
    };
    let (policy, _listed) = policy_with(agent, component)?;
    let voice = heard(agent, desk, order);
    let before = std::mem::replace(&mut agent.voice, voice);
    let asked = to.as_ref().map_or(Asked::Newest, Asked::Ordered);
    let staged = stage_as(agent, &policy, component, asked);
    agent.voice = before;
    Ok(Some(match staged {
        Ok(()) => Input::Staged(order.id),
        Err(Failure::Stopped | Failure::Download(DownloadError::Stopped)) => {
            Input::Came { order: order.id, got: Got::Left }
        }
        Err(failure) => Input::Came { order: order.id, got: later(&failure) },
    }))
}

fn later(failure: &Failure) -> Got {
    Got::Later { code: failure.code().clone(), reason: chain(failure) }
}

fn carry_out(
    agent: &mut Agent,
    desk: &Arc<Desk>,
    order: &AgentOrder,
    release: Option<&ReleaseId>,
) -> Result<Got, Failure> {
    let done = |agent: &Agent| Got::Ended(Ending::done(None, agent.now().wall));
    match &order.action {
        Action::Update { component, to } => update(agent, desk, order, component, to.as_ref()),
        Action::Rollback { component, to } => {
            rollback(agent, desk, order.id, component, to.as_ref(), release)
        }
        Action::Pin { component, pin } => {
            set_pin(agent, component, Some(pin))?;
            Ok(done(agent))
        }
        Action::Unpin { component } => {
            set_pin(agent, component, None)?;
            Ok(done(agent))
        }
        Action::ClearQuarantine { component, version } => {
            match clear_failed(agent, component, version.as_ref()) {
                // Cleared by a start that was cut before it could say so.
                Err(Failure::NotFound { .. }) if was_cut(desk, order.id) => Ok(done(agent)),
                cleared => cleared.map(|_| done(agent)),
            }
        }
        Action::Retire => {
            change_choices(&agent.home, |choices| choices.control_pins.clear())?;
            Ok(done(agent))
        }
        Action::Unknown => {
            let reason = "this agent does not know what to do; update handover-agent first";
            Err(Failure::Refused { code: "order.unknown-action", reason: reason.to_owned() })
        }
    }
}

/// Whether an earlier start of the order was cut.
fn was_cut(desk: &Desk, order: OrderId) -> bool {
    desk.with(|core| Ok(core.was_cut(order))).unwrap_or(false)
}

/// The policy with `component` in it, and whether it stood there before.
fn policy_with(
    agent: &Agent,
    component: &ComponentName,
) -> Result<(handover_model::HostPolicy, bool), Failure> {
    let mut policy = agent.policy()?;
    let known = Choices { added: vec![component.clone()], ..Choices::load(&agent.home.choices())? };
    let listed = policy.components.iter().any(|each| each.name == *component);
    if !listed {
        // Only for this look: it is written down when there is something to install.
        known.lay_over(&mut policy);
    }
    Ok((policy, listed))
}

fn update(
    agent: &mut Agent,
    desk: &Arc<Desk>,
    order: &AgentOrder,
    component: &ComponentName,
    to: Option<&Version>,
) -> Result<Got, Failure> {
    let (policy, listed) = policy_with(agent, component)?;
    agent.carrier = Some(carrier(agent, desk, order.id, listed));
    let voice = heard(agent, desk, order);
    let before = std::mem::replace(&mut agent.voice, voice);
    let asked = to.map_or(Asked::Newest, Asked::Ordered);
    let moved = update_as(agent, &policy, component, asked, None);
    agent.voice = before;
    agent.carrier = None;
    moved?;
    let current = agent.home.slots(component)?.current.map(|slot| slot.release);
    Ok(Got::Ended(Ending::done(current, agent.now().wall)))
}

/// Writes down which run carries the order, and that the host has the component from now on.
fn carrier(agent: &Agent, desk: &Arc<Desk>, order: OrderId, listed: bool) -> crate::agent::Carrier {
    let (desk, home) = (Arc::clone(desk), agent.home.clone());
    let clock = Arc::clone(&agent.clock);
    Arc::new(move |component: &ComponentName, run: RunId, to: &ReleaseId| {
        if !listed {
            change_choices(&home, |choices| {
                if !choices.added.contains(component) {
                    choices.added.push(component.clone());
                }
            })?;
        }
        let carried = Input::Carried { order, run, to: to.clone() };
        desk.with(|core| core.handle(carried, clock.now()))
    })
}

/// A voice whose progress goes to the control plane, not too often.
fn heard(agent: &Agent, desk: &Arc<Desk>, order: &AgentOrder) -> Voice {
    let (desk, clock, order) = (Arc::clone(desk), Arc::clone(&agent.clock), order.id);
    let last = Mutex::new(None);
    Voice::heard_by(Arc::new(move |progress: &Progress| {
        let now = clock.now();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let same_stage_since = last
            .filter(|(stage, _)| *stage == progress.stage)
            .map(|(_, at): (_, Duration)| now.mono.saturating_sub(at));
        if same_stage_since.is_some_and(|since| since < PROGRESS_EVERY) {
            return;
        }
        *last = Some((progress.stage, now.mono));
        let mut progress = progress.clone();
        progress.detail = crate::voice::plain(&progress.detail, 200);
        progress.step = crate::voice::plain(&progress.step, 80);
        let said = desk.with(|core| core.handle(Input::Progressed { order, progress }, now));
        if let Err(error) = said {
            tracing::warn!(error = %chain(&error), "progress was not reported");
        }
    }))
}

fn rollback(
    agent: &Agent,
    desk: &Arc<Desk>,
    order: OrderId,
    component: &ComponentName,
    to: Option<&Version>,
    decided: Option<&ReleaseId>,
) -> Result<Got, Failure> {
    let current = agent.home.slots(component)?.current.map(|slot| slot.release);
    let to = match decided {
        Some(release) if current.as_ref() == Some(release) => release.clone(),
        _ => {
            let wanted = decided.map(|release| &release.version).or(to);
            let back = Back { name: component, to: wanted, permit: None, who: Who::Order };
            let mut decide =
                |to: &ReleaseId| desk.say(agent, Input::Decided { order, to: to.clone() });
            roll_back(agent, agent.policy()?, &back, &mut decide)?.to
        }
    };
    let seen = observe(agent, component, &to);
    if agent.stop.is_asked() {
        // It may be this very agent that goes back: the next one finds the release decided on.
        return Ok(Got::Left);
    }
    let now = agent.now().wall;
    let mut ending = Ending::done(Some(to.clone()), now);
    ending.reason.clone_from(&seen.reason);
    if seen.outcome == Outcome::Unseen {
        let why = seen.reason.unwrap_or_default();
        ending = Ending::because(OrderStage::Failed, "not-seen-running", why, now);
        ending.release = Some(to);
    }
    Ok(Got::Ended(ending))
}

fn set_pin(agent: &Agent, component: &ComponentName, pin: Option<&Pin>) -> Result<(), Failure> {
    change_choices(&agent.home, |choices| {
        match pin {
            Some(pin) => choices.control_pins.insert(component.clone(), pin.clone()),
            None => choices.control_pins.remove(component),
        };
    })
    .map(drop)
}

/// What a failure means for the order.
fn judge(now: Timestamp) -> impl FnOnce(Failure) -> Got {
    move |failure| {
        if matches!(
            failure,
            Failure::Stopped | Failure::Download(DownloadError::Stopped) | Failure::Unknown { .. }
        ) {
            return Got::Left;
        }
        if let Failure::Reverted { reason, .. } = &failure {
            return Got::Ended(Ending::because(OrderStage::Reverted, "reverted", reason, now));
        }
        let moved_on = matches!(failure, Failure::Refused { code: "changed-meanwhile", .. });
        if moved_on || failure.class() == ErrorClass::Retry {
            return later(&failure);
        }
        let stage = match failure.exit() {
            Exit::Damaged | Exit::Failed | Exit::Usage | Exit::Done => OrderStage::Failed,
            Exit::Refused | Exit::NotFound | Exit::Busy | Exit::Reverted => OrderStage::Refused,
        };
        Got::Ended(Ending::because(stage, failure.code(), chain(&failure), now))
    }
}
