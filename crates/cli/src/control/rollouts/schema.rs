//! The JSON Schema of rollout files, made from the same types that read them.

use std::io::Write as _;

use handover_model::api::RolloutSpec;
use serde_json::{Map, Value, json};
use utoipa::{PartialSchema as _, ToSchema as _};

/// Prints it.
pub(super) fn print() {
    // A reader that went away is no error of ours.
    let _gone = writeln!(std::io::stdout(), "{}", text());
}

fn text() -> String {
    serde_json::to_string_pretty(&schema()).unwrap_or_default()
}

/// JSON Schema 2020-12, which is what `OpenAPI` 3.1's schemas are written in.
fn schema() -> Value {
    let mut found = Vec::new();
    RolloutSpec::schemas(&mut found);
    let definitions: Map<String, Value> = found
        .into_iter()
        // A schema is made of texts and numbers.
        .map(|(name, schema)| (name, moved(serde_json::to_value(schema).unwrap_or_default())))
        .collect();
    let mut schema = moved(serde_json::to_value(RolloutSpec::schema()).unwrap_or_default());
    if let Value::Object(fields) = &mut schema {
        fields.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        fields.insert("title".into(), json!("A Handover rollout"));
        fields.insert("$defs".into(), Value::Object(definitions));
    }
    put_defaults(&mut schema);
    schema
}

/// Says what stands where a field is left out, as reading a file without it answers.
fn put_defaults(schema: &mut Value) {
    let bare = json!({ "name": "a", "component": "a", "to": "1.0.0", "select": "all" });
    let Ok(spec) = serde_json::from_value::<RolloutSpec>(bare.clone()) else { return };
    let Ok(Value::Object(whole)) = serde_json::to_value(spec) else { return };
    for (name, value) in whole {
        let known = bare.get(&name).is_none();
        if let Some(Value::Object(field)) = schema["properties"].get_mut(&name).filter(|_| known) {
            field.insert("default".into(), value);
        }
    }
}

/// References point to where definitions stand in a schema of its own.
fn moved(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(key, value)| match (key.as_str(), value) {
                    ("$ref", Value::String(path)) => {
                        let path = path.replace("#/components/schemas/", "#/$defs/");
                        (key, Value::String(path))
                    }
                    // Links of the program's own documentation lead nowhere here.
                    ("description", Value::String(text)) => {
                        (key, Value::String(text.replace("[`", "`").replace("`]", "`")))
                    }
                    (_, value) => (key, moved(value)),
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(moved).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rollout.schema.json");

    #[test]
    fn the_committed_schema_is_current() {
        let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
        assert!(
            committed.trim_end() == text(),
            "write it anew: handover rollout schema > docs/rollout.schema.json"
        );
    }

    #[test]
    fn every_reference_is_defined_and_unknown_fields_are_refused() {
        let schema = schema();
        let text = schema.to_string();
        assert!(!text.contains("components/schemas"));
        for part in text.split("#/$defs/").skip(1) {
            let name = part.split('"').next().unwrap_or_default();
            assert!(schema["$defs"].get(name).is_some(), "{name} is not defined");
        }
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["deadline"]["default"], "30m");
        assert_eq!(schema["properties"]["name"].get("default"), None);
        assert_eq!(schema["required"], json!(["name", "component", "to", "select"]));
    }
}
