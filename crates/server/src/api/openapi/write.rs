//! Writing the document (`OpenAPI` 3.1.0).

use std::collections::BTreeMap;

use handover_engine::selection::LONGEST;
use handover_model::AgentName;
use handover_model::api::{MOST_PER_PAGE, PER_PAGE, Problem};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::operations::{Answered, Kind, Operation, Parameter, Taken, operations};
use crate::permissions::{self, Access};

/// Notes a type's schemas and answers its name.
pub(super) type Schema = fn(&mut Schemas) -> String;

/// Schemas by name.
pub(super) type Schemas = BTreeMap<String, Value>;

/// The schema of `T`.
pub(super) fn of<T: ToSchema>(schemas: &mut Schemas) -> String {
    let mut found = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut found);
    for (name, schema) in found {
        // A schema is made of texts and numbers.
        schemas.insert(name, serde_json::to_value(schema).unwrap_or_default());
    }
    T::name().into_owned()
}

/// What the caller of an operation must be.
pub(super) fn access(operation: &Operation) -> Option<Access> {
    let method = operation.method.parse().ok()?;
    permissions::access(&method, operation.path)
}

/// Whether it needs an API token.
fn is_known(operation: &Operation) -> bool {
    matches!(access(operation), Some(Access::Known | Access::Needs(_)))
}

