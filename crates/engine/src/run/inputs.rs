//! Inputs: literals, and references to what earlier steps brought out.

use serde_json::Value;

const FROM: &str = "$from";
const SAID: &str = "$said";

/// Collects the ids of steps that `inputs` take outputs from.
pub(super) fn references<'a>(inputs: &'a Value, found: &mut Vec<&'a str>) {
    match inputs {
        Value::Object(map) => match map.get(FROM) {
            Some(from) => found.push(from.as_str().unwrap_or("(not a text)")),
            None => map.values().for_each(|inner| references(inner, found)),
        },
        Value::Array(list) => list.iter().for_each(|inner| references(inner, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `inputs` with every reference replaced. `output` answers with a step's outputs, `said` is what
/// a person said of this step.
///
/// # Errors
/// A sentence for people that names the reference that leads nowhere.
pub fn resolve<'a>(
    inputs: &Value,
    output: &dyn Fn(&str) -> Option<&'a Value>,
    said: Option<&Value>,
) -> Result<Value, String> {
    match inputs {
        Value::Object(map) => {
            if let Some(from) = map.get(FROM).and_then(Value::as_str) {
                let path = map.get("path").and_then(Value::as_str).unwrap_or("");
                return output(from)
                    .and_then(|value| value.pointer(path))
                    .cloned()
                    .ok_or_else(|| format!("step {from} brought out nothing at {path:?}"));
            }
            if let Some(path) = map.get(SAID).and_then(Value::as_str) {
                return said
                    .and_then(|value| value.pointer(path))
                    .cloned()
                    .ok_or_else(|| format!("nobody said anything at {path:?}"));
            }
            map.iter()
                .map(|(key, inner)| Ok((key.clone(), resolve(inner, output, said)?)))
                .collect::<Result<serde_json::Map<_, _>, _>>()
                .map(Value::Object)
        }
        Value::Array(list) => list
            .iter()
            .map(|inner| resolve(inner, output, said))
            .collect::<Result<Vec<_>, _>>()
            .map(Value::Array),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(inputs.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_replaced_wherever_they_stand() {
        let out = json!({"path": "/x", "list": [1, 2]});
        let output = |id: &str| (id == "a").then_some(&out);
        let said = json!({"by": "eve", "text": "yes"});
        let inputs = json!({
            "plain": 1,
            "deep": [{"$from": "a", "path": "/list/1"}],
            "all": {"$from": "a"},
            "who": {"$said": "/by"},
        });
        let resolved = resolve(&inputs, &output, Some(&said)).unwrap();
        assert_eq!(resolved, json!({"plain": 1, "deep": [2], "all": out, "who": "eve"}));
        let mut found = Vec::new();
        references(&inputs, &mut found);
        found.sort_unstable();
        assert_eq!(found, ["a", "a"]);
    }

    #[test]
    fn a_reference_that_leads_nowhere_is_named() {
        let nothing = |_: &str| None;
        let complaint = resolve(&json!([{"$from": "a", "path": "/x"}]), &nothing, None);
        assert_eq!(complaint.unwrap_err(), "step a brought out nothing at \"/x\"");
    }
}
