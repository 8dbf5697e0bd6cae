//! What is said to somebody who mistyped.

use super::*;

#[track_caller]
fn says(text: &str, wanted: &str) {
    let error = Selection::parse(text).expect_err(text);
    assert_eq!(error.to_string(), wanted, "{text}");
}

#[test]
fn an_error_names_the_column_what_was_expected_and_what_was_meant() {
    says("", "the selection is empty: say which agents, or `all`");
    says(" ", "the selection is empty: say which agents, or `all`");
    says(
        "name == web-1",
        "column 6: expected `=`, `!=`, `in` or `not in` after `name`, found `==`; write `=`",
    );
    says(
        "nmae = web-1",
        "column 8: `web-1` is not a version such as 1.4.0 or 1.4.*; did you mean `name`?",
    );
    says(
        "region = eu",
        "column 10: `eu` is not a version such as 1.4.0 or 1.4.*; for the label of that name \
         write `label.region = eu`",
    );
    says(
        "web = 1.4",
        "column 7: `1.4` is not a version such as 1.4.0 or 1.4.*; write `1.4.0`, or `1.4.*` for \
         all that begin so",
    );
    says(
        "web in \"1.4\"",
        "column 8: `1.4` is not a version such as 1.4.0 or a range such as \">=1.2, <2\"; write \
         `1.4.0`, or `1.4.*` for all that begin so",
    );
    says(
        "web = \">=1.2\"",
        "column 7: \">=1.2\" is not a version; for a range write `in \">=1.2\"`",
    );
    says(
        "state = presnt",
        "column 9: `presnt` is not present, away, cloned or retired; did you mean `present`?",
    );
    says(
        "platform = linux/amd64",
        "column 12: `linux/amd64` is not a platform that releases are made for; did you mean \
         `linux-x86_64`?",
    );
}

#[test]
fn words_of_other_languages_are_answered_with_ours() {
    says(
        "lable.site = ost",
        "column 1: `lable.site` is nothing that agents are selected by; did you mean \
         `label.site`?",
    );
    says(
        "groups:a",
        "column 1: `groups:a` is nothing that agents are selected by; did you mean `group:a`?",
    );
    says(
        "label.site = ost AND has web",
        "column 18: expected `and`, `or` or the end, found `AND`; write `and`",
    );
    says(
        "label.site = ost && has web",
        "column 18: expected `and`, `or` or the end, found `&&`; write `and`",
    );
    says(
        "label.site = ost, has web",
        "column 17: expected `and`, `or` or the end, found `,`; write `and` or `or` between \
         conditions",
    );
    says(
        "!(all)",
        "column 1: expected a condition such as `label.site = ost` or `all`, found `!`; write `not`",
    );
    says(
        "label.site = and name = x",
        "column 14: expected a value such as ost, \"Bau 7\" or ost-*, found `and`; if `and` is the \
         value, put it in quotes",
    );
}

#[test]
fn what_was_left_out_or_put_wrongly_is_named() {
    says(
        "web",
        "column 4: expected `=`, `!=`, `<`, `<=`, `>`, `>=`, `in` or `not in` after `web`, found the end; for agents that have that component write `has web`",
    );
    says("(name = x", "column 10: expected `and`, `or` or `)`, found the end");
    says("name in (a b)", "column 12: expected `,` or `)`, found `b`");
    says("name in a", "column 9: expected a list in parentheses such as (a, b), found `a`");
    says("seen = 10m", "column 6: expected `<`, `<=`, `>` or `>=` after `seen`, found `=`");
    says("seen < soon", "column 8: `soon` is not a length of time such as 10m, 2h or 7d");
    says("name < b", "column 6: expected `=`, `!=`, `in` or `not in` after `name`, found `<`");
    says(
        "id = web-1",
        "column 6: `web-1` is not an agent's id such as agent_0192f3…; for the agent of that name write `name = web-1`",
    );
    says("label.x = 'ö", "column 11: this quote is never closed");
    says(
        "label.ö = a",
        "column 1: `label.ö` is nothing that agents are selected by; \"ö\" can't be a label's key: use 1 to 63 lower-case letters, digits, `.`, `_`, `-` and `/`, starting with a letter",
    );
    says(
        "label.x = 'a\\n'",
        "column 13: `\\` may stand before quotes, `*` and `\\`, not before 'n'",
    );
    says("ö = 1 ; x", "column 7: ';' can't stand here: put texts with such characters in quotes");
    says(
        "group:",
        "column 1: `` is not a group's name: lower-case letters, digits and single hyphens, directly after `group:`",
    );
    says(
        "has name",
        "column 5: `name` is nothing that agents are selected by; for a component of that name write `component.name`",
    );
}

#[test]
fn size_depth_and_count_are_bounded() {
    let long = format!("label.x = '{}'", "x".repeat(LONGEST));
    assert!(matches!(Selection::parse(&long), Err(SelectionError::TooLong { .. })));
    let nested = |n: usize| format!("{}all{}", "(".repeat(n), ")".repeat(n));
    assert!(Selection::parse(&nested(DEEPEST)).is_ok());
    assert!(matches!(
        Selection::parse(&nested(DEEPEST + 1)),
        Err(SelectionError::TooDeep { column: 33 })
    ));
    let nots = format!("{}all", "not ".repeat(1000));
    assert!(matches!(Selection::parse(&nots), Err(SelectionError::TooDeep { .. })));
    let list = |n: usize| format!("name in ({})", vec!["a"; n].join(","));
    assert!(Selection::parse(&list(MOST_TERMS)).is_ok());
    assert!(matches!(Selection::parse(&list(MOST_TERMS + 1)), Err(SelectionError::TooMany { .. })));
}
