//! From written values to checked ones.

use std::str::FromStr;

use handover_model::api::AgentState;
use handover_model::{AgentId, AgentName, Millis, Platform, Version, VersionRange};

use super::error::{Fault, FaultKind};
use super::expression::{Span, TextField, VersionField, VersionTest, What};
use super::field::Field;
use super::lex::cut;
use super::nearest::nearest;
use super::parse::Value;

/// How an agent may stand, as one types it.
pub(super) const STATES: [(&str, AgentState); 4] = [
    ("present", AgentState::Present),
    ("away", AgentState::Away),
    ("cloned", AgentState::Cloned),
    ("retired", AgentState::Retired),
];

/// `field = value`.
pub(super) fn equal(field: &Field, value: &Value) -> Result<What, Fault> {
    match field {
        Field::Version(of) => {
            let span = exact_or_wild(value)?;
            Ok(What::Version(of.clone(), VersionTest::AnyOf(vec![span])))
        }
        Field::Id | Field::State | Field::Seen | Field::Text(_) => {
            listed(field, std::slice::from_ref(value))
        }
    }
}

/// `field in (values)`.
pub(super) fn listed(field: &Field, values: &[Value]) -> Result<What, Fault> {
    match field {
        Field::Id => values.iter().map(id).collect::<Result<_, _>>().map(What::Id),
        Field::State => values.iter().map(state).collect::<Result<_, _>>().map(What::State),
        Field::Text(of) => {
            for value in values {
                check_text(of, value)?;
            }
            let patterns = values.iter().map(|value| value.pattern.clone()).collect();
            Ok(What::Text(of.clone(), patterns))
        }
        Field::Version(of) => {
            let spans = values.iter().map(span).collect::<Result<_, _>>()?;
            Ok(What::Version(of.clone(), VersionTest::AnyOf(spans)))
        }
        // The parser lets no list follow it.
        Field::Seen => Err(refused(values.first(), field.operators(), None)),
    }
}

/// A version alone.
pub(super) fn version(value: &Value) -> Result<Version, Fault> {
    let text = value.pattern.raw();
    text.parse()
        .map_err(|_no_version| refused(Some(value), "a version such as 1.4.0", filled_up(&text)))
}

/// How long ago; days and weeks have 24 hours and seven days.
pub(super) fn age(value: &Value) -> Result<Millis, Fault> {
    let text = value.pattern.raw();
    let whole = |unit: char, millis: u64| {
        text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(millis).map(Millis)
    };
    whole('d', 86_400_000)
        .or_else(|| whole('w', 7 * 86_400_000))
        .or_else(|| text.parse().ok())
        .ok_or_else(|| refused(Some(value), Field::Seen.wanted(), None))
}

/// A version, or a wildcard such as `1.4.*`.
fn exact_or_wild(value: &Value) -> Result<Span, Fault> {
    let text = value.pattern.raw();
    if let Ok(version) = text.parse() {
        return Ok(Span::Exact(version));
    }
    let plain = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '*'));
    match text.parse::<VersionRange>() {
        Ok(range) if plain && text.contains('*') => Ok(Span::Range(range)),
        Ok(_) if text.starts_with(['<', '>', '=', '^', '~']) => {
            let hint = Some(format!("for a range write `in {}`", value.pattern.quoted()));
            Err(refused(Some(value), "a version", hint))
        }
        Ok(_) | Err(_) => {
            let wanted = Field::Version(VersionField::Agent).wanted();
            Err(refused(Some(value), wanted, filled_up(&text)))
        }
    }
}

/// A version, or a range.
fn span(value: &Value) -> Result<Span, Fault> {
    let text = value.pattern.raw();
    if let Ok(version) = text.parse() {
        return Ok(Span::Exact(version));
    }
    // A range of bare numbers means `^` to some and `=` to others: it has to be said.
    let told = text
        .split(',')
        .all(|part| part.trim_start().starts_with(['<', '>', '=', '^', '~']) || part.contains('*'));
    match text.parse::<VersionRange>() {
        Ok(range) if told => Ok(Span::Range(range)),
        Ok(_) | Err(_) => {
            let wanted = "a version such as 1.4.0 or a range such as \">=1.2, <2\"";
            Err(refused(Some(value), wanted, filled_up(&text)))
        }
    }
}

/// How `1.4` is written in full.
fn filled_up(text: &str) -> Option<String> {
    let exact = [format!("{text}.0"), format!("{text}.0.0")];
    let full = exact.iter().find(|full| Version::from_str(full).is_ok())?;
    Some(format!("write `{full}`, or `{text}.*` for all that begin so"))
}

fn id(value: &Value) -> Result<AgentId, Fault> {
    let text = value.pattern.raw();
    text.parse().map_err(|_no_id| {
        let hint = text
            .parse::<AgentName>()
            .ok()
            .map(|name| format!("for the agent of that name write `name = {name}`"));
        refused(Some(value), Field::Id.wanted(), hint)
    })
}

fn state(value: &Value) -> Result<AgentState, Fault> {
    let text = value.pattern.raw();
    STATES.iter().find(|(name, _)| *name == text).map(|(_, state)| *state).ok_or_else(|| {
        let near = nearest(&text.to_lowercase(), STATES.map(|(name, _)| name));
        let hint = near.first().map(|near| format!("did you mean `{near}`?"));
        refused(Some(value), Field::State.wanted(), hint)
    })
}

fn check_text(field: &TextField, value: &Value) -> Result<(), Fault> {
    let pattern = &value.pattern;
    match field {
        TextField::Label(_) | TextField::Fact(_) => Ok(()),
        TextField::Name => match pattern.as_plain().map(str::parse::<AgentName>) {
            Some(Err(error)) => {
                let wanted = "an agent's name";
                let hint = Some(error.to_string());
                Err(refused(Some(value), wanted, hint))
            }
            Some(Ok(_)) | None => Ok(()),
        },
        TextField::Platform => {
            if Platform::KNOWN.iter().any(|known| pattern.fits(known)) {
                return Ok(());
            }
            let text = pattern.raw().to_lowercase().replace('/', "-").replace("amd64", "x86_64");
            let near = nearest(&text, Platform::KNOWN);
            let hint = near.first().map_or_else(
                || format!("there are {}", Platform::KNOWN.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            Err(refused(Some(value), "a platform that releases are made for", Some(hint)))
        }
    }
}

fn refused(value: Option<&Value>, wanted: &str, hint: Option<String>) -> Fault {
    let at = value.map_or(0, |value| value.at);
    let value = value.map_or_else(String::new, |value| cut(&value.pattern.to_string()));
    let value = if value.starts_with('"') { value } else { format!("`{value}`") };
    Fault { at, kind: FaultKind::Value { value, wanted: wanted.to_owned(), hint } }
}
