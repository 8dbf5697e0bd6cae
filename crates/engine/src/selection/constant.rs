//! What a tree says whatever the agents are.

use handover_model::{Millis, Platform};

use super::expression::{Comparison, Expr, TextField, What};
use super::values::STATES;

/// `Some(true)` if it holds for every agent, `Some(false)` if it holds for none, `None` if that
/// depends on the agent, or can't be told cheaply.
pub(super) fn of<G: PartialEq>(expr: &Expr<G>) -> Option<bool> {
    match expr {
        Expr::All => Some(true),
        Expr::Group(_) => None,
        Expr::Term(term) => always(&term.what).then_some(true),
        Expr::Not(inner) => of(inner).map(|known| !known),
        Expr::And(parts) => joined(parts, true),
        Expr::Or(parts) => joined(parts, false),
    }
}

/// `neutral` is what changes nothing: yes among `and`, no among `or`.
fn joined<G: PartialEq>(parts: &[Expr<G>], neutral: bool) -> Option<bool> {
    let known: Vec<_> = parts.iter().map(of).collect();
    if known.contains(&Some(!neutral))
        || has_opposites(parts, neutral)
        || (!neutral && every_state(parts))
    {
        return Some(!neutral);
    }
    known.iter().all(|one| *one == Some(neutral)).then_some(neutral)
}

/// Whether something stands beside its own negation; what is negated may itself be joined in the
/// same way, and then its parts stand here.
fn has_opposites<G: PartialEq>(parts: &[Expr<G>], among_and: bool) -> bool {
    parts.iter().any(|part| match part {
        Expr::Not(inner) => {
            let its_parts = match inner.as_ref() {
                Expr::And(inner) if among_and => inner.as_slice(),
                Expr::Or(inner) if !among_and => inner.as_slice(),
                Expr::All
                | Expr::Term(_)
                | Expr::Group(_)
                | Expr::Not(_)
                | Expr::And(_)
                | Expr::Or(_) => std::slice::from_ref(inner.as_ref()),
            };
            its_parts.iter().all(|one| parts.contains(one))
        }
        Expr::All | Expr::Term(_) | Expr::Group(_) | Expr::And(_) | Expr::Or(_) => false,
    })
}

/// Whether conditions on the state name every state between them.
fn every_state<G>(parts: &[Expr<G>]) -> bool {
    STATES.iter().all(|(_, state)| {
        parts.iter().any(|part| match part {
            Expr::Term(term) => matches!(&term.what, What::State(states) if states.contains(state)),
            Expr::All | Expr::Group(_) | Expr::Not(_) | Expr::And(_) | Expr::Or(_) => false,
        })
    })
}

fn always(what: &What) -> bool {
    match what {
        What::Text(TextField::Name, patterns) => patterns.iter().any(super::Pattern::fits_all),
        What::Text(TextField::Platform, patterns) => Platform::KNOWN
            .iter()
            .all(|platform| patterns.iter().any(|pattern| pattern.fits(platform))),
        What::State(states) => STATES.iter().all(|(_, state)| states.contains(state)),
        What::Seen(Comparison::GreaterOrEqual, Millis(0)) => true,
        What::Seen(..)
        | What::Id(_)
        | What::Text(TextField::Label(_) | TextField::Fact(_), _)
        | What::Version(..)
        | What::Has(_) => false,
    }
}
