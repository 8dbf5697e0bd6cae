//! What agents are selected by, as words.

use std::fmt;

use handover_model::{ComponentName, Labels};

use super::expression::{TextField, Thing, VersionField};
use super::lex::cut;
use super::nearest::nearest;

/// What a condition is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    Id,
    State,
    Seen,
    Text(TextField),
    Version(VersionField),
}

/// The words that a component must not be called by without `component.` before them.
pub(super) const RESERVED: [&str; 16] = [
    "agent",
    "all",
    "and",
    "component",
    "fact",
    "group",
    "has",
    "id",
    "in",
    "label",
    "name",
    "not",
    "or",
    "platform",
    "seen",
    "state",
];

/// The fields that stand for themselves, with what completion says of them.
pub(super) const PLAIN: [(&str, &str); 6] = [
    ("agent", "the version of the agent itself"),
    ("id", "the agent's id"),
    ("name", "the agent's name"),
    ("platform", "such as linux-x86_64"),
    ("seen", "how long ago it checked in"),
    ("state", "present, away, cloned or retired"),
];

impl Field {
    /// The field of a word.
    ///
    /// # Errors
    /// What was probably meant, where that can be told.
    pub(super) fn parse(word: &str) -> Result<Self, Option<String>> {
        if let Some(thing) = Thing::prefixed(word) {
            return thing.map(Self::from);
        }
        Ok(match word {
            "id" => Self::Id,
            "state" => Self::State,
            "seen" => Self::Seen,
            "name" => Self::Text(TextField::Name),
            "platform" => Self::Text(TextField::Platform),
            "agent" => Self::Version(VersionField::Agent),
            "label" | "fact" | "component" => {
                return Err(Some(format!("write `{word}.` and its name, without a space")));
            }
            "group" => return Err(Some("write `group:NAME`".to_owned())),
            other => match other.parse() {
                Ok(name) => Self::Version(VersionField::Component(name)),
                Err(_no_name) => return Err(meant(other)),
            },
        })
    }

    /// The operators that it takes.
    pub(super) fn operators(&self) -> &'static str {
        match self {
            Self::Id | Self::State | Self::Text(_) => "`=`, `!=`, `in` or `not in`",
            Self::Version(_) => "`=`, `!=`, `<`, `<=`, `>`, `>=`, `in` or `not in`",
            Self::Seen => "`<`, `<=`, `>` or `>=`",
        }
    }

    /// A value of it, in words.
    pub(super) fn wanted(&self) -> &'static str {
        match self {
            Self::Id => "an agent's id such as agent_0192f3…",
            Self::State => "present, away, cloned or retired",
            Self::Seen => "a length of time such as 10m, 2h or 7d",
            Self::Text(TextField::Name) => "a name such as web-1 or web-*",
            Self::Text(TextField::Platform) => "a platform such as linux-x86_64 or linux-*",
            Self::Text(TextField::Label(_) | TextField::Fact(_)) => {
                "a value such as ost, \"Bau 7\" or ost-*"
            }
            Self::Version(_) => "a version such as 1.4.0 or 1.4.*",
        }
    }

    /// What may follow `in`.
    pub(super) fn wanted_list(&self) -> &'static str {
        match self {
            Self::Version(_) => {
                "a range in quotes such as \">=1.2, <2\", or versions in parentheses"
            }
            Self::Id | Self::State | Self::Seen | Self::Text(_) => {
                "a list in parentheses such as (a, b)"
            }
        }
    }
}

impl From<Thing> for Field {
    fn from(thing: Thing) -> Self {
        match thing {
            Thing::Label(key) => Self::Text(TextField::Label(key)),
            Thing::Fact(key) => Self::Text(TextField::Fact(key)),
            Thing::Component(name) => Self::Version(VersionField::Component(name)),
        }
    }
}

impl Thing {
    /// What a word after `has` asks for.
    ///
    /// # Errors
    /// What was probably meant.
    pub(super) fn parse(word: &str) -> Result<Self, Option<String>> {
        if let Some(thing) = Self::prefixed(word) {
            return thing;
        }
        if RESERVED.contains(&word) {
            return Err(Some(format!("for a component of that name write `component.{word}`")));
        }
        word.parse().map(Self::Component).map_err(|_no_name| meant(word))
    }

    /// `label.KEY`, `fact.KEY` and `component.NAME`.
    fn prefixed(word: &str) -> Option<Result<Self, Option<String>>> {
        let (kind, name) = word.split_once('.')?;
        match kind {
            "label" => Some(key(name).map(Self::Label)),
            "fact" => Some(key(name).map(Self::Fact)),
            "component" => Some(
                name.parse::<ComponentName>()
                    .map(Self::Component)
                    .map_err(|error| Some(error.to_string())),
            ),
            _ => None,
        }
    }
}

fn key(text: &str) -> Result<String, Option<String>> {
    Labels::parse([format!("{text}=").as_str()])
        .map(|_fits| text.to_owned())
        .map_err(|error| Some(error.to_string()))
}

/// What a word that is no field was probably meant to be.
fn meant(word: &str) -> Option<String> {
    let lower = word.to_lowercase();
    let (kind, rest) = lower.split_once(['.', ':']).unwrap_or((&lower, ""));
    if !rest.is_empty() {
        let near = nearest(kind, ["label", "fact", "component", "group"]);
        let kind = near.first()?;
        let joint = if kind == "group" { ':' } else { '.' };
        return Some(format!("did you mean `{kind}{joint}{}`?", cut(rest)));
    }
    near_field(&lower)
}

/// The plain field that a word is near to.
pub(super) fn near_field(word: &str) -> Option<String> {
    let words = PLAIN.iter().map(|(name, _)| *name).chain(["all", "has", "not"]);
    nearest(word, words).first().map(|near| format!("did you mean `{near}`?"))
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => f.write_str("id"),
            Self::State => f.write_str("state"),
            Self::Seen => f.write_str("seen"),
            Self::Text(field) => fmt::Display::fmt(field, f),
            Self::Version(field) => fmt::Display::fmt(field, f),
        }
    }
}

impl fmt::Display for TextField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("name"),
            Self::Platform => f.write_str("platform"),
            Self::Label(key) => write!(f, "label.{key}"),
            Self::Fact(key) => write!(f, "fact.{key}"),
        }
    }
}

impl fmt::Display for VersionField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent => f.write_str("agent"),
            Self::Component(name) => component(name, f),
        }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(key) => write!(f, "label.{key}"),
            Self::Fact(key) => write!(f, "fact.{key}"),
            Self::Component(name) => component(name, f),
        }
    }
}

fn component(name: &ComponentName, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if RESERVED.contains(&name.as_str()) {
        write!(f, "component.{name}")
    } else {
        write!(f, "{name}")
    }
}
