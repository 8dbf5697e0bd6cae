//! Which order is worked on next, and what becomes of it.
//!
//! Invariant: the ledger says what is about to be done before it is done, so that whatever cuts
//! the work, the next start finds out by looking (DESIGN promise 6).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use handover_engine::orders::{Ending, Next, OrderLedger, Stand, Taken};
use handover_model::wire::{AgentOrder, OrderStage};
use handover_model::{
    ComponentName, Millis, Now, OrderId, Progress, ReleaseId, RunId, Stage, Version,
};

use super::{Core, Effect};
use crate::backoff::plan_wait;
use crate::failure::Failure;
use crate::runs::Standing;

/// How often an order that waits for something is looked at.
const GLANCE: Duration = Duration::from_millis(200);
/// How long what may pass is tried again before the order is given up.
const PATIENCE: Duration = Duration::from_mins(15);
/// How long an entrypoint that was started and then left alone may take to begin its run.
const BEGINNING: Duration = Duration::from_secs(3);
/// How long a run that was cut and picked up is left alone.
const PICKED_UP: Duration = Duration::from_secs(1);
/// How long an order is left alone that this host's own files would not let be worked on.
const BROKEN: Duration = Duration::from_secs(5);

/// What one who works on orders is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Turn {
    /// This.
    Do(Task),
    /// Nothing for this long.
    Wait(Duration),
    /// Nothing any more.
    Over,
}

/// A piece of work.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Say [`super::Input::Begin`], and carry the order out if [`Core::is_begun`] then.
    Begin {
        /// The order.
        order: Box<AgentOrder>,
        /// It was decided before that it moves to this release: this one and no other.
        release: Option<ReleaseId>,
    },
    /// Bring, verify and unpack what the order needs, and begin nothing.
    Stage(Box<AgentOrder>),
    /// Look how the order's run stands; resume one that was cut.
    Look {
        /// The order.
        order: Box<AgentOrder>,
        /// Its run.
        run: RunId,
    },
}

/// How far an attempt at an order got.
#[derive(Debug, Clone, PartialEq)]
pub enum Got {
    /// It ended.
    Ended(Ending),
    /// What hindered it may pass.
    Later {
        /// A name for programs.
        code: String,
        /// Why, for people.
        reason: String,
    },
    /// This process ends, or the run goes on without it: look at it again.
    Left,
    /// This host's own files failed.
    Broke,
}

/// Where orders are worked on.
#[derive(Debug, Default)]
pub(super) struct Bench {
    pub(super) is_working: bool,
    /// When an order is looked at again, on the monotonic clock.
    not_before: BTreeMap<OrderId, Duration>,
    attempts: BTreeMap<OrderId, u32>,
    /// Runs that were waited for once, since they had not begun.
    looked: BTreeSet<RunId>,
    /// Orders that need nothing any more but their time.
    staged: BTreeSet<OrderId>,
    /// When the first of them begins, on the monotonic clock.
    due: Option<Duration>,
}

impl Bench {
    /// When there is work again, where only time is waited for.
    pub(super) fn due(&self) -> Option<Duration> {
        self.due.filter(|_| !self.is_working)
    }

    fn rest(&mut self, order: OrderId, now: Now, length: Duration) {
        self.not_before.insert(order, now.mono.saturating_add(length));
    }

    /// Forgets an order that ended.
    pub(super) fn forget(&mut self, order: OrderId) {
        self.not_before.remove(&order);
        self.attempts.remove(&order);
        self.staged.remove(&order);
    }
}

impl Core {
    /// What is to be done next about orders.
    ///
    /// # Errors
    /// As [`Self::handle`].
    pub fn next_task(&mut self, now: Now) -> Result<Turn, Failure> {
        loop {
            match self.look_for_task(now) {
                Found::Task(task) => return Ok(Turn::Do(task)),
                Found::Ends(order, ending) => self.end(order, &ending, now)?,
                Found::Nothing { wait: Some(until), .. } => {
                    return Ok(Turn::Wait(until.saturating_sub(now.mono)));
                }
                Found::Nothing { wait: None, due } => {
                    self.bench.due = due;
                    return Ok(Turn::Over);
                }
            }
        }
    }

