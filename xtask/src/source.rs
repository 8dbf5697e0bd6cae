//! Rust source cut into tokens, enough to tell code from comments and text, and production code
//! from tests. It is no parser: it knows brackets, attributes and paths.

/// A token of code, or a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its text.
    pub(crate) text: &'a str,
    /// The line it starts on, from 1.
    pub(crate) line: usize,
}

/// Kinds of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier, a keyword, a number, or a punctuation mark (`::` is one mark).
    Code,
    /// A string or a character.
    Literal,
    /// A comment, doc comments included.
    Comment,
}

/// Cuts source into tokens.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (source, 1);
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            line += usize::from(first == '\n');
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (kind, len) = measure(rest, first);
        let (text, after) = rest.split_at(len);
        found.push(Token { kind, text, line });
        line += text.matches('\n').count();
        rest = after;
    }
    found
}

/// The kind and length of the token at the start of `rest`.
fn measure(rest: &str, first: char) -> (Kind, usize) {
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment(rest));
    }
    if let Some(len) = string(rest) {
        return (Kind::Literal, len);
    }
    if first == '\'' {
        return character(rest);
    }
    if first.is_alphanumeric() || first == '_' {
        let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        return (Kind::Code, len);
    }
    let len = if rest.starts_with("::") { 2 } else { first.len_utf8() };
    (Kind::Code, len)
}

/// The length of a block comment; they nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of a string of any sort at the start of `rest`, if there is one.
fn string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""]
        .into_iter()
        .find(|prefix| rest[..].strip_prefix(prefix).is_some_and(|r| r.starts_with(['"', '#'])))?;
    let body = &rest[prefix.len()..];
    let hashes = body.len() - body.trim_start_matches('#').len();
    if !body[hashes..].starts_with('"') || (hashes > 0 && !prefix.ends_with('r')) {
        return None;
    }
    if prefix.ends_with('r') {
        let end = format!("\"{}", "#".repeat(hashes));
        let len =
            body[hashes + 1..].find(&end).map_or(body.len(), |at| hashes + 1 + at + end.len());
        return Some(prefix.len() + len);
    }
    let mut escaped = false;
    for (at, c) in body.char_indices().skip(1) {
        match c {
            '"' if !escaped => return Some(prefix.len() + at + 1),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    Some(rest.len())
}

/// The kind and length of what starts with an apostrophe: a character or a lifetime.
fn character(rest: &str) -> (Kind, usize) {
    let mut chars = rest.char_indices().skip(1);
    let second = chars.next().map_or(' ', |(_, c)| c);
    let third = chars.next();
    if second == '\\' {
        let end = rest.get(3..).and_then(|r| r.find('\'')).map_or(rest.len(), |at| at + 4);
        return (Kind::Literal, end);
    }
    match third {
        Some((at, '\'')) => (Kind::Literal, at + 1),
        Some(_) | None => (Kind::Code, 1),
    }
}

/// The code tokens of `tokens` that are not behind `#[cfg(test)]`.
pub(crate) fn production<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let code: Vec<_> = tokens.iter().filter(|t| t.kind != Kind::Comment).copied().collect();
    let hidden = test_items(&code);
    code.iter()
        .enumerate()
        .filter(|(at, _)| !hidden.iter().any(|&(from, to)| (from..=to).contains(at)))
        .map(|(_, token)| *token)
        .collect()
}

/// How many lines of `source` are not inside items behind `#[cfg(test)]`.
pub(crate) fn production_lines(source: &str) -> usize {
    let code: Vec<_> = tokens(source).into_iter().filter(|t| t.kind != Kind::Comment).collect();
    let tests: usize =
        test_items(&code).iter().map(|&(from, to)| code[to].line - code[from].line + 1).sum();
    source.lines().count().saturating_sub(tests)
}

/// First and last index of every item behind `#[cfg(test)]`.
fn test_items(code: &[Token<'_>]) -> Vec<(usize, usize)> {
    const GUARD: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut items: Vec<(usize, usize)> = Vec::new();
    for from in 0..code.len() {
        let inside = items.last().is_some_and(|&(_, to)| from <= to);
        let guarded = code[from..].len() >= GUARD.len()
            && code[from..].iter().zip(GUARD).all(|(token, wanted)| token.text == wanted);
        if guarded && !inside {
            items.push((from, item_end(code, from + GUARD.len())));
        }
    }
    items
}

/// Where the item that starts at `from` ends: at its closing brace, or at a semicolon outside any.
fn item_end(code: &[Token<'_>], from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in code.iter().enumerate().skip(from) {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at;
                }
            }
            ";" if depth == 0 => return at,
            _ => {}
        }
    }
    code.len().saturating_sub(1)
}

