//! Why a text is no selection.

use std::fmt;

use handover_model::{ErrorClass, GroupName};

use super::field::Field;
use super::{DEEPEST, LONGEST, MOST_TERMS};

/// Why a text is no selection. Columns count characters and begin with 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// Nothing was said.
    #[error("the selection is empty: say which agents, or `all`")]
    Empty,
    /// More than [`LONGEST`] bytes.
    #[error(
        "the selection has {bytes} bytes, {LONGEST} may be: save a part of it as a group and name \
         it with group:NAME"
    )]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// More than [`DEEPEST`] levels.
    #[error("column {column}: parentheses and `not` may stand {DEEPEST} deep, not deeper")]
    TooDeep {
        /// Where.
        column: usize,
    },
    /// More than [`MOST_TERMS`] conditions.
    #[error(
        "column {column}: a selection may have {MOST_TERMS} conditions and listed values, not \
         more: label these agents, or save parts as groups"
    )]
    TooMany {
        /// Where.
        column: usize,
    },
    /// A character that can't stand outside quotes.
    #[error(
        "column {column}: {found:?} can't stand here: put texts with such characters in quotes"
    )]
    Letter {
        /// Where.
        column: usize,
        /// Which.
        found: char,
    },
    /// A `\` before something that needs none.
    #[error("column {column}: `\\` may stand before quotes, `*` and `\\`, not before {found:?}")]
    Escape {
        /// Where.
        column: usize,
        /// What follows it.
        found: char,
    },
    /// A quote without its end.
    #[error("column {column}: this quote is never closed")]
    OpenQuote {
        /// Where.
        column: usize,
    },
    /// Something else should stand there.
    #[error("column {column}: expected {expected}, found {found}{}", and(.hint.as_ref()))]
    Unexpected {
        /// Where.
        column: usize,
        /// What could stand there.
        expected: Expected,
        /// What does.
        found: String,
        /// What was probably meant, and how it is written.
        hint: Option<String>,
    },
    /// A word that no field has.
    #[error("column {column}: `{field}` is nothing that agents are selected by{}", and(.hint.as_ref()))]
    Field {
        /// Where.
        column: usize,
        /// The word.
        field: String,
        /// What was probably meant.
        hint: Option<String>,
    },
    /// A value that this field can't have.
    #[error("column {column}: {value} is not {wanted}{}", and(.hint.as_ref()))]
    Value {
        /// Where.
        column: usize,
        /// The value.
        value: String,
        /// What it should be.
        wanted: String,
        /// What was probably meant.
        hint: Option<String>,
    },
}

/// What could stand at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected(pub(super) Want);

/// What the parser waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Want {
    /// A condition, `not`, or an opening parenthesis.
    Condition,
    /// What `has` asks for.
    Thing,
    /// An operator of this field.
    Operator(Field),
    /// `in`, after `not`.
    In(Field),
    /// A value of this field.
    Value(Field),
    /// A list, or a range for versions.
    List(Field),
    /// `,` or `)`.
    ListGoesOn,
    /// `and`, `or`, or the end: of the parentheses, or of everything.
    Connective { closes: bool },
}

/// Why saved groups can't be put in place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// There is none of that name.
    #[error("there is no group `{name}`: `handover group list` shows those that are")]
    Unknown {
        /// The name.
        name: GroupName,
    },
    /// It holds itself.
    #[error("the group `{}` holds itself: {}", .path.last().map_or("", GroupName::as_str), joined(.path))]
    Cycle {
        /// From the first group to the one that was there already.
        path: Vec<GroupName>,
    },
    /// Groups within groups within groups.
    #[error("groups may stand {} deep in each other, not deeper: {}", super::DEEPEST_GROUP, joined(.path))]
    TooDeep {
        /// The groups, the outermost first.
        path: Vec<GroupName>,
    },
    /// Too much in all.
    #[error(
        "with its groups put in place the selection has more than {} conditions: label these \
         agents instead",
        super::MOST_RESOLVED
    )]
    TooMany,
}

/// A fault at a byte, before it is known which column that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) kind: FaultKind,
}

/// What is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FaultKind {
    Empty,
    TooLong,
    TooDeep,
    TooMany,
    Letter { found: char },
    Escape { found: char },
    OpenQuote,
    Unexpected { want: Want, found: String, hint: Option<String> },
    Field { field: String, hint: Option<String> },
    Value { value: String, wanted: String, hint: Option<String> },
}

impl Fault {
    /// As told to whoever wrote `text`.
    pub(super) fn in_text(self, text: &str) -> SelectionError {
        let column = column(text, self.at);
        match self.kind {
            FaultKind::Empty => SelectionError::Empty,
            FaultKind::TooLong => SelectionError::TooLong { bytes: text.len() },
            FaultKind::TooDeep => SelectionError::TooDeep { column },
            FaultKind::TooMany => SelectionError::TooMany { column },
            FaultKind::Letter { found } => SelectionError::Letter { column, found },
            FaultKind::Escape { found } => SelectionError::Escape { column, found },
            FaultKind::OpenQuote => SelectionError::OpenQuote { column },
            FaultKind::Unexpected { want, found, hint } => {
                SelectionError::Unexpected { column, expected: Expected(want), found, hint }
            }
            FaultKind::Field { field, hint } => SelectionError::Field { column, field, hint },
            FaultKind::Value { value, wanted, hint } => {
                SelectionError::Value { column, value, wanted, hint }
            }
        }
    }
}

/// The column of a byte, counted in characters from 1.
pub(super) fn column(text: &str, at: usize) -> usize {
    text.char_indices().take_while(|&(byte, _)| byte < at).count() + 1
}

impl SelectionError {
    /// What the caller may do next: write another selection.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }

    /// Where, if it is at a place: characters counted from 1.
    pub fn column(&self) -> Option<usize> {
        match self {
            Self::Empty | Self::TooLong { .. } => None,
            Self::TooDeep { column }
            | Self::TooMany { column }
            | Self::Letter { column, .. }
            | Self::Escape { column, .. }
            | Self::OpenQuote { column }
            | Self::Unexpected { column, .. }
            | Self::Field { column, .. }
            | Self::Value { column, .. } => Some(*column),
        }
    }
}

impl GroupError {
    /// What the caller may do next: name other groups, or change them.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }
}

fn joined(path: &[GroupName]) -> String {
    path.iter().map(GroupName::as_str).collect::<Vec<_>>().join(" → ")
}

fn and(hint: Option<&String>) -> String {
    hint.map_or_else(String::new, |hint| format!("; {hint}"))
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Want::Condition => f.write_str("a condition such as `label.site = ost` or `all`"),
            Want::Thing => f.write_str("a component, `label.KEY` or `fact.KEY` after `has`"),
            Want::Operator(field) => write!(f, "{} after `{field}`", field.operators()),
            Want::In(field) => write!(f, "`in` after `{field} not`"),
            Want::Value(field) => f.write_str(field.wanted()),
            Want::List(field) => f.write_str(field.wanted_list()),
            Want::ListGoesOn => f.write_str("`,` or `)`"),
            Want::Connective { closes: true } => f.write_str("`and`, `or` or `)`"),
            Want::Connective { closes: false } => f.write_str("`and`, `or` or the end"),
        }
    }
}
