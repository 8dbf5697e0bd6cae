//! Checked against values found by other means: by hand, or by summing binomial terms with 25
//! digits.

use super::*;

fn counts(failures: u32, trials: u32) -> Counts {
    Counts { failures, trials }
}

fn named(rate: f64) -> Baseline {
    Baseline::named(rate).expect("the test names a rate inside the limits")
}

fn assert_close(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < 1e-9, "found {found}, expected {expected}");
}

#[test]
fn upper_bounds_are_those_of_exact_binomial_sums() {
    for (failures, trials, expected) in [
        (1, 10, 0.336_847_723_306_72),
        (3, 40, 0.159_449_313_034_46),
        (10, 10_000, 0.001_540_247_610_046_7),
        (215, 10_000, 0.023_479_947_447_602),
        (5_000, 10_000, 0.506_457_327_391_22),
        (9_999, 10_000, 0.999_989_464_003_94),
        (20_000, 1_000_000, 0.020_180_605_709_435),
    ] {
        assert_close(upper_bound(counts(failures, trials), CONFIDENCE), expected);
    }
}

#[test]
fn with_no_failure_the_upper_bound_is_the_root_of_the_remaining_chance() {
    // (1 − p)^n = 0.1
    assert_close(upper_bound(counts(0, 1), 0.9), 0.9);
    assert_close(upper_bound(counts(0, 10), 0.9), 1.0 - 0.1_f64.powf(0.1));
}

#[test]
fn nothing_but_failures_and_nothing_at_all_bound_nothing() {
    for all in [counts(0, 0), counts(5, 5), counts(9, 5)] {
        assert_close(upper_bound(all, 0.9), 1.0);
        assert_close(Baseline::of(all).rate(), HIGHEST_RATE);
    }
}

#[test]
fn an_upper_bound_lies_above_what_was_seen_and_below_one_for_any_counts() {
    for trials in [1, 2, 3, 10, 99, 1_000, 54_321, 10_000_000, u32::MAX] {
        for failures in [0, 1, 2, trials / 1_000, trials / 3, trials / 2, trials - 1] {
            let bound = upper_bound(counts(failures, trials), 0.9);
            let seen = f64::from(failures.min(trials)) / f64::from(trials);
            assert!(bound >= seen && bound <= 1.0, "{failures} of {trials}: {bound}");
        }
    }
}

#[test]
fn a_baseline_is_never_below_a_thousandth() {
    assert_close(Baseline::of(counts(0, 1_000_000)).rate(), 0.001);
}

#[test]
fn a_named_baseline_outside_its_limits_is_refused() {
    for rate in [-1.0, 0.0, 0.000_9, 0.91, f64::NAN, f64::INFINITY] {
        assert!(Baseline::named(rate).is_err(), "{rate}");
    }
    assert!(serde_json::from_str::<Baseline>("1.5").is_err());
    assert_eq!(serde_json::from_str::<Baseline>("0.25").ok(), Some(named(0.25)));
}

#[test]
fn evidence_is_the_weighted_sum_of_likelihood_ratios() {
    let explicit = Mixture::new(&EXPLICIT, named(0.001));
    assert_close(explicit.e(counts(0, 0)), 1.0);
    // 0.1 · 5 + 0.6 · 15 + 0.3 · 100
    assert_close(explicit.e(counts(1, 1)), 39.5);
    assert_close(explicit.e(counts(3, 30)), 19_317.168_611_429_9);
    let stratum = Mixture::new(&STRATUM, named(0.001));
    // 0.3 · 15² + 0.4 · 100² + 0.3 · 500²
    assert_close(stratum.e(counts(2, 2)), 79_067.5);
    assert_close(Mixture::new(&SILENT, named(0.02)).e(counts(12, 90)), 128_752.832_579_559);
}

