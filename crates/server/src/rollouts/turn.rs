//! One turn of whoever holds the lease: every rollout in which something happened, or whose time
//! has come, is decided, and what follows is written: one row, with what is told of it.
//!
//! A turn may be cut short at any instant: what was written is whole, and what was not is decided
//! again, from rows.

use handover_engine::rollout::controller::{Act, Controller, Decision, RevertScope};
use handover_engine::rollout::outcome::took_everybody_back;
use handover_model::api::{HoldCode, RolloutKind, RolloutState};
use handover_model::{RolloutId, Timestamp};
use handover_store::rollouts::{self, NewRollout, Rollout, RolloutKey};
use handover_store::{Database, Lease, StoreError};

use super::decide::{Scene, hear_others, window_turns};
use super::live::Drawn;
use super::write::{Cancel, Written, as_text, event};
use super::{Live, build, is_live, sooner, start};
use crate::AppState;

/// A hold whose end nobody tells of is looked at again after this long.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(10);

/// Decides whatever is due, under `lease`.
pub(crate) async fn turn(state: &AppState, lease: &Lease) -> Result<(), StoreError> {
    let now = state.now().wall;
    let mut has_heard = matches!(state.store.database(), Database::Sqlite(_));
    for key in state.rollouts.keys() {
        let is_due = state.rollouts.with(key, |live| live.is_due(now));
        if is_due != Some(true) {
            continue;
        }
        if !has_heard {
            let patience = super::decide::patience(state).duration();
            let micros = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX);
            let since = Timestamp::from_micros(now.as_micros().saturating_sub(micros));
            hear_others(state, &state.store, since).await?;
            has_heard = true;
        }
        match decide_one(state, lease, key, now).await {
            Ok(()) => {}
            // Somebody was faster: it is decided again on what they wrote.
            Err(StoreError::Stale { .. }) => {
                let id = state.rollouts.with(key, |live| {
                    live.drop_controller();
                    live.row.id
                });
                if let Some(id) = id {
                    state.rollouts.follow_row(&state.store, id).await?;
                }
                state.rollouts.ring();
            }
            Err(error @ StoreError::Fenced { .. }) => {
                state.rollouts.with(key, Live::drop_controller);
                return Err(error);
            }
            // One rollout that can't be decided does not keep the others waiting.
            Err(error) => {
                tracing::warn!(error = %crate::Chain(&error), "rollout not decided; tried again");
                state.rollouts.with(key, |live| {
                    live.drop_controller();
                    (live.is_stirred, live.look_at) = (false, Some(now.after(AGAIN)));
                });
            }
        }
    }
    Ok(())
}

async fn decide_one(
    state: &AppState,
    lease: &Lease,
    key: RolloutKey,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some((row, is_drawn, window)) = state
        .rollouts
        .with(key, |live| (live.row.clone(), live.drawn.is_some(), live.windows.at(now)))
    else {
        return Ok(());
    };
    if !is_live(&row) {
        state.rollouts.lock().remove(&key);
        return Ok(());
    }
    let mut fresh = None;
    if !is_drawn {
        if row.start_at.is_some_and(|at| now < at) {
            state
                .rollouts
                .with(key, |live| (live.is_stirred, live.look_at) = (false, row.start_at));
            return Ok(());
        }
        let Some(drawn) = start::draw_plan(state, &row, now).await? else {
            state.rollouts.with(key, |live| {
                (live.is_stirred, live.look_at) = (false, Some(now.after(AGAIN)));
            });
            return Ok(());
        };
        fresh = Some(drawn);
    } else if !build::open(state, key).await? {
        return Ok(());
    }
    let joined = if is_drawn { start::late_joiners(state, key, now).await? } else { None };
    let scene = Scene::read(state, row.id, &row.spec, window, now).await?;
    let ended = revert_ended(state, &row).await?;
    let written = state.rollouts.with(key, |live| {
        let turn = Turn { state, scene: &scene, now };
        turn.decide(live, fresh, joined, ended)
    });
    let Some(Some(written)) = written.transpose()? else {
        state.rollouts.with(key, |live| {
            if live.is_unstored() {
                live.drop_controller();
            }
        });
        return Ok(());
    };
    put(state, key, written, Some(lease.clone()), now).await
}

/// Writes what was decided, and takes it over into memory.
pub(super) async fn put(
    state: &AppState,
    key: RolloutKey,
    written: Written,
    lease: Option<Lease>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let revert = written.revert.as_ref().map(|revert| revert.id);
    let put = state.store.write(move |tx| written.write(tx, lease.as_ref(), now)).await;
    match put {
        Ok(row) => {
            state.rollouts.with(key, |live| live.adopt(row));
            if let Some(id) = revert {
                state.rollouts.follow_row(&state.store, id).await?;
            }
            state.rollouts.ring();
            Ok(())
        }
        Err(error) => {
            // What the controller believes now is not so: it is opened again from rows.
            state.rollouts.with(key, Live::drop_controller);
            Err(error)
        }
    }
}

