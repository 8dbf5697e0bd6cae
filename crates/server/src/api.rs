//! `/api/v1` and what people and probes ask beside it.

use axum::Json;
use http::Method;
use serde_json::{Value, json};

use crate::routes::Routes;

/// Mounts every route of the API.
pub(crate) fn mount(routes: Routes) -> Routes {
    routes.mount(Method::GET, "/health", health)
}

/// For probes: the process answers.
async fn health() -> Json<Value> {
    Json(json!({ "ok": true }))
}