    fn look_for_task(&self, now: Now) -> Found {
        let mut busy: BTreeSet<&ComponentName> = BTreeSet::new();
        let (mut wait, mut due) = (None, None);
        let sooner = |one: &mut Option<Duration>, at: Duration| {
            *one = Some(one.map_or(at, |before| before.min(at)));
        };
        for (place, taken) in self.ledger.open_orders().enumerate() {
            let order = &taken.order;
            // Orders of one component keep their order; retirement waits for all before it.
            let free = order.action.component().map_or(place == 0, |name| busy.insert(name));
            if !free {
                continue;
            }
            if let Some(until) = self.bench.not_before.get(&order.id).filter(|at| **at > now.mono) {
                sooner(&mut wait, *until);
                continue;
            }
            let (task, fresh) = (Box::new(order.clone()), taken.stand == Stand::Accepted);
            match OrderLedger::plan_next(taken, now.wall) {
                None => {}
                Some(Next::End(ending)) => return Found::Ends(order.id, ending),
                Some(Next::Look(run)) => return Found::Task(Task::Look { order: task, run }),
                Some(Next::Stage) if self.bench.staged.contains(&order.id) => {
                    let left = order.activate.map_or(Duration::ZERO, |at| at.since(now.wall));
                    sooner(&mut due, now.mono.saturating_add(left));
                }
                Some(Next::Stage) => return Found::Task(Task::Stage(task)),
                Some(Next::Begin(_)) if fresh && self.outbox.is_full() => {
                    sooner(&mut wait, now.mono.saturating_add(GLANCE));
                }
                Some(Next::Begin(release)) => {
                    return Found::Task(Task::Begin { order: task, release });
                }
            }
        }
        Found::Nothing { wait, due }
    }

    /// Whether an order is under way: not before [`super::Input::Begin`] was taken in, and not
    /// when it was refused or cancelled just then.
    pub fn is_begun(&self, order: OrderId) -> bool {
        let stand = self.ledger.find(order).map(|taken| &taken.stand);
        matches!(stand, Some(Stand::Running { .. }))
    }

    /// Whether an earlier start of the order was cut.
    pub fn was_cut(&self, order: OrderId) -> bool {
        let stand = self.ledger.find(order).map(|taken| &taken.stand);
        matches!(stand, Some(Stand::Running { starts, .. }) if *starts > 1)
    }

    /// Starts whoever works on orders, when there is something to do and nobody does it.
    pub(super) fn wake_worker(&mut self, now: Now) {
        let has_work = match self.look_for_task(now) {
            Found::Task(_) | Found::Ends(..) => true,
            Found::Nothing { wait, due } => {
                if !self.bench.is_working {
                    self.bench.due = due;
                }
                wait.is_some()
            }
        };
        if has_work && !self.bench.is_working {
            self.bench.is_working = true;
            self.effects.push(Effect::Work);
        }
    }

    pub(super) fn begin(
        &mut self,
        id: OrderId,
        current: Option<&Version>,
        now: Now,
    ) -> Result<(), Failure> {
        let Some(Taken { order, stand, .. }) = self.ledger.find(id).cloned() else { return Ok(()) };
        match stand {
            Stand::Ended(_) => return Ok(()),
            Stand::Accepted if order.activate.is_some_and(|at| at > now.wall) => return Ok(()),
            Stand::Accepted => {
                if let Some(refused) = unexpected(&order, current, now) {
                    return self.end(id, &refused, now);
                }
            }
            Stand::Running { .. } => {}
        }
        self.change(self.ledger.begun(id, now.wall))?;
        tracing::info!(order.id = %id, action = order.action.name(), "order begins");
        self.tell_progress(&order, OrderStage::Running, None, now)
    }

    pub(super) fn staged(&mut self, id: OrderId, now: Now) -> Result<(), Failure> {
        let Some(Taken { order, stand: Stand::Accepted, .. }) = self.ledger.find(id).cloned()
        else {
            return Ok(());
        };
        self.bench.staged.insert(id);
        let detail = match order.activate {
            Some(at) => format!("all is here; it begins at {at}"),
            None => "all is here".to_owned(),
        };
        let progress = Progress {
            stage: Stage::UpdateVerify,
            step: AgentOrder::STAGED.to_owned(),
            percent: Some(100),
            detail,
        };
        tracing::info!(order.id = %id, "order staged");
        self.tell_progress(&order, OrderStage::Accepted, Some(progress), now)
    }

