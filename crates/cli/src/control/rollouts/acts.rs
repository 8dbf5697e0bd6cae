//! What people do to a rollout that runs.

use handover_model::api::{
    ActRequest, ApproveRequest, LeaveOutRequest, RevertRequest, RolloutInfo,
};

use super::super::agents::{OnlyIf, Said};
use super::super::api::Api;
use super::super::{ControlError, Desk, give, routes};
use super::{find, view, wave_of};

/// On which rollout, why, and under which condition.
#[derive(Debug, clap::Args)]
pub(crate) struct Act {
    /// The rollout, by name or id.
    rollout: String,
    #[command(flatten)]
    said: Said,
    #[command(flatten)]
    only: OnlyIf,
}

/// Pauses, resumes or aborts.
pub(super) fn act(
    api: &Api,
    verb: &str,
    act: &Act,
    cancel: bool,
    desk: &Desk<'_>,
) -> Result<(), ControlError> {
    let rollout = find(api, &act.rollout)?;
    let request = ActRequest { reason: act.said.reason.clone(), cancel };
    let tag = act.only.tag();
    let path = path_of(&rollout, verb);
    let stands: RolloutInfo =
        api.post_if(&format!("{verb} the rollout"), &path, &request, tag.as_deref())?;
    tell(&stands, desk);
    Ok(())
}

/// Ends a rollout, after asking.
pub(super) fn abort(
    api: &Api,
    asked: &Act,
    cancel: bool,
    yes: bool,
    desk: &Desk<'_>,
) -> Result<(), ControlError> {
    let rollout = find(api, &asked.rollout)?;
    let counts = rollout.counts;
    let question = format!(
        "Abort {}? {} of {} hosts are done and stay so.",
        rollout.name, counts.done, counts.members
    );
    give::confirm(&question, yes)?;
    act(api, "abort", asked, cancel, desk)
}

/// Approves a wave.
pub(super) fn approve(
    api: &Api,
    rollout: &str,
    wave: Option<&str>,
    said: Said,
    only: OnlyIf,
    desk: &Desk<'_>,
) -> Result<(), ControlError> {
    let rollout = find(api, rollout)?;
    let wave = wave.map(|wave| wave_of(&rollout, wave)).transpose()?;
    let request = ApproveRequest { wave, reason: said.reason };
    let tag = only.tag();
    let path = path_of(&rollout, "approve");
    let stands: RolloutInfo = api.post_if("approve the wave", &path, &request, tag.as_deref())?;
    tell(&stands, desk);
    Ok(())
}

/// Takes hosts back; answers the rollout that does it.
pub(super) fn revert(
    api: &Api,
    act: &Act,
    wave: Option<&str>,
    yes: bool,
    desk: &Desk<'_>,
) -> Result<RolloutInfo, ControlError> {
    let rollout = find(api, &act.rollout)?;
    let wave = wave.map(|wave| wave_of(&rollout, wave)).transpose()?;
    let at = wave.and_then(|wave| usize::try_from(wave).ok());
    let (what, counts) = match at.and_then(|at| rollout.waves.get(at)) {
        Some(wave) => (format!("wave {} of {}", wave.name, rollout.name), wave.counts),
        None => (rollout.name.to_string(), rollout.counts),
    };
    give::confirm(&format!("Take back {what}? {} hosts are done.", counts.done), yes)?;
    let request = RevertRequest { wave, reason: act.said.reason.clone(), gate: None };
    let tag = act.only.tag();
    let path = path_of(&rollout, "revert");
    let made: RolloutInfo = api.post_if("take it back", &path, &request, tag.as_deref())?;
    desk.out.result(&made, |made| {
        format!("rollout {} takes {} hosts back", made.name, made.counts.members)
    });
    Ok(made)
}

/// Leaves hosts out.
pub(super) fn leave_out(
    api: &Api,
    rollout: &str,
    agents: Vec<String>,
    reason: String,
    only: OnlyIf,
    desk: &Desk<'_>,
) -> Result<(), ControlError> {
    let rollout = find(api, rollout)?;
    let request = LeaveOutRequest { agents, reason };
    let tag = only.tag();
    let path = path_of(&rollout, "leave-out");
    let stands: RolloutInfo = api.post_if("leave them out", &path, &request, tag.as_deref())?;
    tell(&stands, desk);
    Ok(())
}

fn path_of(rollout: &RolloutInfo, verb: &str) -> String {
    format!("{}/{verb}", routes::one(routes::ROLLOUTS, rollout.id))
}

fn tell(stands: &RolloutInfo, desk: &Desk<'_>) {
    desk.out.result(stands, |stands| {
        let holds = stands.holds.iter().map(|hold| format!("\n{}", view::hold(hold)));
        format!("rollout {} is {}{}", stands.name, stands.state, holds.collect::<String>())
    });
}
