//! Lists of rollouts, and of a rollout's members.

use handover_model::ComponentName;
use handover_model::api::{MemberInfo, MemberOutcome, RolloutInfo, RolloutState};

use super::super::api::Api;
use super::super::{ControlError, Desk, routes, words};
use super::view::{grouped, word};
use super::{find, wave_of};
use crate::output::table;
use crate::real_world::now;

/// Which rollouts.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) state: Option<RolloutState>,
    pub(super) component: Option<ComponentName>,
    pub(super) open: bool,
    pub(super) limit: usize,
}

/// Which members.
#[derive(Debug)]
pub(super) struct MemberFilter {
    pub(super) wave: Option<String>,
    pub(super) outcome: Option<MemberOutcome>,
    pub(super) limit: Option<usize>,
}

/// Lists rollouts.
pub(super) fn list(api: &Api, filter: &Filter, desk: &Desk<'_>) -> Result<(), ControlError> {
    let path = routes::query(
        routes::ROLLOUTS,
        &[
            ("state", filter.state.map(|state| state.to_string())),
            ("component", filter.component.as_ref().map(ToString::to_string)),
            ("open", filter.open.then(|| "true".to_owned())),
        ],
    );
    let rollouts: Vec<RolloutInfo> = api.list("list rollouts", &path, Some(filter.limit))?;
    desk.out.result(&rollouts, |rollouts| {
        let head = [
            "ROLLOUT", "STATE", "WHAT", "MEMBERS", "RELEASED", "DONE", "FAILED", "HELD BY", "MADE",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(rollouts.iter().map(row));
        table(&rows)
    });
    Ok(())
}

fn row(rollout: &RolloutInfo) -> Vec<String> {
    let counts = &rollout.counts;
    vec![
        rollout.name.to_string(),
        rollout.state.to_string(),
        super::view::what(rollout),
        grouped(counts.members),
        grouped(counts.released),
        grouped(counts.done),
        grouped(counts.failed),
        rollout.holds.first().map_or_else(String::new, |hold| word(&hold.code)),
        words::ago(rollout.created_at, now()),
    ]
}

/// Lists members.
pub(super) fn members(
    api: &Api,
    rollout: &str,
    filter: &MemberFilter,
    desk: &Desk<'_>,
) -> Result<(), ControlError> {
    let rollout = find(api, rollout)?;
    let wave = filter.wave.as_deref().map(|wave| wave_of(&rollout, wave)).transpose()?;
    let path = format!("{}/members", routes::one(routes::ROLLOUTS, rollout.id));
    let path = routes::query(
        &path,
        &[
            ("wave", wave.map(|wave| wave.to_string())),
            ("outcome", filter.outcome.map(|outcome| word(&outcome).replace(' ', "_"))),
        ],
    );
    let members: Vec<MemberInfo> = api.list("list members", &path, filter.limit)?;
    desk.out.result(&members, |members| {
        let head = ["#", "AGENT", "WAVE", "OUTCOME", "WHEN", ""];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(members.iter().map(|member| member_row(&rollout, member)));
        table(&rows)
    });
    Ok(())
}

fn member_row(rollout: &RolloutInfo, member: &MemberInfo) -> Vec<String> {
    let wave = usize::try_from(member.wave).ok().and_then(|at| rollout.waves.get(at));
    let said: Vec<&str> =
        [member.text.as_deref(), member.code.as_deref()].into_iter().flatten().collect();
    vec![
        member.position.saturating_add(1).to_string(),
        member.name.to_string(),
        wave.map_or_else(String::new, |wave| wave.name.clone()),
        word(&member.outcome),
        member.at.map_or_else(String::new, |at| words::ago(at, now())),
        said.join(" "),
    ]
}
