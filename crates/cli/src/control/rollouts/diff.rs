//! Two rollouts as asked for, field by field.

use std::collections::BTreeMap;

use handover_model::api::{RolloutSpec, Strategy};
use serde::Serialize;
use serde_json::Value;

use super::super::ControlError;
use super::super::select;

/// A field that differs. A value that is not there is absent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Difference {
    /// Where it is: `gate.soak`, `windows[0].start`.
    pub(super) field: String,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Value>,
    /// What it would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<Value>,
}

/// What differs, by field; `before` is `None` for a rollout that is not there. The name is how the
/// two were found, so it is left out.
pub(super) fn between(before: Option<&RolloutSpec>, after: &RolloutSpec) -> Vec<Difference> {
    let before = before.map(flat).unwrap_or_default();
    let after = flat(after);
    let fields: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differs = |field: &&String| before.get(*field) != after.get(*field);
    fields
        .into_iter()
        .filter(differs)
        .map(|field| Difference {
            field: field.clone(),
            before: before.get(field).cloned(),
            after: after.get(field).cloned(),
        })
        .collect()
}

/// One line for each side of each difference.
pub(super) fn lines(differences: &[Difference]) -> String {
    let mut lines = Vec::new();
    for one in differences {
        let side = |sign, value: &Option<Value>| {
            value.as_ref().map(|value| format!("{sign} {}: {}", one.field, short(value)))
        };
        lines.extend(side('-', &one.before));
        lines.extend(side('+', &one.after));
    }
    lines.join("\n")
}

/// The same rollout with its selections in their one spelling.
pub(super) fn canonical(mut spec: RolloutSpec) -> Result<RolloutSpec, ControlError> {
    spec.select = select::parse(&spec.select)?.to_string();
    if let Strategy::Waves { waves, .. } = &mut spec.strategy {
        for wave in waves {
            wave.select = select::parse(&wave.select)?.to_string();
        }
    }
    Ok(spec)
}

fn flat(spec: &RolloutSpec) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::new();
    // A rollout is made of texts, numbers, lists and maps of them.
    flatten(String::new(), serde_json::to_value(spec).unwrap_or_default(), &mut fields);
    fields.remove("name");
    // Says how the selection is meant, not what the rollout is.
    fields.remove("all");
    fields
}

fn flatten(at: String, value: Value, fields: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(inner) => {
            for (key, value) in inner {
                let path = if at.is_empty() { key } else { format!("{at}.{key}") };
                flatten(path, value, fields);
            }
        }
        Value::Array(inner) if inner.iter().any(Value::is_object) => {
            for (number, value) in inner.into_iter().enumerate() {
                flatten(format!("{at}[{number}]"), value, fields);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            fields.insert(at, value);
        }
    }
}

fn short(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(more: &str) -> RolloutSpec {
        let text = format!("name: a\ncomponent: web\nto: 1.5.0\nselect: all\n{more}");
        canonical(serde_saphyr::from_str(&text).expect("a rollout")).expect("a selection")
    }

    #[test]
    fn only_what_differs_is_shown_field_by_field() {
        let before = spec("windows: [{ start: '02:00', for: 1h }]\n");
        let after = spec("gate: { soak: 10m }\nstrategy: { kind: staged, percent: [10, 100] }\n");
        let text = lines(&between(Some(&before), &after));
        assert_eq!(
            text,
            "- gate.soak: 0s\n+ gate.soak: 10m\n\
             - strategy.percent: [5.0,25.0,100.0]\n+ strategy.percent: [10.0,100.0]\n\
             - windows[0].for: 1h\n- windows[0].start: 02:00\n- windows[0].zone: UTC"
        );
        assert_eq!(between(Some(&after), &after), []);
    }

    #[test]
    fn spellings_of_one_selection_are_no_difference() {
        let mut other = spec("");
        other.select = "((all))".to_owned();
        assert_eq!(between(Some(&spec("")), &canonical(other).expect("a selection")), []);
    }

    #[test]
    fn a_rollout_that_is_not_there_is_all_new() {
        let text = lines(&between(None, &spec("")));
        assert!(text.contains("+ to: 1.5.0") && !text.contains("- "), "{text}");
        assert!(!text.contains("name:"), "{text}");
    }
}
