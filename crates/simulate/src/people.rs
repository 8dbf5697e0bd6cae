//! What people do: they order, make rollouts, approve, pause, stop, take back; and what must hold
//! when the story ends.

use std::time::Duration;

use anyhow::Context as _;
use handover_model::api::{HoldCode, RolloutInfo, RolloutKind, RolloutState};
use handover_store::StoreError;
use handover_store::rollouts::Rollout;
use serde_json::{Value, json};

use crate::scenario::{Conduct, Quality, Task};
use crate::truth::{Broken, all};
use crate::world::World;

impl World {
    /// A person looks, and acts.
    pub(crate) fn act(&mut self) -> anyhow::Result<()> {
        match self.scenario.task.clone() {
            Task::Single => self.order_each(),
            Task::Rollout(spec) => self.look_after(&spec),
        }
    }

    /// Asks the API; `None` where the server is down or dies of it.
    fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Option<(u16, Value)>> {
        let body = (!body.is_null()).then_some(body);
        let said = self.plane.ask(method, path, body);
        self.turned()?;
        self.sequence_soon();
        if let Some((status, answer)) = &said
            && method != "GET"
        {
            let words = if *status < 300 { String::new() } else { answer.to_string() };
            self.tell(&"person", format_args!("{method} {path}: {status} {words}"));
        }
        Ok(said)
    }

    fn order_each(&mut self) -> anyhow::Result<()> {
        for number in 0..self.hosts.len() {
            if self.truth.is_ordered(number) {
                continue;
            }
            let (id, name) = (self.hosts[number].id, self.hosts[number].name.clone());
            let body = json!({ "component": "web", "to": self.scenario.to, "expires_in": "24h" });
            let Some((status, said)) = self.ask("POST", &format!("/agents/{id}/update"), &body)?
            else {
                return Ok(());
            };
            if status < 300 || status == 409 {
                self.truth.ordered(number);
            } else if status < 500 && !is_unknown_yet(&said) {
                return Err(Broken(format!("{name} can't be ordered: {status} {said}")).into());
            }
        }
        Ok(())
    }

    /// Looks after the rollout, and after the one that takes it back.
    fn look_after(&mut self, spec: &Value) -> anyhow::Result<()> {
        let Some((status, said)) = self.ask("GET", "/rollouts/spring", &Value::Null)? else {
            return Ok(());
        };
        if status == 404 {
            return self.make_rollout(spec);
        }
        if status != 200 {
            return Err(Broken(format!("a rollout can't be read: {status} {said}")).into());
        }
        self.vary_stop()?;
        let info: RolloutInfo = serde_json::from_value(said).context("a rollout's answer")?;
        self.decide(&info)?;
        if let Some(revert) = info.reverted_by {
            let path = format!("/rollouts/{revert}");
            if let Some((200, said)) = self.ask("GET", &path, &Value::Null)? {
                let info: RolloutInfo =
                    serde_json::from_value(said).context("a revert's answer")?;
                self.decide(&info)?;
            }
        }
        Ok(())
    }

    fn make_rollout(&mut self, spec: &Value) -> anyhow::Result<()> {
        // Every host reports first: who is not known to run the component can't be chosen.
        if self.at < Duration::from_mins(3) {
            return Ok(());
        }
        let made = self.ask("POST", "/rollouts", spec)?;
        match made {
            Some((status, said)) if (400..500).contains(&status) && status != 409 => {
                Err(Broken(format!("a rollout is refused: {status} {said}")).into())
            }
            Some(_) | None => Ok(()),
        }
    }

    fn decide(&mut self, info: &RolloutInfo) -> anyhow::Result<()> {
        let path = |what: &str| format!("/rollouts/{}/{what}", info.id);
        match info.state {
            RolloutState::Scheduled | RolloutState::Running => {
                let approval = info
                    .holds
                    .iter()
                    .find(|hold| matches!(hold.code, HoldCode::Approval | HoldCode::CatchAll));
                if let Some(hold) = approval {
                    let wave = hold.wave.unwrap_or(0);
                    // Before it is asked: the answer may be lost.
                    self.truth
                        .rollouts
                        .approved
                        .entry(info.name.to_string())
                        .or_default()
                        .insert(wave);
                    self.ask("POST", &path("approve"), &json!({ "wave": wave }))?;
                } else if !self.is_healed && self.person.chance(20_000) {
                    self.ask("POST", &path("pause"), &json!({ "reason": "lunch" }))?;
                }
            }
            RolloutState::Paused => {
                if self.is_healed || self.person.chance(200_000) {
                    self.ask("POST", &path("resume"), &json!({}))?;
                }
            }
            RolloutState::Halted => {
                if self.is_healed && self.person.chance(100_000) {
                    let may_revert = info.kind == RolloutKind::Update;
                    if may_revert && self.person.chance(500_000) {
                        self.ask("POST", &path("revert"), &json!({ "reason": "it fails" }))?;
                    } else {
                        self.ask("POST", &path("abort"), &json!({ "cancel": true }))?;
                    }
                }
            }
            RolloutState::Reverting
            | RolloutState::Reverted
            | RolloutState::Done
            | RolloutState::Aborted
            | RolloutState::Superseded => {}
        }
        Ok(())
    }

    /// Stops the whole fleet now and then, and lets it go on.
    fn vary_stop(&mut self) -> anyhow::Result<()> {
        let stopped = self.truth.rollouts.stopped;
        let wants = if self.is_healed {
            false
        } else if stopped {
            !self.person.chance(300_000)
        } else {
            self.person.chance(15_000)
        };
        if wants == stopped && !(self.is_healed && self.truth.rollouts.may_be_stopped) {
            return Ok(());
        }
        if wants {
            self.truth.rollouts.may_be_stopped = true;
        } else {
            self.truth.rollouts.stopped = false;
        }
        let body = json!({ "stopped": wants, "reason": "a look around" });
        if let Some((200..300, _)) = self.ask("PUT", "/stop", &body)? {
            self.truth.rollouts.stopped = wants;
            self.truth.rollouts.may_be_stopped = wants;
        }
        Ok(())
    }

