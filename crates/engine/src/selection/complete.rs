//! What could be typed next.

use super::error::{Fault, FaultKind, Want};
use super::expression::{TextField, VersionField};
use super::field::{Field, PLAIN, RESERVED};
use super::lex::{Lexeme, tokens};
use super::parse::parse;
use super::pattern::{Pattern, is_bare};
use super::values::STATES;
use super::vocabulary::{Known, Vocabulary};

/// How many are offered at once.
const MOST: usize = 100;

/// Something that could be typed at the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The first byte of the text that it takes the place of.
    pub from: usize,
    /// The byte after that text: the cursor.
    pub to: usize,
    /// What is put there.
    pub text: String,
    /// What it is, in a few words; empty for values.
    pub about: String,
}

/// What could be typed at `cursor`, a byte offset, so that the text before it goes on to be a
/// selection: at most 100, sorted. Nothing, where the text before it can't become one.
pub fn complete(text: &str, cursor: usize, known: &Vocabulary) -> Vec<Completion> {
    let Some(before) = text.get(..cursor) else { return Vec::new() };
    let from = word_start(before);
    let (Some(whole), Some(partial)) = (before.get(..from), before.get(from..)) else {
        return Vec::new();
    };
    let Some(want) = wanted_after(whole) else { return Vec::new() };
    if partial.starts_with('"') && !matches!(want, Want::Value(_)) {
        // Nothing but values stands in quotes.
        return Vec::new();
    }
    let mut found: Vec<_> = candidates(&want, known)
        .into_iter()
        .map(|(text, about)| (in_style_of(partial, text), about))
        .filter(|(text, _)| text.starts_with(partial) && text != partial)
        .map(|(text, about)| Completion { from, to: cursor, text, about })
        .collect();
    found.sort_by(|a, b| a.text.cmp(&b.text));
    found.dedup_by(|a, b| a.text == b.text);
    found.truncate(MOST);
    found
}

/// Where the word, operator or quote begins that is being typed.
fn word_start(before: &str) -> usize {
    if let Err(Fault { at, kind: FaultKind::OpenQuote }) = tokens(before) {
        return at;
    }
    let operator = |letter: char| matches!(letter, '<' | '>' | '=' | '!');
    let ends_with = |fits: &dyn Fn(char) -> bool| before.trim_end_matches(fits).len();
    let word = ends_with(&is_bare);
    let sign = ends_with(&operator);
    word.min(sign)
}

/// What the parser waits for after a text.
fn wanted_after(text: &str) -> Option<Want> {
    match parse(text) {
        Ok(_) => Some(Want::Connective { closes: false }),
        Err(Fault { kind: FaultKind::Empty, .. }) => Some(Want::Condition),
        Err(Fault { at, kind: FaultKind::Unexpected { want, found, .. } })
            if at == text.len() && found == Lexeme::End.named() =>
        {
            Some(want)
        }
        Err(_elsewhere) => None,
    }
}

/// A value in quotes, if quotes were begun.
fn in_style_of(partial: &str, text: String) -> String {
    if partial.starts_with('"') && !text.starts_with('"') {
        return Pattern::plain(text).quoted();
    }
    text
}

/// What could stand there, with what it is.
fn candidates(want: &Want, known: &Vocabulary) -> Vec<(String, String)> {
    match want {
        Want::Condition => conditions(known),
        Want::Thing => things(known),
        Want::Operator(field) => {
            let signs: &[&str] = match field {
                Field::Id | Field::State | Field::Text(_) => &["=", "!=", "in", "not in"],
                Field::Version(_) => &["=", "!=", "<", "<=", ">", ">=", "in", "not in"],
                Field::Seen => &["<", "<=", ">", ">="],
            };
            words(signs)
        }
        Want::In(_) => words(&["in"]),
        Want::Value(field) => values(field, known),
        Want::List(_) => words(&["("]),
        Want::ListGoesOn => words(&[",", ")"]),
        Want::Connective { closes: true } => words(&["and", "or", ")"]),
        Want::Connective { closes: false } => words(&["and", "or"]),
    }
}

fn words(words: &[&str]) -> Vec<(String, String)> {
    words.iter().map(|word| ((*word).to_owned(), String::new())).collect()
}

fn conditions(known: &Vocabulary) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = PLAIN
        .iter()
        .copied()
        .chain([
            ("all", "every agent"),
            ("has", "what an agent has: a component, a label, a fact"),
            ("not", "the others"),
            ("(", ""),
        ])
        .map(|(word, about)| (word.to_owned(), about.to_owned()))
        .collect();
    found.extend(things(known));
    found.extend(
        known.groups.iter().map(|name| (format!("group:{name}"), "a saved group".to_owned())),
    );
    found
}

fn things(known: &Vocabulary) -> Vec<(String, String)> {
    let label = |key| (format!("label.{key}"), "a label".to_owned());
    let fact = |key| (format!("fact.{key}"), "what hosts say of themselves".to_owned());
    let component = |name: &handover_model::ComponentName| {
        let reserved = RESERVED.contains(&name.as_str());
        let text = if reserved { format!("component.{name}") } else { name.to_string() };
        (text, "a component's version".to_owned())
    };
    let mut found: Vec<_> = known.labels.keys().map(label).collect();
    found.extend(known.facts.keys().map(fact));
    found.extend(known.components.keys().map(component));
    found
}

fn values(field: &Field, known: &Vocabulary) -> Vec<(String, String)> {
    let texts = |known: Option<&Known>| -> Vec<String> {
        let values = known.map(|known| known.values.iter());
        values
            .into_iter()
            .flatten()
            .map(|value| Pattern::plain(value.as_str()).to_string())
            .collect()
    };
    let found: Vec<String> = match field {
        Field::Id => Vec::new(),
        Field::State => STATES.iter().map(|(name, _)| (*name).to_owned()).collect(),
        Field::Seen => ["10m", "1h", "1d", "7d"].map(str::to_owned).to_vec(),
        Field::Text(TextField::Name) => texts(Some(&known.names)),
        Field::Text(TextField::Platform) => known.platforms.iter().cloned().collect(),
        Field::Text(TextField::Label(key)) => texts(known.labels.get(key)),
        Field::Text(TextField::Fact(key)) => texts(known.facts.get(key)),
        Field::Version(VersionField::Agent) => {
            known.agent_versions.iter().map(ToString::to_string).collect()
        }
        Field::Version(VersionField::Component(name)) => {
            let versions = known.components.get(name);
            versions.into_iter().flatten().map(ToString::to_string).collect()
        }
    };
    found.into_iter().map(|text| (text, String::new())).collect()
}
