//! The canonical text of a selection: one form for each meaning's tree, parentheses only where the
//! tree needs them.

use std::fmt::{Display, Formatter, Result};

use super::expression::{Comparison, Expr, GroupRef, Never, Span, Term, VersionTest, What};
use super::pattern::Pattern;
use super::values::STATES;

/// What stands for a saved group prints itself.
impl Display for GroupRef {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "group:{}", self.name)
    }
}

impl Display for Never {
    fn fmt(&self, _: &mut Formatter<'_>) -> Result {
        match *self {}
    }
}

/// Prints a tree.
pub(super) fn print<G: Display>(expr: &Expr<G>, f: &mut Formatter<'_>) -> Result {
    match expr {
        Expr::All => f.write_str("all"),
        Expr::Term(term) => positive(term, f),
        Expr::Group(group) => Display::fmt(group, f),
        Expr::Not(inner) => negative(inner, f),
        Expr::And(parts) => joined(parts, " and ", f),
        Expr::Or(parts) => joined(parts, " or ", f),
    }
}

fn joined<G: Display>(parts: &[Expr<G>], joint: &str, f: &mut Formatter<'_>) -> Result {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            f.write_str(joint)?;
        }
        within(part, f)?;
    }
    Ok(())
}

/// As part of something larger.
fn within<G: Display>(part: &Expr<G>, f: &mut Formatter<'_>) -> Result {
    match part {
        Expr::And(_) | Expr::Or(_) => {
            f.write_str("(")?;
            print(part, f)?;
            f.write_str(")")
        }
        Expr::All | Expr::Term(_) | Expr::Group(_) | Expr::Not(_) => print(part, f),
    }
}

fn negative<G: Display>(inner: &Expr<G>, f: &mut Formatter<'_>) -> Result {
    match inner {
        Expr::Term(Term { what, .. }) => {
            if let Some(condition) = Condition::of(what) {
                return condition.print(["!=", "not in"], f);
            }
            f.write_str("not ")?;
            print(inner, f)
        }
        Expr::All | Expr::Group(_) | Expr::Not(_) | Expr::And(_) | Expr::Or(_) => {
            f.write_str("not ")?;
            within(inner, f)
        }
    }
}

fn positive(term: &Term, f: &mut Formatter<'_>) -> Result {
    match &term.what {
        What::Has(thing) => write!(f, "has {thing}"),
        What::Seen(side, age) => {
            let age = age.to_string().replace(' ', "");
            write!(f, "seen {} {age}", side.sign())
        }
        What::Version(field, VersionTest::Compare(side, version)) => {
            write!(f, "{field} {} {version}", side.sign())
        }
        what @ (What::Id(_)
        | What::State(_)
        | What::Text(..)
        | What::Version(_, VersionTest::AnyOf(_))) => match Condition::of(what) {
            Some(condition) => condition.print(["=", "in"], f),
            None => Ok(()),
        },
    }
}

/// A field and the values of which it has one.
struct Condition {
    field: String,
    values: Vec<String>,
    /// Whether the only value is a range, which follows `in` without parentheses.
    range: bool,
}

impl Condition {
    fn of(what: &What) -> Option<Self> {
        let list = |field: String, values: Vec<String>| Some(Self { field, values, range: false });
        match what {
            What::Id(ids) => list("id".to_owned(), texts(ids)),
            What::State(states) => {
                let name = |state| STATES.iter().find(|(_, known)| known == state);
                let names = states.iter().filter_map(name).map(|(name, _)| (*name).to_owned());
                list("state".to_owned(), names.collect())
            }
            What::Text(field, patterns) => list(field.to_string(), texts(patterns)),
            What::Version(field, VersionTest::AnyOf(spans)) => Some(Self {
                field: field.to_string(),
                values: texts(spans),
                range: matches!(spans.as_slice(), [Span::Range(_)]),
            }),
            What::Version(_, VersionTest::Compare(..)) | What::Has(_) | What::Seen(..) => None,
        }
    }

    fn print(&self, [one, many]: [&str; 2], f: &mut Formatter<'_>) -> Result {
        let Self { field, values, range } = self;
        match values.as_slice() {
            [only] if *range => write!(f, "{field} {many} {only}"),
            [only] => write!(f, "{field} {one} {only}"),
            several => write!(f, "{field} {many} ({})", several.join(", ")),
        }
    }
}

fn texts(values: &[impl Display]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Exact(version) => Display::fmt(version, f),
            Self::Range(range) => {
                let text = range.to_string();
                let letters = text.chars().map(|letter| (letter != '*').then_some(letter));
                f.write_str(&Pattern::of(letters).quoted())
            }
        }
    }
}

impl Comparison {
    fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}