/// Every two-part path `left::right` in `code`, with its line; `left::{a, b::c}` yields both
/// `left::a` and `left::b`.
pub(crate) fn two_part_paths<'a>(code: &[Token<'a>]) -> Vec<(&'a str, &'a str, usize)> {
    let mut found = Vec::new();
    for (at, window) in code.windows(3).enumerate() {
        let [left, mark, right] = window else { continue };
        if mark.text != "::" || left.kind != Kind::Code {
            continue;
        }
        if right.text != "{" {
            found.push((left.text, right.text, right.line));
            continue;
        }
        let mut depth = 0_usize;
        for (offset, token) in code[at + 2..].iter().enumerate() {
            match token.text {
                "{" => depth += 1,
                "}" => depth -= 1,
                name if depth == 1 && matches!(code[at + 1 + offset].text, "{" | ",") => {
                    found.push((left.text, name, token.line));
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

/// The names of functions that carry `#[test]`, or a runtime's attribute of that name such as
/// `#[tokio::test(…)]`.
pub(crate) fn test_names(source: &str) -> Vec<&str> {
    let all = tokens(source);
    let code: Vec<_> = all.iter().filter(|t| t.kind != Kind::Comment).map(|t| t.text).collect();
    let mut names = Vec::new();
    let mut marked = false;
    for (at, token) in code.iter().enumerate() {
        let before = |back: usize| at.checked_sub(back).map_or("", |i| code[i]);
        if *token == "[" && before(1) == "#" {
            let attribute = code[at + 1..].iter().take_while(|text| !matches!(**text, "]" | "("));
            marked |= attribute.last() == Some(&"test");
        }
        if marked && before(1) == "fn" {
            names.push(*token);
            marked = false;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(source: &str) -> Vec<&str> {
        let all = tokens(source);
        all.iter().filter(|t| t.kind == Kind::Code).map(|t| t.text).collect()
    }

    #[test]
    fn comments_and_text_are_not_code() {
        let source =
            "a /* std::fs /* x */ */ \"std::fs \\\" b\" r#\"c \" d\"# // e\nf 'g' '\\'' 'h";
        assert_eq!(code(source), ["a", "f", "'", "h"]);
        assert_eq!(tokens(source).last().map(|t| t.line), Some(2));
    }

    #[test]
    fn an_unfinished_literal_ends_with_the_file() {
        for source in ["\"abc", "r#\"abc", "/* abc", "'\\", "b\"\\"] {
            assert!(tokens(source).len() <= 3, "{source}");
        }
    }

    #[test]
    fn code_behind_cfg_test_is_not_production() {
        let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() { { } }\n}\nfn c() {}\n";
        let all = tokens(source);
        let names: Vec<_> = production(&all).iter().map(|t| t.text).collect();
        assert!(names.contains(&"c") && !names.contains(&"b"));
        assert_eq!(production_lines(source), 2);
        assert_eq!(production_lines("#[cfg(test)]\nmod tests;\nfn a() {}\n"), 1);
    }

    #[test]
    fn grouped_imports_are_paths_too() {
        let all = tokens("use std::{collections::{fs, Map}, io, fs::File}; std::net::x(); a::b");
        let paths: Vec<_> =
            two_part_paths(&all).into_iter().filter(|p| p.0 == "std").map(|p| p.1).collect();
        assert_eq!(paths, ["collections", "io", "fs", "net"]);
    }

    #[test]
    fn only_functions_marked_as_tests_are_tests() {
        let source = "#[test] fn a_b() {} fn c() {} #[test] #[should_panic] fn d() {}";
        assert_eq!(test_names(source), ["a_b", "d"]);
        let source =
            "#[tokio::test(flavor = \"multi_thread\")] async fn e() {} #[cfg(test)] fn f() {}";
        assert_eq!(test_names(source), ["e"]);
    }
}