/// How the rollout that takes this one's hosts back ended, if it did.
async fn revert_ended(state: &AppState, row: &Rollout) -> Result<Option<bool>, StoreError> {
    let (RolloutState::Reverting, Some(id)) = (row.state, row.reverted_by) else {
        return Ok(None);
    };
    let revert = state.store.read(move |tx| rollouts::get(tx, id)).await?;
    Ok(revert
        .filter(|revert| revert.state.is_over())
        .map(|revert| took_everybody_back(revert.state, &revert.counts)))
}

struct Turn<'t> {
    state: &'t AppState,
    scene: &'t Scene,
    now: Timestamp,
}

impl Turn<'_> {
    fn decide(
        &self,
        live: &mut Live,
        fresh: Option<Drawn>,
        joined: Option<Drawn>,
        ended: Option<bool>,
    ) -> Result<Option<Written>, StoreError> {
        let was_drawn = fresh.is_none();
        if let Some(drawn) = fresh {
            start::begin(live, drawn)?;
        }
        let already = live.row.members;
        let has_joined = joined.is_some();
        if let Some(drawn) = joined {
            let (plan, roster) = (drawn.plan.clone(), drawn.roster.clone());
            live.put(drawn);
            if let Some(controller) = live.controller_mut() {
                controller.join(plan, roster);
            }
        }
        let mut decision = Decision::default();
        if let (Some(done), Some(controller)) = (ended, live.controller_mut()) {
            // It was told before when a turn was cut short after this.
            if let Ok(first) = controller.act(&Act::RevertEnded { done }, self.now) {
                decision = first;
            }
        }
        let Some(second) = self.scene.decide(self.state, live) else { return Ok(None) };
        decision.changed |= second.changed || !was_drawn || has_joined;
        decision.effects.extend(second.effects);
        decision.holds = second.holds;
        self.written(live, &decision, was_drawn, has_joined.then_some(already))
    }

    fn written(
        &self,
        live: &mut Live,
        decision: &Decision,
        was_drawn: bool,
        joined: Option<u32>,
    ) -> Result<Option<Written>, StoreError> {
        let held = newly_held(&live.holds, decision);
        live.holds.clone_from(&decision.holds);
        (live.is_stirred, live.is_ours) = (false, true);
        let deadline = live.controller().and_then(Controller::next_deadline);
        live.look_at = self.look_at(live, deadline);
        let over = live.row.watch_until.is_some_and(|until| until <= self.now);
        let (Some(controller), Some(drawn)) = (live.controller(), &live.drawn) else {
            return Ok(None);
        };
        let written = Written::of(&live.row, controller, decision, self.now)?;
        let forced = || {
            let changed = Decision { changed: true, ..Decision::default() };
            Written::of(&live.row, controller, &changed, self.now)
        };
        let written = match written {
            None if over || !held.is_empty() => forced()?,
            written => written,
        };
        let Some(mut written) = written else { return Ok(None) };
        if !was_drawn {
            written.row.plan = Some(as_text(&*drawn.plan)?);
            written.append = Some((0, start::stored_members(&drawn.roster, 0)));
        } else if let Some(already) = joined {
            written.row.plan = Some(as_text(&*drawn.plan)?);
            written.append = Some((already, start::stored_members(&drawn.roster, already)));
            let count = written.row.members.saturating_sub(already);
            let data = serde_json::json!({ "count": count });
            written.events.push(event(&written.row, "rollout.joined", data, self.now));
        }
        for (code, text) in held {
            let data = serde_json::json!({ "code": code, "text": text });
            written.events.push(event(&written.row, "rollout.held", data, self.now));
        }
        if let Some(scope) = Written::scope(decision) {
            let id = self.state.mint(RolloutId::mint);
            written.revert = Some(reverting(&written.row, scope, id, "server", None, self.now)?);
            written.cancel = Some(taken_back());
        }
        Ok(Some(written))
    }

    /// When to look again although nobody tells.
    fn look_at(&self, live: &Live, deadline: Option<Timestamp>) -> Option<Timestamp> {
        let holds = live.holds.iter().filter_map(|held| held.hold.until);
        let holds = holds.filter(|until| *until > self.now).min();
        let quiet = live.holds.iter().any(|held| match held.hold.code {
            HoldCode::Release | HoldCode::Check => true,
            HoldCode::FleetStopped
            | HoldCode::Halted
            | HoldCode::Paused
            | HoldCode::Scheduled
            | HoldCode::Approval
            | HoldCode::CatchAll
            | HoldCode::Window
            | HoldCode::Ramp
            | HoldCode::Away
            | HoldCode::Silent
            | HoldCode::Evidence
            | HoldCode::SuccessShare
            | HoldCode::Soak
            | HoldCode::Limit
            | HoldCode::Requirement
            | HoldCode::Retry
            | HoldCode::Priority => false,
        });
        let again = quiet.then(|| self.now.after(AGAIN));
        let windows = window_turns(self.scene.window);
        let watch = live.row.watch_until;
        [holds, again, windows, watch].into_iter().fold(deadline, sooner)
    }
}