    pub(super) fn progressed(
        &mut self,
        order: OrderId,
        progress: Progress,
        now: Now,
    ) -> Result<(), Failure> {
        let Some(taken) = self.ledger.find(order).cloned() else { return Ok(()) };
        let stage = match taken.stand {
            Stand::Accepted => OrderStage::Accepted,
            Stand::Running { .. } => OrderStage::Running,
            Stand::Ended(_) => return Ok(()),
        };
        self.tell_progress(&taken.order, stage, Some(progress), now)
    }

    /// What became of the run that carries an order.
    pub(super) fn stands(
        &mut self,
        order: OrderId,
        run: RunId,
        standing: Standing,
        now: Now,
    ) -> Result<(), Failure> {
        let (stage, code, why) = match standing {
            // Perhaps there are more stops to make; if not, the next start says so.
            Standing::Committed => return self.change(self.ledger.paused(order)),
            Standing::OnTrial => {
                self.bench.rest(order, now, GLANCE);
                return Ok(());
            }
            Standing::Cut(_) => {
                self.bench.rest(order, now, PICKED_UP);
                return Ok(());
            }
            Standing::NeverBegan if self.bench.looked.insert(run) => {
                self.bench.rest(order, now, BEGINNING);
                return Ok(());
            }
            Standing::NeverBegan => return self.change(self.ledger.without_run(order)),
            Standing::Reverted(why) => (OrderStage::Reverted, "reverted", why),
            Standing::Refused(why) => (OrderStage::Refused, "entrypoint-refused", why),
            Standing::Stuck(why) => (OrderStage::Failed, "stuck", why),
        };
        self.end(order, &Ending::because(stage, code, why, now.wall), now)
    }

    pub(super) fn came(&mut self, order: OrderId, got: Got, now: Now) -> Result<(), Failure> {
        match got {
            Got::Ended(ending) => self.end(order, &ending, now),
            Got::Left => {
                self.bench.rest(order, now, GLANCE);
                Ok(())
            }
            Got::Broke => {
                self.bench.rest(order, now, BROKEN);
                Ok(())
            }
            Got::Later { code, reason } => self.try_later(order, &code, &reason, now),
        }
    }

    fn try_later(
        &mut self,
        order: OrderId,
        code: &str,
        reason: &str,
        now: Now,
    ) -> Result<(), Failure> {
        let since = match self.ledger.find(order).map(|taken| &taken.stand) {
            Some(Stand::Running { since, .. }) => *since,
            Some(Stand::Accepted | Stand::Ended(_)) | None => now.wall,
        };
        let tried = now.wall.since(since);
        if tried >= PATIENCE {
            let reason = format!("{reason} (tried for {})", Millis::of(tried));
            let ending = Ending::because(OrderStage::Failed, code, reason, now.wall);
            return self.end(order, &ending, now);
        }
        self.change(self.ledger.paused(order))?;
        let attempt = self.bench.attempts.entry(order).or_default();
        *attempt += 1;
        tracing::warn!(order.id = %order, code, error = reason, attempt, "order is tried again");
        let wait = plan_wait(*attempt, None, &mut self.dice);
        self.bench.rest(order, now, wait);
        Ok(())
    }
}

/// What a look at the open orders found.
enum Found {
    Task(Task),
    Ends(OrderId, Ending),
    /// Orders are waited for until a time, or their own time is.
    Nothing {
        wait: Option<Duration>,
        due: Option<Duration>,
    },
}

/// Compare and swap: whether the host is as the one who ordered saw it.
fn unexpected(order: &AgentOrder, current: Option<&Version>, now: Now) -> Option<Ending> {
    let (expect, component) = (order.expect.as_ref()?, order.action.component()?);
    if current == expect.current.as_ref() {
        return None;
    }
    let words = |version: Option<&Version>| {
        version.map_or_else(|| "nothing".to_owned(), ToString::to_string)
    };
    let reason = format!(
        "the order is for a host that runs {} of {component}, and this one runs {}; look, and \
         order it again",
        words(expect.current.as_ref()),
        words(current)
    );
    Some(Ending::because(OrderStage::Refused, "order.unexpected", reason, now.wall))
}
