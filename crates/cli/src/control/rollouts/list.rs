//! Lists of rollouts, and of a rollout's members.

use handover_model::ComponentName;
use handover_model::api::{
    CheckInfo, CheckSecret, MemberInfo, MemberOutcome, RolloutInfo, RolloutState,
};

use super::super::api::Api;
use super::super::{ControlError, Desk, routes, words};
use super::view::{grouped, word};
use super::{find, wave_of};
use crate::output::{fields, table};
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

/// Lists external checks, or shows what one of them is answered with.
pub(super) fn checks(
    api: &Api,
    rollout: &str,
    secret: Option<&str>,
    desk: &Desk<'_>,
) -> Result<(), ControlError> {
    let rollout = find(api, rollout)?;
    let path = format!("{}/checks", routes::one(routes::ROLLOUTS, rollout.id));
    if let Some(check) = secret {
        let path = format!("{}/secret", routes::one(&path, check));
        let secret: CheckSecret = api.get("ask for the check's key", &path)?;
        desk.out.result(&secret, |secret| {
            fields(&[
                ("check", secret.name.clone()),
                ("address", secret.url.clone()),
                ("secret", secret.secret.clone()),
            ])
        });
        return Ok(());
    }
    let checks: Vec<CheckInfo> = api.get("look at the checks", &path)?;
    desk.out.result(&checks, |checks| {
        let head = ["CHECK", "VERDICT", "ANSWERED", ""];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(checks.iter().map(|check| {
            let verdict = check.verdict.map_or_else(|| "none yet".to_owned(), |one| word(&one));
            let old = if check.verdict.is_some() && !check.is_fresh { ", too old" } else { "" };
            vec![
                check.spec.name.clone(),
                format!("{verdict}{old}"),
                check.answered_at.map_or_else(String::new, |at| words::ago(at, now())),
                check.reason.clone().unwrap_or_default(),
            ]
        }));
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