/// Kinds of holds that were not there at the last decision and that people are told of.
fn newly_held(
    before: &[handover_engine::rollout::holds::Held],
    decision: &Decision,
) -> Vec<(HoldCode, String)> {
    let is_news = |code: HoldCode| match code {
        HoldCode::FleetStopped
        | HoldCode::CatchAll
        | HoldCode::Window
        | HoldCode::Away
        | HoldCode::Silent
        | HoldCode::SuccessShare
        | HoldCode::Check
        | HoldCode::Requirement
        | HoldCode::Priority
        | HoldCode::Release => true,
        // What has an event of its own, and what goes on by itself in a moment.
        HoldCode::Halted
        | HoldCode::Paused
        | HoldCode::Scheduled
        | HoldCode::Approval
        | HoldCode::Ramp
        | HoldCode::Evidence
        | HoldCode::Soak
        | HoldCode::Limit
        | HoldCode::Retry => false,
    };
    let fresh = decision.holds.iter().filter(|held| {
        is_news(held.hold.code) && !before.iter().any(|old| old.hold.code == held.hold.code)
    });
    fresh.map(|held| (held.hold.code, held.hold.text.clone())).collect()
}

/// Why orders of what is taken back are cancelled.
pub(super) fn taken_back() -> Cancel {
    let words = "the rollout is taken back".to_owned();
    Cancel { code: "rollout.taken-back", words }
}

/// The rollout that takes hosts of another back.
pub(super) fn reverting(
    row: &Rollout,
    scope: RevertScope,
    id: RolloutId,
    by: &str,
    request: Option<&handover_model::api::RevertRequest>,
    now: Timestamp,
) -> Result<NewRollout, StoreError> {
    use handover_engine::rollout::controller::Progress;
    use handover_model::api::{AfterSpec, Approval, Membership, OnHalt, RetrySpec, Strategy};
    let wave = match scope {
        RevertScope::Wave(wave) => Some(wave),
        RevertScope::Rollout => None,
    };
    let mut spec = row.spec.clone();
    spec.name = revert_name(&row.spec.name, id);
    spec.membership = Membership::Frozen;
    spec.strategy = Strategy::Staged { percent: vec![100.0], approval: Approval::None };
    spec.gate = request.and_then(|request| request.gate.clone()).unwrap_or_default();
    (spec.windows, spec.checks, spec.requires) = (Vec::new(), Vec::new(), Vec::new());
    (spec.early_download, spec.start_at, spec.priority) = (false, None, 100);
    (spec.retries, spec.on_halt) = (RetrySpec::default(), OnHalt::Stop);
    spec.after = AfterSpec { watch: handover_model::Millis(0), ..AfterSpec::default() };
    spec.reason = request.and_then(|request| request.reason.clone());
    Ok(NewRollout {
        id,
        kind: RolloutKind::Revert { of: row.id, wave },
        spec,
        progress: as_text(&Progress::new(now))?,
        by: by.to_owned(),
    })
}

/// A name that no other rollout has: of the one that is taken back, and of the new one's id.
fn revert_name(name: &handover_model::RolloutName, id: RolloutId) -> handover_model::RolloutName {
    let id = id.to_string();
    let tail: String = id.chars().skip(id.len().saturating_sub(6)).collect();
    let mut head: String = name.as_str().chars().take(26).collect();
    while head.ends_with('-') {
        head.pop();
    }
    format!("{head}-revert-{tail}").parse().unwrap_or_else(|_too_long| name.clone())
}

impl Live {
    fn is_due(&self, now: Timestamp) -> bool {
        self.is_stirred || self.look_at.is_some_and(|at| at <= now)
    }
}

/// Wakes members whose time has come, and some of those that a limit keeps. Every replica does.
pub(crate) fn wake(state: &AppState, now: Timestamp) {
    let mut woken = Vec::new();
    state.rollouts.each(|live| {
        let mut due = live.waits.due(now);
        if let Some(drawn) = &live.drawn {
            let is_there =
                |position| drawn.agent(position).is_some_and(|key| state.agents.is_there(key));
            due.extend(live.waits.nudged(now, is_there));
            woken.extend(due.into_iter().filter_map(|position| drawn.agent(position)));
        }
    });
    if !woken.is_empty() {
        state.agents.mark_keys(woken);
    }
}

/// When something is to be looked at although nothing happens.
pub(crate) fn next_look(state: &AppState) -> Option<Timestamp> {
    let mut next = None;
    state.rollouts.each(|live| next = sooner(next, sooner(live.look_at, live.waits.next())));
    next
}

#[cfg(test)]
mod tests {
    use handover_model::IdGen;

    use super::*;

    #[test]
    fn a_revert_has_a_name_of_its_own_however_long_the_others_is() {
        let id = RolloutId::mint(&mut IdGen::new([3; 32]), Timestamp::from_micros(0));
        for name in ["a", "web-2", "abcdefghijklmnopqrstuvwxy-abcdefghijklm"] {
            let name = name.parse().unwrap();
            let made = revert_name(&name, id);
            assert_ne!(made, name);
            assert!(made.as_str().contains("-revert-"), "{made}");
        }
    }
}
