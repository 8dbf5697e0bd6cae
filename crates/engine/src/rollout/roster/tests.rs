use std::collections::BTreeSet;

use handover_model::{IdGen, Timestamp};
use proptest::prelude::*;

use super::*;

fn spec(strategy: &str) -> RolloutSpec {
    let text = format!(
        r#"{{"name": "web-2", "component": "web", "to": "2.0.0", "select": "name = x",
             "strategy": {strategy}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn staged(percent: &str) -> RolloutSpec {
    spec(&format!(r#"{{"kind": "staged", "percent": {percent}}}"#))
}

struct Fleet {
    ids: Vec<AgentId>,
    platforms: Vec<Platform>,
    versions: Vec<Version>,
    /// Stratum by agent.
    kinds: Vec<usize>,
}

impl Fleet {
    fn new(kinds: Vec<usize>) -> Self {
        let mut ids = IdGen::new([9; 32]);
        let now = Timestamp::from_micros(0);
        let ids = kinds.iter().map(|_| AgentId::mint(&mut ids, now)).collect();
        let platforms = ["linux-x86_64", "linux-aarch64"].map(|name| name.parse().unwrap());
        let versions = (0..40).map(|minor| format!("1.{minor}.0").parse().unwrap()).collect();
        Self { ids, platforms: platforms.to_vec(), versions, kinds }
    }

    fn candidates(&self) -> Vec<Candidate<'_>> {
        let agents = self.ids.iter().zip(&self.kinds).zip(0_i64..);
        agents
            .map(|((id, kind), key)| Candidate {
                key,
                id: *id,
                platform: &self.platforms[kind % 2],
                current: Some(&self.versions[kind / 2]),
                site: None,
                wave: None,
            })
            .collect()
    }

    fn draw(&self, spec: &RolloutSpec, seed: u8) -> (Plan, Roster) {
        draw(spec, [seed; 32], Baseline::named(0.002).unwrap(), &self.candidates())
    }
}

fn agents(roster: &Roster, range: std::ops::Range<u32>) -> BTreeSet<i64> {
    let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
    roster.members[range].iter().map(|member| member.agent).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn everybody_is_a_member_once_and_waves_follow_one_another(
        kinds in prop::collection::vec(0_usize..80, 0..400), seed in any::<u8>(),
    ) {
        let fleet = Fleet::new(kinds);
        let (plan, roster) = fleet.draw(&staged("[5, 25, 100]"), seed);
        let all = u32::try_from(fleet.ids.len()).unwrap();
        prop_assert_eq!(plan.members(), all);
        prop_assert_eq!(agents(&roster, 0..all).len(), fleet.ids.len());
        let ends: Vec<u32> = plan.waves.iter().map(|wave| wave.end).collect();
        prop_assert!(ends.is_sorted() && ends.last() == Some(&all), "{:?}", ends);
        prop_assert!(all == 0 || ends[0] >= 1, "a share is never nobody");
        let counted: u32 = plan.strata.iter().map(|stratum| stratum.members).sum();
        prop_assert_eq!(counted, all);
        for (position, wave) in (0..all).map(|position| (position, plan.wave_of(position))) {
            prop_assert!(plan.positions(wave).contains(&position));
        }
    }

    #[test]
    fn percentages_nest_whatever_else_differs(
        kinds in prop::collection::vec(0_usize..10, 1..400), seed in any::<u8>(),
    ) {
        let fleet = Fleet::new(kinds);
        let (small, five) = fleet.draw(&staged("[5, 100]"), seed);
        let (large, twenty) = fleet.draw(&staged("[2, 20, 100]"), seed);
        let first = agents(&five, 0..small.waves[0].end);
        let more = agents(&twenty, 0..large.waves[1].end);
        prop_assert!(first.is_subset(&more));
        let least = agents(&twenty, 0..large.waves[0].end);
        prop_assert!(least.is_subset(&first));
    }

    #[test]
    fn the_order_of_candidates_changes_nothing_and_the_seed_everything(
        kinds in prop::collection::vec(0_usize..10, 50..200), seed in 0_u8..255,
    ) {
        let fleet = Fleet::new(kinds);
        let spec = staged("[5, 25, 100]");
        let mut turned = fleet.candidates();
        turned.reverse();
        let again = draw(&spec, [seed; 32], Baseline::named(0.002).unwrap(), &turned);
        prop_assert_eq!(fleet.draw(&spec, seed), again);
        prop_assert_ne!(fleet.draw(&spec, seed).1, fleet.draw(&spec, seed + 1).1);
    }

    #[test]
    fn the_first_hosts_of_each_wave_have_one_of_each_kind(
        kinds in prop::collection::vec(0_usize..20, 100..400), seed in any::<u8>(),
    ) {
        let fleet = Fleet::new(kinds);
        let (plan, roster) = fleet.draw(&staged("[30, 100]"), seed);
        let mut begin = 0;
        for wave in &plan.waves {
            let kinds = |range: std::ops::Range<u32>| -> BTreeSet<u16> {
                let range =
                    usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                roster.members[range].iter().map(|member| member.stratum).collect()
            };
            prop_assert_eq!(kinds(begin..begin + wave.strata_first), kinds(begin..wave.end));
            begin = wave.end;
        }
    }
}

#[test]
fn a_lone_host_of_a_rare_kind_is_in_the_first_step() {
    let mut kinds = vec![0; 5000];
    kinds[1234] = 7;
    let fleet = Fleet::new(kinds);
    for seed in 0..20 {
        let (plan, roster) = fleet.draw(&staged("[5, 100]"), seed);
        assert_eq!(plan.waves[0].strata_first, 2);
        assert!(agents(&roster, 0..2).contains(&1234), "seed {seed}");
    }
}

#[test]
fn more_kinds_than_can_lead_are_led_by_the_most_frequent() {
    let kinds = (0..80).flat_map(|kind| vec![kind; if kind < 64 { 3 } else { 2 }]).collect();
    let fleet = Fleet::new(kinds);
    let (plan, _) = fleet.draw(&spec(r#"{"kind": "immediate"}"#), 1);
    assert_eq!(plan.waves[0].strata_first, 64);
}

/// Nobody can choose to be a canary: over many seeds each host is one as often as any other.
#[test]
fn every_host_is_a_canary_as_often_as_any_other() {
    let fleet = Fleet::new(vec![0; 200]);
    let spec = staged("[5, 100]");
    let (seeds, mut times) = (1000_u32, vec![0_u32; 200]);
    for seed in 0..seeds {
        let mut bytes = [0xa5; 32];
        bytes[..4].copy_from_slice(&seed.to_be_bytes());
        let baseline = Baseline::named(0.002).unwrap();
        let (plan, roster) = draw(&spec, bytes, baseline, &fleet.candidates());
        for agent in agents(&roster, 0..plan.waves[0].end) {
            times[usize::try_from(agent).unwrap()] += 1;
        }
    }
    // Chi-square with 199 degrees of freedom: its mean is 199, its deviation 20; beyond 300 lies
    // less than one draw in a hundred thousand. Drawing without replacement makes it smaller.
    let expected = f64::from(seeds) * 10.0 / 200.0;
    let spread: f64 =
        times.iter().map(|seen| (f64::from(*seen) - expected).powi(2) / expected).sum();
    assert!((120.0..300.0).contains(&spread), "seeds 0..{seeds}: chi-square is {spread}");
}

#[test]
fn waves_by_selection_take_their_own_and_the_rest_is_held() {
    let fleet = Fleet::new(vec![0; 9]);
    let spec = spec(
        r#"{"kind": "waves", "waves": [{"name": "a", "select": "x"},
            {"name": "b", "select": "y", "approval": true, "soak": "1h"}]}"#,
    );
    let mut candidates = fleet.candidates();
    for (number, candidate) in candidates.iter_mut().enumerate() {
        candidate.wave = [Some(1), Some(0), None][number % 3];
    }
    let (plan, roster) = draw(&spec, [1; 32], Baseline::named(0.002).unwrap(), &candidates);
    assert_eq!(agents(&roster, 0..3), BTreeSet::from([1, 4, 7]));
    assert_eq!(agents(&roster, 3..6), BTreeSet::from([0, 3, 6]));
    let held: Vec<(&str, bool, bool)> =
        plan.waves.iter().map(|wave| (wave.name.as_str(), wave.approval, wave.catch_all)).collect();
    assert_eq!(held, [("a", false, false), ("b", true, false), ("rest", true, true)]);
}

#[test]
fn a_share_is_rounded_down_and_never_nobody() {
    let cases = [
        (5.0, 1, 1),
        (5.0, 19, 1),
        (5.0, 50, 2),
        (25.0, 3, 1),
        (33.3, 10, 3),
        (100.0, 7, 7),
        (0.001, 10, 1),
        (30.0, 10, 3),
        (50.0, 0, 0),
        (7.0, 100, 7),
    ];
    for (percent, members, wanted) in cases {
        assert_eq!(share_of(percent, members), wanted, "{percent} % of {members}");
    }
}

#[test]
fn late_joiners_come_last_and_share_sites_with_those_before() {
    let fleet = Fleet::new(vec![0; 20]);
    let mut candidates = fleet.candidates();
    for candidate in &mut candidates {
        candidate.site = Some("berlin");
    }
    let (joined, first) = candidates.split_at(5);
    let baseline = Baseline::named(0.002).unwrap();
    let (mut plan, mut roster) = draw(&staged("[5, 100]"), [1; 32], baseline, first);
    let before = roster.clone();
    late(&mut plan, &mut roster, joined);
    assert_eq!(&roster.members[..15], &before.members[..]);
    assert_eq!(plan.members(), 20);
    assert_eq!(plan.strata[0].members, 20);
    assert!(roster.members.iter().all(|member| member.site == roster.members[0].site));
    assert_ne!(roster.members[0].site, Member::OWN_SITE);
}

#[test]
fn a_plan_survives_its_storage() {
    let fleet = Fleet::new(vec![0; 20]);
    let (plan, roster) = fleet.draw(&staged("[5, 25, 100]"), 3);
    let stored = serde_json::to_string(&(&plan, &roster)).unwrap();
    assert_eq!(serde_json::from_str::<(Plan, Roster)>(&stored).unwrap(), (plan, roster));
}
