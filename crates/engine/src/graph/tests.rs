use proptest::prelude::*;

use super::*;
use crate::testing::{offer, when};

fn from(version: &str, sequence: u64) -> From {
    From { version: version.parse().unwrap(), sequence }
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn path(offers: &[Offer], start: &From, to: &str) -> Result<Vec<String>, String> {
    let graph = Graph::new(offers, &View::default());
    let planned = graph.plan_path(start, &version(to)).map_err(|why| why.to_string())?;
    Ok(planned.hops.iter().map(|hop| hop.facts.version.to_string()).collect())
}

/// Seed 001: 10.9.0 was released, and a few days later 10.8.5. By its number 10.9.0 is the newer
/// one, but it can't know how to take over from 10.8.5.
#[test]
fn a_10_9_0_produced_before_10_8_5_knows_nothing_of_it() {
    let mut offers = vec![
        offer("10.8.4", 1, ">=10.0.0, <10.8.4"),
        offer("10.9.0", 2, ">=10.0.0, <10.9.0"),
        offer("10.8.5", 3, ">=10.0.0, <10.8.5"),
    ];
    assert_eq!(path(&offers, &from("10.8.4", 1), "10.9.0"), Ok(vec!["10.9.0".to_owned()]));
    assert_eq!(
        path(&offers, &from("10.8.5", 3), "10.9.0").unwrap_err(),
        "there is no way from 10.8.5 to 10.9.0: 10.9.0 can't follow 10.8.5, because it was \
         produced before it (number 2, not after 3) and so knows nothing of it, and its \
         also_from doesn't name it"
    );
    // A later release knows both, and so leads on from either.
    offers.push(offer("10.9.1", 4, ">=10.0.0, <10.9.1"));
    assert_eq!(path(&offers, &from("10.8.5", 3), "10.9.1"), Ok(vec!["10.9.1".to_owned()]));
    // Or its makers tried it and say so.
    offers[1].facts.also_from = vec![version("10.8.5")];
    assert_eq!(path(&offers, &from("10.8.5", 3), "10.9.0"), Ok(vec!["10.9.0".to_owned()]));
}

#[test]
fn a_floor_is_stopped_at_even_where_a_longer_hop_exists() {
    let mut offers =
        vec![offer("1.1.0", 2, "<1.1.0"), offer("1.2.0", 3, "<1.2.0"), offer("1.3.0", 4, "<1.3.0")];
    assert_eq!(path(&offers, &from("1.0.0", 1), "1.3.0"), Ok(vec!["1.3.0".to_owned()]));
    offers[1].facts.floor = true;
    let through = ["1.2.0", "1.3.0"].map(str::to_owned).to_vec();
    assert_eq!(path(&offers, &from("1.0.0", 1), "1.3.0"), Ok(through));
}

#[test]
fn a_revoked_floor_binds_no_longer_and_a_quarantined_one_does() {
    let mut offers = vec![offer("1.2.0", 3, "<1.2.0"), offer("1.3.0", 4, "<1.3.0")];
    offers[0].facts.floor = true;
    let entry = Quarantined {
        release: offers[0].id(),
        reason: "it crashed".to_owned(),
        at: when(1),
        run: crate::testing::run(1),
    };
    let view = View { quarantine: std::slice::from_ref(&entry), ..View::default() };
    let graph = Graph::new(&offers, &view);
    let why = graph.plan_path(&from("1.0.0", 1), &version("1.3.0")).unwrap_err();
    assert_eq!(
        why.to_string(),
        "there is no way from 1.0.0 to 1.3.0: the only way leads over 1.2.0, which is in \
         quarantine on this host: it crashed"
    );
    offers[0].facts.revoked = Some("it eats data".to_owned());
    assert_eq!(path(&offers, &from("1.0.0", 1), "1.3.0"), Ok(vec!["1.3.0".to_owned()]));
}

#[test]
fn a_gap_is_named_by_its_two_sides() {
    let offers = vec![
        offer("1.1.0", 2, ">=1.0.0, <1.1.0"),
        offer("2.0.0", 3, ">=1.5.0, <2.0.0"),
        offer("2.1.0", 4, ">=2.0.0, <2.1.0"),
    ];
    assert_eq!(
        path(&offers, &from("1.0.0", 1), "2.1.0").unwrap_err(),
        "there is no way from 1.0.0 to 2.1.0: 2.0.0 can't follow 1.1.0, because its \
         upgrades_from is >=1.5.0, <2.0.0 and its also_from doesn't name it"
    );
}

#[test]
fn among_equally_short_ways_the_one_over_the_highest_version_is_taken() {
    let offers = vec![
        offer("1.1.0", 2, "<1.1.0"),
        offer("1.2.0", 3, "<1.2.0"),
        offer("2.0.0", 4, ">=1.1.0, <2.0.0"),
    ];
    let over = ["1.2.0", "2.0.0"].map(str::to_owned).to_vec();
    assert_eq!(path(&offers, &from("1.0.0", 1), "2.0.0"), Ok(over));
}

#[test]
fn the_exact_platforms_package_comes_before_the_one_for_any() {
    let mut offers = vec![offer("1.1.0", 2, "<1.1.0"), offer("1.1.0", 2, "<1.1.0")];
    let host: Platform = "linux-x86_64".parse().unwrap();
    offers[1].facts.platform = host.clone();
    offers[1].digest = Digest::of(b"exact");
    let graph = Graph::new(&offers, &View { platform: Some(&host), ..View::default() });
    assert_eq!(graph.node(&version("1.1.0")).unwrap().digest, Digest::of(b"exact"));
}

#[test]
fn the_graph_is_drawn_as_text_and_for_graphviz() {
    let mut offers = vec![
        offer("1.0.0", 1, "<1.0.0"),
        offer("1.1.0", 2, ">=1.0.0, <1.1.0"),
        offer("1.2.0", 3, ">=1.0.0, <1.2.0"),
    ];
    offers[1].facts.floor = true;
    offers[2].facts.revoked = Some("it eats data".to_owned());
    offers[1].facts.return_within = Some(handover_model::Millis(3_600_000));
    let graph = Graph::new(&offers, &View::default());
    let start = from("1.0.0", 1);
    assert_eq!(
        render(&graph, Some(&start), Format::Text).unwrap(),
        "1.2.0  number 3, stable, returns during its trial alone\n    it was revoked: it eats \
         data\n    follows 1.1.0\n1.1.0  number 2, stable, floor, returns within 1h\n    follows \
         1.0.0\n1.0.0  number 1, stable, runs here, returns during its trial alone\n    follows \
         none of these (upgrades_from <1.0.0)\n"
    );
    assert_eq!(
        render(&graph, Some(&start), Format::Dot).unwrap(),
        "digraph releases {\n    rankdir=LR;\n    node [shape=box];\n    \"1.2.0\" \
         [label=\"1.2.0\\nnumber 3\", style=dashed];\n    \"1.1.0\" [label=\"1.1.0\\nnumber \
         2\", peripheries=2];\n    \"1.0.0\" [label=\"1.0.0\\nnumber 1\", penwidth=3];\n    \
         \"1.1.0\" -> \"1.2.0\";\n    \"1.0.0\" -> \"1.1.0\";\n}\n"
    );
}

/// The rules of DESIGN 5.5, written down once more and as plainly as can be.
fn may_follow(all: &[Offer], a: (&Version, u64), b: &ReleaseFacts) -> bool {
    let named = b.also_from.iter().any(|version| version == a.0);
    let ranged = b.upgrades_from.holds(a.0) && b.sequence > a.1;
    let over = all.iter().any(|f| {
        let f = &f.facts;
        f.floor
            && f.revoked.is_none()
            && *a.0 < f.version
            && f.version < b.version
            && f.sequence < b.sequence
    });
    (named || ranged) && !over
}

/// Every simple way, by trying all.
fn ways(
    all: &[Offer],
    at: (&Version, u64),
    to: &Version,
    seen: &mut Vec<Version>,
) -> Vec<Vec<Version>> {
    let mut found = Vec::new();
    for next in all.iter().filter(|offer| offer.facts.revoked.is_none()) {
        let facts = &next.facts;
        if seen.contains(&facts.version) || !may_follow(all, at, facts) {
            continue;
        }
        seen.push(facts.version.clone());
        if facts.version == *to {
            found.push(seen.clone());
        } else {
            found.extend(ways(all, (&facts.version, facts.sequence), to, seen));
        }
        seen.pop();
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_planner_agrees_with_trying_every_way(
        parts in prop::collection::vec(
            (0_u64..7, 0_u64..7, prop::option::of(0_u64..7), 0_u8..8), 1..7),
        order in Just((1_u64..8).collect::<Vec<_>>()).prop_shuffle(),
        start in (0_u64..7, 0_u64..8),
        to in 0_u64..7,
    ) {
        let mut offers: Vec<Offer> = Vec::new();
        for (k, (low, high, also, mark)) in (0_u64..).zip(&parts) {
            let range = format!(">=1.{}.0, <1.{}.0", low.min(high), low.max(high) + 1);
            let sequence = order[usize::try_from(k).unwrap()];
            let mut each = offer(&format!("1.{k}.0"), sequence, &range);
            each.facts.also_from = also.iter().map(|n| version(&format!("1.{n}.0"))).collect();
            each.facts.floor = mark % 4 == 0;
            each.facts.revoked = (*mark == 4).then(|| "bad".to_owned());
            offers.push(each);
        }
        let start = from(&format!("1.{}.0", start.0), start.1);
        let to = version(&format!("1.{to}.0"));
        let mut all = ways(&offers, (&start.version, start.sequence), &to, &mut Vec::new());
        let shortest = all.iter().map(Vec::len).min();
        all.retain(|way| Some(way.len()) == shortest);
        let best = all.into_iter().max();
        let graph = Graph::new(&offers, &View::default());
        let planned = graph.plan_path(&start, &to);
        let got = planned.as_ref().ok().map(|path| {
            path.hops.iter().map(|hop| hop.facts.version.clone()).collect::<Vec<_>>()
        });
        prop_assert_eq!(got, best);
        if let Err(why) = planned {
            prop_assert!(!why.to_string().is_empty());
        }
    }
}
