//! What is offered to this host and written for a newer Handover than this one.

use handover_model::{Platform, Version};
use handover_trust::Skipped;

use super::{Asked, Choice, Facts, Reason};

/// The skipped targets that could be for this host, and the version that their paths name. One
/// for a platform that this program never heard of can't be.
fn for_this_host<'a>(
    facts: &'a Facts<'_>,
    skipped: &'a [Skipped],
) -> impl Iterator<Item = (Option<Version>, Reason)> + 'a {
    skipped.iter().filter_map(|target| {
        let mut parts = target.path.split('/').skip(1);
        let version = parts.next()?.parse().ok();
        let platform: Platform = parts.next()?.strip_suffix(".tar.zst")?.parse().ok()?;
        let reason = Reason::TooNew { path: target.path.clone(), why: target.why.clone() };
        platform.runs_on(facts.platform).then_some((version, reason))
    })
}

/// Those that are above what runs here, the highest first; one whose version this program can't
/// read counts as above all.
pub(super) fn notes(facts: &Facts<'_>, skipped: &[Skipped]) -> Vec<Reason> {
    let current = facts.slots.current.as_ref().map(|slot| &slot.release.version);
    let mut above: Vec<_> = for_this_host(facts, skipped)
        .filter(|(version, _)| version.as_ref().is_none_or(|version| Some(version) > current))
        .collect();
    above.sort_by(|(a, _), (b, _)| (b.is_none(), b).cmp(&(a.is_none(), a)));
    above.into_iter().map(|(_, reason)| reason).collect()
}

/// "There is no such release" is not the truth when there is one that this program can't read.
pub(super) fn or_too_new(
    choice: Choice,
    facts: &Facts<'_>,
    skipped: &[Skipped],
    asked: Asked<'_>,
) -> Choice {
    let Choice::Hold(
        Reason::NotOffered { .. } | Reason::PlatformMissing { .. } | Reason::NoSuchRelease { .. },
    ) = choice
    else {
        return choice;
    };
    let wanted = if let Asked::For(version) = asked { Some(version) } else { None };
    let found = for_this_host(facts, skipped)
        .find(|(version, _)| wanted.is_none_or(|wanted| version.as_ref() == Some(wanted)));
    found.map_or(choice, |(_, reason)| Choice::Hold(reason))
}
