//! What selections say, by example. Round trips of arbitrary ones are in
//! `crates/engine/tests/selection.rs`, the page for people in `docs/selections.md`.

use std::collections::BTreeMap;

use handover_model::api::{AgentState, ComponentSummary};
use handover_model::{AgentName, GroupName, IdGen, Labels, Platform, Timestamp, Version};

use super::*;

mod errors;
mod words;

/// An agent that owns what a [`Subject`] borrows.
#[derive(Debug, Clone)]
struct Host {
    id: handover_model::AgentId,
    name: AgentName,
    state: AgentState,
    platform: Platform,
    agent: Version,
    labels: Labels,
    facts: Labels,
    components: Vec<ComponentSummary>,
    last_seen: Option<Timestamp>,
}

fn now() -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000)
}

impl Host {
    fn new(name: &str) -> Self {
        let mut ids = IdGen::new([3; 32]);
        Self {
            id: handover_model::AgentId::mint(&mut ids, now()),
            name: name.parse().expect("a name"),
            state: AgentState::Present,
            platform: "linux-x86_64".parse().expect("a platform"),
            agent: Version::new(0, 3, 0),
            labels: Labels::parse(["site=ost", "room=Bau 7"]).expect("labels"),
            facts: Labels::parse(["os=debian-13"]).expect("facts"),
            components: vec![component("web", Some("1.4.0")), component("db", None)],
            last_seen: Some(Timestamp::from_micros(now().as_micros() - 300 * 1_000_000)),
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            id: self.id,
            name: &self.name,
            state: self.state,
            platform: &self.platform,
            agent_version: &self.agent,
            labels: &self.labels,
            facts: &self.facts,
            components: &self.components,
            last_seen: self.last_seen,
            now: now(),
        }
    }
}

fn component(name: &str, current: Option<&str>) -> ComponentSummary {
    ComponentSummary {
        component: name.parse().expect("a name"),
        current: current.map(|version| version.parse().expect("a version")),
        proved: true,
        trial: None,
        outlook: None,
    }
}

