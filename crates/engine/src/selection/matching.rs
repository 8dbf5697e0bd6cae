//! Whether an agent is meant.

use std::cmp::Ordering;
use std::time::Duration;

use handover_model::api::{AgentState, ComponentSummary};
use handover_model::{
    AgentId, AgentName, ComponentName, Labels, Millis, Platform, Timestamp, Version,
};

use super::expression::{
    Comparison, Expr, Never, Span, TextField, Thing, VersionField, VersionTest, What,
};
use super::pattern::Pattern;

/// What is known of an agent, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its id.
    pub id: AgentId,
    /// Its name.
    pub name: &'a AgentName,
    /// How it stands.
    pub state: AgentState,
    /// Its platform.
    pub platform: &'a Platform,
    /// The version of the agent itself.
    pub agent_version: &'a Version,
    /// What people and its token say of it.
    pub labels: &'a Labels,
    /// What it says of itself.
    pub facts: &'a Labels,
    /// Its components; their committed versions count.
    pub components: &'a [ComponentSummary],
    /// When it checked in last; `None`: never, which is longer ago than anything.
    pub last_seen: Option<Timestamp>,
    /// The time, for `seen`.
    pub now: Timestamp,
}

impl<'a> Subject<'a> {
    /// The committed version of a component: `None` where there is no such component, or nothing
    /// of it is committed yet.
    fn version(&self, name: &ComponentName) -> Option<&'a Version> {
        self.component(name)?.current.as_ref()
    }

    fn component(&self, name: &ComponentName) -> Option<&'a ComponentSummary> {
        self.components.iter().find(|one| one.component == *name)
    }
}

/// Whether a tree holds for an agent.
pub(super) fn matches(expr: &Expr<Never>, subject: &Subject<'_>) -> bool {
    match expr {
        Expr::All => true,
        Expr::Term(term) => holds(&term.what, subject),
        Expr::Group(never) => match *never {},
        Expr::Not(inner) => !matches(inner, subject),
        Expr::And(parts) => parts.iter().all(|part| matches(part, subject)),
        Expr::Or(parts) => parts.iter().any(|part| matches(part, subject)),
    }
}

/// Whether a condition on the state names retired agents.
pub(super) fn names_retired(expr: &Expr<Never>) -> bool {
    match expr {
        Expr::All => false,
        Expr::Term(term) => {
            matches!(&term.what, What::State(states) if states.contains(&AgentState::Retired))
        }
        Expr::Group(never) => match *never {},
        Expr::Not(inner) => names_retired(inner),
        Expr::And(parts) | Expr::Or(parts) => parts.iter().any(names_retired),
    }
}

fn holds(what: &What, subject: &Subject<'_>) -> bool {
    match what {
        What::Id(ids) => ids.contains(&subject.id),
        What::State(states) => states.contains(&subject.state),
        What::Text(field, patterns) => {
            text(field, subject).is_some_and(|text| fits_one(patterns, text))
        }
        What::Version(field, test) => {
            let version = match field {
                VersionField::Agent => Some(subject.agent_version),
                VersionField::Component(name) => subject.version(name),
            };
            version.is_some_and(|version| test.fits(version))
        }
        What::Has(Thing::Label(key)) => subject.labels.get(key).is_some(),
        What::Has(Thing::Fact(key)) => subject.facts.get(key).is_some(),
        What::Has(Thing::Component(name)) => subject.component(name).is_some(),
        What::Seen(side, age) => seen(*side, *age, subject),
    }
}

fn text<'a>(field: &TextField, subject: &Subject<'a>) -> Option<&'a str> {
    match field {
        TextField::Name => Some(subject.name.as_str()),
        TextField::Platform => Some(subject.platform.as_str()),
        TextField::Label(key) => subject.labels.get(key),
        TextField::Fact(key) => subject.facts.get(key),
    }
}

fn fits_one(patterns: &[Pattern], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.fits(text))
}

fn seen(side: Comparison, age: Millis, subject: &Subject<'_>) -> bool {
    let since = subject.last_seen.map_or(Duration::MAX, |at| subject.now.since(at));
    side.holds(since.cmp(&age.duration()))
}

impl VersionTest {
    fn fits(&self, version: &Version) -> bool {
        match self {
            Self::AnyOf(spans) => spans.iter().any(|span| span.holds(version)),
            Self::Compare(side, bound) => side.holds(version.cmp(bound)),
        }
    }
}

impl Span {
    /// Whether a version lies in it.
    pub(super) fn holds(&self, version: &Version) -> bool {
        match self {
            Self::Exact(one) => one == version,
            Self::Range(range) => range.holds(version),
        }
    }
}

impl Comparison {
    fn holds(self, found: Ordering) -> bool {
        match self {
            Self::Less => found.is_lt(),
            Self::LessOrEqual => found.is_le(),
            Self::Greater => found.is_gt(),
            Self::GreaterOrEqual => found.is_ge(),
        }
    }
}
