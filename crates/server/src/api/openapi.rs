//! The `OpenAPI` document: made from the table of operations, the types of `handover_model::api`
//! and the table of permissions. `docs/openapi.json` is the same, committed.

mod around;
mod operations;
mod rollouts;
mod write;

use axum::response::Response;
use http::StatusCode;

use super::answer;
use crate::Problem;

#[cfg(test)]
use operations::operations;

/// `GET /api/v1/openapi.json`.
pub(super) async fn document() -> Result<Response, Problem> {
    Ok(answer::text(StatusCode::OK, text()))
}

/// The document's text, as it is committed.
pub(crate) fn text() -> String {
    // A value of texts and numbers can always be written.
    let mut text = serde_json::to_string_pretty(&write::document()).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
