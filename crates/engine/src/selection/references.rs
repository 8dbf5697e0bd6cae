//! What a selection refers to, and what of it is not there.

use std::fmt::{self, Display};

use handover_model::{AgentId, ComponentName, GroupName, Version};

use super::error::column;
use super::expression::{
    Expr, GroupRef, Never, Place, Span, TextField, Thing, VersionField, VersionTest, What,
};
use super::nearest;
use super::pattern::Pattern;
use super::vocabulary::{Known, Vocabulary};

/// One thing that a selection refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference<'a> {
    /// An agent by its id.
    Id(AgentId),
    /// Agents by their names.
    Name(&'a Pattern),
    /// Platforms.
    Platform(&'a Pattern),
    /// A label, perhaps with a value.
    Label {
        /// Its key.
        key: &'a str,
        /// Its value; `None` where only the key is asked for.
        value: Option<&'a Pattern>,
    },
    /// What hosts say of themselves, likewise.
    Fact {
        /// Its key.
        key: &'a str,
        /// Its value; `None` where only the key is asked for.
        value: Option<&'a Pattern>,
    },
    /// A component, perhaps in a version.
    Component {
        /// Its name.
        name: &'a ComponentName,
        /// The very version; `None` for bounds, ranges, and where only the component is asked for.
        version: Option<&'a Version>,
    },
    /// A version of the agent itself.
    AgentVersion(&'a Version),
    /// A saved group.
    Group {
        /// Its name.
        name: &'a GroupName,
    },
}

/// Something that a selection refers to and that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Where the condition stands, as a byte offset in the text that was parsed.
    pub at: usize,
    /// What it is, as one word for machines: `label`, `label_value`, `fact`, `fact_value`,
    /// `component`, `version`, `name`, `platform`, `group`.
    pub kind: &'static str,
    /// What it is, as a sentence's beginning: "label regoin is on no agent".
    pub what: String,
    /// What was probably meant, the nearest first; at most three.
    pub nearest: Vec<String>,
}

impl Unknown {
    /// The column in the text that was parsed: characters counted from 1.
    pub fn column(&self, text: &str) -> usize {
        column(text, self.at)
    }
}

impl Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match self.nearest.as_slice() {
            [] => Ok(()),
            near => write!(f, "; did you mean {}?", near.join(" or ")),
        }
    }
}

/// What may stand for a group.
pub(super) trait Named {
    /// Its name and place.
    fn named(&self) -> (&GroupName, Place);
}

impl Named for GroupRef {
    fn named(&self) -> (&GroupName, Place) {
        (&self.name, self.at)
    }
}

impl Named for Never {
    fn named(&self) -> (&GroupName, Place) {
        match *self {}
    }
}

/// Everything, in the order of the text.
pub(super) fn of<G: Named>(expr: &Expr<G>) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    walk(expr, &mut |_, reference| found.push(reference));
    found
}

/// What is not there.
pub(super) fn unknown<G: Named>(expr: &Expr<G>, known: &Vocabulary) -> Vec<Unknown> {
    let mut missing: Vec<Unknown> = Vec::new();
    walk(expr, &mut |Place(at), reference| {
        if let Some((kind, what, nearest)) = missing_from(known, reference)
            && !missing.iter().any(|before| before.what == what)
        {
            missing.push(Unknown { at, kind, what, nearest });
        }
    });
    missing
}

fn walk<'a, G: Named>(expr: &'a Expr<G>, take: &mut dyn FnMut(Place, Reference<'a>)) {
    match expr {
        Expr::All => {}
        Expr::Term(term) => in_condition(&term.what, &mut |reference| take(term.at, reference)),
        Expr::Group(group) => {
            let (name, at) = group.named();
            take(at, Reference::Group { name });
        }
        Expr::Not(inner) => walk(inner, take),
        Expr::And(parts) | Expr::Or(parts) => parts.iter().for_each(|part| walk(part, take)),
    }
}

