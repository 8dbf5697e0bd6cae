//! Carrying orders out, in a thread that lives as long as there are any: one after the other, by
//! the same functions as what a person asks for.
//!
//! Invariant: the ledger says what is about to be done before it is done, so that whatever cuts
//! this thread, the next start finds out by looking (DESIGN promise 6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use handover_engine::choose::Asked;
use handover_engine::orders::{Ending, Next, OrderLedger, Stand, Taken};
use handover_model::wire::{Action, AgentOrder, OrderStage};
use handover_model::{
    ComponentName, ErrorClass, Millis, OrderId, Pin, Progress, ReleaseId, RunId, Timestamp, Version,
};

use super::desk::Desk;
use super::state::{Outlooks, look};
use crate::agent::Agent;
use crate::asked::{clear_failed, update_as};
use crate::backoff::plan_wait;
use crate::download::DownloadError;
use crate::failure::{Exit, Failure, chain};
use crate::follow::pick_up;
use crate::policy::{Choices, change_choices};
use crate::rollback::{Back, Outcome, Who, observe, roll_back};
use crate::runs::{Standing, look_at_run};
use crate::voice::Voice;

/// How often an order that waits for something is looked at.
const GLANCE: Duration = Duration::from_millis(200);
/// How long what may pass is tried again before the order is given up.
const PATIENCE: Duration = Duration::from_mins(15);
/// How long an entrypoint that was started and then left alone may take to begin its run.
const BEGINNING: Duration = Duration::from_secs(3);
/// Progress inside one stage is reported at most this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// What one look at an order came to.
enum Came {
    /// To something: another look may find more to do.
    Moved,
    /// To nothing yet.
    Waits,
}

/// How far an attempt got.
enum Got {
    Ended(Ending),
    /// What hindered it may pass.
    Later(Failure),
    /// This process ends, or the run goes on without it: look at it again.
    Left,
}

/// Works until no order is open any more, or the end is asked for.
pub fn work(agent: &mut Agent, desk: &Arc<Desk>) {
    let mut worker = Worker {
        desk: Arc::clone(desk),
        not_before: BTreeMap::new(),
        attempts: BTreeMap::new(),
        looked: BTreeSet::new(),
    };
    while !agent.stop.is_asked() && !desk.is_closing() {
        let ledger = desk.ledger();
        let mut busy: BTreeSet<ComponentName> = BTreeSet::new();
        let (mut open, mut moved) = (0, false);
        for taken in ledger.open_orders() {
            open += 1;
            // Orders of one component keep their order; retirement waits for all before it.
            let free = match taken.order.action.component() {
                Some(component) => busy.insert(component.clone()),
                None => open == 1,
            };
            if !free || agent.stop.is_asked() {
                continue;
            }
            match worker.step(agent, taken) {
                Ok(Came::Moved) => moved = true,
                Ok(Came::Waits) => {}
                Err(error) => {
                    tracing::error!(
                        order.id = %taken.order.id, error = %chain(&error),
                        "order could not be worked on"
                    );
                    worker.rest(agent, taken.order.id, Duration::from_secs(5));
                }
            }
        }
        if open == 0 || (!moved && agent.wait(GLANCE)) {
            return;
        }
    }
}

struct Worker {
    desk: Arc<Desk>,
    /// When an order is looked at again, on the monotonic clock.
    not_before: BTreeMap<OrderId, Duration>,
    attempts: BTreeMap<OrderId, u32>,
    /// Runs that were waited for once, since they had not begun.
    looked: BTreeSet<RunId>,
}

impl Worker {
    fn rest(&mut self, agent: &Agent, order: OrderId, length: Duration) {
        self.not_before.insert(order, agent.now().mono.saturating_add(length));
    }

    fn step(&mut self, agent: &mut Agent, taken: &Taken) -> Result<Came, Failure> {
        let (order, now) = (taken.order.id, agent.now());
        if self.not_before.get(&order).is_some_and(|until| *until > now.mono) {
            return Ok(Came::Waits);
        }
        match OrderLedger::plan_next(taken, now.wall) {
            None => Ok(Came::Moved),
            Some(Next::End(ending)) => self.end(agent, &taken.order, &ending),
            Some(Next::Look(run)) => self.look_at(agent, taken, run),
            Some(Next::Begin(release)) => self.begin(agent, taken, release.as_ref()),
        }
    }

    fn end(&mut self, agent: &Agent, order: &AgentOrder, ending: &Ending) -> Result<Came, Failure> {
        // The state first: an update counts as done once its proof was seen.
        match look(agent, &mut Outlooks::default()) {
            Ok(state) => self.desk.tell_state(state, agent.now().wall)?,
            Err(error) => tracing::warn!(error = %chain(&error), "no state to report"),
        }
        self.desk.end(order.id, ending, agent.now().wall)?;
        self.not_before.remove(&order.id);
        Ok(Came::Moved)
    }

    /// What became of the run that carries the order.
    fn look_at(&mut self, agent: &Agent, taken: &Taken, run: RunId) -> Result<Came, Failure> {
        let (order, now) = (&taken.order, agent.now().wall);
        let Some(component) = order.action.component() else { return Ok(Came::Waits) };
        let ending = match look_at_run(&agent.home, component, run)? {
            Standing::Committed => {
                // Perhaps there are more stops to make; if not, the next start says so.
                self.desk.change(|ledger| ledger.paused(order.id))?;
                return Ok(Came::Moved);
            }
            Standing::OnTrial => return Ok(Came::Waits),
            Standing::Cut(_) => {
                pick_up(agent, &agent.policy()?)?;
                self.rest(agent, order.id, Duration::from_secs(1));
                return Ok(Came::Waits);
            }
            Standing::NeverBegan if self.looked.insert(run) => {
                self.rest(agent, order.id, BEGINNING);
                return Ok(Came::Waits);
            }
            Standing::NeverBegan => {
                self.desk.change(|ledger| ledger.without_run(order.id))?;
                return Ok(Came::Moved);
            }
            Standing::Reverted(why) => Ending::because(OrderStage::Reverted, "reverted", why, now),
            Standing::Refused(why) => {
                Ending::because(OrderStage::Refused, "entrypoint-refused", why, now)
            }
            Standing::Stuck(why) => Ending::because(OrderStage::Failed, "stuck", why, now),
        };
        self.end(agent, order, &ending)
    }

