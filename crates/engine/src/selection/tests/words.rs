//! What is known of a fleet: unknown words, and completion.

use super::*;

fn fleet() -> Vocabulary {
    let mut known = Vocabulary::default();
    let mut other = Host::new("db-1");
    other.labels = Labels::parse(["region=eu-west", "site=west"]).expect("labels");
    for host in [Host::new("web-1"), other] {
        known.learn(&host.subject());
    }
    known.groups.insert("canaries".parse().expect("a name"));
    known
}

fn unknown(text: &str) -> Vec<String> {
    parsed(text).unknown(&fleet()).iter().map(ToString::to_string).collect()
}

#[test]
fn words_that_nobody_has_are_told_with_what_was_meant() {
    for (text, wanted) in [
        ("label.regoin = eu-west", "label regoin is on no agent; did you mean region?"),
        ("label.region = eu-wset", "no agent has label.region = eu-wset; did you mean eu-west?"),
        ("label.region = us-*", "no agent has label.region = us-*"),
        ("has label.roem", "label roem is on no agent; did you mean room?"),
        ("fact.so = x", "no agent says what its so is; did you mean os?"),
        ("wbe < 2.0.0", "component wbe is on no agent; did you mean web?"),
        ("region = 1.0.0", "component region is on no agent; did you mean label.region?"),
        ("web = 1.4.1", "web 1.4.1 is neither on an agent nor published; did you mean 1.4.0?"),
        ("name = wbe-1", "no agent is called wbe-1; did you mean web-1?"),
        ("name = cache-*", "no agent is called cache-*"),
        ("agent = 9.9.9", "no agent is of version 9.9.9"),
        (
            "platform = linux-riscv64",
            "no agent has platform linux-riscv64; did you mean linux-x86_64?",
        ),
        ("group:canary", "there is no group canary"),
        ("group:canarys", "there is no group canarys; did you mean canaries?"),
    ] {
        assert_eq!(unknown(text), [wanted], "{text}");
    }
    let fine = "label.site in (ost, west) and web < 9.0.0 and web in \">=1, <2\" and seen < 1m and \
                group:canaries and name = web-* and fact.os = debian-* and has db and state = away";
    assert_eq!(unknown(fine), [""; 0]);
    let found = parsed("all and label.regoin = x").unknown(&fleet());
    assert_eq!((found[0].column("all and label.regoin = x"), found[0].kind), (9, "label"));
}

#[test]
fn a_value_among_more_than_are_remembered_may_exist() {
    let mut known = Vocabulary::default();
    for n in 0..=MOST_VALUES {
        known.names.learn(&format!("web-{n}"));
    }
    assert!(known.names.and_more);
    assert_eq!(parsed("name = mail-1").unknown(&known), []);
}

#[test]
fn what_is_referred_to_comes_in_the_order_of_the_text() {
    let selection = parsed("label.site = ost and not (web = 1.0.0 or has label.tier) and group:a");
    let kinds: Vec<_> = selection.needs().iter().map(|need| format!("{need:?}")).collect();
    assert_eq!(kinds.len(), 5, "{kinds:?}");
    assert!(kinds[0].contains("site") && kinds[2].contains("version: Some"), "{kinds:?}");
    assert!(kinds[3].contains("tier") && kinds[4].contains("Group"), "{kinds:?}");
}

#[track_caller]
fn offers(typed: &str, wanted: &[&str]) {
    let cursor = typed.find('|').expect("a cursor");
    let text = typed.replace('|', "");
    let found: Vec<_> = complete(&text, cursor, &fleet())
        .into_iter()
        .map(|one| format!("{}{}", &text[..one.from], one.text))
        .collect();
    assert_eq!(found, wanted, "{typed}");
}

#[test]
fn what_is_offered_goes_on_from_what_was_typed() {
    offers("na|", &["name"]);
    offers("label.r|", &["label.region", "label.room"]);
    offers(
        "label.site |",
        &["label.site !=", "label.site =", "label.site in", "label.site not in"],
    );
    offers("label.site = |", &["label.site = ost", "label.site = west"]);
    offers("label.site = w| and all", &["label.site = west"]);
    offers("label.room = |", &["label.room = \"Bau 7\""]);
    offers("label.site = \"o|", &["label.site = \"ost\""]);
    offers("label.site in (ost, |", &["label.site in (ost, ost", "label.site in (ost, west"]);
    offers("label.site in (ost |", &["label.site in (ost )", "label.site in (ost ,"]);
    offers("web <|", &["web <="]);
    offers("web < |", &["web < 1.4.0"]);
    offers("state = a|", &["state = away"]);
    offers("has w|", &["has web"]);
    offers("group:|", &["group:canaries"]);
    offers("all |", &["all and", "all or"]);
    offers("(all |", &["(all )", "(all and", "(all or"]);
    offers("name not |", &["name not in"]);
    offers("name = = |", &[]);
    offers("all all |", &[]);
    assert!(complete("", 0, &fleet()).iter().any(|one| one.text == "label.site"));
    assert_eq!(complete("ö", 1, &fleet()), [], "a cursor inside a character");
    assert_eq!(complete("a", 9, &fleet()), [], "a cursor behind the end");
}