#[test]
fn an_alternative_is_cut_at_nine_in_ten_and_never_lies_below_its_baseline() {
    // 500 · 1 % would be 500 %: 0.3 · 15 + 0.4 · 90 + 0.3 · 90.
    assert_close(Mixture::new(&STRATUM, named(0.01)).e(counts(1, 1)), 67.5);
    let hopeless = Mixture::new(&SILENT, Baseline::of(counts(0, 0)));
    for (failures, trials) in [(0, 1_000), (500, 1_000), (1_000, 1_000)] {
        assert_close(hopeless.e(counts(failures, trials)), 1.0);
    }
}

#[test]
fn a_million_hosts_neither_overflow_nor_become_nothing() {
    let explicit = Mixture::new(&EXPLICIT, named(0.001));
    assert_close(explicit.e(counts(1_000_000, 1_000_000)), HIGHEST_E);
    let none = explicit.e(counts(0, 1_000_000));
    assert!((0.0..1e-300).contains(&none), "{none}");
    let mut evidence = Evidence::new(named(0.001), 1);
    evidence.expose(0, 1_000_000);
    for _ in 0..1_000 {
        evidence.fail(0);
    }
    // Exactly the baseline: a thousandth. By 25 digits, 2.018e-1043; below what f64 holds.
    assert!(!evidence.verdict().halts() && evidence.verdict().may_double());
}

#[test]
fn a_release_that_fails_one_time_in_ten_halts_at_the_third_failure_of_thirty() {
    let mut evidence = Evidence::new(Baseline::of(counts(10, 10_000)), 10);
    for stratum in 0..10 {
        evidence.expose(stratum, 3);
    }
    evidence.fail(1);
    evidence.fail(4);
    assert!(!evidence.verdict().halts());
    assert!(!evidence.verdict().may_double(), "two failures in thirty must not double the ramp");
    evidence.fail(7);
    assert!(evidence.verdict().halts());
    assert_eq!(evidence.verdict().leading(), Part::Explicit);
}

#[test]
fn a_platform_that_always_fails_halts_after_two_of_its_hosts() {
    let mut evidence = Evidence::new(Baseline::of(counts(10, 10_000)), 8);
    for stratum in 0..7 {
        evidence.expose(stratum, 300);
    }
    evidence.expose(7, 2);
    evidence.fail(7);
    assert!(!evidence.verdict().halts());
    evidence.fail(7);
    assert!(evidence.verdict().halts());
    assert_eq!(evidence.verdict().leading(), Part::Stratum);
}

#[test]
fn a_host_without_an_outcome_counts_against_a_halt() {
    let mut few = Evidence::new(named(0.001), 1);
    few.expose(0, 3);
    let mut many = few.clone();
    many.expose(0, 97);
    for evidence in [&mut few, &mut many] {
        evidence.fail(0);
        evidence.fail(0);
    }
    assert!(many.verdict().combined() < few.verdict().combined());
}

#[test]
fn evidence_of_hosts_that_are_left_out_is_as_if_they_had_never_been_exposed() {
    let mut evidence = Evidence::new(named(0.002), 2);
    evidence.expose(0, 40);
    evidence.expose(1, 7);
    evidence.fail(1);
    let before = evidence.verdict();
    evidence.expose(0, 2);
    evidence.fail(0);
    evidence.fail(0);
    assert_ne!(evidence.verdict(), before);
    for _ in 0..2 {
        evidence.forgive(0);
        evidence.unexpose(0);
    }
    assert_eq!(evidence.verdict(), before);
}

#[test]
fn what_was_never_told_can_not_be_taken_back_from_another_stratum() {
    let mut evidence = Evidence::new(named(0.002), 2);
    evidence.expose(1, 10);
    evidence.fail(1);
    let before = evidence.verdict();
    evidence.forgive(0);
    evidence.unexpose(0);
    assert_eq!(evidence.verdict(), before);
}

#[test]
fn a_site_that_loses_its_network_counts_once_until_its_last_host_is_back() {
    let mut silence = Silence::new();
    silence.expose(0, 40);
    silence.compare(0, counts(200, 10_000));
    let healthy = silence.e();
    for _ in 0..30 {
        silence.fall_silent(0, Site::Shared(7));
    }
    assert_eq!(silence.of_period(0), Some((counts(1, 40), counts(200, 10_000))));
    let once = silence.e();
    assert!(once > healthy);
    for _ in 0..29 {
        silence.return_from(0, Site::Shared(7));
    }
    assert_close(silence.e(), once);
    silence.return_from(0, Site::Shared(7));
    assert_close(silence.e(), healthy);
    silence.return_from(0, Site::Shared(7));
    assert_close(silence.e(), healthy);
}

