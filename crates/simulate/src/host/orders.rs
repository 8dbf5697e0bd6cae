//! Carrying orders out on a simulated host: what the agent's worker thread does, with the
//! production chooser and ledger, and a machine that is made here.

use std::collections::BTreeMap;
use std::time::Duration;

use handover_agent::control::core::{Got, Input, Task, Turn};
use handover_agent::runs::Standing;
use handover_engine::choose::{Asked, Choice, Facts, Reason, choose, choose_rollback};
use handover_engine::floors::{Floors, Ledger};
use handover_engine::graph::Offer;
use handover_engine::orders::Ending;
use handover_engine::window::Schedule;
use handover_model::wire::{Action, AgentOrder, OrderStage};
use handover_model::{LAUNCHER_PROTOCOL, OrderId, ReleaseId, RunId};

use super::{Deed, GLANCE, Host, Work, checked, platform};

impl Host {
    /// Goes on with orders.
    pub(super) fn work(&mut self, at: Duration) -> anyhow::Result<()> {
        loop {
            let Some(process) = &mut self.process else { return Ok(()) };
            match process.work.clone() {
                Work::Asks(when) if when <= at => self.ask(at)?,
                Work::Brings { order, to, until, stages } if until <= at => {
                    if stages {
                        self.rest(at);
                        self.say(Input::Staged(order.id), at)?;
                    } else {
                        self.brought(order, &to, at)?;
                    }
                }
                Work::Settles { order, run, next } if next <= at => {
                    if !self.settled(order, run, at)? {
                        return Ok(());
                    }
                }
                Work::Nobody | Work::Asks(_) | Work::Brings { .. } | Work::Settles { .. } => {
                    return Ok(());
                }
            }
        }
    }

    fn rest(&mut self, until: Duration) {
        if let Some(process) = &mut self.process {
            process.work = Work::Asks(until);
        }
    }

    /// Asks the core what is next.
    fn ask(&mut self, at: Duration) -> anyhow::Result<()> {
        let now = self.now(at);
        let Some(process) = &mut self.process else { return Ok(()) };
        let turn = checked(process.core.next_task(now))?;
        self.pump(at)?;
        match turn {
            Turn::Over => {
                if let Some(process) = &mut self.process {
                    process.work = Work::Nobody;
                }
                self.say(Input::Idle, at)
            }
            Turn::Wait(length) => {
                self.rest(at.saturating_add(length.clamp(Duration::from_millis(1), GLANCE)));
                Ok(())
            }
            Turn::Do(Task::Look { order, run }) => {
                let standing = self.machine.look_at(run);
                if let Standing::Cut(_) = standing {
                    self.machine.resume(now);
                }
                self.rest(at);
                self.tell_state(at)?;
                self.say(Input::Stands { order: order.id, run, standing }, at)
            }
            Turn::Do(Task::Stage(order)) => match self.choice(&order, at) {
                Ok(Choice::Update { next, .. }) => {
                    let until = self.brings_until(at);
                    self.set(Work::Brings { order, to: next, until, stages: true });
                    Ok(())
                }
                Ok(Choice::UpToDate | Choice::Hold(_)) | Err(_) => {
                    self.rest(at);
                    self.say(Input::Staged(order.id), at)
                }
            },
            Turn::Do(Task::Begin { order, release }) => self.begin(order, release.as_ref(), at),
        }
    }

    fn set(&mut self, work: Work) {
        if let Some(process) = &mut self.process {
            process.work = work;
        }
    }

    fn brings_until(&mut self, at: Duration) -> Duration {
        at.saturating_add(Duration::from_millis(self.dice.between(200, 20_000)))
    }

    fn begin(
        &mut self,
        order: Box<AgentOrder>,
        decided: Option<&ReleaseId>,
        at: Duration,
    ) -> anyhow::Result<()> {
        let current = self.current().map(|release| release.version);
        self.say(Input::Begin { order: order.id, current }, at)?;
        let Some(process) = &self.process else { return Ok(()) };
        if !process.core.is_begun(order.id) {
            self.rest(at);
            return Ok(());
        }
        self.deeds.push(Deed::Began(order.id));
        match &order.action {
            Action::Update { .. } => self.hop(order, at),
            Action::Rollback { .. } => self.go_back(&order, decided, at),
            Action::Pin { .. }
            | Action::Unpin { .. }
            | Action::ClearQuarantine { .. }
            | Action::Retire
            | Action::Unknown => self.came(order.id, Got::Ended(self.done(at)), at),
        }
    }

    /// What the production chooser says to an order.
    fn choice(&self, order: &AgentOrder, at: Duration) -> anyhow::Result<Choice> {
        let Action::Update { to, .. } = &order.action else { return Ok(Choice::UpToDate) };
        let asked = to.as_ref().map_or(Asked::Newest, Asked::Ordered);
        self.with_facts(at, |facts| choose(facts, &self.shelf.offers, &[], &[], asked).choice)
    }

