//! The gate over many histories: its error rate, and that it is a function of counts.

use std::collections::BTreeSet;

use handover_engine::rollout::gate::{
    Baseline, Counts, EXPLICIT, Evidence, Mixture, SILENT, STRATUM, Silence, Site, Term,
};
use proptest::prelude::*;

const SEED: u64 = 0x5eed_0007;

fn named(rate: f64) -> Baseline {
    Baseline::named(rate).expect("the test names a rate inside the limits")
}

fn count(hosts: usize) -> u32 {
    u32::try_from(hosts).expect("the test has few hosts")
}

/// How likely each number of failures is among `trials` with that rate.
fn binomial(trials: u32, rate: f64) -> Vec<f64> {
    let mut chances = vec![1.0];
    for _ in 0..trials {
        let mut next = vec![0.0; chances.len() + 1];
        for (failures, chance) in chances.iter().enumerate() {
            next[failures] += chance * (1.0 - rate);
            next[failures + 1] += chance * rate;
        }
        chances = next;
    }
    chances
}

fn mean<const N: usize>(terms: &[Term; N], baseline: f64, trials: u32, rate: f64) -> f64 {
    let mixture = Mixture::new(terms, named(baseline));
    (0..)
        .zip(binomial(trials, rate))
        .map(|(failures, chance)| chance * mixture.e(Counts { failures, trials }))
        .sum()
}

fn assert_null_holds<const N: usize>(terms: &[Term; N]) {
    for baseline in [0.001, 0.0154, 0.1, 0.5, 0.9] {
        for trials in [0, 1, 2, 7, 40, 150] {
            let at = mean(terms, baseline, trials, baseline);
            assert!((at - 1.0).abs() < 1e-9, "mean {at} of {trials} at {baseline}");
            for share in [0.0, 0.3, 0.9] {
                let below = mean(terms, baseline, trials, baseline * share);
                assert!(below <= 1.0 + 1e-9, "mean {below} of {trials} below {baseline}");
            }
        }
    }
}

#[test]
fn under_the_baseline_and_below_it_the_mean_evidence_is_at_most_one() {
    assert_null_holds(&EXPLICIT);
    assert_null_holds(&STRATUM);
    assert_null_holds(&SILENT);
}

#[test]
fn looked_at_after_every_host_it_passes_a_bound_no_more_often_than_ville_permits() {
    let mut state = SEED;
    let mixture = Mixture::new(&EXPLICIT, named(0.01));
    let (histories, hosts) = (4_000_u32, 400);
    let mut passed = [0_u32; 2];
    for _ in 0..histories {
        let mut counts = Counts::default();
        let mut highest = 0.0_f64;
        for _ in 0..hosts {
            counts.trials += 1;
            counts.failures += u32::from(uniform(&mut state) < 0.01);
            highest = highest.max(mixture.e(counts));
        }
        passed[0] += u32::from(highest >= 10.0);
        passed[1] += u32::from(highest >= 100.0);
    }
    // 1/10 and 1/100 of 4,000, and three standard deviations.
    assert!(passed[0] <= 400 + 57, "{} of {histories} reached 10, seed {SEED:#x}", passed[0]);
    assert!(passed[1] <= 40 + 19, "{} of {histories} reached 100, seed {SEED:#x}", passed[1]);
    assert!(passed[0] > 0, "a test that never comes near its bound proves nothing");
}

/// Splitmix64.
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    f64::from(u32::try_from(mixed >> 32).expect("32 bits are left")) / 4_294_967_296.0
}

/// One host's story, as far as the gate hears of it.
#[derive(Debug, Clone, Copy)]
struct Host {
    stratum: u16,
    period: usize,
    site: Site,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Well,
    Failed,
    Forgiven,
    Silent,
    SilentThenWell,
    SilentThenFailed,
    LeftOut,
}

fn host() -> impl Strategy<Value = Host> {
    let site = prop_oneof![Just(Site::Own), (0..4_u32).prop_map(Site::Shared)];
    let end = prop_oneof![
        Just(End::Well),
        Just(End::Failed),
        Just(End::Forgiven),
        Just(End::Silent),
        Just(End::SilentThenWell),
        Just(End::SilentThenFailed),
        Just(End::LeftOut),
    ];
    (0..5_u16, 0..4_usize, site, end).prop_map(|(stratum, period, site, end)| Host {
        stratum,
        period,
        site,
        end,
    })
}

fn tell(evidence: &mut Evidence, host: Host) {
    let Host { stratum, period, site, end } = host;
    evidence.expose(stratum, 1);
    evidence.silence.expose(period, 1);
    match end {
        End::Well => {}
        End::Failed => evidence.fail(stratum),
        End::Forgiven => {
            evidence.fail(stratum);
            evidence.forgive(stratum);
        }
        End::Silent => evidence.silence.fall_silent(period, site),
        End::SilentThenWell | End::SilentThenFailed => {
            evidence.silence.fall_silent(period, site);
            evidence.silence.return_from(period, site);
            if end == End::SilentThenFailed {
                evidence.fail(stratum);
            }
        }
        End::LeftOut => {
            evidence.silence.fall_silent(period, site);
            evidence.silence.return_from(period, site);
            evidence.silence.unexpose(period);
            evidence.unexpose(stratum);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_evidence_is_that_of_the_counts_however_they_came(
        hosts in proptest::collection::vec(host(), 0..80),
        turn in any::<prop::sample::Index>(),
    ) {
        let baseline = named(0.01);
        let controls = Counts { failures: 20, trials: 1_000 };
        let build = |hosts: &mut dyn Iterator<Item = &Host>| {
            let mut evidence = Evidence::new(baseline, 5);
            for host in hosts {
                tell(&mut evidence, *host);
            }
            for period in 0..4 {
                evidence.silence.compare(period, controls);
            }
            evidence
        };
        let evidence = build(&mut hosts.iter());
        let start = if hosts.is_empty() { 0 } else { turn.index(hosts.len()) };
        let turned = build(&mut hosts[start..].iter().chain(&hosts[..start]));
        prop_assert_eq!(evidence.verdict(), turned.verdict());

        let kept: Vec<&Host> = hosts.iter().filter(|host| host.end != End::LeftOut).collect();
        let has_failed = |host: &&&Host| matches!(host.end, End::Failed | End::SilentThenFailed);
        let failed = count(kept.iter().filter(has_failed).count());
        let mixture = Mixture::new(&EXPLICIT, baseline);
        let expected = mixture.e(Counts { failures: failed, trials: count(kept.len()) });
        prop_assert!((evidence.verdict().e_explicit - expected).abs() <= f64::EPSILON * expected);
        prop_assert_eq!(silent(&evidence.silence), silent_by_hand(&kept));
    }
}

fn silent(silence: &Silence) -> Vec<u32> {
    (0..4)
        .map(|period| silence.of_period(period).map_or(0, |(silent, _)| silent.failures))
        .collect()
}

fn silent_by_hand(hosts: &[&Host]) -> Vec<u32> {
    let mut periods = vec![0; 4];
    let mut sites = BTreeSet::new();
    for host in hosts.iter().filter(|host| host.end == End::Silent) {
        match host.site {
            Site::Own => periods[host.period] += 1,
            Site::Shared(number) => {
                if sites.insert((host.period, number)) {
                    periods[host.period] += 1;
                }
            }
        }
    }
    periods
}