    /// Whether nothing more is to come.
    pub(crate) fn is_over(&self) -> bool {
        self.is_healed
            && self.at > self.scenario.heals_at + Duration::from_hours(1)
            && self.hosts.iter().all(|host| {
                host.is_up()
                    && host.ledger().open_orders().next().is_none()
                    && !host.machine.is_upgrading()
            })
            && self.open_orders() == Some(0)
            && self.rollouts().is_some_and(|all| {
                all.iter().all(|row| row.state.is_over())
                    && !(all.is_empty() && self.scenario.task != Task::Single)
            })
    }

    fn rollouts(&self) -> Option<Vec<Rollout>> {
        if self.scenario.task == Task::Single { Some(Vec::new()) } else { all(&self.plane) }
    }

    fn open_orders(&self) -> Option<u64> {
        self.plane.read(|tx| -> Result<u64, StoreError> {
            tx.query_one("SELECT count(*) FROM orders WHERE ended_at IS NULL", &[])?.get(0)
        })
    }

    /// The first few orders that are open: whose, how far, and why.
    fn open_orders_shown(&self) -> Vec<String> {
        let seen = self.plane.read(|tx| -> Result<Vec<String>, StoreError> {
            let rows = tx.query(
                "SELECT a.name, a.state, o.state, o.position, o.attempt, o.sequence, o.code, o.outcome, \
                 o.action, o.progress FROM orders o JOIN agents a ON a.key = o.agent \
                 WHERE o.ended_at IS NULL ORDER BY o.key LIMIT 5",
                &[],
            )?;
            Ok(rows.iter().map(|row| format!("{:?}", row.cells())).collect())
        });
        seen.unwrap_or_default()
    }

    /// What came of the story.
    pub(crate) fn verdict(&self) -> String {
        let quality = match self.scenario.quality {
            Quality::Good => "a good release",
            Quality::Bad(_) => "a release that fails on some",
            Quality::AlwaysBad => "a release that fails on all",
            Quality::Mute(_) => "a release that cuts hosts off",
            Quality::Decays(_) => "a release that decays",
        };
        match (&self.scenario.task, self.rollouts()) {
            (Task::Single, _) => format!("{quality}, ordered host by host"),
            (Task::Rollout(_), Some(all)) => {
                let state = all.first().map_or("never made", |row| row.state.name());
                let reverts = all.len().saturating_sub(1);
                let taken = if reverts > 0 { ", taken back" } else { "" };
                format!("{quality}, rolled out: {state}{taken}")
            }
            (Task::Rollout(_), None) => format!("{quality}, rolled out: the server is down"),
        }
    }

    /// What must hold at the end.
    pub(crate) fn check_end(&mut self) -> anyhow::Result<()> {
        self.truth.look(&self.plane, &self.hosts, &self.shelf)?;
        if !self.is_over() {
            return Err(Broken(self.why_not_over()).into());
        }
        let target = self.shelf.offer(&self.scenario.to).context("the target is offered")?.id();
        match self.scenario.task {
            Task::Single => {
                for host in &self.hosts {
                    let is_good = host.machine.conduct_of(&target) == Conduct::Good;
                    if is_good && host.current().as_ref() != Some(&target) {
                        let text = format!("{} is healthy and never came to {target}", host.name);
                        return Err(Broken(text).into());
                    }
                }
            }
            Task::Rollout(_) => self.check_rollout()?,
        }
        Ok(())
    }

    fn check_rollout(&mut self) -> anyhow::Result<()> {
        let rows = self.rollouts().context("the server is up")?;
        let row = rows.first().context("there is a rollout")?;
        let failed = row.counts.failed + row.counts.silent;
        if self.scenario.quality == Quality::Good && failed == 0 && row.state != RolloutState::Done
        {
            let text =
                format!("nothing failed, and the rollout is {}: {:?}", row.state, row.counts);
            return Err(Broken(text).into());
        }
        if self.scenario.quality == Quality::AlwaysBad
            && row.state == RolloutState::Done
            && row.counts.failed > 0
        {
            let text = format!("a release that always fails was rolled out: {:?}", row.counts);
            return Err(Broken(text).into());
        }
        let first = row.spec.gate.first.max(1);
        let is_stepwise = !matches!(row.spec.strategy, handover_model::api::Strategy::Immediate {});
        if self.scenario.quality == Quality::AlwaysBad && is_stepwise && row.released > first * 3 {
            let text = format!("{} are released of a release that always fails", row.released);
            return Err(Broken(text).into());
        }
        Ok(())
    }

    fn why_not_over(&self) -> String {
        let rollouts = self.rollouts().unwrap_or_default();
        let states: Vec<_> = rollouts
            .iter()
            .map(|row| format!("{} {} {:?}", row.name, row.state, row.counts))
            .collect();
        let busy: Vec<_> = self
            .hosts
            .iter()
            .filter(|host| {
                !host.is_up()
                    || host.ledger().open_orders().next().is_some()
                    || host.machine.is_upgrading()
            })
            .map(|host| host.name.to_string())
            .collect();
        format!(
            "it never ends: open orders {:?}, rollouts {states:?}, busy {busy:?}",
            self.open_orders_shown()
        )
    }
}

/// Whether the host did not report yet what it runs.
fn is_unknown_yet(said: &Value) -> bool {
    let code = said.get("code").and_then(Value::as_str);
    code.is_some_and(|code| code.contains("report") || code.contains("component"))
}