#[test]
fn hosts_without_a_site_and_sites_in_other_periods_each_count() {
    let mut silence = Silence::new();
    silence.expose(0, 10);
    silence.expose(1, 20);
    for period in 0..2 {
        silence.fall_silent(period, Site::Own);
        silence.fall_silent(period, Site::Own);
        silence.fall_silent(period, Site::Shared(1));
        silence.fall_silent(period, Site::Shared(1));
        silence.fall_silent(period, Site::Shared(2));
    }
    assert_eq!(silence.of_period(0).map(|(exposed, _)| exposed), Some(counts(4, 10)));
    assert_eq!(silence.of_period(1).map(|(exposed, _)| exposed), Some(counts(4, 20)));
}

#[test]
fn silence_without_anything_to_compare_it_with_is_no_evidence() {
    let mut silence = Silence::new();
    silence.expose(0, 10);
    for _ in 0..10 {
        silence.fall_silent(0, Site::Own);
    }
    assert_close(silence.e(), 1.0);
    silence.compare(0, counts(0, 0));
    assert_close(silence.e(), 1.0);
    silence.compare(0, counts(2, 100));
    assert!(silence.e() > 1e6);
}

#[test]
fn an_outage_that_silences_the_unexposed_as_well_is_not_the_releases_fault() {
    let mut evidence = Evidence::new(named(0.001), 1);
    evidence.expose(0, 100);
    evidence.silence.expose(0, 100);
    for _ in 0..50 {
        evidence.silence.fall_silent(0, Site::Own);
    }
    evidence.silence.compare(0, counts(4_980, 10_000));
    assert!(!evidence.verdict().halts() && evidence.verdict().may_double());
    evidence.silence.compare(0, counts(200, 10_000));
    assert!(evidence.verdict().halts());
    assert_eq!(evidence.verdict().leading(), Part::Silent);
}

#[test]
fn periods_with_one_baseline_weigh_what_one_long_period_weighs() {
    let controls = counts(200, 10_000);
    let (mut parts, mut whole) = (Silence::new(), Silence::new());
    for period in 0..5 {
        parts.expose(period, 30);
        parts.compare(period, controls);
    }
    whole.expose(0, 150);
    whole.compare(0, controls);
    for silent in 0..9 {
        parts.fall_silent(silent % 5, Site::Own);
        whole.fall_silent(0, Site::Own);
    }
    assert_close(parts.e(), whole.e());
}

#[test]
fn a_step_doubles_only_while_nothing_speaks_against_the_release() {
    let calm = Verdict { e_explicit: 1.0, e_stratum_mean: 4.0, e_silent: 0.2 };
    assert_eq!(next_step(10, &calm), 20);
    assert_eq!(next_step(10, &Verdict { e_explicit: 1.001, ..calm }), 10);
    assert_eq!(next_step(10, &Verdict { e_silent: 1.001, ..calm }), 10);
    assert_eq!(next_step(u32::MAX, &calm), u32::MAX);
}

#[test]
fn the_parts_weigh_six_two_and_two_tenths() {
    let verdict =
        |e_explicit, e_stratum_mean, e_silent| Verdict { e_explicit, e_stratum_mean, e_silent };
    assert_close(verdict(1.0, 1.0, 1.0).combined(), 1.0);
    assert!(verdict(1_667.0, 0.0, 0.0).halts() && !verdict(1_666.0, 0.0, 0.0).halts());
    assert!(verdict(0.0, 5_001.0, 0.0).halts() && !verdict(0.0, 4_999.0, 0.0).halts());
    assert!(verdict(0.0, 0.0, 5_001.0).halts() && !verdict(0.0, 0.0, 4_999.0).halts());
}
