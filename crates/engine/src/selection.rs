//! Selections: a small language that says which agents are meant, the same text in the command
//! line, the API, files and the web interface.
//!
//! `label.site = ost and web < 2.0.0 and not group:canaries`. The grammar is in
//! `docs/selections.md`. A [`Selection`] is what a text says; [`Selection::resolve`] puts saved
//! groups in place of their names and gives a [`Resolved`], which alone can be asked whether an
//! agent is meant.
//!
//! Invariants: parsing never panics and is bounded (4 KiB, 32 levels, 200 conditions); what is
//! printed parses to the same; `a != b` is exactly `not a = b`, so that there is no third truth
//! beside yes and no. Not here: who may select what, and how agents are found in the database.

use std::fmt;
use std::str::FromStr;

use handover_model::GroupName;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod complete;
mod constant;
mod error;
mod expression;
mod field;
mod groups;
mod lex;
mod matching;
mod nearest;
mod parse;
mod pattern;
mod print;
mod references;
#[cfg(test)]
mod tests;
mod values;
mod vocabulary;

pub use complete::{Completion, complete};
pub use error::{Expected, GroupError, SelectionError};
pub use groups::{DEEPEST_GROUP, MOST_RESOLVED};
pub use matching::Subject;
pub use nearest::nearest;
pub use pattern::Pattern;
pub use references::{Reference, Unknown};
pub use vocabulary::{Known, MOST_VALUES, Vocabulary};

use expression::{Expr, GroupRef, Never};

/// How long a selection's text may be, in bytes.
pub const LONGEST: usize = 4096;
/// How deep parentheses and `not` may stand in each other.
pub const DEEPEST: usize = 32;
/// How many conditions and listed values a selection may have.
pub const MOST_TERMS: usize = 200;

/// Which agents are meant, as a person wrote it; it may name saved groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(Expr<GroupRef>);

/// Which agents are meant, with every saved group put in place of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved(Expr<Never>);

impl Selection {
    /// Every agent.
    pub fn all() -> Self {
        Self(Expr::All)
    }

    /// Reads a selection.
    ///
    /// # Errors
    /// [`SelectionError`], which names the column, what was expected there, and, where a word is
    /// near one that would do, that word.
    pub fn parse(text: &str) -> Result<Self, SelectionError> {
        parse::parse(text).map(Self).map_err(|fault| fault.in_text(text))
    }

    /// Puts saved groups in place of their names; `lookup` knows them.
    ///
    /// # Errors
    /// [`GroupError`] for a group that is not there, one that holds itself, and when it all gets
    /// too large.
    pub fn resolve<'g>(
        &self,
        lookup: impl Fn(&GroupName) -> Option<&'g Selection>,
    ) -> Result<Resolved, GroupError> {
        groups::resolve(&self.0, &lookup).map(Resolved)
    }

    /// What it refers to, in the order of the text, so that what is not there can be refused.
    pub fn needs(&self) -> Vec<Reference<'_>> {
        references::of(&self.0)
    }

    /// What it refers to that `known` does not have, with what was probably meant. Ids are not
    /// looked at: who holds the agents looks them up by [`Self::needs`].
    pub fn unknown(&self, known: &Vocabulary) -> Vec<Unknown> {
        references::unknown(&self.0, known)
    }

    /// The saved groups that it names, each once.
    pub fn groups(&self) -> std::collections::BTreeSet<&GroupName> {
        self.needs()
            .into_iter()
            .filter_map(|need| match need {
                Reference::Group { name } => Some(name),
                Reference::Id(_)
                | Reference::Name(_)
                | Reference::Platform(_)
                | Reference::Label { .. }
                | Reference::Fact { .. }
                | Reference::Component { .. }
                | Reference::AgentVersion(_) => None,
            })
            .collect()
    }

    /// Whether it holds every agent whatever the agents are: `all`, `name = *`,
    /// `has web or not has web`. A selection that names a group is answered after
    /// [`Self::resolve`]. Where this says no, it may still hold every agent of today's fleet.
    pub fn is_everything(&self) -> bool {
        constant::of(&self.0) == Some(true)
    }

    /// Whether it can hold no agent whatever the agents are, such as `not all`.
    pub fn is_nothing(&self) -> bool {
        constant::of(&self.0) == Some(false)
    }
}

impl Resolved {
    /// Every agent.
    pub fn all() -> Self {
        Self(Expr::All)
    }

    /// Whether an agent is meant.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        matching::matches(&self.0, subject)
    }

    /// As [`Selection::is_everything`], with groups looked into.
    pub fn is_everything(&self) -> bool {
        constant::of(&self.0) == Some(true)
    }

    /// As [`Selection::is_nothing`], with groups looked into.
    pub fn is_nothing(&self) -> bool {
        constant::of(&self.0) == Some(false)
    }

    /// Whether a condition on the state names retired agents, who are otherwise left out of lists.
    pub fn names_retired(&self) -> bool {
        matching::names_retired(&self.0)
    }

    /// What it refers to; no groups among it.
    pub fn needs(&self) -> Vec<Reference<'_>> {
        references::of(&self.0)
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print::print(&self.0, f)
    }
}

impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print::print(&self.0, f)
    }
}

impl FromStr for Selection {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for Selection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Selection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