fn in_condition<'a>(what: &'a What, take: &mut dyn FnMut(Reference<'a>)) {
    match what {
        What::Id(ids) => ids.iter().for_each(|id| take(Reference::Id(*id))),
        What::Text(field, patterns) => {
            for pattern in patterns {
                take(match field {
                    TextField::Name => Reference::Name(pattern),
                    TextField::Platform => Reference::Platform(pattern),
                    TextField::Label(key) => Reference::Label { key, value: Some(pattern) },
                    TextField::Fact(key) => Reference::Fact { key, value: Some(pattern) },
                });
            }
        }
        What::Version(VersionField::Agent, test) => {
            test.exact().for_each(|version| take(Reference::AgentVersion(version)));
        }
        What::Version(VersionField::Component(name), test) => {
            take(Reference::Component { name, version: None });
            test.exact()
                .for_each(|version| take(Reference::Component { name, version: Some(version) }));
        }
        What::Has(Thing::Label(key)) => take(Reference::Label { key, value: None }),
        What::Has(Thing::Fact(key)) => take(Reference::Fact { key, value: None }),
        What::Has(Thing::Component(name)) => take(Reference::Component { name, version: None }),
        What::State(_) | What::Seen(..) => {}
    }
}

impl VersionTest {
    /// The versions that it names as such.
    fn exact(&self) -> impl Iterator<Item = &Version> {
        let spans = match self {
            Self::AnyOf(spans) => spans.as_slice(),
            Self::Compare(..) => &[],
        };
        spans.iter().filter_map(|span| match span {
            Span::Exact(version) => Some(version),
            Span::Range(_) => None,
        })
    }
}

/// Kind, sentence, and what is near.
type Missing = (&'static str, String, Vec<String>);

fn missing_from(known: &Vocabulary, reference: Reference<'_>) -> Option<Missing> {
    match reference {
        Reference::Id(_) => None,
        Reference::Name(pattern) => {
            value(&known.names, pattern, ["name", "no agent is called"], "")
        }
        Reference::Platform(pattern) => {
            let fits = known.platforms.iter().any(|platform| pattern.fits(platform));
            let near = known.platforms.iter().take(3).cloned().collect();
            (!fits).then(|| ("platform", format!("no agent has platform {pattern}"), near))
        }
        Reference::Label { key, value: wanted } => match known.labels.get(key) {
            None => {
                let near = nearest(key, known.labels.keys().map(String::as_str));
                Some(("label", format!("label {key} is on no agent"), near))
            }
            Some(values) => {
                value(values, wanted?, ["label_value", "no agent has"], &format!("label.{key} = "))
            }
        },
        Reference::Fact { key, value: wanted } => match known.facts.get(key) {
            None => {
                let near = nearest(key, known.facts.keys().map(String::as_str));
                Some(("fact", format!("no agent says what its {key} is"), near))
            }
            Some(values) => {
                value(values, wanted?, ["fact_value", "no agent has"], &format!("fact.{key} = "))
            }
        },
        Reference::Component { name, version } => component(known, name, version),
        Reference::AgentVersion(version) => (!known.agent_versions.contains(version)).then(|| {
            let near = near_versions(version, known.agent_versions.iter());
            ("version", format!("no agent is of version {version}"), near)
        }),
        Reference::Group { name } => (!known.groups.contains(name)).then(|| {
            let near = nearest(name.as_str(), known.groups.iter().map(GroupName::as_str));
            ("group", format!("there is no group {name}"), near)
        }),
    }
}

fn value(
    known: &Known,
    wanted: &Pattern,
    [kind, says]: [&'static str; 2],
    field: &str,
) -> Option<Missing> {
    if known.and_more || known.values.iter().any(|value| wanted.fits(value)) {
        return None;
    }
    let near = wanted
        .as_plain()
        .map_or_else(Vec::new, |plain| nearest(plain, known.values.iter().map(String::as_str)));
    Some((kind, format!("{says} {field}{wanted}"), near))
}

fn component(
    known: &Vocabulary,
    name: &ComponentName,
    version: Option<&Version>,
) -> Option<Missing> {
    let Some(versions) = known.components.get(name) else {
        // Asked for twice where a version is named: the component itself comes first.
        let near = nearest(name.as_str(), known.components.keys().map(ComponentName::as_str));
        let label = known.labels.contains_key(name.as_str());
        let near = if label { vec![format!("label.{name}")] } else { near };
        return Some(("component", format!("component {name} is on no agent"), near));
    };
    let version = version?;
    (!versions.contains(version)).then(|| {
        let near = near_versions(version, versions.iter());
        let what = format!("{name} {version} is neither on an agent nor published");
        ("version", what, near)
    })
}

fn near_versions<'a>(wanted: &Version, known: impl Iterator<Item = &'a Version>) -> Vec<String> {
    let known: Vec<String> = known.map(ToString::to_string).collect();
    nearest(&wanted.to_string(), known.iter().map(String::as_str))
}