/// The whole document.
pub(super) fn document() -> Value {
    let mut schemas = Schemas::new();
    of::<Problem>(&mut schemas);
    of::<AgentName>(&mut schemas);
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for operation in operations() {
        let written = write(operation, &mut schemas);
        let path = operation.path.replace("{*", "{");
        paths.entry(path).or_default().insert(operation.method.to_ascii_lowercase(), written);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Handover",
            "description": "The control plane's API. Whatever goes wrong is a problem document \
                (RFC 9457) with a stable `code`; docs/api.md has the rules.",
            "version": "1",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn write(operation: &Operation, schemas: &mut Schemas) -> Value {
    let mut written = json!({
        "operationId": operation.id,
        "summary": operation.about,
        "parameters": parameters(operation),
        "responses": responses(operation, schemas),
    });
    if let Some(body) = body(operation.body, schemas) {
        written["requestBody"] = body;
    }
    if is_known(operation) {
        written["security"] = json!([{ "bearer": [] }]);
    }
    if let Some(Access::Needs(permission)) = access(operation) {
        written["x-permission"] = json!(permission);
    }
    written
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let path = operation.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?.trim_start_matches('*');
        Some(json!({ "name": name, "in": "path", "required": true, "schema": path_schema(name) }))
    });
    let mut all: Vec<Value> = path.collect();
    all.extend(operation.query.iter().map(query_parameter));
    let header = |name: &str, about: &str, schema: Value| json!({ "name": name, "in": "header", "description": about, "schema": schema });
    if operation.method == "POST" {
        let about = "the same key with the same request gets the same answer, for 24 hours";
        let schema = json!({ "type": "string", "pattern": "^[!-~]{1,200}$" });
        all.push(header("Idempotency-Key", about, schema));
    }
    if operation.problems.contains(&412) {
        let about = "the `ETag` of what was looked at";
        let schema = json!({ "type": "string", "pattern": r#"^(\*|"g[0-9]{1,9}")$"# });
        all.push(header("If-Match", about, schema));
    }
    if matches!(operation.answer, Answered::Events(_)) {
        let about = "the number of the last event that came";
        let schema = json!({ "type": "integer", "minimum": 0, "maximum": 1_000_000_000_i64 });
        all.push(header("Last-Event-ID", about, schema));
    }
    all
}

fn path_schema(name: &str) -> Value {
    let id =
        |prefix: &str| json!({ "type": "string", "pattern": format!("^{prefix}_[0-9a-f]{{32}}$") });
    match name {
        "agent" => agent_schema(),
        "order" => id("order"),
        "token" => id("token"),
        "webhook" => id("webhook"),
        "rollout" => json!({
            "type": "string", "description": "a rollout's id or name", "examples": ["web-15"],
            "pattern": "^(rollout_[0-9a-f]{32}|[a-z](-?[a-z0-9]){0,39})$",
        }),
        "group" => json!({ "$ref": "#/components/schemas/GroupName" }),
        "check" => json!({ "type": "string", "pattern": "^[a-z0-9-]{1,40}$" }),
        "component" => json!({ "$ref": "#/components/schemas/ComponentName" }),
        "name" => json!({ "type": "string", "pattern": r"^[a-z0-9.-]{1,60}\.json$" }),
        _ => json!({
            "type": "string",
            "pattern": r"^(metadata/[a-z0-9-]{1,20}\.json|targets/[a-z0-9-]{1,20}/[a-z0-9-]{1,20})$",
        }),
    }
}

fn agent_schema() -> Value {
    json!({
        "type": "string", "description": "an agent's id or name", "examples": ["web-1"],
        "pattern": "^(agent_[0-9a-f]{32}|[a-z](-?[a-z0-9]){0,39})$",
    })
}

fn query_parameter(parameter: &Parameter) -> Value {
    let text = json!({ "type": "string", "maxLength": 200 });
    let schema = match parameter.kind {
        Kind::Text => text,
        Kind::Texts => json!({ "type": "array", "items": text, "maxItems": 20 }),
        Kind::Selection => json!({ "type": "string", "maxLength": LONGEST }),
        Kind::Number => json!({ "type": "integer", "minimum": 0, "maximum": 1_000_000_000_i64 }),
        Kind::Limit => json!({
            "type": "integer", "minimum": 1, "maximum": MOST_PER_PAGE, "default": PER_PAGE,
        }),
        Kind::Truth => json!({ "type": "boolean" }),
        Kind::Component => json!({ "$ref": "#/components/schemas/ComponentName" }),
        Kind::Version => json!({ "$ref": "#/components/schemas/Version" }),
        Kind::Agent => agent_schema(),
        Kind::Order => path_schema("order"),
        Kind::OneOf(values) => json!({ "type": "string", "enum": values }),
    };
    json!({
        "name": parameter.name, "in": "query", "description": parameter.about, "schema": schema,
    })
}

fn body(body: Taken, schemas: &mut Schemas) -> Option<Value> {
    let json_of = |name: String, is_needed: bool| {
        let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
        json!({ "required": is_needed, "content": { "application/json": { "schema": schema } } })
    };
    match body {
        Taken::Nothing => None,
        Taken::Json(schema) => Some(json_of(schema(schemas), true)),
        Taken::Perhaps(schema) => Some(json_of(schema(schemas), false)),
        Taken::Empty => {
            let schema = json!({ "type": "object", "additionalProperties": false });
            let content = json!({ "application/json": { "schema": schema } });
            Some(json!({ "required": false, "content": content }))
        }
        Taken::Bytes => {
            let schema = json!({ "type": "string", "format": "binary" });
            let content = json!({ "application/octet-stream": { "schema": schema } });
            Some(json!({ "required": true, "content": content }))
        }
    }
}

fn responses(operation: &Operation, schemas: &mut Schemas) -> Value {
    let mut all = Map::new();
    all.insert(operation.status.to_string(), good(operation.answer, schemas));
    if matches!(operation.answer, Answered::File) {
        all.insert("206".to_owned(), good(operation.answer, schemas));
        all.insert("304".to_owned(), json!({ "description": "It has not changed." }));
    }
    if operation.id == "readyz" {
        all.insert("503".to_owned(), good(operation.answer, schemas));
    }
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    for status in problems(operation) {
        let content = json!({ "application/problem+json": { "schema": schema } });
        let code = http::StatusCode::from_u16(status);
        let about = code.ok().and_then(|code| code.canonical_reason()).unwrap_or("Problem");
        all.entry(status.to_string())
            .or_insert(json!({ "description": about, "content": content }));
    }
    Value::Object(all)
}

/// Every status that a problem of the operation can have.
fn problems(operation: &Operation) -> Vec<u16> {
    let mut all = vec![400, 408, 429, 500, 503, 504];
    if is_known(operation) {
        all.extend([401, 403, 406]);
    }
    match operation.body {
        Taken::Nothing => {}
        Taken::Json(_) | Taken::Perhaps(_) | Taken::Empty => all.extend([413, 415, 422]),
        Taken::Bytes => all.extend([413, 422]),
    }
    all.extend(operation.problems);
    all.sort_unstable();
    all.dedup();
    all
}

fn good(answer: Answered, schemas: &mut Schemas) -> Value {
    let reference = |name: String| json!({ "$ref": format!("#/components/schemas/{name}") });
    let json_of = |schema: Value| json!({ "application/json": { "schema": schema } });
    let content = match answer {
        Answered::Json(schema) | Answered::Tagged(schema) => json_of(reference(schema(schemas))),
        Answered::List(schema) => {
            json_of(json!({ "type": "array", "items": reference(schema(schemas)) }))
        }
        Answered::Page(schema) => {
            let name = schema(schemas);
            json_of(reference(page(&name, &reference(name.clone()), schemas)))
        }
        Answered::Documents => {
            let signed = json!({ "type": "object", "required": ["signatures", "signed"] });
            json_of(reference(page("SignedDocument", &signed, schemas)))
        }
        Answered::Text => json!({ "text/plain": { "schema": { "type": "string" } } }),
        Answered::Events(schema) => {
            schema(schemas);
            json!({ "text/event-stream": { "schema": { "type": "string" } } })
        }
        Answered::File => {
            let bytes = json!({ "schema": { "type": "string", "format": "binary" } });
            json!({ "application/octet-stream": bytes, "application/json": {} })
        }
        Answered::Nothing => return json!({ "description": "Done." }),
        Answered::OpenApi => json_of(json!({ "type": "object" })),
    };
    let mut written = json!({ "description": "Done.", "content": content });
    if matches!(answer, Answered::Tagged(_)) {
        let schema = json!({ "type": "string" });
        written["headers"] = json!({ "ETag": { "schema": schema, "required": true } });
    }
    written
}

fn page(name: &str, item: &Value, schemas: &mut Schemas) -> String {
    let page = format!("PageOf{name}");
    let schema = json!({
        "type": "object",
        "required": ["items"],
        "properties": {
            "items": { "type": "array", "items": item },
            "next": { "type": "string", "description": "what to send as `after`" },
        },
    });
    schemas.insert(page.clone(), schema);
    page
}
