//! Saved groups put in place of their names.

use handover_model::GroupName;

use super::Selection;
use super::error::GroupError;
use super::expression::{Expr, GroupRef, Never};

/// How deep groups may stand in each other.
pub const DEEPEST_GROUP: usize = 8;
/// How many conditions and listed values a selection may have with its groups put in place.
pub const MOST_RESOLVED: usize = 2000;

/// Puts groups in place.
pub(super) fn resolve<'g>(
    expr: &Expr<GroupRef>,
    lookup: &dyn Fn(&GroupName) -> Option<&'g Selection>,
) -> Result<Expr<Never>, GroupError> {
    Resolver { lookup, path: Vec::new(), terms: 0 }.resolve(expr)
}

struct Resolver<'l, 'g> {
    lookup: &'l dyn Fn(&GroupName) -> Option<&'g Selection>,
    /// The groups that one is in, the outermost first.
    path: Vec<GroupName>,
    terms: usize,
}

impl Resolver<'_, '_> {
    fn resolve(&mut self, expr: &Expr<GroupRef>) -> Result<Expr<Never>, GroupError> {
        Ok(match expr {
            Expr::All => {
                self.count(1)?;
                Expr::All
            }
            Expr::Term(term) => {
                self.count(term.what.weight())?;
                Expr::Term(term.clone())
            }
            Expr::Group(group) => self.group(&group.name)?,
            Expr::Not(inner) => self.resolve(inner)?.negated(),
            Expr::And(parts) => Expr::and(self.each(parts)?),
            Expr::Or(parts) => Expr::or(self.each(parts)?),
        })
    }

    fn each(&mut self, parts: &[Expr<GroupRef>]) -> Result<Vec<Expr<Never>>, GroupError> {
        parts.iter().map(|part| self.resolve(part)).collect()
    }

    fn group(&mut self, name: &GroupName) -> Result<Expr<Never>, GroupError> {
        let again = self.path.iter().any(|outer| outer == name);
        let path = || {
            let mut path = self.path.clone();
            path.push(name.clone());
            path
        };
        if again {
            return Err(GroupError::Cycle { path: path() });
        }
        if self.path.len() >= DEEPEST_GROUP {
            return Err(GroupError::TooDeep { path: path() });
        }
        let found = (self.lookup)(name);
        let found = found.ok_or_else(|| GroupError::Unknown { name: name.clone() })?;
        self.path.push(name.clone());
        let inner = self.resolve(&found.0);
        self.path.pop();
        inner
    }

    fn count(&mut self, more: usize) -> Result<(), GroupError> {
        self.terms += more;
        if self.terms > MOST_RESOLVED { Err(GroupError::TooMany) } else { Ok(()) }
    }
}
