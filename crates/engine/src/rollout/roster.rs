//! In which order the members of a rollout come.
//!
//! A member's place is the hash of the rollout's seed and the agent's id. The seed is drawn after
//! membership is known, so that nobody can choose to be a canary, or not to be one. Two things are
//! put before the hash: the wave, where waves are by selection; and, at the head of each wave, one
//! member of each stratum (platform and version that it comes from), so that the first step of
//! its ramp meets every kind of host there is, the rarest too.
//!
//! Percentages are cut out of one order: the first 5 % are among the first 25 %, whatever else
//! differs. The candidates' own order changes nothing.

use std::collections::{BTreeMap, HashMap};

use handover_model::api::{Approval, Rest, RolloutSpec, Strategy};
use handover_model::{AgentId, Platform, Version};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::gate::{Baseline, Site};
use super::plan::{Plan, StratumPlan, WavePlan};

/// How many strata at most lead a wave with a member each. Where there are more, those with the
/// most members do.
pub const STRATA_FIRST: usize = 64;

/// What the drawing knows of an agent that is to be a member.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its row.
    pub key: i64,
    /// Its id.
    pub id: AgentId,
    /// Its platform.
    pub platform: &'a Platform,
    /// The version of the component that it runs; absent: none.
    pub current: Option<&'a Version>,
    /// Its site; absent: one of its own.
    pub site: Option<&'a str>,
    /// The first wave by selection that takes it, counted from 0; absent: none does, or the
    /// strategy has no such waves.
    pub wave: Option<u16>,
}

/// A member: what the controller needs of it, and its agent's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The agent's row.
    pub agent: i64,
    /// Its site: a number that hosts of one site share, or [`Member::OWN_SITE`].
    pub site: u32,
    /// Its stratum, by number.
    pub stratum: u16,
}

impl Member {
    /// The site number of hosts that share none.
    pub const OWN_SITE: u32 = u32::MAX;

    /// Its site, as the gate wants it.
    pub fn site(&self) -> Site {
        if self.site == Self::OWN_SITE { Site::Own } else { Site::Shared(self.site) }
    }
}

/// All members, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Roster {
    /// By position.
    pub members: Vec<Member>,
}

/// Draws plan and roster. `seed` must have been drawn after the candidates were known.
pub fn draw(
    spec: &RolloutSpec,
    seed: [u8; 32],
    baseline: Baseline,
    candidates: &[Candidate<'_>],
) -> (Plan, Roster) {
    let mut plan = Plan { seed, waves: Vec::new(), strata: Vec::new(), baseline };
    let placed = place(&mut plan, candidates);
    let mut members = Vec::with_capacity(placed.len());
    for wave in waves_of(&spec.strategy, placed) {
        let (segment, strata_first) = stratified(wave.members, plan.strata.len());
        members.extend(segment.into_iter().map(|placed| placed.member));
        plan.waves.push(WavePlan { end: count(members.len()), strata_first, ..wave.plan });
    }
    (plan, Roster { members })
}

/// Appends members that came to match later: the last wave grows by them.
pub fn late(plan: &mut Plan, roster: &mut Roster, joined: &[Candidate<'_>]) {
    let placed = place(plan, joined);
    roster.members.extend(placed.into_iter().map(|placed| placed.member));
    if let Some(last) = plan.waves.last_mut() {
        last.end = count(roster.members.len());
    }
}

#[derive(Clone, Copy)]
struct Placed {
    hash: u64,
    id: AgentId,
    wave: Option<u16>,
    member: Member,
}

struct Drawn {
    plan: WavePlan,
    members: Vec<Placed>,
}

/// The candidates by the hash of seed and id, with their strata counted into the plan.
fn place(plan: &mut Plan, candidates: &[Candidate<'_>]) -> Vec<Placed> {
    let strata = number_strata(plan, candidates);
    let mut sites: HashMap<&str, u32> = HashMap::new();
    let seed = plan.seed;
    let mut placed: Vec<Placed> = candidates
        .iter()
        .map(|candidate| {
            let site = candidate.site.map_or(Member::OWN_SITE, |name| {
                *sites.entry(name).or_insert_with(|| site_number(&seed, name))
            });
            let stratum = strata.get(&(candidate.platform, candidate.current)).copied();
            let member =
                Member { agent: candidate.key, site, stratum: stratum.unwrap_or(u16::MAX) };
            let hash = hashed(&seed, candidate.id.as_bytes());
            Placed { hash, id: candidate.id, wave: candidate.wave, member }
        })
        .collect();
    placed.sort_unstable_by_key(|placed| (placed.hash, placed.id));
    placed
}

type Kind<'a> = (&'a Platform, Option<&'a Version>);

/// Numbers kinds of hosts that the plan does not have yet, by name, and counts all of them. Beyond
/// 65,536 kinds the last number is shared.
fn number_strata<'a>(plan: &mut Plan, candidates: &[Candidate<'a>]) -> BTreeMap<Kind<'a>, u16> {
    let mut counts: BTreeMap<Kind<'a>, u32> = BTreeMap::new();
    for candidate in candidates {
        *counts.entry((candidate.platform, candidate.current)).or_default() += 1;
    }
    let mut numbers = BTreeMap::new();
    for (kind, members) in counts {
        let known = plan
            .strata
            .iter()
            .position(|stratum| stratum.platform == *kind.0 && stratum.from.as_ref() == kind.1);
        let place = known.unwrap_or_else(|| {
            if u16::try_from(plan.strata.len()).is_ok() {
                let (platform, from) = (kind.0.clone(), kind.1.cloned());
                plan.strata.push(StratumPlan { platform, from, members: 0 });
            }
            plan.strata.len() - 1
        });
        if let Some(stratum) = plan.strata.get_mut(place) {
            stratum.members = stratum.members.saturating_add(members);
        }
        numbers.insert(kind, u16::try_from(place).unwrap_or(u16::MAX));
    }
    numbers
}

