//! Going back, by hand, to a release that is kept here. It needs no network: a host may return to
//! a slot that it committed earlier while the newer release's guard lasts, and afterwards, below
//! its floor, with a permit.

use handover_model::{OrderId, Permit, ReleaseId, Slot, Version};
use handover_trust::Verified;

use super::{Facts, Reason, floors_now, left_out, usable_permit};
use crate::graph::{LeftOut, Offer};
use crate::slots::{last_good, quarantined};

/// A return that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollBack {
    /// The kept release to make current, with [`crate::slots::roll_back_to`].
    pub to: ReleaseId,
    /// The permit to spend first.
    pub permit: Option<OrderId>,
    /// The quarantine entry to clear first, since a person asked for that very version.
    pub lifts_quarantine: Option<ReleaseId>,
}

/// Whether the host may go back to `wanted`, or to the last good release where no version is
/// named. `offers` may be empty: a host that reaches no repository knows of no revocation.
///
/// # Errors
/// Why not.
pub fn choose_rollback(
    facts: &Facts<'_>,
    offers: &[Offer],
    permits: &[Verified<Permit>],
    wanted: Option<&Version>,
) -> Result<RollBack, Reason> {
    let permits: Vec<&Permit> = permits.iter().map(|permit| &**permit).collect();
    choose_rollback_with(facts, offers, &permits, wanted)
}

pub(super) fn choose_rollback_with(
    facts: &Facts<'_>,
    offers: &[Offer],
    permits: &[&Permit],
    wanted: Option<&Version>,
) -> Result<RollBack, Reason> {
    if let Some(trial) = &facts.slots.trial {
        return Err(Reason::TrialPending { release: trial.slot.release.clone() });
    }
    let target = find(facts, wanted)?;
    let version = &target.release.version;
    let offer = offers.iter().find(|offer| offer.id() == target.release);
    if let Some(why) = offer.and_then(|offer| offer.facts.revoked.clone()) {
        return Err(left_out(version, &LeftOut::Revoked(why)));
    }
    let permit = if floors_now(facts).accepts(&facts.policy.name, version) {
        None
    } else {
        Some(usable_permit(facts, permits, version)?)
    };
    let lifted = quarantined(facts.slots, &target.release).map(|entry| entry.release.clone());
    Ok(RollBack { to: target.release.clone(), permit, lifts_quarantine: lifted })
}

fn find<'a>(facts: &Facts<'a>, wanted: Option<&Version>) -> Result<&'a Slot, Reason> {
    let Some(wanted) = wanted else {
        let component = facts.policy.name.clone();
        return last_good(facts.slots).ok_or(Reason::NothingKept { component });
    };
    facts.slots.previous.iter().find(|kept| kept.release.version == *wanted).ok_or_else(|| {
        let kept = facts.slots.previous.iter().map(|kept| kept.release.version.to_string());
        let kept = kept.collect::<Vec<_>>().join(", ");
        if kept.is_empty() {
            Reason::NothingKept { component: facts.policy.name.clone() }
        } else {
            Reason::NotKept { version: wanted.clone(), kept }
        }
    })
}
