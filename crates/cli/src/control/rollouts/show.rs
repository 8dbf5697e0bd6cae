//! One rollout, whole.

use handover_model::api::{RolloutInfo, Strategy};

use super::super::api::Api;
use super::super::{ControlError, Desk, words};
use super::{find, view};
use crate::output::{fields, width};
use crate::real_world::now;

/// Shows one.
pub(super) fn show(api: &Api, rollout: &str, desk: &Desk<'_>) -> Result<(), ControlError> {
    let rollout = find(api, rollout)?;
    desk.out.result(&rollout, |rollout| {
        format!("{}\n\n{}", fields(&particulars(rollout)), view::progress(rollout, now(), width()))
    });
    Ok(())
}

fn particulars(rollout: &RolloutInfo) -> Vec<(&'static str, String)> {
    let spec = &rollout.spec;
    let time = |at| words::ago(at, now());
    let mut pairs = vec![
        ("rollout", rollout.name.to_string()),
        ("id", rollout.id.to_string()),
        ("what", view::what(rollout)),
        ("state", rollout.state.to_string()),
        ("selection", spec.select.clone()),
        ("membership", view::word(&spec.membership)),
        ("strategy", strategy(&spec.strategy)),
        ("why", spec.reason.clone().unwrap_or_default()),
        ("made", format!("{} by {}", time(rollout.created_at), rollout.by)),
    ];
    pairs.extend(rollout.started_at.map(|at| ("started", time(at))));
    pairs.extend(rollout.ended_at.map(|at| ("ended", time(at))));
    let watched = rollout.watch_until.filter(|until| *until > now());
    pairs.extend(watched.map(|until| ("watched", format!("ends {}", words::until(until, now())))));
    pairs.extend(rollout.reverted_by.map(|by| ("taken back", format!("by {by}"))));
    pairs.extend(rollout.superseded_by.map(|by| ("superseded", format!("by {by}"))));
    pairs.push(("generation", rollout.generation.to_string()));
    pairs.retain(|(_, value)| !value.is_empty());
    pairs
}

fn strategy(strategy: &Strategy) -> String {
    match strategy {
        Strategy::Immediate {} => "everybody at once".to_owned(),
        Strategy::Staged { percent, approval } => {
            let shares: Vec<_> = percent.iter().map(|share| format!("{share} %")).collect();
            let approval = view::word(approval);
            format!("{}; approval: {approval}", shares.join(" → "))
        }
        Strategy::Waves { waves, rest } => {
            let names: Vec<_> =
                waves.iter().map(|wave| format!("{}: {}", wave.name, wave.select)).collect();
            format!("{}\nthe rest: {}", names.join("\n"), view::word(rest))
        }
    }
}