    fn begin(
        &mut self,
        agent: &mut Agent,
        taken: &Taken,
        release: Option<&ReleaseId>,
    ) -> Result<Came, Failure> {
        let (order, now) = (&taken.order, agent.now().wall);
        let fresh = taken.stand == Stand::Accepted;
        if fresh && self.desk.outbox().is_full() {
            return Ok(Came::Waits);
        }
        if fresh && let Some(refused) = unexpected(agent, order)? {
            return self.end(agent, order, &refused);
        }
        self.desk.change(|ledger| ledger.begun(order.id, now))?;
        tracing::info!(order.id = %order.id, action = order.action.name(), "order begins");
        self.desk.tell_progress(order, OrderStage::Running, None, now);
        let got = carry_out(agent, &self.desk, order, release).unwrap_or_else(judge(now));
        match got {
            Got::Ended(ending) => self.end(agent, order, &ending),
            Got::Left => Ok(Came::Waits),
            Got::Later(failure) => self.try_later(agent, taken, &failure),
        }
    }

    fn try_later(
        &mut self,
        agent: &mut Agent,
        taken: &Taken,
        failure: &Failure,
    ) -> Result<Came, Failure> {
        let (order, now) = (taken.order.id, agent.now().wall);
        let since = match self.desk.ledger().find(order).map(|taken| taken.stand.clone()) {
            Some(Stand::Running { since, .. }) => since,
            Some(Stand::Accepted | Stand::Ended(_)) | None => now,
        };
        if now.since(since) >= PATIENCE {
            let reason = format!("{} (tried for {})", chain(failure), Millis::of(now.since(since)));
            let ending = Ending::because(OrderStage::Failed, failure.code(), reason, now);
            return self.end(agent, &taken.order, &ending);
        }
        self.desk.change(|ledger| ledger.paused(order))?;
        let attempt = self.attempts.entry(order).or_default();
        *attempt += 1;
        tracing::warn!(
            order.id = %order, code = failure.code(), error = %chain(failure), attempt,
            "order is tried again"
        );
        let wait = plan_wait(*attempt, None, &mut agent.dice);
        self.rest(agent, order, wait);
        Ok(Came::Waits)
    }
}

/// Compare and swap: whether the host is as the one who ordered saw it.
fn unexpected(agent: &Agent, order: &AgentOrder) -> Result<Option<Ending>, Failure> {
    let (Some(expect), Some(component)) = (&order.expect, order.action.component()) else {
        return Ok(None);
    };
    let current = agent.home.slots(component)?.current.map(|slot| slot.release.version);
    if current == expect.current {
        return Ok(None);
    }
    let words = |version: &Option<Version>| {
        version.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string)
    };
    let reason = format!(
        "the order is for a host that runs {} of {component}, and this one runs {}; look, and \
         order it again",
        words(&expect.current),
        words(&current)
    );
    let now = agent.now().wall;
    Ok(Some(Ending::because(OrderStage::Refused, "order.unexpected", reason, now)))
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
    let ledger = desk.ledger();
    let stand = ledger.find(order).map(|taken| &taken.stand);
    matches!(stand, Some(Stand::Running { starts, .. }) if *starts > 1)
}

fn update(
    agent: &mut Agent,
    desk: &Arc<Desk>,
    order: &AgentOrder,
    component: &ComponentName,
    to: Option<&Version>,
) -> Result<Got, Failure> {
    let mut policy = agent.policy()?;
    let known = Choices { added: vec![component.clone()], ..Choices::load(&agent.home.choices())? };
    let listed = policy.components.iter().any(|each| each.name == *component);
    if !listed {
        // Only for this look: it is written down when there is something to install.
        known.lay_over(&mut policy);
    }
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
    Arc::new(move |component: &ComponentName, run: RunId, to: &ReleaseId| {
        if !listed {
            change_choices(&home, |choices| {
                if !choices.added.contains(component) {
                    choices.added.push(component.clone());
                }
            })?;
        }
        desk.change(|ledger| ledger.carried(order, run, to))
    })
}

/// A voice whose progress goes to the control plane, not too often.
fn heard(agent: &Agent, desk: &Arc<Desk>, order: &AgentOrder) -> Voice {
    let (desk, clock, order) = (Arc::clone(desk), Arc::clone(&agent.clock), order.clone());
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
        desk.tell_progress(&order, OrderStage::Running, Some(progress), now.wall);
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
            let mut decide = |to: &ReleaseId| desk.change(|ledger| ledger.decided(order, to));
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
            return Got::Later(failure);
        }
        let stage = match failure.exit() {
            Exit::Damaged | Exit::Failed | Exit::Usage | Exit::Done => OrderStage::Failed,
            Exit::Refused | Exit::NotFound | Exit::Busy | Exit::Reverted => OrderStage::Refused,
        };
        Got::Ended(Ending::because(stage, failure.code(), chain(&failure), now))
    }
}