/// Cuts the placed members into waves.
fn waves_of(strategy: &Strategy, placed: Vec<Placed>) -> Vec<Drawn> {
    match strategy {
        Strategy::Immediate {} => vec![Drawn { plan: bare("all"), members: placed }],
        Strategy::Staged { percent, approval } => staged(percent, *approval, placed),
        Strategy::Waves { waves, rest } => {
            let mut drawn: Vec<Drawn> = waves
                .iter()
                .map(|wave| {
                    let (approval, soak) = (wave.approval, wave.soak);
                    let plan = WavePlan { approval, soak, ..bare(&wave.name) };
                    Drawn { plan, members: Vec::new() }
                })
                .collect();
            let held = matches!(rest, Rest::Held);
            let plan = WavePlan { approval: held, catch_all: held, ..bare("rest") };
            let mut rest = Drawn { plan, members: Vec::new() };
            for member in placed {
                let wave = member.wave.and_then(|wave| drawn.get_mut(usize::from(wave)));
                wave.unwrap_or(&mut rest).members.push(member);
            }
            drawn.push(rest);
            drawn
        }
    }
}

/// Shares of one order that has a member of each stratum first, so that the smallest share meets
/// the rarest host.
fn staged(percent: &[f64], approval: Approval, placed: Vec<Placed>) -> Vec<Drawn> {
    let strata = placed.iter().map(|placed| usize::from(placed.member.stratum) + 1).max();
    let (order, _) = stratified(placed, strata.unwrap_or(0));
    let (all, mut drawn, mut begin) = (order.len(), Vec::with_capacity(percent.len()), 0);
    for (wave, share) in percent.iter().enumerate() {
        let end = share_of(*share, count(all)).max(begin);
        let approval = match approval {
            Approval::None => false,
            Approval::Between => wave > 0,
            Approval::Every => true,
        };
        let segment = usize::try_from(begin).ok().zip(usize::try_from(end).ok());
        let members = segment.and_then(|(begin, end)| order.get(begin..end));
        let plan = WavePlan { approval, ..bare(&format!("{share} %")) };
        drawn.push(Drawn { plan, members: members.unwrap_or_default().to_vec() });
        begin = end;
    }
    drawn
}

/// How many members a share is: rounded down, since a percentage is a ceiling, but never nobody.
pub(super) fn share_of(percent: f64, members: u32) -> u32 {
    if percent >= 100.0 {
        return members;
    }
    // Exact for every count below 2^32 and every percentage that people write.
    let wanted = (f64::from(members) * percent / 100.0 + 1e-9).floor();
    let (mut low, mut high) = (0, members);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if f64::from(middle) <= wanted { low = middle } else { high = middle - 1 }
    }
    low.max(1).min(members)
}

/// Puts one member of each stratum first, in the order that they have; the rest keeps its own.
/// Returns how many lead.
fn stratified(members: Vec<Placed>, strata: usize) -> (Vec<Placed>, u32) {
    let mut counts = vec![0_u32; strata];
    for placed in &members {
        if let Some(count) = counts.get_mut(usize::from(placed.member.stratum)) {
            *count += 1;
        }
    }
    let mut largest: Vec<usize> = (0..strata)
        .filter(|stratum| counts.get(*stratum).is_some_and(|count| *count > 0))
        .collect();
    largest.sort_by_key(|stratum| std::cmp::Reverse(counts.get(*stratum).copied()));
    largest.truncate(STRATA_FIRST);
    let mut wanted = vec![false; strata];
    for stratum in largest {
        if let Some(wanted) = wanted.get_mut(stratum) {
            *wanted = true;
        }
    }
    let (mut first, mut rest) = (Vec::new(), Vec::with_capacity(members.len()));
    for placed in members {
        match wanted.get_mut(usize::from(placed.member.stratum)) {
            Some(wanted) if *wanted => {
                *wanted = false;
                first.push(placed);
            }
            Some(_) | None => rest.push(placed),
        }
    }
    let leading = count(first.len());
    first.append(&mut rest);
    (first, leading)
}

fn bare(name: &str) -> WavePlan {
    WavePlan {
        name: name.to_owned(),
        end: 0,
        approval: false,
        catch_all: false,
        soak: None,
        strata_first: 0,
    }
}

/// Sites are known by a number that is hashed from their name, so that late joiners find the
/// number of theirs. Two names that collide count as one site, which is the careful side.
fn site_number(seed: &[u8; 32], name: &str) -> u32 {
    let low = hashed(seed, name.as_bytes()) % u64::from(Member::OWN_SITE);
    u32::try_from(low).unwrap_or(0)
}

fn hashed(seed: &[u8; 32], what: &[u8]) -> u64 {
    let digest = Sha256::new().chain_update(seed).chain_update(what).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

fn count(members: usize) -> u32 {
    u32::try_from(members).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
