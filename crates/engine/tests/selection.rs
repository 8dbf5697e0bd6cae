//! Any text and any selection: nothing panics, what is printed parses to the same and means the
//! same; and what `docs/selections.md` says is so.

use handover_engine::selection::{Resolved, Selection, Subject, Vocabulary, complete};
use handover_model::api::{AgentState, ComponentSummary};
use handover_model::{AgentId, AgentName, IdGen, Labels, Platform, Timestamp, Version};
use proptest::prelude::*;

const PAGE: &str = include_str!("../../../docs/selections.md");

/// Texts that are nearly selections: words of the language in any order.
fn nearly() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("and"),
        Just("or"),
        Just("not"),
        Just("in"),
        Just("has"),
        Just("all"),
        Just("("),
        Just(")"),
        Just(","),
        Just("="),
        Just("!="),
        Just("<"),
        Just(">="),
        Just("=="),
        Just("name"),
        Just("id"),
        Just("state"),
        Just("seen"),
        Just("platform"),
        Just("agent"),
        Just("label.site"),
        Just("fact.os"),
        Just("component.in"),
        Just("group:a"),
        Just("group:"),
        Just("web"),
        Just("1.4.0"),
        Just("1.*"),
        Just("present"),
        Just("10m"),
        Just("\"Bau 7\""),
        Just("'>=1, <2'"),
        Just("\"\\*\""),
        Just("\"open"),
        Just("ö"),
        Just("*"),
        Just("\u{202e}"),
    ];
    proptest::collection::vec(word, 0..24).prop_map(|words| words.join(" "))
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9._/+:@*ö-]{1,12}".prop_map(|text| format!("\"{text}\"")),
        "[a-z]{1,6}".prop_map(|text| format!("'{text}'")),
        Just("\"and\"".to_owned()),
        Just("\"Bau \\* \\\\ \\\" 7\"".to_owned()),
        Just("''".to_owned()),
        Just("web-*".to_owned()),
    ]
}

fn version() -> impl Strategy<Value = String> {
    prop_oneof![
        (0_u8..3, 0_u8..3, 0_u8..3).prop_map(|(a, b, c)| format!("{a}.{b}.{c}")),
        Just("1.0.0-rc.1".to_owned()),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    let field = prop_oneof![Just("label.site"), Just("fact.os"), Just("label.tier/db")];
    let component = prop_oneof![Just("web"), Just("agent"), Just("component.label"), Just("db")];
    let sign = prop_oneof![Just("="), Just("!="), Just("<"), Just("<="), Just(">"), Just(">=")];
    let side = prop_oneof![Just("<"), Just("<="), Just(">"), Just(">=")];
    let range = prop_oneof![Just("\">=1.0, <2\""), Just("1.*"), Just("\"^1.2\""), Just("\"*\"")];
    prop_oneof![
        Just("all".to_owned()),
        (field.clone(), value()).prop_map(|(field, value)| format!("{field} = {value}")),
        (field, proptest::collection::vec(value(), 1..4))
            .prop_map(|(field, values)| format!("{field} not in ({})", values.join(", "))),
        (component.clone(), sign, version()).prop_map(|(of, sign, to)| format!("{of} {sign} {to}")),
        (component, range).prop_map(|(of, range)| format!("{of} in {range}")),
        (side, 0_u32..10_000).prop_map(|(side, age)| format!("seen {side} {age}s")),
        Just("state in (present, away)".to_owned()),
        Just("name = web-*".to_owned()),
        Just("platform != linux-x86_64".to_owned()),
        Just("has web".to_owned()),
        Just("has label.site".to_owned()),
    ]
}

/// Selections, with more parentheses than they need.
fn selections() -> impl Strategy<Value = String> {
    condition().prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| format!("not ({one})")),
            inner.clone().prop_map(|one| format!("(({one}))")),
            proptest::collection::vec(inner.clone(), 2..4)
                .prop_map(|all| format!("({})", all.join(") and ("))),
            proptest::collection::vec(inner, 2..4)
                .prop_map(|any| format!("({})", any.join(") or ("))),
        ]
    })
}

/// An agent out of few values, so that conditions often hold.
#[derive(Debug, Clone)]
struct Host {
    id: AgentId,
    name: AgentName,
    state: AgentState,
    platform: Platform,
    agent: Version,
    labels: Labels,
    facts: Labels,
    components: Vec<ComponentSummary>,
    seen_s: Option<u32>,
}

fn hosts() -> impl Strategy<Value = Host> {
    let state = prop_oneof![
        Just(AgentState::Present),
        Just(AgentState::Away),
        Just(AgentState::Cloned),
        Just(AgentState::Retired)
    ];
    let platform = prop_oneof![Just("linux-x86_64"), Just("linux-aarch64")];
    let labels = proptest::collection::btree_map("site|tier/db", "web-1|and|Bau \\* 7|", 0..3);
    let component =
        (prop_oneof![Just("web"), Just("db"), Just("label")], proptest::option::of(version()));
    let components = proptest::collection::vec(component, 0..3);
    (state, platform, version(), labels, components, proptest::option::of(0_u32..10_000)).prop_map(
        |(state, platform, agent, labels, components, seen_s)| Host {
            id: AgentId::mint(&mut IdGen::new([1; 32]), Timestamp::from_micros(0)),
            name: "web-1".parse().expect("a name"),
            state,
            platform: platform.parse().expect("a platform"),
            agent: agent.parse().expect("a version"),
            labels: Labels::new(labels).expect("labels"),
            facts: Labels::default(),
            components: components
                .into_iter()
                .map(|(name, current)| ComponentSummary {
                    component: name.parse().expect("a name"),
                    current: current.map(|version| version.parse().expect("a version")),
                    proved: true,
                    trial: None,
                    outlook: None,
                })
                .collect(),
            seen_s,
        },
    )
}

