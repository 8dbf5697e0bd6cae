//! Every reason's code and sentence, as a golden file.

use std::fmt::Write as _;

use super::*;
use crate::graph::{Missing, NoEdge, NoPath};

/// The file is kept in step by hand: print what the test shows, read it, and put it there.
const GOLDEN: &str = include_str!("../../../tests/golden/reasons.txt");

fn every_reason() -> Vec<Reason> {
    let (component, platform): (ComponentName, Platform) =
        ("web".parse().unwrap(), "linux-x86_64".parse().unwrap());
    let (one, two) = (version("1.0.0"), version("2.0.0"));
    let no_path = |why| Reason::NoPath {
        why: Box::new(NoPath { from: version("1.0.0"), to: version("2.0.0"), why }),
    };
    let edge =
        |why| no_path(Missing::Edge { before: version("1.1.0"), after: version("1.9.0"), why });
    let waits = |waiting| Reason::WaitingFor { component: "db".parse().unwrap(), waiting };
    let permit = |floor: Option<&Version>, unusable: Option<&str>| Reason::NeedsPermit {
        component: "web".parse().unwrap(),
        version: version("1.0.0"),
        floor: floor.cloned().map(Box::new),
        unusable: unusable.map(ToOwned::to_owned),
    };
    let quarantined = Reason::Quarantined { version: two.clone(), why: "it crashed".to_owned() };
    let revoked = LeftOut::Revoked("it eats data".to_owned());
    vec![
        Reason::RunningRevoked { version: one.clone(), why: "it eats data".to_owned() },
        Reason::TrialPending { release: release_of("2.0.0") },
        Reason::ClockOff { off: Millis(7_200_000) },
        Reason::NotOffered { component: component.clone() },
        Reason::PlatformMissing {
            component: component.clone(),
            platform: platform.clone(),
            there: "linux-aarch64, linux-riscv64".to_owned(),
        },
        Reason::ChannelEmpty {
            component: component.clone(),
            channel: "beta".to_owned(),
            there: "stable".to_owned(),
        },
        Reason::NoSuchRelease {
            component: component.clone(),
            version: two.clone(),
            channel: "stable".to_owned(),
            platform,
        },
        Reason::TooNew {
            path: "web/2.0.0/linux-x86_64.tar.zst".to_owned(),
            why: "its format is 2; this program reads up to 1".to_owned(),
        },
        Reason::Pinned { version: two.clone(), pin: ">=1.2, <2".to_owned() },
        Reason::PinnedByControl { version: two.clone(), pin: "<2".to_owned() },
        quarantined.clone(),
        Reason::Revoked { version: two.clone(), why: "it eats data".to_owned() },
        Reason::BelowFloor { version: one.clone(), floor: two.clone() },
        no_path(Missing::Target),
        no_path(Missing::LeftOut(revoked.clone())),
        no_path(Missing::Over(version("1.5.0"), revoked)),
        no_path(Missing::Over(version("1.5.0"), LeftOut::BelowFloor(version("1.6.0")))),
        edge(NoEdge::Range(">=1.5.0, <2.0.0".to_owned())),
        edge(NoEdge::ProducedBefore { sequence: 6, other: 7 }),
        edge(NoEdge::Floor(version("1.5.0"))),
        permit(None, None),
        permit(Some(&two), None),
        permit(Some(&two), Some("permit order_0 expired")),
        Reason::KeptHere { component: component.clone(), version: one.clone() },
        Reason::NothingKept { component: component.clone() },
        Reason::NotKept { version: one, kept: "1.1.0, 1.2.0".to_owned() },
        Reason::LauncherTooOld { version: two.clone(), needs: 2, speaks: 1 },
        waits(Waiting::Behind(two.clone())),
        waits(Waiting::Moving),
        waits(Waiting::Held(Box::new(quarantined))),
        waits(Waiting::NotInstalled),
        waits(Waiting::NotFollowed),
        Reason::Manual { component, version: two },
        Reason::WindowClosed { until: Some("2026-06-06T02:00:00Z".parse().unwrap()) },
        Reason::WindowClosed { until: None },
    ]
}

#[test]
fn every_reason_is_one_sentence_that_a_person_can_read() {
    let mut text = String::new();
    for reason in every_reason() {
        let sentence = reason.to_string();
        assert!(!sentence.is_empty() && !sentence.contains('\n'), "{reason:?}");
        assert!(!sentence.ends_with('.'), "{sentence}");
        writeln!(text, "{:17} {sentence}", reason.code()).unwrap();
    }
    assert_eq!(text, GOLDEN, "\n{text}");
}

#[test]
fn codes_tell_reasons_apart() {
    let mut codes = BTreeMap::new();
    for reason in every_reason() {
        let kind = std::mem::discriminant(&reason);
        assert_eq!(*codes.entry(reason.code()).or_insert(kind), kind, "{}", reason.code());
    }
    assert_eq!(codes.len(), 22, "one for each kind of reason");
}
