//! What a selection says, as a tree. Negation is a node of its own, so that every condition has
//! one form: `!=` and `not in` are `not` around `=` and `in`.

use std::fmt;

use handover_model::api::AgentState;
use handover_model::{AgentId, ComponentName, GroupName, Millis, Version, VersionRange};

use super::pattern::Pattern;

/// A tree; `G` stands where a saved group does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expr<G> {
    /// Every agent.
    All,
    /// One condition.
    Term(Term),
    /// A saved group.
    Group(G),
    /// The others; never around another `Not`.
    Not(Box<Self>),
    /// All of at least two, none of them an `And`.
    And(Vec<Self>),
    /// One of at least two, none of them an `Or`.
    Or(Vec<Self>),
}

/// A saved group's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupRef {
    pub(super) name: GroupName,
    pub(super) at: Place,
}

/// No group can stand here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Never {}

/// Where something stood in the text, as a byte offset. Says nothing about meaning, so all places
/// are equal.
#[derive(Clone, Copy)]
pub(super) struct Place(pub(super) usize);

/// One condition on an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) at: Place,
    pub(super) what: What,
}

/// A condition. Lists are never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Id(Vec<AgentId>),
    State(Vec<AgentState>),
    Text(TextField, Vec<Pattern>),
    Version(VersionField, VersionTest),
    Has(Thing),
    Seen(Comparison, Millis),
}

/// What has a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TextField {
    Name,
    Platform,
    Label(String),
    Fact(String),
}

/// What has a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum VersionField {
    Agent,
    Component(ComponentName),
}

/// What an agent may have or lack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Thing {
    Label(String),
    Fact(String),
    Component(ComponentName),
}

/// A condition on a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum VersionTest {
    AnyOf(Vec<Span>),
    Compare(Comparison, Version),
}

/// A version, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Span {
    Exact(Version),
    Range(VersionRange),
}

/// Which side of a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl<G> Expr<G> {
    /// The others.
    pub(super) fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            Self::All | Self::Term(_) | Self::Group(_) | Self::And(_) | Self::Or(_) => {
                Self::Not(Box::new(self))
            }
        }
    }

    /// All of them; flat.
    pub(super) fn and(parts: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Self::And(inner) => flat.extend(inner),
                Self::All | Self::Term(_) | Self::Group(_) | Self::Not(_) | Self::Or(_) => {
                    flat.push(part);
                }
            }
        }
        Self::single_or(flat, Self::And)
    }

    /// One of them; flat.
    pub(super) fn or(parts: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Self::Or(inner) => flat.extend(inner),
                Self::All | Self::Term(_) | Self::Group(_) | Self::Not(_) | Self::And(_) => {
                    flat.push(part);
                }
            }
        }
        Self::single_or(flat, Self::Or)
    }

    fn single_or(mut parts: Vec<Self>, join: impl Fn(Vec<Self>) -> Self) -> Self {
        match parts.pop() {
            Some(only) if parts.is_empty() => only,
            Some(last) => {
                parts.push(last);
                join(parts)
            }
            None => join(parts),
        }
    }
}

impl What {
    /// How many values it lists.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Id(ids) => ids.len(),
            Self::State(states) => states.len(),
            Self::Text(_, patterns) => patterns.len(),
            Self::Version(_, VersionTest::AnyOf(spans)) => spans.len(),
            Self::Version(_, VersionTest::Compare(..)) | Self::Has(_) | Self::Seen(..) => 1,
        }
    }
}

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Place {}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}