impl Host {
    fn is_meant(&self, selection: &Resolved) -> bool {
        let now_s = 20_000_i64;
        let micros = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        selection.matches(&Subject {
            id: self.id,
            name: &self.name,
            state: self.state,
            platform: &self.platform,
            agent_version: &self.agent,
            labels: &self.labels,
            facts: &self.facts,
            components: &self.components,
            last_seen: self.seen_s.map(|age| micros(now_s - i64::from(age))),
            now: micros(now_s),
        })
    }
}

fn resolved(text: &str) -> Resolved {
    let selection = Selection::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    selection.resolve(|_| None).unwrap_or_else(|error| panic!("{text}: {error}"))
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_what_parses_prints_back(text in prop_oneof![nearly(), ".{0,60}"]) {
        match Selection::parse(&text) {
            Ok(selection) => {
                let printed = selection.to_string();
                prop_assert_eq!(Selection::parse(&printed), Ok(selection), "{:?} as {:?}", text, printed);
            }
            Err(error) => {
                let columns = text.chars().count() + 1;
                prop_assert!(error.column().is_none_or(|column| (1..=columns).contains(&column)));
                prop_assert!(!error.to_string().is_empty());
            }
        }
        let known = Vocabulary::default();
        for (cursor, _) in text.char_indices() {
            for one in complete(&text, cursor, &known) {
                prop_assert!(one.from <= cursor && one.to == cursor);
            }
        }
    }

    #[test]
    fn what_is_printed_parses_to_the_same_and_means_the_same(text in selections(), host in hosts()) {
        let Ok(selection) = Selection::parse(&text) else {
            // Too deep, too long or too many: bounds are tested elsewhere.
            return Ok(());
        };
        let printed = selection.to_string();
        prop_assert_eq!(Selection::parse(&printed), Ok(selection), "{:?} as {:?}", &text, &printed);
        prop_assert_eq!(host.is_meant(&resolved(&text)), host.is_meant(&resolved(&printed)));
    }

    #[test]
    fn logic_is_that_of_yes_and_no(a in condition(), b in condition(), host in hosts()) {
        let ask = |text: String| host.is_meant(&resolved(&text));
        let (x, y) = (ask(a.clone()), ask(b.clone()));
        prop_assert_eq!(ask(format!("{a} and {b}")), x && y);
        prop_assert_eq!(ask(format!("{a} or {b}")), x || y);
        prop_assert_eq!(ask(format!("not {a}")), !x);
        prop_assert_eq!(ask(format!("not ({a} and {b})")), ask(format!("not {a} or not {b}")));
        prop_assert_eq!(ask(format!("{a} or {b} and {a}")), x);
    }

    #[test]
    fn what_is_called_everything_or_nothing_is_that(text in selections(), host in hosts()) {
        let Ok(selection) = Selection::parse(&text) else { return Ok(()) };
        let meant = host.is_meant(&resolved(&text));
        prop_assert!(!selection.is_everything() || meant, "{}", text);
        prop_assert!(!selection.is_nothing() || !meant, "{}", text);
    }

    #[test]
    fn what_is_offered_can_be_gone_on_from(text in selections(), at in any::<prop::sample::Index>()) {
        let mut known = Vocabulary::default();
        known.names.learn("web-1");
        known.labels.entry("site".to_owned()).or_default().learn("Bau 7");
        known.components.entry("in".parse().expect("a name")).or_default();
        let cursors: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
        let cursor = *at.get(&cursors);
        for one in complete(&text, cursor, &known) {
            let typed = format!("{}{} ", &text[..one.from], one.text);
            // Either it is whole, or only its end is wrong.
            if let Err(error) = Selection::parse(&typed) {
                let end = typed.chars().count() + 1;
                prop_assert!(error.column() == Some(end), "{:?}: {}", typed, error);
            }
        }
    }
}

/// The lines of the page's code blocks of one kind.
fn lines(kind: &str) -> Vec<&'static str> {
    let opening = format!("```{kind}");
    let mut found = Vec::new();
    let mut within = false;
    for line in PAGE.lines() {
        match line {
            _ if line == opening => within = true,
            "```" => within = false,
            "" => {}
            _ if within => found.push(line),
            _ => {}
        }
    }
    found
}

#[test]
fn every_example_of_the_page_is_a_selection_in_its_canonical_spelling() {
    let examples = lines("selection");
    assert!(examples.len() > 25, "only {} examples found", examples.len());
    for example in examples {
        let selection =
            Selection::parse(example).unwrap_or_else(|error| panic!("{example}: {error}"));
        assert_eq!(selection.to_string(), example);
    }
}

#[test]
fn every_refusal_of_the_page_reads_as_it_says() {
    let refusals = lines("refused");
    assert!(refusals.len() > 5, "only {} lines found", refusals.len());
    for pair in refusals.chunks(2) {
        let [text, said] = pair else { panic!("{pair:?} is no pair") };
        let error = Selection::parse(text).expect_err(text);
        assert_eq!(error.to_string(), *said, "{text}");
    }
}
