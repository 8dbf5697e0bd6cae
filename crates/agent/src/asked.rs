//! What a person or an order asks for, one component only: an update, by the same hops as
//! following makes, and another chance for what failed. Every failure is the asker's.

use handover_engine::choose::{Asked, Choice};
use handover_engine::slots::clear_quarantine;
use handover_model::{ComponentName, HostPolicy, Version};

use crate::agent::Agent;
use crate::attempts::Attempts;
use crate::failure::Failure;
use crate::follow::{
    MOST_HOPS, Moved, ahead_of, change_slots, perform, pick_up, prepare_only, raise_floors,
    refresh_now,
};
use crate::install::Landed;
use crate::outlook::Wish;
use crate::repository::Known;

/// What a person's wish came to: `update NAME [--to V]`.
///
/// # Errors
/// [`Failure`] when it is refused, reverted or unknown.
pub fn update_as_asked(
    agent: &mut Agent,
    policy: &HostPolicy,
    name: &ComponentName,
    to: Option<&Version>,
    permit: Option<&[u8]>,
) -> Result<Vec<Moved>, Failure> {
    update_as(agent, policy, name, to.map_or(Asked::Newest, Asked::For), permit)
}

/// The same for whoever asks.
///
/// # Errors
/// As [`update_as_asked`].
pub fn update_as(
    agent: &mut Agent,
    policy: &HostPolicy,
    name: &ComponentName,
    asked: Asked<'_>,
    permit: Option<&[u8]>,
) -> Result<Vec<Moved>, Failure> {
    pick_up(agent, policy)?;
    raise_floors(agent)?;
    let Known { refreshed, mut refused } = refresh_now(agent, policy)?;
    if let Some(error) = refused.remove(name) {
        return Err(error.into());
    }
    let mut permits = Vec::new();
    if let Some(bytes) = permit {
        let now = agent.now().wall;
        permits.push(handover_trust::verify_permit(
            bytes,
            &refreshed.catalog,
            name,
            &policy.agent,
            now,
        )?);
    }
    let mut moved = Vec::new();
    for _hop in 0..MOST_HOPS {
        let wish = Wish { component: name, asked, permits: &permits };
        let ahead = ahead_of(agent, policy, &refreshed, name, Some(wish))?
            .ok_or_else(|| unknown_component(policy, name))?;
        match &ahead.decision.choice {
            Choice::UpToDate => return Ok(moved),
            Choice::Hold(reason) => {
                let (code, reason) = (reason.code(), reason.to_string());
                return Err(Failure::Refused { code, reason });
            }
            Choice::Update { next, permit, .. } => {
                let permit = permits.iter().find(|signed| Some(signed.id) == *permit);
                let to = next.id();
                let landed = perform(agent, policy, &refreshed, &ahead, permit)?;
                let version = to.version.clone();
                moved.push(Moved { component: name.clone(), to, landed: landed.clone() });
                judge(name, version, landed)?;
            }
        }
    }
    Ok(moved)
}

/// Brings the first release that [`update_as`] would install, verified and unpacked, and begins
/// nothing.
///
/// # Errors
/// [`Failure`] when there is nothing that may be installed, or it can't be brought.
pub fn stage_as(
    agent: &mut Agent,
    policy: &HostPolicy,
    name: &ComponentName,
    asked: Asked<'_>,
) -> Result<(), Failure> {
    let Known { refreshed, mut refused } = refresh_now(agent, policy)?;
    if let Some(error) = refused.remove(name) {
        return Err(error.into());
    }
    let wish = Wish { component: name, asked, permits: &[] };
    let ahead = ahead_of(agent, policy, &refreshed, name, Some(wish))?
        .ok_or_else(|| unknown_component(policy, name))?;
    match &ahead.decision.choice {
        Choice::UpToDate => Ok(()),
        Choice::Hold(reason) => {
            let (code, reason) = (reason.code(), reason.to_string());
            Err(Failure::Refused { code, reason })
        }
        Choice::Update { .. } => prepare_only(agent, policy, &refreshed, &ahead),
    }
}

fn judge(component: &ComponentName, to: Version, landed: Landed) -> Result<(), Failure> {
    let component = component.clone();
    match landed {
        Landed::Committed => Ok(()),
        Landed::Refused(reason) => Err(Failure::Refused {
            code: "entrypoint-refused",
            reason: format!("{component} {to}: {reason}"),
        }),
        Landed::Reverted(reason) => Err(Failure::Reverted { component, to, reason }),
        Landed::Unknown(reason) => Err(Failure::Unknown { component, to, reason }),
        Landed::OnTrial(_) => {
            Err(Failure::Unknown { component, to, reason: "its trial goes on".to_owned() })
        }
        Landed::LeftAlone => Err(Failure::Stopped),
    }
}

/// Lets releases that failed here be tried again; says which. Only `version`, if it is named.
///
/// # Errors
/// [`Failure::NotFound`] when nothing fits.
pub fn clear_failed(
    agent: &Agent,
    name: &ComponentName,
    version: Option<&Version>,
) -> Result<Vec<String>, Failure> {
    let _lock = agent.lock(name)?;
    let entries = agent.home.slots(name)?.quarantine;
    let chosen: Vec<_> = entries
        .into_iter()
        .map(|entry| entry.release)
        .filter(|release| version.is_none_or(|version| release.version == *version))
        .collect();
    let path = agent.home.attempts(name);
    let attempts = Attempts::load(&path)?;
    let gave_up = attempts
        .failed
        .filter(|failed| version.is_none_or(|version| failed.release.version == *version));
    if chosen.is_empty() && gave_up.is_none() {
        let what = format!("nothing of {name} is in quarantine that fits");
        return Err(Failure::NotFound { what });
    }
    for release in &chosen {
        change_slots(agent, name, |slots| clear_quarantine(slots, release))?;
    }
    Attempts::cleared(agent.now().wall).save(&path)?;
    let mut cleared: Vec<_> = chosen.iter().map(|release| release.version.to_string()).collect();
    cleared.extend(gave_up.map(|failed| failed.release.version.to_string()));
    cleared.dedup();
    Ok(cleared)
}

/// The error for a component that the policy does not list.
pub fn unknown_component(policy: &HostPolicy, name: &ComponentName) -> Failure {
    let there: Vec<_> = policy.components.iter().map(|component| component.name.as_str()).collect();
    let what = format!(
        "this host follows no component {name}; it follows {}. `handover-agent component apply \
         {name} VERSION` adds it",
        if there.is_empty() { "none".to_owned() } else { there.join(", ") }
    );
    Failure::NotFound { what }
}