    fn with_facts<T>(
        &self,
        at: Duration,
        decide: impl FnOnce(&Facts<'_>) -> T,
    ) -> anyhow::Result<T> {
        let (floors, ledger, others) = (Floors::default(), Ledger::default(), BTreeMap::new());
        let windows = Schedule::parse(&[], jiff::tz::db())?;
        let platform = platform();
        Ok(decide(&Facts {
            agent: &self.name,
            platform: &platform,
            policy: &self.policy,
            windows: &windows,
            slots: &self.machine.slots,
            floors: &floors,
            ledger: &ledger,
            launcher: LAUNCHER_PROTOCOL,
            others: &others,
            clock_off: None,
            now: self.now(at).wall,
        }))
    }

    /// The next stop of an update, or its end.
    fn hop(&mut self, order: Box<AgentOrder>, at: Duration) -> anyhow::Result<()> {
        if self.machine.is_upgrading() {
            let code = "changed-meanwhile".to_owned();
            let reason = "an entrypoint is at work".to_owned();
            return self.came(order.id, Got::Later { code, reason }, at);
        }
        match self.choice(&order, at)? {
            Choice::UpToDate => {
                let done = self.done(at);
                self.came(order.id, Got::Ended(done), at)
            }
            Choice::Hold(reason) => {
                let ending = self.refused(&reason, at);
                self.came(order.id, Got::Ended(ending), at)
            }
            Choice::Update { next, .. } => {
                let until = self.brings_until(at);
                self.set(Work::Brings { order, to: next, until, stages: false });
                Ok(())
            }
        }
    }

    /// The package is here: its entrypoint is started.
    fn brought(&mut self, order: Box<AgentOrder>, to: &Offer, at: Duration) -> anyhow::Result<()> {
        let now = self.now(at);
        let run = RunId::mint(&mut self.ids, now.wall);
        self.carried.insert(run, order.id);
        self.say(Input::Carried { order: order.id, run, to: to.id() }, at)?;
        if self.process.is_none() {
            // It died before the entrypoint was started.
            return Ok(());
        }
        let takes = Duration::from_millis(self.dice.between(100, 5_000));
        self.machine.begin(run, to, takes, now);
        self.set(Work::Settles { order, run, next: at.saturating_add(GLANCE) });
        Ok(())
    }

    /// Whether a trial is over; then its order goes on or ends.
    fn settled(
        &mut self,
        order: Box<AgentOrder>,
        run: RunId,
        at: Duration,
    ) -> anyhow::Result<bool> {
        let now = self.now(at).wall;
        let because = |stage, code: &str, why: String| Ending::because(stage, code, why, now);
        let ending = match self.machine.look_at(run) {
            Standing::Committed => {
                self.hop(order, at)?;
                return Ok(true);
            }
            Standing::OnTrial => {
                self.set(Work::Settles { order, run, next: at.saturating_add(GLANCE) });
                return Ok(false);
            }
            Standing::Reverted(why) => because(OrderStage::Reverted, "reverted", why),
            Standing::Refused(why) => because(OrderStage::Refused, "entrypoint-refused", why),
            Standing::Stuck(_) | Standing::Cut(_) | Standing::NeverBegan => {
                self.came(order.id, Got::Left, at)?;
                return Ok(true);
            }
        };
        self.came(order.id, Got::Ended(ending), at)?;
        Ok(true)
    }

    fn go_back(
        &mut self,
        order: &AgentOrder,
        decided: Option<&ReleaseId>,
        at: Duration,
    ) -> anyhow::Result<()> {
        let Action::Rollback { to, .. } = &order.action else { return Ok(()) };
        if decided.is_some() && self.current().as_ref() == decided {
            let done = self.done(at);
            return self.came(order.id, Got::Ended(done), at);
        }
        let wanted = decided.map(|release| release.version.clone()).or_else(|| to.clone());
        let chosen = self.with_facts(at, |facts| {
            choose_rollback(facts, &self.shelf.offers, &[], wanted.as_ref())
        })?;
        let ending = match chosen {
            Err(reason) => self.refused(&reason, at),
            Ok(back) if back.lifts_quarantine.is_some() => {
                let (stage, why) = (OrderStage::Refused, "it is in quarantine here");
                Ending::because(stage, "quarantined", why, self.now(at).wall)
            }
            Ok(back) => {
                self.say(Input::Decided { order: order.id, to: back.to.clone() }, at)?;
                if self.process.is_none() {
                    return Ok(());
                }
                let now = self.now(at);
                match self.machine.roll_back(&back.to, now) {
                    Ok(()) => {
                        self.deeds.push(Deed::Acted(order.id, back.to));
                        // The process starts at once and is ready soon after.
                        self.done(at)
                    }
                    Err(error) => {
                        Ending::because(OrderStage::Refused, "slots", error.to_string(), now.wall)
                    }
                }
            }
        };
        self.came(order.id, Got::Ended(ending), at)
    }

    fn refused(&self, reason: &Reason, at: Duration) -> Ending {
        let now = self.now(at).wall;
        Ending::because(OrderStage::Refused, reason.code(), reason.to_string(), now)
    }

    fn done(&self, at: Duration) -> Ending {
        Ending::done(self.current(), self.now(at).wall)
    }

    /// The state first: an update counts as done once its proof was seen.
    fn tell_state(&mut self, at: Duration) -> anyhow::Result<()> {
        let state = Box::new(self.state());
        self.say(Input::State(state), at)
    }

    fn came(&mut self, order: OrderId, got: Got, at: Duration) -> anyhow::Result<()> {
        self.rest(at);
        self.tell_state(at)?;
        self.say(Input::Came { order, got }, at)
    }

    /// Which order a run carries.
    pub(crate) fn order_of(&self, run: RunId) -> Option<OrderId> {
        self.carried.get(&run).copied()
    }
}