fn parsed(text: &str) -> Selection {
    Selection::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn resolved(text: &str) -> Resolved {
    parsed(text).resolve(|_| None).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn check(host: &Host, yes: &[&str], no: &[&str]) {
    for (texts, wanted) in [(yes, true), (no, false)] {
        for text in texts {
            assert_eq!(resolved(text).matches(&host.subject()), wanted, "{text}");
        }
    }
}

#[test]
fn texts_are_compared_whole_and_by_wildcards() {
    check(
        &Host::new("web-1"),
        &[
            "all",
            "name = web-1",
            "name = web-*",
            "name = *-1",
            "name = w*b*1",
            "name in (db-1, web-1)",
            "state = present",
            "state in (away, present)",
            "platform = linux-*",
            "label.site = ost",
            "label.room = 'Bau 7'",
            "label.room = \"Bau*\"",
            "label.site = *",
            "fact.os = debian-*",
            "has label.site",
            "has fact.os",
            "has web",
            "has db",
        ],
        &[
            "not all",
            "name = web",
            "name = *-2",
            "name = web-1*1",
            "name in (db-1, db-2)",
            "state != present",
            "platform = linux-aarch64",
            "label.site = Ost",
            "label.tier = *",
            "label.room = \"Bau\\*\"",
            "has label.tier",
            "has cache",
        ],
    );
}

#[test]
fn a_difference_is_the_negation_of_an_equality_so_it_holds_where_there_is_nothing() {
    check(
        &Host::new("web-1"),
        &["label.tier != db", "cache != 1.0.0", "label.tier not in (db, web)", "not cache < 2.0.0"],
        &[
            "has label.tier and label.tier != db",
            "cache < 2.0.0",
            "cache >= 0.0.0",
            "db != 1.0.0 and has cache",
        ],
    );
}

#[test]
fn versions_are_compared_by_precedence_and_by_ranges() {
    let mut host = Host::new("web-1");
    check(
        &host,
        &[
            "web = 1.4.0",
            "web = 1.4.*",
            "web = 1.*",
            "web != 1.5.0",
            "web < 1.10.0",
            "web <= 1.4.0",
            "web > 1.4.0-rc.1",
            "web in \">=1.2, <2\"",
            "web in (1.3.0, 1.4.0)",
            "web in (\"^1.4\", 3.0.0)",
            "component.web = 1.4.0",
            "agent = 0.3.0",
            "agent < 0.4.0",
        ],
        &["web > 1.4.0", "web in \"<1.4\"", "web = 1.5.*", "agent > 0.3.0", "db = *", "db < 9.0.0"],
    );
    host.components = vec![component("web", Some("2.0.0-rc.1"))];
    check(&host, &["web < 2.0.0", "web in \">=1.2, <3\"", "web = 2.0.*"], &["web >= 2.0.0"]);
}

#[test]
fn whoever_was_never_seen_was_seen_longest_ago() {
    let mut host = Host::new("web-1");
    check(&host, &["seen < 10m", "seen >= 5m", "seen <= 5m", "seen < 1d"], &["seen > 5m"]);
    host.last_seen = None;
    check(&host, &["seen > 365d"], &["seen < 52w"]);
    // A host whose clock is ahead of the server's was seen just now.
    host.last_seen = Some(now().after(std::time::Duration::from_mins(1)));
    check(&host, &["seen <= 0s"], &["seen > 0s"]);
}

#[test]
fn a_selection_knows_whether_it_names_retired_agents() {
    assert!(resolved("has web and state in (away, retired)").names_retired());
    assert!(resolved("state != retired").names_retired());
    assert!(!resolved("all or state = away").names_retired());
}

#[test]
fn an_agent_is_found_by_its_id() {
    let host = Host::new("web-1");
    let text = format!("id in ({})", host.id);
    assert!(resolved(&text).matches(&host.subject()));
    assert!(!resolved(&format!("id != {}", host.id)).matches(&host.subject()));
}

#[test]
fn not_binds_before_and_and_and_before_or() {
    let host = Host::new("web-1");
    check(
        &host,
        &[
            "name = x and name = y or all",
            "all or name = x and name = y",
            "not name = x and all",
            "not (name = x or name = y)",
        ],
        &["(all or name = x) and name = y", "not name = web-1 or name = x"],
    );
    assert_eq!(
        parsed("a = 1.0.0 and b = 1.0.0 or c = 1.0.0").to_string(),
        "(a = 1.0.0 and b = 1.0.0) or c = 1.0.0"
    );
}

#[test]
fn every_selection_has_one_spelling() {
    for (text, canonical) in [
        ("  name=web-1  ", "name = web-1"),
        ("name in (web-1)", "name = web-1"),
        ("not name = web-1", "name != web-1"),
        ("not not name = web-1", "name = web-1"),
        ("not (name in (a, b))", "name not in (a, b)"),
        ("((all))", "all"),
        ("all and (has web and has db)", "all and has web and has db"),
        ("label.room = 'Bau 7'", "label.room = \"Bau 7\""),
        ("label.x = \"and\"", "label.x = \"and\""),
        ("label.x = ''", "label.x = \"\""),
        ("label.x = \"plain\"", "label.x = plain"),
        ("label.x = 'a\\*b*c'", "label.x = \"a\\*b*c\""),
        ("label.x = a**b", "label.x = a*b"),
        ("label.x = \"\\\\ \\\"\"", "label.x = \"\\\\ \\\"\""),
        ("web = 1.4.*", "web in \"1.4.*\""),
        ("web not in \">=1.2,<2\"", "web not in \">=1.2, <2\""),
        ("web in \"1.4.0\"", "web = 1.4.0"),
        ("component.web = 1.0.0", "web = 1.0.0"),
        ("component.name = 1.0.0", "component.name = 1.0.0"),
        ("not has web", "not has web"),
        ("seen < 90m", "seen < 1h30m"),
        ("not group:a", "not group:a"),
        ("not (group:a or all)", "not (group:a or all)"),
        ("label.ort = Köln", "label.ort = Köln"),
        ("fact.mac = 00:11:22:33", "fact.mac = 00:11:22:33"),
    ] {
        let selection = parsed(text);
        assert_eq!(selection.to_string(), canonical, "{text}");
        assert_eq!(parsed(canonical), selection, "{text}");
    }
}

#[test]
fn a_selection_travels_as_its_canonical_text() {
    let json = serde_json::to_string(&parsed("name=web-1")).expect("text");
    assert_eq!(json, "\"name = web-1\"");
    assert_eq!(serde_json::from_str::<Selection>(&json).ok(), Some(parsed("name = web-1")));
    let error = serde_json::from_str::<Selection>("\"nmae = x\"").expect_err("misspelt");
    assert!(error.to_string().contains("name"), "{error}");
}

#[test]
fn what_holds_every_agent_by_construction_is_known() {
    for text in [
        "all",
        "not not all",
        "name = *",
        "platform = *",
        "platform in (linux-*, any)",
        "state in (present, away, cloned, retired)",
        "state = present or state = away or state in (cloned, retired)",
        "has web or not has web",
        "name = x or all",
        "not (name = x and name != x)",
        "all and (all or name = x)",
        "seen >= 0s",
    ] {
        assert!(parsed(text).is_everything(), "{text}");
        assert!(parsed(&format!("not ({text})")).is_nothing(), "{text}");
    }
    // `web < 2 or web >= 2` is no tautology: there are agents without web.
    for text in ["label.x = *", "has web", "web < 2.0.0 or web >= 2.0.0", "group:a", "seen < 900d"]
    {
        assert!(!parsed(text).is_everything(), "{text}");
        assert!(!parsed(text).is_nothing(), "{text}");
    }
}

fn groups(saved: &[(&str, &str)]) -> BTreeMap<GroupName, Selection> {
    saved.iter().map(|(name, text)| (name.parse().expect("a name"), parsed(text))).collect()
}

#[test]
fn saved_groups_take_the_place_of_their_names() {
    let saved = groups(&[
        ("a", "name = web-* or name = db-*"),
        ("b", "group:a and not group:c"),
        ("c", "name = web-2"),
        ("rest", "not group:a"),
        ("each", "all"),
    ]);
    let put = |text: &str| parsed(text).resolve(|name| saved.get(name));
    let resolved = put("group:b and state = present").expect("they are there");
    assert_eq!(
        resolved.to_string(),
        "(name = web-* or name = db-*) and name != web-2 and state = present"
    );
    assert!(resolved.matches(&Host::new("web-1").subject()));
    assert!(!resolved.matches(&Host::new("web-2").subject()));
    assert!(put("group:a or group:rest").expect("they are there").is_everything());
    assert!(put("group:each").expect("it is there").is_everything());
    assert_eq!(parsed("group:b and group:a and group:b").groups().len(), 2);
}

#[test]
fn groups_that_hold_themselves_or_pile_up_are_refused() {
    let saved =
        groups(&[("a", "group:b"), ("b", "has web and group:a"), ("self", "not group:self")]);
    let put = |text: &str| {
        parsed(text).resolve(|name| saved.get(name)).expect_err("no way out").to_string()
    };
    assert_eq!(put("group:a"), "the group `a` holds itself: a → b → a");
    assert_eq!(put("all or group:self"), "the group `self` holds itself: self → self");
    assert!(put("group:gone").starts_with("there is no group `gone`"));

    let chain: Vec<_> = (0..12).map(|n| (format!("g{n}"), format!("group:g{}", n + 1))).collect();
    let chain: Vec<_> = chain.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let saved = groups(&chain);
    let error = parsed("group:g0").resolve(|name| saved.get(name)).expect_err("too deep");
    assert!(matches!(error, GroupError::TooDeep { .. }), "{error}");

    // Eight levels of a hundred each would be 10^16 conditions; it stops long before.
    let wide = |name: &str| vec![format!("group:{name}"); 100].join(" or ");
    let texts: Vec<_> = (0..8)
        .map(|n| {
            (
                format!("w{n}"),
                if n == 7 { "has web".to_owned() } else { wide(&format!("w{}", n + 1)) },
            )
        })
        .collect();
    let pairs: Vec<_> = texts.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let saved = groups(&pairs);
    assert_eq!(parsed("group:w0").resolve(|name| saved.get(name)), Err(GroupError::TooMany));
}
